package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"understudy/tools/fakeprovider/fake"
)

// show says in a few words what came of a cell.
func (c cell) show() string {
	var b strings.Builder
	switch {
	case c.end.bad():
		fmt.Fprintf(&b, "BAD: %s, %d", c.end, c.got.status)
	case c.end == cleanError && c.got.status == http.StatusOK:
		fmt.Fprintf(&b, "error event %s", c.got.code)
	case c.end == cleanError:
		fmt.Fprintf(&b, "%d %s", c.got.status, c.got.code)
	default:
		fmt.Fprintf(&b, "%s of %s", c.end, c.worker)
	}
	if c.got.retryAfter != "" {
		fmt.Fprintf(&b, ", retry after %s s", c.got.retryAfter)
	}
	fmt.Fprintf(&b, "; calls %d+%d; %.1f s", c.primaryCalls, c.backupCalls, c.got.took.Seconds())
	if c.impatient() {
		fmt.Fprintf(&b, "; called again after %s", short(c.shortestPause))
	}
	if len(c.misses) > 0 {
		fmt.Fprintf(&b, "; UNEXPECTED: %s", strings.Join(c.misses, ", "))
	}
	return b.String()
}

// lines groups cells, which come row by row, into one line for each mode.
func lines(cells []cell) [][]cell {
	return slices.Collect(slices.Chunk(cells, len(settings)))
}

// printRow prints one row on a terminal.
func printRow(out io.Writer, cells []cell) {
	for _, line := range lines(cells) {
		fmt.Fprintf(out, "%-38s %-9s", line[0].row.name, line[0].mode)
		for _, c := range line {
			fmt.Fprintf(out, " %-52s", c.show())
		}
		fmt.Fprintln(out)
	}
}

// badCells returns the cells that are not as they must be.
func badCells(cells []cell) []cell {
	return slices.DeleteFunc(slices.Clone(cells), func(c cell) bool { return !c.bad() })
}

// printBad says what is wrong, and how to see it again.
func printBad(out io.Writer, cells []cell) {
	for _, c := range badCells(cells) {
		fmt.Fprintf(out, "BAD  %s, %s, %s: %s\n     text %q, finish %q, %v\n     go run ./tools/faults --only table --row '^%s$'\n",
			c.row.name, c.mode, c.setting, c.show(), c.got.text, c.got.finish, c.got.broken, regexp.QuoteMeta(c.row.name))
	}
}

func tableSection(cells []cell) string {
	ends := map[end]int{}
	for _, c := range cells {
		ends[c.end]++
	}
	var b strings.Builder
	fmt.Fprintf(&b, `## What callers get from each fault

The primary provider has the fault, the backup is healthy, and the whole product runs between them, with a fresh
breaker for every cell. Timeouts are shortened: first token and idle %s, patience %v, one retry, %d calls a request.

- **whole**: the caller wants one body; the worker asks its provider for a stream, as it does by default.
- **streamed**: the caller wants a stream.
- **plain**: the caller wants one body, and so does the worker (%s), which has %s for the call.
- *error event*: status 200 and part of the text were out, then an error object came and no [DONE].
- *calls 2+1*: two reached the primary's provider, one the backup's. The time is until the caller had the end.
- *called again after*: the primary's provider got a second call of the request sooner than its Retry-After asked for.

%d cells: %s; %d bad.

| fault | mode | backup may serve | nobody else may, degrade: allow | nobody else may, degrade: never |
| --- | --- | --- | --- | --- |
`, signsWithin, patience, maxAttempts, "`streaming: as_asked`", plainTotal, len(cells), counts(ends), len(badCells(cells)))
	for _, line := range lines(cells) {
		fmt.Fprintf(&b, "| %s | %s |", line[0].row.name, line[0].mode)
		for _, c := range line {
			text := c.show()
			if c.bad() {
				text = "**" + text + "**"
			}
			fmt.Fprintf(&b, " %s |", text)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// downWords says how a provider that is down behaves.
var downWords = map[fake.DownMode]string{
	fake.DownReset: "connections are reset", fake.DownRefuse: "503", fake.DownSilence: "silence",
}

func outageSection(outages []outage, downFor time.Duration, rate int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `## An outage

The product's default settings, two workers, %d requests a second over HTTP, whole and streamed in turn. The primary is
down for %v and comes back. The last three columns count from its recovery.

| the primary | requests while down | answered by | median, p99, slowest | calls to the dead provider | not answered, in all | first answer of the primary | all lanes back | failures since |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
`, rate, downFor)
	for _, o := range outages {
		fmt.Fprintf(&b, "| %s | %d | %s | %s, %s, %s | %s | %s of %d | %.1f s | %.1f s | %d |\n",
			downWords[o.mode], o.requests, counts(o.byWorker), short(o.median), short(o.p99), short(o.slowest),
			limited(o.calls, o.mostCalls), counts(o.failures), o.all, o.firstPrimary.Seconds(), o.allLanes.Seconds(), o.failedAtReturn)
	}
	return b.String()
}

func failoverSection(f failover) string {
	return fmt.Sprintf(`## From the opening of the breaker to the backup

%d times, under %d requests a second, the primary's connections are reset until its breaker opens. Measured from the
moment the worker logs the opening. %d requests, not answered: %s.

| until | p50 | p99 | longest |
| --- | --- | --- | --- |
| the first call reaches the backup's provider | %s | %s | %s |
| the backup owns every lane | %s | %s | %s |

The first call came within %v in %d of them.
`, len(f.first), failoverRate, f.requests, counts(f.failures),
		short(percentile(f.first, 50)), short(percentile(f.first, 99)), short(percentile(f.first, 100)),
		short(percentile(f.moved, 50)), short(percentile(f.moved, 99)), short(percentile(f.moved, 100)),
		promptly, f.prompt())
}

// short writes a duration with a sensible number of digits.
func short(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// limited marks a number above its limit.
func limited(n, most int64) string {
	if n > most {
		return fmt.Sprintf("**%d, BAD: more than %d**", n, most)
	}
	return fmt.Sprint(n)
}

// counts writes "a 1, b 2".
func counts[K cmp.Ordered](m map[K]int) string {
	if len(m) == 0 {
		return "none"
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%v %d", k, m[k]))
	}
	return strings.Join(parts, ", ")
}

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"understudy/pkg/bus"
	"understudy/pkg/deadletter"
	"understudy/pkg/wire"
)

// DLQCmd groups the commands about dead letters.
type DLQCmd struct {
	Ls     DLQLsCmd     `cmd:"" help:"List dead letters, oldest first."`
	Show   DLQShowCmd   `cmd:"" help:"Print one dead letter: headers, body and each attempt."`
	Replay DLQReplayCmd `cmd:"" help:"Publish dead letters again, with a fresh start."`
	Purge  DLQPurgeCmd  `cmd:"" help:"Discard dead letters for good."`
}

// filterFlags select dead letters.
type filterFlags struct {
	Route    string `help:"Of this route."`
	Reason   string `help:"Set aside for this reason: a kind of failure, or poisonous."`
	Worker   string `help:"Tried by this worker."`
	Tenant   string `help:"Of this tenant."`
	ID       string `name:"id" help:"Of this request."`
	Since    moment `placeholder:"TIME" help:"Set aside at or after: 2026-03-01T12:00:00Z, or 2h for two hours ago."`
	Until    moment `placeholder:"TIME" help:"Set aside before."`
	Contains string `help:"With this text in the body."`
}

func (f filterFlags) filter() deadletter.Filter {
	return deadletter.Filter{
		Route: f.Route, Reason: f.Reason, Worker: f.Worker, Tenant: f.Tenant, ID: f.ID,
		Since: f.Since.Time, Until: f.Until.Time, Contains: f.Contains,
	}
}

// moment is a time on the command line: a timestamp, or how long ago.
type moment struct{ time.Time }

// UnmarshalText reads RFC 3339 or a duration.
func (m *moment) UnmarshalText(text []byte) error {
	if ago, err := time.ParseDuration(string(text)); err == nil {
		m.Time = time.Now().Add(-ago)
		return nil
	}
	at, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return fmt.Errorf("%q is no time: write 2026-03-01T12:00:00Z, or 2h for two hours ago", text)
	}
	m.Time = at
	return nil
}

// DLQLsCmd lists dead letters.
type DLQLsCmd struct {
	filterFlags
	Limit int `default:"100" help:"The most to list; 0 is no limit."`
}

type lettersView struct {
	DeadLetters []bus.KeptDeadLetter `json:"dead_letters"`
}

func (v lettersView) sections() []section {
	if len(v.DeadLetters) == 0 {
		return []section{{lines: []string{"no dead letters"}}}
	}
	p := section{header: []string{"id", "route", "reason", "attempts", "last worker", "tenant", "set aside", "error"}}
	for _, l := range v.DeadLetters {
		last, message := "", ""
		if n := len(l.Attempts); n > 0 {
			last = l.Attempts[n-1].Worker
		}
		if l.Error != nil {
			message = l.Error.Message
		}
		p.rows = append(p.rows, []any{l.ID, l.Route, l.Reason, len(l.Attempts), orDash(last), orDash(bus.Header(l.Headers).Get(wire.HeaderTenant)), l.At.UTC().Format(time.RFC3339), orDash(message)})
	}
	return []section{p}
}

// Run lists.
func (c DLQLsCmd) Run(s *session) error {
	return s.withBus(func(b *bus.Bus) error {
		letters, err := deadletter.List(s.ctx, b, c.filter(), c.Limit)
		if err != nil {
			return err
		}
		return s.show(lettersView{append([]bus.KeptDeadLetter{}, letters...)})
	})
}

// DLQShowCmd prints one dead letter.
type DLQShowCmd struct {
	ID string `arg:"" help:"The request id."`
}

type letterView struct{ bus.KeptDeadLetter }

func (v letterView) sections() []section {
	l := v.KeptDeadLetter
	lines := []string{
		fmt.Sprintf("%s on route %s, set aside at %s: %s", l.ID, l.Route, l.At.UTC().Format(time.RFC3339), l.Reason),
		fmt.Sprintf("accepted at %s, taken from %s, delivered %d times", l.AcceptedAt.UTC().Format(time.RFC3339), l.Subject, l.Deliveries),
	}
	if l.Error != nil {
		lines = append(lines, fmt.Sprintf("%s (%d): %s", l.Error.Kind, l.Error.Status, l.Error.Message))
	}
	headers := section{title: "headers", header: []string{"header", "value"}}
	for _, key := range slices.Sorted(maps.Keys(l.Headers)) {
		headers.rows = append(headers.rows, []any{key, strings.Join(l.Headers[key], ", ")})
	}
	attempts := attemptsSection(l.Attempts)
	attempts.title = "attempts"
	return []section{{lines: lines}, attempts, headers, {title: "body", lines: []string{bodyText(l.DeadLetter)}}}
}

// bodyText is the body for people: JSON indented, anything else quoted.
func bodyText(l wire.DeadLetter) string {
	if l.Body == nil {
		return fmt.Sprintf("%q", l.Raw)
	}
	text, err := json.MarshalIndent(l.Body, "", "  ")
	if err != nil {
		return string(l.Body)
	}
	return string(text)
}

// Run prints it.
func (c DLQShowCmd) Run(s *session) error {
	return s.withBus(func(b *bus.Bus) error {
		l, err := deadletter.Show(s.ctx, b, c.ID)
		if errors.Is(err, bus.ErrNotFound) {
			return fmt.Errorf("there is no dead letter of request %s: see `understudy dlq ls`, or `understudy result %s`", c.ID, c.ID)
		}
		if err != nil {
			return err
		}
		return s.show(letterView{l})
	})
}

// runFlags say how a replay or a purge goes about it.
type runFlags struct {
	filterFlags
	Limit  int     `help:"The most to deal with; 0 is no limit."`
	Rate   float64 `help:"The most a second; 0 is no limit."`
	DryRun bool    `help:"Count, and change nothing."`
	Yes    bool    `short:"y" help:"Do not ask."`
}

func (c runFlags) options() deadletter.Options {
	return deadletter.Options{DryRun: c.DryRun, Rate: c.Rate, Limit: c.Limit}
}

// DLQReplayCmd publishes dead letters again.
type DLQReplayCmd struct {
	runFlags
	To string `help:"Replay to this route instead of each request's own."`
}

// DLQPurgeCmd discards dead letters.
type DLQPurgeCmd struct {
	runFlags
}

type runView struct {
	deadletter.Report
	Filter string `json:"filter"`
	DryRun bool   `json:"dry_run"`
	verb   string
}

func (v runView) sections() []section {
	if v.DryRun {
		return []section{{lines: []string{fmt.Sprintf("dry run: would %s %d dead letters (%s), %d are unroutable", v.verb, v.Selected-v.Unroutable, v.Filter, v.Unroutable)}}}
	}
	line := fmt.Sprintf("purged %d dead letters (%s)", v.Purged, v.Filter)
	if v.verb == "replay" {
		line = fmt.Sprintf("replayed %d dead letters (%s), %d were under way already, %d are unroutable", v.Replayed, v.Filter, v.Duplicates, v.Unroutable)
	}
	lines := []string{line}
	if v.Unroutable > 0 {
		lines = append(lines, "unroutable: their route is not applied; apply it, or replay them --to another one")
	}
	return []section{{lines: lines}}
}

// Run replays.
func (c DLQReplayCmd) Run(s *session) error {
	return s.withBus(func(b *bus.Bus) error {
		return c.run(s, "replay", func(o deadletter.Options) (deadletter.Report, error) {
			o.To = c.To
			return deadletter.Replay(s.ctx, b, c.filter(), o)
		})
	})
}

// Run purges.
func (c DLQPurgeCmd) Run(s *session) error {
	return s.withBus(func(b *bus.Bus) error {
		return c.run(s, "purge", func(o deadletter.Options) (deadletter.Report, error) {
			return deadletter.Purge(s.ctx, b, c.filter(), o)
		})
	})
}

// run counts, asks unless told not to, and does it.
func (c runFlags) run(s *session, verb string, do func(deadletter.Options) (deadletter.Report, error)) error {
	o := c.options()
	v := runView{Filter: c.filter().String(), DryRun: c.DryRun, verb: verb}
	var err error
	if !c.DryRun && !c.Yes {
		count := o
		count.DryRun = true
		if v.Report, err = do(count); err != nil {
			return err
		}
		if v.Selected > 0 {
			if err := s.confirm(fmt.Sprintf("%s %d dead letters (%s)?", verb, v.Selected, v.Filter)); err != nil {
				return err
			}
		}
	}
	v.Report, err = do(o)
	if err != nil {
		return fmt.Errorf("%s stopped after %d of the dead letters: %w", verb, v.Replayed+v.Duplicates+v.Purged, err)
	}
	return s.show(v)
}

// confirm asks the person at the terminal. Where there is none, --yes must say
// that it is meant.
func (s *session) confirm(question string) error {
	file, ok := s.in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return usagef("%s Nobody is at a terminal to ask: add --yes, or --dry-run to look first", question)
	}
	fmt.Fprint(s.errs, question+" [y/N] ")
	answer, err := bufio.NewReader(s.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}

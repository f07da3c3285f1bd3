package main

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"understudy/tools/fakeprovider/fake"
)

// rescueRequired tightens the table once streams that break after their first
// words are continued by the backup: a clean error is then no longer enough.
const rescueRequired = false

// emptyRefused tightens the table once an answer without a word counts as no
// answer, which the backup then gives.
const emptyRefused = false

// waitRequired tightens the table once nobody is called again sooner than they
// asked for in Retry-After. Until then the table shows where it happens.
const waitRequired = false

// row is one way in which the primary fails, and what should follow.
type row struct {
	name   string
	fault  fake.Fault    // the zero value when down is set
	down   fake.DownMode // "" when fault is set
	follow course
}

// course says what should follow from a fault in each cell of its row.
type course func(mode, setting) want

// want is what a cell should show. Empty fields accept anything.
type want struct {
	ends   []end
	worker string   // who answered
	status int      // of a clean error
	codes  []string // of a clean error
	backup int      // calls to the backup
}

// table is the whole table: each fault, and what should follow from it.
func table() []row {
	rows := statusRows()
	for _, r := range []struct {
		name   string
		fault  fake.Fault
		follow course
	}{
		{"status 401", fake.Fault{Kind: fake.Status, Status: 401}, moved(502, "provider_account")},
		{"status 402", fake.Fault{Kind: fake.Status, Status: 402}, moved(502, "provider_account")},
		{"status 403", fake.Fault{Kind: fake.Status, Status: 403}, moved(502, "provider_account")},
		{"status 404", fake.Fault{Kind: fake.Status, Status: 404}, refused(404, "model_not_found")},
		{"status 422", fake.Fault{Kind: fake.Status, Status: 422}, refused(422, "bad_request")},
		{"status 400", fake.Fault{Kind: fake.Status, Status: 400}, refused(400, "bad_request")},
		{"reset", fake.Fault{Kind: fake.Reset}, moved(503, "provider_unavailable")},
		{"silence", fake.Fault{Kind: fake.Silence}, unlessPlain(moved(504, "provider_silent"), overlong)},
		{"slow_first_token, in time", fake.Fault{Kind: fake.SlowFirstToken, Delay: ms(150)}, served},
		{"slow_first_token, too late", fake.Fault{Kind: fake.SlowFirstToken, Delay: ms(2500)}, unlessPlain(moved(504, "provider_silent", "stream_stalled"), overlong)},
		{"slow_tokens, in time", fake.Fault{Kind: fake.SlowTokens, Delay: ms(15)}, served},
		{"slow_tokens, too late", fake.Fault{Kind: fake.SlowTokens, Delay: ms(2500)}, unlessPlain(broken(504, "stream_stalled"), overlong)},
		{"cut before the first token", fake.Fault{Kind: fake.Cut}, moved(502, "stream_truncated")},
		{"cut after 3 tokens", fake.Fault{Kind: fake.Cut, Tokens: 3}, broken(502, "stream_truncated")},
		{"cut before the finish", fake.Fault{Kind: fake.Cut, Tokens: 99}, broken(502, "stream_truncated")},
		{"stall before the first token", fake.Fault{Kind: fake.Stall}, moved(504, "stream_stalled", "provider_silent")},
		{"stall after 3 tokens", fake.Fault{Kind: fake.Stall, Tokens: 3}, broken(504, "stream_stalled")},
		{"malformed_event after 3 tokens", fake.Fault{Kind: fake.MalformedEvent, Tokens: 3}, unlessPlain(served, moved(502, "malformed_answer"))},
		{"malformed_body", fake.Fault{Kind: fake.MalformedBody}, moved(502, "malformed_answer")},
		{"error_event before the first token", fake.Fault{Kind: fake.ErrorEvent}, moved(503, "provider_unavailable")},
		{"error_event after 3 tokens", fake.Fault{Kind: fake.ErrorEvent, Tokens: 3}, broken(503, "provider_unavailable")},
		{"missing_done", fake.Fault{Kind: fake.MissingDone}, served},
		{"empty", fake.Fault{Kind: fake.Empty}, empty},
		{"context_length", fake.Fault{Kind: fake.ContextLength}, tooLong},
		{"content_filter", fake.Fault{Kind: fake.ContentFilter}, refused(400, "content_filter")},
		{"content_filter_finish, no text", fake.Fault{Kind: fake.ContentFilterFinish}, refused(400, "content_filter")},
		{"content_filter_finish after 3 tokens", fake.Fault{Kind: fake.ContentFilterFinish, Tokens: 3}, filtered},
		{"quota", fake.Fault{Kind: fake.Quota}, moved(502, "provider_account")},
		{"account", fake.Fault{Kind: fake.Account}, moved(502, "provider_account")},
	} {
		rows = append(rows, row{name: r.name, fault: r.fault, follow: r.follow})
	}
	return append(rows,
		row{name: "down: refuse", down: fake.DownRefuse, follow: moved(503, "provider_unavailable")},
		row{name: "down: reset", down: fake.DownReset, follow: moved(503, "provider_unavailable")},
		row{name: "down: silence", down: fake.DownSilence, follow: unlessPlain(moved(504, "provider_silent"), overlong)},
	)
}

// statusRows are the statuses that may pass, with each form of Retry-After.
func statusRows() []row {
	var rows []row
	for _, status := range []int{500, 502, 503, 529, 429} {
		follow := moved(503, "provider_unavailable")
		if status == http.StatusTooManyRequests {
			follow = moved(429, "rate_limit_exceeded")
		}
		fault := fake.Fault{Kind: fake.Status, Status: status}
		rows = append(rows, row{name: fmt.Sprintf("status %d", status), fault: fault, follow: follow})
		for _, form := range []fake.RetryAfterForm{fake.Seconds, fake.Date, fake.Milliseconds} {
			wait := fake.Duration(time.Second)
			if form == fake.Milliseconds {
				wait = ms(300)
			}
			fault.RetryAfter, fault.RetryAfterForm = &wait, form
			rows = append(rows, row{name: fmt.Sprintf("status %d, Retry-After in %s", status, form), fault: fault, follow: orLate(follow)})
		}
	}
	return rows
}

func ms(n int) fake.Duration { return fake.Duration(time.Duration(n) * time.Millisecond) }

// served: the primary's answer is whole all the same.
func served(mode, setting) want {
	return want{ends: []end{wholeAnswer}, worker: primary}
}

// moved: the backup answers; without one the caller hears of the failure, or,
// having refused degraded answers, that its time ran out while waiting for a
// model.
func moved(status int, codes ...string) course {
	return func(_ mode, s setting) want {
		switch s {
		case backed:
			return want{ends: []end{wholeAnswer}, worker: backup, backup: 1}
		case alone:
			return want{ends: []end{cleanError}, status: status, codes: codes}
		}
		return want{ends: []end{cleanError}, status: http.StatusRequestTimeout, codes: []string{"deadline_exceeded"}}
	}
}

// orLate: as usual; but where nobody else may serve, the request's time may run
// out while it waits for as long as the provider asked.
func orLate(usual course) course {
	return func(m mode, s setting) want {
		w := usual(m, s)
		if s == alone {
			w.status, w.codes = 0, slices.Concat(w.codes, []string{"deadline_exceeded"})
		}
		return w
	}
}

// broken: as moved, unless the caller has words of the answer already. Then the
// stream goes on unbroken, or ends with an error.
func broken(status int, code string) course {
	return func(m mode, s setting) want {
		w := moved(status, code)(m, s)
		switch {
		case m != streamed:
			return w
		case s == backed && rescueRequired:
			return want{ends: []end{wholeAnswer}, backup: 1}
		case s == backed:
			return want{ends: []end{wholeAnswer, cleanError}, status: http.StatusOK, codes: []string{code}, backup: either}
		}
		return want{ends: []end{cleanError}, status: http.StatusOK, codes: []string{code, "deadline_exceeded"}}
	}
}

// refused: the request can succeed nowhere, and the caller hears it from the
// primary at once.
func refused(status int, code string) course {
	return func(mode, setting) want {
		return want{ends: []end{cleanError}, status: status, codes: []string{code}}
	}
}

// tooLong: another model may have a larger window; else the caller hears it as
// it came, whether or not it refuses degraded answers.
func tooLong(m mode, s setting) want {
	if s == backed {
		return moved(0)(m, s)
	}
	return refused(http.StatusBadRequest, "context_length_exceeded")(m, s)
}

// filtered: what the filter let through is an answer that says so.
func filtered(mode, setting) want {
	return want{ends: []end{filteredAnswer}, worker: primary}
}

// empty: an answer without a word.
func empty(m mode, s setting) want {
	if emptyRefused {
		return moved(http.StatusBadGateway, "malformed_answer")(m, s)
	}
	return want{ends: []end{emptyAnswer, wholeAnswer, cleanError}, backup: either}
}

// overlong: a provider that was asked for a whole answer shows no sign of life,
// so only the time for the whole call counts.
func overlong(m mode, s setting) want {
	return moved(http.StatusGatewayTimeout, "stream_stalled")(m, s)
}

// unlessPlain: what the provider is asked for decides what can be noticed.
func unlessPlain(usual, plainly course) course {
	return func(m mode, s setting) want {
		if m == plain {
			return plainly(m, s)
		}
		return usual(m, s)
	}
}

// either stands for any number of calls to the backup.
const either = -1

// misses lists what differs from what was wanted.
func (w want) misses(c cell) []string {
	var all []string
	miss := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if !slices.Contains(w.ends, c.end) {
		miss("want %v, got %s", w.ends, c.end)
	}
	if w.worker != "" && c.worker != w.worker {
		miss("want the answer of %s, not of %q", w.worker, c.worker)
	}
	if c.end == cleanError && w.status != 0 && c.got.status != w.status {
		miss("want status %d", w.status)
	}
	if c.end == cleanError && len(w.codes) > 0 && !slices.Contains(w.codes, c.got.code) {
		miss("want code %v", w.codes)
	}
	if w.backup != either && c.backupCalls != w.backup {
		miss("want %d calls to the backup", w.backup)
	}
	if c.primaryCalls == 0 || c.primaryCalls > mostCalls {
		miss("want 1 to %d calls to the primary", mostCalls)
	}
	if waitRequired && c.impatient() {
		miss("want the primary called again after the %v that it asked for, not %v", time.Duration(*c.row.fault.RetryAfter), c.shortestPause)
	}
	return all
}

package fake

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// strikes says, for every kind of fault, how a call is struck by it.
var strikes = []struct {
	fault  Fault
	whole  func(*testing.T, answer)
	stream func(*testing.T, answer)
}{
	{Fault{Kind: Status, Status: 503}, refused(503, ""), refused(503, "")},
	{Fault{Kind: Reset}, wasReset, wasReset},
	{Fault{Kind: SlowFirstToken, Delay: 1}, answered, streamed},
	{Fault{Kind: SlowTokens, Delay: 1}, answered, streamed},
	{Fault{Kind: Cut, Tokens: 2}, wasCutInHalf, func(t *testing.T, a answer) {
		heard := listen(a.body)
		if !errors.Is(a.err, io.ErrUnexpectedEOF) || heard.text != "fake answers:" || heard.finish != "" || heard.done {
			t.Errorf("want a cut after two tokens, got %+v", a)
		}
	}},
	{Fault{Kind: MalformedEvent, Tokens: 2}, isNotJSON, func(t *testing.T, a answer) {
		heard := listen(a.body)
		if all := events(a.body); heard.invalid != 1 || json.Valid([]byte(all[3])) || heard.text != echoed || !heard.done {
			t.Errorf("want one invalid event after two tokens and then the rest, got %+v", a)
		}
	}},
	{Fault{Kind: MalformedBody}, isNotJSON, func(t *testing.T, a answer) {
		if heard := listen(a.body); heard.invalid != 7 || heard.text != "" || !heard.done || a.err != nil {
			t.Errorf("want seven invalid events, got %+v", a)
		}
	}},
	{Fault{Kind: ErrorEvent, Tokens: 2}, func(t *testing.T, a answer) {
		if a.status != http.StatusOK || a.problem(t).Type != "server_error" {
			t.Errorf("want an error object with status 200, got %+v", a)
		}
	}, func(t *testing.T, a answer) {
		heard := listen(a.body)
		if heard.problem == nil || heard.text != "fake answers:" || heard.finish != "" || heard.done || a.err != nil {
			t.Errorf("want an error event after two tokens, got %+v", a)
		}
	}},
	{Fault{Kind: MissingDone}, answered, func(t *testing.T, a answer) {
		if heard := listen(a.body); heard.text != echoed || heard.finish != "stop" || heard.done || a.err != nil {
			t.Errorf("want a finish without [DONE], got %+v", a)
		}
	}},
	{Fault{Kind: Empty}, func(t *testing.T, a answer) {
		if got := a.whole(t).Choices[0]; *got.Message.Content != "" || got.FinishReason != "stop" {
			t.Errorf("want an empty answer, got %+v", a)
		}
	}, func(t *testing.T, a answer) {
		if heard := listen(a.body); heard.tokens != 0 || heard.finish != "stop" || !heard.done {
			t.Errorf("want an empty stream, got %+v", a)
		}
	}},
	{Fault{Kind: ContextLength}, refused(400, "context_length_exceeded"), refused(400, "context_length_exceeded")},
	{Fault{Kind: ContentFilter}, refused(400, "content_filter"), refused(400, "content_filter")},
	{Fault{Kind: ContentFilterFinish, Tokens: 2}, func(t *testing.T, a answer) {
		if got := a.whole(t).Choices[0]; *got.Message.Content != "fake answers:" || got.FinishReason != "content_filter" {
			t.Errorf("want two tokens and a filter, got %+v", a)
		}
	}, func(t *testing.T, a answer) {
		if heard := listen(a.body); heard.text != "fake answers:" || heard.finish != "content_filter" || !heard.done {
			t.Errorf("want two tokens and a filter, got %+v", a)
		}
	}},
	{Fault{Kind: Quota}, refused(429, "insufficient_quota"), refused(429, "insufficient_quota")},
	{Fault{Kind: Account}, refused(401, "invalid_api_key"), refused(401, "invalid_api_key")},
}

func answered(t *testing.T, a answer) {
	t.Helper()
	if got := a.whole(t).Choices[0]; *got.Message.Content != echoed || got.FinishReason != "stop" {
		t.Errorf("want the echo, got %+v", a)
	}
}

func streamed(t *testing.T, a answer) {
	t.Helper()
	heard := listen(a.body)
	if heard.text != echoed || heard.tokens != 5 || heard.finish != "stop" || !heard.done || heard.invalid != 0 || a.err != nil {
		t.Errorf("want the echo in five tokens, got %+v", a)
	}
}

func refused(status int, code string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		t.Helper()
		if a.status != status || a.problem(t).code() != code {
			t.Errorf("want status %d and code %q, got %+v", status, code, a)
		}
	}
}

func wasReset(t *testing.T, a answer) {
	t.Helper()
	if !errors.Is(a.err, syscall.ECONNRESET) || a.status != 0 {
		t.Errorf("want a TCP reset before any answer, got %+v", a)
	}
}

func wasCutInHalf(t *testing.T, a answer) {
	t.Helper()
	promised, err := strconv.Atoi(a.header.Get("Content-Length"))
	if err != nil || !errors.Is(a.err, io.ErrUnexpectedEOF) || len(a.body) != promised/2 {
		t.Errorf("want half of the promised body, got %+v", a)
	}
}

func isNotJSON(t *testing.T, a answer) {
	t.Helper()
	if a.status != http.StatusOK || a.err != nil || a.body == "" || json.Valid([]byte(a.body)) {
		t.Errorf("want a 200 with invalid JSON, got %+v", a)
	}
}

func TestEveryKindOfFaultStrikesWholeAnswersAndStreams(t *testing.T) {
	tested := map[FaultKind]bool{Silence: true, Stall: true} // by the tests of what hangs
	for _, strike := range strikes {
		tested[strike.fault.Kind] = true
		t.Run(string(strike.fault.Kind), func(t *testing.T) {
			s, c := start(t, Options{})
			if err := s.SetFaults(strike.fault); err != nil {
				t.Fatal(err)
			}
			strike.whole(t, c.chat("m", false))
			strike.stream(t, c.chat("m", true))
			until(t, s.Provider, "both calls count under the fault", func(now Stats) bool {
				return now.ByOutcome[Outcome(strike.fault.Kind)] == 2
			})
		})
	}
	for kind := range fields {
		if !tested[kind] {
			t.Errorf("kind %s has no test", kind)
		}
	}
}

func TestSilentCallsStayUnansweredUntilTheCallerLeaves(t *testing.T) {
	for _, stream := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p, c := pipes(t, Options{})
			ctx, leave := context.WithTimeout(t.Context(), time.Hour)
			defer leave()
			a := c.do(ctx, http.MethodPost, "/v1/chat/completions", chatBody("m:fault=silence", stream))
			if !errors.Is(a.err, context.DeadlineExceeded) || a.status != 0 {
				t.Errorf("want an hour of silence, got %+v", a)
			}
			synctest.Wait()
			if now := p.Stats(); now.InFlight != 0 || now.ByOutcome[Outcome(Silence)] != 1 {
				t.Errorf("want the call ended, got %+v", now)
			}
		})
	}
}

func TestStalledCallsGoQuietInTheMiddleUntilTheCallerLeaves(t *testing.T) {
	for _, stream := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p, c := pipes(t, Options{})
			ctx, leave := context.WithTimeout(t.Context(), time.Hour)
			defer leave()
			a := c.do(ctx, http.MethodPost, "/v1/chat/completions", chatBody("m:fault=stall,tokens=2", stream))
			if !errors.Is(a.err, context.DeadlineExceeded) || a.status != http.StatusOK {
				t.Errorf("want an hour of silence in the middle, got %+v", a)
			}
			if stream {
				if heard := listen(a.body); heard.text != "fake answers:" || heard.finish != "" {
					t.Errorf("want two tokens before the silence, got %+v", a)
				}
			} else if !strings.HasPrefix(a.body, `{"id":`) || json.Valid([]byte(a.body)) {
				t.Errorf("want half a body before the silence, got %+v", a)
			}
			synctest.Wait()
			if now := p.Stats(); now.InFlight != 0 || now.ByOutcome[Outcome(Stall)] != 1 {
				t.Errorf("want the call ended, got %+v", now)
			}
		})
	}
}

func TestSlowFaultsAddTheirDelay(t *testing.T) {
	for name, want := range map[string]time.Duration{
		"m":                                 0,
		"m:fault=slow_first_token,delay=3s": 3 * time.Second,
		"m:fault=slow_tokens,delay=3":       12 * time.Second, // between five tokens
	} {
		for _, stream := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				_, c := pipes(t, Options{})
				began := time.Now()
				if a := c.chat(name, stream); a.err != nil || a.status != http.StatusOK {
					t.Errorf("want an answer, got %+v", a)
				}
				if took := time.Since(began); took != want {
					t.Errorf("%s, stream %v, took %v, want %v", name, stream, took, want)
				}
			})
		}
	}
}

func TestStatusFaultAsksToRetryInEveryForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := pipes(t, Options{})
		in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
		for _, ask := range []struct{ setting, header, want string }{
			{"retry_after=2s", "Retry-After", "2"},
			{"retry_after=1500ms", "Retry-After", "2"},
			{"retry_after=0", "Retry-After", "0"},
			{"retry_after=250ms,retry_after_form=ms", "Retry-After-Ms", "250"},
			{"retry_after=90s,retry_after_form=date", "Retry-After", in(90 * time.Second)},
			{"retry_after=-90s,retry_after_form=date", "Retry-After", in(-90 * time.Second)},
		} {
			a := c.chat("m:fault=status,status=429,"+ask.setting, false)
			if got := a.header.Get(ask.header); got != ask.want || a.status != http.StatusTooManyRequests {
				t.Errorf("%s: %s is %q, want %q; status %d", ask.setting, ask.header, got, ask.want, a.status)
			}
			if a.problem(t).code() != "rate_limit_exceeded" {
				t.Errorf("%s: want code rate_limit_exceeded, got %s", ask.setting, a.body)
			}
		}
		if a := c.chat("m:fault=status", false); a.status != http.StatusInternalServerError || a.header.Get("Retry-After") != "" {
			t.Errorf("want a plain 500, got %+v", a)
		}
	})
}

func TestStatusFaultMayBringItsOwnBody(t *testing.T) {
	s, c := start(t, Options{})
	for body, contentType := range map[string]string{
		"<html>Bad Gateway</html>": "text/html; charset=utf-8",
		`{"detail":"no"}`:          "application/json",
	} {
		if err := s.SetFaults(Fault{Kind: Status, Status: 502, Body: body}); err != nil {
			t.Fatal(err)
		}
		if a := c.chat("m", true); a.body != body || a.status != 502 || a.header.Get("Content-Type") != contentType {
			t.Errorf("want the body %s, got %+v", body, a)
		}
	}
}

func TestFaultBeyondTheEndOfAnAnswerStrikesBeforeItsFinish(t *testing.T) {
	_, c := start(t, Options{})
	a := c.chat("m:fault=cut,tokens=99", true)
	if heard := listen(a.body); heard.text != echoed || heard.finish != "" || !errors.Is(a.err, io.ErrUnexpectedEOF) {
		t.Errorf("want all tokens and no finish, got %+v", a)
	}
}

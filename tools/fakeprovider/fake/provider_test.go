package fake

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestWrongKeyIsRefusedEverywhere(t *testing.T) {
	s, c := start(t, Options{APIKey: "sesame"})
	for _, header := range [][]string{nil, {"Authorization", "Bearer wrong"}, {"Authorization", "sesame"}} {
		refused(401, "invalid_api_key")(t, c.do(t.Context(), http.MethodPost, completions, chatBody("m", true), header...))
		refused(401, "invalid_api_key")(t, c.do(t.Context(), http.MethodGet, "/v1/models", "", header...))
	}
	answered(t, c.do(t.Context(), http.MethodPost, completions, chatBody("m", false), "Authorization", "Bearer sesame"))
	until(t, s.Provider, "three calls are unauthorized", func(now Stats) bool {
		return now.ByOutcome[Unauthorized] == 3 && now.ByOutcome[Answered] == 1
	})
}

func TestCallsAboveTheRateAreToldWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := pipes(t, Options{RequestsPerSecond: 0.5})
		answered(t, c.chat("m", false))
		a := c.chat("m", false)
		refused(429, "rate_limit_exceeded")(t, a)
		if wait := a.header.Get("Retry-After"); wait != "2" {
			t.Errorf("want to wait 2 s, got %q", wait)
		}
		<-time.After(2 * time.Second) // the bubble's time
		answered(t, c.chat("m", false))
		synctest.Wait()
		if now := p.Stats(); now.ByOutcome[RateLimited] != 1 || now.ByOutcome[Answered] != 2 {
			t.Errorf("want one call limited of three, got %+v", now)
		}
	})
}

func TestProviderThatIsDownRefusesEveryCall(t *testing.T) {
	s, c := start(t, Options{})
	list := func() answer { return c.do(t.Context(), http.MethodGet, "/v1/models", "") }
	down := func(mode string) answer { return c.do(t.Context(), http.MethodPut, "/admin/down"+mode, "") }
	if a := down(""); a.status != http.StatusNoContent {
		t.Fatalf("want it down, got %+v", a)
	}
	refused(503, "")(t, c.chat("m", true))
	refused(503, "")(t, list())
	if a := down("?mode=reset"); a.status != http.StatusNoContent {
		t.Fatalf("want it down, got %+v", a)
	}
	wasReset(t, c.chat("m", false))
	// A transport asks again by itself when a kept connection is reset, and
	// meets another reset.
	wasReset(t, list())
	if a := c.do(t.Context(), http.MethodPut, "/admin/up", ""); a.status != http.StatusNoContent {
		t.Fatalf("want it up, got %+v", a)
	}
	answered(t, c.chat("m", false))
	if a := list(); a.status != http.StatusOK {
		t.Errorf("want the models, got %+v", a)
	}
	if a := down("?mode=upside"); a.status != http.StatusBadRequest || !strings.Contains(a.body, "refuse, reset or silence") {
		t.Errorf("want a refusal that tells the modes, got %+v", a)
	}
	until(t, s.Provider, "two calls met it down", func(now Stats) bool { return now.ByOutcome[Unavailable] == 2 })
}

func TestProviderThatCrashesDropsTheCallsInFlight(t *testing.T) {
	s, c := start(t, Options{TokensPerSecond: 0.0001})
	response, err := c.open(t.Context(), http.MethodPost, completions, chatBody("m", true))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	reader := bufio.NewReader(response.Body)
	lines(t, reader, `data: {"id":"chatcmpl-fake-1"`)
	if err := s.Down(DownReset); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(reader); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("want the stream cut, got %v", err)
	}
	until(t, s.Provider, "the call is dropped", func(now Stats) bool { return now.ByOutcome[Dropped] == 1 })
	s.Up()
	if a := c.chat("m:fault=empty", false); a.status != http.StatusOK {
		t.Errorf("want it back, got %+v", a)
	}
}

func TestSilentProviderHoldsEveryCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := pipes(t, Options{})
		if err := p.Down(DownSilence); err != nil {
			t.Fatal(err)
		}
		ctx, leave := context.WithTimeout(t.Context(), time.Hour)
		defer leave()
		for _, a := range []answer{
			c.do(ctx, http.MethodPost, completions, chatBody("m", true)),
			c.do(ctx, http.MethodGet, "/v1/models", ""),
		} {
			if !errors.Is(a.err, context.DeadlineExceeded) {
				t.Errorf("want silence, got %+v", a)
			}
		}
	})
}

func TestFaultsAreSetOverHTTP(t *testing.T) {
	_, c := start(t, Options{})
	faults := func(method, body string) answer { return c.do(t.Context(), method, "/admin/faults", body) }
	a := faults(http.MethodPut, `[{"kind":"status","status":503,"model":"gpt-*","retry_after":"2s","count":1}]`)
	want := `[{"fault":{"kind":"status","model":"gpt-*","count":1,"status":503,"retry_after":"2s"},"seen":0,"struck":0}]`
	if a.status != http.StatusOK || a.body != want {
		t.Errorf("want %s, got %+v", want, a)
	}
	refused(503, "")(t, c.chat("gpt-5", false))
	if a := faults(http.MethodGet, ""); !strings.Contains(a.body, `"seen":1,"struck":1`) {
		t.Errorf("want one call struck, got %+v", a)
	}
	if a := faults(http.MethodPut, `[{"kind":"explode"}]`); a.status != http.StatusBadRequest || !strings.Contains(a.problem(t).Message, "fault 1: kind") {
		t.Errorf("want a refusal, got %+v", a)
	}
	if a := faults(http.MethodDelete, ""); a.status != http.StatusNoContent {
		t.Errorf("want the faults gone, got %+v", a)
	}
	if a := faults(http.MethodGet, ""); a.body != "[]" {
		t.Errorf("want no faults, got %+v", a)
	}
}

func TestTextIsSetOverHTTP(t *testing.T) {
	_, c := start(t, Options{})
	if a := c.do(t.Context(), http.MethodPut, "/admin/text", "forty-two"); a.status != http.StatusNoContent {
		t.Fatalf("want the text set, got %+v", a)
	}
	if got := *c.chat("m", false).whole(t).Choices[0].Message.Content; got != "forty-two" {
		t.Errorf("got %q", got)
	}
	c.do(t.Context(), http.MethodDelete, "/admin/text", "")
	answered(t, c.chat("m", false))
}

func TestStatsCountCallsByModelOutcomeAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := pipes(t, Options{Latency: time.Second})
		var callers sync.WaitGroup
		for _, model := range []string{"a", "a", "b:fault=status"} {
			callers.Go(func() { c.chat(model, false) })
		}
		callers.Wait()
		synctest.Wait()
		a := c.do(t.Context(), http.MethodGet, "/admin/stats", "")
		var now Stats
		if err := json.Unmarshal([]byte(a.body), &now); err != nil {
			t.Fatal(err)
		}
		if now.Total != 3 || now.ByModel["a"] != 2 || now.ByModel["b"] != 1 || now.ByOutcome[Answered] != 2 || now.ByOutcome["status"] != 1 {
			t.Errorf("want three calls, got %s", a.body)
		}
		if now.InFlight != 0 || now.MaxInFlight != 3 || now.PerSecond != 3 || !now.LastCall.Equal(time.Now().Add(-time.Second)) {
			t.Errorf("want three at once, a second ago, got %s", a.body)
		}
		<-time.After(29 * time.Second) // the bubble's time
		if rate := p.Stats().PerSecond; rate != 0.1 {
			t.Errorf("want three calls in 30 s, got %v a second", rate)
		}
		<-time.After(30 * time.Second)
		if rate := p.Stats().PerSecond; rate != 0 {
			t.Errorf("want no calls in the last minute, got %v a second", rate)
		}
		c.do(t.Context(), http.MethodDelete, "/admin/stats", "")
		if now := p.Stats(); now.Total != 0 || len(now.ByModel) != 0 || len(now.ByOutcome) != 0 || now.MaxInFlight != 0 || !now.LastCall.IsZero() {
			t.Errorf("want no counts, got %+v", now)
		}
	})
}

func TestStatsKeepABoundedNumberOfModels(t *testing.T) {
	s := newStats()
	for i := range maxModels + 5 {
		s.begin(strings.Repeat("m", i+1))
	}
	if now := s.snapshot(); len(now.ByModel) != maxModels+1 || now.ByModel[otherModels] != 5 {
		t.Errorf("want %d models and 5 others, got %d and %d", maxModels, len(now.ByModel), now.ByModel[otherModels])
	}
}

func TestLastCallsAreRememberedWithoutCredentials(t *testing.T) {
	s, c := start(t, Options{Recorded: 3})
	for _, model := range []string{"a", "b", "c", "d:fault=empty"} {
		c.do(t.Context(), http.MethodPost, completions, chatBody(model, false), "Authorization", "Bearer sk-secret", "X-Trace", "t1")
	}
	c.do(t.Context(), http.MethodPost, completions, "no JSON sk-not-a-header")
	until(t, s.Provider, "all calls ended", func(now Stats) bool { return now.Total == 5 && now.InFlight == 0 })
	a := c.do(t.Context(), http.MethodGet, "/admin/calls", "")
	var calls []struct {
		Call
		Body any
	}
	if err := json.Unmarshal([]byte(a.body), &calls); err != nil || len(calls) != 3 {
		t.Fatalf("want the last three calls, got %+v (%v)", a, err)
	}
	if strings.Contains(a.body, "sk-secret") {
		t.Errorf("the key is remembered: %s", a.body)
	}
	if calls[0].Body != "no JSON sk-not-a-header" || calls[0].Outcome != Refused {
		t.Errorf("want the body as it came, got %+v", calls[0])
	}
	last := calls[1]
	if last.Model != "d" || last.Outcome != Outcome(Empty) || last.Path != completions || last.At.IsZero() {
		t.Errorf("want the call of d, got %+v", last)
	}
	if last.Header.Get("Authorization") != "redacted" || last.Header.Get("X-Trace") != "t1" {
		t.Errorf("want the other headers, got %v", last.Header)
	}
	if body, ok := last.Body.(map[string]any); !ok || body["model"] != "d:fault=empty" {
		t.Errorf("want the body as JSON, got %v", last.Body)
	}
	if one := s.Calls(1); len(one) != 1 || one[0].Outcome != Refused {
		t.Errorf("want the newest call, got %+v", one)
	}
	if a := c.do(t.Context(), http.MethodGet, "/admin/calls?limit=none", ""); a.status != http.StatusBadRequest {
		t.Errorf("want a refusal, got %+v", a)
	}
}

func TestLongBodiesAreRememberedByTheirBeginning(t *testing.T) {
	s, c := start(t, Options{})
	c.do(t.Context(), http.MethodPost, completions, chatBody("m", false)+strings.Repeat(" ", maxRecorded))
	if body := s.Calls(0)[0].Body; len(body) != maxRecorded || cap(body) > 2*maxRecorded {
		t.Errorf("want %d bytes, got %d in %d", maxRecorded, len(body), cap(body))
	}
}

func TestCloseEndsCallsThatHang(t *testing.T) {
	s, c := start(t, Options{})
	ended := make(chan answer)
	for _, model := range []string{"m:fault=silence", "m:fault=stall"} {
		go func() { ended <- c.chat(model, true) }()
	}
	until(t, s.Provider, "two calls hang", func(now Stats) bool { return now.InFlight == 2 })
	s.Close()
	for range 2 {
		if a := <-ended; a.err == nil {
			t.Errorf("want a broken call, got %+v", a)
		}
	}
	if now := s.Stats(); now.InFlight != 0 || now.ByOutcome["silence"] != 1 || now.ByOutcome["stall"] != 1 {
		t.Errorf("want both ended, got %+v", now)
	}
	s.Close()
	if a := c.chat("m", false); !errors.Is(a.err, syscall.ECONNREFUSED) {
		t.Errorf("want no listener, got %+v", a)
	}
}

func TestShutdownLetsCallsFinish(t *testing.T) {
	s, c := start(t, Options{TokensPerSecond: 100})
	ended := make(chan answer)
	go func() { ended <- c.chat("m", false) }()
	until(t, s.Provider, "a call is in flight", func(now Stats) bool { return now.InFlight == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s.Shutdown(ctx)
	answered(t, <-ended)
}

func TestStartRefusesAnAddressItCannotUse(t *testing.T) {
	s, _ := start(t, Options{})
	for _, addr := range []string{s.Addr(), "nonsense"} {
		if second, err := Start(addr, Options{}); err == nil {
			second.Close()
			t.Errorf("want an error for %s", addr)
		}
	}
	if !strings.HasPrefix(s.URL(), "http://127.0.0.1:") {
		t.Errorf("want loopback, got %s", s.URL())
	}
}

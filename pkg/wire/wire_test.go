package wire_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

func TestDurationsAreReadAndWrittenAsText(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`"250ms"`: 250 * time.Millisecond, `"30s"`: 30 * time.Second, `"1m30s"`: 90 * time.Second,
		`"24h"`: 24 * time.Hour, `"1.5s"`: 1500 * time.Millisecond,
	} {
		var d wire.Duration
		if err := json.Unmarshal([]byte(text), &d); err != nil || time.Duration(d) != want {
			t.Errorf("%s: got %v, %v, want %v", text, d, err, want)
		}
		written, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var again wire.Duration
		if err := json.Unmarshal(written, &again); err != nil || again != d {
			t.Errorf("%s: written as %s, read as %v, %v", text, written, again, err)
		}
	}
}

func TestDurationsThatAreNoTextAreRefusedWithAnExample(t *testing.T) {
	for _, text := range []string{`30`, `"30"`, `"1 minute"`, `""`, `null_`, `{}`, `true`} {
		var d wire.Duration
		err := d.UnmarshalJSON([]byte(text))
		if err == nil || !strings.Contains(err.Error(), `"1m30s"`) {
			t.Errorf("%s: got %v, %v, want an error with an example", text, d, err)
		}
	}
}

func TestAnAbsentDurationIsItsDefault(t *testing.T) {
	if got := wire.Duration(0).Or(time.Minute); got != time.Minute {
		t.Errorf("absent: got %v", got)
	}
	if got := wire.Duration(time.Second).Or(time.Minute); got != time.Second {
		t.Errorf("present: got %v", got)
	}
}

func TestLanesAreNamedForStreamSubjectConsumerAndOwner(t *testing.T) {
	for _, c := range []struct {
		lane                            wire.Lane
		stream, subject, consumer, owns string
	}{
		{wire.NumberedLane(0), "REQUESTS_chat", "llm.lanes.chat.0", "lane_0", "chat.0"},
		{wire.NumberedLane(9), "REQUESTS_chat", "llm.lanes.chat.9", "lane_9", "chat.9"},
		{wire.HandoffLane("claude"), "REQUESTS_chat", "llm.handoffs.chat.claude", "lane_handoff_claude", "chat.handoff.claude"},
		{wire.LaneParked, "REQUESTS_chat", "llm.parked.chat", "lane_parked", "chat.parked"},
		{wire.LaneRetry, "RETRIES", "llm.retries.chat", "lane_retry_chat", "chat.retry"},
	} {
		if got := c.lane.Stream("chat"); got != c.stream {
			t.Errorf("%s: stream %s, want %s", c.lane, got, c.stream)
		}
		if got := c.lane.Subject("chat"); got != c.subject {
			t.Errorf("%s: subject %s, want %s", c.lane, got, c.subject)
		}
		if got := c.lane.Consumer("chat"); got != c.consumer {
			t.Errorf("%s: consumer %s, want %s", c.lane, got, c.consumer)
		}
		if got := c.lane.OwnerKey("chat"); got != c.owns {
			t.Errorf("%s: owner key %s, want %s", c.lane, got, c.owns)
		}
	}
}

func TestALaneKnowsItsNumberOrItsWorker(t *testing.T) {
	for n := range wire.Lanes {
		if got, ok := wire.NumberedLane(n).Number(); !ok || got != n {
			t.Errorf("lane %d: got %d, %t", n, got, ok)
		}
	}
	for _, l := range []wire.Lane{wire.LaneParked, wire.LaneRetry, wire.HandoffLane("claude"), "10", "", "x"} {
		if n, ok := l.Number(); ok {
			t.Errorf("lane %q has number %d", l, n)
		}
	}
	if w, ok := wire.HandoffLane("claude").HandoffTo(); !ok || w != "claude" {
		t.Errorf("handoff lane: got %q, %t", w, ok)
	}
	for _, l := range []wire.Lane{wire.LaneParked, wire.LaneRetry, "3"} {
		if w, ok := l.HandoffTo(); ok {
			t.Errorf("lane %q hands off to %q", l, w)
		}
	}
}

func TestOwnerKeysAreReadBackAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z0-9][a-z0-9_-]{0,62}`)
		route := name.Draw(t, "route")
		lane := rapid.OneOf(
			rapid.Map(rapid.IntRange(0, wire.Lanes-1), wire.NumberedLane),
			rapid.Map(name, wire.HandoffLane),
			rapid.SampledFrom([]wire.Lane{wire.LaneParked, wire.LaneRetry}),
		).Draw(t, "lane")
		gotRoute, gotLane, err := wire.ParseOwnerKey(lane.OwnerKey(route))
		if err != nil || gotRoute != route || gotLane != lane {
			t.Fatalf("got %q, %q, %v", gotRoute, gotLane, err)
		}
	})
	if _, _, err := wire.ParseOwnerKey("chat"); err == nil || !strings.Contains(err.Error(), `"chat"`) {
		t.Errorf("a key without a lane: %v", err)
	}
}

func TestResultsOfADurabilityClassHaveABucketOfTheirOwn(t *testing.T) {
	for d, want := range map[wire.Durability]string{
		"": "results", wire.DurabilityStrict: "results", wire.DurabilityFast: "results_fast", wire.DurabilityMemory: "results_memory",
	} {
		if got := wire.ResultsBucket(d); got != want {
			t.Errorf("%q: got %s, want %s", d, got, want)
		}
	}
}

func TestIDsAndNamesAreSafeAsSubjectTokens(t *testing.T) {
	for _, id := range []string{"a", "order-4711", "A_b=", "req_01JD", strings.Repeat("x", 128)} {
		if !wire.ValidID(id) {
			t.Errorf("id %q refused", id)
		}
	}
	for _, id := range []string{"", "a.b", "a b", "*", ">", "a\n", "é", "$x", strings.Repeat("x", 129)} {
		if wire.ValidID(id) {
			t.Errorf("id %q accepted", id)
		}
	}
	for _, name := range []string{"chat", "0", "open-ai_2", strings.Repeat("x", 63)} {
		if !wire.ValidName(name) {
			t.Errorf("name %q refused", name)
		}
	}
	for _, name := range []string{"", "Chat", "-a", "_a", "a.b", "a b", "*", "chat\n", strings.Repeat("x", 64)} {
		if wire.ValidName(name) {
			t.Errorf("name %q accepted", name)
		}
	}
}

func TestCallersSeeFailuresByTheTable(t *testing.T) {
	provider := dispatch.Error{
		Status: 418, Message: "the provider's words", Type: "their_type", Code: "their_code", Param: "messages", RetryAfter: 7 * time.Second,
	}
	for kind, rule := range dispatch.Rules {
		e := provider
		e.Kind = kind
		want := wire.Failure{Kind: kind, Status: int64(rule.Status), Message: e.Message, Type: rule.Type, Code: rule.Code, Param: "messages"}
		if rule.AsItCame {
			want.Status, want.Type, want.Code = 418, "their_type", "their_code"
		}
		if rule.RetryAfter {
			want.RetryAfterMS = 7000
		}
		if kind == dispatch.Account {
			want.Message = "the provider refuses our account; the operator has to mend it"
		}
		if got := *wire.FailureOf(&e); got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", kind, got, want)
		}
	}
}

func TestAFailureWithoutWordsGetsOurs(t *testing.T) {
	got := *wire.FailureOf(&dispatch.Error{Kind: dispatch.BadRequest, Status: 200})
	want := wire.Failure{Kind: dispatch.BadRequest, Status: 400, Message: "bad_request (status 200)", Type: "invalid_request_error", Code: "bad_request"}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if ms := wire.FailureOf(&dispatch.Error{Kind: dispatch.Transient}).RetryAfterMS; ms != 1000 {
		t.Errorf("come back in %d ms, want the least: 1000", ms)
	}
	if ms := wire.FailureOf(&dispatch.Error{Kind: dispatch.Transient, RetryAfter: time.Millisecond}).RetryAfterMS; ms != 1000 {
		t.Errorf("come back in %d ms, want the least: 1000", ms)
	}
}

func TestNoFailureShowsACallerOurAccountTrouble(t *testing.T) {
	f := wire.FailureOf(&dispatch.Error{
		Kind: dispatch.Account, Status: 401, Code: "invalid_api_key", Type: "auth", Message: "Incorrect API key provided: sk-12**",
	})
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"401", "sk-", "invalid_api_key"} {
		if strings.Contains(string(data), secret) {
			t.Errorf("shows %q: %s", secret, data)
		}
	}
}

package diagnosis

import (
	"reflect"
	"testing"
	"time"

	"understudy/pkg/dispatch"
	"understudy/pkg/statuspage"
	"understudy/pkg/wire"
)

func ready(change func(*wire.Health)) wire.Health {
	h := wire.Health{State: wire.HealthStateReady, At: now}
	change(&h)
	return h
}

func TestEvidenceIsThatOfTheInstancesThatDoNotWork(t *testing.T) {
	workers := map[string]wire.Worker{"claude": {}, "openai": {}, "ollama": {BaseURL: "http://127.0.0.1:11434/v1"}, "rules": {Kind: wire.WorkerKindRules}}
	reports := map[string][]wire.Health{
		"claude": {
			ready(func(h *wire.Health) { h.RecentAnswered = 100 }),
			{State: wire.HealthStateOpen, At: now, Recent: map[string]int64{"transient": 3}, RecentUnreached: 1, LastFailure: call(dispatch.Transient, 503, "", 9)},
			{State: wire.HealthStatePaused, At: ago(time.Second), Recent: map[string]int64{"transient": 1, "throttled": 2}, LastFailure: call(dispatch.Throttled, 429, "", 2), Probe: call("", 0, "", 1)},
		},
		"openai": {ready(func(h *wire.Health) { h.LastAnsweredAt = ago(time.Second) })},
	}
	e := Collect("claude", workers, reports, page(statuspage.Degraded))
	want := Evidence{
		Worker: "claude", Remote: true, Running: 3, Ready: 1, State: wire.HealthStateOpen, At: now,
		Failures: map[dispatch.Kind]int64{"transient": 4, "throttled": 2}, Unreached: 1,
		LastFailure: call(dispatch.Throttled, 429, "", 2), Probe: call("", 0, "", 1), Page: page(statuspage.Degraded),
		Others: []Other{{Worker: "ollama"}, {Worker: "openai", Remote: true, Reach: Reached}},
	}
	if !reflect.DeepEqual(e, want) {
		t.Errorf("got  %+v\nwant %+v", e, want)
	}
}

func TestReachIsKnownByTheLastWordOfEachInstance(t *testing.T) {
	cut := ready(func(h *wire.Health) { h.LastFailure = lost(wire.UnreachedTimeout, 5) })
	for _, c := range []struct {
		situation string
		reports   []wire.Health
		want      Reach
	}{
		{"nothing runs", nil, Unknown},
		{"it was never called", []wire.Health{ready(func(*wire.Health) {})}, Unknown},
		{"it answered", []wire.Health{ready(func(h *wire.Health) { h.LastAnsweredAt = ago(10 * time.Second) })}, Reached},
		{"it answered long ago", []wire.Health{ready(func(h *wire.Health) { h.LastAnsweredAt = ago(time.Hour) })}, Unknown},
		{"it answered with an error", []wire.Health{ready(func(h *wire.Health) { h.LastFailure = call(dispatch.Account, 401, "", 5) })}, Reached},
		{"a probe was answered", []wire.Health{ready(func(h *wire.Health) { h.Probe = call("", 0, "", 5) })}, Reached},
		{"silence says nothing", []wire.Health{ready(func(h *wire.Health) { h.LastFailure = call(dispatch.Silent, 0, "", 5) })}, Unknown},
		{"no connection", []wire.Health{cut}, Cut},
		{"no connection, then an answer", []wire.Health{ready(func(h *wire.Health) {
			h.LastFailure, h.LastAnsweredAt = lost(wire.UnreachedTimeout, 5), ago(time.Second)
		})}, Reached},
		{"no connection, then a probe was answered", []wire.Health{ready(func(h *wire.Health) {
			h.LastFailure, h.Probe = lost(wire.UnreachedTimeout, 5), call("", 0, "", 1)
		})}, Reached},
		{"no connection, an hour ago", []wire.Health{ready(func(h *wire.Health) { h.LastFailure = lost(wire.UnreachedTimeout, 3600) })}, Unknown},
		{"no connection for one instance, none called of the other", []wire.Health{cut, ready(func(*wire.Health) {})}, Unknown},
		{"no connection for both", []wire.Health{cut, cut}, Cut},
	} {
		if got := reach(c.reports); got != c.want {
			t.Errorf("%s: %q, want %q", c.situation, got, c.want)
		}
	}
}

func TestAddressTellsWhoLiesOutsideOurNetwork(t *testing.T) {
	for address, want := range map[string]bool{
		"": true, "https://api.openai.com/v1": true, "http://203.0.113.7/v1": true, "https://[2606:4700::1]/v1": true,
		"http://127.0.0.1:11434/v1": false, "http://localhost:11434/v1": false, "http://10.0.0.7/v1": false, "http://ollama:11434/v1": false,
		"http://gpu.internal/v1": false, "http://[::1]:8000/v1": false,
	} {
		if got := remote(wire.Worker{Kind: wire.WorkerKindOpenai, BaseURL: address}); got != want {
			t.Errorf("%q: remote %t", address, got)
		}
	}
	if remote(wire.Worker{Kind: wire.WorkerKindRules}) {
		t.Error("rules are remote")
	}
}

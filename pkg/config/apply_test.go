package config_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/bus/bustest"
	"understudy/pkg/config"
	"understudy/pkg/wire"
)

var (
	model = wire.Worker{Kind: wire.WorkerKindOpenai}
	rules = wire.Worker{Kind: wire.WorkerKindRules}
)

func oneRoute(route wire.Route) wire.Config {
	return wire.Config{
		Workers: map[string]wire.Worker{"openai": model, "ollama": model, "rules": rules},
		Routes:  map[string]wire.Route{"chat": route},
	}
}

func apply(t *testing.T, b *bus.Bus, cfg wire.Config) config.Report {
	t.Helper()
	report, err := config.Apply(t.Context(), b, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// table reads the owners of chat's lanes.
func table(t *testing.T, b *bus.Bus) map[wire.Lane]bus.Entry[wire.Ownership] {
	t.Helper()
	entries, err := b.Owners(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	owners := map[wire.Lane]bus.Entry[wire.Ownership]{}
	for _, e := range entries {
		if route, lane, err := wire.ParseOwnerKey(e.Key); err == nil && route == "chat" {
			owners[lane] = e
		}
	}
	return owners
}

func move(t *testing.T, b *bus.Bus, lane wire.Lane, worker string) {
	t.Helper()
	e := table(t, b)[lane]
	e.Value.Worker, e.Value.Reason = worker, "moved by the supervisor"
	if _, err := b.SetOwner(t.Context(), "chat", lane, e.Value, e.Revision); err != nil {
		t.Fatal(err)
	}
}

func TestApplyingARouteWritesItsFirstTable(t *testing.T) {
	b := bustest.New(t)
	report := apply(t, b, oneRoute(wire.Route{Split: map[string]int64{"ollama": 30, "openai": 70}, Fallbacks: []string{"rules", "openai"}}))
	owners := table(t, b)
	for lane, want := range map[wire.Lane]string{
		"0": "openai", "6": "openai", "7": "ollama", "9": "ollama", "parked": "openai", "retry": "rules",
		"handoff.openai": "openai", "handoff.ollama": "ollama", "handoff.rules": "rules",
	} {
		got := owners[lane].Value
		if got.Worker != want || got.Assigned != want || got.Reason == "" || got.Since.IsZero() || got.Epoch != 0 {
			t.Errorf("lane %s: %+v, want %s", lane, got, want)
		}
	}
	if len(owners) != wire.Lanes+5 {
		t.Errorf("%d lanes in the table", len(owners))
	}
	if !slices.Contains(report.Lines(), "route chat created") {
		t.Errorf("report: %v", report.Lines())
	}
	if _, err := b.LaneState(t.Context(), "chat", wire.HandoffLane("ollama")); err != nil {
		t.Errorf("queue: %v", err)
	}
}

func TestParkedRequestsHaveNoOwnerWithoutAModel(t *testing.T) {
	b := bustest.New(t)
	apply(t, b, oneRoute(wire.Route{Fallbacks: []string{"rules"}}))
	if e := table(t, b)[wire.LaneParked]; e.Revision == 0 || e.Value.Worker != "" {
		t.Errorf("parked: %+v", e)
	}
	apply(t, b, oneRoute(wire.Route{Fallbacks: []string{"rules", "ollama"}}))
	if e := table(t, b)[wire.LaneParked]; e.Value.Worker != "ollama" {
		t.Errorf("parked, once there is a model: %+v", e)
	}
}

func TestApplyingTheSameAgainChangesNothing(t *testing.T) {
	b := bustest.New(t)
	cfg := oneRoute(wire.Route{Fallbacks: []string{"openai", "rules"}})
	apply(t, b, cfg)
	before := table(t, b)
	if report := apply(t, b, cfg); len(report.Changes) != 0 {
		t.Errorf("report: %v", report.Lines())
	}
	for lane, e := range table(t, b) {
		if e.Revision != before[lane].Revision {
			t.Errorf("lane %s was written again", lane)
		}
	}
}

func TestAMovedLaneStaysMovedWhileItsOwnerIsOnTheChain(t *testing.T) {
	b := bustest.New(t)
	apply(t, b, oneRoute(wire.Route{Fallbacks: []string{"openai", "ollama", "rules"}}))
	move(t, b, "3", "ollama")
	apply(t, b, oneRoute(wire.Route{Fallbacks: []string{"rules", "openai", "ollama"}}))
	owners := table(t, b)
	if got := owners["3"].Value; got.Worker != "ollama" || got.Assigned != "openai" {
		t.Errorf("lane 3, which was moved: %+v", got)
	}
	if got := owners["4"].Value; got.Worker != "rules" || got.Assigned != "rules" {
		t.Errorf("lane 4, which was not: %+v", got)
	}
}

func TestLanesOfAWorkerThatLeftGoToTheChainThatIsLeft(t *testing.T) {
	b := bustest.New(t)
	apply(t, b, oneRoute(wire.Route{Fallbacks: []string{"openai", "ollama", "rules"}}))
	move(t, b, "3", "ollama")
	cfg := oneRoute(wire.Route{Fallbacks: []string{"openai", "rules"}})
	delete(cfg.Workers, "ollama")
	report := apply(t, b, cfg)
	owners := table(t, b)
	for _, lane := range []wire.Lane{"3", "handoff.ollama"} {
		if got := owners[lane].Value; got.Worker != "openai" {
			t.Errorf("lane %s: %+v", lane, got)
		}
	}
	want := []string{
		"route chat changed: fallbacks",
		"lane chat.3 moved: from ollama to openai: the owner left the chain",
		"lane chat.handoff.ollama moved: from ollama to openai: the owner left the chain",
		"worker ollama removed",
	}
	if got := report.Lines(); !slices.Equal(got, want) {
		t.Errorf("report:\n%s", strings.Join(got, "\n"))
	}
}

func TestANewSplitTakesEffectAtOnceOnlyWithoutASupervisor(t *testing.T) {
	for _, led := range []bool{false, true} {
		b := bustest.New(t)
		apply(t, b, oneRoute(wire.Route{Fallbacks: []string{"openai", "ollama"}}))
		want := "ollama"
		if led {
			if _, err := b.TakeLease(t.Context(), "test"); err != nil {
				t.Fatal(err)
			}
			want = "openai"
		}
		apply(t, b, oneRoute(wire.Route{Split: map[string]int64{"ollama": 100}, Fallbacks: []string{"openai", "ollama"}}))
		if got := table(t, b)["0"].Value.Worker; got != want {
			t.Errorf("led %v: lane 0 belongs to %s, want %s", led, got, want)
		}
	}
}

func TestARemovedRouteKeepsItsQueue(t *testing.T) {
	b := bustest.New(t)
	cfg := oneRoute(wire.Route{Fallbacks: []string{"openai"}})
	apply(t, b, cfg)
	if _, err := b.Publish(t.Context(), wire.RequestSubject("chat"), "r1", nil, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	delete(cfg.Routes, "chat")
	report := apply(t, b, cfg)
	if want := "route chat removed: its queue keeps 1 requests, which nobody takes until the route is back"; !slices.Contains(report.Lines(), want) {
		t.Errorf("report: %v", report.Lines())
	}
	if routes, err := b.Routes(t.Context()); err != nil || len(routes) != 0 {
		t.Errorf("routes: %v, %v", routes, err)
	}
	if len(table(t, b)) != 0 {
		t.Error("the table still has lanes of the route")
	}
	if state, err := b.StreamState(t.Context(), wire.RequestStream("chat")); err != nil || state.Messages != 1 {
		t.Errorf("queue: %+v, %v", state, err)
	}
}

func TestAPlanChangesNothing(t *testing.T) {
	b := bustest.New(t)
	report, err := config.Plan(t.Context(), b, oneRoute(wire.Route{Fallbacks: []string{"openai"}}))
	if err != nil || len(report.Changes) != 4 {
		t.Errorf("plan: %v, %v", report.Lines(), err)
	}
	routes, err := b.Routes(t.Context())
	if err != nil || len(routes) != 0 || len(table(t, b)) != 0 {
		t.Errorf("routes %v, owners %v, %v", routes, table(t, b), err)
	}
}

func TestEachChangedRouteIsAnEvent(t *testing.T) {
	b := bustest.New(t)
	apply(t, b, oneRoute(wire.Route{Fallbacks: []string{"openai"}}))
	apply(t, b, oneRoute(wire.Route{Fallbacks: []string{"ollama"}}))
	apply(t, b, oneRoute(wire.Route{Fallbacks: []string{"ollama"}}))
	var got []string
	err := b.Events(t.Context(), 0, func(e wire.Event, _ uint64) bool {
		if e.Kind == wire.EventKindRouteApplied {
			got = append(got, e.Name+" "+e.Reason+" "+e.Data["detail"])
		}
		return true
	})
	if want := []string{"chat created ", "chat changed fallbacks"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("events %q, %v", got, err)
	}
}

func TestApplyingEndsWithItsContext(t *testing.T) {
	b := bustest.New(t)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if _, err := config.Apply(ctx, b, oneRoute(wire.Route{Fallbacks: []string{"openai"}})); err == nil {
		t.Error("applied although its time was over")
	}
}

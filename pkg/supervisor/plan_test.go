package supervisor

import (
	"strings"
	"testing"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

var (
	up      = verdict{healthy: true}
	down    = verdict{reason: "breaker open"}
	unheard = verdict{unknown: true}
)

// world is a route chat with two models and rules behind it.
type world struct {
	table    bus.Running
	verdicts map[string]verdict
	returns  *returning
	now      time.Time
}

func newWorld() *world {
	w := &world{
		table: bus.Running{
			Routes:  map[string]wire.Route{"chat": {Fallbacks: []string{"openai", "claude", "rules"}}},
			Workers: map[string]wire.Worker{"openai": {Kind: wire.WorkerKindOpenai}, "claude": {Kind: wire.WorkerKindOpenai}, "rules": {Kind: wire.WorkerKindRules}},
			Owners:  map[string]bus.Entry[wire.Ownership]{},
		},
		verdicts: map[string]verdict{"openai": up, "claude": up, "rules": up},
		returns:  newReturning(),
		now:      time.Unix(1_800_000_000, 0),
	}
	w.rule()
	return w
}

// rule carries the plan out and returns the moves.
func (w *world) rule() []move {
	moves := plan(w.now, w.table, func(name string) verdict { return w.verdicts[name] }, w.returns, 1)
	for _, m := range moves {
		key := m.lane.OwnerKey(m.route)
		w.table.Owners[key] = bus.Entry[wire.Ownership]{Key: key, Revision: m.revision + 1, Value: wire.Ownership{Worker: m.to, Reason: m.reason, Assigned: m.assigned, Epoch: 1}}
	}
	return moves
}

func (w *world) owner(lane wire.Lane) string {
	return w.table.Owners[lane.OwnerKey("chat")].Value.Worker
}

func (w *world) numbered() map[string]int {
	count := map[string]int{}
	for n := range wire.Lanes {
		count[w.owner(wire.NumberedLane(n))]++
	}
	return count
}

func TestHealthyHeadOwnsEveryLane(t *testing.T) {
	w := newWorld()
	if got := w.numbered(); got["openai"] != 10 {
		t.Errorf("owners %v", got)
	}
	if w.owner(wire.HandoffLane("claude")) != "claude" || w.owner(wire.LaneParked) != "openai" {
		t.Errorf("owners %v", w.table.Owners)
	}
	if moves := w.rule(); len(moves) != 0 {
		t.Errorf("a settled table moves: %v", moves)
	}
}

func TestLanesOfAWorkerThatIsDownMoveDownTheChainWithTheReason(t *testing.T) {
	w := newWorld()
	w.verdicts["openai"] = down
	moves := w.rule()
	if got := w.numbered(); got["claude"] != 10 {
		t.Errorf("owners %v", got)
	}
	if !strings.Contains(moves[0].reason, "openai: breaker open") {
		t.Errorf("reason %q", moves[0].reason)
	}
	w.verdicts["claude"] = down
	w.rule()
	if got := w.numbered(); got["rules"] != 10 || w.owner(wire.LaneParked) != "" {
		t.Errorf("owners %v, parked %q", got, w.owner(wire.LaneParked))
	}
}

func TestReturningWorkerGetsOneLaneThenThreeThenAll(t *testing.T) {
	w := newWorld()
	w.verdicts["openai"] = down
	w.rule()
	w.verdicts["openai"] = up
	for _, step := range []struct {
		after time.Duration
		lanes int
	}{{0, 1}, {4 * time.Second, 1}, {time.Second, 3}, {5 * time.Second, 10}} {
		w.now = w.now.Add(step.after)
		w.rule()
		if got := w.numbered(); got["openai"] != step.lanes || got["claude"] != 10-step.lanes {
			t.Errorf("%v later: owners %v, want %d lanes for openai", step.after, got, step.lanes)
		}
	}
}

func TestRelapseDuringSlowStartMovesTheLanesAwayAgain(t *testing.T) {
	w := newWorld()
	w.verdicts["openai"] = down
	w.rule()
	w.verdicts["openai"] = up
	w.rule()
	w.verdicts["openai"] = down
	w.rule()
	if got := w.numbered(); got["claude"] != 10 {
		t.Errorf("owners %v", got)
	}
	w.verdicts["openai"] = up
	w.now = w.now.Add(time.Hour)
	w.rule()
	if got := w.numbered(); got["openai"] != 1 {
		t.Errorf("owners %v, want slow start from the beginning", got)
	}
}

func TestOnlyModelComesBackAtOnceWhenNobodyElseIsUp(t *testing.T) {
	w := newWorld()
	for name := range w.verdicts {
		w.verdicts[name] = down
	}
	w.rule()
	w.verdicts["openai"] = up
	w.rule()
	if got := w.numbered(); got["openai"] != 10 {
		t.Errorf("owners %v", got)
	}
}

func TestWorkerNotYetHeardOfKeepsItsLanes(t *testing.T) {
	w := newWorld()
	w.verdicts["openai"] = unheard
	if moves := w.rule(); len(moves) != 0 {
		t.Errorf("moves %v", moves)
	}
}

func TestNewLeaderRewritesTheTableUnderItsEpoch(t *testing.T) {
	w := newWorld()
	moves := plan(w.now, w.table, func(name string) verdict { return w.verdicts[name] }, w.returns, 2)
	if len(moves) != len(w.table.Owners) {
		t.Fatalf("%d of %d lanes rewritten", len(moves), len(w.table.Owners))
	}
	for _, m := range moves {
		if m.from != m.to {
			t.Errorf("lane %s moved from %s to %s", m.lane, m.from, m.to)
		}
	}
}

func TestWeightedRouteKeepsItsSharesWhenOneWorkerIsDown(t *testing.T) {
	w := newWorld()
	w.table.Routes["chat"] = wire.Route{Fallbacks: []string{"openai", "claude", "rules"}, Split: map[string]int64{"openai": 70, "claude": 20, "rules": 10}}
	w.rule()
	if got := w.numbered(); got["openai"] != 7 || got["claude"] != 2 || got["rules"] != 1 {
		t.Fatalf("owners %v", got)
	}
	w.verdicts["claude"] = down
	w.rule()
	if got := w.numbered(); got["openai"] != 9 || got["rules"] != 1 {
		t.Errorf("owners %v", got)
	}
}

func TestThrottledWorkerKeepsItsLanesThroughAShortPause(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for pause, want := range map[time.Duration]bool{time.Second: true, time.Minute: false} {
		r := newRoster()
		r.begin(now.Add(-time.Hour))
		r.hear(wire.Health{Worker: "openai", Instance: "a", State: wire.HealthStatePaused, Until: now.Add(pause)}, now)
		if v := r.judge(now)("openai"); v.healthy != want {
			t.Errorf("paused for %v: %+v", pause, v)
		}
	}
}

func TestOneHealthyInstanceIsEnough(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	r := newRoster()
	r.begin(now.Add(-time.Hour))
	r.hear(wire.Health{Worker: "openai", Instance: "a", State: wire.HealthStateOpen, Reason: "x"}, now)
	r.hear(wire.Health{Worker: "openai", Instance: "b", State: wire.HealthStateReady}, now)
	if v := r.judge(now)("openai"); !v.healthy {
		t.Errorf("verdict %+v", v)
	}
	if v := r.judge(now.Add(time.Minute))("openai"); v.healthy {
		t.Errorf("a minute of silence: %+v", v)
	}
	if v := r.judge(now)("claude"); v.healthy || v.unknown {
		t.Errorf("never heard of: %+v", v)
	}
}

func TestAWorkerAtItsOwnLimitKeepsItsLanes(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	r := newRoster()
	h := wire.Health{Worker: "openai", Instance: "a", State: wire.HealthStatePaused, Cause: wire.HealthCauseLimit, Until: now.Add(time.Minute)}
	r.hear(h, now)
	if v := r.judge(now)("openai"); !v.healthy {
		t.Errorf("at its own limit: %+v", v)
	}
	h.Cause = wire.HealthCauseProvider
	r.hear(h, now)
	if v := r.judge(now)("openai"); v.healthy {
		t.Error("throttled by its provider for a minute, and healthy")
	}
}

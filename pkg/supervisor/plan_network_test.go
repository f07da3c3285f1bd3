package supervisor

import (
	"testing"
	"time"

	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

var (
	cut      = verdict{cutOff: true, reason: "breaker open: no answer from the provider"}
	cutAndUp = verdict{healthy: true, cutOff: true}
)

func TestNetworkFaultMovesLanesToRulesWhereTheRouteAllowsIt(t *testing.T) {
	w := newWorld()
	w.verdicts["openai"], w.verdicts["claude"] = cut, cut
	w.rule()
	if got := w.numbered(); got["rules"] != 10 {
		t.Errorf("owners %v", got)
	}
}

func TestNetworkFaultMovesNothingWhereTheRouteWantsAModel(t *testing.T) {
	w := newWorld()
	route := w.table.Routes["chat"]
	route.Degrade = dispatch.DegradeNever
	w.table.Routes["chat"] = route
	w.verdicts["openai"], w.verdicts["claude"] = cut, cut
	for _, m := range w.rule() {
		if m.lane != wire.LaneParked {
			t.Errorf("lane %s moved from %s to %s: %s", m.lane, m.from, m.to, m.reason)
		}
	}
	if got := w.numbered(); got["openai"] != 10 {
		t.Errorf("owners %v", got)
	}
}

func TestNetworkFaultMovesNoLaneFromOneModelToAnother(t *testing.T) {
	w := newWorld()
	w.verdicts["openai"], w.verdicts["claude"] = cut, cutAndUp
	if moves := w.rule(); len(moves) != 0 {
		t.Errorf("moves %v", moves)
	}
	w.verdicts["claude"] = up // reached again: now it is better
	w.rule()
	if got := w.numbered(); got["claude"] != 10 {
		t.Errorf("owners %v", got)
	}
}

func TestModelThatIsReachedInsideOurNetworkTakesTheLanes(t *testing.T) {
	w := newWorld()
	w.table.Routes["chat"] = wire.Route{Fallbacks: []string{"openai", "claude", "ollama", "rules"}, Degrade: dispatch.DegradeNever}
	w.table.Workers["ollama"] = wire.Worker{Kind: wire.WorkerKindOpenai, BaseURL: "http://127.0.0.1:11434/v1"}
	w.verdicts["ollama"] = up
	w.verdicts["openai"], w.verdicts["claude"] = cut, cut
	w.rule()
	if got := w.numbered(); got["ollama"] != 10 {
		t.Errorf("owners %v", got)
	}
}

func TestLanesComeBackFromRulesToAModelDuringANetworkFault(t *testing.T) {
	w := newWorld()
	w.verdicts["openai"], w.verdicts["claude"] = cut, cut
	w.rule()
	w.verdicts["claude"] = cutAndUp
	w.rule()
	if got := w.numbered(); got["claude"] == 0 {
		t.Errorf("owners %v", got)
	}
}

func TestOnlyModelOfAChainThatIsNotReachedLosesItsLanes(t *testing.T) {
	w := newWorld()
	w.table.Routes["chat"] = wire.Route{Fallbacks: []string{"openai", "rules"}, Degrade: dispatch.DegradeNever}
	w.rule()
	w.verdicts["openai"] = cut
	w.rule()
	if got := w.numbered(); got["rules"] != 10 {
		t.Errorf("owners %v", got)
	}
}

func TestWorkerIsCutOffWhenNoInstanceReachesItsProvider(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	lost := wire.Health{Worker: "openai", Instance: "a", State: wire.HealthStateOpen, At: now, LastFailure: &wire.Call{Kind: dispatch.Transient, Unreached: wire.UnreachedTimeout, At: now}}
	r := newRoster()
	r.hear(lost, now)
	if v := r.judge(now)("openai"); !v.cutOff || v.healthy {
		t.Errorf("its only instance: %+v", v)
	}
	r.hear(wire.Health{Worker: "openai", Instance: "b", State: wire.HealthStateReady, At: now}, now)
	if v := r.judge(now)("openai"); v.cutOff || !v.healthy {
		t.Errorf("one of two: %+v", v)
	}
	if v := r.judge(now.Add(time.Minute))("openai"); v.cutOff {
		t.Errorf("a minute of silence: %+v", v)
	}
}

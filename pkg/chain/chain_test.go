package chain_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"understudy/pkg/bus"
	"understudy/pkg/chain"
	"understudy/pkg/wire"
)

var names = []string{"openai", "claude", "gemini", "ollama", "rules"}

// workers holds every name; only rules is no model.
func workers() map[string]wire.Worker {
	all := map[string]wire.Worker{}
	for _, n := range names {
		all[n] = wire.Worker{Kind: wire.WorkerKindOpenai}
	}
	all["rules"] = wire.Worker{Kind: wire.WorkerKindRules}
	return all
}

// drawRoute draws a valid route: a chain without repeats and shares in tens
// that add up to 100, or none.
func drawRoute(t *rapid.T) wire.Route {
	route := wire.Route{Fallbacks: rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, len(names), rapid.ID).Draw(t, "fallbacks")}
	if rapid.Bool().Draw(t, "split") {
		route.Split = map[string]int64{}
		for range wire.Lanes {
			route.Split[rapid.SampledFrom(names).Draw(t, "dealt")] += 10
		}
	}
	return route
}

func TestSeventyTwentyTenGivesLanesInOrderOfShares(t *testing.T) {
	route := wire.Route{Split: map[string]int64{"review": 10, "openai": 70, "claude": 20}, Fallbacks: []string{"claude"}}
	var got []string
	for n := range wire.Lanes {
		got = append(got, chain.Assigned(route, wire.NumberedLane(n)))
	}
	want := append(slices.Repeat([]string{"openai"}, 7), "claude", "claude", "review")
	if !slices.Equal(got, want) {
		t.Errorf("lanes go to %v, want %v", got, want)
	}
}

func TestEachLaneHasTheChainThatItsNamePromises(t *testing.T) {
	route := wire.Route{Split: map[string]int64{"gemini": 100}, Fallbacks: []string{"openai", "rules", "claude"}}
	for lane, want := range map[wire.Lane][]string{
		"3":              {"gemini", "openai", "rules", "claude"},
		"handoff.openai": {"openai", "rules", "claude"},
		"handoff.claude": {"claude"},
		"handoff.gemini": {"gemini", "openai", "rules", "claude"},
		"handoff.gone":   {"openai", "rules", "claude"},
		"parked":         {"openai", "claude", "gemini"},
		"retry":          {"openai", "rules", "claude"},
	} {
		if got := chain.Of(route, workers(), lane); !slices.Equal(got, want) {
			t.Errorf("lane %s: %v, want %v", lane, got, want)
		}
	}
}

func TestEveryShareGetsItsNumberOfLanes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		route := drawRoute(t)
		lanes := map[string]int64{}
		for n := range wire.Lanes {
			lanes[chain.Assigned(route, wire.NumberedLane(n))]++
		}
		want := route.Split
		if want == nil {
			want = map[string]int64{route.Fallbacks[0]: 100}
		}
		for w, share := range want {
			if lanes[w]*10 != share {
				t.Fatalf("%s has %d lanes for a share of %d", w, lanes[w], share)
			}
		}
	})
}

func TestAChainNamesWorkersOfItsRouteOnceEach(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		route := drawRoute(t)
		for _, lane := range bus.RouteLanes(route) {
			candidates := chain.Of(route, workers(), lane)
			for i, w := range candidates {
				if !chain.Serves(route, w) {
					t.Fatalf("lane %s: %s is no part of the route", lane, w)
				}
				if slices.Contains(candidates[:i], w) {
					t.Fatalf("lane %s: %s comes twice in %v", lane, w, candidates)
				}
			}
			if len(candidates) == 0 && lane != wire.LaneParked {
				t.Fatalf("lane %s has nobody", lane)
			}
		}
	})
}

func TestTheHeadOfAChainIsTheAssignedWorker(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		route := drawRoute(t)
		for _, lane := range bus.RouteLanes(route) {
			if lane == wire.LaneParked {
				continue
			}
			if head, assigned := chain.Head(route, workers(), lane), chain.Assigned(route, lane); head != assigned {
				t.Fatalf("lane %s: head %q, assigned %q", lane, head, assigned)
			}
		}
	})
}

func TestOnlyModelsMayOwnTheParkedLane(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		route := drawRoute(t)
		all := workers()
		for _, w := range chain.Of(route, all, wire.LaneParked) {
			if !chain.IsModel(all[w]) {
				t.Fatalf("parked lane goes to %s", w)
			}
		}
		delete(all, "openai")
		if slices.Contains(chain.Of(route, all, wire.LaneParked), "openai") {
			t.Fatal("a worker that nobody knows is taken for a model")
		}
	})
}

func TestAHandoffNeverGoesBackUpTheChain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		route := drawRoute(t)
		for i, w := range route.Fallbacks {
			for _, next := range chain.Of(route, workers(), wire.HandoffLane(w)) {
				if slices.Index(route.Fallbacks, next) < i {
					t.Fatalf("handoff to %s may go back to %s", w, next)
				}
			}
		}
	})
}

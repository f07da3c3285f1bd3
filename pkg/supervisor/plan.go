package supervisor

import (
	"fmt"
	"slices"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/chain"
	"understudy/pkg/wire"
)

const defaultSlowStart = 5 * time.Second

// move is one lane's change of owner, or its renewal under a new epoch.
type move struct {
	route    string
	lane     wire.Lane
	from, to string
	assigned string
	reason   string
	since    time.Time
	revision uint64
	failed   bool
}

// returning remembers when each worker came back, for its slow start.
type returning struct {
	down  map[string]bool
	since map[string]time.Time
}

func newReturning() *returning {
	return &returning{down: map[string]bool{}, since: map[string]time.Time{}}
}

// observe notes who is down and who came back.
func (r *returning) observe(worker string, v verdict, now time.Time) {
	switch {
	case v.unknown:
	case !v.healthy:
		r.down[worker] = true
		delete(r.since, worker)
	case r.down[worker]:
		delete(r.down, worker)
		r.since[worker] = now
	}
}

// lanes is how many of its numbered lanes a worker may have now: one, then
// three, then all. A worker that was never seen down has all.
func (r *returning) lanes(worker string, step time.Duration, now time.Time) int {
	since, coming := r.since[worker]
	if !coming {
		return wire.Lanes
	}
	switch up := now.Sub(since); {
	case up < step:
		return 1
	case up < 2*step:
		return 3
	}
	return wire.Lanes
}

// plan lists what has to be written so that each lane is owned by the first
// healthy worker of its chain.
func plan(now time.Time, t bus.Running, judge func(string) verdict, r *returning, epoch uint64) []move {
	for worker := range t.Workers {
		r.observe(worker, judge(worker), now)
	}
	var moves []move
	for name, route := range t.Routes {
		granted := map[string]int{} // numbered lanes given to each worker so far
		for _, lane := range bus.RouteLanes(route) {
			present := t.Owners[lane.OwnerKey(name)]
			m := move{
				route: name, lane: lane, from: present.Value.Worker, assigned: chain.Assigned(route, lane),
				since: present.Value.Since, revision: present.Revision,
			}
			m.to, m.reason = owner(now, route, t.Workers, lane, m.from, judge, r, granted)
			if m.to != m.from || present.Revision == 0 || uint64(present.Value.Epoch) != epoch {
				if m.to == m.from && present.Revision != 0 {
					m.reason = present.Value.Reason
				}
				moves = append(moves, m)
			}
		}
	}
	return moves
}

// owner chooses a lane's owner and says why.
func owner(now time.Time, route wire.Route, workers map[string]wire.Worker, lane wire.Lane, present string, judge func(string) verdict, r *returning, granted map[string]int) (worker, reason string) {
	candidates := chain.Of(route, workers, lane)
	step := route.SlowStart.Or(defaultSlowStart)
	passed := ""
	for _, w := range candidates {
		v := judge(w)
		if v.unknown && w == present {
			return w, "not heard of yet"
		}
		if !v.healthy {
			passed = because(passed, w, v.reason)
			continue
		}
		if !admits(r, w, step, now, lane, granted) {
			passed = because(passed, w, "slow start")
			continue
		}
		if heldByNetwork(route, workers, candidates, present, w, judge) {
			return present, networkReason
		}
		if _, numbered := lane.Number(); numbered {
			granted[w]++
		}
		switch _, coming := r.since[w]; {
		case passed != "":
			return w, passed
		case coming:
			return w, w + " is back"
		}
		return w, "first of the chain"
	}
	// Nobody is healthy. A worker that is only starting slowly is better than none.
	for _, w := range candidates {
		if judge(w).healthy {
			return w, passed
		}
	}
	if lane == wire.LaneParked {
		return "", because(passed, "", "no model is up")
	}
	if slices.Contains(candidates, present) {
		return present, "nobody of the chain is healthy"
	}
	return chain.Head(route, workers, lane), "nobody of the chain is healthy"
}

// admits says whether a returning worker may have this lane yet: numbered ones
// by its present share, the others once it has proved itself on its first.
func admits(r *returning, w string, step time.Duration, now time.Time, lane wire.Lane, granted map[string]int) bool {
	most := r.lanes(w, step, now)
	if _, numbered := lane.Number(); numbered {
		return granted[w] < most
	}
	return most > 1
}

func because(before, worker, why string) string {
	if worker != "" {
		why = fmt.Sprintf("%s: %s", worker, why)
	}
	if before == "" {
		return why
	}
	return before + "; " + why
}

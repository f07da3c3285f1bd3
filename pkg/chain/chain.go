// Package chain decides, from a route's configuration alone, which workers may
// serve each of its lanes, and in which order. It keeps no state.
package chain

import (
	"cmp"
	"maps"
	"slices"

	"understudy/pkg/wire"
)

const shareOfLane = 100 / wire.Lanes // per cent

// IsModel says whether a worker asks a model, so that its answers are not
// degraded.
func IsModel(w wire.Worker) bool { return w.Kind != wire.WorkerKindRules }

// Assigned returns the worker that owns a lane when all is well, as far as the
// route alone says: for a numbered lane the worker that the split dealt it to,
// for a handoff lane its worker, for retries the head of the chain. It is empty
// for the parked lane, whose first owner depends on the workers' kinds: see
// Head.
func Assigned(route wire.Route, lane wire.Lane) string {
	if n, ok := lane.Number(); ok {
		return dealt(route, n)
	}
	if w, ok := lane.HandoffTo(); ok && Serves(route, w) {
		return w
	}
	if lane == wire.LaneParked || len(route.Fallbacks) == 0 {
		return ""
	}
	return route.Fallbacks[0]
}

// Of lists the workers that may own a lane, best first and each once:
//
//   - a numbered lane: its assigned worker, then the fallbacks;
//   - a handoff lane: its worker, then what comes after it in the fallbacks, or
//     all of them when it is not one of them;
//   - parked: the models among the fallbacks, then among the split;
//   - retries: the fallbacks.
//
// A worker that left the route keeps no handoff lane: the fallbacks empty it.
func Of(route wire.Route, workers map[string]wire.Worker, lane wire.Lane) []string {
	switch after, handoff := lane.HandoffTo(); {
	case lane == wire.LaneParked:
		return slices.DeleteFunc(everyone(route), func(w string) bool {
			worker, known := workers[w]
			return !known || !IsModel(worker)
		})
	case lane == wire.LaneRetry:
		return slices.Clone(route.Fallbacks)
	case handoff:
		if i := slices.Index(route.Fallbacks, after); i >= 0 {
			return slices.Clone(route.Fallbacks[i:])
		}
	}
	return headed(Assigned(route, lane), route.Fallbacks)
}

// Head returns the first worker of a lane's chain: its owner when all is well.
// It is empty when nobody may own the lane.
func Head(route wire.Route, workers map[string]wire.Worker, lane wire.Lane) string {
	if candidates := Of(route, workers, lane); len(candidates) > 0 {
		return candidates[0]
	}
	return ""
}

// Serves says whether a worker is part of a route: of its chain or its split.
func Serves(route wire.Route, worker string) bool {
	_, split := route.Split[worker]
	return split || slices.Contains(route.Fallbacks, worker)
}

// dealt gives the numbered lanes out in the order of the shares, the largest
// first. Lanes that no share covers go to the head of the chain.
func dealt(route wire.Route, lane int) string {
	next := 0
	for _, w := range byShare(route.Split) {
		if next += int(route.Split[w]) / shareOfLane; lane < next {
			return w
		}
	}
	if len(route.Fallbacks) == 0 {
		return ""
	}
	return route.Fallbacks[0]
}

// byShare lists the workers of a split: by share descending, then by name.
func byShare(split map[string]int64) []string {
	return slices.SortedFunc(maps.Keys(split), func(a, b string) int {
		return cmp.Or(cmp.Compare(split[b], split[a]), cmp.Compare(a, b))
	})
}

// everyone lists the workers of a route: the fallbacks, then the rest of the split.
func everyone(route wire.Route) []string {
	all := slices.Clone(route.Fallbacks)
	for _, w := range byShare(route.Split) {
		if !slices.Contains(route.Fallbacks, w) {
			all = append(all, w)
		}
	}
	return all
}

// headed returns rest with head in front; an empty head is nobody.
func headed(head string, rest []string) []string {
	if head == "" {
		return slices.Clone(rest)
	}
	list := []string{head}
	for _, w := range rest {
		if w != head {
			list = append(list, w)
		}
	}
	return list
}

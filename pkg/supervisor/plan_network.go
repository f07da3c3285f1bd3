package supervisor

import (
	"slices"

	"understudy/pkg/chain"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// networkReason is why a lane stays where it is while no model is reached.
const networkReason = "network: no model of the chain is reached, so none is better"

// heldByNetwork says whether a lane stays with its present owner instead of
// moving on, because no connection stands to any model of its chain: the fault
// is our own network's, so another model is no better, and each move would only
// be moved back. A lane may still move down to a worker that asks no model,
// where the route allows degraded answers, and up from one to a model.
func heldByNetwork(route wire.Route, workers map[string]wire.Worker, candidates []string, present, next string, judge func(string) verdict) bool {
	if present == "" || present == next || !chain.IsModel(workers[present]) || !networkFault(route, workers, judge) {
		return false
	}
	return slices.Contains(candidates, present) && (chain.IsModel(workers[next]) || route.Degrade == dispatch.DegradeNever)
}

// networkFault says whether the last word of every model of a route's fallback
// chain is that its provider was not reached. One model alone cannot tell a
// fault of the network from its provider's.
func networkFault(route wire.Route, workers map[string]wire.Worker, judge func(string) verdict) bool {
	models := 0
	for _, w := range route.Fallbacks {
		if !chain.IsModel(workers[w]) {
			continue
		}
		if models++; !judge(w).cutOff {
			return false
		}
	}
	return models > 1
}

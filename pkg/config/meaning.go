package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"understudy/pkg/wire"
)

// The defaults of a route's patience, as schemas/route.json states them.
const (
	defaultTimeout    = time.Minute
	defaultTimeoutMax = 24 * time.Hour
)

// keyKinds says which kinds of worker a key belongs to; a key that is not here
// belongs to all.
var keyKinds = map[string][]wire.WorkerKind{
	"base_url":     {wire.WorkerKindOpenai},
	"api_key_env":  {wire.WorkerKindOpenai},
	"api_key_file": {wire.WorkerKindOpenai},
	"model":        {wire.WorkerKindOpenai},
	"headers":      {wire.WorkerKindOpenai},
	"status_url":   {wire.WorkerKindOpenai},
	"streaming":    {wire.WorkerKindOpenai},
	"codes":        {wire.WorkerKindOpenai},
	"continuation": {wire.WorkerKindOpenai},
	"packs":        {wire.WorkerKindRules},
}

// checkMeaning reports what fits the schema and still makes no sense.
func (t *tree) checkMeaning(cfg wire.Config) {
	for _, name := range slices.Sorted(maps.Keys(cfg.Workers)) {
		t.checkWorker(name, cfg.Workers[name])
	}
	claimed := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(cfg.Routes)) {
		route := cfg.Routes[name]
		at := []string{"routes", name}
		t.checkChain(at, route)
		t.checkSplit(at, route)
		t.checkTimeouts(at, route)
		t.checkModels(name, route, claimed)
	}
}

func (t *tree) checkWorker(name string, w wire.Worker) {
	at := []string{"workers", name}
	for _, key := range t.keysOf(at...) {
		kinds, limited := keyKinds[key]
		if w.Kind == "" || !limited || slices.Contains(kinds, w.Kind) {
			continue
		}
		t.problem(t.keyPlace(below(at, key)), below(at, key), fmt.Sprintf("a worker of kind %s has no %s: remove it, or make its kind %s", w.Kind, key, kinds[0]))
	}
	if w.APIKeyEnv != "" && w.APIKeyFile != "" {
		t.problem(t.keyPlace(below(at, "api_key_file")), below(at, "api_key_file"), "the key comes from api_key_env or from api_key_file: keep one")
	}
}

// checkChain reports workers that nobody configured.
func (t *tree) checkChain(at []string, route wire.Route) {
	workers := t.keysBelow([]string{"workers"})
	check := func(name string, key []string, place place) {
		if name == "" || slices.Contains(workers, name) {
			return
		}
		t.problem(place, key, fmt.Sprintf("there is no worker %q%s", name, suggestWorker(name, workers)))
	}
	for i, name := range route.Fallbacks {
		p := below(at, "fallbacks", strconv.Itoa(i))
		check(name, p, t.valuePlace(p))
	}
	for i, name := range route.Spill {
		p := below(at, "spill", strconv.Itoa(i))
		check(name, p, t.valuePlace(p))
	}
	for _, name := range t.keysOf(below(at, "split")...) {
		p := below(at, "split", name)
		check(name, p, t.keyPlace(p))
	}
}

func suggestWorker(name string, workers []string) string {
	if len(workers) == 0 {
		return ": add it under workers"
	}
	return suggest(name, workers) + " Or add it under workers."
}

// checkSplit reports shares that leave a part of the traffic out.
func (t *tree) checkSplit(at []string, route wire.Route) {
	if len(route.Split) == 0 || len(route.Split) != len(t.keysBelow(below(at, "split"))) {
		return // none, or a share among them is wrong by itself
	}
	total := int64(0)
	for _, share := range route.Split {
		total += share
	}
	if total != 100 {
		p := below(at, "split")
		t.problem(t.keyPlace(p), p, fmt.Sprintf("the shares add up to %d, not to 100: change them, in tens", total))
	}
}

// keysBelow lists the keys that stand in the file under a path, sorted,
// those with errors included.
func (t *tree) keysBelow(above []string) []string {
	var names []string
	for key := range t.keys {
		if name, ok := strings.CutPrefix(key, id(above)+"\x00"); ok && !strings.Contains(name, "\x00") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (t *tree) checkTimeouts(at []string, route wire.Route) {
	timeout, most := route.Timeout.Or(defaultTimeout), route.TimeoutMax.Or(defaultTimeoutMax)
	if timeout <= most {
		return
	}
	p := below(at, "timeout")
	if route.Timeout == 0 {
		p = below(at, "timeout_max")
	}
	t.problem(t.valuePlace(p), p, fmt.Sprintf("timeout (%s) is longer than timeout_max (%s): shorten the one or lengthen the other", timeout, most))
}

// checkModels reports a model name that leads to two routes.
func (t *tree) checkModels(name string, route wire.Route, claimed map[string]string) {
	for i, model := range route.Models {
		if model == "" {
			continue
		}
		p := []string{"routes", name, "models", strconv.Itoa(i)}
		if other, taken := claimed[model]; taken {
			t.problem(t.valuePlace(p), p, fmt.Sprintf("the model %q leads to the route %s already: leave it to one of them", model, other))
			continue
		}
		claimed[model] = name
	}
}

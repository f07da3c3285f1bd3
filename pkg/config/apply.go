package config

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

// Apply makes cfg the running configuration: workers, routes with their
// queues, and the table of owners, so that dispatch starts without waiting for
// a supervisor. Routes and workers that are not in cfg leave the running
// configuration; the queues of such routes stay, with what they hold. Applying
// the same configuration again changes nothing. After an error a part may have
// been applied: apply again.
func Apply(ctx context.Context, b *bus.Bus, cfg wire.Config) (Report, error) {
	return (&applier{bus: b, cfg: cfg}).run(ctx)
}

// Plan says what Apply would do, and does nothing.
func Plan(ctx context.Context, b *bus.Bus, cfg wire.Config) (Report, error) {
	return (&applier{bus: b, cfg: cfg, dry: true}).run(ctx)
}

type applier struct {
	bus     *bus.Bus
	cfg     wire.Config
	dry     bool
	running wire.Config
	report  Report
}

func (a *applier) run(ctx context.Context) (Report, error) {
	var err error
	if a.running.Workers, err = a.bus.Workers(ctx); err != nil {
		return a.report, err
	}
	if a.running.Routes, err = a.bus.Routes(ctx); err != nil {
		return a.report, err
	}
	// A worker is there before a route names it, and goes after the last route
	// that did.
	for _, step := range []func(context.Context) error{a.workers, a.routes, a.owners, a.formerRoutes, a.formerWorkers} {
		if err := step(ctx); err != nil {
			return a.report, err
		}
	}
	return a.report, nil
}

func (a *applier) workers(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(a.cfg.Workers)) {
		worker := a.cfg.Workers[name]
		action, detail := compare(a.running.Workers, name, worker)
		if action == "" {
			continue
		}
		a.report.add("worker", name, action, detail)
		if a.dry {
			continue
		}
		if err := a.bus.SetWorker(ctx, name, worker); err != nil {
			return err
		}
	}
	return nil
}

// routes writes the routes. The queue is made sure of even when the route is
// as it was: it may have been deleted since.
func (a *applier) routes(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(a.cfg.Routes)) {
		route := a.cfg.Routes[name]
		action, detail := compare(a.running.Routes, name, route)
		if action != "" {
			a.report.add("route", name, action, detail)
		}
		if a.dry {
			continue
		}
		if err := a.bus.EnsureRoute(ctx, name, route); err != nil {
			return fmt.Errorf("route %s: %w", name, err)
		}
		if action == "" {
			continue
		}
		if err := a.bus.SetRoute(ctx, name, route); err != nil {
			return err
		}
		a.tell(ctx, name, action, detail)
	}
	return nil
}

func (a *applier) formerRoutes(ctx context.Context) error {
	for _, name := range former(a.running.Routes, a.cfg.Routes) {
		detail, err := a.leftBehind(ctx, name)
		if err != nil {
			return err
		}
		a.report.add("route", name, Removed, detail)
		if a.dry {
			continue
		}
		if err := a.bus.RemoveRoute(ctx, name); err != nil {
			return err
		}
		if err := a.disown(ctx, name); err != nil {
			return err
		}
		a.tell(ctx, name, Removed, detail)
	}
	return nil
}

// leftBehind says what the queue of a removed route still holds.
func (a *applier) leftBehind(ctx context.Context, route string) (string, error) {
	state, err := a.bus.StreamState(ctx, wire.RequestStream(route))
	switch {
	case errors.Is(err, bus.ErrNotFound):
		return "", nil
	case err != nil:
		return "", err
	case state.Messages == 0:
		return "its queue is empty", nil
	}
	return fmt.Sprintf("its queue keeps %d requests, which nobody takes until the route is back", state.Messages), nil
}

func (a *applier) formerWorkers(ctx context.Context) error {
	for _, name := range former(a.running.Workers, a.cfg.Workers) {
		a.report.add("worker", name, Removed, "")
		if a.dry {
			continue
		}
		if err := a.bus.RemoveWorker(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) tell(ctx context.Context, route string, action Action, detail string) {
	e := wire.Event{Kind: wire.EventKindRouteApplied, Name: route, Reason: string(action), At: time.Now().UTC()}
	if detail != "" {
		e.Data = map[string]string{"detail": detail}
	}
	a.bus.PublishEvent(ctx, e)
}

// former lists what is running and no longer wanted, sorted.
func former[T any](running, wanted map[string]T) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(running)), func(name string) bool {
		_, stays := wanted[name]
		return stays
	})
}

// compare says what applying does to one worker or route; "" for nothing.
func compare[T any](running map[string]T, name string, wanted T) (Action, string) {
	old, there := running[name]
	if !there {
		return Created, ""
	}
	before, after := fields(old), fields(wanted)
	var keys []string
	for key := range merged(before, after) {
		if !reflect.DeepEqual(before[key], after[key]) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return "", ""
	}
	slices.Sort(keys)
	return Changed, strings.Join(keys, ", ")
}

// fields is a value by the names of its keys, as the wire has them.
func fields(v any) (m map[string]any) {
	data, err := json.Marshal(v)
	if err == nil {
		_ = json.Unmarshal(data, &m)
	}
	return m
}

func merged(a, b map[string]any) map[string]any {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

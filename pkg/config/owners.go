package config

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/chain"
	"understudy/pkg/wire"
)

// ownerTries is how often the table is read again because somebody else, the
// supervisor, wrote in between.
const ownerTries = 5

// reasonApplied is what the table of owners gives as the reason for what Apply wrote.
const reasonApplied = "route applied"

// owners writes the table of owners: lanes that have no owner yet, and lanes
// whose owner may no longer have them. What a supervisor moved stays moved.
func (a *applier) owners(ctx context.Context) error {
	for try := 1; ; try++ {
		err := a.ownersOnce(ctx)
		if !errors.Is(err, bus.ErrConflict) || try == ownerTries {
			return err
		}
	}
}

func (a *applier) ownersOnce(ctx context.Context) error {
	entries, err := a.bus.Owners(ctx)
	if err != nil {
		return err
	}
	table := map[string]bus.Entry[wire.Ownership]{}
	for _, e := range entries {
		table[e.Key] = e
	}
	led, err := a.led(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(a.cfg.Routes)) {
		for _, lane := range a.lanes(name, entries) {
			if err := a.own(ctx, name, lane, table[lane.OwnerKey(name)], led); err != nil {
				return err
			}
		}
	}
	return nil
}

// led says whether a supervisor leads, and so moves lanes by itself.
func (a *applier) led(ctx context.Context) (bool, error) {
	_, err := a.bus.Leader(ctx)
	if errors.Is(err, bus.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// lanes lists a route's lanes, and those in the table that the route has no
// longer: they may still hold requests.
func (a *applier) lanes(route string, entries []bus.Entry[wire.Ownership]) []wire.Lane {
	lanes := bus.RouteLanes(a.cfg.Routes[route])
	for _, e := range entries {
		if r, lane, err := wire.ParseOwnerKey(e.Key); err == nil && r == route && !slices.Contains(lanes, lane) {
			lanes = append(lanes, lane)
		}
	}
	return lanes
}

// own writes one lane's owner, where that is due.
func (a *applier) own(ctx context.Context, name string, lane wire.Lane, entry bus.Entry[wire.Ownership], led bool) error {
	candidates := chain.Of(a.cfg.Routes[name], a.cfg.Workers, lane)
	head := chain.Head(a.cfg.Routes[name], a.cfg.Workers, lane)
	now := entry.Value
	switch {
	case entry.Revision == 0:
		return a.setOwner(ctx, name, lane, head, 0)
	case now.Worker != "" && !slices.Contains(candidates, now.Worker):
		a.reportMove(name, lane, now.Worker, head, "the owner left the chain")
	case !led && now.Worker == now.Assigned && now.Assigned != head:
		// The lane was where it belongs, it belongs elsewhere now, and no
		// supervisor is there to move it.
		a.reportMove(name, lane, now.Worker, head, "assigned anew")
	default:
		return nil
	}
	return a.setOwner(ctx, name, lane, head, entry.Revision)
}

func (a *applier) reportMove(route string, lane wire.Lane, from, to, why string) {
	c := Change{What: "lane", Name: lane.OwnerKey(route), Action: Moved, Detail: fmt.Sprintf("from %s to %s: %s", orNobody(from), orNobody(to), why)}
	if !slices.Contains(a.report.Changes, c) { // a second try tells it once
		a.report.Changes = append(a.report.Changes, c)
	}
}

func orNobody(worker string) string {
	if worker == "" {
		return "nobody"
	}
	return worker
}

func (a *applier) setOwner(ctx context.Context, route string, lane wire.Lane, worker string, revision uint64) error {
	if a.dry {
		return nil
	}
	_, err := a.bus.SetOwner(ctx, route, lane, wire.Ownership{Worker: worker, Assigned: worker, Reason: reasonApplied, Since: time.Now().UTC()}, revision)
	return err
}

// disown takes the lanes of a route that is gone out of the table.
func (a *applier) disown(ctx context.Context, route string) error {
	entries, err := a.bus.Owners(ctx)
	if err != nil {
		return err
	}
	for _, e := range entries {
		r, lane, err := wire.ParseOwnerKey(e.Key)
		if err != nil || r != route {
			continue
		}
		if err := a.bus.RemoveOwner(ctx, route, lane); err != nil {
			return err
		}
	}
	return nil
}

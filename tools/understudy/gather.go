package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/deadletter"
	"understudy/pkg/wire"
)

const (
	// listenFor is how long health is listened to: instances speak every second.
	listenFor = 1500 * time.Millisecond
	// mostDeadLetters is how many are counted.
	mostDeadLetters = 10_000
)

// gather reads how things stand. It takes as long as health is listened to.
func gather(ctx context.Context, b *bus.Bus) (v statusView, err error) {
	v.At = time.Now().UTC()
	health, err := listenToHealth(ctx, b)
	if err != nil {
		return v, err
	}
	lease, err := b.Leader(ctx)
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return v, err
	}
	v.Supervisor = supervisorView{Leader: lease.Holder, Epoch: lease.Epoch}
	if v.Routes, err = gatherRoutes(ctx, b); err != nil {
		return v, err
	}
	workers, err := b.Workers(ctx)
	if err != nil {
		return v, err
	}
	diagnoses, err := b.Diagnoses(ctx)
	if err != nil {
		return v, err
	}
	v.Workers = joinWorkers(workers, health, diagnoses)
	counts, whole, err := deadletter.Counts(ctx, b, mostDeadLetters)
	if err != nil {
		return v, err
	}
	v.DeadLetters, v.Uncounted = append([]deadletter.Count{}, counts...), !whole
	v.Retries, err = b.StreamState(ctx, wire.StreamRetries)
	return v, err
}

// listenToHealth returns the last word of each instance.
func listenToHealth(ctx context.Context, b *bus.Bus) (map[string]wire.Health, error) {
	said := make(chan wire.Health, 1024)
	stop, err := b.Listen(wire.SubjectsHealth, "", func(m bus.Message) {
		if h, err := wire.Decode[wire.Health](wire.SchemaHealth, m.Body); err == nil {
			select {
			case said <- h:
			default: // it says so again in a second
			}
		}
	})
	if err != nil {
		return nil, err
	}
	defer stop()
	over := time.NewTimer(listenFor)
	defer over.Stop()
	last := map[string]wire.Health{}
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-over.C:
			return last, nil
		case h := <-said:
			last[h.Worker+"."+h.Instance] = h
		}
	}
}

// joinWorkers lists the workers that are configured, and those that only speak.
func joinWorkers(configured map[string]wire.Worker, health map[string]wire.Health, diagnoses map[string]wire.Diagnosis) []workerView {
	views := map[string]workerView{}
	for name, w := range configured {
		views[name] = workerView{Name: name, Kind: w.Kind, Configured: true, Instances: []wire.Health{}}
	}
	for _, key := range slices.Sorted(maps.Keys(health)) {
		h := health[key]
		v := views[h.Worker]
		v.Name, v.Instances = h.Worker, append(v.Instances, h)
		views[h.Worker] = v
	}
	list := make([]workerView, 0, len(views))
	for _, name := range slices.Sorted(maps.Keys(views)) {
		v := views[name]
		if d, known := diagnoses[name]; known && d.Cause != wire.CauseHealthy {
			v.Diagnosis = &d
		}
		list = append(list, v)
	}
	return list
}

func gatherRoutes(ctx context.Context, b *bus.Bus) ([]routeView, error) {
	routes, err := b.Routes(ctx)
	if err != nil {
		return nil, err
	}
	owners, err := ownerTable(ctx, b)
	if err != nil {
		return nil, err
	}
	views := []routeView{}
	for _, name := range slices.Sorted(maps.Keys(routes)) {
		v, err := gatherRoute(ctx, b, name, routes[name], owners)
		if err != nil {
			return nil, err
		}
		views = append(views, v)
	}
	return views, nil
}

func ownerTable(ctx context.Context, b *bus.Bus) (map[string]wire.Ownership, error) {
	entries, err := b.Owners(ctx)
	if err != nil {
		return nil, err
	}
	table := map[string]wire.Ownership{}
	for _, e := range entries {
		table[e.Key] = e.Value
	}
	return table, nil
}

func gatherRoute(ctx context.Context, b *bus.Bus, name string, route wire.Route, owners map[string]wire.Ownership) (routeView, error) {
	v := routeView{Name: name, MaxBytes: route.MaxBytes}
	if v.MaxBytes == 0 {
		v.MaxBytes = 1 << 30 // the default that schemas/route.json states
	}
	var err error
	if v.Queue, err = b.StreamState(ctx, wire.RequestStream(name)); err != nil {
		return v, err
	}
	for _, lane := range routeLanes(name, route, owners) {
		state, err := b.LaneState(ctx, name, lane)
		if err != nil {
			return v, err
		}
		o, listed := owners[lane.OwnerKey(name)]
		v.Lanes = append(v.Lanes, laneView{
			Lane: lane, Owner: o.Worker, Assigned: o.Assigned, Reason: o.Reason, Since: o.Since,
			Waiting: state.Waiting, InHand: state.InHand, Listed: listed,
		})
		v.Waiting += state.Waiting
		v.InHand += state.InHand
	}
	return v, nil
}

// routeLanes lists a route's lanes, then those of workers that left it.
func routeLanes(name string, route wire.Route, owners map[string]wire.Ownership) []wire.Lane {
	lanes := bus.RouteLanes(route)
	for _, key := range slices.Sorted(maps.Keys(owners)) {
		if r, lane, err := wire.ParseOwnerKey(key); err == nil && r == name && !slices.Contains(lanes, lane) {
			lanes = append(lanes, lane)
		}
	}
	return lanes
}

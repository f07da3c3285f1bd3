package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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

// StatusCmd shows how things stand.
type StatusCmd struct {
	Watch bool `short:"w" help:"Show it again and again, until interrupted."`
}

type statusView struct {
	Supervisor  supervisorView      `json:"supervisor"`
	Routes      []routeView         `json:"routes"`
	Workers     []workerView        `json:"workers"`
	DeadLetters []deadletter.Count  `json:"dead_letters"`
	Retries     bus.StreamState     `json:"retries"`
	At          time.Time           `json:"at"`
	more        bool                // dead letters beyond those counted
}

type supervisorView struct {
	// Leader is empty while nobody leads.
	Leader string `json:"leader"`
	Epoch  uint64 `json:"epoch"`
}

type routeView struct {
	Name    string          `json:"name"`
	Queue   bus.StreamState `json:"queue"`
	Waiting uint64          `json:"waiting"`
	InHand  int             `json:"in_hand"`
	// MaxBytes is the most that the queue holds.
	MaxBytes int64      `json:"max_bytes"`
	Lanes    []laneView `json:"lanes"`
}

type laneView struct {
	Lane     wire.Lane `json:"lane"`
	Owner    string    `json:"owner"`
	Assigned string    `json:"assigned"`
	Reason   string    `json:"reason"`
	Since    time.Time `json:"since,omitzero"`
	Waiting  uint64    `json:"waiting"`
	InHand   int       `json:"in_hand"`
	// Listed is false when the table of owners lacks the lane.
	Listed bool `json:"listed"`
}

type workerView struct {
	Name       string          `json:"name"`
	Kind       wire.WorkerKind `json:"kind"`
	Configured bool            `json:"configured"`
	Instances  []wire.Health   `json:"instances"`
}

// Run shows the state once, or until interrupted.
func (c StatusCmd) Run(s *session) error {
	return s.withBus(func(b *bus.Bus) error {
		for {
			v, err := gather(s.ctx, b)
			switch {
			case err != nil && c.Watch && s.ctx.Err() != nil:
				return nil
			case err != nil:
				return err
			case !c.Watch:
				return s.show(v)
			case s.json:
				err = s.showJSON(v, false)
			default:
				fmt.Fprint(s.out, "\x1b[H\x1b[2J")
				err = s.show(v)
			}
			if err != nil {
				return err
			}
		}
	})
}

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
	v.Workers = joinWorkers(workers, health)
	counts, whole, err := deadletter.Counts(ctx, b, mostDeadLetters)
	if err != nil {
		return v, err
	}
	v.DeadLetters, v.more = append([]deadletter.Count{}, counts...), !whole
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
func joinWorkers(configured map[string]wire.Worker, health map[string]wire.Health) []workerView {
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
		list = append(list, views[name])
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

func (v statusView) sections() []section {
	leader := "no supervisor leads: lanes stay where they are"
	if v.Supervisor.Leader != "" {
		leader = fmt.Sprintf("supervisor %s leads (epoch %d)", v.Supervisor.Leader, v.Supervisor.Epoch)
	}
	parts := []section{{lines: []string{leader}}}
	for _, r := range v.Routes {
		parts = append(parts, r.section())
	}
	if len(v.Routes) == 0 {
		parts = append(parts, section{lines: []string{"no route is applied: run `understudy apply -f FILE`"}})
	}
	parts = append(parts, workersSection(v.Workers), v.deadSection())
	if v.Retries.Messages > 0 {
		parts = append(parts, section{lines: []string{fmt.Sprintf("%d requests wait for their next try", v.Retries.Messages)}})
	}
	return parts
}

func (r routeView) section() section {
	title := fmt.Sprintf("route %s: %d waiting, %d in hand", r.Name, r.Waiting, r.InHand)
	if !r.Queue.Oldest.IsZero() {
		title += ", oldest " + age(r.Queue.Oldest)
	}
	p := section{title: title, header: []string{"lane", "owner", "why", "since", "waiting", "in hand"}}
	for _, group := range groupLanes(r.Lanes) {
		l := group.laneView
		owner := orDash(l.Owner)
		if l.Assigned != l.Owner {
			owner += " (for " + orDash(l.Assigned) + ")"
		}
		p.rows = append(p.rows, []any{group.names, owner, orDash(l.Reason), orDash(age(l.Since)), l.Waiting, l.InHand})
	}
	return p
}

type laneGroup struct {
	laneView
	names string
}

// groupLanes joins neighbouring numbered lanes of one owner and one reason.
func groupLanes(lanes []laneView) []laneGroup {
	var groups []laneGroup
	for _, l := range lanes {
		if n := len(groups) - 1; n >= 0 {
			last := &groups[n]
			_, numbered := l.Lane.Number()
			_, before := last.Lane.Number()
			if numbered && before && last.Owner == l.Owner && last.Assigned == l.Assigned && last.Reason == l.Reason {
				first, _, _ := strings.Cut(last.names, "-")
				last.names = first + "-" + string(l.Lane)
				last.Waiting += l.Waiting
				last.InHand += l.InHand
				continue
			}
		}
		groups = append(groups, laneGroup{laneView: l, names: string(l.Lane)})
	}
	return groups
}

func workersSection(workers []workerView) section {
	p := section{title: "workers", header: []string{"worker", "kind", "instance", "state", "why", "breaker", "in hand", "answered"}}
	for _, w := range workers {
		if len(w.Instances) == 0 {
			p.rows = append(p.rows, []any{w.Name, w.Kind, "-", "none runs", "-", "-", "-", "-"})
		}
		for _, h := range w.Instances {
			p.rows = append(p.rows, []any{
				w.Name, orDash(string(w.Kind)), h.Instance, h.State, orDash(h.Reason), orDash(string(h.Breaker.State)),
				fmt.Sprintf("%d of %d", h.InFlight, h.Concurrency), h.Answered,
			})
		}
	}
	if len(workers) == 0 {
		p.lines = []string{"none"}
	}
	return p
}

func (v statusView) deadSection() section {
	if len(v.DeadLetters) == 0 {
		return section{lines: []string{"no dead letters"}}
	}
	p := section{title: "dead letters", header: []string{"route", "reason", "count"}}
	if v.more {
		p.title = fmt.Sprintf("dead letters (the oldest %d)", mostDeadLetters)
	}
	for _, c := range v.DeadLetters {
		p.rows = append(p.rows, []any{c.Route, c.Reason, c.Count})
	}
	return p
}

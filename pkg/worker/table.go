package worker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

// rereadInterval is how often the whole table is read, since a watch may miss
// changes after a reconnect.
const rereadInterval = 10 * time.Second

// pull is one lane that this worker may pull, and with what right.
type pull struct {
	route    string
	lane     wire.Lane
	priority bus.Priority
}

// table is what a worker knows of the running configuration: routes, workers
// and the owners of lanes. It is safe for concurrent use.
type table struct {
	worker string

	mu      sync.RWMutex
	routes  map[string]wire.Route
	workers map[string]wire.Worker
	owners  map[string]string // by owner key
	news    chan struct{}     // closed and replaced at each change
}

func newTable(worker string) *table {
	return &table{
		worker: worker, routes: map[string]wire.Route{}, workers: map[string]wire.Worker{},
		owners: map[string]string{}, news: make(chan struct{}),
	}
}

// load reads everything.
func (t *table) load(ctx context.Context, b *bus.Bus) error {
	routes, err := b.Routes(ctx)
	if err != nil {
		return err
	}
	workers, err := b.Workers(ctx)
	if err != nil {
		return err
	}
	entries, err := b.Owners(ctx)
	if err != nil {
		return err
	}
	owners := make(map[string]string, len(entries))
	for _, e := range entries {
		owners[e.Key] = e.Value.Worker
	}
	t.change(func() { t.routes, t.workers, t.owners = routes, workers, owners })
	return nil
}

// follow keeps the table current until ctx ends. If the broker cannot be
// reached, the last table stands.
func (t *table) follow(ctx context.Context, b *bus.Bus, log zerolog.Logger) {
	var watching sync.WaitGroup
	for _, watch := range []func() error{
		func() error { return b.WatchOwners(ctx, t.seeOwner) },
		func() error { return b.WatchRoutes(ctx, t.seeRoute) },
		func() error { return b.WatchWorkers(ctx, t.seeWorker) },
	} {
		watching.Go(func() {
			for ctx.Err() == nil {
				if err := watch(); err != nil && ctx.Err() == nil {
					log.Warn().Err(err).Msg("watch interrupted")
					pause(ctx, time.Second)
				}
			}
		})
	}
	for pause(ctx, rereadInterval) {
		if err := t.load(ctx, b); err != nil && !errors.Is(err, context.Canceled) {
			log.Warn().Err(err).Msg("owner table not read, the last one stands")
		}
	}
	watching.Wait()
}

func (t *table) seeOwner(e bus.Entry[wire.Ownership]) {
	t.change(func() {
		if e.Deleted {
			delete(t.owners, e.Key)
			return
		}
		t.owners[e.Key] = e.Value.Worker
	})
}

func (t *table) seeRoute(e bus.Entry[wire.Route]) {
	t.change(func() { enter(t.routes, e) })
}

func (t *table) seeWorker(e bus.Entry[wire.Worker]) {
	t.change(func() { enter(t.workers, e) })
}

func enter[T any](m map[string]T, e bus.Entry[T]) {
	if e.Deleted {
		delete(m, e.Key)
		return
	}
	m[e.Key] = e.Value
}

func (t *table) change(apply func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	apply()
	close(t.news)
	t.news = make(chan struct{})
}

// pulls lists the lanes that the worker may pull now, and a channel that is
// closed when that may have changed.
func (t *table) pulls() ([]pull, <-chan struct{}) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var mine []pull
	for key, owner := range t.owners {
		name, lane, err := wire.ParseOwnerKey(key)
		if err != nil {
			continue
		}
		route, known := t.routes[name]
		if !known {
			continue
		}
		_, numbered := lane.Number()
		switch {
		case owner == t.worker:
			mine = append(mine, pull{name, lane, bus.PriorityOwner})
		case numbered && owner != "" && slices.Contains(route.Spill, t.worker):
			mine = append(mine, pull{name, lane, bus.PrioritySpill})
		}
	}
	return mine, t.news
}

// route returns a route's configuration.
func (t *table) route(name string) wire.Route {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.routes[name]
}

// next returns the first worker of the route's chain that has not been tried
// and is up, as far as the table tells: a worker that is down does not own its
// handoff lane. With modelsOnly, local workers are passed over.
func (t *table) next(route string, tried []string, modelsOnly bool) (string, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, name := range t.routes[route].Fallbacks {
		if slices.Contains(tried, name) || modelsOnly && !t.isModel(name) {
			continue
		}
		if t.owners[wire.HandoffLane(name).OwnerKey(route)] == name {
			return name, true
		}
	}
	return "", false
}

// owner returns who may pull a lane now; empty when nobody may.
func (t *table) owner(route string, lane wire.Lane) string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.owners[lane.OwnerKey(route)]
}

func (t *table) isModel(worker string) bool {
	w, known := t.workers[worker]
	return known && w.Kind != wire.WorkerKindRules
}

// pause waits, and says whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func lastToken(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

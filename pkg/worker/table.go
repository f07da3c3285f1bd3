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

// table is what a worker knows of the running configuration. It is safe for
// concurrent use.
type table struct {
	worker string

	mu   sync.RWMutex
	now  bus.Running
	news chan struct{} // closed and replaced at each change
}

func newTable(worker string) *table {
	return &table{worker: worker, now: bus.NewRunning(), news: make(chan struct{})}
}

// load reads everything.
func (t *table) load(ctx context.Context, b *bus.Bus) error {
	now, err := b.Running(ctx)
	if err == nil {
		t.change(func() { t.now = now })
	}
	return err
}

// follow keeps the table current until ctx ends. If the broker cannot be
// reached, the last table stands.
func (t *table) follow(ctx context.Context, b *bus.Bus, log zerolog.Logger) {
	var watching sync.WaitGroup
	watching.Go(func() {
		b.KeepWatching(ctx,
			func(ctx context.Context) error {
				return b.WatchOwners(ctx, func(e bus.Entry[wire.Ownership]) { t.change(func() { enterOwner(t.now.Owners, e) }) })
			},
			func(ctx context.Context) error {
				return b.WatchRoutes(ctx, func(e bus.Entry[wire.Route]) { t.change(func() { e.Enter(t.now.Routes) }) })
			},
			func(ctx context.Context) error {
				return b.WatchWorkers(ctx, func(e bus.Entry[wire.Worker]) { t.change(func() { e.Enter(t.now.Workers) }) })
			})
	})
	for pause(ctx, rereadInterval) {
		if err := t.load(ctx, b); err != nil && !errors.Is(err, context.Canceled) {
			log.Warn().Err(err).Msg("owner table not read, the last one stands")
		}
	}
	watching.Wait()
}

func enterOwner(owners map[string]bus.Entry[wire.Ownership], e bus.Entry[wire.Ownership]) {
	if e.Deleted {
		delete(owners, e.Key)
		return
	}
	owners[e.Key] = e
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
	for key, entry := range t.now.Owners {
		owner := entry.Value.Worker
		name, lane, err := wire.ParseOwnerKey(key)
		if err != nil {
			continue
		}
		route, known := t.now.Routes[name]
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
	return t.now.Routes[name]
}

// next returns the first worker of the route's chain that has not been tried
// and is up, as far as the table tells: a worker that is down does not own its
// handoff lane. With modelsOnly, local workers are passed over.
func (t *table) next(route string, tried []string, modelsOnly bool) (string, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, name := range t.now.Routes[route].Fallbacks {
		if slices.Contains(tried, name) || modelsOnly && !t.isModel(name) {
			continue
		}
		if t.now.Owners[wire.HandoffLane(name).OwnerKey(route)].Value.Worker == name {
			return name, true
		}
	}
	return "", false
}

// owner returns who may pull a lane now; empty when nobody may.
func (t *table) owner(route string, lane wire.Lane) string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.now.Owners[lane.OwnerKey(route)].Value.Worker
}

func (t *table) isModel(worker string) bool {
	w, known := t.now.Workers[worker]
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

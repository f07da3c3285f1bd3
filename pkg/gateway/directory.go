package gateway

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

// defaultRoute takes requests that name no model.
const defaultRoute = "chat"

// directory knows the routes and workers of the running configuration. Readers
// never wait.
type directory struct {
	now atomic.Pointer[listing]

	mu      sync.Mutex
	routes  map[string]wire.Route
	workers map[string]wire.Worker
}

// listing is one state of the directory. It is never changed.
type listing struct {
	routes map[string]wire.Route
	// models leads from each model name to its route; names are sorted.
	models map[string]string
	names  []string
	// local workers ask no model: their answers are degraded.
	local map[string]bool
}

func newDirectory() *directory {
	d := &directory{routes: map[string]wire.Route{}, workers: map[string]wire.Worker{}}
	d.now.Store(list(d.routes, d.workers))
	return d
}

// list builds a listing. A route's own name leads to it, whatever others claim;
// of two routes that claim one model the first by name has it.
func list(routes map[string]wire.Route, workers map[string]wire.Worker) *listing {
	l := &listing{routes: maps.Clone(routes), models: map[string]string{}, local: map[string]bool{}}
	for name := range routes {
		l.models[name] = name
	}
	for _, name := range slices.Sorted(maps.Keys(routes)) {
		for _, model := range routes[name].Models {
			if _, taken := l.models[model]; !taken {
				l.models[model] = name
			}
		}
	}
	l.names = slices.Sorted(maps.Keys(l.models))
	for name, w := range workers {
		l.local[name] = w.Kind == wire.WorkerKindRules
	}
	return l
}

// route returns the route that a model name leads to. Without a name it is the
// route called chat, or the only one.
func (l *listing) route(model string) (string, *wire.Failure) {
	if len(l.routes) == 0 {
		f := unavailable("no_route", "no route is configured yet")
		f.RetryAfterMS = retrySoonMS
		return "", f
	}
	if model != "" {
		if route, ok := l.models[model]; ok {
			return route, nil
		}
		f := notFound("model_not_found", "the model %q leads to no route; known models: %s", model, strings.Join(l.names, ", "))
		f.Param = "model"
		return "", f
	}
	if _, ok := l.routes[defaultRoute]; ok {
		return defaultRoute, nil
	}
	if len(l.routes) == 1 {
		for name := range l.routes {
			return name, nil
		}
	}
	return "", invalid("model", "missing_required_parameter", "model is missing: name one of %s", strings.Join(l.names, ", "))
}

// follow keeps the directory current until ctx ends: by watching, and by
// reading in full from time to time, since a watch may miss changes.
func (d *directory) follow(ctx context.Context, b *bus.Bus, every time.Duration, log zerolog.Logger) {
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		b.KeepWatching(ctx,
			func(ctx context.Context) error {
				return b.WatchRoutes(ctx, func(e bus.Entry[wire.Route]) { change(d, d.routes, e) })
			},
			func(ctx context.Context) error {
				return b.WatchWorkers(ctx, func(e bus.Entry[wire.Worker]) { change(d, d.workers, e) })
			})
	})
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := d.read(ctx, b); err != nil && ctx.Err() == nil {
				log.Warn().Err(err).Msg("routes not read, the last ones stand")
			}
		}
	}
}

func change[T any](d *directory, m map[string]T, e bus.Entry[T]) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e.Enter(m)
	d.now.Store(list(d.routes, d.workers))
}

// read replaces the whole directory by what the broker holds.
func (d *directory) read(ctx context.Context, b *bus.Bus) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	routes, err := b.Routes(ctx)
	if err != nil {
		return err
	}
	workers, err := b.Workers(ctx)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	replace(d.routes, routes)
	replace(d.workers, workers)
	d.now.Store(list(d.routes, d.workers))
	return nil
}

func replace[T any](m, by map[string]T) {
	clear(m)
	maps.Copy(m, by)
}

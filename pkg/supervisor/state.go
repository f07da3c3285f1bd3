package supervisor

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

// state is the running configuration and the table of owners, as this
// supervisor knows them. It is safe for concurrent use, but for returns, which
// belongs to the leading loop.
type state struct {
	returns *returning

	mu      sync.Mutex
	view    tableView
	loaded  bool
	changed chan struct{}
}

func newState() *state {
	s := &state{changed: make(chan struct{})}
	s.reset()
	return s
}

// reset forgets everything, at the beginning of a term. A worker that does not
// own its lanes then counts as returning once it is healthy.
func (s *state) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view = tableView{routes: map[string]wire.Route{}, workers: map[string]wire.Worker{}, owners: map[string]bus.Entry[wire.Ownership]{}}
	s.loaded = false
	s.returns = newReturning()
}

// load reads everything, unless that was done and force is not set.
func (s *state) load(ctx context.Context, b *bus.Bus, force bool) error {
	s.mu.Lock()
	loaded := s.loaded
	s.mu.Unlock()
	if loaded && !force {
		return nil
	}
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
	owners := make(map[string]bus.Entry[wire.Ownership], len(entries))
	for _, e := range entries {
		owners[e.Key] = e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.loaded {
		s.returns.inherit(routes, owners)
	}
	if !s.loaded {
		close(s.changed)
		s.changed = make(chan struct{})
	}
	s.view, s.loaded = tableView{routes, workers, owners}, true
	return nil
}

// follow keeps the state current until ctx ends.
func (s *state) follow(ctx context.Context, b *bus.Bus, log zerolog.Logger) {
	var watching sync.WaitGroup
	for _, watch := range []func() error{
		func() error { return b.WatchOwners(ctx, s.seeOwner) },
		func() error {
			return b.WatchRoutes(ctx, func(e bus.Entry[wire.Route]) { s.change(func(v *tableView) { enter(v.routes, e) }) })
		},
		func() error {
			return b.WatchWorkers(ctx, func(e bus.Entry[wire.Worker]) { s.change(func(v *tableView) { enter(v.workers, e) }) })
		},
	} {
		watching.Go(func() {
			for ctx.Err() == nil {
				if err := watch(); err != nil && ctx.Err() == nil {
					log.Warn().Err(err).Msg("watch interrupted")
					select {
					case <-ctx.Done():
					case <-time.After(time.Second):
					}
				}
			}
		})
	}
	watching.Wait()
}

// seeOwner takes a change of the table, unless a newer one is known.
func (s *state) seeOwner(e bus.Entry[wire.Ownership]) {
	s.mu.Lock()
	known := s.view.owners[e.Key].Revision
	s.mu.Unlock()
	if e.Revision > known {
		s.change(func(v *tableView) {
			if e.Deleted {
				delete(v.owners, e.Key)
				return
			}
			v.owners[e.Key] = e
		})
	}
}

func enter[T any](m map[string]T, e bus.Entry[T]) {
	if e.Deleted {
		delete(m, e.Key)
		return
	}
	m[e.Key] = e.Value
}

func (s *state) change(apply func(*tableView)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	apply(&s.view)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *state) news() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *state) snapshot() tableView {
	s.mu.Lock()
	defer s.mu.Unlock()
	return tableView{maps.Clone(s.view.routes), maps.Clone(s.view.workers), maps.Clone(s.view.owners)}
}

// complete says whether everything was read, so that what is missing is gone.
func (s *state) complete() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loaded
}

func (s *state) markStale() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loaded = false
}

func (s *state) wrote(route string, lane wire.Lane, o wire.Ownership, revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := lane.OwnerKey(route)
	s.view.owners[key] = bus.Entry[wire.Ownership]{Key: key, Value: o, Revision: revision}
}

// inherit reads from the table whom the previous leader had moved lanes away
// from: they come back by slow start, as if this leader had seen them down.
func (r *returning) inherit(routes map[string]wire.Route, owners map[string]bus.Entry[wire.Ownership]) {
	for name := range routes {
		for n := range wire.Lanes {
			o := owners[wire.NumberedLane(n).OwnerKey(name)].Value
			if o.Assigned != "" && o.Worker != o.Assigned {
				r.down[o.Assigned] = true
			}
		}
	}
}

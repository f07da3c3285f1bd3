package supervisor

import (
	"context"
	"maps"
	"sync"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

// state is the running configuration and the table of owners, as this
// supervisor knows them. It is safe for concurrent use, but for returns, which
// belongs to the leading loop.
type state struct {
	returns *returning

	mu      sync.Mutex
	now     bus.Running
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
	s.now, s.loaded, s.returns = bus.NewRunning(), false, newReturning()
}

// load reads everything, unless that was done and force is not set.
func (s *state) load(ctx context.Context, b *bus.Bus, force bool) error {
	s.mu.Lock()
	loaded := s.loaded
	s.mu.Unlock()
	if loaded && !force {
		return nil
	}
	now, err := b.Running(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.loaded {
		s.returns.inherit(now)
	}
	if !s.loaded {
		close(s.changed)
		s.changed = make(chan struct{})
	}
	s.now, s.loaded = now, true
	return nil
}

// follow keeps the state current until ctx ends.
func (s *state) follow(ctx context.Context, b *bus.Bus) {
	b.KeepWatching(ctx,
		func(ctx context.Context) error { return b.WatchOwners(ctx, s.seeOwner) },
		func(ctx context.Context) error {
			return b.WatchRoutes(ctx, func(e bus.Entry[wire.Route]) { s.change(func() { e.Enter(s.now.Routes) }) })
		},
		func(ctx context.Context) error {
			return b.WatchWorkers(ctx, func(e bus.Entry[wire.Worker]) { s.change(func() { e.Enter(s.now.Workers) }) })
		})
}

// seeOwner takes a change of the table, unless a newer one is known.
func (s *state) seeOwner(e bus.Entry[wire.Ownership]) {
	s.mu.Lock()
	known := s.now.Owners[e.Key].Revision
	s.mu.Unlock()
	if e.Revision <= known {
		return
	}
	s.change(func() {
		if e.Deleted {
			delete(s.now.Owners, e.Key)
			return
		}
		s.now.Owners[e.Key] = e
	})
}

func (s *state) change(apply func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	apply()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *state) news() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *state) snapshot() bus.Running {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bus.Running{Routes: maps.Clone(s.now.Routes), Workers: maps.Clone(s.now.Workers), Owners: maps.Clone(s.now.Owners)}
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
	s.now.Owners[key] = bus.Entry[wire.Ownership]{Key: key, Value: o, Revision: revision}
}

// inherit reads from the table whom the previous leader had moved lanes away
// from: they come back by slow start, as if this leader had seen them down.
func (r *returning) inherit(now bus.Running) {
	for name := range now.Routes {
		for n := range wire.Lanes {
			o := now.Owners[wire.NumberedLane(n).OwnerKey(name)].Value
			if o.Assigned != "" && o.Worker != o.Assigned {
				r.down[o.Assigned] = true
			}
		}
	}
}

package bus

import (
	"context"
	"sync"
	"time"

	"understudy/pkg/wire"
)

// Running is the running configuration with the table of owners.
type Running struct {
	Routes  map[string]wire.Route
	Workers map[string]wire.Worker
	// Owners by owner key.
	Owners map[string]Entry[wire.Ownership]
}

// NewRunning returns an empty one.
func NewRunning() Running {
	return Running{Routes: map[string]wire.Route{}, Workers: map[string]wire.Worker{}, Owners: map[string]Entry[wire.Ownership]{}}
}

// Running reads everything at once.
func (b *Bus) Running(ctx context.Context) (Running, error) {
	r := NewRunning()
	var err error
	if r.Routes, err = b.Routes(ctx); err != nil {
		return r, err
	}
	if r.Workers, err = b.Workers(ctx); err != nil {
		return r, err
	}
	owners, err := b.Owners(ctx)
	for _, e := range owners {
		r.Owners[e.Key] = e
	}
	return r, err
}

// Enter notes the entry's value under its key; a deleted key leaves the map.
func (e Entry[T]) Enter(m map[string]T) {
	if e.Deleted {
		delete(m, e.Key)
		return
	}
	m[e.Key] = e.Value
}

// watchPause is how long a broken-off watch waits before it starts again.
const watchPause = time.Second

// KeepWatching runs the watches side by side until ctx ends, and starts each
// one again that broke off.
func (b *Bus) KeepWatching(ctx context.Context, watches ...func(context.Context) error) {
	var watching sync.WaitGroup
	for _, watch := range watches {
		watching.Go(func() {
			for ctx.Err() == nil {
				err := watch(ctx)
				if err == nil || ctx.Err() != nil {
					continue
				}
				b.log.Warn().Err(err).Msg("watch broken off, starting it again")
				select {
				case <-ctx.Done():
				case <-time.After(watchPause):
				}
			}
		})
	}
	watching.Wait()
}

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

// lanes knows who owns each numbered lane of a route.
type lanes struct {
	mu    sync.Mutex
	owner map[wire.Lane]string
	news  chan struct{} // closed and replaced on change
	stop  func()
}

// watchLanes follows the table of owners until stop is called.
func watchLanes(ctx context.Context, nats, route string) (*lanes, error) {
	b, err := bus.Open(ctx, bus.Config{URL: nats, Name: "faults"}, zerolog.Nop())
	if err != nil {
		return nil, err
	}
	watching, cancel := context.WithCancel(ctx)
	l := &lanes{owner: map[wire.Lane]string{}, news: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.WatchOwners(watching, func(e bus.Entry[wire.Ownership]) { l.see(route, e) }) // ends when told to
	}()
	l.stop = func() {
		cancel()
		<-ended
		b.Close()
	}
	return l, nil
}

func (l *lanes) see(route string, e bus.Entry[wire.Ownership]) {
	name, lane, err := wire.ParseOwnerKey(e.Key)
	if _, numbered := lane.Number(); err != nil || name != route || !numbered {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owner[lane] = e.Value.Worker
	close(l.news)
	l.news = make(chan struct{})
}

// await returns when worker owns every numbered lane.
func (l *lanes) await(ctx context.Context, worker string) (time.Time, error) {
	for {
		l.mu.Lock()
		owned, news := 0, l.news
		for _, owner := range l.owner {
			if owner == worker {
				owned++
			}
		}
		l.mu.Unlock()
		if owned == wire.Lanes {
			return time.Now(), nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("wait for %s to own every lane, it has %d: %w", worker, owned, ctx.Err())
		}
	}
}

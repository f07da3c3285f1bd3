package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"
)

// askPatience is how long after its end a run waits for the last answers.
const askPatience = 30 * time.Second

// load is a closed loop: each client asks, waits, and asks again.
type load struct {
	clients int
	// duration is how long clients begin new requests.
	duration time.Duration
	// limit ends a client after so many requests, if it is above 0.
	limit int
	// name tells the ids of this run from those of others.
	name string
}

// run drives a leg and returns what it took. The first request that is not
// answered, or answered wrongly, ends the run with its error.
func (l load) run(ctx context.Context, a *accounts) (Figures, error) {
	ctx, cancel := context.WithTimeout(ctx, l.duration+askPatience)
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)

	latencies := make([][]time.Duration, l.clients)
	runtime.GC() // nobody pays for the garbage of the leg before
	before := usageNow()
	started := time.Now()
	var clients sync.WaitGroup
	for c := range l.clients {
		clients.Go(func() {
			taken, err := l.client(ctx, a, c, started.Add(l.duration))
			latencies[c] = taken
			if err != nil {
				fail(err)
			}
		})
	}
	clients.Wait()
	elapsed := time.Since(started)
	used := usageNow().since(before)

	all := slices.Concat(latencies...)
	a.asked += uint64(len(all))
	if err := context.Cause(ctx); err != nil {
		return Figures{}, err
	}
	if err := a.settle(ctx); err != nil {
		return Figures{}, err
	}
	return figures(all, elapsed, used), nil
}

// client asks until the end, and returns how long each answer took.
func (l load) client(ctx context.Context, a *accounts, c int, end time.Time) ([]time.Duration, error) {
	var taken []time.Duration
	prefix := fmt.Sprintf("%s-%d-", l.name, c)
	for n := 0; ctx.Err() == nil && (l.limit == 0 || n < l.limit); n++ {
		begun := time.Now()
		if !begun.Before(end) {
			break
		}
		if err := a.ask(ctx, c, prefix+strconv.Itoa(n)); err != nil {
			return taken, err
		}
		taken = append(taken, time.Since(begun))
	}
	return taken, nil
}

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/wire"
	"understudy/tools/fakeprovider/fake"
)

// failoverRate is how many requests a second flow during the trials: so many
// that the next one is never far.
const failoverRate = 250

// failover is what the trials measured, each from the opening of the breaker.
type failover struct {
	first    []time.Duration // until the backup's provider is called
	moved    []time.Duration // until the backup owns every lane
	requests int
	failures map[string]int
	// intolerable failures are those that may not be.
	intolerable int
}

func (f failover) bad() bool { return f.intolerable > 0 }

// promptly is the target for the first call of the backup's provider.
const promptly = 50 * time.Millisecond

// prompt counts the trials that met it.
func (f failover) prompt() (n int) {
	for _, d := range f.first {
		if d <= promptly {
			n++
		}
	}
	return n
}

const failoverConfiguration = `workers:
  primary: {kind: openai, base_url: %s/v1, model: m, breaker: {open: 50ms, open_max: 50ms}}
  backup:  {kind: openai, base_url: %s/v1, model: m}
routes:
  chat: {fallbacks: [primary, backup], slow_start: 1ms}
`

// openings takes the product's log and passes on when the primary's breaker
// opened, which the worker logs as it happens.
type openings chan time.Time

func (o openings) Write(line []byte) (int, error) {
	var entry struct {
		Worker string           `json:"worker"`
		State  wire.HealthState `json:"state"`
	}
	if json.Unmarshal(line, &entry) == nil && entry.Worker == primary && entry.State == wire.HealthStateOpen {
		select {
		case o <- time.Now():
		default: // nobody asked for this one
		}
	}
	return len(line), nil
}

// runFailover breaks the primary again and again while requests flow.
func runFailover(ctx context.Context, trials int) (f failover, err error) {
	first, err := fake.Start("127.0.0.1:0", fake.Options{Name: primary, Text: answer})
	if err != nil {
		return f, err
	}
	defer first.Close()
	second, err := fake.Start("127.0.0.1:0", fake.Options{Name: backup, Text: answer})
	if err != nil {
		return f, err
	}
	defer second.Close()
	opened := make(openings, 1)
	var l launcher
	up, err := l.start(ctx, fmt.Sprintf(failoverConfiguration, first.URL(), second.URL()), zerolog.New(opened))
	if err != nil {
		return f, err
	}
	defer func() { err = cmp.Or(err, up.stop()) }()
	owners, err := watchLanes(ctx, up.nats, "chat")
	if err != nil {
		return f, err
	}
	defer owners.stop()
	traffic := newTraffic(up.url, "chat")
	asking, stopAsking := context.WithCancel(ctx)
	asked := make(chan struct{})
	go func() { defer close(asked); traffic.run(asking, failoverRate) }()
	defer func() { stopAsking(); <-asked }()

	for n := range trials {
		trial, cancel := context.WithTimeout(ctx, time.Minute)
		err := f.try(trial, first, second, owners, opened)
		cancel()
		if err != nil {
			return f, fmt.Errorf("trial %d: %w", n+1, err)
		}
	}
	stopAsking()
	<-asked
	all, _ := traffic.samples()
	f.requests = len(all)
	f.failures, f.intolerable = unanswered(all)
	return f, nil
}

// try takes the primary down once all lanes are its own, and brings it back
// when they are the backup's.
func (f *failover) try(ctx context.Context, first, second *fake.Server, owners *lanes, opened openings) error {
	if _, err := owners.await(ctx, primary); err != nil {
		return err
	}
	select {
	case <-opened: // left over
	default:
	}
	if err := first.Down(fake.DownReset); err != nil {
		return err
	}
	defer first.Up()
	var at time.Time
	select {
	case at = <-opened:
	case <-ctx.Done():
		return fmt.Errorf("wait for the breaker to open: %w", ctx.Err())
	}
	called, err := firstCallAfter(ctx, second, at)
	if err != nil {
		return err
	}
	moved, err := owners.await(ctx, backup)
	if err != nil {
		return err
	}
	f.first, f.moved = append(f.first, called.Sub(at)), append(f.moved, moved.Sub(at))
	return nil
}

// firstCallAfter returns when the first call after a time reached a provider.
func firstCallAfter(ctx context.Context, p *fake.Server, at time.Time) (time.Time, error) {
	if err := p.Wait(ctx, func(s fake.Stats) bool { return s.LastCall.After(at) }); err != nil {
		return time.Time{}, fmt.Errorf("wait for a call to the backup: %w", err)
	}
	earliest := p.Stats().LastCall
	for _, call := range p.Calls(0) { // the newest first
		if call.At.Before(at) {
			break
		}
		earliest = call.At
	}
	return earliest, nil
}

// machine says what the figures were taken on.
func machine() string {
	return fmt.Sprintf("%d cores, %s/%s, %s", runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

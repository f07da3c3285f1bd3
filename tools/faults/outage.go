package main

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"understudy/tools/fakeprovider/fake"
)

const (
	// calm is how long all is well before an outage, and how long the return is
	// watched once every lane is back.
	calm = 5 * time.Second
	// returnMost bounds the wait for the return: the longest opening of a
	// breaker, and the slow start.
	returnMost = 3 * time.Minute
)

// outageModes are the ways the primary is down, each with the most calls that
// may reach it meanwhile. A silent provider cannot be told from one that thinks
// before slow_after has passed (2 s), and requests keep coming until then.
var outageModes = []struct {
	mode  fake.DownMode
	calls int64
}{
	{fake.DownReset, 10},
	{fake.DownRefuse, 10},
	{fake.DownSilence, 100},
}

// outage is what was measured of one.
type outage struct {
	mode           fake.DownMode
	mostCalls      int64
	requests       int // sent while the primary was down
	byWorker       map[string]int
	calls          int64 // to the primary while it was down
	median, p99    time.Duration
	slowest        time.Duration
	firstPrimary   time.Duration // from the recovery to the first answer
	allLanes       time.Duration // from the recovery to every lane
	all            int           // requests, calm and return included
	failures       map[string]int
	intolerable    int // failures that may not be
	failedAtReturn int // of those that ended after the recovery
}

// bad says whether the outage cost more than it may.
func (o outage) bad() bool {
	return o.intolerable > 0 || o.failedAtReturn > 0 || o.calls > o.mostCalls
}

const outageConfiguration = `workers:
  primary: {kind: openai, base_url: %s/v1, model: m}
  backup:  {kind: openai, base_url: %s/v1, model: m}
routes:
  chat: {fallbacks: [primary, backup]}
`

// runOutages measures every mode, side by side, each with a product of its own.
func runOutages(ctx context.Context, downFor time.Duration, rate int) ([]outage, error) {
	var l launcher
	outages, errs := make([]outage, len(outageModes)), make([]error, len(outageModes))
	var running sync.WaitGroup
	for i, m := range outageModes {
		running.Go(func() {
			outages[i], errs[i] = runOutage(ctx, &l, m.mode, downFor, rate)
			outages[i].mode, outages[i].mostCalls = m.mode, m.calls
		})
	}
	running.Wait()
	return outages, cmp.Or(errs...)
}

func runOutage(ctx context.Context, l *launcher, mode fake.DownMode, downFor time.Duration, rate int) (o outage, err error) {
	first, err := fake.Start("127.0.0.1:0", fake.Options{Name: primary, Text: answer, Latency: 50 * time.Millisecond})
	if err != nil {
		return o, err
	}
	defer first.Close()
	second, err := fake.Start("127.0.0.1:0", fake.Options{Name: backup, Text: answer, Latency: 50 * time.Millisecond})
	if err != nil {
		return o, err
	}
	defer second.Close()
	up, err := l.start(ctx, fmt.Sprintf(outageConfiguration, first.URL(), second.URL()), zerolog.Nop())
	if err != nil {
		return o, err
	}
	defer func() { err = cmp.Or(err, up.stop()) }()
	owners, err := watchLanes(ctx, up.nats, "chat")
	if err != nil {
		return o, err
	}
	defer owners.stop()

	traffic := newTraffic(up.url, "chat")
	asking, stopAsking := context.WithCancel(ctx)
	asked := make(chan struct{})
	go func() { defer close(asked); traffic.run(asking, rate) }()
	defer func() { stopAsking(); <-asked }()

	if err := pause(ctx, calm); err != nil {
		return o, err
	}
	before := first.Stats().Total
	if err := first.Down(mode); err != nil {
		return o, err
	}
	downAt := time.Now()
	if err := pause(ctx, downFor); err != nil {
		return o, err
	}
	o.calls = first.Stats().Total - before
	first.Up()
	upAt := time.Now()

	returning, cancel := context.WithTimeout(ctx, returnMost)
	defer cancel()
	answered, err := traffic.await(returning, primary, upAt)
	if err != nil {
		return o, err
	}
	owned, err := owners.await(returning, primary)
	if err != nil {
		return o, err
	}
	o.firstPrimary, o.allLanes = answered.Sub(upAt), owned.Sub(upAt)
	if err := pause(ctx, calm); err != nil {
		return o, err
	}
	stopAsking()
	<-asked
	all, _ := traffic.samples()
	o.count(all, downAt, upAt)
	return o, nil
}

// count sums up the requests of an outage.
func (o *outage) count(all []sample, downAt, upAt time.Time) {
	o.all, o.byWorker = len(all), map[string]int{}
	o.failures, o.intolerable = unanswered(all)
	var took []time.Duration
	for _, s := range all {
		if s.end != wholeAnswer && s.ended.After(upAt) {
			o.failedAtReturn++
		}
		if s.sent.After(downAt) && s.sent.Before(upAt) {
			o.requests++
			took = append(took, s.got.took)
			if s.end == wholeAnswer {
				o.byWorker[s.got.worker]++
			}
		}
	}
	o.median, o.p99, o.slowest = percentile(took, 50), percentile(took, 99), percentile(took, 100)
}

// pause waits, or returns why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// longestWait is how long a caller of the traffic waits: longer than any
// request's own patience.
const longestWait = 90 * time.Second

// sample is one request of the traffic.
type sample struct {
	sent, ended time.Time
	got         received
	end         end
}

// tolerated says whether a request may end like this when its provider crashes:
// with its answer, or, until streams are rescued, with an error event.
func (s sample) tolerated() bool {
	return s.end == wholeAnswer || !rescueRequired && s.end == cleanError && s.got.status == http.StatusOK
}

// unanswered counts the samples without an answer by how they ended, and those
// that may not end so.
func unanswered(all []sample) (ends map[string]int, intolerable int) {
	ends = map[string]int{}
	for _, s := range all {
		if s.end != wholeAnswer {
			ends[fmt.Sprintf("%s, %d %s:", s.end, s.got.status, s.got.code)]++
		}
		if !s.tolerated() {
			intolerable++
		}
	}
	return ends, intolerable
}

// traffic asks at a steady rate, whatever becomes of the requests before;
// every second one is streamed.
type traffic struct {
	by    caller
	route string

	mu   sync.Mutex
	all  []sample
	news chan struct{} // closed and replaced when a request has ended
}

func newTraffic(url, route string) *traffic {
	return &traffic{by: newCaller(url), route: route, news: make(chan struct{})}
}

// run asks until ctx ends, and returns when every request has ended.
func (t *traffic) run(ctx context.Context, rate int) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	var open sync.WaitGroup
	defer t.by.client.CloseIdleConnections()
	defer open.Wait()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		open.Go(func() { t.ask(n) })
	}
}

func (t *traffic) ask(n int) {
	ctx, cancel := context.WithTimeout(context.Background(), longestWait)
	defer cancel()
	s := sample{sent: time.Now()}
	s.got = t.by.ask(ctx, t.route, fmt.Sprintf("request %d", n), n%2 == 1)
	s.ended, s.end = time.Now(), endOf(s.got)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, s)
	close(t.news)
	t.news = make(chan struct{})
}

// samples returns the requests that have ended.
func (t *traffic) samples() ([]sample, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.all), t.news
}

// await returns when an answer of worker to a request that was sent after a
// time has come.
func (t *traffic) await(ctx context.Context, worker string, after time.Time) (time.Time, error) {
	for {
		all, news := t.samples()
		for _, s := range all {
			if s.sent.After(after) && s.end == wholeAnswer && s.got.worker == worker {
				return s.ended, nil
			}
		}
		select {
		case <-news:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("wait for an answer of %s: %w", worker, ctx.Err())
		}
	}
}

// percentile returns the smallest value that p per cent do not exceed; 0 of
// nothing.
func percentile(values []time.Duration, p int) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max((len(sorted)*p+99)/100-1, 0)]
}

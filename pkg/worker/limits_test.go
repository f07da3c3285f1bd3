package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
	"understudy/pkg/worker"
)

// clock notes when a provider was called.
type clock struct {
	mu sync.Mutex
	at []time.Time
}

func (c *clock) note() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = append(c.at, time.Now())
}

func (c *clock) most(window time.Duration) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	most, from := 0, 0
	for to := range c.at {
		for c.at[to].Sub(c.at[from]) >= window {
			from++
		}
		most = max(most, to-from+1)
	}
	return most
}

// answers notes each call.
func (c *clock) answers() script {
	return script{answer: func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		c.note()
		return says("hi")(ctx, req, emit)
	}}
}

// healths passes on what the instances of a worker say.
func (s *stage) healths(worker string) <-chan wire.Health {
	s.Helper()
	said := make(chan wire.Health, 1000)
	stop, err := s.bus.Listen(wire.HealthSubject(worker, "*"), "", func(m bus.Message) {
		var h wire.Health
		if json.Unmarshal(m.Body, &h) == nil {
			said <- h
		}
	})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(stop)
	return said
}

func (s *stage) awaitHealth(said <-chan wire.Health, what string, is func(wire.Health) bool) wire.Health {
	s.Helper()
	patience := time.After(20 * time.Second)
	for {
		select {
		case h := <-said:
			if is(h) {
				return h
			}
		case <-patience:
			s.Fatalf("no instance is %s", what)
		}
	}
}

func TestABacklogDrainsNoFasterThanTheLimitOfAllInstances(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}})
	const requests, perSecond = 60, 20
	for i := range requests {
		s.publish(fmt.Sprint("r", i), hello)
	}
	said := s.healths("openai")
	var c clock
	settings := wire.Worker{Limits: wire.Limits{RequestsPerMinute: 60 * perSecond}}
	begun := time.Now()
	for _, instance := range []string{"i1", "i2"} {
		s.start(worker.Config{Name: "openai", Instance: instance, Settings: settings}, c.answers())
	}
	h := s.awaitHealth(said, "at its own limit", func(h wire.Health) bool { return h.Cause == wire.HealthCauseLimit })
	if h.State != wire.HealthStatePaused || h.Reason != "own limit: 1200 requests a minute" || h.Until.IsZero() {
		t.Errorf("health %+v", h)
	}
	for i := range requests {
		if r := s.await(fmt.Sprint("r", i)); r.Status != dispatch.StatusAnswered || len(r.Attempts) != 1 {
			t.Errorf("result %+v", r)
		}
	}
	const oneSlice = perSecond
	if took := time.Since(begun); took < time.Second*(requests-oneSlice)/perSecond {
		t.Errorf("%d requests took %v", requests, took)
	}
	// The moments of calls are a little later than those of their entries.
	if n := c.most(500 * time.Millisecond); n > perSecond/2+oneSlice+perSecond/5 {
		t.Errorf("%d calls in half a second", n)
	}
}

func TestASpillTakesWhatTheOwnersLimitLeaves(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}, Spill: []string{"backup"}})
	const requests = 60
	for i := range requests {
		s.publish(fmt.Sprint("r", i), hello)
	}
	s.start(worker.Config{Name: "openai", Settings: wire.Worker{Limits: wire.Limits{RequestsPerMinute: 600}}}, script{answer: says("hi")})
	s.start(worker.Config{Name: "backup"}, script{answer: says("from the spill")})
	by := map[string]int{}
	for i := range requests {
		r := s.await(fmt.Sprint("r", i))
		by[r.Worker]++
		if r.Status != dispatch.StatusAnswered || len(r.Attempts) != 1 {
			t.Errorf("result %+v", r)
		}
	}
	if by["backup"] == 0 {
		t.Errorf("answered by %v", by)
	}
}

func TestAThrottledInstancePausesTheOthersToo(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	said := s.healths("openai")
	throttles := failsWith(&dispatch.Error{Kind: dispatch.Throttled, Status: 429, RetryAfter: 20 * time.Second})
	for _, instance := range []string{"i1", "i2"} {
		s.start(worker.Config{Name: "openai", Instance: instance}, script{answer: throttles})
	}
	s.start(worker.Config{Name: "backup"}, script{answer: says("hi")})
	ready := map[string]bool{}
	s.awaitHealth(said, "ready with the other", func(h wire.Health) bool {
		ready[h.Instance] = true
		return len(ready) == 2
	})
	s.publish("a", hello)
	if r := s.await("a"); r.Worker != "backup" || r.Attempts[0].Kind != dispatch.Throttled {
		t.Fatalf("result %+v", r)
	}
	h := s.awaitHealth(said, "paused because of the other", func(h wire.Health) bool { return h.Cause == wire.HealthCausePeer })
	if left := h.Until.Sub(h.At); h.State != wire.HealthStatePaused || left < 15*time.Second || left > 21*time.Second {
		t.Errorf("paused for %v: %+v", left, h)
	}
}

func TestARequestMayShortenItsTimeoutsWithoutBlameForTheProvider(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	settings := wire.Worker{Breaker: wire.BreakerSettings{Consecutive: 1}}
	said := s.healths("openai")
	s.start(worker.Config{Name: "openai", Settings: settings}, script{answer: func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		if req.ID == "idle" {
			emit(dispatch.Chunk{})
		}
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}})
	s.start(worker.Config{Name: "backup"}, script{answer: says("hi")})
	s.publish("first", hello, wire.HeaderFirstTokenTimeout, "20ms")
	s.publish("idle", hello, wire.HeaderIdleTimeout, "20ms")
	for id, want := range map[string]dispatch.Kind{"first": dispatch.Silent, "idle": dispatch.Stalled} {
		if r := s.await(id); r.Worker != "backup" || r.Attempts[0].Kind != want {
			t.Errorf("%s: %+v", id, r)
		}
	}
	ended := time.Now()
	if h := s.awaitHealth(said, "idle again", func(h wire.Health) bool { return h.InFlight == 0 && h.At.After(ended) }); h.State != wire.HealthStateReady || h.Breaker.Opened != 0 {
		t.Errorf("health %+v", h)
	}
}

func TestARequestMayWaitThreeTimesAsLongAndNoLonger(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	settings := wire.Worker{Timeouts: wire.Timeouts{FirstToken: wire.Duration(300 * time.Millisecond)}}
	s.start(worker.Config{Name: "openai", Settings: settings}, script{answer: func(ctx context.Context, _ *dispatch.Request, _ dispatch.Emit) (*dispatch.Answer, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}})
	s.start(worker.Config{Name: "backup"}, script{answer: says("hi")})
	s.publish("a", hello, wire.HeaderFirstTokenTimeout, "1h")
	a := s.await("a").Attempts[0]
	if a.Kind != dispatch.Silent || a.DurationMS < 900 || a.DurationMS > 10000 {
		t.Errorf("attempt %+v, want it to end after 900 ms", a)
	}
}

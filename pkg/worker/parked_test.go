package worker_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
	"understudy/pkg/worker"
)

// A day's worth of parked requests: what the clock says to the policies is in
// their headers, the broker and its data are real.
func TestRequestsParkedForADayDrainInOrderOfAgeAtTheLimit(t *testing.T) {
	const requests, perSecond, slots = 10_000, 2_000, 8
	const mixed = 16 * slots // how far those in hand together may overtake each other
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}, Durability: wire.DurabilityMemory, TimeoutMax: wire.Duration(48 * time.Hour)})
	s.own(wire.LaneParked, "")
	dayAgo := time.Now().Add(-24 * time.Hour)
	for i := range requests {
		id := fmt.Sprintf("p%05d", i)
		if _, err := s.bus.Publish(t.Context(), wire.LaneParked.Subject("chat"), id, bus.Header{
			wire.HeaderRequestID: {id}, wire.HeaderDegrade: {"never"}, wire.HeaderHops: {"1"},
			wire.HeaderAccepted: {dayAgo.Add(time.Duration(i) * time.Second).UTC().Format(time.RFC3339Nano)},
			wire.HeaderDeadline: {time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)},
		}, []byte(hello)); err != nil {
			t.Fatal(err)
		}
	}

	var mu sync.Mutex
	var order []string
	var calls []time.Time
	all := make(chan struct{})
	settings := wire.Worker{Concurrency: slots, Limits: wire.Limits{RequestsPerMinute: 60 * perSecond}}
	s.start(worker.Config{Name: "openai", Settings: settings}, script{answer: func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		mu.Lock()
		defer mu.Unlock()
		order, calls = append(order, req.ID), append(calls, time.Now())
		if len(order) == requests {
			close(all)
		}
		return says("hi")(ctx, req, emit)
	}})
	begun := time.Now()
	s.own(wire.LaneParked, "openai")
	select {
	case <-all:
	case <-time.After(2 * time.Minute):
		t.Fatalf("%d of %d drained", len(order), requests)
	}
	if took := time.Since(begun); took < time.Second*(requests-perSecond)/perSecond {
		t.Errorf("drained in %v, faster than %d a second", took, perSecond)
	}
	for i, id := range order {
		var age int
		if _, err := fmt.Sscanf(id, "p%05d", &age); err != nil || age > i+mixed || age < i-mixed {
			t.Fatalf("request %s was the %d. to be served", id, i)
		}
	}
	s.awaitLaneEmpty(wire.LaneParked)
	for i := range requests {
		r, err := s.bus.Result(t.Context(), s.route.Durability, fmt.Sprintf("p%05d", i))
		if err != nil || r.Status != dispatch.StatusAnswered || len(r.Attempts) != 1 {
			t.Fatalf("result %+v, %v", r, err)
		}
	}
}

// awaitLaneEmpty waits until nothing waits in a lane and nothing of it is in hand.
func (s *stage) awaitLaneEmpty(lane wire.Lane) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	for {
		state, err := s.bus.LaneState(ctx, "chat", lane)
		if err != nil {
			s.Fatal(err)
		}
		if state.Waiting == 0 && state.InHand == 0 {
			return
		}
	}
}

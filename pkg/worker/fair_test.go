package worker_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
	"understudy/pkg/worker"
)

// handOff puts a request into the handoff lane of a worker: a lane of the test's
// choice, where the numbered ones are the broker's.
func (s *stage) handOff(id, to string) {
	s.Helper()
	if _, err := s.bus.Publish(s.Context(), wire.HandoffLane(to).Subject("chat"), id, bus.Header{wire.HeaderRequestID: {id}}, []byte(hello)); err != nil {
		s.Fatal(err)
	}
}

func TestQuietLaneIsServedWhileAnotherIsFlooded(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "flood"}})
	s.own(wire.HandoffLane("flood"), "openai")
	const flood = 200
	for i := range flood {
		s.handOff(fmt.Sprint("flood-", i), "flood")
	}
	s.handOff("quiet", "openai")
	var mu sync.Mutex
	var order []string
	s.start(worker.Config{Name: "openai", Settings: wire.Worker{Concurrency: 2}}, script{answer: func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		mu.Lock()
		order = append(order, req.ID)
		mu.Unlock()
		return says("hi")(ctx, req, emit)
	}})
	s.await("quiet")
	mu.Lock()
	before := len(order)
	mu.Unlock()
	if before > flood/2 {
		t.Errorf("the quiet lane was served after %d requests of the flooded one", before-1)
	}
}

func TestOneBusyLaneGetsEverySlot(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}})
	const slots = 16
	for i := range slots {
		s.handOff(fmt.Sprint("r", i), "openai")
	}
	all := make(chan struct{})
	var mu sync.Mutex
	together := 0
	s.start(worker.Config{Name: "openai", Settings: wire.Worker{Concurrency: slots}}, script{answer: func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		mu.Lock()
		if together++; together == slots {
			close(all)
		}
		mu.Unlock()
		select {
		case <-all: // every slot is in use by this one lane
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		return says("hi")(ctx, req, emit)
	}})
	for i := range slots {
		if r := s.await(fmt.Sprint("r", i)); r.Status != dispatch.StatusAnswered {
			t.Fatalf("result %+v", r)
		}
	}
}

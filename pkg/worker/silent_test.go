package worker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
	"understudy/pkg/worker"
)

func TestRequestsLeaveASilentProviderOnceItsBreakerOpens(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	hung := 0
	settings := wire.Worker{
		SlowAfter: wire.Duration(50 * time.Millisecond),
		Timeouts:  wire.Timeouts{FirstToken: wire.Duration(time.Minute)},
		Breaker:   wire.BreakerSettings{Minimum: 3},
	}
	answers := make(chan bool, 100)
	for range 3 {
		answers <- true // streams first, so that the worker knows what a first token is
	}
	close(answers)
	s.start(worker.Config{Name: "openai", Settings: settings}, script{
		answer: func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
			if <-answers {
				emit(dispatch.Chunk{Output: true})
				return says("hi")(ctx, req, emit)
			}
			emit(dispatch.Chunk{}) // a frame without output is no first token
			<-ctx.Done()
			return nil, context.Cause(ctx)
		},
		probe: func(context.Context) error { return dispatch.Errorf(dispatch.Silent, "still silent") },
	})
	s.start(worker.Config{Name: "backup"}, script{answer: says("from the backup")})
	for i := range 3 {
		s.publish(fmt.Sprint("first-", i), hello)
		s.await(fmt.Sprint("first-", i))
	}
	for i := range 20 {
		s.publish(fmt.Sprint("r", i), hello)
	}
	for i := range 20 {
		r := s.await(fmt.Sprint("r", i))
		if r.Worker != "backup" {
			t.Fatalf("result %+v", r)
		}
		for _, a := range r.Attempts {
			if a.Kind == dispatch.Silent {
				hung++
			}
		}
	}
	if hung == 0 {
		t.Error("no request had been with the silent provider")
	}
}

func TestRetryIsNeverSoonerThanTheProviderAsked(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}})
	const asked = 200 * time.Millisecond
	var calls []time.Time
	s.start(worker.Config{Name: "openai"}, script{answer: func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		calls = append(calls, time.Now())
		if len(calls) < 3 {
			return nil, &dispatch.Error{Kind: dispatch.Transient, Status: 503, RetryAfter: asked}
		}
		return says("hi")(ctx, req, emit)
	}})
	s.publish("a", hello)
	s.await("a")
	for i := range len(calls) - 1 {
		if gap := calls[i+1].Sub(calls[i]); gap < asked {
			t.Errorf("call %d came %v after the one before, asked were %v", i+2, gap, asked)
		}
	}
}

package worker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
	"understudy/pkg/worker"
)

func TestAnswerTooLargeToRecordIsAFailureThatSaysSo(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}, AckWait: wire.Duration(time.Second)})
	calls := make(chan struct{}, 10)
	s.start(worker.Config{Name: "openai"}, script{answer: func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		calls <- struct{}{}
		return says(strings.Repeat("x", 2<<20))(ctx, req, emit)
	}})
	s.publish("a", hello)
	r := s.await("a")
	if r.Status != dispatch.StatusFailed || r.Error.Kind != dispatch.Malformed || !strings.Contains(r.Error.Message, "larger") {
		t.Errorf("result %+v %+v", r, r.Error)
	}
	if l := s.awaitDeadLetters(1); l[0].ID != "a" || string(l[0].Body) != hello {
		t.Errorf("dead letters %+v", l)
	}
	s.awaitEmpty()
	if len(calls) != 1 {
		t.Errorf("%d calls", len(calls))
	}
}

func TestLargeRequestThatFailsReachesTheDeadLetters(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}, AckWait: wire.Duration(time.Second)})
	s.start(worker.Config{Name: "openai"}, script{answer: failsWith(&dispatch.Error{Kind: dispatch.BadRequest, Status: 400, Message: "no"})})
	markup := `{"messages":[{"role":"user","content":"` + strings.Repeat("<b>&", 230_000) + `"}]}`
	s.publish("markup", markup)
	s.publish("noise", strings.Repeat("no JSON ", 115_000))
	for _, id := range []string{"markup", "noise"} {
		if r := s.await(id); r.Status != dispatch.StatusFailed {
			t.Errorf("%s: %+v", id, r)
		}
	}
	s.awaitEmpty()
	for _, l := range s.awaitDeadLetters(2) {
		switch {
		case l.ID == "markup" && string(l.Body) != markup:
			t.Errorf("markup: the body is kept as %d bytes of %d", len(l.Body), len(markup))
		case l.ID == "noise" && !strings.Contains(l.Error.Message, "too large"):
			t.Errorf("noise: %+v", l.Error)
		}
	}
}

// awaitEmpty waits until the queue holds nothing.
func (s *stage) awaitEmpty() {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 15*time.Second)
	defer cancel()
	for {
		state, err := s.bus.StreamState(ctx, wire.RequestStream("chat"))
		if err != nil {
			s.Fatalf("the queue is not empty: %v", err)
		}
		if state.Messages == 0 {
			return
		}
	}
}

package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
	"understudy/pkg/worker"
)

// counted tells of each call, then does as given.
func counted(calls chan<- struct{}, answer func(context.Context, *dispatch.Request, dispatch.Emit) (*dispatch.Answer, error)) script {
	return script{answer: func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		calls <- struct{}{}
		return answer(ctx, req, emit)
	}}
}

// awaitCall waits for a call of the provider.
func (s *stage) awaitCall(calls <-chan struct{}, what string) {
	s.Helper()
	select {
	case <-calls:
	case <-time.After(20 * time.Second):
		s.Fatalf("no %s", what)
	}
}

func TestRequestIsNotAckedBeforeItsResultIsRecorded(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}, AckWait: wire.Duration(500 * time.Millisecond)})
	calls := make(chan struct{}, 10)
	s.start(worker.Config{Name: "openai"}, counted(calls, says("hi")))
	s.limitResults(1)
	s.publish("a", hello)
	s.awaitCall(calls, "call")
	s.awaitCall(calls, "second call: the request is gone, and no result was recorded")
	s.limitResults(-1)
	if r := s.await("a"); r.Status != dispatch.StatusAnswered {
		t.Errorf("result %+v %+v", r, r.Error)
	}
}

func TestRequestIsNotAckedBeforeItsHandoffIsWritten(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}, AckWait: wire.Duration(500 * time.Millisecond), MaxBytes: 16 << 10})
	s.own(wire.LaneParked, "")
	calls, full := make(chan struct{}, 10), make(chan struct{})
	s.start(worker.Config{Name: "openai"}, counted(calls, func(context.Context, *dispatch.Request, dispatch.Emit) (*dispatch.Answer, error) {
		<-full
		return nil, dispatch.Errorf(dispatch.Malformed, "no whole answer")
	}))
	s.start(worker.Config{Name: "backup"}, script{answer: says("hi")})
	s.publish("a", hello)
	s.awaitCall(calls, "call")
	fillers := s.fillUp()
	close(full)
	s.awaitCall(calls, "second call: the request is gone, and no handoff was written")
	for _, sequence := range fillers {
		if err := s.bus.RemoveStored(t.Context(), wire.RequestStream("chat"), sequence); err != nil {
			t.Fatal(err)
		}
	}
	if r := s.await("a"); r.Status != dispatch.StatusAnswered || r.Worker != "backup" {
		t.Errorf("result %+v %+v", r, r.Error)
	}
}

// fillUp publishes to the parked lane until the queue takes no more.
func (s *stage) fillUp() (sequences []uint64) {
	s.Helper()
	for n := 0; ; n++ {
		receipt, err := s.bus.Publish(s.Context(), wire.LaneParked.Subject("chat"), "", bus.Header{wire.HeaderRequestID: {fmt.Sprint("filler", n)}}, []byte(`{}`))
		if errors.Is(err, bus.ErrQueueFull) {
			return sequences
		}
		if err != nil {
			s.Fatal(err)
		}
		sequences = append(sequences, receipt.Sequence)
	}
}

// limitResults has the broker refuse results that are larger, in bytes; -1 is
// no limit.
func (s *stage) limitResults(size int) {
	s.Helper()
	stream := "KV_" + wire.ResultsBucket(s.route.Durability)
	var now struct {
		Config map[string]any `json:"config"`
	}
	s.jetStream("STREAM.INFO."+stream, nil, &now)
	now.Config["max_msg_size"] = size
	s.jetStream("STREAM.UPDATE."+stream, now.Config, new(any))
}

// jetStream calls the broker's own API.
func (s *stage) jetStream(call string, request, response any) {
	s.Helper()
	data, err := json.Marshal(request)
	if err != nil {
		s.Fatal(err)
	}
	m, err := s.bus.Ask(s.Context(), "$JS.API."+call, nil, data)
	if err != nil {
		s.Fatal(err)
	}
	var problem struct {
		Error any `json:"error"`
	}
	if err := errors.Join(json.Unmarshal(m.Body, &problem), json.Unmarshal(m.Body, response)); err != nil || problem.Error != nil {
		s.Fatalf("%s: %v %s", call, err, m.Body)
	}
}

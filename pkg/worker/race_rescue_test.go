package worker_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
	"understudy/pkg/worker"
)

func workersOf(attempts []wire.Attempt) (names []string) {
	for _, a := range attempts {
		names = append(names, a.Worker)
	}
	return names
}

func TestHedgedStreamThatBreaksIsGoneOnWithByTheNextModel(t *testing.T) {
	s := course(t, soon)
	called, ended := signals()
	s.start(worker.Config{Name: "openai"}, script{answer: hangs(called, ended)})
	s.startListening(worker.Config{Name: "backup"}, script{answer: breaks("b", dispatch.Truncated, "Your ", "parcel")})
	s.start(worker.Config{Name: "third"}, script{answer: streams("c", " is here")})
	told := s.listen("a", hello)()
	if told.text != "Your parcel is here" || told.finish != "stop" || !slices.Equal(told.ids, []string{"b"}) {
		t.Errorf("heard %q, %q, of %v", told.text, told.finish, told.ids)
	}
	if told.end.Worker != "third" || answerText(t, told.end) != told.text {
		t.Errorf("result %+v", told.end)
	}
	if got := workersOf(told.end.Attempts); !slices.Equal(got, []string{"openai", "backup", "third"}) {
		t.Errorf("attempts by %v", got)
	}
}

func TestAskerGoesOnWithItsHedgesBrokenStreamWhenNobodyElseCan(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}, HedgeAfter: wire.Duration(soon), HedgeBudget: 100})
	called, ended := signals()
	s.start(worker.Config{Name: "openai"}, byTurn(hangs(called, ended), streams("o", " is here")))
	s.startListening(worker.Config{Name: "backup"}, script{answer: breaks("b", dispatch.Truncated, "Your ", "parcel")})
	told := s.listen("a", hello)()
	if told.text != "Your parcel is here" || told.end.Worker != "openai" || answerText(t, told.end) != told.text {
		t.Errorf("heard %q, result %+v", told.text, told.end)
	}
}

func TestHedgedStreamThatNobodyGoesOnWithIsAFailure(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}, HedgeAfter: wire.Duration(soon), HedgeBudget: 100, MaxAttempts: 2})
	called, ended := signals()
	s.start(worker.Config{Name: "openai"}, script{answer: hangs(called, ended)})
	s.startListening(worker.Config{Name: "backup"}, script{answer: breaks("b", dispatch.Truncated, "half an")})
	told := s.listen("a", hello)()
	if told.text != "half an" || told.end.Status != dispatch.StatusFailed || told.end.Error.Kind != dispatch.Truncated {
		t.Errorf("heard %q, result %+v", told.text, told.end)
	}
}

func TestStreamThatIsBeingRescuedIsNotHedged(t *testing.T) {
	s := course(t, soon)
	s.start(worker.Config{Name: "openai"}, script{answer: breaks("o", dispatch.Truncated, "Your ")})
	s.start(worker.Config{Name: "backup"}, script{answer: func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		<-time.After(10 * soon) // silent for longer than a hedge waits
		return streams("b", "parcel")(ctx, req, emit)
	}})
	s.startListening(worker.Config{Name: "third"}, script{answer: streams("c", "another answer")})
	told := s.listen("a", hello)()
	if told.text != "Your parcel" || !slices.Equal(workersOf(told.end.Attempts), []string{"openai", "backup"}) {
		t.Errorf("heard %q, result %+v", told.text, told.end)
	}
}

func TestHedgesCountTowardsTheLimitsOfTheirWorker(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	settings := wire.Worker{Limits: wire.Limits{RequestsPerMinute: 1}}
	s.startListening(worker.Config{Name: "backup", Settings: settings}, script{answer: says("hi")})
	ends := make(chan wire.Result, 2)
	inbox := s.bus.NewInbox()
	stop, err := s.bus.Listen(inbox+".*", "", func(m bus.Message) {
		if m.WantsReply() {
			_ = m.Respond(nil, nil)
			return
		}
		r, err := wire.Decode[wire.Result](wire.SchemaResult, m.Body)
		if err != nil {
			t.Error(err)
		}
		ends <- r
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for _, want := range []dispatch.Status{dispatch.StatusAnswered, dispatch.StatusFailed} {
		if err := s.bus.Send(wire.HedgeSubject("chat", "backup"), bus.Header{wire.HeaderRequestID: {"a"}, wire.HeaderReplyTo: {inbox}}, []byte(hello)); err != nil {
			t.Fatal(err)
		}
		if r := <-ends; r.Status != want {
			t.Errorf("a hedge ended %s, want %s: %+v", r.Status, want, r.Error)
		}
	}
}

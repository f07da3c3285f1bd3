package worker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
	"understudy/pkg/worker"
)

const (
	declined = "I'm sorry, but I can't help with that."
	wantJSON = `{"messages":[{"role":"user","content":"hello"}],"response_format":{"type":"json_object"}}`
)

// speaks is a provider that says text in one chunk, then ends.
func speaks(text string) func(context.Context, *dispatch.Request, dispatch.Emit) (*dispatch.Answer, error) {
	return func(_ context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		emit(dispatch.Chunk{Data: []byte(`{"choices":[{"delta":{"role":"assistant"}}]}`)})
		if text != "" {
			emit(dispatch.Chunk{Data: []byte(`{"choices":[{"delta":{"content":"` + text + `"}}]}`), Output: true})
		}
		return &dispatch.Answer{Body: chat.Completion(req.ID, "m", text, time.Unix(0, 0)), Model: "m"}, nil
	}
}

func TestRejectedAnswerGoesToTheNextWorker(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}, Quality: wire.Quality{Refusal: true, JSON: true, Empty: true}})
	s.start(worker.Config{Name: "openai"}, script{answer: says(declined)})
	s.start(worker.Config{Name: "backup"}, script{answer: says(`{"a":1}`)})
	for id, body := range map[string]string{"a": hello, "b": wantJSON} {
		s.publish(id, body)
		r := s.await(id)
		if r.Status != dispatch.StatusAnswered || r.Worker != "backup" || r.Quality != "" || r.Attempts[0].Kind != dispatch.Quality {
			t.Errorf("%s: result %+v", id, r)
		}
	}
}

func TestRejectedAnswerIsGivenWhenNobodyHasABetterOne(t *testing.T) {
	for name, last := range map[string]struct {
		name   string
		answer script
	}{
		"another refusal":   {"backup", script{answer: says(declined)}},
		"a content filter":  {"backup", script{answer: failsWith(dispatch.Errorf(dispatch.ContentFilter, "no"))}},
		"a fault":           {"backup", script{answer: failsWith(dispatch.Errorf(dispatch.Malformed, "noise"))}},
		"no rule that fits": {"rules", script{answer: failsWith(dispatch.Errorf(dispatch.Refused, "no rule fits"))}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, wire.Route{Fallbacks: []string{"openai", last.name}, Quality: wire.Quality{Refusal: true}})
			s.start(worker.Config{Name: "openai"}, script{answer: says(declined)})
			s.start(worker.Config{Name: last.name, Local: last.name == "rules"}, last.answer)
			s.publish("a", hello)
			r := s.await("a")
			if r.Status != dispatch.StatusAnswered || r.Quality != wire.QualityCheckRefusal || r.Degraded || !strings.Contains(string(r.Answer), "can't help") {
				t.Fatalf("result %+v", r)
			}
			if name != "another refusal" && r.Worker != "openai" {
				t.Errorf("the answer is credited to %s", r.Worker)
			}
			if len(s.awaitDeadLetters(0)) != 0 {
				t.Error("an answered request left a dead letter")
			}
		})
	}
}

func TestRejectedAnswerIsNotParkedFor(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup", "rules"}, Quality: wire.Quality{Refusal: true}, Degrade: dispatch.DegradeNever})
	s.start(worker.Config{Name: "openai"}, script{answer: says(declined)})
	s.start(worker.Config{Name: "backup"}, script{answer: failsWith(dispatch.Errorf(dispatch.Malformed, "noise"))})
	s.publish("a", hello)
	if r := s.await("a"); r.Status != dispatch.StatusAnswered || r.Quality != wire.QualityCheckRefusal {
		t.Fatalf("result %+v", r)
	}
}

func TestAnswerThatIsNoJSONFailsClearly(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}, Quality: wire.Quality{JSON: true}})
	s.start(worker.Config{Name: "openai"}, script{answer: says("Here you are")})
	s.start(worker.Config{Name: "backup"}, script{answer: says("Here it is")})
	s.publish("a", wantJSON)
	r := s.await("a")
	if r.Status != dispatch.StatusFailed || r.Error.Status != 502 || r.Error.Code != "answer_rejected" || !strings.Contains(r.Error.Message, "json") {
		t.Fatalf("result %+v, error %+v", r, r.Error)
	}
	if letters := s.awaitDeadLetters(1); letters[0].Reason != "quality" {
		t.Errorf("dead letter %+v", letters[0])
	}
}

func TestStreamedAnswerIsRejectedOnlyWhenNobodyHeardIt(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}, Quality: wire.Quality{Refusal: true, Empty: true}})
	s.start(worker.Config{Name: "openai"}, script{answer: func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		if req.ID == "heard" {
			return speaks(declined)(ctx, req, emit)
		}
		return speaks("")(ctx, req, emit)
	}})
	s.start(worker.Config{Name: "backup"}, script{answer: speaks("fine")})
	s.publish("heard", hello, wire.HeaderStream, "true")
	if r := s.await("heard"); r.Worker != "openai" || r.Quality != wire.QualityCheckRefusal || len(r.Attempts) != 1 {
		t.Errorf("heard: %+v", r)
	}
	s.publish("empty", hello, wire.HeaderStream, "true")
	if r := s.await("empty"); r.Worker != "backup" || r.Quality != "" || r.Attempts[0].Code != "empty" {
		t.Errorf("empty: %+v", r)
	}
}

func TestRejectedAnswersCountForTheBreakerWhereTheRouteSaysSo(t *testing.T) {
	for _, counts := range []bool{false, true} {
		s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}, Quality: wire.Quality{Refusal: true, Counts: counts}})
		settings := wire.Worker{Breaker: wire.BreakerSettings{Consecutive: 2, Open: wire.Duration(time.Hour)}}
		s.start(worker.Config{Name: "openai", Settings: settings}, script{answer: says(declined)})
		s.start(worker.Config{Name: "backup"}, script{answer: says("hi")})
		for _, id := range []string{"a", "b"} {
			s.publish(id, hello)
			s.await(id)
		}
		state := s.nextState("openai")
		if open := state == wire.HealthStateOpen; open != counts {
			t.Errorf("counts %v: worker is %s", counts, state)
		}
	}
}

// nextState returns the next state that a worker tells.
func (s *stage) nextState(name string) wire.HealthState {
	s.Helper()
	told := make(chan wire.HealthState, 100)
	stop, err := s.bus.Listen(wire.HealthSubject(name, "*"), "", func(m bus.Message) {
		if h, err := wire.Decode[wire.Health](wire.SchemaHealth, m.Body); err == nil {
			told <- h.State
		}
	})
	if err != nil {
		s.Fatal(err)
	}
	defer stop()
	return <-told
}

package worker_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"understudy/pkg/bus"
	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
	"understudy/pkg/worker"
)

// course is a stage for two models, openai and backup, and a third.
func course(t *testing.T, hedgeAfter time.Duration) *stage {
	t.Helper()
	return newStage(t, wire.Route{Fallbacks: []string{"openai", "backup", "third"}, HedgeAfter: wire.Duration(hedgeAfter), HedgeBudget: 100})
}

const soon = 20 * time.Millisecond

// startListening runs a worker and returns once it can be asked for hedges.
func (s *stage) startListening(cfg worker.Config, p worker.Provider) (stop func()) {
	s.Helper()
	up := make(chan struct{}, 1)
	deaf, err := s.bus.Listen(wire.HealthSubject(cfg.Name, "*"), "", func(bus.Message) {
		select {
		case up <- struct{}{}:
		default:
		}
	})
	if err != nil {
		s.Fatal(err)
	}
	defer deaf()
	stop = s.start(cfg, p)
	<-up
	return stop
}

type answerer = func(context.Context, *dispatch.Request, dispatch.Emit) (*dispatch.Answer, error)

// hangs tells on called that it was called, and on ended why it ended.
func hangs(called chan<- struct{}, ended chan<- error) answerer {
	return func(ctx context.Context, _ *dispatch.Request, _ dispatch.Emit) (*dispatch.Answer, error) {
		close(called)
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil, context.Cause(ctx)
	}
}

// after does what the other does, once it may.
func after(may <-chan struct{}, do answerer) answerer {
	return func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		select {
		case <-may:
			return do(ctx, req, emit)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func signals() (called chan struct{}, ended chan error) {
	return make(chan struct{}), make(chan error, 1)
}

func TestSilentRequestIsAnsweredByTheHedge(t *testing.T) {
	s := course(t, soon)
	called, ended := signals()
	s.start(worker.Config{Name: "openai"}, script{answer: hangs(called, ended)})
	s.startListening(worker.Config{Name: "backup"}, script{answer: says("quicker")})
	s.publish("a", hello)
	r := s.await("a")
	if r.Status != dispatch.StatusAnswered || r.Worker != "backup" || r.Degraded || !strings.Contains(string(r.Answer), "quicker") {
		t.Fatalf("result %+v", r)
	}
	if len(r.Attempts) != 2 || r.Attempts[0].Kind != dispatch.Cancelled || r.Attempts[1].Worker != "backup" || r.Attempts[1].Kind != "" {
		t.Errorf("attempts %+v", r.Attempts)
	}
	if err := <-ended; dispatch.KindOf(err) != dispatch.Cancelled {
		t.Errorf("the call that was outrun ended with %v", err)
	}
}

func TestHedgeIsCalledOffWhenItIsNotTheQuicker(t *testing.T) {
	s := course(t, soon)
	called, ended := signals()
	s.start(worker.Config{Name: "openai"}, script{answer: after(called, says("mine"))})
	s.startListening(worker.Config{Name: "backup"}, script{answer: hangs(called, ended)})
	s.publish("a", hello)
	if r := s.await("a"); r.Worker != "openai" || !strings.Contains(string(r.Answer), "mine") {
		t.Fatalf("result %+v", r)
	}
	if err := <-ended; dispatch.KindOf(err) != dispatch.Cancelled {
		t.Errorf("the hedge ended with %v", err)
	}
}

func TestFailureWaitsForTheHedge(t *testing.T) {
	s := course(t, soon)
	asked, failed := make(chan struct{}), make(chan struct{})
	s.start(worker.Config{Name: "openai"}, script{answer: after(asked, func(context.Context, *dispatch.Request, dispatch.Emit) (*dispatch.Answer, error) {
		defer close(failed)
		return nil, dispatch.Errorf(dispatch.BadRequest, "no such voice")
	})})
	s.startListening(worker.Config{Name: "backup"}, script{answer: func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		close(asked)
		<-failed
		return says("after all")(ctx, req, emit)
	}})
	s.publish("a", hello)
	if r := s.await("a"); r.Status != dispatch.StatusAnswered || r.Worker != "backup" {
		t.Fatalf("result %+v", r)
	}
	if len(s.awaitDeadLetters(0)) != 0 {
		t.Error("an answered request left a dead letter")
	}
}

func TestFailedHedgeChangesNothing(t *testing.T) {
	s := course(t, soon)
	failed := make(chan struct{})
	s.start(worker.Config{Name: "openai"}, script{answer: after(failed, says("mine"))})
	s.startListening(worker.Config{Name: "backup"}, script{answer: func(context.Context, *dispatch.Request, dispatch.Emit) (*dispatch.Answer, error) {
		close(failed)
		return nil, dispatch.Errorf(dispatch.BadRequest, "no such voice")
	}})
	s.publish("a", hello)
	if r := s.await("a"); r.Status != dispatch.StatusAnswered || r.Worker != "openai" {
		t.Fatalf("result %+v", r)
	}
	if len(s.awaitDeadLetters(0)) != 0 {
		t.Error("an answered request left a dead letter")
	}
}

func TestRequestThatBothFailGoesToTheThird(t *testing.T) {
	s := course(t, soon)
	asked := make(chan struct{})
	s.start(worker.Config{Name: "openai"}, script{answer: after(asked, failsWith(dispatch.Errorf(dispatch.Malformed, "noise")))})
	s.startListening(worker.Config{Name: "backup"}, script{answer: func(context.Context, *dispatch.Request, dispatch.Emit) (*dispatch.Answer, error) {
		close(asked) // twice would panic: it has its turn once
		return nil, dispatch.Errorf(dispatch.Malformed, "noise")
	}})
	s.start(worker.Config{Name: "third"}, script{answer: says("hi")})
	s.publish("a", hello)
	if r := s.await("a"); r.Worker != "third" || len(r.Attempts) != 3 {
		t.Fatalf("result %+v", r)
	}
}

// overhear returns the chunks of a request with who spoke them, and then closes.
// first is called at the first output.
func (s *stage) overhear(id string, first func()) <-chan string {
	s.Helper()
	heard, spoken := make(chan string, 100), sync.Once{}
	stop, err := s.bus.Listen(wire.TokensSubject(id), "", func(m bus.Message) {
		if m.Header.Get(wire.HeaderStatus) != "" {
			close(heard)
			return
		}
		delta := chat.Get(chat.Items(chat.Get(m.Body, "choices"))[0], "delta")
		if chat.Text(delta, "content") != "" {
			spoken.Do(first)
		}
		heard <- fmt.Sprintf("%s %s %s", m.Header.Get(wire.HeaderWorker), m.Header.Get(wire.HeaderChunk), delta)
	})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(stop)
	return heard
}

func TestOnlyTheFirstToSpeakIsStreamed(t *testing.T) {
	for _, first := range []string{"openai", "backup"} {
		t.Run(first, func(t *testing.T) {
			s := course(t, soon)
			asked, spoken := make(chan struct{}), make(chan struct{})
			speak := func(name string) answerer {
				return func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
					if name == "backup" {
						close(asked)
					} else {
						<-asked
					}
					if name != first {
						<-spoken // it speaks all the same, too late
						return speaks("from "+name)(context.Background(), req, emit)
					}
					return speaks("from "+name)(ctx, req, emit)
				}
			}
			s.start(worker.Config{Name: "openai"}, script{answer: speak("openai")})
			s.startListening(worker.Config{Name: "backup"}, script{answer: speak("backup")})
			heard := s.overhear("a", func() { close(spoken) })
			s.publish("a", hello, wire.HeaderStream, "true")
			r := s.await("a")
			if r.Worker != first || !strings.Contains(string(r.Answer), "from "+first) {
				t.Fatalf("result %+v", r)
			}
			var all []string
			for chunk := range heard {
				all = append(all, chunk)
			}
			want := []string{first + ` 0 {"role":"assistant"}`, first + ` 1 {"content":"from ` + first + `"}`}
			if fmt.Sprint(all) != fmt.Sprint(want) {
				t.Errorf("heard %q, want %q", all, want)
			}
		})
	}
}

func TestCancelledRequestEndsBothCalls(t *testing.T) {
	s := course(t, soon)
	first, firstEnded := signals()
	second, secondEnded := signals()
	s.start(worker.Config{Name: "openai"}, script{answer: hangs(first, firstEnded)})
	s.startListening(worker.Config{Name: "backup"}, script{answer: hangs(second, secondEnded)})
	s.publish("a", hello)
	<-first
	<-second
	if err := s.bus.Send(wire.CancelSubject("a"), nil, nil); err != nil {
		t.Fatal(err)
	}
	if r := s.await("a"); r.Status != dispatch.StatusCancelled {
		t.Fatalf("result %+v", r)
	}
	<-firstEnded
	<-secondEnded
}

func TestHedgeEndsWhenItsAskerIsGone(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	called, ended := signals()
	s.startListening(worker.Config{Name: "backup"}, script{answer: hangs(called, ended)})
	inbox := s.bus.NewInbox()
	stop, err := s.bus.Listen(inbox+".*", "", func(m bus.Message) { _ = m.Respond(nil, nil) })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.bus.Send(wire.HedgeSubject("chat", "backup"), bus.Header{wire.HeaderRequestID: {"a"}, wire.HeaderReplyTo: {inbox}}, []byte(hello)); err != nil {
		t.Fatal(err)
	}
	<-called
	stop()
	if err := <-ended; dispatch.KindOf(err) != dispatch.Cancelled {
		t.Errorf("the hedge ended with %v", err)
	}
	if _, err := s.bus.Result(t.Context(), "", "a"); err == nil {
		t.Error("a hedge recorded an end")
	}
}

func TestDrainingWorkerGivesUpItsHedgesAndTheirRequestsGoOn(t *testing.T) {
	s := course(t, soon)
	called, ended := signals()
	given := make(chan struct{})
	s.start(worker.Config{Name: "openai"}, script{answer: after(given, says("mine"))})
	stop := s.startListening(worker.Config{Name: "backup"}, script{answer: hangs(called, ended)})
	s.publish("a", hello)
	<-called
	stop()
	if err := <-ended; dispatch.KindOf(err) != dispatch.Unavailable {
		t.Errorf("the hedge ended with %v", err)
	}
	close(given)
	if r := s.await("a"); r.Status != dispatch.StatusAnswered || r.Worker != "openai" {
		t.Fatalf("result %+v", r)
	}
}

func TestRequestGoesOnWithoutAHedgeThatVanished(t *testing.T) {
	s := course(t, soon)
	asked := make(chan struct{})
	stop, err := s.bus.Listen(wire.HedgeSubject("chat", "backup"), "", func(bus.Message) { close(asked) }) // and never a word
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	s.start(worker.Config{Name: "openai"}, script{answer: after(asked, failsWith(dispatch.Errorf(dispatch.BadRequest, "no such voice")))})
	s.publish("a", hello)
	if r := s.await("a"); r.Status != dispatch.StatusFailed || r.Error.Kind != dispatch.BadRequest || len(r.Attempts) != 1 {
		t.Fatalf("result %+v", r)
	}
}

func TestRequestThatShowsLifeIsNotHedged(t *testing.T) {
	s := course(t, time.Hour)
	s.start(worker.Config{Name: "openai"}, script{answer: speaks("hi")})
	s.startListening(worker.Config{Name: "backup"}, script{answer: says("wrong")})
	s.publish("a", hello)
	if r := s.await("a"); r.Worker != "openai" || len(r.Attempts) != 1 {
		t.Fatalf("result %+v", r)
	}
}

func TestHedgesStayWithinTheirBudget(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}, HedgeAfter: wire.Duration(time.Millisecond), HedgeBudget: 20})
	registry := prometheus.NewRegistry()
	settings := wire.Worker{Timeouts: wire.Timeouts{FirstToken: wire.Duration(50 * time.Millisecond)}, Breaker: wire.BreakerSettings{Consecutive: 100, Minimum: 100, SlowRate: zero()}}
	s.start(worker.Config{Name: "openai", Settings: settings, Metrics: worker.NewMetrics(registry)}, script{answer: func(ctx context.Context, _ *dispatch.Request, _ dispatch.Emit) (*dispatch.Answer, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}})
	s.startListening(worker.Config{Name: "backup"}, script{answer: says("hi")})
	for n := range 10 {
		id := fmt.Sprintf("r%d", n)
		s.publish(id, hello)
		s.await(id)
	}
	if won, lost := hedges(t, registry); won+lost != 2 {
		t.Errorf("%v of 10 requests were hedged, want 2", won+lost)
	}
}

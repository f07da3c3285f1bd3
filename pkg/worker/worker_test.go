package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"understudy/pkg/bus"
	"understudy/pkg/bus/bustest"
	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
	"understudy/pkg/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a provider that does what the test says.
type script struct {
	answer func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error)
	probe  func(ctx context.Context) error
}

func (s script) Answer(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
	return s.answer(ctx, req, emit)
}

func (s script) Probe(ctx context.Context) error {
	if s.probe == nil {
		return nil
	}
	return s.probe(ctx)
}

func says(text string) func(context.Context, *dispatch.Request, dispatch.Emit) (*dispatch.Answer, error) {
	return func(_ context.Context, req *dispatch.Request, _ dispatch.Emit) (*dispatch.Answer, error) {
		return &dispatch.Answer{Body: chat.Completion(req.ID, "m", text, time.Unix(0, 0)), Model: "m"}, nil
	}
}

func failsWith(e *dispatch.Error) func(context.Context, *dispatch.Request, dispatch.Emit) (*dispatch.Answer, error) {
	return func(context.Context, *dispatch.Request, dispatch.Emit) (*dispatch.Answer, error) { return nil, e }
}

// stage is a broker with a route named chat and the workers of a test.
type stage struct {
	*testing.T
	bus   *bus.Bus
	route wire.Route
}

// newStage applies the route the way the configuration does: every lane to the
// head of the chain, each handoff lane to its worker.
func newStage(t *testing.T, route wire.Route) *stage {
	t.Helper()
	s := &stage{T: t, bus: bustest.New(t), route: route}
	ctx := t.Context()
	if err := s.bus.EnsureRoute(ctx, "chat", route); err != nil {
		t.Fatal(err)
	}
	for _, w := range route.Fallbacks {
		kind := wire.WorkerKindOpenai
		if w == "rules" {
			kind = wire.WorkerKindRules
		}
		if err := s.bus.SetWorker(ctx, w, wire.Worker{Kind: kind}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.bus.SetRoute(ctx, "chat", route); err != nil {
		t.Fatal(err)
	}
	for _, lane := range bus.RouteLanes(route) {
		owner := route.Fallbacks[0]
		if w, ok := lane.HandoffTo(); ok {
			owner = w
		}
		s.own(lane, owner)
	}
	return s
}

func (s *stage) own(lane wire.Lane, worker string) {
	s.Helper()
	entries, err := s.bus.Owners(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	var revision uint64
	for _, e := range entries {
		if e.Key == lane.OwnerKey("chat") {
			revision = e.Revision
		}
	}
	if _, err := s.bus.SetOwner(s.Context(), "chat", lane, wire.Ownership{Worker: worker, Reason: "test"}, revision); err != nil {
		s.Fatal(err)
	}
}

// start runs a worker until the returned function is called or the test ends.
func (s *stage) start(cfg worker.Config, p worker.Provider) (stop func()) {
	s.Helper()
	if cfg.Instance == "" {
		cfg.Instance = "i1"
	}
	cfg.Poll = 100 * time.Millisecond
	conn, err := s.bus.Connect(s.Context(), cfg.Name)
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	log := zerolog.New(zerolog.NewTestWriter(s.T)).Level(zerolog.InfoLevel)
	go func() { done <- worker.New(cfg, conn, p, log).Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			s.Errorf("worker %s: %v", cfg.Name, err)
		}
		conn.Close()
	}
	s.Cleanup(stop)
	return stop
}

func (s *stage) publish(id, body string, headers ...string) {
	s.Helper()
	h := bus.Header{wire.HeaderRequestID: {id}}
	for i := 0; i+1 < len(headers); i += 2 {
		h[headers[i]] = []string{headers[i+1]}
	}
	if _, err := s.bus.Publish(s.Context(), wire.RequestSubject("chat"), id, h, []byte(body)); err != nil {
		s.Fatal(err)
	}
}

// await waits for the result of a request.
func (s *stage) await(id string) wire.Result {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancel()
	r, err := s.bus.AwaitResult(ctx, s.route.Durability, id)
	if err != nil {
		s.Fatalf("result of %s: %v", id, err)
	}
	return r
}

// awaitDeadLetters waits until there are n dead letters: they are written right
// after the result.
func (s *stage) awaitDeadLetters(n int) []bus.KeptDeadLetter {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancel()
	for {
		all := []bus.KeptDeadLetter{}
		if err := s.bus.DeadLetters(ctx, 0, func(l bus.KeptDeadLetter) bool { all = append(all, l); return true }); err != nil {
			s.Fatal(err)
		}
		if len(all) >= n {
			return all
		}
	}
}

// awaitLanes waits until the numbered lanes are as told.
func (s *stage) awaitLanes(as func([]bus.LaneState) bool) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancel()
	for {
		var lanes []bus.LaneState
		for n := range wire.Lanes {
			state, err := s.bus.LaneState(ctx, "chat", wire.NumberedLane(n))
			if err != nil {
				s.Fatal(err)
			}
			lanes = append(lanes, state)
		}
		if as(lanes) {
			return
		}
	}
}

// everyLanePulled says that a worker waits at each lane.
func everyLanePulled(lanes []bus.LaneState) bool {
	return !slices.ContainsFunc(lanes, func(l bus.LaneState) bool { return l.Pulls == 0 })
}

// twoInHand says that two requests were handed out.
func twoInHand(lanes []bus.LaneState) bool {
	inHand := 0
	for _, l := range lanes {
		inHand += l.InHand
	}
	return inHand >= 2
}

const hello = `{"messages":[{"role":"user","content":"hello"}]}`

func zero() *int64 { v := int64(0); return &v }

func TestRequestIsAnsweredAndRecorded(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}})
	s.start(worker.Config{Name: "openai"}, script{answer: says("hi")})
	s.publish("a", hello)
	r := s.await("a")
	if r.Status != dispatch.StatusAnswered || r.Worker != "openai" || r.Degraded || len(r.Attempts) != 1 {
		t.Fatalf("result %+v", r)
	}
	if !strings.Contains(string(r.Answer), `"hi"`) {
		t.Errorf("answer %s", r.Answer)
	}
}

func TestTransientFailureIsTriedAgainThenHandedOff(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	settings := wire.Worker{Retries: func() *int64 { v := int64(1); return &v }()}
	s.start(worker.Config{Name: "openai", Settings: settings}, script{answer: failsWith(&dispatch.Error{Kind: dispatch.Transient, Status: 503, RetryAfter: time.Millisecond})})
	s.start(worker.Config{Name: "backup"}, script{answer: says("from the backup")})
	s.publish("a", hello)
	r := s.await("a")
	if r.Status != dispatch.StatusAnswered || r.Worker != "backup" || len(r.Attempts) != 3 {
		t.Fatalf("result %+v", r)
	}
	if len(s.awaitDeadLetters(0)) != 0 {
		t.Error("an answered request left a dead letter")
	}
}

func TestBadRequestFailsAsItCame(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	s.start(worker.Config{Name: "openai"}, script{answer: failsWith(&dispatch.Error{Kind: dispatch.BadRequest, Status: http.StatusUnprocessableEntity, Message: "no such voice", Type: "invalid_request_error", Code: "bad_voice", Param: "voice"})})
	s.start(worker.Config{Name: "backup"}, script{answer: says("wrong")})
	s.publish("a", hello)
	r := s.await("a")
	want := wire.Failure{Kind: dispatch.BadRequest, Status: 422, Message: "no such voice", Type: "invalid_request_error", Code: "bad_voice", Param: "voice"}
	if r.Status != dispatch.StatusFailed || *r.Error != want {
		t.Fatalf("result %+v, error %+v", r, r.Error)
	}
	letters := s.awaitDeadLetters(1)
	if len(letters) != 1 || letters[0].ID != "a" || string(letters[0].Body) != hello || len(letters[0].Attempts) != 1 {
		t.Fatalf("dead letters %+v", letters)
	}
}

func TestInvalidBodyAndHeadersFailWithTheFieldNamed(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}})
	s.start(worker.Config{Name: "openai"}, script{answer: says("wrong")})
	s.publish("a", `{"messages": oops}`)
	s.publish("b", `{"messages":[]}`)
	s.publish("c", hello, wire.HeaderDeadline, "tomorrow")
	s.publish("d", hello, wire.HeaderDegrade, "maybe")
	for id, want := range map[string]string{"a": "JSON", "b": "messages", "c": "Llm-Deadline", "d": "Llm-Degrade"} {
		r := s.await(id)
		if r.Status != dispatch.StatusFailed || r.Error.Kind != dispatch.BadRequest || !strings.Contains(r.Error.Message, want) {
			t.Errorf("%s: %+v %+v", id, r, r.Error)
		}
	}
}

func TestRequestWithoutAnIDIsNamedByItsPlace(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}})
	s.start(worker.Config{Name: "openai"}, script{answer: says("hi")})
	receipt, err := s.bus.Publish(t.Context(), wire.RequestSubject("chat"), "", nil, []byte(hello))
	if err != nil {
		t.Fatal(err)
	}
	s.await(fmt.Sprintf("chat-%d", receipt.Sequence))
}

func TestExpiredRequestIsRecordedAndNotAsked(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}})
	s.start(worker.Config{Name: "openai"}, script{answer: says("too late")})
	s.publish("a", hello, wire.HeaderDeadline, "2020-01-01T00:00:00Z")
	if r := s.await("a"); r.Status != dispatch.StatusExpired || len(r.Attempts) != 0 {
		t.Fatalf("result %+v", r)
	}
}

func TestSilentProviderIsNotAskedTwice(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	settings := wire.Worker{Timeouts: wire.Timeouts{FirstToken: wire.Duration(50 * time.Millisecond)}}
	s.start(worker.Config{Name: "openai", Settings: settings}, script{answer: func(ctx context.Context, _ *dispatch.Request, _ dispatch.Emit) (*dispatch.Answer, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}})
	s.start(worker.Config{Name: "backup"}, script{answer: says("hi")})
	s.publish("a", hello)
	r := s.await("a")
	if r.Worker != "backup" || len(r.Attempts) != 2 || r.Attempts[0].Kind != dispatch.Silent {
		t.Fatalf("result %+v", r)
	}
}

func TestCancelledRequestEndsTheCall(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}})
	called := make(chan struct{})
	s.start(worker.Config{Name: "openai"}, script{answer: func(ctx context.Context, _ *dispatch.Request, _ dispatch.Emit) (*dispatch.Answer, error) {
		close(called)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}})
	s.publish("a", hello)
	<-called
	if err := s.bus.Send(wire.CancelSubject("a"), nil, nil); err != nil {
		t.Fatal(err)
	}
	if r := s.await("a"); r.Status != dispatch.StatusCancelled {
		t.Fatalf("result %+v", r)
	}
}

func TestBreakerOpensAfterFiveFailuresAndAProbeClosesIt(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	well := make(chan struct{})
	states := make(chan wire.Health, 100)
	stopHealth, err := s.bus.Listen(wire.HealthSubject("openai", "*"), "", func(m bus.Message) {
		var h wire.Health
		if json.Unmarshal(m.Body, &h) == nil {
			states <- h
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stopHealth()
	settings := wire.Worker{Retries: zero(), Breaker: wire.BreakerSettings{Open: wire.Duration(20 * time.Millisecond)}}
	s.start(worker.Config{Name: "openai", Settings: settings}, script{
		answer: failsWith(dispatch.Errorf(dispatch.Transient, "down")),
		probe: func(context.Context) error {
			select {
			case <-well:
				return nil
			default:
				return dispatch.Errorf(dispatch.Transient, "still down")
			}
		},
	})
	s.start(worker.Config{Name: "backup"}, script{answer: says("hi")})
	for i := range 5 {
		s.publish(fmt.Sprint("r", i), hello)
	}
	for i := range 5 {
		if r := s.await(fmt.Sprint("r", i)); r.Worker != "backup" {
			t.Errorf("result %+v", r)
		}
	}
	awaitState := func(want wire.HealthState) {
		for h := range states {
			if h.State == want {
				return
			}
		}
	}
	awaitState(wire.HealthStateOpen)
	close(well)
	awaitState(wire.HealthStateReady)
}

func TestRequestThatRefusesDegradedAnswersIsParked(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "rules"}})
	for n := range wire.Lanes {
		s.own(wire.NumberedLane(n), "rules")
	}
	s.own(wire.HandoffLane("openai"), "rules")
	s.own(wire.LaneParked, "")
	s.start(worker.Config{Name: "rules", Local: true}, script{answer: says("by rule")})
	s.publish("never", hello, wire.HeaderDegrade, "never")
	s.publish("allow", hello)
	if r := s.await("allow"); !r.Degraded || r.Worker != "rules" {
		t.Fatalf("result %+v", r)
	}
	s.start(worker.Config{Name: "openai"}, script{answer: says("from the model")})
	s.own(wire.LaneParked, "openai")
	if r := s.await("never"); r.Degraded || r.Worker != "openai" {
		t.Fatalf("result %+v", r)
	}
}

func TestUncoveredQuestionFailsClearlyWhenNoModelIsUp(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "rules"}})
	for n := range wire.Lanes {
		s.own(wire.NumberedLane(n), "rules")
	}
	s.own(wire.HandoffLane("openai"), "rules")
	s.start(worker.Config{Name: "rules", Local: true}, script{answer: failsWith(dispatch.Errorf(dispatch.Refused, "no rule fits"))})
	s.publish("a", hello)
	r := s.await("a")
	if r.Status != dispatch.StatusFailed || r.Error.Status != 503 || r.Error.Code != "no_worker_could_answer" {
		t.Fatalf("result %+v, error %+v", r, r.Error)
	}
}

func TestExhaustedChainIsTriedAgainLater(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}})
	calls := make(chan struct{}, 10)
	settings := wire.Worker{Retries: zero()}
	s.start(worker.Config{Name: "openai", Settings: settings}, script{answer: func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		calls <- struct{}{}
		if len(calls) == 1 {
			return nil, dispatch.Errorf(dispatch.Transient, "not now")
		}
		return says("later")(ctx, req, emit)
	}})
	s.publish("a", hello)
	if r := s.await("a"); r.Status != dispatch.StatusAnswered || len(r.Attempts) != 2 {
		t.Fatalf("result %+v", r)
	}
}

func TestDrainGivesBackWhatDoesNotFinish(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}, AckWait: wire.Duration(2 * time.Minute)})
	called := make(chan struct{})
	stop := s.start(worker.Config{Name: "openai", Drain: time.Millisecond}, script{answer: func(ctx context.Context, _ *dispatch.Request, _ dispatch.Emit) (*dispatch.Answer, error) {
		close(called)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}})
	s.publish("a", hello)
	<-called
	stop()
	s.start(worker.Config{Name: "openai", Instance: "i2"}, script{answer: says("from the replica")})
	if r := s.await("a"); r.Status != dispatch.StatusAnswered || r.Attempts[0].Instance != "i2" {
		t.Fatalf("result %+v", r)
	}
}

func TestDrainLetsRequestsFinish(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}})
	called, finish := make(chan struct{}), make(chan struct{})
	stop := s.start(worker.Config{Name: "openai"}, script{answer: func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		close(called)
		<-finish
		return says("done")(ctx, req, emit)
	}})
	s.publish("a", hello)
	<-called
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	close(finish)
	<-stopped
	if r := s.await("a"); r.Status != dispatch.StatusAnswered {
		t.Fatalf("result %+v", r)
	}
}

func TestDrainIsNotHeldUpByRequestsThatWaitForASlot(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}})
	called := make(chan struct{}, 1)
	settings := wire.Worker{Concurrency: 1, Timeouts: wire.Timeouts{FirstToken: wire.Duration(time.Minute)}}
	stop := s.start(worker.Config{Name: "openai", Drain: time.Millisecond, Settings: settings}, script{answer: func(ctx context.Context, _ *dispatch.Request, _ dispatch.Emit) (*dispatch.Answer, error) {
		called <- struct{}{}
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}})
	s.awaitLanes(everyLanePulled)
	const requests = 20
	for i := range requests {
		s.publish(fmt.Sprint("r", i), hello)
	}
	<-called
	s.awaitLanes(twoInHand) // one is called, another waits for its slot
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(10 * time.Second):
		t.Fatal("the worker does not stop")
	}
	s.start(worker.Config{Name: "openai", Instance: "i2"}, script{answer: says("from the replica")})
	for i := range requests {
		if r := s.await(fmt.Sprint("r", i)); r.Status != dispatch.StatusAnswered {
			t.Errorf("result %+v", r)
		}
	}
}

func TestRequestThatIsGivenBackAgainAndAgainIsNotPoisonous(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}, AckWait: wire.Duration(2 * time.Minute)})
	called := make(chan struct{})
	hangs := script{answer: func(ctx context.Context, _ *dispatch.Request, _ dispatch.Emit) (*dispatch.Answer, error) {
		called <- struct{}{}
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}}
	s.publish("a", hello)
	for i := range 4 { // more restarts than a request may crash
		stop := s.start(worker.Config{Name: "openai", Instance: fmt.Sprint("i", i), Drain: time.Millisecond}, hangs)
		select {
		case <-called:
		case <-time.After(20 * time.Second):
			t.Fatalf("not called by instance %d", i)
		}
		stop()
	}
	s.start(worker.Config{Name: "openai", Instance: "last"}, script{answer: says("at last")})
	if r := s.await("a"); r.Status != dispatch.StatusAnswered {
		t.Fatalf("result %+v %+v", r, r.Error)
	}
}

func TestPoisonousRequestReachesTheDeadLetters(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}})
	if err := s.bus.NoteSuspect(t.Context(), "a", bus.Suspect{Starts: []wire.Attempt{
		{Worker: "openai", Instance: "x", Kind: dispatch.Crashed}, {Worker: "openai", Instance: "y", Kind: dispatch.Crashed},
	}}); err != nil {
		t.Fatal(err)
	}
	// Taken once and given back: from the second delivery on it is a suspect.
	if _, err := s.bus.Publish(t.Context(), wire.HandoffLane("openai").Subject("chat"), "a", bus.Header{wire.HeaderRequestID: {"a"}}, []byte(hello)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.bus.Fetch(t.Context(), "chat", wire.HandoffLane("openai"), 1, bus.PriorityOwner, time.Second, func(d *bus.Delivery) {
		if err := d.GiveBack(); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	s.start(worker.Config{Name: "openai"}, script{answer: says("hi")})
	r := s.await("a")
	if r.Status != dispatch.StatusFailed || r.Error.Kind != dispatch.Crashed {
		t.Fatalf("result %+v", r)
	}
	if l := s.awaitDeadLetters(1); len(l) != 1 || l[0].Reason != "poisonous" || len(l[0].Attempts) != 2 {
		t.Fatalf("dead letters %+v", l)
	}
}

func TestListenerGetsNumberedChunksAndThenTheEnd(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai"}})
	s.start(worker.Config{Name: "openai"}, script{answer: func(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		for i := range 3 {
			emit(dispatch.Chunk{Data: fmt.Appendf(nil, `{"n":%d}`, i), Output: true})
		}
		return says("hi")(ctx, req, emit)
	}})
	inbox := s.bus.NewInbox()
	heard := make(chan bus.Message, 10)
	stop, err := s.bus.Listen(inbox, "", func(m bus.Message) { heard <- m })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	s.publish("a", hello, wire.HeaderStreamTo, inbox, wire.HeaderReplyTo, inbox)
	for i := range 3 {
		m := <-heard
		if m.Header.Get(wire.HeaderChunk) != fmt.Sprint(i) || m.Header.Get(wire.HeaderWorker) != "openai" {
			t.Fatalf("chunk %d: %v %s", i, m.Header, m.Body)
		}
	}
	end := <-heard
	if end.Header.Get(wire.HeaderStatus) != "answered" {
		t.Fatalf("end: %v %s", end.Header, end.Body)
	}
}

func TestStreamThatDiesAfterOutputIsAFailureNotAnAnswer(t *testing.T) {
	s := newStage(t, wire.Route{Fallbacks: []string{"openai", "backup"}})
	s.start(worker.Config{Name: "openai"}, script{answer: func(_ context.Context, _ *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
		emit(dispatch.Chunk{Data: []byte(`{}`), Output: true})
		return nil, dispatch.Errorf(dispatch.Truncated, "cut")
	}})
	s.start(worker.Config{Name: "backup"}, script{answer: says("other words")})
	s.publish("streamed", hello, wire.HeaderStream, "true")
	s.publish("whole", hello)
	if r := s.await("streamed"); r.Status != dispatch.StatusFailed || r.Error.Kind != dispatch.Truncated {
		t.Errorf("streamed: %+v", r)
	}
	if r := s.await("whole"); r.Status != dispatch.StatusAnswered || r.Worker != "backup" {
		t.Errorf("whole: %+v", r)
	}
}

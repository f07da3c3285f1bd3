package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"understudy/pkg/bus"
	"understudy/pkg/bus/bustest"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"understudy": main})
}

// TestScripts runs testdata/*.txtar, each with a broker of its own. The scripts
// find it through their environment, as an operator would.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			st := newStage(t)
			e.Values[stageKey{}] = st
			e.Defer(st.end)
			e.Setenv("UNDERSTUDY_NATS_URL", st.bus.ClientURL())
			e.Setenv("UNDERSTUDY_NATS_MONITOR_URL", st.monitor.URL)
			e.Setenv("STATUS_URL", st.page.URL)
			e.Setenv("GORACE", "atexit_sleep_ms=0") // else each command ends a second late under -race
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"bury":   withStage((*stage).bury),
			"record": withStage((*stage).record),
			"speak":  withStage((*stage).speak),
			"suffer": withStage((*stage).suffer),
			"alarm":  withStage((*stage).alarm),
			"lead":   withStage((*stage).lead),
			"answer": withStage((*stage).answer),
			"queued": withStage((*stage).queued),
		},
	})
}

type stageKey struct{}

// stage is what a script plays against: a broker, and the parts of a
// deployment that a script asks for.
type stage struct {
	bus     *bus.Bus
	monitor *httptest.Server
	page    *httptest.Server // a provider's status page
	ctx     context.Context
	end     func()
	parts   sync.WaitGroup
}

func newStage(t *testing.T) *stage {
	cfg := bustest.Config(t)
	cfg.Listen = "127.0.0.1:0"
	s := &stage{bus: bustest.Open(t, cfg)}
	s.monitor = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"jetstream":{"config":{"sync_always":true}}}`)
	}))
	s.page = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"status":{"indicator":"major"},"incidents":[{"name":"Elevated errors on the API"}]}`)
	}))
	ctx, cancel := context.WithCancel(context.Background())
	s.ctx = ctx
	s.end = func() {
		cancel()
		s.parts.Wait()
		s.monitor.Close()
		s.page.Close()
	}
	return s
}

func withStage(do func(*stage, *testscript.TestScript, []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("this command cannot be negated")
		}
		ts.Check(do(ts.Value(stageKey{}).(*stage), ts, args))
	}
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// bury ID ROUTE REASON sets a request aside.
func (s *stage) bury(_ *testscript.TestScript, args []string) error {
	return s.bus.PublishDeadLetter(s.ctx, args[0], wire.DeadLetter{
		ID: args[0], Route: args[1], Reason: args[2], Body: json.RawMessage(`{"messages":[{"role":"user","content":"hello ` + args[0] + `"}]}`),
		Headers: map[string][]string{wire.HeaderTenant: {"acme"}},
		Error:   &wire.Failure{Kind: dispatch.Transient, Status: 503, Message: "all workers are down", Type: "server_error", Code: "provider_unavailable"},
		Attempts: []wire.Attempt{{
			Worker: "openai", Instance: "host-1", StartedAt: noon, DurationMS: 1200, Kind: dispatch.Transient, Status: 502, Message: "bad gateway",
		}},
		Subject: "llm.lanes.chat.0", AcceptedAt: noon, At: noon,
	})
}

func result(id, route string) wire.Result {
	return wire.Result{
		ID: id, Route: route, Status: dispatch.StatusAnswered, Worker: "openai", Model: "gpt-5-mini", AcceptedAt: noon, FinishedAt: noon.Add(2 * time.Second),
		Answer:   json.RawMessage(`{"choices":[{"message":{"role":"assistant","content":"it is forty-two"}}]}`),
		Attempts: []wire.Attempt{{Worker: "openai", Instance: "host-1", StartedAt: noon, DurationMS: 1900, Model: "gpt-5-mini"}},
	}
}

// record ID STATUS records a result.
func (s *stage) record(_ *testscript.TestScript, args []string) error {
	r := result(args[0], "chat")
	if r.Status = dispatch.Status(args[1]); r.Status != dispatch.StatusAnswered {
		r.Answer, r.Error = nil, &wire.Failure{Kind: dispatch.Transient, Status: 503, Message: "all workers are down", Type: "server_error", Code: "provider_unavailable"}
	}
	_, _, err := s.bus.Record(s.ctx, wire.DurabilityStrict, r)
	return err
}

// speak WORKER STATE keeps telling an instance's health.
func (s *stage) speak(_ *testscript.TestScript, args []string) error {
	return s.say(wire.Health{Worker: args[0], Instance: "host-1", State: wire.HealthState(args[1]), Concurrency: 64, InFlight: 3, StartedAt: noon, At: noon, Breaker: wire.Breaker{State: wire.BreakerStateClosed}})
}

// suffer WORKER STATUS keeps telling that its breaker is open after failures of
// that status.
func (s *stage) suffer(ts *testscript.TestScript, args []string) error {
	status, err := strconv.Atoi(args[1])
	ts.Check(err)
	kind := dispatch.Transient
	if status == 401 {
		kind = dispatch.Account
	}
	return s.say(wire.Health{
		Worker: args[0], Instance: "host-1", State: wire.HealthStateOpen, Reason: "5 failures in a row", Concurrency: 64, StartedAt: noon, At: noon,
		Breaker: wire.Breaker{State: wire.BreakerStateOpen}, Recent: map[string]int64{string(kind): 5},
		LastFailure: &wire.Call{Kind: kind, Status: int64(status), Message: fmt.Sprintf("%s (status %d)", kind, status), At: noon},
	})
}

// alarm WORKER CAUSE writes a diagnosis and raises its alarm, as a supervisor does.
func (s *stage) alarm(_ *testscript.TestScript, args []string) error {
	d := wire.Diagnosis{Worker: args[0], Cause: wire.Cause(args[1]), Confidence: wire.ConfidenceCertain, Evidence: []string{"as the test says"}, Advice: "look at the key", Since: time.Now(), At: time.Now()}
	s.bus.PublishEvent(s.ctx, wire.Event{Kind: wire.EventKindAlarm, Name: d.Worker, Reason: args[1] + ", certain: as the test says", At: time.Now(), Data: map[string]string{"cause": args[1], "level": "critical"}})
	return s.bus.SetDiagnosis(s.ctx, d)
}

func (s *stage) say(h wire.Health) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	s.every(100*time.Millisecond, func() { _ = s.bus.Send(wire.HealthSubject(h.Worker, h.Instance), nil, data) })
	return nil
}

// lead keeps a supervisor's lease.
func (s *stage) lead(*testscript.TestScript, []string) error {
	lease, err := s.bus.TakeLease(s.ctx, "supervisor-1")
	s.every(500*time.Millisecond, func() { lease, _ = s.bus.Renew(s.ctx, lease) })
	return err
}

func (s *stage) every(d time.Duration, do func()) {
	s.parts.Go(func() {
		tick := time.NewTicker(d)
		defer tick.Stop()
		for {
			select {
			case <-s.ctx.Done():
				return
			case <-tick.C:
				do()
			}
		}
	})
}

// answer ROUTE serves all lanes of a route: two tokens, a result, the notices.
func (s *stage) answer(_ *testscript.TestScript, args []string) error {
	route := args[0]
	for n := range wire.Lanes {
		s.parts.Go(func() {
			for s.ctx.Err() == nil {
				_, _ = s.bus.Fetch(s.ctx, route, wire.NumberedLane(n), 1, bus.PriorityOwner, 500*time.Millisecond, s.serve)
			}
		})
	}
	return nil
}

func (s *stage) serve(d *bus.Delivery) {
	id := d.Header.Get(wire.HeaderRequestID)
	if to := d.Header.Get(wire.HeaderStreamTo); to != "" {
		for _, text := range []string{"it is ", "forty-two"} {
			_ = s.bus.Send(to, nil, []byte(`{"choices":[{"delta":{"content":"`+text+`"}}]}`))
		}
	}
	stands, _, err := s.bus.Record(s.ctx, wire.DurabilityStrict, result(id, d.Route))
	if err != nil {
		return
	}
	if to := d.Header.Get(wire.HeaderReplyTo); to != "" {
		data, _ := json.Marshal(stands)
		_ = s.bus.Send(to, bus.Header{wire.HeaderStatus: {string(stands.Status)}}, data)
	}
	_ = d.Ack(s.ctx)
}

// queued ROUTE N wants that many requests in a queue.
func (s *stage) queued(_ *testscript.TestScript, args []string) error {
	state, err := s.bus.StreamState(s.ctx, wire.RequestStream(args[0]))
	if err == nil && fmt.Sprint(state.Messages) != args[1] {
		err = fmt.Errorf("route %s has %d requests queued", args[0], state.Messages)
	}
	return err
}

func TestInterruptingAWatchEndsItCleanly(t *testing.T) {
	s := newStage(t)
	defer s.end()
	t.Setenv("UNDERSTUDY_NATS_URL", s.bus.ClientURL())
	ctx, cancel := signal.NotifyContext(t.Context(), syscall.SIGUSR1)
	defer cancel()
	first := &firstWrite{seen: make(chan struct{})}
	code := make(chan int)
	go func() { code <- run(ctx, []string{"status", "--watch", "-o", "json"}, os.Stdin, first, first) }()
	select {
	case <-first.seen:
	case <-time.After(20 * time.Second):
		t.Fatal("no status came")
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-code:
		if got != exitOK {
			t.Errorf("exit code %d", got)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
}

// firstWrite tells when something was written.
type firstWrite struct {
	once sync.Once
	seen chan struct{}
}

func (w *firstWrite) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.seen) })
	return len(p), nil
}

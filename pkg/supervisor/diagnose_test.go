package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/bus/bustest"
	"understudy/pkg/config"
	"understudy/pkg/dispatch"
	"understudy/pkg/provider/openai"
	"understudy/pkg/supervisor"
	"understudy/pkg/wire"
	"understudy/pkg/worker"
)

// ward is a broker with a leading supervisor and real workers whose providers
// are real HTTP servers, or nobody at all.
type ward struct {
	*testing.T
	bus *bus.Bus
}

// admit applies a route chat over the workers. Their addresses are made up, and
// outside our network; serve says who is behind them.
func admit(t *testing.T, statusURL string, workers ...string) *ward {
	t.Helper()
	w := &ward{T: t, bus: bustest.New(t)}
	cfg := wire.Config{Workers: map[string]wire.Worker{}, Routes: map[string]wire.Route{"chat": {Fallbacks: workers}}}
	for _, name := range workers {
		cfg.Workers[name] = settings(name, statusURL)
	}
	if _, err := config.Apply(t.Context(), w.bus, cfg); err != nil {
		t.Fatal(err)
	}
	lead(t, w.bus, "one")
	return w
}

func settings(name, statusURL string) wire.Worker {
	none := int64(0)
	return wire.Worker{
		Kind: wire.WorkerKindOpenai, BaseURL: "http://" + name + ".example/v1", Model: "m", StatusURL: statusURL, Retries: &none,
		Breaker: wire.BreakerSettings{Consecutive: 1}, Timeouts: wire.Timeouts{FirstToken: wire.Duration(100 * time.Millisecond)},
	}
}

// serve runs a worker whose provider listens at address.
func (w *ward) serve(name, address string) {
	w.Helper()
	conn, err := w.bus.Connect(w.Context(), name)
	if err != nil {
		w.Fatal(err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	s := settings(name, "")
	p, err := openai.New(openai.Config{Name: name, BaseURL: s.BaseURL, APIKey: "sk-secret", Model: s.Model, HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	run := worker.New(worker.Config{Name: name, Instance: "i", Settings: s, Poll: 100 * time.Millisecond, Drain: time.Millisecond}, conn, p, zerolog.Nop())
	go func() { done <- run.Run(ctx) }()
	w.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.Error(err)
		}
		transport.CloseIdleConnections()
		conn.Close()
	})
}

// call publishes one request, which the chain's first worker takes.
func (w *ward) call() {
	w.Helper()
	_, err := w.bus.Publish(w.Context(), wire.RequestSubject("chat"), "", bus.Header{wire.HeaderTimeout: {"1m"}}, []byte(`{"messages":[{"role":"user","content":"hi"}]}`))
	if err != nil {
		w.Fatal(err)
	}
}

// await watches the diagnoses until a worker has a cause.
func (w *ward) await(name string, want wire.Cause) wire.Diagnosis {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	var found wire.Diagnosis
	err := w.bus.WatchDiagnoses(ctx, func(e bus.Entry[wire.Diagnosis]) {
		if e.Key == name {
			found = e.Value
		}
		if found.Cause == want {
			cancel()
		}
	})
	if err != nil || errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		w.Fatalf("%s is diagnosed %+v, want %s: %v", name, found, want, err)
	}
	return found
}

// told listens to the events of one kind.
func (w *ward) told(kind wire.EventKind) <-chan wire.Event {
	w.Helper()
	events := make(chan wire.Event, 64)
	stop, err := w.bus.Listen(wire.EventSubject(kind, ">"), "", func(m bus.Message) {
		e, err := wire.Decode[wire.Event](wire.SchemaEvent, m.Body)
		if err != nil {
			w.Error(err)
		}
		events <- e
	})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(stop)
	return events
}

func next(t *testing.T, events <-chan wire.Event) wire.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("no event came")
		return wire.Event{}
	}
}

// provider answers every call with a status and a body.
func provider(t *testing.T, status int, header http.Header, body string) (address string) {
	t.Helper()
	return listening(t, func(rw http.ResponseWriter, _ *http.Request) {
		for name, values := range header {
			rw.Header()[name] = values
		}
		rw.WriteHeader(status)
		fmt.Fprint(rw, body)
	})
}

func listening(t *testing.T, handle http.HandlerFunc) (address string) {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// nobody returns an address at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func evidenceSays(d wire.Diagnosis, words string) bool {
	return strings.Contains(strings.Join(d.Evidence, "\n"), words)
}

func TestRefusedKeyRaisesAnAlarmAtOnce(t *testing.T) {
	w := admit(t, "", "claude")
	alarms := w.told(wire.EventKindAlarm)
	w.serve("claude", provider(t, 401, nil, `{"error":{"message":"bad key sk-secret","code":"invalid_api_key"}}`))
	w.call()
	d := w.await("claude", wire.CauseAccount)
	if d.Confidence != wire.ConfidenceCertain || !evidenceSays(d, "status 401, code invalid_api_key") || evidenceSays(d, "sk-secret") {
		t.Errorf("%+v", d)
	}
	alarm := next(t, alarms)
	if alarm.Name != "claude" || alarm.Data["level"] != "critical" || alarm.Data["cause"] != "account" || alarm.Data["evidence"] == "" {
		t.Errorf("%+v", alarm)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var kept []wire.Event
	for len(kept) == 0 { // it is heard before it is kept
		var err error
		if kept, err = w.bus.Alarms(ctx, time.Now().Add(-time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if len(kept) != 1 || kept[0].Name != "claude" {
		t.Errorf("%+v", kept)
	}
}

func TestOutageNamesTheIncidentOfTheStatusPage(t *testing.T) {
	page := listening(t, func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(rw, `{"status":{"indicator":"major"},"incidents":[{"name":"Elevated errors on the API"}]}`)
	})
	w := admit(t, "http://"+page, "claude")
	events := w.told(wire.EventKindDiagnosis)
	w.serve("claude", provider(t, 503, nil, ``))
	w.call()
	d := w.await("claude", wire.CauseOutage)
	if d.Confidence != wire.ConfidenceCertain || !evidenceSays(d, "Elevated errors on the API") {
		t.Errorf("%+v", d)
	}
	for e := next(t, events); e.Data["cause"] != string(wire.CauseOutage) || !strings.Contains(e.Data["evidence"], "Elevated errors on the API"); e = next(t, events) {
		t.Logf("before: %+v", e)
	}
}

func TestThrottledWorkerIsDiagnosedThrottled(t *testing.T) {
	w := admit(t, "", "claude")
	w.serve("claude", provider(t, 429, http.Header{"Retry-After": {"30"}}, `{"error":{"code":"rate_limit_exceeded"}}`))
	w.call()
	if d := w.await("claude", wire.CauseThrottled); !evidenceSays(d, "status 429") {
		t.Errorf("%+v", d)
	}
}

func TestNoConnectionToAnyProviderIsOurNetwork(t *testing.T) {
	w := admit(t, "", "claude", "gemini")
	w.serve("claude", nobody(t))
	w.serve("gemini", nobody(t))
	w.call() // claude fails and hands it to gemini
	for _, name := range []string{"claude", "gemini"} {
		if d := w.await(name, wire.CauseNetwork); !evidenceSays(d, "no connection stands to any remote provider") {
			t.Errorf("%+v", d)
		}
	}
}

func TestProviderThatStaysSilentIsAnOutageOrSlow(t *testing.T) {
	w := admit(t, "", "claude")
	over := make(chan struct{})
	w.serve("claude", listening(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-over:
		}
	}))
	t.Cleanup(func() { close(over) })
	w.call()
	if d := w.await("claude", wire.CauseOutage); !evidenceSays(d, "takes calls") || !evidenceSays(d, "1 silent") {
		t.Errorf("%+v", d)
	}
}

func TestWorkerThatComesBackIsHealthyAgainAndItsAlarmIsNotRepeated(t *testing.T) {
	b := applied(t)
	w := &ward{t, b}
	alarms := w.told(wire.EventKindAlarm)
	stopFirst := lead(t, b, "one")
	refused := wire.Health{State: wire.HealthStateOpen, LastFailure: &wire.Call{Kind: dispatch.Account, Status: 401, Message: "account", At: time.Now()}}
	stop := w.report("openai", refused)
	w.await("openai", wire.CauseAccount)
	next(t, alarms)
	stopFirst()
	stop()
	refused.LastFailure.Code = "told_to_the_second"
	stop = w.report("openai", refused)
	lead(t, b, "two")
	for d := (wire.Diagnosis{}); !evidenceSays(d, "told_to_the_second"); {
		d = w.await("openai", wire.CauseAccount)
	}
	stop()
	defer w.report("openai", wire.Health{State: wire.HealthStateReady})()
	if d := w.await("openai", wire.CauseHealthy); d.Since.IsZero() {
		t.Errorf("%+v", d)
	}
	select {
	case again := <-alarms:
		t.Errorf("alarm repeated: %+v", again)
	default:
	}
}

func TestWorkerThatRunsNowhereIsDiagnosedWithoutAnAlarm(t *testing.T) {
	b := applied(t)
	w := &ward{t, b}
	stop := w.report("openai", wire.Health{State: wire.HealthStateReady})
	leadBy(t, b, supervisor.Config{Instance: "one", Renew: 20 * time.Millisecond, Diagnose: 50 * time.Millisecond})
	w.await("backup", wire.CauseOurs)
	stop()
	if alarms, err := b.Alarms(t.Context(), time.Time{}); err != nil || len(alarms) > 0 {
		t.Errorf("alarms %+v, %v", alarms, err)
	}
}

// report says a worker's health over and over, until stopped.
func (w *ward) report(name string, h wire.Health) (stop func()) {
	w.Helper()
	h.Worker, h.Instance, h.Concurrency = name, "i", 1
	h.Breaker = wire.Breaker{State: wire.BreakerStateClosed}
	h.StartedAt, h.At = time.Now(), time.Now()
	return repeat(w.T, w.bus, h)
}

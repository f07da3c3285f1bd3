package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/dispatch"
	"understudy/pkg/envelope"
	"understudy/pkg/wire"
)

// patient is a provider that notes when it was called, by request or by probe,
// and does what the test says.
type patient struct {
	answer func(ctx context.Context, emit dispatch.Emit) error
	probe  func(ctx context.Context) error

	mu            sync.Mutex
	calls, probes []time.Time
	probers       map[string]int
}

// as is the patient as one instance sees it.
type as struct {
	*patient
	instance string
}

func (p as) Answer(ctx context.Context, _ *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
	p.mu.Lock()
	p.calls = append(p.calls, time.Now())
	p.mu.Unlock()
	if err := p.answer(ctx, emit); err != nil {
		return nil, err
	}
	return &dispatch.Answer{Model: "m"}, nil
}

func (p as) Probe(ctx context.Context) error {
	p.mu.Lock()
	p.probes = append(p.probes, time.Now())
	if p.probers == nil {
		p.probers = map[string]int{}
	}
	p.probers[p.instance]++
	p.mu.Unlock()
	return p.probe(ctx)
}

// seen counts calls and probes between two moments.
func (p *patient) seen(from, to time.Time) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range slices.Concat(p.calls, p.probes) {
		if !at.Before(from) && at.Before(to) {
			n++
		}
	}
	return n
}

// replicas are instances of one worker without a broker: they hear each other's
// health, and requests are dealt to those that are ready.
type replicas struct {
	all     []*Worker
	running sync.WaitGroup
	stop    context.CancelFunc
}

func newReplicas(n int, settings wire.Worker, p *patient) *replicas {
	ctx, stop := context.WithCancel(context.Background())
	r := &replicas{stop: stop}
	for i := range n {
		name := fmt.Sprint("i", i)
		w := New(Config{Name: "openai", Instance: name, Settings: settings}, nil, as{p, name}, zerolog.Nop())
		r.all = append(r.all, w)
		r.running.Go(func() { w.probeWhileOpen(ctx) })
	}
	for _, w := range r.all {
		r.running.Go(func() { r.gossip(ctx, w) })
	}
	return r
}

func (r *replicas) gossip(ctx context.Context, w *Worker) {
	tick := time.NewTicker(healthInterval)
	defer tick.Stop()
	for {
		h := w.health()
		for _, other := range r.all {
			other.hearHealth(h)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-w.changed:
		}
	}
}

func (r *replicas) close() {
	r.stop()
	r.running.Wait()
}

// serve handles a request that comes now, with the given time left; done is
// told what became of it.
func (r *replicas) serve(w *Worker, left time.Duration, done func(outcome)) {
	if !w.breaker.ready() {
		return
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	timed, stop := context.WithDeadlineCause(ctx, time.Now().Add(left), errLate)
	e := &envelope.Envelope{Request: dispatch.Request{ID: "r", Route: "chat", Deadline: time.Now().Add(left)}}
	j := &job{Envelope: e, req: &e.Request, ctx: timed, cancel: func(cause error) { cancel(cause); stop() }}
	j.voice = relay{w, j}
	r.running.Go(func() {
		out := w.call(j)
		j.cancel(context.Canceled)
		if done != nil {
			done(out)
		}
	})
}

// load deals requests to the replicas, evenly and one by one, for so long.
func (r *replicas) load(lasts, every time.Duration, done func(outcome)) {
	until := time.Now().Add(lasts)
	next := time.NewTicker(every)
	defer next.Stop()
	for n := 0; time.Now().Before(until); n++ {
		<-next.C
		r.serve(r.all[n%len(r.all)], time.Minute, done)
	}
}

const everyRequest = time.Second / 20

func TestADeadProviderSeesAtMostTenCallsAMinuteAndIsUsedAgainInTime(t *testing.T) {
	for name, failure := range map[string]*dispatch.Error{
		"reset":        {Kind: dispatch.Transient, Message: "connection reset"},
		"503":          {Kind: dispatch.Transient, Status: 503},
		"come at once": {Kind: dispatch.Transient, Status: 503, RetryAfter: time.Millisecond},
	} {
		for _, n := range []int{1, 2, 5} {
			if failure.RetryAfter > 0 && n > 2 {
				continue // each replica's first request is tried again before the word is out
			}
			t.Run(fmt.Sprint(name, " with replicas: ", n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testOutage(t, n, failure) })
			})
		}
	}
}

func testOutage(t *testing.T, n int, failure *dispatch.Error) {
	const outage = time.Minute
	down := time.Now().Add(10 * time.Second)
	up := down.Add(outage)
	ask := func() error {
		if now := time.Now(); now.Before(down) || !now.Before(up) {
			return nil
		}
		return failure
	}
	p := &patient{
		answer: func(_ context.Context, emit dispatch.Emit) error {
			err := ask()
			if err == nil {
				emit(dispatch.Chunk{Output: true})
			}
			return err
		},
		probe: func(context.Context) error { return ask() },
	}
	r := newReplicas(n, wire.Worker{}, p)
	defer r.close()
	var mu sync.Mutex
	var back time.Time
	r.load(10*time.Second+outage+20*time.Second, everyRequest, func(o outcome) {
		mu.Lock()
		defer mu.Unlock()
		if o.verb == answered && back.IsZero() && !time.Now().Before(up) {
			back = time.Now()
		}
	})
	mu.Lock()
	defer mu.Unlock()
	if calls := p.seen(down, up); calls > 10 {
		t.Errorf("the provider saw %d calls while it was down, want at most 10", calls)
	}
	if back.IsZero() || back.Sub(up) > 15*time.Second {
		t.Errorf("traffic was back after %v, want 15 s at most", back.Sub(up))
	}
	if p.probers["i0"] == 0 || len(p.probers) != 1 {
		t.Errorf("probed by %v, want the first instance only", p.probers)
	}
	for _, w := range r.all {
		if s := w.breaker.status(); s.state != wire.HealthStateReady {
			t.Errorf("%s is %s: %s", w.cfg.Instance, s.state, s.reason)
		}
	}
}

// hangs never answers.
func hangs(ctx context.Context, _ dispatch.Emit) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestASilentProviderIsLeftLongBeforeTheFirstTokenTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := time.Now().Add(time.Minute)
		p := &patient{probe: func(ctx context.Context) error { return hangs(ctx, nil) }}
		p.answer = func(ctx context.Context, emit dispatch.Emit) error {
			if time.Now().Before(down) {
				emit(dispatch.Chunk{Output: true})
				return nil
			}
			return hangs(ctx, emit)
		}
		r := newReplicas(1, wire.Worker{}, p)
		defer r.close()
		r.load(time.Minute, everyRequest, nil)
		begun := time.Now()
		go r.load(10*time.Second, everyRequest, nil)
		w := r.all[0]
		for w.breaker.ready() {
			w.breaker.mu.Lock()
			news := w.breaker.news
			w.breaker.mu.Unlock()
			<-news
		}
		if took := time.Since(begun); took > 6*time.Second {
			t.Errorf("left after %v", took)
		}
		if s := w.breaker.status(); s.state != wire.HealthStateOpen || s.row != 0 {
			t.Errorf("%+v, want it open for slowness", s)
		}
		<-time.After(20 * time.Second) // the calls under way end
	})
}

func TestACallersTinyDeadlineSaysNothingAboutTheProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &patient{answer: hangs, probe: func(context.Context) error { return nil }}
		r := newReplicas(1, wire.Worker{}, p)
		defer r.close()
		for range 100 {
			r.serve(r.all[0], time.Second, func(o outcome) {
				if o.verb != expired {
					t.Errorf("outcome %+v", o)
				}
			})
			<-time.After(100 * time.Millisecond)
		}
		<-time.After(2 * time.Second)
		b := r.all[0].breaker
		if s := b.status(); s.state != wire.HealthStateReady || s.row != 0 || b.share.Metrics().Executions()+b.slow[0].Metrics().Executions() != 0 {
			t.Errorf("counted: %+v, %d calls, %d paced", s, b.share.Metrics().Executions(), b.slow[0].Metrics().Executions())
		}
	})
}

func TestARequestIsNotTriedAgainWhileThoseOfOthersFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings := wire.Worker{Breaker: wire.BreakerSettings{Consecutive: 20, Minimum: 1000}}
		p := &patient{
			answer: func(context.Context, dispatch.Emit) error { return dispatch.Errorf(dispatch.Transient, "down") },
			probe:  func(context.Context) error { return dispatch.Errorf(dispatch.Transient, "down") },
		}
		r := newReplicas(1, settings, p)
		defer r.close()
		r.serve(r.all[0], time.Minute, nil)
		<-time.After(10 * time.Second)
		if len(p.calls) != 1+defaultRetries {
			t.Errorf("%d calls for one request alone", len(p.calls))
		}
		p.calls = nil
		for range 11 {
			r.serve(r.all[0], time.Minute, nil)
		}
		<-time.After(10 * time.Second)
		if len(p.calls) != 11 {
			t.Errorf("%d calls for 11 requests that fail together, want one each", len(p.calls))
		}
	})
}

func TestTheBreakerIsHalfOpenWhileAProbeRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &patient{
			answer: func(context.Context, dispatch.Emit) error { return dispatch.Errorf(dispatch.Account, "no credit") },
			probe: func(ctx context.Context) error {
				<-time.After(time.Second)
				return nil
			},
		}
		r := newReplicas(1, wire.Worker{}, p)
		defer r.close()
		w := r.all[0]
		state := func(want wire.BreakerState) {
			t.Helper()
			synctest.Wait()
			if h := w.health(); h.Breaker.State != want {
				t.Errorf("breaker %+v, want it %s", h.Breaker, want)
			}
		}
		r.serve(w, time.Minute, nil)
		state(wire.BreakerStateOpen)
		<-time.After(accountProbe + time.Millisecond)
		state(wire.BreakerStateHalfOpen)
		if h := w.health(); h.State != wire.HealthStateOpen || h.Cause != wire.HealthCauseProvider {
			t.Errorf("health %+v", h)
		}
		<-time.After(time.Second)
		state(wire.BreakerStateClosed)
	})
}

func TestAPauseOfOneInstanceIsHonouredByTheOthersOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttled := true
		p := &patient{
			answer: func(context.Context, dispatch.Emit) error {
				if throttled {
					throttled = false
					return &dispatch.Error{Kind: dispatch.Throttled, Status: 429, RetryAfter: 20 * time.Second}
				}
				return nil
			},
			probe: func(context.Context) error { return nil },
		}
		r := newReplicas(3, wire.Worker{}, p)
		defer r.close()
		r.serve(r.all[1], time.Minute, nil)
		<-time.After(19 * time.Second)
		for _, w := range r.all {
			if h := w.health(); h.State != wire.HealthStatePaused || time.Until(h.Until) > 1100*time.Millisecond {
				t.Errorf("%s: %+v", h.Instance, h)
			}
		}
		<-time.After(2 * time.Second)
		for _, w := range r.all {
			if !w.breaker.ready() {
				t.Errorf("%s: %+v", w.cfg.Instance, w.breaker.status())
			}
		}
	})
}

func TestAnInstanceThatAnswersDoesNotOpenWithAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failing := errOf(dispatch.Transient)
		p := &patient{
			answer: func(context.Context, dispatch.Emit) error { return failing },
			probe:  func(context.Context) error { return errOf(dispatch.Transient) },
		}
		none := int64(0)
		r := newReplicas(2, wire.Worker{Retries: &none}, p)
		defer r.close()
		for range 5 { // one instance has a fault of its own
			r.serve(r.all[0], time.Minute, nil)
			synctest.Wait()
		}
		<-time.After(time.Second)
		failing = nil
		r.serve(r.all[1], time.Minute, nil)
		synctest.Wait()
		failing = errOf(dispatch.Transient)
		r.serve(r.all[1], time.Minute, nil)
		<-time.After(2 * time.Second)
		if r.all[0].breaker.ready() || !r.all[1].breaker.ready() {
			t.Errorf("%+v and %+v", r.all[0].breaker.status(), r.all[1].breaker.status())
		}
		r.all[0].breaker.mu.Lock()
		r.all[0].breaker.close("mended")
		r.all[0].breaker.mu.Unlock()
	})
}

func TestAnIdleInstanceOpensWithItsFirstFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &patient{
			answer: func(context.Context, dispatch.Emit) error { return errOf(dispatch.Transient) },
			probe:  func(context.Context) error { return errOf(dispatch.Transient) },
		}
		r := newReplicas(2, wire.Worker{}, p)
		defer r.close()
		for range 5 {
			r.serve(r.all[0], time.Minute, nil)
			synctest.Wait()
		}
		r.serve(r.all[1], time.Minute, nil)
		synctest.Wait()
		if s := r.all[1].breaker.status(); s.state != wire.HealthStateOpen || s.cause != wire.HealthCausePeer {
			t.Errorf("%+v", s)
		}
	})
}

func errOf(kind dispatch.Kind) error { return dispatch.Errorf(kind, "as the test says") }

package fake

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Options are the settings of a Provider. The zero value answers every key at
// once, without limits, by echo.
type Options struct {
	// Name is how the provider calls itself in its answers; "" is "fake".
	Name string
	// Models are what /v1/models lists; none is "fake-model". Calls may name
	// any model.
	Models []string
	// APIKey is the bearer token that calls must carry; "" accepts all.
	APIKey string
	// Text is the answer; "" echoes: "<name> answers: <last user text>".
	Text string
	// Tokens makes every answer this long, by repeating or cutting it; 0 leaves
	// it as it is.
	Tokens int
	// Latency passes before the headers, FirstToken between them and the first
	// token. A whole answer takes as long as its stream would.
	Latency, FirstToken time.Duration
	// TokensPerSecond is the speed of a stream; 0 is without pauses.
	TokensPerSecond float64
	// RequestsPerSecond is the rate above which calls get a 429 that says when
	// to come back; the burst is one second's worth. 0 is without limit.
	RequestsPerSecond float64
	// Seed decides the chances of faults with a probability.
	Seed uint64
	// Recorded is how many calls are remembered; 0 is 256, negative is none.
	Recorded int
}

// DownMode says how a provider that is down behaves.
type DownMode string

// The ways of being down.
const (
	// DownRefuse answers 503. Calls in flight finish.
	DownRefuse DownMode = "refuse"
	// DownReset resets the connections of new calls and drops the calls in
	// flight, as a crash does.
	DownReset DownMode = "reset"
	// DownSilence lets new calls hang. Calls in flight finish.
	DownSilence DownMode = "silence"
)

// Provider is a fake provider. It is an http.Handler, and all its methods may
// be called from many goroutines.
type Provider struct {
	options  Options
	mux      *http.ServeMux
	rules    *rules
	stats    *stats
	recorder *recorder
	limiter  *rate.Limiter
	text     atomic.Pointer[string]
	ids      atomic.Uint64

	mu    sync.Mutex // orders the changes of state
	state atomic.Pointer[state]
}

// state is what a call needs to know of the provider as a whole.
type state struct {
	down   DownMode // "" is up
	over   chan struct{}
	closed bool
}

var _ http.Handler = (*Provider)(nil)

// New returns a provider that is up and has no faults set.
func New(options Options) *Provider {
	if options.Name == "" {
		options.Name = "fake"
	}
	if len(options.Models) == 0 {
		options.Models = []string{"fake-model"}
	}
	if options.Recorded == 0 {
		options.Recorded = 256
	}
	p := &Provider{
		options:  options,
		mux:      http.NewServeMux(),
		rules:    newRules(options.Seed),
		stats:    newStats(),
		recorder: newRecorder(options.Recorded),
		limiter:  rate.NewLimiter(rate.Inf, 0),
	}
	if limit := options.RequestsPerSecond; limit > 0 {
		p.limiter = rate.NewLimiter(rate.Limit(limit), int(math.Ceil(limit)))
	}
	p.text.Store(&options.Text)
	p.state.Store(&state{over: make(chan struct{})})
	p.routes()
	return p
}

// routes binds the endpoints.
func (p *Provider) routes() {
	p.mux.HandleFunc("POST /v1/chat/completions", p.counted((*call).chat))
	p.mux.HandleFunc("POST /v1/embeddings", p.counted((*call).embed))
	p.mux.HandleFunc("GET /v1/models", p.uncounted((*call).models))
	p.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]string{"status": "ok", "name": p.options.Name})
	})
	p.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		unknown := problemOf(http.StatusNotFound)
		unknown.message, unknown.param, unknown.code = fmt.Sprintf("Invalid URL (%s %s)", r.Method, r.URL.Path), "", ""
		unknown.write(w)
	})
	p.adminRoutes()
}

// ServeHTTP serves the API and the administration.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mux.ServeHTTP(w, r)
}

// SetFaults replaces the faults. The first one that strikes a call decides; a
// fault in the call's model name goes before them all. An error names the
// first fault that is not valid, counted from 1, and leaves the list as it was.
func (p *Provider) SetFaults(faults ...Fault) error {
	for i, fault := range faults {
		if err := fault.Validate(); err != nil {
			return fmt.Errorf("fault %d: %w", i+1, err)
		}
	}
	p.rules.set(faults)
	return nil
}

// Faults returns the faults that are set, with what they have seen so far.
func (p *Provider) Faults() []FaultState { return p.rules.list() }

// SetText changes the answer; "" echoes.
func (p *Provider) SetText(text string) { p.text.Store(&text) }

// Stats returns the counts so far. A call counts at its beginning, its outcome
// at its end, which its caller may well see first: use Wait for that.
func (p *Provider) Stats() Stats { return p.stats.snapshot() }

// ResetStats starts the counts anew; calls in flight stay counted as such.
func (p *Provider) ResetStats() { p.stats.reset() }

// Wait returns nil as soon as the stats are as until wants them, and the
// context's error if that comes first.
func (p *Provider) Wait(ctx context.Context, until func(Stats) bool) error {
	return p.stats.wait(ctx, until)
}

// Calls returns the last calls, the newest first; limit 0 or less is all that
// are remembered.
func (p *Provider) Calls(limit int) []Call { return p.recorder.list(limit) }

// Down takes the provider down; an unknown mode is an error.
func (p *Provider) Down(mode DownMode) error {
	switch mode {
	case DownRefuse, DownReset, DownSilence:
	default:
		return fmt.Errorf("mode %q is unknown: use %s, %s or %s", mode, DownRefuse, DownReset, DownSilence)
	}
	p.change(func(s *state) bool {
		s.down = mode
		return mode == DownReset
	})
	return nil
}

// Up brings the provider back.
func (p *Provider) Up() {
	p.change(func(s *state) bool {
		s.down = ""
		return false
	})
}

// Close drops the calls in flight and every later one. A server around the
// provider can then close without waiting for calls that hang.
func (p *Provider) Close() {
	p.change(func(s *state) bool {
		s.closed = true
		return true
	})
}

// change applies edit to the state; where it returns true, the calls in flight
// are dropped.
func (p *Provider) change(edit func(*state) (drop bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.state.Load()
	after := *before
	if edit(&after) && !before.closed {
		if !after.closed {
			after.over = make(chan struct{})
		}
		defer close(before.over)
	}
	p.state.Store(&after)
}

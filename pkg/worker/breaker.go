package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// Defaults of the breaker, in the words of wire.BreakerSettings.
const (
	defaultConsecutive  = 5
	defaultRate         = 50
	defaultMinimum      = 5
	defaultWindow       = 30 * time.Second
	defaultOpen         = 15 * time.Second
	defaultOpenMax      = 2 * time.Minute
	defaultSlowRate     = 80
	accountOpen         = 30 * time.Minute
	accountProbe        = time.Minute
	defaultThrottlePace = 2 * time.Second
)

// breaker decides whether the worker may pull. It opens on failures in a row,
// on a share of failures or of slow calls in a window, or at once for a fault
// of the account; only a probe closes it, so that no caller's request is spent
// on finding out. It also pauses while the provider throttles.
type breaker struct {
	settings wire.BreakerSettings
	onChange func(state wire.HealthState, reason string)

	// The three ways to open; failsafe-go counts, this type decides.
	inARow, share, slow circuitbreaker.CircuitBreaker[any]

	mu      sync.Mutex
	state   wire.HealthState
	reason  string
	until   time.Time
	opened  int64
	openFor time.Duration
	resume  *time.Timer   // ends a pause
	news    chan struct{} // closed and replaced when the state changes
}

func newBreaker(s wire.BreakerSettings, onChange func(wire.HealthState, string)) *breaker {
	window := s.Window.Or(defaultWindow)
	minimum := uint(orDefault(s.Minimum, defaultMinimum))
	// failsafe-go's breakers would let trial calls through after a delay; the
	// delay outlasts any process, since here only a probe closes.
	const never = 100 * 365 * 24 * time.Hour
	b := &breaker{
		settings: s, onChange: onChange, state: wire.HealthStateReady, news: make(chan struct{}),
		inARow: circuitbreaker.NewBuilder[any]().WithFailureThreshold(uint(orDefault(s.Consecutive, defaultConsecutive))).WithDelay(never).Build(),
		share:  circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(perCent(orDefault(s.Rate, defaultRate)), minimum, window).WithDelay(never).Build(),
	}
	slowRate := int64(defaultSlowRate)
	if s.SlowRate != nil {
		slowRate = *s.SlowRate
	}
	if slowRate > 0 {
		b.slow = circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(perCent(slowRate), minimum, window).WithDelay(never).Build()
	}
	return b
}

func orDefault(v, fallback int64) int64 {
	if v == 0 {
		return fallback
	}
	return v
}

func perCent(n int64) float64 { return float64(n) / 100 }

// success counts an answer; slow says that its first token came late.
func (b *breaker) success(slow bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inARow.RecordSuccess()
	b.share.RecordSuccess()
	b.pace(slow)
	if b.slow != nil && b.slow.IsOpen() {
		b.open("most calls are slower than slow_after", 0)
	}
}

// weigh counts a failed attempt by its weight.
func (b *breaker) weigh(e *dispatch.Error, weight dispatch.Weight) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch weight {
	case dispatch.Counted:
		b.inARow.RecordFailure()
		b.share.RecordFailure()
		b.pace(e.Kind == dispatch.Silent)
	case dispatch.Pauses:
		b.pause(e)
	case dispatch.Opens:
		b.open("account fault: "+e.Error(), accountOpen)
	}
	switch {
	case b.inARow.IsOpen():
		b.open(fmt.Sprintf("%d failures in a row, the last: %v", orDefault(b.settings.Consecutive, defaultConsecutive), e), 0)
	case b.share.IsOpen():
		b.open(fmt.Sprintf("at least %d%% of the calls of %v failed, the last: %v", orDefault(b.settings.Rate, defaultRate), b.settings.Window.Or(defaultWindow), e), 0)
	}
}

func (b *breaker) pace(slow bool) {
	switch {
	case b.slow == nil:
	case slow:
		b.slow.RecordFailure()
	default:
		b.slow.RecordSuccess()
	}
}

// open stops pulling. Each opening without a success in between lasts twice
// as long as the one before. fixed, when not zero, is how long it lasts.
func (b *breaker) open(reason string, fixed time.Duration) {
	if b.state == wire.HealthStateOpen || b.state == wire.HealthStateDraining {
		return
	}
	b.opened++
	b.openFor = b.settings.Open.Or(defaultOpen)
	if fixed > 0 {
		b.openFor = fixed
	}
	b.move(wire.HealthStateOpen, reason, time.Now().Add(b.openFor))
}

// probed takes the outcome of a probe while open: nil closes the breaker, an
// error prolongs the opening.
func (b *breaker) probed(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state != wire.HealthStateOpen {
		return
	}
	if err != nil {
		b.openFor = min(2*b.openFor, max(b.openFor, b.settings.OpenMax.Or(defaultOpenMax)))
		b.until = time.Now().Add(b.openFor)
		b.reason = "probe failed: " + err.Error()
		return
	}
	b.inARow.Close()
	b.share.Close()
	if b.slow != nil {
		b.slow.Close()
	}
	b.move(wire.HealthStateReady, "a probe succeeded", time.Time{})
}

// pause stops pulling for as long as the provider asks.
func (b *breaker) pause(e *dispatch.Error) {
	if b.state != wire.HealthStateReady && b.state != wire.HealthStatePaused {
		return
	}
	wait := e.RetryAfter
	if wait <= 0 {
		wait = defaultThrottlePace
	}
	until := time.Now().Add(wait)
	if until.Before(b.until) {
		return
	}
	if b.resume != nil {
		b.resume.Stop()
	}
	b.resume = time.AfterFunc(wait, b.resumed)
	b.move(wire.HealthStatePaused, e.Error(), until)
}

func (b *breaker) resumed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == wire.HealthStatePaused && !time.Now().Before(b.until) {
		b.move(wire.HealthStateReady, "the pause is over", time.Time{})
	}
}

// drain stops pulling for good.
func (b *breaker) drain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.resume != nil {
		b.resume.Stop()
	}
	b.move(wire.HealthStateDraining, "shutting down", time.Time{})
}

func (b *breaker) move(state wire.HealthState, reason string, until time.Time) {
	b.state, b.reason, b.until = state, reason, until
	close(b.news)
	b.news = make(chan struct{})
	b.onChange(state, reason)
}

func (b *breaker) ready() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state == wire.HealthStateReady
}

// awaitReady waits until the worker may pull; false when ctx ended first.
func (b *breaker) awaitReady(ctx context.Context) bool {
	for {
		b.mu.Lock()
		state, news := b.state, b.news
		b.mu.Unlock()
		if state == wire.HealthStateReady {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-news:
		}
	}
}

// awaitOpen waits until the breaker is open, and returns how long until a
// probe is due; false when ctx ended first.
func (b *breaker) awaitOpen(ctx context.Context) (time.Duration, bool) {
	for {
		b.mu.Lock()
		state, news, due := b.state, b.news, time.Until(b.until)
		if b.openFor == accountOpen {
			due = min(due, accountProbe)
		}
		b.mu.Unlock()
		if state == wire.HealthStateOpen {
			return max(due, 0), true
		}
		select {
		case <-ctx.Done():
			return 0, false
		case <-news:
		}
	}
}

// breakerStatus is what the breaker says about itself.
type breakerStatus struct {
	state  wire.HealthState
	reason string
	until  time.Time
	opened int64
}

func (b *breaker) status() breakerStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	return breakerStatus{b.state, b.reason, b.until, b.opened}
}

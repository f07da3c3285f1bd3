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
	defaultProbe        = 12 * time.Second
	defaultSlowRate     = 80
	accountOpen         = 30 * time.Minute
	accountProbe        = time.Minute
	defaultThrottlePace = 2 * time.Second
)

// slowWindows are the parts of the window that the share of slow calls is
// looked at in: the whole of it, and what is recent, in which a provider that
// falls silent under load shows within seconds.
var slowWindows = []time.Duration{1, 6}

// breaker decides whether the worker may pull. It opens on failures in a row,
// on a share of failures or of slow calls in a window, at once for a fault of
// the account, or with its peers; only a probe closes it, so that no caller's
// request is spent on finding out. It also pauses while the provider throttles.
type breaker struct {
	settings wire.BreakerSettings
	peers    *peers
	onChange func(state wire.HealthState, reason string) // with the breaker locked
	onNews   func(state wire.BreakerState)               // with the breaker locked

	// Shares are counted by failsafe-go; what follows is decided here.
	share circuitbreaker.CircuitBreaker[any]
	slow  []circuitbreaker.CircuitBreaker[any]

	mu       sync.Mutex
	state    wire.HealthState
	cause    wire.HealthCause
	reason   string
	until    time.Time
	row      int64           // failures in a row
	last     *dispatch.Error // of them
	answered time.Time       // when a call last succeeded
	opened   int64
	openFor  time.Duration
	every    time.Duration // the longest between two probes
	asked    time.Time     // when the last probe began, or the breaker opened
	probing  bool
	resume   *time.Timer   // ends a pause
	news     chan struct{} // closed and replaced when the state changes
}

func newBreaker(s wire.BreakerSettings, p *peers, onChange func(wire.HealthState, string), onNews func(wire.BreakerState)) *breaker {
	b := &breaker{settings: s, peers: p, onChange: onChange, onNews: onNews, state: wire.HealthStateReady, news: make(chan struct{})}
	b.countAnew()
	return b
}

// countAnew forgets all calls so far.
func (b *breaker) countAnew() {
	s := b.settings
	window := s.Window.Or(defaultWindow)
	minimum := uint(orDefault(s.Minimum, defaultMinimum))
	share := func(rate int64, window time.Duration) circuitbreaker.CircuitBreaker[any] {
		// failsafe-go's breakers would let trial calls through after a delay; the
		// delay outlasts any process, since here only a probe closes.
		const never = 100 * 365 * 24 * time.Hour
		return circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(float64(rate)/100, minimum, window).WithDelay(never).Build()
	}
	b.row, b.last = 0, nil
	b.share = share(orDefault(s.Rate, defaultRate), window)
	b.slow = nil
	slowRate := int64(defaultSlowRate)
	if s.SlowRate != nil {
		slowRate = *s.SlowRate
	}
	if slowRate > 0 {
		for _, part := range slowWindows {
			b.slow = append(b.slow, share(slowRate, window/part))
		}
	}
}

func orDefault(v, fallback int64) int64 {
	if v == 0 {
		return fallback
	}
	return v
}

func (b *breaker) consecutive() int64 { return orDefault(b.settings.Consecutive, defaultConsecutive) }

// success counts an answer.
func (b *breaker) success() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered = time.Now()
	b.share.RecordSuccess()
	b.inARow(0)
}

// weigh counts a failed attempt by its weight.
func (b *breaker) weigh(e *dispatch.Error, weight dispatch.Weight) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch weight {
	case dispatch.Counted:
		b.share.RecordFailure()
		b.last = e
		b.inARow(b.row + 1)
	case dispatch.Pauses:
		b.pauseFor(e)
	case dispatch.Opens:
		b.last = e
		b.openWith("account fault: "+e.Error(), wire.HealthCauseProvider, accountOpen, accountProbe)
	}
	switch {
	case b.row >= b.consecutive():
		b.open(fmt.Sprintf("%d failures in a row, the last: %v", b.row, e), wire.HealthCauseProvider)
	case b.share.IsOpen():
		b.open(fmt.Sprintf("at least %d%% of the calls of %v failed, the last: %v", orDefault(b.settings.Rate, defaultRate), b.settings.Window.Or(defaultWindow), e), wire.HealthCauseProvider)
	default:
		b.weighPeers()
	}
}

// inARow sets how many calls failed in a row, which the peers want to know.
func (b *breaker) inARow(n int64) {
	if b.row == n {
		return
	}
	b.row = n
	b.onNews(b.breakerState())
}

// doubted says whether a request that failed so many times in a row has company:
// half of the failures in a row that open the breaker are those of others. Then
// it is the provider that fails, and trying again would only add to them.
func (b *breaker) doubted(own int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.row-own >= (b.consecutive()+1)/2
}

// pace counts a call's first token: slow as soon as it is late, not when it comes.
func (b *breaker) pace(slow bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.slow {
		if slow {
			s.RecordFailure()
		} else {
			s.RecordSuccess()
		}
		if s.IsOpen() {
			b.open("most calls are slower than slow_after", wire.HealthCauseProvider)
		}
	}
}

// open stops pulling, for a while that grows twofold with each failed probe.
func (b *breaker) open(reason string, cause wire.HealthCause) {
	b.openWith(reason, cause, b.settings.Open.Or(defaultOpen), b.settings.Probe.Or(defaultProbe))
}

func (b *breaker) openWith(reason string, cause wire.HealthCause, lasts, every time.Duration) {
	if b.state == wire.HealthStateOpen || b.state == wire.HealthStateDraining {
		return
	}
	if b.resume != nil {
		b.resume.Stop()
	}
	b.opened++
	b.openFor, b.every, b.asked = lasts, every, time.Now()
	b.move(wire.HealthStateOpen, cause, reason, b.asked.Add(lasts))
}

// close lets the worker pull again.
func (b *breaker) close(reason string) {
	b.countAnew()
	b.probing = false
	b.move(wire.HealthStateReady, "", reason, time.Time{})
}

// pauseFor stops pulling for as long as the provider asks.
func (b *breaker) pauseFor(e *dispatch.Error) {
	wait := e.RetryAfter
	if wait <= 0 {
		wait = defaultThrottlePace
	}
	b.pause(wait, wire.HealthCauseProvider, e.Error())
}

func (b *breaker) pause(wait time.Duration, cause wire.HealthCause, reason string) {
	until := time.Now().Add(wait)
	if b.state != wire.HealthStateReady && b.state != wire.HealthStatePaused || until.Before(b.until) {
		return
	}
	if b.resume != nil {
		b.resume.Stop()
	}
	b.resume = time.AfterFunc(wait, b.resumed)
	b.move(wire.HealthStatePaused, cause, reason, until)
}

func (b *breaker) resumed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == wire.HealthStatePaused && !time.Now().Before(b.until) {
		b.move(wire.HealthStateReady, "", "the pause is over", time.Time{})
	}
}

// drain stops pulling for good.
func (b *breaker) drain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.resume != nil {
		b.resume.Stop()
	}
	b.move(wire.HealthStateDraining, "", "shutting down", time.Time{})
}

func (b *breaker) move(state wire.HealthState, cause wire.HealthCause, reason string, until time.Time) {
	b.state, b.cause, b.reason, b.until = state, cause, reason, until
	close(b.news)
	b.news = make(chan struct{})
	b.onChange(state, reason)
	b.onNews(b.breakerState())
}

func (b *breaker) breakerState() wire.BreakerState {
	switch {
	case b.state != wire.HealthStateOpen:
		return wire.BreakerStateClosed
	case b.probing:
		return wire.BreakerStateHalfOpen
	}
	return wire.BreakerStateOpen
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

// breakerStatus is what the breaker says about itself.
type breakerStatus struct {
	state   wire.HealthState
	breaker wire.BreakerState
	cause   wire.HealthCause
	reason  string
	until   time.Time
	opened  int64
	row     int64
}

func (b *breaker) status() breakerStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	return breakerStatus{b.state, b.breakerState(), b.cause, b.reason, b.until, b.opened, b.row}
}

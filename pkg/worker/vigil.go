package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// Defaults of the timeouts, in the words of wire.Timeouts.
const (
	defaultConnect    = 5 * time.Second
	defaultFirstToken = 10 * time.Second
	defaultIdle       = 15 * time.Second
	defaultTotal      = 10 * time.Minute
	defaultSlowAfter  = 2 * time.Second
)

// askedFactor is how many times longer than configured a request may have its
// worker wait.
const askedFactor = 3

// vigil watches one call for signs of life and ends it when they stay away. It
// costs one timer: tokens only leave their time.
type vigil struct {
	first, idle, total time.Duration
	patience           wire.Timeouts // what the worker would wait by itself
	begun              time.Time
	stop               context.CancelCauseFunc

	slowAfter time.Duration
	onPace    func(slow bool) // nil when the first token says nothing
	paced     atomic.Bool     // onPace was called

	earliest, latest atomic.Int64 // tokens: nanoseconds after begun; 0 for none

	mu    sync.Mutex
	timer *time.Timer
	over  bool
	hasty bool // ended by a timeout that the caller made shorter
}

// keepVigil starts watching. Calls that do not stream show no sign of life
// until they end; for them only the total counts.
func (w *Worker) keepVigil(j *job, stop context.CancelCauseFunc) *vigil {
	t := w.cfg.Settings.Timeouts
	t.FirstToken, t.Idle = wire.Duration(t.FirstToken.Or(defaultFirstToken)), wire.Duration(t.Idle.Or(defaultIdle))
	v := &vigil{
		first: within(j.FirstToken, t.FirstToken), idle: within(j.Idle, t.Idle), total: t.Total.Or(defaultTotal),
		patience: t, begun: time.Now(), stop: stop, slowAfter: w.cfg.Settings.SlowAfter.Or(defaultSlowAfter),
	}
	switch {
	case w.cfg.Settings.Streaming == wire.StreamingAsAsked:
		v.first = v.total
	case !w.mute.Load():
		v.onPace = w.breaker.pace
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.timer = time.AfterFunc(min(v.first, v.idle, v.total, v.slowAfter), v.look)
	return v
}

// within is what a request asks for, as far as it may, else what is configured.
func within(asked time.Duration, configured wire.Duration) time.Duration {
	if asked == 0 {
		return time.Duration(configured)
	}
	return min(asked, askedFactor*time.Duration(configured))
}

// token is a sign of life. From the first one on, the idle timeout counts.
func (v *vigil) token() {
	since := max(int64(time.Since(v.begun)), 1)
	if v.earliest.CompareAndSwap(0, since) {
		v.pace(time.Duration(since) > v.slowAfter)
	}
	v.latest.Store(since)
}

// pace tells once whether the first token is late.
func (v *vigil) pace(slow bool) {
	if v.onPace != nil && v.paced.CompareAndSwap(false, true) {
		v.onPace(slow)
	}
}

// look ends the call if it is out of time, or looks again when it may be.
func (v *vigil) look() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over {
		return
	}
	elapsed, latest := time.Since(v.begun), time.Duration(v.latest.Load())
	due, patience := v.first, time.Duration(v.patience.FirstToken)
	if latest > 0 {
		due, patience = latest+v.idle, latest+time.Duration(v.patience.Idle)
	}
	if latest == 0 && elapsed >= v.slowAfter {
		v.pace(true)
	}
	switch {
	case elapsed >= v.total:
		v.stop(dispatch.Errorf(dispatch.Stalled, "the answer took longer than %v", v.total))
	case elapsed < due:
		next := min(due, v.total)
		if latest == 0 && elapsed < v.slowAfter {
			next = min(next, v.slowAfter)
		}
		v.timer.Reset(next - elapsed)
	case latest == 0:
		v.hasty = elapsed < patience
		v.stop(dispatch.Errorf(dispatch.Silent, "no first token within %v", v.first))
	default:
		v.hasty = elapsed < patience
		v.stop(dispatch.Errorf(dispatch.Stalled, "no token for %v", v.idle))
	}
}

// firstToken is how long the first token took; zero when none came.
func (v *vigil) firstToken() time.Duration { return time.Duration(v.earliest.Load()) }

// wasHasty says that the call ended by a timeout that the caller made shorter
// than the worker's own: no fault of the provider.
func (v *vigil) wasHasty() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.hasty
}

func (v *vigil) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.over = true
	v.timer.Stop()
}

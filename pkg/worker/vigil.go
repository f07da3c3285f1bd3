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

// vigil watches one call for signs of life and ends it when they stay away. It
// costs one timer: tokens only leave their time.
type vigil struct {
	first, idle, total time.Duration
	begun              time.Time
	stop               context.CancelCauseFunc

	earliest, latest atomic.Int64 // tokens: nanoseconds after begun; 0 for none

	mu    sync.Mutex
	timer *time.Timer
	over  bool
}

// keepVigil starts watching. Calls that do not stream show no sign of life
// until they end; for them only the total counts.
func (w *Worker) keepVigil(stop context.CancelCauseFunc) *vigil {
	t := w.cfg.Settings.Timeouts
	v := &vigil{first: t.FirstToken.Or(defaultFirstToken), idle: t.Idle.Or(defaultIdle), total: t.Total.Or(defaultTotal), begun: time.Now(), stop: stop}
	if w.cfg.Settings.Streaming == wire.StreamingAsAsked {
		v.first = v.total
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.timer = time.AfterFunc(min(v.first, v.idle, v.total), v.look)
	return v
}

// token is a sign of life. From the first one on, the idle timeout counts.
func (v *vigil) token() {
	since := max(int64(time.Since(v.begun)), 1)
	v.earliest.CompareAndSwap(0, since)
	v.latest.Store(since)
}

// look ends the call if it is out of time, or looks again when it may be.
func (v *vigil) look() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over {
		return
	}
	elapsed, latest := time.Since(v.begun), time.Duration(v.latest.Load())
	due := v.first
	if latest > 0 {
		due = latest + v.idle
	}
	switch {
	case elapsed >= v.total:
		v.stop(dispatch.Errorf(dispatch.Stalled, "the answer took longer than %v", v.total))
	case elapsed < due:
		v.timer.Reset(min(due, v.total) - elapsed)
	case latest == 0:
		v.stop(dispatch.Errorf(dispatch.Silent, "no first token within %v", v.first))
	default:
		v.stop(dispatch.Errorf(dispatch.Stalled, "no token for %v", v.idle))
	}
}

// firstToken is how long the first token took; zero when none came.
func (v *vigil) firstToken() time.Duration { return time.Duration(v.earliest.Load()) }

func (v *vigil) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.over = true
	v.timer.Stop()
}

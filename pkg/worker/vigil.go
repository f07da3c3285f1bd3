package worker

import (
	"context"
	"sync"
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

// vigil watches one call for signs of life and ends it when they stay away.
type vigil struct {
	idle time.Duration

	mu    sync.Mutex
	first time.Time // of the first chunk
	life  *time.Timer
	total *time.Timer
	stop  context.CancelCauseFunc
}

// keepVigil starts watching. Calls that do not stream show no sign of life
// until they end; for them only the total counts.
func (w *Worker) keepVigil(stop context.CancelCauseFunc) *vigil {
	t := w.cfg.Settings.Timeouts
	total := t.Total.Or(defaultTotal)
	v := &vigil{idle: t.Idle.Or(defaultIdle), stop: stop}
	v.total = time.AfterFunc(total, func() {
		stop(dispatch.Errorf(dispatch.Stalled, "the answer took longer than %v", total))
	})
	if w.cfg.Settings.Streaming != wire.StreamingAsAsked {
		first := t.FirstToken.Or(defaultFirstToken)
		v.life = time.AfterFunc(first, func() {
			stop(dispatch.Errorf(dispatch.Silent, "no first token within %v", first))
		})
	}
	return v
}

// token is a sign of life. From the first one on, the idle timeout counts.
func (v *vigil) token() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.first.IsZero() {
		v.life.Reset(v.idle)
		return
	}
	v.first = time.Now()
	if v.life != nil {
		v.life.Stop()
	}
	v.life = time.AfterFunc(v.idle, func() {
		v.stop(dispatch.Errorf(dispatch.Stalled, "no token for %v", v.idle))
	})
}

func (v *vigil) firstToken() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.first
}

func (v *vigil) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.total.Stop()
	if v.life != nil {
		v.life.Stop()
	}
}

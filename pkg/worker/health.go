package worker

import (
	"context"
	"encoding/json"
	"time"

	"understudy/pkg/wire"
)

// reportHealth says how this instance is, every second and whenever its state
// changes, and a last time when it stops.
func (w *Worker) reportHealth(ctx context.Context) {
	tick := time.NewTicker(healthInterval)
	defer tick.Stop()
	for {
		w.sayHealth(w.health())
		select {
		case <-ctx.Done():
			last := w.health()
			last.State, last.Reason = wire.HealthStateStopped, "stopped"
			w.sayHealth(last)
			return
		case <-tick.C:
		case <-w.changed:
		}
	}
}

func (w *Worker) sayHealth(h wire.Health) {
	data, err := json.Marshal(h)
	if err == nil {
		err = w.bus.Send(wire.HealthSubject(w.cfg.Name, w.cfg.Instance), nil, data)
	}
	if err != nil {
		w.log.Debug().Err(err).Msg("health not sent")
	}
}

func (w *Worker) health() wire.Health {
	s := w.breaker.status()
	h := wire.Health{
		Worker: w.cfg.Name, Instance: w.cfg.Instance, State: s.state, Until: s.until.UTC(), Local: w.cfg.Local,
		InFlight: int64(w.hand.count()), Concurrency: w.cfg.Settings.Concurrency,
		StartedAt: w.started.UTC(), At: time.Now().UTC(),
		Breaker: wire.Breaker{State: s.breaker, Opened: s.opened},
	}
	if s.until.IsZero() {
		h.Until = time.Time{}
	}
	switch s.state {
	case wire.HealthStateReady:
		if reason, until, full := w.limit.Full(); full {
			h.State, h.Cause, h.Reason, h.Until = wire.HealthStatePaused, wire.HealthCauseLimit, reason, until.UTC()
		}
	case wire.HealthStateOpen:
		h.Breaker.Reason, h.Breaker.Until = s.reason, s.until.UTC()
		fallthrough
	default:
		h.Reason, h.Cause = s.reason, s.cause
	}
	if s.breaker == wire.BreakerStateClosed {
		h.Breaker.Failures = s.row
	}
	w.recent.tell(h.At, &h)
	return h
}

// breakerChanged is called, with the breaker locked, for each change of state.
func (w *Worker) breakerChanged(state wire.HealthState, reason string) {
	w.log.Info().Str("state", string(state)).Str("reason", reason).Msg("worker changed state")
	w.metrics.state(w.cfg.Name, w.cfg.Instance, state)
	w.healthChanged()
}

// breakerNews is called, with the breaker locked, for what the other instances
// and whoever watches want to know of it at once.
func (w *Worker) breakerNews(state wire.BreakerState) {
	w.metrics.breaker(w.cfg.Name, w.cfg.Instance, state)
	w.healthChanged()
}

// healthChanged has health told now.
func (w *Worker) healthChanged() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

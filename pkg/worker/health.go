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
		Breaker: wire.Breaker{State: wire.BreakerStateClosed, Opened: s.opened},
	}
	if s.until.IsZero() {
		h.Until = time.Time{}
	}
	if s.state != wire.HealthStateReady {
		h.Reason = s.reason
	}
	if s.state == wire.HealthStateOpen {
		h.Breaker = wire.Breaker{State: wire.BreakerStateOpen, Reason: s.reason, Until: s.until.UTC(), Opened: s.opened}
	}
	w.recent.tell(h.At, &h)
	return h
}

// breakerChanged is called, with the breaker locked, for each change of state.
func (w *Worker) breakerChanged(state wire.HealthState, reason string) {
	w.log.Info().Str("state", string(state)).Str("reason", reason).Msg("worker changed state")
	w.metrics.state(w.cfg.Name, w.cfg.Instance, state)
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

package worker

import (
	"context"
	"time"
)

const (
	probeTimeout = 20 * time.Second
)

// probeWhileOpen asks the provider itself, once for each time the breaker has
// been open long enough, until one probe succeeds.
func (w *Worker) probeWhileOpen(ctx context.Context) {
	for {
		due, open := w.breaker.awaitOpen(ctx)
		if !open || !pause(ctx, due) {
			return
		}
		probe, cancel := context.WithTimeout(ctx, w.probeTimeout())
		err := w.provider.Probe(probe)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			w.log.Info().Err(err).Msg("probe failed, the breaker stays open")
		}
		w.recent.probed(time.Now(), err)
		w.breaker.probed(err)
	}
}

// probeTimeout is as long as a first token may take: a probe is no quicker
// than a request.
func (w *Worker) probeTimeout() time.Duration {
	return min(probeTimeout, w.cfg.Settings.Timeouts.FirstToken.Or(defaultFirstToken)+w.cfg.Settings.Timeouts.Connect.Or(defaultConnect))
}

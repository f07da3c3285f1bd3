package worker

import (
	"context"
	"time"

	"understudy/pkg/wire"
)

const (
	probeTimeout = 20 * time.Second
)

// probeWhileOpen asks the provider itself until one probe succeeds: each time
// the breaker has been open long enough, and at least every probe interval. Of
// the instances that are open one asks for all: the one that comes first by
// name. The others hear of the outcome, and ask for themselves only when they
// have heard nothing good for as long as an opening may last.
func (w *Worker) probeWhileOpen(ctx context.Context) {
	for w.awaitProbe(ctx) {
		w.breaker.probeBegins()
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

// awaitProbe waits until this instance should probe; false when ctx ended first.
func (w *Worker) awaitProbe(ctx context.Context) bool {
	for {
		due, open, news := w.breaker.probeDue(w.peers.leads(time.Now()))
		if open && due <= 0 {
			return ctx.Err() == nil
		}
		if !open {
			due = time.Hour
		}
		look := time.NewTimer(min(due, healthInterval)) // who leads may change
		if !open {
			look.Stop()
		}
		select {
		case <-ctx.Done():
		case <-news:
		case <-look.C:
		}
		look.Stop()
		if ctx.Err() != nil {
			return false
		}
	}
}

// probeTimeout is as long as a first token may take: a probe is no quicker than
// a request. It leaves room for the next one.
func (w *Worker) probeTimeout() time.Duration {
	token := w.cfg.Settings.Timeouts.FirstToken.Or(defaultFirstToken) + w.cfg.Settings.Timeouts.Connect.Or(defaultConnect)
	return min(probeTimeout, token, w.cfg.Settings.Breaker.Probe.Or(defaultProbe))
}

// probeDue says whether the breaker is open and how long until a probe is due,
// for the instance that probes for all or for another; news is closed at the
// next change of state.
func (b *breaker) probeDue(leads bool) (due time.Duration, open bool, news <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := b.asked.Add(max(b.every, b.settings.OpenMax.Or(defaultOpenMax)))
	if leads {
		next = b.asked.Add(b.every)
		if b.until.Before(next) {
			next = b.until
		}
	}
	return time.Until(next), b.state == wire.HealthStateOpen, b.news
}

// probeBegins half-opens the breaker.
func (b *breaker) probeBegins() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked, b.probing = time.Now(), true
	b.onNews(b.breakerState())
}

// probed takes the outcome of a probe: nil closes the breaker, an error
// prolongs the opening.
func (b *breaker) probed(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	switch {
	case b.state != wire.HealthStateOpen:
	case err == nil:
		b.close("a probe succeeded")
	default:
		b.openFor = min(2*b.openFor, max(b.openFor, b.settings.OpenMax.Or(defaultOpenMax)))
		b.until = time.Now().Add(b.openFor)
		b.reason = "probe failed: " + err.Error()
		b.onNews(b.breakerState())
	}
}

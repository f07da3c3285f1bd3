package supervisor

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

// Config is what a supervisor is made of.
type Config struct {
	// Instance tells supervisors apart.
	Instance string
	// Renew is how often the lease is renewed and health is judged without
	// news. Default 500 ms; a lease lasts 3 s.
	Renew time.Duration
	// Diagnose is how often workers that are not well are looked at without
	// news of them. Default 10 s.
	Diagnose time.Duration
	// Metrics may be nil.
	Metrics *Metrics
}

const (
	defaultRenew    = 500 * time.Millisecond
	defaultDiagnose = 10 * time.Second
	rereadEvery     = 10 * time.Second
)

// Supervisor leads, or waits to lead.
type Supervisor struct {
	cfg    Config
	bus    *bus.Bus
	log    zerolog.Logger
	health *roster
	reaper *reaper
	state  *state
	doctor *diagnoser
}

// New returns a supervisor that does nothing until Run.
func New(cfg Config, b *bus.Bus, log zerolog.Logger) *Supervisor {
	if cfg.Renew == 0 {
		cfg.Renew = defaultRenew
	}
	if cfg.Diagnose == 0 {
		cfg.Diagnose = defaultDiagnose
	}
	log = log.With().Str("part", "supervisor").Str("instance", cfg.Instance).Logger()
	return &Supervisor{cfg: cfg, bus: b, log: log, health: newRoster(), reaper: newReaper(b, log, cfg.Metrics), state: newState(), doctor: newDiagnoser(b, log, cfg)}
}

// Run listens to health and leads whenever it holds the lease, until ctx ends.
// It returns nil when told to stop.
func (s *Supervisor) Run(ctx context.Context) error {
	stop, err := s.bus.Listen(wire.SubjectsHealth, "", func(m bus.Message) {
		h, err := wire.Decode[wire.Health](wire.SchemaHealth, m.Body)
		if err != nil || m.Subject != wire.HealthSubject(h.Worker, h.Instance) {
			s.log.Warn().Err(err).Str("subject", m.Subject).Msg("health report ignored")
			return
		}
		s.health.hear(h, time.Now())
	})
	if err != nil {
		return err
	}
	defer stop()
	s.health.begin(time.Now())

	for {
		lease, err := s.bus.TakeLease(ctx, s.cfg.Instance)
		switch {
		case err == nil:
			s.lead(ctx, lease)
		case !errors.Is(err, bus.ErrConflict) && ctx.Err() == nil:
			s.log.Warn().Err(err).Msg("lease not taken")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.cfg.Renew):
		}
	}
}

// lead moves lanes and reaps until the lease is lost or ctx ends.
func (s *Supervisor) lead(ctx context.Context, lease bus.Lease) {
	s.log.Info().Uint64("epoch", lease.Epoch).Msg("supervisor leads")
	s.cfg.Metrics.leading(true)
	defer s.cfg.Metrics.leading(false)

	term, stop := context.WithCancel(ctx)
	var following sync.WaitGroup
	defer following.Wait()
	defer stop()
	s.state.reset()
	following.Go(func() { s.state.follow(term, s.bus) })
	following.Go(func() { s.reaper.run(term, s.state) })
	following.Go(func() { s.doctor.run(term, s.state, s.health) })
	s.bus.PublishEvent(ctx, wire.Event{Kind: wire.EventKindSupervisor, Name: s.cfg.Instance, Reason: "took the lead", At: time.Now().UTC()})

	renew := time.NewTicker(s.cfg.Renew)
	defer renew.Stop()
	reread := time.NewTicker(rereadEvery)
	defer reread.Stop()
	for {
		healthNews, stateNews := s.health.news(), s.state.news()
		if s.state.load(term, s.bus, false) == nil {
			s.rule(term, lease.Epoch)
		}
		select {
		case <-ctx.Done():
			s.release()
			return
		case <-reread.C:
			if err := s.state.load(term, s.bus, true); err != nil {
				s.log.Warn().Err(err).Msg("owner table not read")
			}
		case <-renew.C:
			next, err := s.bus.Renew(term, lease)
			if errors.Is(err, bus.ErrConflict) || time.Now().After(lease.Until()) {
				s.log.Warn().Err(err).Msg("lease lost, another supervisor may lead")
				return
			}
			if err != nil {
				s.log.Warn().Err(err).Msg("lease not renewed")
				continue
			}
			lease = next
		case <-healthNews:
		case <-stateNews:
		}
	}
}

func (s *Supervisor) release() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.bus.Release(ctx); err != nil {
		s.log.Warn().Err(err).Msg("lease not released, it runs out by itself")
	}
}

// rule compares the table with what it should be, and writes the difference.
// Everything a new leader finds is written anew under its epoch, so that a late
// write of its predecessor fails on the revision.
func (s *Supervisor) rule(ctx context.Context, epoch uint64) {
	now := time.Now()
	table := s.state.snapshot()
	judged := s.health.judge(now)
	moves := plan(now, table, judged, s.state.returns, epoch)
	if len(moves) == 0 {
		return
	}
	var writing sync.WaitGroup
	for i := range moves {
		writing.Go(func() { s.write(ctx, &moves[i], epoch, now) })
	}
	writing.Wait()
	s.report(ctx, moves, now)
}

func (s *Supervisor) write(ctx context.Context, m *move, epoch uint64, now time.Time) {
	o := wire.Ownership{Worker: m.to, Assigned: m.assigned, Reason: m.reason, Since: m.since, Epoch: int64(epoch)}
	if m.from != m.to {
		o.Since = now.UTC()
	}
	revision, err := s.bus.SetOwner(ctx, m.route, m.lane, o, m.revision)
	if err != nil {
		m.failed = true
		if ctx.Err() == nil {
			s.log.Info().Err(err).Str("route", m.route).Str("lane", string(m.lane)).Msg("owner not written, reading again")
			s.state.markStale()
		}
		return
	}
	s.state.wrote(m.route, m.lane, o, revision)
}

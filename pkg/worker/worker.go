package worker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/limit"
	"understudy/pkg/quality"
	"understudy/pkg/wire"
)

// Provider speaks one provider's protocol.
//
// Answer gives a whole answer, and passes its pieces to emit as they come when
// the provider streams. It returns as soon as ctx ends. Failures are
// *dispatch.Error; the harness owns timeouts, retries and the breaker.
//
// Probe finds out, at little cost, whether Answer would work now.
//
// Both are called concurrently.
type Provider interface {
	Answer(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error)
	Probe(ctx context.Context) error
}

// Config is what a worker is made of.
type Config struct {
	// Name is the worker's name in routes and lanes.
	Name string
	// Instance tells the replicas of a worker apart.
	Instance string
	// Settings is the worker's part of the configuration.
	Settings wire.Worker
	// Local marks a worker that asks no model: its answers are degraded.
	Local bool
	// Drain is how long requests in hand may take to finish once the worker is
	// told to stop; then they are given back. Default 25 s.
	Drain time.Duration
	// Poll is how long a pull on a quiet lane waits. Default 5 s.
	Poll time.Duration
	// Metrics may be shared between workers; nil measures nothing.
	Metrics *Metrics
}

// Defaults of the settings.
const (
	defaultConcurrency = 64
	defaultDrain       = 25 * time.Second
	defaultPoll        = 5 * time.Second
	defaultRetries     = 2
	defaultAckWait     = 15 * time.Second
	healthInterval     = time.Second
)

// Worker runs one provider behind its lanes.
type Worker struct {
	cfg      Config
	bus      *bus.Bus
	provider Provider
	log      zerolog.Logger
	metrics  *Metrics

	table   *table
	slots   *slots
	limit   *limit.Limiter // nil without limits
	pace    *pace          // nil unless adaptive
	peers   *peers
	breaker *breaker
	mute    atomic.Bool // the provider's last answer came without tokens
	recent  *recent
	hand    *hand
	alone   chan struct{} // held by the one isolated suspect
	lessons lessons
	quality *quality.Checker
	hedges  *hedges

	started  time.Time
	changed  chan struct{} // something that health should tell
	requests sync.WaitGroup
	next     chan *job     // for goroutines that have finished one
	over     chan struct{} // closed when there will be no more
}

// New returns a worker that does nothing until Run.
func New(cfg Config, b *bus.Bus, p Provider, log zerolog.Logger) *Worker {
	if cfg.Drain == 0 {
		cfg.Drain = defaultDrain
	}
	if cfg.Poll == 0 {
		cfg.Poll = defaultPoll
	}
	if cfg.Settings.Concurrency == 0 {
		cfg.Settings.Concurrency = defaultConcurrency
	}
	w := &Worker{
		cfg: cfg, bus: b, provider: p, metrics: cfg.Metrics,
		log:     log.With().Str("worker", cfg.Name).Str("instance", cfg.Instance).Logger(),
		table:   newTable(cfg.Name),
		slots:   newSlots(int(cfg.Settings.Concurrency)),
		hand:    newHand(),
		recent:  &recent{},
		alone:   make(chan struct{}, 1),
		quality: quality.New(),
		hedges:  newHedges(),
		changed: make(chan struct{}, 1),
		next:    make(chan *job),
		over:    make(chan struct{}),
	}
	w.limit = limit.New(cfg.Settings.Limits, cfg.Name, cfg.Instance, b, w.log)
	if cfg.Settings.Adaptive {
		w.pace = newPace(int(cfg.Settings.Concurrency), w.slots)
	}
	w.peers = newPeers(cfg.Instance)
	w.breaker = newBreaker(cfg.Settings.Breaker, w.peers, w.breakerChanged, w.breakerNews)
	return w
}

// Run serves until ctx ends, then drains: it stops pulling, lets requests in
// hand finish, and gives back what does not finish in time. It returns nil
// when told to stop.
func (w *Worker) Run(ctx context.Context) error {
	w.started = time.Now()
	stopListening, err := w.listen()
	if err != nil {
		return fmt.Errorf("worker %s: %w", w.cfg.Name, err)
	}
	defer stopListening()
	if err := w.table.load(ctx, w.bus); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("worker %s: %w", w.cfg.Name, err)
	}

	side, stopSide := context.WithCancel(context.WithoutCancel(ctx))
	var sides sync.WaitGroup
	for _, run := range []func(context.Context){w.keepInHand, w.reportHealth, w.probeWhileOpen} {
		sides.Go(func() { run(side) })
	}
	w.log.Info().Int64("concurrency", w.cfg.Settings.Concurrency).Msg("worker serves")

	var pulling sync.WaitGroup
	pulling.Go(func() { w.table.follow(ctx, w.bus, w.log) })
	w.pullLanes(ctx)
	pulling.Wait()
	w.hedges.close()
	w.drain()
	close(w.over)

	stopSide()
	sides.Wait()
	w.log.Info().Msg("worker stopped")
	return nil
}

// drain waits for the requests in hand, then has the rest given back.
func (w *Worker) drain() {
	w.breaker.drain()
	done := make(chan struct{})
	go func() {
		w.requests.Wait()
		close(done)
	}()
	select {
	case <-done:
		return
	case <-time.After(w.cfg.Drain):
	}
	w.log.Warn().Int("in_hand", w.hand.count()).Msg("drain time is over, giving requests back")
	w.hand.cancelAll(errGiveBack)
	<-done
}

// listen answers for the requests in hand, hears callers take them back, and
// hears the other instances.
func (w *Worker) listen() (stop func(), err error) {
	stopCancel, err := w.bus.Listen(wire.SubjectsCancel, "", func(m bus.Message) {
		w.hand.cancel(lastToken(m.Subject), dispatch.Errorf(dispatch.Cancelled, "the caller took the request back"))
	})
	if err != nil {
		return nil, err
	}
	stopAnswering, err := w.bus.Listen(wire.SubjectsInFlight, "", func(m bus.Message) {
		if w.hand.holds(lastToken(m.Subject)) {
			_ = m.Respond(bus.Header{wire.HeaderWorker: {w.cfg.Name}}, nil)
		}
	})
	if err != nil {
		stopCancel()
		return nil, err
	}
	stopHearing, err := w.bus.Listen(wire.HealthSubject(w.cfg.Name, "*"), "", w.hearPeer)
	if err != nil {
		stopCancel()
		stopAnswering()
		return nil, err
	}
	stopHedging, err := w.bus.Listen(wire.HedgeSubject("*", w.cfg.Name), w.cfg.Name, w.takeHedge)
	if err != nil {
		stopCancel()
		stopAnswering()
		return nil, err
	}
	return func() { stopCancel(); stopAnswering(); stopHearing(); stopHedging() }, nil
}

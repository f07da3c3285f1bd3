// Package fleet runs the workers that the running configuration names, and
// follows it: a new worker starts, a changed one restarts, a removed one
// drains, all without a restart of the process.
package fleet

import (
	"context"
	"crypto/rand"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
	"understudy/pkg/worker"
)

// Config says which workers this process runs.
type Config struct {
	// Kinds to run; empty means every kind.
	Kinds []wire.WorkerKind `env:"-"`
	// Names to run; empty means every worker of the kinds.
	Names []string `env:"UNDERSTUDY_WORKERS"`
	// Instance tells replicas apart; empty makes one up.
	Instance string `env:"UNDERSTUDY_INSTANCE"`
	// Drain is how long requests in hand may take to finish on shutdown.
	Drain time.Duration `env:"UNDERSTUDY_WORKER_DRAIN" envDefault:"25s"`
	// Lookup finds API keys by the name of their variable; os.LookupEnv.
	Lookup func(string) (string, bool) `env:"-"`
	// Metrics may be nil.
	Metrics *worker.Metrics `env:"-"`
}

// Fleet runs workers.
type Fleet struct {
	cfg Config
	bus *bus.Bus
	log zerolog.Logger

	mu      sync.Mutex
	wanted  map[string]wire.Worker
	changed chan struct{}
}

// New returns a fleet that does nothing until Run.
func New(cfg Config, b *bus.Bus, log zerolog.Logger) *Fleet {
	if cfg.Instance == "" {
		cfg.Instance = InstanceName()
	}
	return &Fleet{cfg: cfg, bus: b, log: log, wanted: map[string]wire.Worker{}, changed: make(chan struct{}, 1)}
}

// InstanceName makes up a name that tells this process apart from all others.
// It is safe as a subject token.
func InstanceName() string {
	host, _ := os.Hostname()
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, host)
	return safe + "-" + strings.ToLower(rand.Text()[:6])
}

// Run keeps the fleet as the configuration says until ctx ends, then drains
// every worker. It returns nil when told to stop.
func (f *Fleet) Run(ctx context.Context) error {
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		f.bus.KeepWatching(ctx, func(ctx context.Context) error { return f.bus.WatchWorkers(ctx, f.see) })
	})
	running := map[string]*member{}
	for {
		select {
		case <-ctx.Done():
			f.settle(ctx, running, nil)
			return nil
		case <-f.changed:
			f.mu.Lock()
			wanted := make(map[string]wire.Worker, len(f.wanted))
			for name, w := range f.wanted {
				wanted[name] = w
			}
			f.mu.Unlock()
			f.settle(ctx, running, wanted)
		}
	}
}

func (f *Fleet) see(e bus.Entry[wire.Worker]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.wanted, e.Key)
	if !e.Deleted && f.runs(e.Key, e.Value) {
		f.wanted[e.Key] = e.Value
	}
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

func (f *Fleet) runs(name string, w wire.Worker) bool {
	return (len(f.cfg.Kinds) == 0 || slices.Contains(f.cfg.Kinds, w.Kind)) &&
		(len(f.cfg.Names) == 0 || slices.Contains(f.cfg.Names, name))
}

// settle stops what is no longer wanted as it is, all at once, then starts
// what is missing.
func (f *Fleet) settle(ctx context.Context, running map[string]*member, wanted map[string]wire.Worker) {
	var stopping sync.WaitGroup
	for name, m := range running {
		if settings, ok := wanted[name]; !ok || !m.same(settings) {
			delete(running, name)
			stopping.Go(m.stop)
		}
	}
	stopping.Wait()
	for name, settings := range wanted {
		if running[name] != nil {
			continue
		}
		m, err := f.start(ctx, name, settings)
		if err != nil {
			f.log.Error().Err(err).Str("worker", name).Msg("worker not started; mend its configuration and apply it again")
			f.bus.PublishEvent(ctx, wire.Event{Kind: wire.EventKindWorker, Name: name, Reason: "not started: " + err.Error(), At: time.Now().UTC()})
			continue
		}
		running[name] = m
	}
}

// member is a running worker.
type member struct {
	settings string
	cancel   context.CancelFunc
	done     chan struct{}
}

func (m *member) same(w wire.Worker) bool { return m.settings == fingerprint(w) }

func (m *member) stop() {
	m.cancel()
	<-m.done
}

func (f *Fleet) start(ctx context.Context, name string, settings wire.Worker) (*member, error) {
	provider, local, err := f.provider(name, settings)
	if err != nil {
		return nil, err
	}
	conn, err := f.bus.Connect(ctx, "worker "+name)
	if err != nil {
		return nil, err
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m := &member{settings: fingerprint(settings), cancel: cancel, done: make(chan struct{})}
	cfg := worker.Config{
		Name: name, Instance: f.cfg.Instance, Settings: settings, Local: local, Drain: f.cfg.Drain, Metrics: f.cfg.Metrics,
	}
	go func() {
		defer close(m.done)
		defer conn.Close()
		for own.Err() == nil {
			if err := worker.New(cfg, conn, provider, f.log).Run(own); err != nil {
				f.log.Error().Err(err).Str("worker", name).Msg("worker failed, starting it again")
				select {
				case <-own.Done():
				case <-time.After(time.Second):
				}
			}
		}
	}()
	return m, nil
}

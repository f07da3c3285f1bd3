package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// Config says which broker to use and how.
type Config struct {
	// URL of a remote broker; empty runs one inside the process.
	URL string `env:"UNDERSTUDY_NATS_URL"`
	// Listen is where the embedded broker listens, so that any NATS client can
	// connect; "none" keeps it inside the process.
	Listen string `env:"UNDERSTUDY_NATS_LISTEN" envDefault:"127.0.0.1:4222"`
	// Token that clients of the embedded broker must present; needed when it
	// listens beyond loopback.
	Token string `env:"UNDERSTUDY_NATS_TOKEN,unset"`
	// Creds is a credentials file for a remote broker.
	Creds string `env:"UNDERSTUDY_NATS_CREDS"`
	// MonitorURL is the remote broker's monitoring address, used to check that
	// it writes durably: http://host:8222.
	MonitorURL string `env:"UNDERSTUDY_NATS_MONITOR_URL"`
	// Replicas of every stream and bucket on a remote cluster.
	Replicas int `env:"UNDERSTUDY_NATS_REPLICAS" envDefault:"1"`
	// DataDir is where the embedded broker keeps its streams.
	DataDir string `env:"UNDERSTUDY_DATA_DIR" envDefault:"./data"`
	// MaxPayload is the largest message of the embedded broker, in bytes.
	MaxPayload int32 `env:"UNDERSTUDY_NATS_MAX_PAYLOAD" envDefault:"1048576"`
	// Relaxed turns fsync off in the embedded broker. It exists to show what
	// is lost without it.
	Relaxed bool `env:"-"`
	// Name is how this connection shows up at the broker.
	Name string `env:"-"`
}

// Bus is a connection to the broker. It is safe for concurrent use.
type Bus struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	log      zerolog.Logger
	server   *server.Server // nil when remote
	replicas int
	cfg      Config
	closed   chan struct{}

	mu      sync.Mutex
	buckets map[string]jetstream.KeyValue
	streams map[string]jetstream.Stream
}

// Open starts the embedded broker or connects to a remote one, and creates
// what exists once: RETRIES, DEADLETTERS, EVENTS and the buckets. A remote
// broker may come up later than this process: Open waits for it until ctx ends.
// A broker that is too old, or that does not write durably, is reported in the
// log.
func Open(ctx context.Context, cfg Config, log zerolog.Logger) (*Bus, error) {
	b := &Bus{
		log: log, replicas: max(cfg.Replicas, 1), cfg: cfg, closed: make(chan struct{}),
		buckets: map[string]jetstream.KeyValue{}, streams: map[string]jetstream.Stream{},
	}
	var err error
	if cfg.URL == "" {
		if b.server, err = startServer(cfg, log); err != nil {
			return nil, err
		}
	}
	if err := b.connect(ctx, cfg); err != nil {
		b.stopServer()
		return nil, err
	}
	if err := b.prepare(ctx, cfg); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// Connect returns a second connection to the same broker, for a part of the
// process that must be able to end on its own. Closing it leaves the broker
// running.
func (b *Bus) Connect(ctx context.Context, name string) (*Bus, error) {
	c := &Bus{
		log: b.log, replicas: b.replicas, cfg: b.cfg, closed: make(chan struct{}),
		buckets: map[string]jetstream.KeyValue{}, streams: map[string]jetstream.Stream{},
	}
	var err error
	if c.nc, err = b.dial(c.options(name)); err != nil {
		return nil, fmt.Errorf("connect %s: %w", name, err)
	}
	if c.js, err = jetstream.New(c.nc); err != nil {
		c.nc.Close()
		return nil, err
	}
	return c, nil
}

func (b *Bus) options(name string) []nats.Option {
	return []nats.Option{
		nats.Name(name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.RetryOnFailedConnect(true),
		nats.ClosedHandler(func(*nats.Conn) { close(b.closed) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				b.log.Warn().Err(err).Msg("broker connection lost, reconnecting")
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			b.log.Info().Str("url", nc.ConnectedUrlRedacted()).Msg("broker connection restored")
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			e := b.log.Warn().Err(err)
			if sub != nil {
				e = e.Str("subject", sub.Subject)
			}
			e.Msg("broker")
		}),
	}
}

func (b *Bus) connect(ctx context.Context, cfg Config) (err error) {
	if b.nc, err = b.dial(b.options(cfg.Name)); err != nil {
		return fmt.Errorf("connect to broker: %w", err)
	}
	b.js, err = jetstream.New(b.nc)
	if err != nil {
		return fmt.Errorf("open jetstream: %w", err)
	}
	return b.await(ctx)
}

// dial connects to the broker that this Bus was opened for.
func (b *Bus) dial(opts []nats.Option) (*nats.Conn, error) {
	if b.cfg.Token != "" {
		opts = append(opts, nats.Token(b.cfg.Token))
	}
	if b.server != nil {
		return nats.Connect("", append(opts, nats.InProcessServer(b.server))...)
	}
	if b.cfg.Creds != "" {
		opts = append(opts, nats.UserCredentials(b.cfg.Creds))
	}
	return nats.Connect(b.cfg.URL, opts...)
}

// await blocks until JetStream answers.
func (b *Bus) await(ctx context.Context) error {
	for warned := false; ; {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := b.js.AccountInfo(try)
		cancel()
		if err == nil {
			return nil
		}
		if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
			return fmt.Errorf("broker %s: %w", b.nc.ConnectedUrlRedacted(), err)
		}
		if !warned {
			b.log.Warn().Err(err).Msg("waiting for the broker")
			warned = true
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for broker: %w", errors.Join(ctx.Err(), err))
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// Close flushes and closes the connection, and stops the embedded broker when
// this Bus started it. It returns when both are down.
func (b *Bus) Close() {
	if b.nc.IsConnected() {
		if err := b.nc.Drain(); err == nil {
			<-b.closed // Drain returns at once; the handler tells when it is over
		}
	}
	b.nc.Close()
	b.stopServer()
}

// Connected says whether the broker is reachable now.
func (b *Bus) Connected() bool { return b.nc.IsConnected() }

// ClientURL is where other NATS clients can connect; empty when the embedded
// broker does not listen.
func (b *Bus) ClientURL() string {
	if b.server != nil {
		return listenURL(b.server)
	}
	return b.nc.ConnectedUrlRedacted()
}

// MaxPayload is the largest message the broker takes, in bytes.
func (b *Bus) MaxPayload() int64 { return b.nc.MaxPayload() }

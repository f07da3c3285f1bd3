package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

// Gateway is the front door. It is safe for concurrent use.
type Gateway struct {
	config    Config
	keys      keyring
	bus       *bus.Bus
	log       zerolog.Logger
	registry  *prometheus.Registry
	metrics   *metrics
	directory *directory
	inbox     *inbox
	staff     *staff
	asks      *crew
	cancels   *crew
	bodies    sync.Pool
	pace      pace
	started   time.Time
	listener  net.Listener
	handler   http.Handler
}

// New opens the gateway's address; callers that come before Run wait there. It
// registers its metrics with the registry, which /metrics then shows. Settings
// that are wrong or unsafe are an error that names them.
func New(config Config, b *bus.Bus, log zerolog.Logger, registry *prometheus.Registry) (*Gateway, error) {
	config, err := config.complete(b)
	if err != nil {
		return nil, err
	}
	keys, err := readKeys(config.APIKeysFile)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(registry)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	g := &Gateway{
		config: config, keys: keys, bus: b, log: log, registry: registry, metrics: m,
		directory: newDirectory(), inbox: newInbox(b.NewInbox()), staff: newStaff(), asks: newCrew(maxAsks), cancels: newCrew(maxCancels),
		bodies: sync.Pool{New: func() any { return new(bytes.Buffer) }},
		pace:   usualPace(), started: time.Now(),
	}
	g.handler = g.routes()
	if g.listener, err = net.Listen("tcp", config.Addr); err != nil {
		return nil, fmt.Errorf("UNDERSTUDY_HTTP_ADDR: %w", err)
	}
	return g, nil
}

// Addr is where the gateway listens.
func (g *Gateway) Addr() net.Addr { return g.listener.Addr() }

// Handler serves the gateway's HTTP. Requests are answered while Run runs.
func (g *Gateway) Handler() http.Handler { return g.handler }

func (g *Gateway) routes() http.Handler {
	mux := http.NewServeMux()
	known := map[string]string{}
	add := func(method, path string, level zerolog.Level, open bool, h handler) {
		mux.Handle(method+" "+path, g.serve(level, open, h))
		if known[path] != "" {
			method = known[path] + ", " + method
		}
		known[path] = method
	}
	add(http.MethodPost, "/v1/chat/completions", zerolog.InfoLevel, false, g.complete)
	add(http.MethodPost, "/v1/async/chat/completions", zerolog.InfoLevel, false, g.accept)
	add(http.MethodGet, "/v1/requests/{id}", zerolog.InfoLevel, false, g.lookUp)
	add(http.MethodDelete, "/v1/requests/{id}", zerolog.InfoLevel, false, g.takeBack)
	add(http.MethodPost, "/v1/requests/{id}/cancel", zerolog.InfoLevel, false, g.takeBack)
	add(http.MethodGet, "/v1/models", zerolog.InfoLevel, false, g.listModels)
	add(http.MethodGet, "/v1/models/{id...}", zerolog.InfoLevel, false, g.showModel)
	add(http.MethodGet, "/v1/workers", zerolog.DebugLevel, false, g.listWorkers)
	add(http.MethodGet, "/healthz", zerolog.DebugLevel, true, g.alive)
	add(http.MethodGet, "/readyz", zerolog.DebugLevel, true, g.ready)
	scrape := promhttp.HandlerFor(g.registry, promhttp.HandlerOpts{})
	add(http.MethodGet, "/metrics", zerolog.DebugLevel, true, func(x *exchange, r *http.Request) { scrape.ServeHTTP(x, r) })
	for path, methods := range known {
		mux.Handle(path, g.serve(zerolog.InfoLevel, false, wrongMethod(methods)))
	}
	mux.Handle("/", g.serve(zerolog.InfoLevel, false, func(x *exchange, r *http.Request) {
		x.fail(notFound("unknown_url", "there is nothing at %s %s", r.Method, r.URL.Path))
	}))
	return mux
}

func wrongMethod(allowed string) handler {
	return func(x *exchange, r *http.Request) {
		x.Header().Set("Allow", allowed)
		f := invalid("", "method_not_allowed", "%s takes %s, not %s", r.URL.Path, allowed, r.Method)
		f.Status = http.StatusMethodNotAllowed
		x.fail(f)
	}
}

// Run serves until ctx ends, then takes nothing new, lets requests in flight
// finish for as long as Config.Drain, and returns nil. Requests that are still
// waited for then go on in their queues; their callers are told so.
func (g *Gateway) Run(ctx context.Context) error {
	defer g.listener.Close()
	// In-flight work outlives ctx by the time to drain.
	base, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	closeInbox, err := g.bus.Listen(g.inbox.address("*"), "", g.inbox.receive)
	if err != nil {
		return err
	}
	defer closeInbox()
	closeHealth, err := g.bus.Listen(wire.SubjectsHealth, "", g.staff.hear)
	if err != nil {
		return err
	}
	defer closeHealth()
	if err := g.directory.read(ctx, g.bus); err != nil && ctx.Err() == nil {
		g.log.Warn().Err(err).Msg("routes not read yet")
	}
	var following sync.WaitGroup
	following.Go(func() { g.directory.follow(base, g.bus, g.pace.refresh, g.log) })
	defer following.Wait()
	defer stop(nil)
	closeSubjects, err := g.openSubjects(base)
	if err != nil {
		return err
	}
	server := g.server(base)
	served := make(chan error, 1)
	go func() { served <- server.Serve(g.listener) }()
	g.log.Info().Str("addr", g.Addr().String()).Msg("gateway serves")

	select {
	case err = <-served:
		err = fmt.Errorf("serve http: %w", err)
		served <- nil
	case <-ctx.Done():
	}
	closeSubjects()
	g.drain(server, stop)
	if end := <-served; err == nil && end != nil && !errors.Is(end, http.ErrServerClosed) {
		err = fmt.Errorf("serve http: %w", end)
	}
	return err
}

func (g *Gateway) server(base context.Context) *http.Server {
	return &http.Server{
		Handler: g.handler, BaseContext: func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 120 * time.Second, MaxHeaderBytes: 64 << 10,
		// The least for any response; longer ones extend it as they go.
		WriteTimeout: g.pace.transfer,
		ErrorLog:     stdlog.New(g.log, "", 0),
	}
}

// openSubjects takes asks and cancellations over NATS until closed.
func (g *Gateway) openSubjects(ctx context.Context) (closeSubjects func(), err error) {
	closeAsks, err := g.bus.Listen(wire.AskSubject("*"), "gateway", func(m bus.Message) { g.heardAsk(ctx, m) })
	if err != nil {
		return nil, err
	}
	closeCancels, err := g.bus.Listen(wire.SubjectsCancel, "gateway", func(m bus.Message) {
		if m.Header.Get(wire.HeaderGateway) == g.inbox.subject {
			return
		}
		if !g.cancels.try(func() { g.heardCancel(ctx, m) }) {
			g.log.Warn().Str("subject", m.Subject).Msg("too many cancellations at once, one is left to the workers")
		}
	})
	if err != nil {
		closeAsks()
		return nil, err
	}
	return func() { closeAsks(); closeCancels() }, nil
}

// drain lets what is in flight finish, up to the time set for it.
func (g *Gateway) drain(server *http.Server, stop context.CancelCauseFunc) {
	g.log.Info().Dur("limit_ms", g.config.Drain).Msg("gateway drains")
	limit := time.AfterFunc(g.config.Drain, func() { stop(errStopping) })
	defer limit.Stop()
	// Callers that do not even take their apology are cut off.
	ctx, cancel := context.WithTimeout(context.Background(), g.config.Drain+5*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		g.log.Warn().Err(err).Msg("connections cut")
		_ = server.Close()
	}
	g.asks.finish()
	g.cancels.finish()
}

// Package standalone assembles Understudy: any choice of its services in one
// process, on the embedded broker or on a remote one.
package standalone

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"

	"understudy/pkg/app"
	"understudy/pkg/bus"
	"understudy/pkg/config"
	"understudy/pkg/fleet"
	"understudy/pkg/gateway"
	"understudy/pkg/supervisor"
	"understudy/pkg/wire"
	"understudy/pkg/worker"
)

// Service names a part of the product that can run alone.
type Service string

// The services.
const (
	Gateway    Service = "gateway"
	Supervisor Service = "supervisor"
	Workers    Service = "workers"
	OpenAI     Service = "openai-worker"
	Rules      Service = "rules-worker"
	// Broker runs the embedded broker and nothing else.
	Broker Service = "broker"
)

// All is what a whole product runs.
var All = []Service{Supervisor, Workers, Gateway}

// ParseServices reads names of services; none means all.
func ParseServices(names []string) ([]Service, error) {
	if len(names) == 0 {
		return All, nil
	}
	known := []Service{Broker, Supervisor, Workers, OpenAI, Rules, Gateway}
	var chosen []Service
	for _, name := range names {
		s := Service(strings.TrimSpace(name))
		if !slices.Contains(known, s) {
			return nil, fmt.Errorf("service %q: want one or more of %v", name, known)
		}
		chosen = append(chosen, s)
	}
	return chosen, nil
}

// Config is what the process itself needs to know.
type Config struct {
	// File is the configuration file; when it is not set, ./understudy.yaml is
	// used if it is there, else what the environment offers.
	File string `env:"UNDERSTUDY_CONFIG"`
	// Services to run, where the program does not choose them itself; empty
	// means all.
	Services []string `env:"UNDERSTUDY_SERVICES"`
	// MetricsAddr serves /metrics of services without an HTTP address of their
	// own; empty serves none. Loopback only, since it asks for no key.
	MetricsAddr string `env:"UNDERSTUDY_METRICS_ADDR"`
}

// Info says where a running product can be reached.
type Info struct {
	HTTP net.Addr // nil without a gateway
	NATS string   // empty when the embedded broker does not listen
}

// Options of Run.
type Options struct {
	// Services to run; nil means those of Config.
	Services []Service
	// Ready, if not nil, is called once when everything is up.
	Ready func(Info)
}

// Run brings the services up and runs them until ctx ends; then they stop from
// the front door inwards, so that requests in hand can finish. Settings come
// from the environment: those of bus.Config, gateway.Config, fleet.Config and
// Config.
func Run(ctx context.Context, opts Options, log zerolog.Logger) error {
	settings, err := env.ParseAs[struct {
		Own     Config
		Bus     bus.Config
		Gateway gateway.Config
		Fleet   fleet.Config
	}]()
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if opts.Services == nil {
		if opts.Services, err = ParseServices(settings.Own.Services); err != nil {
			return fmt.Errorf("UNDERSTUDY_SERVICES: %w", err)
		}
	}
	settings.Bus.Name = "understudy"
	b, err := bus.Open(ctx, settings.Bus, log)
	if err != nil {
		return err
	}
	defer b.Close()

	parts, err := configure(ctx, settings.Own, settings.Bus.URL == "", b, log)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	settings.Fleet.Lookup = os.LookupEnv
	settings.Fleet.Metrics = worker.NewMetrics(registry)
	info := Info{NATS: b.ClientURL()}
	for _, s := range opts.Services {
		part := app.Part{Name: string(s)}
		switch s {
		case Broker:
			continue // it is up already
		case Supervisor:
			part.Run = supervisor.New(supervisor.Config{Instance: fleet.InstanceName(), Metrics: supervisor.NewMetrics(registry)}, b, log).Run
		case Workers, OpenAI, Rules:
			part.Run = fleet.New(ofKind(settings.Fleet, s), b, log).Run
		case Gateway:
			conn, err := b.Connect(ctx, "gateway")
			if err != nil {
				return err
			}
			defer conn.Close()
			g, err := gateway.New(settings.Gateway, conn, log, registry)
			if err != nil {
				return err
			}
			part.Run, info.HTTP = g.Run, g.Addr()
		}
		parts = append(parts, part)
	}
	if settings.Own.MetricsAddr != "" {
		serve, err := app.ServeMetrics(settings.Own.MetricsAddr, registry)
		if err != nil {
			return err
		}
		parts = append(parts, app.Part{Name: "metrics", Run: serve})
	}
	announce(log, info, opts)
	return app.RunParts(ctx, parts...)
}

func ofKind(cfg fleet.Config, s Service) fleet.Config {
	switch s {
	case OpenAI:
		cfg.Kinds = []wire.WorkerKind{wire.WorkerKindOpenai}
	case Rules:
		cfg.Kinds = []wire.WorkerKind{wire.WorkerKindRules}
	}
	return cfg
}

func announce(log zerolog.Logger, info Info, opts Options) {
	e := log.Info().Any("services", opts.Services)
	if info.HTTP != nil {
		e = e.Str("http", "http://"+info.HTTP.String())
	}
	e.Str("nats", info.NATS).Msg("understudy is up")
	if opts.Ready != nil {
		opts.Ready(info)
	}
}

const defaultFile = "understudy.yaml"

// configure applies the configuration and returns the part that follows its
// file. With a file that is the file; without one it is what the environment
// offers, unless a file was applied by hand to this broker before. A process on
// a remote broker without a file takes the running configuration as it is.
func configure(ctx context.Context, own Config, embedded bool, b *bus.Bus, log zerolog.Logger) ([]app.Part, error) {
	file := own.File
	if _, err := os.Stat(defaultFile); file == "" && embedded && err == nil {
		file = defaultFile
	} else if file == "" && err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if file != "" {
		cfg, err := config.Load(file)
		if err != nil {
			return nil, err
		}
		if err := apply(ctx, b, cfg, file, log); err != nil {
			return nil, err
		}
		return []app.Part{followFile(file, b, log)}, nil
	}
	if !embedded {
		return nil, nil
	}
	source, err := b.ConfigSource(ctx)
	if err != nil {
		return nil, err
	}
	if source != "" && source != sourceEnvironment {
		log.Info().Str("source", source).Msg("the configuration applied earlier stands")
		return nil, nil
	}
	cfg, notes := config.Default(ctx, os.LookupEnv, config.ProbeHTTP)
	for _, note := range notes {
		log.Info().Msg(note)
	}
	return nil, apply(ctx, b, cfg, sourceEnvironment, log)
}

const sourceEnvironment = "environment"

func apply(ctx context.Context, b *bus.Bus, cfg wire.Config, source string, log zerolog.Logger) error {
	report, err := config.Apply(ctx, b, cfg)
	if err != nil {
		return fmt.Errorf("apply %s: %w", source, err)
	}
	for _, line := range report.Lines() {
		log.Info().Str("source", source).Msg(line)
	}
	return b.SetConfigSource(ctx, source)
}

// followFile applies the file again whenever it changes. A faulty one is
// reported, and the last good one stands.
func followFile(file string, b *bus.Bus, log zerolog.Logger) app.Part {
	return app.Part{Name: "configuration", Run: func(ctx context.Context) error {
		return config.Watch(ctx, file, func(cfg wire.Config) {
			applying, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			if err := apply(applying, b, cfg, file, log); err != nil {
				log.Error().Err(err).Msg("configuration not applied, the last one stands")
			}
		}, func(err error) {
			log.Error().Err(err).Msg("configuration is faulty, the last good one stands")
		})
	}}
}

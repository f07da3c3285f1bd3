package app

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/rs/zerolog"
)

// LogConfig says what is logged and how.
type LogConfig struct {
	// Level is the least level logged: debug, info, warn, error.
	Level string `env:"UNDERSTUDY_LOG_LEVEL" envDefault:"info"`
	// Format is json, text, or auto: text on a terminal, json elsewhere.
	Format string `env:"UNDERSTUDY_LOG_FORMAT" envDefault:"auto"`
}

// NewLogger returns a logger that writes to w.
func NewLogger(cfg LogConfig, w *os.File) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(cfg.Level)
	if err != nil {
		return zerolog.Logger{}, fmt.Errorf("UNDERSTUDY_LOG_LEVEL %q: want debug, info, warn or error", cfg.Level)
	}
	var out io.Writer = w
	switch info, err := w.Stat(); {
	case cfg.Format != "auto" && cfg.Format != "json" && cfg.Format != "text":
		return zerolog.Logger{}, fmt.Errorf("UNDERSTUDY_LOG_FORMAT %q: want auto, json or text", cfg.Format)
	case cfg.Format == "text", cfg.Format == "auto" && err == nil && info.Mode()&os.ModeCharDevice != 0:
		out = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly}
	}
	return zerolog.New(out).Level(level).With().Timestamp().Logger(), nil
}

// Main runs a service until it ends or the process is told to stop (SIGINT,
// SIGTERM), and exits: 0 when it stopped as told, 1 otherwise. A second signal
// ends the process at once.
func Main(name string, run func(ctx context.Context, log zerolog.Logger) error) {
	os.Exit(exitCode(name, run))
}

func exitCode(name string, run func(ctx context.Context, log zerolog.Logger) error) int {
	cfg, err := env.ParseAs[LogConfig]()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	log, err := NewLogger(cfg, os.Stderr)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	ctx, stop := SignalContext(log)
	defer stop()
	if err := run(ctx, log); err != nil {
		log.Error().Err(err).Msg(name + " ended")
		return 1
	}
	return 0
}

// SignalContext returns a context that ends on SIGINT or SIGTERM.
func SignalContext(log zerolog.Logger) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		stop() // from here on a second signal ends the process
		log.Info().Msg("stopping; requests in hand finish first")
	})
	return ctx, stop
}

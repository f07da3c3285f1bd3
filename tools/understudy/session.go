package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/rs/zerolog"

	"understudy/pkg/bus"
)

const (
	defaultURL = "nats://127.0.0.1:4222"
	// dialPatience is how long a broker may take to accept a connection.
	dialPatience = 3 * time.Second
	// openPatience is how long it may take to let us in.
	openPatience = 20 * time.Second
)

// session is one run of a command: its streams, its way of printing, and the
// connection to the broker.
type session struct {
	ctx  context.Context
	in   io.Reader
	out  io.Writer
	errs io.Writer
	json bool
}

// usageError is a mistake on the command line that only the command noticed.
type usageError struct{ message string }

func (e usageError) Error() string { return e.message }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// finish says what went wrong and returns the exit code.
func (s *session) finish(err error) int {
	usage := usageError{}
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errUnwell):
		return exitError
	case errors.As(err, &usage):
		fmt.Fprintln(s.errs, "understudy:", usage.message)
		return exitUsage
	case errors.Is(err, context.Canceled) && s.ctx.Err() != nil:
		fmt.Fprintln(s.errs, "understudy: interrupted")
		return exitError
	}
	fmt.Fprintln(s.errs, "understudy:", err)
	return exitError
}

// settings reads how to reach the broker.
func settings() (bus.Config, error) {
	cfg, err := env.ParseAs[bus.Config]()
	if err != nil {
		return cfg, err
	}
	if cfg.URL == "" {
		cfg.URL = defaultURL
	}
	cfg.Name = "understudy"
	return cfg, nil
}

// open connects to the broker. The caller closes it.
func (s *session) open(cfg bus.Config) (*bus.Bus, error) {
	if err := reach(s.ctx, cfg.URL); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, openPatience)
	defer cancel()
	log := &heldLog{to: s.errs}
	b, err := bus.Open(ctx, cfg, zerolog.New(zerolog.ConsoleWriter{Out: log, NoColor: true, TimeFormat: time.TimeOnly}).Level(zerolog.WarnLevel).With().Timestamp().Logger())
	log.release(err != nil && s.ctx.Err() == nil)
	if err != nil {
		if s.ctx.Err() != nil {
			return nil, s.ctx.Err()
		}
		return nil, fmt.Errorf("the broker at %s answers but does not let us work: check UNDERSTUDY_NATS_TOKEN or UNDERSTUDY_NATS_CREDS, and that JetStream is on: %w", redacted(cfg.URL), err)
	}
	return b, nil
}

// withBus runs do with a connection to the broker.
func (s *session) withBus(do func(*bus.Bus) error) error {
	cfg, err := settings()
	if err != nil {
		return err
	}
	b, err := s.open(cfg)
	if err != nil {
		return err
	}
	defer b.Close()
	return do(b)
}

// reach says whether any of the broker's addresses accepts a connection, since
// a client that waits for its broker does not say that it waits.
func reach(ctx context.Context, urls string) error {
	ctx, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	var causes []error
	for one := range strings.SplitSeq(urls, ",") {
		address, err := hostPort(strings.TrimSpace(one))
		if err != nil {
			return usagef("UNDERSTUDY_NATS_URL %q: want nats://host:port", redacted(urls))
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		causes = append(causes, err)
	}
	return fmt.Errorf("no broker at %s: start one with `understudy up`, or set UNDERSTUDY_NATS_URL to where it listens (%w)", redacted(urls), errors.Join(causes...))
}

func hostPort(one string) (string, error) {
	if !strings.Contains(one, "://") {
		one = "nats://" + one
	}
	u, err := url.Parse(one)
	if err != nil || u.Hostname() == "" {
		return "", errors.New("no host")
	}
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "ws":
		port = "80"
	case u.Scheme == "wss":
		port = "443"
	default:
		port = "4222"
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

// redacted hides what may be secret in a list of addresses.
func redacted(urls string) string {
	var safe []string
	for one := range strings.SplitSeq(urls, ",") {
		if at := strings.LastIndex(one, "@"); at >= 0 {
			scheme, _, ok := strings.Cut(one, "://")
			if one = "***" + one[at:]; ok {
				one = scheme + "://" + one
			}
		}
		safe = append(safe, one)
	}
	return strings.Join(safe, ",")
}

// heldLog keeps what the bus says while it opens: its checks are for doctor.
// Once released it passes everything on.
type heldLog struct {
	mu       sync.Mutex
	to       io.Writer
	held     bytes.Buffer
	released bool
}

// Write keeps or passes on one line.
func (l *heldLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.released {
		return l.held.Write(p)
	}
	return l.to.Write(p)
}

// release ends the holding; tell prints what was held.
func (l *heldLog) release(tell bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released = true
	if tell {
		_, _ = l.held.WriteTo(l.to)
	}
}

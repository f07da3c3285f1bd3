package bus

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

// startServer runs a broker inside this process. It syncs every write to disk
// before it acknowledges, which is what the promise rests on.
func startServer(cfg Config, log zerolog.Logger) (*server.Server, error) {
	opts := &server.Options{
		ServerName: "understudy",
		DontListen: true,
		NoSigs:     true,
		JetStream:  true,
		StoreDir:   filepath.Join(cfg.DataDir, "nats"),
		SyncAlways: !cfg.Relaxed,
		MaxPayload: cfg.MaxPayload,
		// Streams carry limits of their own.
		JetStreamMaxMemory: 1 << 40,
		JetStreamMaxStore:  1 << 50,
		Authorization:      cfg.Token,
	}
	if cfg.Listen != "" && cfg.Listen != "none" {
		if err := listen(opts, cfg); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(opts.StoreDir, 0o700); err != nil {
		return nil, fmt.Errorf("create UNDERSTUDY_DATA_DIR: %w", err)
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	problem := &serverLog{log: log.With().Str("part", "broker").Logger(), fatal: make(chan string, 1)}
	s.SetLoggerV2(problem, false, false, false)
	go s.Start()
	if err := ready(s, problem.fatal); err != nil {
		s.Shutdown()
		return nil, err
	}
	return s, nil
}

// listen opens the embedded broker to other processes. Beyond loopback it
// insists on a token.
func listen(opts *server.Options, cfg Config) error {
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return fmt.Errorf("UNDERSTUDY_NATS_LISTEN %q: want host:port or none: %w", cfg.Listen, err)
	}
	if opts.Port, err = strconv.Atoi(port); err != nil {
		return fmt.Errorf("UNDERSTUDY_NATS_LISTEN %q: the port is not a number", cfg.Listen)
	}
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && cfg.Token == "" {
		return fmt.Errorf("UNDERSTUDY_NATS_LISTEN %q is reachable from other machines: set UNDERSTUDY_NATS_TOKEN, or listen on 127.0.0.1", cfg.Listen)
	}
	opts.Host, opts.DontListen = host, false
	return nil
}

// ready waits until the broker serves. Its start has no error to return; a
// fatal line in its log is how it says that a port is taken.
func ready(s *server.Server, fatal <-chan string) error {
	deadline := time.Now().Add(60 * time.Second)
	for !s.ReadyForConnections(50 * time.Millisecond) {
		select {
		case line := <-fatal:
			return fmt.Errorf("embedded broker: %s", line)
		default:
		}
		if time.Now().After(deadline) {
			return errors.New("embedded broker: not ready within 60s")
		}
	}
	return nil
}

func (b *Bus) stopServer() {
	if b.server == nil {
		return
	}
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

func listenURL(s *server.Server) string {
	if addr, ok := s.Addr().(*net.TCPAddr); ok && addr != nil {
		return "nats://" + addr.String()
	}
	return ""
}

// serverLog passes the broker's own log on. Its notices are about itself and
// go to debug.
type serverLog struct {
	log   zerolog.Logger
	fatal chan string
}

func (l *serverLog) Noticef(format string, v ...any) { l.log.Debug().Msgf(format, v...) }
func (l *serverLog) Warnf(format string, v ...any)   { l.log.Warn().Msgf(format, v...) }
func (l *serverLog) Errorf(format string, v ...any)  { l.log.Error().Msgf(format, v...) }
func (l *serverLog) Debugf(string, ...any)           {}
func (l *serverLog) Tracef(string, ...any)           {}

func (l *serverLog) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Sprintf(format, v...):
	default:
	}
}

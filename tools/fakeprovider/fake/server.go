package fake

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Server is a Provider that serves on a listener of its own.
type Server struct {
	*Provider
	listener net.Listener
	http     *http.Server
	served   chan struct{} // closed when the listener is
}

// Start serves a new provider on addr, ":0" for a free port of the loopback
// interface. It returns once the port is open. The caller must Close the
// server.
func Start(addr string, options Options) (*Server, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("start fake provider: %w", err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("start fake provider: %w", err)
	}
	provider := New(options)
	s := &Server{
		Provider: provider,
		listener: listener,
		http:     &http.Server{Handler: provider, ReadHeaderTimeout: 10 * time.Second},
		served:   make(chan struct{}),
	}
	go func() {
		defer close(s.served)
		_ = s.http.Serve(listener) // ends when the server closes, as it should
	}()
	return s, nil
}

// Addr returns the address it listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL returns where it is reached, without a slash at the end. The API begins
// at URL() + "/v1".
func (s *Server) URL() string { return "http://" + s.Addr() }

// Shutdown takes no more calls and waits for those in flight until ctx ends,
// then closes.
func (s *Server) Shutdown(ctx context.Context) {
	_ = s.http.Shutdown(ctx) // what did not finish in time is dropped
	s.Close()
}

// Close stops listening and drops all calls, those that hang included. It
// returns when they have ended, and may be called more than once.
func (s *Server) Close() {
	s.Provider.Close()
	_ = s.http.Close() // an error would say that it is closed already
	<-s.served
	_ = s.Wait(context.Background(), func(now Stats) bool { return now.InFlight == 0 })
}

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/rs/zerolog"

	"understudy/pkg/standalone"
)

// launcher starts whole products in this process, each on an embedded broker,
// free ports and a data folder of its own. They take their settings from the
// environment, so one starts at a time; the zero value is ready.
type launcher struct{ starting sync.Mutex }

// product is one that is up.
type product struct {
	url, nats string
	stop      func() error
}

func (l *launcher) start(ctx context.Context, configuration string, log zerolog.Logger) (*product, error) {
	l.starting.Lock()
	defer l.starting.Unlock()
	dir, err := os.MkdirTemp("", "understudy-faults-")
	if err != nil {
		return nil, err
	}
	if err := settle(dir, configuration); err != nil {
		return nil, err
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	up, ended := make(chan standalone.Info, 1), make(chan error, 1)
	go func() {
		ended <- standalone.Run(own, standalone.Options{Ready: func(i standalone.Info) { up <- i }}, log)
	}()
	stop := func() error {
		cancel()
		err := <-ended
		_ = os.RemoveAll(dir)
		return err
	}
	select {
	case info := <-up:
		return &product{url: "http://" + info.HTTP.String(), nats: info.NATS, stop: stop}, nil
	case err := <-ended:
		cancel()
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("start product: %w", err)
	}
}

// settle writes the configuration and points the environment at it.
func settle(dir, configuration string) error {
	file := filepath.Join(dir, "understudy.yaml")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		return err
	}
	for name, value := range map[string]string{
		"UNDERSTUDY_CONFIG": file, "UNDERSTUDY_DATA_DIR": filepath.Join(dir, "data"), "UNDERSTUDY_SERVICES": "",
		"UNDERSTUDY_HTTP_ADDR": "127.0.0.1:0", "UNDERSTUDY_HTTP_DRAIN": "2s", "UNDERSTUDY_WORKER_DRAIN": "1s",
		"UNDERSTUDY_NATS_LISTEN": "127.0.0.1:0", "UNDERSTUDY_NATS_URL": "",
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"os"

	"github.com/caarlos0/env/v11"

	"understudy/pkg/app"
	"understudy/pkg/standalone"
)

// UpCmd brings the product up in this process.
type UpCmd struct {
	Services []string `env:"UNDERSTUDY_SERVICES" placeholder:"NAME" help:"Run only these, comma-separated: supervisor, workers, openai-worker, rules-worker, gateway, broker. Default: all."`
}

// Run serves until the process is told to stop.
func (c UpCmd) Run(s *session) error {
	services, err := standalone.ParseServices(c.Services)
	if err != nil {
		return err
	}
	cfg, err := env.ParseAs[app.LogConfig]()
	if err != nil {
		return err
	}
	log, err := app.NewLogger(cfg, os.Stderr)
	if err != nil {
		return err
	}
	return standalone.Run(s.ctx, standalone.Options{Services: services}, log)
}

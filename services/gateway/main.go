// Command gateway is the front door: HTTP, and request and reply over NATS.
package main

import (
	"context"

	"github.com/rs/zerolog"

	"understudy/pkg/app"
	"understudy/pkg/standalone"
)

func main() {
	app.Main("gateway", func(ctx context.Context, log zerolog.Logger) error {
		return standalone.Run(ctx, standalone.Options{Services: []standalone.Service{standalone.Gateway}}, log)
	})
}

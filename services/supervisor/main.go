// Command supervisor decides who owns which lane.
package main

import (
	"context"

	"github.com/rs/zerolog"

	"understudy/pkg/app"
	"understudy/pkg/standalone"
)

func main() {
	app.Main("supervisor", func(ctx context.Context, log zerolog.Logger) error {
		return standalone.Run(ctx, standalone.Options{Services: []standalone.Service{standalone.Supervisor}}, log)
	})
}

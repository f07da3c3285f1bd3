// Command rules-worker answers from rules, without any model.
package main

import (
	"context"

	"github.com/rs/zerolog"

	"understudy/pkg/app"
	"understudy/pkg/standalone"
)

func main() {
	app.Main("rules-worker", func(ctx context.Context, log zerolog.Logger) error {
		return standalone.Run(ctx, standalone.Options{Services: []standalone.Service{standalone.Rules}}, log)
	})
}

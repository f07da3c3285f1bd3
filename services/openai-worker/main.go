// Command openai-worker runs the workers of OpenAI-compatible providers.
package main

import (
	"context"

	"github.com/rs/zerolog"

	"understudy/pkg/app"
	"understudy/pkg/standalone"
)

func main() {
	app.Main("openai-worker", func(ctx context.Context, log zerolog.Logger) error {
		return standalone.Run(ctx, standalone.Options{Services: []standalone.Service{standalone.OpenAI}}, log)
	})
}

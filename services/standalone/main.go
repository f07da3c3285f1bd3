// Command standalone runs every service of Understudy in one process, or those
// that UNDERSTUDY_SERVICES lists, on the embedded broker unless
// UNDERSTUDY_NATS_URL names another.
package main

import (
	"context"

	"github.com/rs/zerolog"

	"understudy/pkg/app"
	"understudy/pkg/standalone"
)

func main() {
	app.Main("standalone", func(ctx context.Context, log zerolog.Logger) error {
		return standalone.Run(ctx, standalone.Options{}, log)
	})
}

package worker_test

import (
	"context"
	"testing"

	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/worker"
	"understudy/pkg/worker/workertest"
)

func TestEveryAcceptedRequestEndsExactlyOnce(t *testing.T) {
	workertest.Run(t, workertest.Harness{
		Run: func(ctx context.Context, cfg worker.Config, b *bus.Bus, p worker.Provider, log zerolog.Logger) error {
			return worker.New(cfg, b, p, log).Run(ctx)
		},
	})
}

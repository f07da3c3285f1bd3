package worker_test

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/worker"
	"understudy/pkg/worker/workertest"
)

func run(ctx context.Context, cfg worker.Config, b *bus.Bus, p worker.Provider, log zerolog.Logger) error {
	return worker.New(cfg, b, p, log).Run(ctx)
}

func TestEveryAcceptedRequestEndsExactlyOnce(t *testing.T) {
	workertest.Run(t, workertest.Harness{Run: run})
}

func TestEveryHedgedRequestEndsExactlyOnce(t *testing.T) {
	registry := prometheus.NewRegistry()
	workertest.Run(t, workertest.Harness{Run: run, Requests: 200, Hedge: true, Metrics: worker.NewMetrics(registry)})
	won, lost := hedges(t, registry)
	t.Logf("%v hedges won, %v lost", won, lost)
	if won+lost == 0 {
		t.Error("no request was hedged: the run showed nothing about hedging")
	}
}

// hedges reads how many hedges won and lost.
func hedges(t *testing.T, registry *prometheus.Registry) (won, lost float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "understudy_hedges_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "won" && l.GetValue() == "true" {
					won += m.GetCounter().GetValue()
				} else if l.GetName() == "won" {
					lost += m.GetCounter().GetValue()
				}
			}
		}
	}
	return won, lost
}

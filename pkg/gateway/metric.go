package gateway

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The statuses of a counted request that are no status of a result.
const (
	// rejected requests never got into a queue.
	rejected = "rejected"
	// unknown is what the gateway did not stay to see.
	unknown = "unknown"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	first    *prometheus.HistogramVec
	waiting  prometheus.Gauge
}

func newMetrics(registry *prometheus.Registry) (*metrics, error) {
	buckets := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "understudy_gateway_requests_total",
			Help: "Requests by route and how they ended: a terminal state, queued (asynchronous), rejected or unknown.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "understudy_gateway_request_seconds", Help: "Time from a request to its result.", Buckets: buckets,
		}, []string{"route"}),
		first: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "understudy_gateway_time_to_first_token_seconds", Help: "Time from a streamed request to its first output.", Buckets: buckets,
		}, []string{"route"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "understudy_gateway_waiting", Help: "Callers that wait for a result now.",
		}),
	}
	return m, errors.Join(registry.Register(m.requests), registry.Register(m.seconds), registry.Register(m.first), registry.Register(m.waiting))
}

func (m *metrics) count(route, status string, started time.Time) {
	m.requests.WithLabelValues(route, status).Inc()
	if status != rejected {
		m.seconds.WithLabelValues(route).Observe(time.Since(started).Seconds())
	}
}

func (m *metrics) firstToken(route string, started time.Time) {
	m.first.WithLabelValues(route).Observe(time.Since(started).Seconds())
}

package worker

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"understudy/pkg/wire"
)

// Metrics counts what workers do. A nil *Metrics counts nothing.
type Metrics struct {
	settledTotal *prometheus.CounterVec
	attempts     *prometheus.CounterVec
	duration     *prometheus.HistogramVec
	firstToken   *prometheus.HistogramVec
	states       *prometheus.GaugeVec
	hedges       *prometheus.CounterVec
	breakers     *prometheus.GaugeVec
}

// NewMetrics registers the workers' metrics. Names follow the OpenTelemetry
// semantic conventions for generative AI where those have one.
func NewMetrics(r prometheus.Registerer) *Metrics {
	buckets := []float64{.01, .02, .04, .08, .16, .32, .64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
	m := &Metrics{
		settledTotal: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "understudy_worker_requests_total", Help: "Requests settled, by what became of them."}, []string{"worker", "route", "outcome"}),
		attempts:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "understudy_worker_attempts_total", Help: "Provider calls, by kind of failure; none when answered."}, []string{"worker", "error_type"}),
		duration:     prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "gen_ai_client_operation_duration_seconds", Help: "Duration of provider calls.", Buckets: buckets}, []string{"gen_ai_provider_name", "error_type"}),
		firstToken:   prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "gen_ai_server_time_to_first_token_seconds", Help: "Time to the first token of provider calls.", Buckets: buckets}, []string{"gen_ai_provider_name"}),
		states:       prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "understudy_worker_state", Help: "1 for the state the instance is in."}, []string{"worker", "instance", "state"}),
		hedges:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "understudy_hedges_total", Help: "Requests that a second worker was asked for as well, by whether its answer counted."}, []string{"route", "won"}),
		breakers:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "understudy_breaker_state", Help: "1 for the state the instance's breaker is in."}, []string{"worker", "instance", "state"}),
	}
	r.MustRegister(m.settledTotal, m.attempts, m.duration, m.firstToken, m.states, m.hedges, m.breakers)
	return m
}

func (m *Metrics) settled(worker, route string, v verb) {
	if m != nil {
		m.settledTotal.WithLabelValues(worker, route, string(v)).Inc()
	}
}

func (m *Metrics) hedge(route string, won bool) {
	if m != nil {
		m.hedges.WithLabelValues(route, strconv.FormatBool(won)).Inc()
	}
}

func (m *Metrics) attempt(worker string, a wire.Attempt) {
	if m == nil {
		return
	}
	kind := string(a.Kind)
	m.attempts.WithLabelValues(worker, kind).Inc()
	m.duration.WithLabelValues(worker, kind).Observe((time.Duration(a.DurationMS) * time.Millisecond).Seconds())
	if a.FirstTokenMS > 0 {
		m.firstToken.WithLabelValues(worker).Observe((time.Duration(a.FirstTokenMS) * time.Millisecond).Seconds())
	}
}

func (m *Metrics) state(worker, instance string, now wire.HealthState) {
	if m == nil {
		return
	}
	for _, s := range []wire.HealthState{wire.HealthStateReady, wire.HealthStatePaused, wire.HealthStateOpen, wire.HealthStateDraining, wire.HealthStateStopped} {
		v := 0.0
		if s == now {
			v = 1
		}
		m.states.WithLabelValues(worker, instance, string(s)).Set(v)
	}
}

func (m *Metrics) breaker(worker, instance string, now wire.BreakerState) {
	if m == nil {
		return
	}
	for _, s := range []wire.BreakerState{wire.BreakerStateClosed, wire.BreakerStateOpen, wire.BreakerStateHalfOpen} {
		v := 0.0
		if s == now {
			v = 1
		}
		m.breakers.WithLabelValues(worker, instance, string(s)).Set(v)
	}
}

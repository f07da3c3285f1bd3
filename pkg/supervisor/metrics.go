package supervisor

import (
	"github.com/prometheus/client_golang/prometheus"

	"understudy/pkg/wire"
)

// Metrics counts what supervisors do. A nil *Metrics counts nothing.
type Metrics struct {
	leads   prometheus.Gauge
	moves   *prometheus.CounterVec
	expired *prometheus.CounterVec

	diagnoses *prometheus.GaugeVec
}

// NewMetrics registers the supervisor's metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		leads:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "understudy_supervisor_leads", Help: "1 while this supervisor leads."}),
		moves:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "understudy_supervisor_lanes_moved_total", Help: "Lanes moved, by route and new owner."}, []string{"route", "to"}),
		expired: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "understudy_supervisor_requests_expired_total", Help: "Requests whose deadline passed while nobody held them."}, []string{"route"}),

		diagnoses: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "understudy_worker_diagnosis", Help: "1 for the cause that a worker is diagnosed with; told by the leading supervisor, for workers that were unwell."}, []string{"worker", "cause"}),
	}
	r.MustRegister(m.leads, m.moves, m.expired, m.diagnoses)
	return m
}

func (m *Metrics) leading(now bool) {
	if m == nil {
		return
	}
	m.leads.Set(0)
	if now {
		m.leads.Set(1)
	}
}

func (m *Metrics) moved(route, to string) {
	if m != nil {
		m.moves.WithLabelValues(route, to).Inc()
	}
}

func (m *Metrics) expire(route string) {
	if m != nil {
		m.expired.WithLabelValues(route).Inc()
	}
}

// diagnosed sets the one cause that a worker has now.
func (m *Metrics) diagnosed(d wire.Diagnosis) {
	if m != nil {
		m.forget(d.Worker)
		m.diagnoses.WithLabelValues(d.Worker, string(d.Cause)).Set(1)
	}
}

func (m *Metrics) forget(worker string) {
	if m != nil {
		m.diagnoses.DeletePartialMatch(prometheus.Labels{"worker": worker})
	}
}

// undiagnose forgets every cause: another supervisor tells from now on.
func (m *Metrics) undiagnose() {
	if m != nil {
		m.diagnoses.Reset()
	}
}

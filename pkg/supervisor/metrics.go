package supervisor

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what supervisors do. A nil *Metrics counts nothing.
type Metrics struct {
	leads   prometheus.Gauge
	moves   *prometheus.CounterVec
	expired *prometheus.CounterVec
}

// NewMetrics registers the supervisor's metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		leads:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "understudy_supervisor_leads", Help: "1 while this supervisor leads."}),
		moves:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "understudy_supervisor_lanes_moved_total", Help: "Lanes moved, by route and new owner."}, []string{"route", "to"}),
		expired: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "understudy_supervisor_requests_expired_total", Help: "Requests whose deadline passed while nobody held them."}, []string{"route"}),
	}
	r.MustRegister(m.leads, m.moves, m.expired)
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

package supervisor

import (
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"understudy/pkg/wire"
)

// causes reads the metric of diagnoses: the cause by worker.
func causes(t *testing.T, r *prometheus.Registry) map[string]string {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, f := range families {
		if f.GetName() != "understudy_worker_diagnosis" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			found[labels["worker"]] += labels["cause"]
		}
	}
	return found
}

func TestMetricShowsOneCauseAWorkerWhileThisSupervisorLeads(t *testing.T) {
	r := prometheus.NewRegistry()
	m := NewMetrics(r)
	m.diagnosed(wire.Diagnosis{Worker: "claude", Cause: wire.CauseOutage})
	m.diagnosed(wire.Diagnosis{Worker: "claude", Cause: wire.CauseAccount})
	m.diagnosed(wire.Diagnosis{Worker: "openai", Cause: wire.CauseSlow})
	if got, want := causes(t, r), map[string]string{"claude": "account", "openai": "slow"}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	m.forget("openai")
	if got, want := causes(t, r), map[string]string{"claude": "account"}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	m.undiagnose()
	if got := causes(t, r); len(got) > 0 {
		t.Errorf("after its term: %v", got)
	}
}

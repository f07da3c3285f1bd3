package gateway

import (
	"cmp"
	"net/http"
	"slices"
	"sync"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

// reportFresh is how long an instance's report is shown: it reports every
// second.
const reportFresh = 10 * time.Second

// staff keeps the last report of every instance of every worker. It is safe for
// concurrent use.
type staff struct {
	mu      sync.Mutex
	reports map[[2]string]wire.Health // by worker and instance
}

func newStaff() *staff { return &staff{reports: map[[2]string]wire.Health{}} }

// hear takes a report. One that does not fit its schema, or its subject, is
// nobody's.
func (s *staff) hear(m bus.Message) {
	h, err := wire.Decode[wire.Health](wire.SchemaHealth, m.Body)
	if err != nil || m.Subject != wire.HealthSubject(h.Worker, h.Instance) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.State == wire.HealthStateStopped {
		delete(s.reports, [2]string{h.Worker, h.Instance})
		return
	}
	s.reports[[2]string{h.Worker, h.Instance}] = h
}

// present lists the reports that are fresh, by worker and instance.
func (s *staff) present(now time.Time) []wire.Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []wire.Health{}
	for at, h := range s.reports {
		if now.Sub(h.At) > reportFresh {
			delete(s.reports, at)
			continue
		}
		list = append(list, h)
	}
	slices.SortFunc(list, func(a, b wire.Health) int {
		return cmp.Or(cmp.Compare(a.Worker, b.Worker), cmp.Compare(a.Instance, b.Instance))
	})
	return list
}

// listWorkers serves GET /v1/workers: how each instance of each worker is, its
// breaker and why, and what is known to be wrong with its provider.
func (g *Gateway) listWorkers(x *exchange, r *http.Request) {
	diagnoses, err := g.bus.Diagnoses(r.Context())
	if err != nil {
		g.log.Warn().Err(err).Msg("diagnoses not read")
		x.fail(unavailable("broker_unreachable", "the diagnoses cannot be read at the moment"))
		return
	}
	x.json(http.StatusOK, struct {
		Object    string                    `json:"object"`
		Data      []wire.Health             `json:"data"`
		Diagnoses map[string]wire.Diagnosis `json:"diagnoses"`
	}{"list", g.staff.present(time.Now()), diagnoses})
}

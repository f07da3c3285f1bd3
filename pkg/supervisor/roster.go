package supervisor

import (
	"fmt"
	"sync"
	"time"

	"understudy/pkg/diagnosis"
	"understudy/pkg/wire"
)

const (
	// healthFresh is how long a report counts: three missed ones in a row make
	// an instance unheard of.
	healthFresh = 3500 * time.Millisecond
	// pauseBearable is how long a throttled worker keeps its lanes.
	pauseBearable = 2 * time.Second
	// forgetAfter is how long a silent instance is remembered.
	forgetAfter = time.Minute
)

// verdict is what the supervisor makes of a worker.
type verdict struct {
	healthy bool
	// unknown: not heard of yet, too early to judge.
	unknown bool
	// cutOff: the last word of every instance is that its provider was not reached.
	cutOff bool
	reason string
}

// roster keeps the last word of every instance of every worker.
type roster struct {
	mu      sync.Mutex
	began   time.Time
	reports map[string]map[string]heard // worker, instance
	changed chan struct{}
}

type heard struct {
	wire.Health
	at time.Time
}

func newRoster() *roster {
	return &roster{reports: map[string]map[string]heard{}, changed: make(chan struct{})}
}

// begin marks when listening began: before healthFresh has passed, a worker
// that was not heard of is not yet missing.
func (r *roster) begin(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began = now
}

// hear takes a report; a new state is news, and so is another probe.
func (r *roster) hear(h wire.Health, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	instances := r.reports[h.Worker]
	if instances == nil {
		instances = map[string]heard{}
		r.reports[h.Worker] = instances
	}
	before, known := instances[h.Instance]
	if h.State == wire.HealthStateStopped {
		delete(instances, h.Instance)
	} else {
		instances[h.Instance] = heard{h, now}
	}
	if !known || before.State != h.State || probedAt(before.Health) != probedAt(h) {
		close(r.changed)
		r.changed = make(chan struct{})
	}
}

func (r *roster) news() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

func probedAt(h wire.Health) time.Time {
	if h.Probe == nil {
		return time.Time{}
	}
	return h.Probe.At
}

// fresh returns the reports that count now, by worker, without instances that
// are going. While early is set, who was not heard of is not yet missing.
func (r *roster) fresh(now time.Time) (reports map[string][]wire.Health, early bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reports = map[string][]wire.Health{}
	for worker, instances := range r.reports {
		for _, h := range instances {
			if now.Sub(h.at) <= healthFresh {
				reports[worker] = append(reports[worker], h.Health)
			}
		}
	}
	return reports, now.Sub(r.began) < healthFresh
}

// judge returns a function that gives the verdict on any worker as of now.
func (r *roster) judge(now time.Time) func(worker string) verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	verdicts := map[string]verdict{}
	for worker, instances := range r.reports {
		best, heardOf, cutOff := verdict{reason: "no instance is running"}, 0, 0
		for name, h := range instances {
			silence := now.Sub(h.at)
			if silence > forgetAfter {
				delete(instances, name)
			}
			if silence > healthFresh {
				if !best.healthy {
					best.reason = "no instance was heard of for " + healthFresh.String()
				}
				continue
			}
			heardOf++
			if diagnosis.CutOff(h.Health) {
				cutOff++
			}
			if !best.healthy {
				best = judgeInstance(h.Health, now)
			}
		}
		best.cutOff = heardOf > 0 && cutOff == heardOf
		verdicts[worker] = best
	}
	early := now.Sub(r.began) < healthFresh
	return func(worker string) verdict {
		if v, known := verdicts[worker]; known {
			return v
		}
		return verdict{unknown: early, reason: "no instance is running"}
	}
}

func judgeInstance(h wire.Health, now time.Time) verdict {
	switch h.State {
	case wire.HealthStateReady:
		return verdict{healthy: true}
	case wire.HealthStatePaused:
		if h.Cause == wire.HealthCauseLimit {
			return verdict{healthy: true} // its requests wait; a spill may take them
		}
		if left := h.Until.Sub(now); left > pauseBearable {
			return verdict{reason: fmt.Sprintf("throttled for %v more: %s", left.Round(time.Second), h.Reason)}
		}
		return verdict{healthy: true}
	case wire.HealthStateOpen:
		return verdict{reason: "breaker open: " + h.Reason}
	}
	return verdict{reason: string(h.State)}
}

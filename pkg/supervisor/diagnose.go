package supervisor

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/diagnosis"
	"understudy/pkg/statuspage"
	"understudy/pkg/wire"
)

// alarms says which causes need a person, and how badly.
var alarms = map[wire.Cause]string{
	wire.CauseAccount: "critical",
	wire.CauseNetwork: "critical",
	wire.CauseOurs:    "warning",
}

// diagnoser finds out what is wrong with workers that are not well, and tells
// of each change of a cause: in the log, as an event, as an alarm where a person
// is needed, and in the bucket of diagnoses.
type diagnoser struct {
	bus     *bus.Bus
	log     zerolog.Logger
	metrics *Metrics
	every   time.Duration
	pages   *statuspage.Reader

	known map[string]wire.Diagnosis // by worker; of the leading loop only
	read  chan struct{}             // a status page was read
}

func newDiagnoser(b *bus.Bus, log zerolog.Logger, cfg Config) *diagnoser {
	return &diagnoser{bus: b, log: log, metrics: cfg.Metrics, every: cfg.Diagnose, pages: statuspage.NewReader(), read: make(chan struct{}, 1)}
}

// run diagnoses until ctx ends. It begins with what the previous leader knew,
// so that no alarm is raised twice.
func (d *diagnoser) run(ctx context.Context, s *state, health *roster) {
	var reading sync.WaitGroup
	defer reading.Wait()
	defer d.metrics.undiagnose()
	d.recall(ctx)
	tick := time.NewTicker(d.every)
	defer tick.Stop()
	for {
		healthNews, stateNews := health.news(), s.news()
		if s.complete() {
			d.examine(ctx, s.snapshot().Workers, health, &reading)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-healthNews:
		case <-stateNews:
		case <-d.read:
		}
	}
}

func (d *diagnoser) recall(ctx context.Context) {
	known, err := d.bus.Diagnoses(ctx)
	if err != nil {
		if ctx.Err() == nil {
			d.log.Warn().Err(err).Msg("earlier diagnoses not read")
		}
		known = map[string]wire.Diagnosis{}
	}
	d.known = known
	for _, k := range known {
		d.metrics.diagnosed(k)
	}
}

// examine looks at every worker. Those whose status page may change the
// finding are told of once the page was read; the rest at once.
func (d *diagnoser) examine(ctx context.Context, workers map[string]wire.Worker, health *roster, reading *sync.WaitGroup) {
	now := time.Now()
	reports, early := health.fresh(now)
	for name, w := range workers {
		if len(reports[name]) == 0 && early {
			continue // not heard of yet
		}
		page, fresh := d.pages.Known(w.StatusURL, now)
		found := diagnosis.Decide(diagnosis.Collect(name, workers, reports, page))
		if w.StatusURL != "" && !fresh && corroborated(found.Cause) {
			reading.Go(func() { d.readPage(ctx, w.StatusURL) })
			if page.Verdict == statuspage.None && found.Cause != wire.CauseAccount {
				continue
			}
		}
		found.At = now.UTC()
		d.tell(ctx, found, len(reports[name]) > 0)
	}
	for name := range d.known {
		if _, configured := workers[name]; !configured {
			d.forget(ctx, name)
		}
	}
}

// corroborated says whether a status page has anything to add to a cause.
func corroborated(c wire.Cause) bool {
	switch c {
	case wire.CauseOutage, wire.CauseSlow, wire.CauseNetwork, wire.CauseAccount:
		return true
	}
	return false
}

func (d *diagnoser) readPage(ctx context.Context, address string) {
	d.pages.Read(ctx, address)
	select {
	case d.read <- struct{}{}:
	default:
	}
}

// tell keeps a diagnosis and, when its cause is another than before, says so.
func (d *diagnoser) tell(ctx context.Context, found wire.Diagnosis, running bool) {
	before, known := d.known[found.Worker]
	if !known {
		before.Cause = wire.CauseHealthy
	}
	changed := found.Cause != before.Cause
	if !known && !changed {
		return // it was never unwell
	}
	found.Since = before.Since
	if changed {
		found.Since = found.At
	} else if found.Confidence == before.Confidence && slices.Equal(found.Evidence, before.Evidence) {
		return
	}
	d.metrics.diagnosed(found)
	if changed { // first: a leader that ends in between leaves an alarm to be raised again, not one unraised
		d.announce(ctx, found, before.Cause, running)
	}
	if err := d.bus.SetDiagnosis(ctx, found); err != nil {
		if ctx.Err() == nil {
			d.log.Warn().Err(err).Str("worker", found.Worker).Msg("diagnosis not written, trying again")
		}
		found.Evidence = nil // so that it is written next time
	}
	d.known[found.Worker] = found
}

// announce tells of a new cause. A worker that runs nowhere is no alarm: it may
// be on its way up or down.
func (d *diagnoser) announce(ctx context.Context, found wire.Diagnosis, before wire.Cause, running bool) {
	level := zerolog.WarnLevel
	switch found.Cause {
	case wire.CauseHealthy:
		level = zerolog.InfoLevel
	case wire.CauseAccount:
		level = zerolog.ErrorLevel
	}
	d.log.WithLevel(level).Str("worker", found.Worker).Str("cause", string(found.Cause)).Str("confidence", string(found.Confidence)).
		Strs("evidence", found.Evidence).Str("advice", found.Advice).Msg("diagnosis")
	e := wire.Event{
		Kind: wire.EventKindDiagnosis, Name: found.Worker, At: found.At, Reason: string(found.Cause) + ", " + string(found.Confidence) + ": " + found.Evidence[0],
		Data: map[string]string{
			"cause": string(found.Cause), "before": string(before), "confidence": string(found.Confidence),
			"evidence": strings.Join(found.Evidence, "\n"), "advice": found.Advice,
		},
	}
	d.bus.PublishEvent(ctx, e)
	if alarm, raised := alarms[found.Cause]; raised && running {
		e.Kind, e.Data["level"] = wire.EventKindAlarm, alarm
		d.bus.PublishEvent(ctx, e)
	}
}

// forget drops what is known of a worker that was taken out of the configuration.
func (d *diagnoser) forget(ctx context.Context, worker string) {
	if err := d.bus.RemoveDiagnosis(ctx, worker); err != nil {
		if ctx.Err() == nil {
			d.log.Warn().Err(err).Str("worker", worker).Msg("diagnosis not removed, trying again")
		}
		return
	}
	delete(d.known, worker)
	d.metrics.forget(worker)
}

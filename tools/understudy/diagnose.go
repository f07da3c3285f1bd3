package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/diagnosis"
	"understudy/pkg/statuspage"
	"understudy/pkg/wire"
)

// DiagnoseCmd says what is wrong with workers.
type DiagnoseCmd struct {
	Worker string `arg:"" optional:"" help:"Only this one, well or not. Default: all that are not well."`
	Fresh  bool   `help:"Read the status pages and weigh the evidence here and now, instead of showing what the supervisor found."`
}

type diagnoseView struct {
	Diagnoses []wire.Diagnosis `json:"diagnoses"`
}

func (v diagnoseView) sections() []section {
	if len(v.Diagnoses) == 0 {
		return []section{{lines: []string{"all workers are well"}}}
	}
	parts := make([]section, 0, len(v.Diagnoses))
	for _, d := range v.Diagnoses {
		p := section{title: fmt.Sprintf("%s: %s", d.Worker, d.Cause)}
		if d.Cause != wire.CauseHealthy {
			p.title += fmt.Sprintf(" (%s)", d.Confidence)
		}
		if !d.Since.IsZero() {
			p.title += ", for " + age(d.Since)
		}
		for _, e := range d.Evidence {
			p.lines = append(p.lines, "  - "+e)
		}
		if d.Cause != wire.CauseHealthy {
			p.lines = append(p.lines, "  do: "+d.Advice)
		}
		parts = append(parts, p)
	}
	return parts
}

// Run shows each cause with its evidence and what to do.
func (c DiagnoseCmd) Run(s *session) error {
	return s.withBus(func(b *bus.Bus) error {
		workers, err := b.Workers(s.ctx)
		if err != nil {
			return err
		}
		if _, known := workers[c.Worker]; c.Worker != "" && !known {
			return usagef("there is no worker %q: the configuration has %s", c.Worker, strings.Join(slices.Sorted(maps.Keys(workers)), ", "))
		}
		wanted := slices.Sorted(maps.Keys(workers))
		if c.Worker != "" {
			wanted = []string{c.Worker}
		}
		found, err := c.diagnose(s.ctx, b, workers, wanted)
		if err != nil {
			return err
		}
		if c.Worker == "" {
			found = slices.DeleteFunc(found, func(d wire.Diagnosis) bool { return d.Cause == wire.CauseHealthy })
		}
		return s.show(diagnoseView{Diagnoses: found})
	})
}

// diagnose lists a diagnosis of each worker: the supervisor's, where it has one
// and no fresh one is wanted, else one made here from what the workers say.
func (c DiagnoseCmd) diagnose(ctx context.Context, b *bus.Bus, workers map[string]wire.Worker, wanted []string) ([]wire.Diagnosis, error) {
	kept, err := b.Diagnoses(ctx)
	if err != nil {
		return nil, err
	}
	unknown := func(name string) bool { _, known := kept[name]; return !known }
	reports, pages := map[string][]wire.Health{}, map[string]statuspage.Report{}
	if c.Fresh || slices.ContainsFunc(wanted, unknown) {
		if reports, err = reportsByWorker(ctx, b); err != nil {
			return nil, err
		}
	}
	if c.Fresh {
		pages = readPages(ctx, workers, wanted)
	}
	found := []wire.Diagnosis{}
	for _, name := range wanted {
		d := kept[name]
		if c.Fresh || unknown(name) {
			before := d
			d = diagnosis.Decide(diagnosis.Collect(name, workers, reports, pages[name]))
			d.At = time.Now().UTC()
			if before.Cause == d.Cause {
				d.Since = before.Since
			}
		}
		found = append(found, d)
	}
	return found, nil
}

// reportsByWorker listens to what the instances of each worker say.
func reportsByWorker(ctx context.Context, b *bus.Bus) (map[string][]wire.Health, error) {
	health, err := listenToHealth(ctx, b)
	if err != nil {
		return nil, err
	}
	reports := map[string][]wire.Health{}
	for _, key := range slices.Sorted(maps.Keys(health)) {
		if h := health[key]; h.State != wire.HealthStateStopped {
			reports[h.Worker] = append(reports[h.Worker], h)
		}
	}
	return reports, nil
}

// readPages reads the status pages of the workers that are wanted, all at once.
func readPages(ctx context.Context, workers map[string]wire.Worker, wanted []string) map[string]statuspage.Report {
	var reading sync.WaitGroup
	var mu sync.Mutex
	reader, pages := statuspage.NewReader(), map[string]statuspage.Report{}
	for _, name := range wanted {
		address := workers[name].StatusURL
		if address == "" {
			continue
		}
		reading.Go(func() {
			page := reader.Read(ctx, address)
			mu.Lock()
			defer mu.Unlock()
			pages[name] = page
		})
	}
	reading.Wait()
	return pages
}

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

// fullAt is the share of a queue's limit, in per cent, from which it is told.
const fullAt = 80

// alarmsFor is how far back alarms are told.
const alarmsFor = time.Hour

// DoctorCmd checks the deployment.
type DoctorCmd struct{}

type doctorView struct {
	OK     bool          `json:"ok"`
	Checks []bus.Finding `json:"checks"`
}

func (v *doctorView) add(name string, ok bool, detail string) {
	v.Checks = append(v.Checks, bus.Finding{Name: name, OK: ok, Detail: detail})
}

func (v doctorView) sections() []section {
	p := section{header: []string{"check", "state", "detail"}}
	for _, f := range v.Checks {
		mark := "ok"
		if !f.OK {
			mark = "NOT OK"
		}
		p.rows = append(p.rows, []any{f.Name, mark, f.Detail})
	}
	return []section{p}
}

// Run checks, and ends with exit code 1 when something is not well.
func (DoctorCmd) Run(s *session) error {
	v, err := examine(s)
	if err != nil {
		return err
	}
	v.OK = true
	for _, f := range v.Checks {
		v.OK = v.OK && f.OK
	}
	if err := s.show(v); err != nil {
		return err
	}
	if !v.OK {
		return errUnwell
	}
	return nil
}

// examine makes every check. A broker that cannot be reached is the only
// finding then, and no error.
func examine(s *session) (v doctorView, err error) {
	cfg, err := settings()
	if err != nil {
		return v, err
	}
	b, err := s.open(cfg)
	if err != nil {
		if s.ctx.Err() != nil {
			return v, err
		}
		v.add("broker reachable", false, err.Error())
		return v, nil
	}
	defer b.Close()
	v.add("broker reachable", true, redacted(cfg.URL))
	v.Checks = append(v.Checks, b.Findings(s.ctx, cfg.MonitorURL)...)
	return v, v.examineDispatch(s.ctx, b)
}

func (v *doctorView) examineDispatch(ctx context.Context, b *bus.Bus) error {
	status, err := gather(ctx, b)
	if err != nil {
		return err
	}
	v.checkRoutes(status)
	for _, r := range status.Routes {
		v.checkOwners(r)
		v.checkAlive(r, status.Workers)
		v.checkFill(r)
	}
	v.checkSupervisor(status.Supervisor)
	v.checkDeadLetters(status)
	alarms, err := b.Alarms(ctx, time.Now().Add(-alarmsFor))
	if err != nil {
		return err
	}
	v.checkAlarms(alarms, status.Workers)
	return nil
}

func (v *doctorView) checkRoutes(status statusView) {
	if len(status.Routes) == 0 {
		v.add("routes applied", false, "none: write workers and routes into a file and run `understudy apply -f FILE`")
		return
	}
	names := make([]string, len(status.Routes))
	for i, r := range status.Routes {
		names[i] = r.Name
	}
	v.add("routes applied", true, strings.Join(names, ", "))
}

// checkOwners wants every lane in the table. The parked lane may be nobody's:
// no model may be there.
func (v *doctorView) checkOwners(r routeView) {
	var without []string
	for _, l := range r.Lanes {
		if !l.Listed || (l.Owner == "" && l.Lane != wire.LaneParked) {
			without = append(without, string(l.Lane))
		}
	}
	name := fmt.Sprintf("route %s: lanes have owners", r.Name)
	if len(without) > 0 {
		v.add(name, false, fmt.Sprintf("nobody owns %s: apply the configuration again, and see that a supervisor runs", strings.Join(without, ", ")))
		return
	}
	v.add(name, true, fmt.Sprintf("%d lanes", len(r.Lanes)))
}

// checkAlive wants an instance that takes requests for each owner of a lane
// whose requests would wait without one.
func (v *doctorView) checkAlive(r routeView, workers []workerView) {
	state := map[string]string{}
	for _, w := range workers {
		state[w.Name] = best(w.Instances)
	}
	seen := map[string]bool{}
	var missing, there []string
	for _, l := range r.Lanes {
		_, handoff := l.Lane.HandoffTo()
		idle := handoff && l.Waiting == 0 && l.InHand == 0
		if l.Owner == "" || seen[l.Owner] || idle {
			continue
		}
		seen[l.Owner] = true
		switch state[l.Owner] {
		case "":
			missing = append(missing, l.Owner+" does not run")
		case string(wire.HealthStateReady):
			there = append(there, l.Owner)
		default:
			missing = append(missing, l.Owner+" is "+state[l.Owner])
		}
	}
	name := fmt.Sprintf("route %s: owners are alive", r.Name)
	if len(missing) > 0 {
		v.add(name, false, strings.Join(missing, ", ")+": start the worker, or a supervisor that moves its lanes; `understudy status` says more")
		return
	}
	v.add(name, true, strings.Join(there, ", "))
}

// best is the state of the healthiest instance; empty without any.
func best(instances []wire.Health) string {
	state := ""
	for _, h := range instances {
		if h.State == wire.HealthStateReady {
			return string(h.State)
		}
		if h.State != wire.HealthStateStopped {
			state = string(h.State)
		}
	}
	return state
}

func (v *doctorView) checkFill(r routeView) {
	percent := r.Queue.Bytes * 100 / uint64(max(r.MaxBytes, 1))
	name := fmt.Sprintf("route %s: queue has room", r.Name)
	detail := fmt.Sprintf("%d %% full, %d requests", percent, r.Queue.Messages)
	if percent >= fullAt {
		v.add(name, false, detail+": add workers or instances, or raise max_bytes; a full queue refuses requests")
		return
	}
	v.add(name, true, detail)
}

func (v *doctorView) checkSupervisor(sup supervisorView) {
	if sup.Leader == "" {
		v.add("supervisor leads", false, "none: start one, or lanes stay with workers that are down")
		return
	}
	v.add("supervisor leads", true, sup.Leader)
}

func (v *doctorView) checkDeadLetters(status statusView) {
	total := 0
	for _, c := range status.DeadLetters {
		total += c.Count
	}
	if total > 0 {
		v.add("no dead letters", false, fmt.Sprintf("%d: look at them with `understudy dlq ls`, then replay or purge them", total))
		return
	}
	v.add("no dead letters", true, "none")
}

// checkAlarms tells the last alarm of each worker. One whose cause has passed
// is told, and no longer a finding.
func (v *doctorView) checkAlarms(alarms []wire.Event, workers []workerView) {
	last := map[string]wire.Event{}
	for _, a := range alarms {
		last[a.Name] = a
	}
	standing := map[string]string{}
	for _, w := range workers {
		if w.Diagnosis != nil {
			standing[w.Name] = string(w.Diagnosis.Cause)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(last)) {
		a := last[name]
		stands := standing[name] == a.Data["cause"]
		detail := fmt.Sprintf("%s ago: %s", age(a.At), a.Reason)
		if stands {
			detail += "; `understudy diagnose " + name + "` says more"
		} else {
			detail += " (over)"
		}
		v.add("alarm of worker "+name, !stands, detail)
	}
	if len(last) == 0 {
		v.add("no alarms in the last hour", true, "none")
	}
}

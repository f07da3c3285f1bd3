package main

import (
	"fmt"
	"strings"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/deadletter"
	"understudy/pkg/wire"
)

// StatusCmd shows how things stand.
type StatusCmd struct {
	Watch bool `short:"w" help:"Show it again and again, until interrupted."`
}

type statusView struct {
	Supervisor  supervisorView     `json:"supervisor"`
	Routes      []routeView        `json:"routes"`
	Workers     []workerView       `json:"workers"`
	DeadLetters []deadletter.Count `json:"dead_letters"`
	// Uncounted is true when there are more dead letters than were counted.
	Uncounted bool            `json:"dead_letters_uncounted"`
	Retries   bus.StreamState `json:"retries"`
	At        time.Time       `json:"at"`
}

type supervisorView struct {
	// Leader is empty while nobody leads.
	Leader string `json:"leader"`
	Epoch  uint64 `json:"epoch"`
}

type routeView struct {
	Name    string          `json:"name"`
	Queue   bus.StreamState `json:"queue"`
	Waiting uint64          `json:"waiting"`
	InHand  int             `json:"in_hand"`
	// MaxBytes is the most that the queue holds.
	MaxBytes int64      `json:"max_bytes"`
	Lanes    []laneView `json:"lanes"`
}

type laneView struct {
	Lane     wire.Lane `json:"lane"`
	Owner    string    `json:"owner"`
	Assigned string    `json:"assigned"`
	Reason   string    `json:"reason"`
	Since    time.Time `json:"since,omitzero"`
	Waiting  uint64    `json:"waiting"`
	InHand   int       `json:"in_hand"`
	// Listed is false when the table of owners lacks the lane.
	Listed bool `json:"listed"`
}

type workerView struct {
	Name       string          `json:"name"`
	Kind       wire.WorkerKind `json:"kind"`
	Configured bool            `json:"configured"`
	Instances  []wire.Health   `json:"instances"`
	// Diagnosis is the supervisor's, of a worker that is not well.
	Diagnosis *wire.Diagnosis `json:"diagnosis,omitzero"`
}

// state says how an instance is, with the cause when its worker is not well.
func (w workerView) state(h wire.Health) string {
	if w.Diagnosis == nil {
		return string(h.State)
	}
	return fmt.Sprintf("%s (%s)", h.State, w.Diagnosis.Cause)
}

// unlessInterrupted drops the error of a watch that ended as told.
func (c StatusCmd) unlessInterrupted(s *session, err error) error {
	if c.Watch && s.ctx.Err() != nil {
		return nil //nolint:nilerr // an interrupted read is the end of a watch
	}
	return err
}

// Run shows the state once, or until interrupted.
func (c StatusCmd) Run(s *session) error {
	return s.withBus(func(b *bus.Bus) error {
		for {
			v, err := gather(s.ctx, b)
			switch {
			case err != nil:
				return c.unlessInterrupted(s, err)
			case !c.Watch:
				return s.show(v)
			case s.json:
				err = s.showJSON(v, false)
			default:
				fmt.Fprint(s.out, "\x1b[H\x1b[2J")
				err = s.show(v)
			}
			if err != nil {
				return err
			}
		}
	})
}

func (v statusView) sections() []section {
	leader := "no supervisor leads: lanes stay where they are"
	if v.Supervisor.Leader != "" {
		leader = fmt.Sprintf("supervisor %s leads (epoch %d)", v.Supervisor.Leader, v.Supervisor.Epoch)
	}
	parts := []section{{lines: []string{leader}}}
	for _, r := range v.Routes {
		parts = append(parts, r.section())
	}
	if len(v.Routes) == 0 {
		parts = append(parts, section{lines: []string{"no route is applied: run `understudy apply -f FILE`"}})
	}
	parts = append(parts, workersSection(v.Workers), v.deadSection())
	if v.Retries.Messages > 0 {
		parts = append(parts, section{lines: []string{fmt.Sprintf("%d requests wait for their next try", v.Retries.Messages)}})
	}
	return parts
}

func (r routeView) section() section {
	title := fmt.Sprintf("route %s: %d waiting, %d in hand", r.Name, r.Waiting, r.InHand)
	if !r.Queue.Oldest.IsZero() {
		title += ", oldest " + age(r.Queue.Oldest)
	}
	p := section{title: title, header: []string{"lane", "owner", "why", "since", "waiting", "in hand"}}
	for _, group := range groupLanes(r.Lanes) {
		l := group.laneView
		owner := orDash(l.Owner)
		if l.Assigned != l.Owner {
			owner += " (for " + orDash(l.Assigned) + ")"
		}
		p.rows = append(p.rows, []any{group.names, owner, orDash(l.Reason), orDash(age(l.Since)), l.Waiting, l.InHand})
	}
	return p
}

type laneGroup struct {
	laneView
	names string
}

// groupLanes joins neighbouring numbered lanes of one owner and one reason.
func groupLanes(lanes []laneView) []laneGroup {
	var groups []laneGroup
	for _, l := range lanes {
		if n := len(groups) - 1; n >= 0 {
			last := &groups[n]
			_, numbered := l.Lane.Number()
			_, before := last.Lane.Number()
			if numbered && before && last.Owner == l.Owner && last.Assigned == l.Assigned && last.Reason == l.Reason {
				first, _, _ := strings.Cut(last.names, "-")
				last.names = first + "-" + string(l.Lane)
				last.Waiting += l.Waiting
				last.InHand += l.InHand
				continue
			}
		}
		groups = append(groups, laneGroup{laneView: l, names: string(l.Lane)})
	}
	return groups
}

func workersSection(workers []workerView) section {
	p := section{title: "workers", header: []string{"worker", "kind", "instance", "state", "why", "breaker", "in hand", "answered"}}
	for _, w := range workers {
		if len(w.Instances) == 0 {
			p.rows = append(p.rows, []any{w.Name, w.Kind, "-", "none runs", "-", "-", "-", "-"})
		}
		for _, h := range w.Instances {
			p.rows = append(p.rows, []any{
				w.Name, orDash(string(w.Kind)), h.Instance, w.state(h), orDash(h.Reason), orDash(string(h.Breaker.State)),
				fmt.Sprintf("%d of %d", h.InFlight, h.Concurrency), h.Answered,
			})
		}
	}
	if len(workers) == 0 {
		p.lines = []string{"none"}
	}
	return p
}

func (v statusView) deadSection() section {
	if len(v.DeadLetters) == 0 {
		return section{lines: []string{"no dead letters"}}
	}
	p := section{title: "dead letters", header: []string{"route", "reason", "count"}}
	if v.Uncounted {
		p.title = fmt.Sprintf("dead letters (the oldest %d)", mostDeadLetters)
	}
	for _, c := range v.DeadLetters {
		p.rows = append(p.rows, []any{c.Route, c.Reason, c.Count})
	}
	return p
}

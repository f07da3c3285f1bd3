package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
	"understudy/tools/fakeprovider/fake"
)

// screen draws what goes on: over and over in place on a terminal, as one line
// a second elsewhere.
type screen struct {
	bus             *bus.Bus
	callers         *callers
	primary, backup *fake.Provider
	out             io.Writer
	terminal        bool
	began           time.Time
	seen            uint64
	moves           []string
}

func newScreen(b *bus.Bus, c *callers, primary, backup *fake.Provider) *screen {
	info, err := os.Stdout.Stat()
	return &screen{
		bus: b, callers: c, primary: primary, backup: backup, out: os.Stdout, began: time.Now(),
		terminal: err == nil && info.Mode()&os.ModeCharDevice != 0,
	}
}

// show draws for as long as told.
func (s *screen) show(ctx context.Context, phase string, d time.Duration) {
	interval := time.Second
	if s.terminal {
		interval = 250 * time.Millisecond
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	over := time.After(d)
	for {
		select {
		case <-ctx.Done():
			return
		case <-over:
			return
		case <-tick.C:
			s.draw(ctx, phase)
		}
	}
}

func (s *screen) draw(ctx context.Context, phase string) {
	s.readEvents(ctx)
	owners, backlog := s.lanes(ctx), s.backlog(ctx)
	c := s.callers
	c.mu.Lock()
	answered, failures, slowest := counts(c.answeredBy), counts(c.errors), c.slowest
	published := len(c.acknowledged)
	c.mu.Unlock()
	at := time.Since(s.began).Round(time.Second)
	if !s.terminal {
		fmt.Fprintf(s.out, "%4v  %-20s lanes: %-28s backlog: %-3d answered by: %-34s errors: %s\n", at, phase, owners, backlog, answered, failures)
		return
	}
	var b strings.Builder
	b.WriteString("\x1b[H\x1b[2J")
	fmt.Fprintf(&b, "Understudy demo, two simulated providers       %v   \x1b[1m%s\x1b[0m\n\n", at, phase)
	fmt.Fprintf(&b, "  lanes owned by      %s\n", owners)
	fmt.Fprintf(&b, "  waiting in queues   %d\n", backlog)
	fmt.Fprintf(&b, "  answers over HTTP   %s\n", answered)
	fmt.Fprintf(&b, "  errors over HTTP    %s\n", failures)
	fmt.Fprintf(&b, "  slowest answer      %v\n", slowest.Round(time.Millisecond))
	fmt.Fprintf(&b, "  acknowledged, NATS  %d\n", published)
	fmt.Fprintf(&b, "  provider calls      primary %d, backup %d\n\n  what happened\n", s.primary.Stats().Total, s.backup.Stats().Total)
	for _, m := range s.moves[max(0, len(s.moves)-10):] {
		fmt.Fprintf(&b, "    %s\n", m)
	}
	fmt.Fprint(s.out, b.String())
}

func (s *screen) readEvents(ctx context.Context) {
	_ = s.bus.Events(ctx, s.seen+1, func(e wire.Event, at uint64) bool {
		s.seen = at
		if e.Kind == wire.EventKindLaneMoved {
			s.moves = append(s.moves, fmt.Sprintf("%v  lanes %s: %s to %s, because %s",
				e.At.Sub(s.began).Round(100*time.Millisecond), e.Data["lanes"], e.Data["from"], e.Data["to"], shorten(e.Reason, 90)))
		}
		return true
	})
}

func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return text[:most] + "..."
}

func (s *screen) lanes(ctx context.Context) string {
	entries, err := s.bus.Owners(ctx)
	if err != nil {
		return "unknown"
	}
	owned := map[string]int{}
	for _, e := range entries {
		if _, lane, err := wire.ParseOwnerKey(e.Key); err == nil {
			if _, numbered := lane.Number(); numbered {
				owned[e.Value.Worker]++
			}
		}
	}
	return counts(owned)
}

func (s *screen) backlog(ctx context.Context) uint64 {
	state, err := s.bus.StreamState(ctx, wire.RequestStream("chat"))
	if err != nil {
		return 0
	}
	return state.Messages
}

func counts[K int | string](m map[K]int) string {
	if len(m) == 0 {
		return "none"
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%v %d", k, m[k]))
	}
	return strings.Join(parts, ", ")
}

// conclude waits for the last requests and counts what was lost.
func (s *screen) conclude(ctx context.Context) error {
	deadline := time.Now().Add(30 * time.Second)
	lost, err := s.callers.lost(ctx)
	for err == nil && lost > 0 && time.Now().Before(deadline) && ctx.Err() == nil {
		s.show(ctx, "the last answers", time.Second)
		lost, err = s.callers.lost(ctx)
	}
	if err != nil {
		return err
	}
	s.draw(ctx, "over")
	c := s.callers
	fmt.Fprintf(s.out, "\nacknowledged over NATS: %d, lost: %d\nasked over HTTP: %d, answered by %s, errors: %s, slowest %v\nwhat happened:\n",
		len(c.acknowledged), lost, c.asked, counts(c.answeredBy), counts(c.errors), c.slowest.Round(time.Millisecond))
	for _, m := range s.moves {
		fmt.Fprintf(s.out, "  %s\n", m)
	}
	if lost > 0 || len(c.errors) > 0 {
		return fmt.Errorf("%d acknowledged requests lost, errors: %s", lost, counts(c.errors))
	}
	return nil
}

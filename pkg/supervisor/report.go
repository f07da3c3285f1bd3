package supervisor

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"understudy/pkg/wire"
)

// report tells of the moves: one event for the lanes that went together.
func (s *Supervisor) report(ctx context.Context, moves []move, now time.Time) {
	type journey struct{ route, from, to, reason string }
	lanes := map[journey][]string{}
	var order []journey
	for _, m := range moves {
		if m.failed || m.from == m.to {
			continue
		}
		j := journey{m.route, m.from, m.to, m.reason}
		if lanes[j] == nil {
			order = append(order, j)
		}
		lanes[j] = append(lanes[j], string(m.lane))
		s.cfg.Metrics.moved(m.route, m.to)
	}
	slices.SortFunc(order, func(a, b journey) int { return cmp.Or(cmp.Compare(a.route, b.route), cmp.Compare(a.to, b.to)) })
	for _, j := range order {
		which := strings.Join(lanes[j], ",")
		s.log.Info().Str("route", j.route).Str("lanes", which).Str("from", j.from).Str("to", j.to).Str("reason", j.reason).Msg("lanes moved")
		s.bus.PublishEvent(ctx, wire.Event{
			Kind: wire.EventKindLaneMoved, Name: j.route, Reason: j.reason, At: now.UTC(),
			Data: map[string]string{"lanes": which, "from": j.from, "to": j.to},
		})
	}
}

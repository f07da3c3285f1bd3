package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// settlePatience is how long the broker may take to record a cancellation.
const settlePatience = 10 * time.Second

// abandon takes back a request whose caller hung up. One that was also accepted
// to be asked for later goes on.
func (g *Gateway) abandon(q *request) {
	ctx, cancel := context.WithTimeout(context.Background(), settlePatience)
	defer cancel()
	if _, err := g.bus.Acceptance(ctx, q.id); !errors.Is(err, bus.ErrNotFound) {
		return
	}
	if _, err := g.recordCancelled(ctx, q.id, q.route, q.received, "the caller hung up"); err != nil {
		g.log.Warn().Err(err).Str("request", q.id).Msg("cancellation not recorded, the request goes on")
	}
}

// recordCancelled ends a request as cancelled, unless it has ended before, and
// tells the worker that holds it. It returns the result that stands.
func (g *Gateway) recordCancelled(ctx context.Context, id, route string, received time.Time, why string) (wire.Result, error) {
	rule := dispatch.Cancelled.Rule()
	now := time.Now().UTC()
	if received.IsZero() {
		received = now
	}
	stands, won, err := g.bus.Record(ctx, g.directory.now.Load().routes[route].Durability, wire.Result{
		ID: id, Route: route, Status: dispatch.StatusCancelled, Attempts: []wire.Attempt{},
		Error: &wire.Failure{
			Kind: dispatch.Cancelled, Status: int64(rule.Status), Type: rule.Type, Code: rule.Code, Message: why,
		},
		AcceptedAt: received.UTC(), FinishedAt: now,
	})
	if err != nil || !won {
		return stands.Result, err
	}
	if err := g.bus.Send(wire.CancelSubject(id), bus.Header{wire.HeaderGateway: {g.inbox.subject}}, nil); err != nil {
		g.log.Warn().Err(err).Str("request", id).Msg("worker not told of the cancellation, it will find the result")
	}
	if body, err := json.Marshal(stands); err == nil {
		g.inbox.deliver(id, bus.Message{Header: bus.Header{wire.HeaderStatus: {string(stands.Status)}}, Body: body})
	}
	return stands.Result, nil
}

// heardCancel handles a cancellation that a client sent. Workers hear it, too:
// the gateway records what no worker holds yet.
func (g *Gateway) heardCancel(ctx context.Context, m bus.Message) {
	id := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	if !wire.ValidID(id) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	route, known := g.inbox.route(id)
	if !known {
		note, err := g.bus.Acceptance(ctx, id)
		if err != nil {
			return
		}
		route = note.Route
	}
	if _, err := g.recordCancelled(ctx, id, route, time.Time{}, "the caller took the request back"); err != nil {
		g.log.Warn().Err(err).Str("request", id).Msg("cancellation not recorded, the request goes on")
	}
}

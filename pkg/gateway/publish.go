package gateway

import (
	"context"
	"errors"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

// publish puts a request into its route's queue. address is where the end goes;
// empty when nobody waits.
func (g *Gateway) publish(ctx context.Context, q *request, address string) (bus.Receipt, *wire.Failure) {
	receipt, err := g.bus.Publish(ctx, wire.RequestSubject(q.route), q.id, q.header(address), q.body)
	switch {
	case err == nil:
		return receipt, nil
	case errors.Is(err, bus.ErrQueueFull):
		f := unavailable("queue_full", "the queue of route %s is full", q.route)
		f.RetryAfterMS = retrySoonMS
		return receipt, f
	case errors.Is(err, bus.ErrTooLarge):
		return receipt, tooLarge(min(g.config.MaxBody, g.bus.MaxPayload()))
	case errors.Is(err, bus.ErrNoQueue):
		return receipt, unavailable("no_queue", "route %s has no queue yet", q.route)
	}
	g.log.Warn().Err(err).Str("request", q.id).Msg("publish without acknowledgement")
	return receipt, unavailable("outcome_unknown", "the broker did not confirm the request, so it may or may not be in the queue; GET /v1/requests/%s tells once it has a result", q.id)
}

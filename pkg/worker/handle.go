package worker

import (
	"context"
	"errors"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// handle takes one request from delivery to settlement.
func (w *Worker) handle(j *job) {
	out, done := w.guard(j)
	if !done {
		out = w.call(j)
	}
	if err := w.settle(j, out); err != nil {
		// Nothing is lost: the request is delivered again after the ack wait.
		w.log.Error().Err(err).Str("request", j.req.ID).Str("route", j.req.Route).Msg("request not settled, it will be delivered again")
		w.retract(context.Background(), j)
	}
	if j.isolated {
		<-w.alone
	}
}

// guard decides what needs no provider: requests that have ended, that came
// too late, that are broken, or that crash whoever handles them.
func (w *Worker) guard(j *job) (outcome, bool) {
	if known, ended := w.knownResult(j); ended {
		return outcome{verb: resend, known: known}, true
	}
	if j.Invalid != nil {
		return failure(j.Invalid), true
	}
	if j.delivery.Deliveries > 1 {
		if out, done := w.guardSuspect(j); done {
			return out, true
		}
	}
	if err := context.Cause(j.ctx); err != nil {
		return w.interrupted(err), true
	}
	if err := chat.Check(j.req.Body); err != nil {
		return failure(dispatch.AsError(err)), true
	}
	if calls := j.Calls(); calls >= j.maxAttempts() {
		return w.lastWord(j, dispatch.Errorf(dispatch.Transient, "%d provider calls were made, the most the route allows", calls)), true
	}
	if w.cfg.Local && j.Emitted != nil {
		return w.afterFailure(j, dispatch.Errorf(dispatch.Refused, "worker %s does not go on with a model's answer", w.cfg.Name)), true
	}
	if w.cfg.Local && j.req.Degrade == dispatch.DegradeNever {
		return outcome{verb: park}, true
	}
	if !w.breaker.ready() {
		return w.unavailable(j), true
	}
	return outcome{}, false
}

// unread is how long after its publication a request cannot have ended yet.
const unread = time.Second

// knownResult reads how a request ended before. It spares itself the read for
// one that was just published, under a dedupe id by which the broker vouches
// that it is the only one.
func (w *Worker) knownResult(j *job) (wire.Result, bool) {
	d := j.delivery
	_, fresh := d.Lane.Number()
	if fresh && d.Deliveries == 1 && d.Header.Get(wire.HeaderNatsMsgID) == j.req.ID && time.Since(d.Stored) < unread {
		return wire.Result{}, false
	}
	known, err := w.bus.Result(j.ctx, j.route.Durability, j.req.ID)
	if err != nil && !errors.Is(err, bus.ErrNotFound) && j.ctx.Err() == nil {
		w.log.Warn().Err(err).Str("request", j.req.ID).Msg("recorded result not read")
	}
	return known, err == nil && bus.Final(known, j.Replay)
}

// unavailable passes on a request that reached a worker which has just stopped
// pulling. While shutting down it goes back to its lane, where a replica of
// this worker may take it.
func (w *Worker) unavailable(j *job) outcome {
	status := w.breaker.status()
	if status.state == wire.HealthStateDraining {
		return outcome{verb: giveBack}
	}
	return w.afterFailure(j, dispatch.Errorf(dispatch.Unavailable, "worker %s is %s: %s", w.cfg.Name, status.state, status.reason))
}

// interrupted turns the reason a request's context ended into its outcome.
func (w *Worker) interrupted(cause error) outcome {
	if errors.Is(cause, errGiveBack) {
		return outcome{verb: giveBack}
	}
	return failure(dispatch.AsError(cause))
}

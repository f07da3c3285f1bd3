package worker

import (
	"errors"
	"slices"

	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
	"understudy/pkg/envelope"
	"understudy/pkg/wire"
)

// rescue decides about a request whose stream broke after output went out, by
// this worker or before. Another model goes on where it broke; if none can, the
// request fails, and its listener hears of a failure, not of an end.
func (w *Worker) rescue(j *job, e *dispatch.Error) outcome {
	if j.Emitted != nil && !j.emitted && e.Kind.Rule().AsItCame {
		// The caller's request was good enough for the model that began the answer.
		e = dispatch.Errorf(dispatch.Refused, "worker %s cannot go on with the answer: %s", w.cfg.Name, e.Error())
	}
	if e.Kind.Rule().Next != dispatch.Handoff {
		return failure(e)
	}
	tried := append(slices.Clone(j.Tried), w.cfg.Name)
	next, up := w.table.rescuer(j.req.Route, tried, chat.AsksForJSON(j.req.Body))
	if !up || !w.leaves(j) {
		return failure(breach(j, e))
	}
	w.log.Info().Str("request", j.req.ID).Str("kind", string(e.Kind)).Str("to", next).Msg("stream broke, another worker goes on with it")
	return outcome{verb: handoff, to: next, tried: tried}
}

// breach is the failure that the listener of a broken stream hears of: the last
// one that was a provider's, rather than that a worker could not go on.
func breach(j *job, e *dispatch.Error) *dispatch.Error {
	if e.Kind.Rule().Breaker != dispatch.Ignored {
		return e
	}
	for _, a := range slices.Backward(j.Attempts) {
		if a.Kind != "" && a.Kind.Rule().Breaker != dispatch.Ignored {
			return &dispatch.Error{Kind: a.Kind, Status: int(a.Status), Code: a.Code, Message: a.Message}
		}
	}
	return e
}

// goesOnAlone says whether this worker goes on with the answer that has just
// broken in its own hands: once, if nobody else can.
func (w *Worker) goesOnAlone(j *job, e *dispatch.Error) bool {
	if !j.emitted || j.ctx.Err() != nil || e.Kind != dispatch.Stalled && e.Kind != dispatch.Truncated {
		return false
	}
	if j.Calls() >= j.maxAttempts() || !w.mayGoOn() {
		return false
	}
	tried := append(slices.Clone(j.Tried), w.cfg.Name)
	if _, up := w.table.rescuer(j.req.Route, tried, chat.AsksForJSON(j.req.Body)); up || !w.leaves(j) {
		return false
	}
	j.emitted = false // the new turn has said nothing yet
	return true
}

// brokenOff turns the reason a call was broken off into the outcome of its
// request. When the worker is shutting down, a stream that has begun goes back
// with what was emitted, to a replica or whoever takes its place.
func (w *Worker) brokenOff(j *job, cause error) outcome {
	own := wire.HandoffLane(w.cfg.Name)
	if errors.Is(cause, errGiveBack) && j.emitted && w.table.owner(j.req.Route, own) != "" && w.leaves(j) {
		return outcome{verb: handoff, to: w.cfg.Name, tried: j.Tried}
	}
	return w.interrupted(cause)
}

// leaves makes the request carry what its listener has, so that somebody can go
// on with it; false when nobody can.
func (w *Worker) leaves(j *job) bool {
	if !j.emitted {
		return j.Emitted != nil
	}
	h := &j.heard
	left := wire.Emitted{
		Attempt: w.attemptName(j, h.by), Chunks: int64(j.chunks), Text: string(h.text),
		ID: h.origin.ID, Created: h.origin.Created, Usage: h.used(),
	}
	if h.apart || !envelope.Carries(left) {
		return false
	}
	j.Emitted = &left
	return true
}

// rescuer returns the first model of the route's chain that has not been tried
// and is up. With exact, it must be one that goes on with the next character.
func (t *table) rescuer(route string, tried []string, exact bool) (string, bool) {
	for {
		name, up := t.next(route, tried, true)
		if !up || !exact || t.style(name).Exact() {
			return name, up
		}
		tried = append(slices.Clone(tried), name)
	}
}

func (t *table) style(worker string) chat.Style {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return chat.Style(t.now.Workers[worker].Continuation)
}

package worker

import (
	"slices"
	"time"

	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// verb is what becomes of a request in hand.
type verb string

const (
	answered   verb = "answered"
	failed     verb = "failed"
	expired    verb = "expired"
	cancelled  verb = "cancelled"
	handoff    verb = "handoff"
	park       verb = "parked"
	retryLater verb = "retry_later"
	giveBack   verb = "given_back"
	resend     verb = "known" // it ended before: tell again, and done
)

// outcome is what was decided about a request; settle carries it out.
type outcome struct {
	verb   verb
	answer *dispatch.Answer
	err    *dispatch.Error
	to     string        // handoff: the next worker
	tried  []string      // handoff: who had their turn
	after  time.Duration // retryLater
	known  wire.Result
}

// failure is the end of a request that can succeed nowhere, or whose time is
// up, or that was taken back.
func failure(e *dispatch.Error) outcome {
	switch e.Kind.Rule().Next {
	case dispatch.Expire:
		return outcome{verb: expired, err: e}
	case dispatch.Cancel:
		return outcome{verb: cancelled, err: e}
	}
	return outcome{verb: failed, err: e}
}

// afterFailure decides where a request goes that this worker will not try
// again: to the next worker, to the parked lane, to a later pass of the chain,
// or to its end.
func (w *Worker) afterFailure(j *job, e *dispatch.Error) outcome {
	if j.emitted || j.Emitted != nil {
		return w.rescue(j, e)
	}
	if e.Kind.Rule().Next != dispatch.Handoff {
		return w.lastWord(j, e)
	}
	tried := append(slices.Clone(j.Tried), w.cfg.Name)
	modelsOnly := j.req.Degrade == dispatch.DegradeNever || e.Kind == dispatch.ContextLength
	if next, ok := w.table.next(j.req.Route, tried, modelsOnly); ok {
		return outcome{verb: handoff, to: next, tried: tried}
	}
	if j.Rejected != nil || e.Kind == dispatch.ContextLength || e.Kind == dispatch.Quality {
		return w.lastWord(j, e)
	}
	mayPark := j.req.Degrade == dispatch.DegradeNever && j.AllCalls() < parkedBudgets*j.maxAttempts()
	if mayPark && w.table.owner(j.req.Route, wire.LaneParked) == "" {
		return outcome{verb: park}
	}
	if after, ok := w.later(j, e); ok {
		return outcome{verb: retryLater, after: after}
	}
	if mayPark {
		return outcome{verb: park}
	}
	return failure(w.decisive(j, e))
}

// parkedBudgets is how many budgets of calls a request may use up that waits
// for a model: being parked forgives the calls before.
const parkedBudgets = 3

// later says whether the request goes through its chain again, and after which
// pause: never before the provider asked to be called again. One that refuses
// degraded answers goes on until its deadline, the others for a few passes.
func (w *Worker) later(j *job, e *dispatch.Error) (after time.Duration, ok bool) {
	if j.Calls() >= j.maxAttempts() {
		return 0, false
	}
	after, left := max(laterPause(j.Passes), e.RetryAfter), time.Until(j.req.Deadline)
	if j.req.Degrade == dispatch.DegradeNever {
		return min(after, left), left > 0
	}
	return after, j.Passes < maxPasses && w.worthRetrying(j, e) && left > after
}

// maxPasses is how often a request goes through its chain again. The pauses
// between grow from one second, so that a caller who waits learns of the end
// within about ten.
const maxPasses = 3

// worthRetrying says whether this pass of the chain met a failure that may
// have passed a little later.
func (w *Worker) worthRetrying(j *job, e *dispatch.Error) bool {
	if e.Kind.Rule().Later {
		return true
	}
	for _, a := range j.Attempts {
		if a.Kind.Rule().Later && (slices.Contains(j.Tried, a.Worker) || a.Worker == w.cfg.Name) {
			return true
		}
	}
	return false
}

// laterPause grows with each pass that a request has behind it.
func laterPause(passes int64) time.Duration { return time.Second << min(passes, 5) }

// decisive is the failure that a caller should hear of: a provider's, rather
// than that a worker was not available or that no rule fits.
func (w *Worker) decisive(j *job, e *dispatch.Error) *dispatch.Error {
	if e.Kind != dispatch.Refused && e.Kind != dispatch.Unavailable {
		return e
	}
	for _, a := range slices.Backward(j.Attempts) {
		if a.Kind != "" && a.Kind != dispatch.Refused && a.Kind != dispatch.Unavailable {
			return &dispatch.Error{Kind: a.Kind, Status: int(a.Status), Code: a.Code, Message: a.Message}
		}
	}
	if e.Kind != dispatch.Refused {
		return e
	}
	return dispatch.Errorf(dispatch.Refused, "no model is up, and worker %s has no answer of its own: %s", w.cfg.Name, e.Message)
}

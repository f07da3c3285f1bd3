package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"

	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// Retries of one worker at one request.
const (
	backoffFirst  = 500 * time.Millisecond
	backoffMax    = 5 * time.Second
	backoffJitter = 0.2
	// retryAfterMost is the longest Retry-After that is waited out with a
	// request in hand; a longer one sends it on.
	retryAfterMost = 5 * time.Second
)

// call tries the provider until it answers, or until this worker has had its
// turn, and decides what follows.
func (w *Worker) call(j *job) outcome {
	answer, err := w.hedged(j)
	if err != nil && w.goesOnAlone(j, dispatch.AsError(err)) {
		answer, err = w.attempt(j.ctx, j)
	}
	if err == nil {
		return outcome{verb: answered, answer: answer}
	}
	if cause := context.Cause(j.ctx); cause != nil {
		return w.brokenOff(j, cause)
	}
	return w.afterFailure(j, dispatch.AsError(err))
}

// turn is this worker's turn at a request: the first call, and its retries.
func (w *Worker) turn(ctx context.Context, j *job) (*dispatch.Answer, error) {
	answer, err := w.attempt(ctx, j)
	if err != nil && ctx.Err() == nil && w.tryAgain(j, dispatch.AsError(err)) {
		return w.callAgain(ctx, j, err)
	}
	return answer, err
}

// callAgain tries the same worker again after a failure: after a growing pause,
// or when the provider said.
func (w *Worker) callAgain(ctx context.Context, j *job, last error) (*dispatch.Answer, error) {
	failed := last
	return failsafe.With(w.retries(j)).WithContext(ctx).Get(func() (*dispatch.Answer, error) {
		if err := failed; err != nil { // the policy begins with the failure it follows
			failed = nil
			return nil, err
		}
		if w.breaker.doubted(j.failedHere) { // since the pause began
			return nil, last
		}
		answer, err := w.attempt(ctx, j)
		last = err
		return answer, err
	})
}

// retries is the policy for trying the same worker again.
func (w *Worker) retries(j *job) failsafe.Policy[*dispatch.Answer] {
	limit := int64(defaultRetries)
	if w.cfg.Settings.Retries != nil {
		limit = *w.cfg.Settings.Retries
	}
	return retrypolicy.NewBuilder[*dispatch.Answer]().
		WithMaxRetries(int(limit)).
		ReturnLastFailure().
		HandleIf(func(_ *dispatch.Answer, err error) bool { return err != nil && w.tryAgain(j, dispatch.AsError(err)) }).
		WithDelayFunc(func(e failsafe.ExecutionAttempt[*dispatch.Answer]) time.Duration {
			return pauseBefore(e.Retries(), dispatch.AsError(e.LastError()).RetryAfter)
		}).
		Build()
}

// pauseBefore is how long to wait before the next retry: a growing, scattered
// pause, or what the provider asked for, scattered upwards only.
func pauseBefore(retries int, asked time.Duration) time.Duration {
	scatter := backoffJitter * (2*rand.Float64() - 1)
	pause := min(backoffFirst<<retries, backoffMax)
	if asked > 0 {
		pause, scatter = asked, max(scatter, -scatter)
	}
	return pause + time.Duration(scatter*float64(pause))
}

// tryAgain says whether this worker may try once more: not once output went
// out, not beyond the request's budget of calls, not while the calls of others
// fail as well, and only for failures that may pass while the request waits in
// hand.
func (w *Worker) tryAgain(j *job, e *dispatch.Error) bool {
	if j.emitted || j.Calls() >= j.maxAttempts() || !w.mayGoOn() || w.breaker.doubted(j.failedHere) {
		return false
	}
	switch e.Kind.Rule().Again {
	case dispatch.WithBackoff:
		return e.RetryAfter <= retryAfterMost && time.Until(j.req.Deadline) > e.RetryAfter
	case dispatch.AfterWaiting:
		return e.RetryAfter > 0 && e.RetryAfter <= retryAfterMost && time.Until(j.req.Deadline) > 2*e.RetryAfter
	}
	return false
}

// mayGoOn says whether requests in hand may still call the provider: not while
// the breaker is open.
func (w *Worker) mayGoOn() bool { return w.breaker.status().state != wire.HealthStateOpen }

// attempt calls the provider once and keeps the history.
func (w *Worker) attempt(ctx context.Context, j *job) (*dispatch.Answer, error) {
	cleared, err := w.clear(ctx, j)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	vigil := w.keepVigil(j, stop)
	defer vigil.end()
	j.heard = hearFrom(j.Emitted)

	started := time.Now()
	answer, err := w.ask(ctx, j, vigil)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
	}
	a := wire.Attempt{Worker: w.cfg.Name, Instance: w.cfg.Instance, StartedAt: started.UTC(), DurationMS: time.Since(started).Milliseconds()}
	if first := vigil.firstToken(); first > 0 {
		a.FirstTokenMS = max(first.Milliseconds(), 1)
	}
	cleared(answer, err)
	if errors.Is(err, errGiveBack) {
		return nil, err
	}
	w.judge(j, &a, vigil, answer, err)
	j.count(err)
	j.Attempts = append(j.Attempts, a)
	w.metrics.attempt(w.cfg.Name, a)
	return answer, err
}

// judge completes the attempt's record and tells the breaker.
func (w *Worker) judge(j *job, a *wire.Attempt, vigil *vigil, answer *dispatch.Answer, err error) {
	if err == nil {
		a.Model = answer.Model
		slow := a.FirstTokenMS > w.cfg.Settings.SlowAfter.Or(defaultSlowAfter).Milliseconds()
		w.recent.answer(time.Now(), slow)
		w.mute.Store(a.FirstTokenMS == 0)
		vigil.pace(false)
		w.breaker.success()
		return
	}
	e := dispatch.AsError(err)
	a.Kind, a.Status, a.Code, a.Message = e.Kind, int64(e.Status), e.Code, e.Error()
	w.recent.fail(time.Now(), e) // first: what the breaker does makes a report
	if vigil.wasHasty() {
		return
	}
	if e.Kind == dispatch.Silent {
		vigil.pace(true)
	}
	w.breaker.weigh(e, weight(j.route, e.Kind))
}

// ask calls the provider and reviews its answer, which is there even when the
// review rejects it; a panic is a failure of this request only.
func (w *Worker) ask(ctx context.Context, j *job, vigil *vigil) (answer *dispatch.Answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			w.log.Error().Str("request", j.req.ID).Str("stack", string(debug.Stack())).Msg(fmt.Sprint("provider panicked: ", p))
			err = dispatch.Errorf(dispatch.Crashed, "worker %s panicked: %v", w.cfg.Name, p)
		}
	}()
	if j.Emitted != nil {
		answer, err = w.goOn(ctx, j, vigil)
	} else {
		answer, err = w.provider.Answer(ctx, j.req, func(c dispatch.Chunk) {
			vigil.token(c.Output)
			j.voice.say(c)
		})
	}
	if err == nil {
		err = w.review(j, answer)
	}
	if err == nil {
		j.voice.end()
	}
	return answer, err
}

package worker

import (
	"context"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"

	"understudy/pkg/dispatch"
)

// paceFirst is how many slots an adaptive worker begins with.
const paceFirst = 20

// pace finds out how many calls at once the provider answers as quickly as it
// can, by failsafe-go's adaptive limiter, and gives the worker as many slots. A
// nil pace changes nothing.
type pace struct {
	limiter adaptivelimiter.AdaptiveLimiter[any]
}

func newPace(most int, s *slots) *pace {
	first := min(paceFirst, most)
	s.resize(first)
	return &pace{adaptivelimiter.NewBuilder[any]().
		WithLimits(1, uint(most), uint(first)).
		OnLimitChanged(func(e adaptivelimiter.LimitChangedEvent) { s.resize(int(e.NewLimit)) }).
		Build()}
}

// begin waits until one more call may be under way, and returns what to do when
// it has ended. Only answers say how quick the provider is.
func (p *pace) begin(ctx context.Context) (end func(error), err error) {
	if p == nil {
		return func(error) {}, nil
	}
	permit, err := p.limiter.AcquirePermit(ctx)
	if err != nil {
		return nil, err
	}
	return func(err error) {
		if err != nil {
			permit.Drop()
			return
		}
		permit.Record()
	}, nil
}

// clear waits until a call fits into the worker's limits and its pace, and
// returns what to do when it has ended. It refuses while the breaker is open.
func (w *Worker) clear(ctx context.Context, j *job) (end func(*dispatch.Answer, error), err error) {
	if err := w.stopped(); err != nil {
		return nil, err
	}
	var guess int64
	if w.cfg.Settings.Limits.TokensPerMinute > 0 {
		guess = tokensOf(j.req.Body)
	}
	if err := w.limit.Wait(ctx, guess); err != nil {
		return nil, err
	}
	paced, err := w.pace.begin(ctx)
	if err != nil {
		w.limit.Correct(context.Background(), -guess)
		return nil, err
	}
	end = func(answer *dispatch.Answer, err error) {
		paced(err)
		switch {
		case answer != nil && answer.Usage != (dispatch.Usage{}): // a rejected one, too
			w.limit.Correct(context.Background(), answer.Usage.Input+answer.Usage.Output-guess)
		case err != nil:
			w.limit.Correct(context.Background(), -guess)
		}
	}
	if err := w.stopped(); err != nil {
		end(nil, err)
		return nil, err
	}
	return end, nil
}

// stopped says that requests in hand may not call the provider now.
func (w *Worker) stopped() error {
	if w.mayGoOn() {
		return nil
	}
	return dispatch.Errorf(dispatch.Unavailable, "worker %s stopped calling its provider: %s", w.cfg.Name, w.breaker.status().reason)
}

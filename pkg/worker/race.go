package worker

import (
	"context"
	"slices"
	"sync"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// errOutrun ends this worker's own call: the hedge was quicker.
var errOutrun = dispatch.Errorf(dispatch.Cancelled, "another worker, asked as a hedge, was quicker")

// errRivalLost is the end of a hedge whose worker fell silent in mid-stream.
var errRivalLost = dispatch.Errorf(dispatch.Truncated, "the worker that was asked as a hedge was not heard of again")

// runner is one of the two that a race is between.
type runner int

const (
	nobody runner = iota
	self
	other
)

// race is one request that this worker holds and that another is asked for as
// well, once this one has been silent for long. The other only answers: this
// worker keeps the request, passes on the output of the one that speaks first,
// and alone settles.
type race struct {
	worker  *Worker
	job     *job
	own     voice                   // of this worker
	outrun  context.CancelCauseFunc // ends the own turn
	callOff context.CancelFunc      // ends the hedge

	life     chan struct{} // closed at the own first sign of life, and when the own turn is over
	lifeOnce sync.Once

	mu     sync.Mutex
	winner runner
	rival  rival
}

// hedged takes this worker's turn at a request, as a race where the route says
// so.
func (w *Worker) hedged(j *job) (*dispatch.Answer, error) {
	if !w.mayHedge(j) {
		return w.turn(j.ctx, j)
	}
	w.hedges.count(j.req.Route)
	own, outrun := context.WithCancelCause(j.ctx)
	defer outrun(nil)
	hedge, callOff := context.WithCancel(j.ctx)
	defer callOff()
	r := &race{worker: w, job: j, own: j.voice, outrun: outrun, callOff: callOff, life: make(chan struct{})}
	j.voice = r
	var hedging sync.WaitGroup
	hedging.Go(func() { r.hedge(hedge) })
	answer, err := w.turn(own, j)
	r.stir()
	if err == nil && r.wins(self) || j.ctx.Err() != nil {
		callOff()
	}
	hedging.Wait()
	j.voice = r.own
	return r.result(answer, err)
}

// mayHedge says whether a request may be hedged: not by a local worker, not
// beyond the budget of calls, not the rescue of a stream, which one speaker at a
// time goes on with, and not one that was delivered before, which perhaps
// crashes whoever handles it.
func (w *Worker) mayHedge(j *job) bool {
	return j.route.HedgeAfter > 0 && !w.cfg.Local && j.Emitted == nil && j.delivery.Deliveries == 1 && j.Calls()+2 <= j.maxAttempts()
}

// result is what came of both, once both are over.
func (r *race) result(answer *dispatch.Answer, err error) (*dispatch.Answer, error) {
	w, j, o := r.worker, r.job, r.rival
	if o.name == "" {
		return answer, err
	}
	won := o.result != nil && o.result.Status == dispatch.StatusAnswered && r.winner == other
	w.metrics.hedge(j.req.Route, won)
	switch {
	case o.result != nil && len(o.result.Attempts) > 0:
		j.Attempts = append(j.Attempts, o.result.Attempts...)
		j.Tried = append(slices.Clip(j.Tried), o.name)
	case o.instance != "":
		j.Attempts = append(j.Attempts, o.unfinished(r.winner))
	}
	switch {
	case r.winner == self && err == nil:
		return answer, nil
	case won:
		a := o.result
		j.by, j.quality, j.chunks = o.name, a.Quality, o.chunks
		j.emitted = j.emitted || o.chunks > 0
		return &dispatch.Answer{
			Body: a.Answer, Model: a.Model, Sources: a.Sources,
			Usage: dispatch.Usage{Input: a.Usage.InputTokens, Output: a.Usage.OutputTokens},
		}, nil
	case r.winner == other: // it broke off in mid-stream, and may be gone on with
		j.emitted, j.chunks, j.heard = true, o.chunks, o.heard
		if !slices.Contains(j.Tried, o.name) {
			j.Tried = append(slices.Clip(j.Tried), o.name)
		}
		if f := o.result; f != nil && f.Error != nil {
			return nil, &dispatch.Error{Kind: f.Error.Kind, Message: f.Error.Message}
		}
		return nil, errRivalLost
	}
	return nil, err
}

// stir keeps the hedge from being asked, if it was not asked yet.
func (r *race) stir() { r.lifeOnce.Do(func() { close(r.life) }) }

// wins says whether a runner is the first to answer, or to speak.
func (r *race) wins(who runner) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first(who)
}

// first makes a runner the winner if there is none, and ends the other's run.
func (r *race) first(who runner) bool {
	if r.winner == nobody {
		r.winner = who
		if who == self {
			r.callOff()
		} else {
			r.outrun(errOutrun)
		}
	}
	return r.winner == who
}

// say takes a chunk of the own provider.
func (r *race) say(c dispatch.Chunk) {
	r.stir()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.job.req.Stream || r.winner == other || c.Output && !r.first(self) {
		return
	}
	r.own.say(c)
}

// end takes the end of the own answer, which wins if nobody was quicker.
func (r *race) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first(self) {
		r.own.end()
	}
}

// hedge asks the other worker when it is time, and hears it out. It returns
// when the other has ended, is called off, or is not heard of any more.
func (r *race) hedge(ctx context.Context) {
	w, j := r.worker, r.job
	timer := time.NewTimer(time.Duration(j.route.HedgeAfter))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-r.life:
		return
	case <-timer.C:
	}
	name, ok := w.table.next(j.req.Route, append(slices.Clone(j.Tried), w.cfg.Name), true)
	if !ok || !w.hedges.afford(j.req.Route, orDefault(j.route.HedgeBudget, defaultHedgeBudget)) {
		return
	}
	inbox := w.bus.NewInbox()
	signs := make(chan struct{}, 1)
	stop, err := w.bus.Listen(inbox+".*", "", func(m bus.Message) { r.hear(m, signs) })
	if err != nil {
		w.log.Warn().Err(err).Str("request", j.req.ID).Msg("hedge not asked")
		return
	}
	defer stop()
	r.mu.Lock()
	r.rival.name, r.rival.asked, r.rival.heard.by = name, time.Now(), name
	r.mu.Unlock()
	if err := w.bus.Send(wire.HedgeSubject(j.req.Route, name), bus.Header(j.Hedge(inbox)), j.req.Body); err != nil {
		r.forget()
		w.log.Warn().Err(err).Str("request", j.req.ID).Msg("hedge not asked")
		return
	}
	r.hearOut(ctx, signs)
}

// forget takes back that the other was asked.
func (r *race) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rival.name, r.rival.over = "", true
}

// hearOut waits for the other's last word, for as long as it shows signs of life.
func (r *race) hearOut(ctx context.Context, signs <-chan struct{}) {
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.rival.over = true
	}()
	patience := time.NewTimer(hedgePatience)
	defer patience.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-patience.C:
			return
		case <-signs:
			patience.Reset(hedgePatience)
		}
		r.mu.Lock()
		ended := r.rival.result != nil
		r.mu.Unlock()
		if ended {
			return
		}
	}
}

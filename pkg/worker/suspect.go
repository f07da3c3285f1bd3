package worker

import (
	"context"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// maxStarts is how many noted handlings a suspect gets: with the first one,
// which nobody notes, a request may crash three workers.
const maxStarts = 2

// retractPatience is short: without a broker a worker must still come to an end.
const retractPatience = 2 * time.Second

// guardSuspect looks after requests that were delivered before and never
// settled: their worker crashed, or was cut off, or gave them back. Each such
// handling is noted before it begins, and the note of one that is given back is
// taken back. After one that ended in silence the
// request is handled alone, so that it takes no others down with it; after two
// it goes to the dead letters.
func (w *Worker) guardSuspect(j *job) (outcome, bool) {
	suspect, err := w.bus.Suspect(j.ctx, j.req.ID)
	if err != nil {
		if j.ctx.Err() == nil {
			w.log.Warn().Err(err).Str("request", j.req.ID).Msg("suspect not read")
		}
		return outcome{}, false
	}
	j.starts = suspect.Starts
	if len(j.starts) >= maxStarts {
		j.Attempts = append(j.Attempts, j.starts...)
		e := dispatch.Errorf(dispatch.Crashed, "poisonous: %d deliveries ended without a word from the worker", j.delivery.Deliveries-1)
		return failure(e), true
	}
	if len(j.starts) > 0 {
		select {
		case w.alone <- struct{}{}:
			j.isolated = true
		case <-j.ctx.Done():
			return w.interrupted(context.Cause(j.ctx)), true
		}
	}
	j.starts = append(j.starts, wire.Attempt{
		Worker: w.cfg.Name, Instance: w.cfg.Instance, StartedAt: time.Now().UTC(),
		Kind: dispatch.Crashed, Message: "handling began and was never heard of again",
	})
	j.noted = true
	if err := w.bus.NoteSuspect(j.ctx, j.req.ID, bus.Suspect{Starts: j.starts}); err != nil {
		w.log.Warn().Err(err).Str("request", j.req.ID).Msg("suspect not noted")
	}
	return outcome{}, false
}

// retract takes back the note of this handling: the worker lives, and returns
// the request. What earlier handlings left behind stands.
func (w *Worker) retract(ctx context.Context, j *job) {
	if !j.noted {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, retractPatience)
	defer cancel()
	earlier := j.starts[:len(j.starts)-1]
	if err := w.bus.NoteSuspect(ctx, j.req.ID, bus.Suspect{Starts: earlier}); err != nil {
		w.log.Warn().Err(err).Str("request", j.req.ID).Msg("suspect's note not taken back")
	}
}

// acquit forgets the noted handlings of a request that came through.
func (w *Worker) acquit(ctx context.Context, j *job) {
	if len(j.starts) == 0 {
		return
	}
	if err := w.bus.ClearSuspect(ctx, j.req.ID); err != nil {
		w.log.Warn().Err(err).Str("request", j.req.ID).Msg("suspect not cleared")
	}
}

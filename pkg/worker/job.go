package worker

import (
	"context"
	"errors"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/envelope"
	"understudy/pkg/wire"
)

// errGiveBack ends a call so that its request goes back to its lane.
var errGiveBack = errors.New("worker is shutting down")

// errLate ends a call whose caller's patience is over.
var errLate = dispatch.Errorf(dispatch.Deadline, "no answer before the deadline")

// job is one request in hand.
type job struct {
	*envelope.Envelope
	req      *dispatch.Request
	delivery *bus.Delivery
	route    wire.Route

	ctx    context.Context // ends at the deadline, on cancel, on giving back
	cancel context.CancelCauseFunc

	starts   []wire.Attempt // of a suspect: earlier handlings that ended in silence
	noted    bool           // the last of starts is this handling
	isolated bool
	chunks   int  // that went out, those of rescued attempts included
	emitted  bool // output went out to a listener, in this worker's turn
	heard    heard

	failedHere int64 // calls of this worker that failed in a row

	voice   voice             // what becomes of the provider's chunks
	by      string            // whose answer it is, if not this worker's
	quality wire.QualityCheck // the check that the answer given did not pass
}

func (w *Worker) newJob(d *bus.Delivery) *job {
	route := w.table.route(d.Route)
	_, fresh := d.Lane.Number()
	e := envelope.Open(route, envelope.Place{Route: d.Route, Sequence: d.Sequence, Stored: d.Stored, Fresh: fresh}, envelope.Header(d.Header), d.Body)
	j := &job{Envelope: e, req: &e.Request, delivery: d, route: route}
	j.voice = relay{w, j}
	if e.Emitted != nil {
		j.chunks = int(e.Emitted.Chunks)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	timed, stop := context.WithDeadlineCause(ctx, e.Request.Deadline, errLate)
	j.ctx, j.cancel = timed, func(cause error) { cancel(cause); stop() }
	return j
}

func (j *job) maxAttempts() int {
	return int(orDefault(j.route.MaxAttempts, envelope.DefaultMaxAttempts))
}

// count takes the outcome of one call of this worker.
func (j *job) count(err error) {
	if err == nil {
		j.failedHere = 0
		return
	}
	j.failedHere++
}

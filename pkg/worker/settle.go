package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// settlePatience is how long a request is held while what comes next is being
// written. It outlasts a leader election.
const settlePatience = 45 * time.Second

// settle is the one place where a request leaves this worker's hands. Whatever
// comes next (a result, a handoff, a retry, a dead letter) is written and
// acknowledged by the broker first, and only then is the delivery acknowledged.
// A crash in between makes a duplicate, which the first recorded result
// absorbs; it never makes a loss.
func (w *Worker) settle(j *job, out outcome) error {
	ctx, cancel := context.WithTimeout(context.Background(), settlePatience)
	defer cancel()
	var err error
	switch out.verb {
	case answered, failed, expired, cancelled:
		err = w.end(ctx, j, out)
	case resend:
		err = w.endAgain(ctx, j, bus.Recorded{Result: out.known})
	case handoff:
		header, id := j.Handoff(out.tried)
		err = w.publish(ctx, wire.HandoffLane(out.to).Subject(j.req.Route), id, bus.Header(header), j.req.Body)
	case park:
		header, id := j.Park()
		err = w.publish(ctx, wire.LaneParked.Subject(j.req.Route), id, bus.Header(header), j.req.Body)
	case retryLater:
		header, id := j.Retry()
		err = w.bus.RetryLater(ctx, j.req.Route, id, time.Now().Add(out.after), bus.Header(header), j.req.Body)
	case giveBack:
		w.metrics.settled(w.cfg.Name, j.req.Route, out.verb)
		w.retract(ctx, j)
		return j.delivery.GiveBack()
	}
	if errors.Is(err, bus.ErrTooLarge) && out.verb != failed {
		return w.settle(j, failure(tooLarge(out)))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", out.verb, err)
	}
	w.metrics.settled(w.cfg.Name, j.req.Route, out.verb)
	w.acquit(ctx, j)
	return j.delivery.Ack(ctx)
}

func (w *Worker) publish(ctx context.Context, subject, id string, header bus.Header, body []byte) error {
	// A duplicate is as good: the earlier copy goes on in its place.
	_, err := w.bus.Publish(ctx, subject, id, header, body)
	return err
}

// tooLarge is the failure of a request whose next step does not fit into one
// message of the broker: doing it again would end the same way.
func tooLarge(out outcome) *dispatch.Error {
	if a := out.answer; a != nil {
		return dispatch.Errorf(dispatch.Malformed, "the answer of %d bytes is larger than the broker takes in one message", len(a.Body))
	}
	return dispatch.Errorf(dispatch.BadRequest, "the request and its history are larger than the broker takes in one message; send less, or raise the broker's limit")
}

// end records the terminal state, then its dead letter if it failed, and tells
// whoever waits. If another terminal state was first, that one is told.
func (w *Worker) end(ctx context.Context, j *job, out outcome) error {
	stands, won, err := w.bus.Record(ctx, j.route.Durability, w.result(j, out))
	if err != nil {
		return err
	}
	if !won {
		return w.endAgain(ctx, j, stands)
	}
	if out.verb == failed {
		if err := w.setAside(ctx, j, stands.Result); err != nil {
			return err
		}
	}
	if out.verb == answered && j.req.Stream && j.chunks == 0 {
		w.forwardWhole(j, out.answer)
	}
	w.tell(j, stands)
	return nil
}

// endAgain finishes what an earlier handling may have left half done: the dead
// letter of a failure, and the word to whoever waits.
func (w *Worker) endAgain(ctx context.Context, j *job, known bus.Recorded) error {
	if known.Status == dispatch.StatusFailed && known.Replay == j.Replay {
		if err := w.setAside(ctx, j, known.Result); err != nil {
			return err
		}
	}
	w.tell(j, known)
	return nil
}

func (w *Worker) result(j *job, out outcome) wire.Result {
	status := map[verb]dispatch.Status{
		answered: dispatch.StatusAnswered, failed: dispatch.StatusFailed, expired: dispatch.StatusExpired, cancelled: dispatch.StatusCancelled,
	}[out.verb]
	r := j.Result(status, time.Now())
	r.Worker = cmp.Or(j.by, w.cfg.Name)
	if a := out.answer; a != nil {
		r.Answer, r.Model, r.Degraded, r.Sources = a.Body, a.Model, w.cfg.Local && j.by == "", a.Sources
		r.Quality = j.quality
		r.Usage = wire.Usage{InputTokens: a.Usage.Input, OutputTokens: a.Usage.Output}
		return r
	}
	r.Error = wire.FailureOf(out.err)
	return r
}

// setAside writes the dead letter of a failed request.
func (w *Worker) setAside(ctx context.Context, j *job, r wire.Result) error {
	d := j.delivery
	l := wire.DeadLetter{
		ID: r.ID, Route: r.Route, Reason: string(r.Error.Kind), Error: r.Error,
		Headers: d.Header, Attempts: r.Attempts, Subject: d.Subject,
		Sequence: int64(d.Sequence), Deliveries: int64(d.Deliveries), AcceptedAt: r.AcceptedAt, At: r.FinishedAt,
	}
	if l.Headers == nil {
		l.Headers = map[string][]string{}
	}
	if r.Error.Kind == dispatch.Crashed && len(j.starts) > 0 {
		l.Reason = reasonPoisonous
	}
	if json.Valid(j.req.Body) {
		l.Body = j.req.Body
	} else {
		l.Raw = j.req.Body
	}
	err := w.bus.PublishDeadLetter(ctx, j.DedupeID("dead"), l)
	if !errors.Is(err, bus.ErrTooLarge) {
		return err
	}
	// Without its body it can be read, not replayed; with it, it would come back
	// to this place for ever.
	bare := *r.Error
	bare.Message = fmt.Sprintf("%s (the body of %d bytes is too large to be set aside with its history)", bare.Message, len(j.req.Body))
	l.Error, l.Body, l.Raw = &bare, nil, nil
	return w.bus.PublishDeadLetter(ctx, j.DedupeID("dead"), l)
}

const reasonPoisonous = "poisonous"

// tell passes the recorded result to whoever waits for it.
func (w *Worker) tell(j *job, r bus.Recorded) {
	if err := w.bus.Tell(r, j.ReplyTo, j.StreamTo); err != nil {
		w.log.Debug().Err(err).Str("request", r.ID).Msg("result not told, it is recorded")
	}
}

// forwardWhole streams an answer that came in one piece.
func (w *Worker) forwardWhole(j *job, a *dispatch.Answer) {
	chunks, err := chat.Chunks(a.Body)
	if err != nil {
		w.log.Warn().Err(err).Str("request", j.req.ID).Msg("answer not streamed, it is recorded")
		return
	}
	for _, c := range chunks {
		w.forward(j, c)
	}
}

// chunkHeader says which chunk of an answer it is, and where it comes from; by is
// the worker that speaks, if it is not this one.
func (w *Worker) chunkHeader(j *job, by string, number int) bus.Header {
	h := bus.Header{
		wire.HeaderChunk:   {strconv.Itoa(number)},
		wire.HeaderAttempt: {w.attemptName(j, by)},
		wire.HeaderWorker:  {cmp.Or(by, w.cfg.Name)},
	}
	if j.Emitted != nil {
		h[wire.HeaderRescue] = []string{j.Emitted.Attempt}
	}
	return h
}

// attemptName tells the chunks of this handling from those of any other, and
// those of another worker that speaks in it.
func (w *Worker) attemptName(j *job, by string) string {
	name := w.cfg.Instance + "-" + strconv.FormatUint(j.delivery.Sequence, 10) + "-" + strconv.FormatUint(j.delivery.Deliveries, 10)
	if by != "" {
		name += "-" + by
	}
	return name
}

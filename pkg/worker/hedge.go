package worker

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

const (
	defaultHedgeBudget = 10 // per cent
	// hedgeMemory is how many requests of a route the share of hedges is taken
	// over: half of them are forgotten when there are so many.
	hedgeMemory = 1000
	// hedgePulse is how often the worker that was asked finds out whether its
	// answer is still wanted.
	hedgePulse = 250 * time.Millisecond
	// hedgeReply is how long it waits to learn that. Without a word in time the
	// hedge ends, which is nobody's loss.
	hedgeReply = time.Second
	// hedgePatience is how long the asker waits for a sign of life.
	hedgePatience = 1500 * time.Millisecond
)

// The last tokens of the subjects that a hedge answers to.
const (
	hedgePulsed = ".pulse"
	hedgeFrame  = ".frame"
	hedgeOutput = ".output"
	hedgeEnd    = ".end"
)

// hedgeOver is the reply to a pulse whose hedge is not wanted any more.
const hedgeOver = "over"

var (
	// errUnwanted ends a hedge that nobody listens to any more: the other was
	// quicker, its caller is gone, or its worker crashed.
	errUnwanted = dispatch.Errorf(dispatch.Cancelled, "the answer is not wanted any more")
	// errNoHedge is the answer of a worker that has no room for a hedge.
	errNoHedge = dispatch.Errorf(dispatch.Unavailable, "no room for a hedge")
)

// hedges are the requests of other workers that this one was asked for as well,
// and the count of its own that were hedged. It is safe for concurrent use.
type hedges struct {
	over    context.Context // ends when the worker drains
	stop    context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
	seen   map[string]int64 // by route
	asked  map[string]int64
}

func newHedges() *hedges {
	h := &hedges{seen: map[string]int64{}, asked: map[string]int64{}}
	h.over, h.stop = context.WithCancel(context.Background())
	return h
}

// count notes a request that might be hedged.
func (h *hedges) count(route string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seen[route] >= hedgeMemory {
		h.seen[route] /= 2
		h.asked[route] /= 2
	}
	h.seen[route]++
}

// afford says whether one more may be hedged, and notes it.
func (h *hedges) afford(route string, perCent int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asked[route]*100 >= h.seen[route]*perCent {
		return false
	}
	h.asked[route]++
	return true
}

// enter says whether a hedge may begin; leave ends it.
func (h *hedges) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.running.Add(1)
	return true
}

func (h *hedges) leave() { h.running.Done() }

// close ends what is running, which is nobody's loss: the request is in another
// worker's hand.
func (h *hedges) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.stop()
	h.running.Wait()
}

// takeHedge answers a request that another worker holds, if there is a free slot
// and room in the limits; it does not wait for them.
func (w *Worker) takeHedge(m bus.Message) {
	tokens := strings.Split(m.Subject, ".")
	j := w.newJob(&bus.Delivery{
		Route: tokens[2], Lane: wire.HandoffLane(w.cfg.Name), Subject: m.Subject, Header: m.Header, Body: m.Body, Stored: time.Now(),
	})
	if j.ReplyTo == "" {
		j.cancel(context.Canceled)
		return
	}
	if !w.breaker.ready() || !w.hedges.enter() {
		w.endHedge(j, nil, errNoHedge)
		return
	}
	if w.limit.Room() < 1 || w.slots.upTo(1) == 0 {
		w.hedges.leave()
		w.endHedge(j, nil, errNoHedge)
		return
	}
	go func() {
		defer w.hedges.leave()
		defer w.slots.release(1)
		w.serveHedge(j)
	}()
}

// serveHedge calls the provider once, for as long as somebody wants the answer.
func (w *Worker) serveHedge(j *job) {
	ctx, cancel := context.WithCancelCause(j.ctx)
	stop := context.AfterFunc(w.hedges.over, func() { cancel(errNoHedge) })
	defer stop()
	j.voice = toAsker{w, j}
	var pulsing sync.WaitGroup
	pulsing.Go(func() { w.pulse(ctx, j.ReplyTo, cancel) })
	answer, err := w.attempt(ctx, j)
	cancel(nil)
	pulsing.Wait()
	w.endHedge(j, answer, err)
}

// pulse tells the asker that its hedge lives, and finds out whether somebody
// still listens. The broker says at once when nobody does.
func (w *Worker) pulse(ctx context.Context, inbox string, cancel context.CancelCauseFunc) {
	for {
		ask, stop := context.WithTimeout(ctx, hedgeReply)
		reply, err := w.bus.Ask(ask, inbox+hedgePulsed, nil, []byte(w.cfg.Instance))
		stop()
		if err != nil || string(reply.Body) == hedgeOver {
			cancel(errUnwanted)
			return
		}
		if !pause(ctx, hedgePulse) {
			return
		}
	}
}

// toAsker speaks to the worker that asked for a hedge.
type toAsker struct {
	worker *Worker
	job    *job
}

func (t toAsker) say(c dispatch.Chunk) {
	w, j := t.worker, t.job
	if !j.req.Stream {
		return
	}
	subject := j.ReplyTo + hedgeFrame
	if c.Output {
		subject = j.ReplyTo + hedgeOutput
	}
	if err := w.bus.Send(subject, bus.Header{wire.HeaderChunk: {strconv.Itoa(j.chunks)}}, c.Data); err != nil {
		w.log.Debug().Err(err).Str("request", j.req.ID).Msg("chunk of a hedge not sent")
	}
	j.chunks++
	j.emitted = j.emitted || c.Output
}

// end says nothing: the last word follows.
func (toAsker) end() {}

// endHedge sends the last word to the asker.
func (w *Worker) endHedge(j *job, answer *dispatch.Answer, err error) {
	defer j.cancel(context.Canceled)
	out := outcome{verb: answered, answer: answer}
	if err != nil {
		out = failure(dispatch.AsError(err))
	}
	if err := w.sendHedgeEnd(j, out); errors.Is(err, bus.ErrTooLarge) {
		_ = w.sendHedgeEnd(j, failure(tooLarge(out))) // else the asker's patience ends it
	}
}

func (w *Worker) sendHedgeEnd(j *job, out outcome) error {
	data, err := json.Marshal(w.result(j, out))
	if err != nil {
		return err
	}
	if int64(len(data)) > w.bus.MaxPayload() {
		return bus.ErrTooLarge
	}
	return w.bus.Send(j.ReplyTo+hedgeEnd, nil, data)
}

package gateway

import (
	"context"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

const (
	// maxAsks is how many callers may wait over NATS at once.
	maxAsks = 10000
	// maxCancels is how many cancellations are recorded at once.
	maxCancels = 64
)

// crew runs work in goroutines, a bounded number at once, and waits for them.
type crew struct {
	slots chan struct{}

	mu     sync.Mutex
	closed bool
	work   sync.WaitGroup
}

func newCrew(size int) *crew { return &crew{slots: make(chan struct{}, size)} }

// try runs f, or returns false when all hands are busy or the day is over.
func (c *crew) try(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	select {
	case c.slots <- struct{}{}:
	default:
		return false
	}
	c.work.Go(func() {
		defer func() { <-c.slots }()
		f()
	})
	return true
}

// finish takes no more work and returns when all is done.
func (c *crew) finish() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.work.Wait()
}

// heardAsk serves llm.ask.<route>: publish, wait, reply.
func (g *Gateway) heardAsk(ctx context.Context, m bus.Message) {
	if !m.WantsReply() {
		return
	}
	if !g.asks.try(func() { g.ask(ctx, m) }) {
		f := unavailable("gateway_busy", "too many callers wait at this gateway")
		f.RetryAfterMS = retrySoonMS
		g.respondFailure(m, "", f)
	}
}

func (g *Gateway) ask(ctx context.Context, m bus.Message) {
	started := time.Now()
	defer func() {
		if trouble := recover(); trouble != nil {
			g.log.Error().Interface("panic", trouble).Str("subject", m.Subject).Bytes("stack", debug.Stack()).Msg("ask panicked")
			g.respondFailure(m, "", internal())
		}
	}()
	q, failure := g.asked(m)
	if failure != nil {
		g.metrics.count("", rejected, started)
		g.respondFailure(m, "", failure)
		return
	}
	result, failure, err := g.serveRequest(ctx, q, nil, func() {})
	status := string(result.Status)
	switch {
	case failure != nil:
		status = rejected
	case err != nil:
		status = miss(err)
		failure = missed(q.id, err)
	case result.Status != dispatch.StatusAnswered:
		failure = failureOf(result)
	}
	g.metrics.count(q.route, status, started)
	if failure != nil {
		g.respondFailure(m, q.id, failure)
	} else {
		g.respondAnswer(m, result)
	}
	g.log.Info().Str("request", q.id).Str("route", q.route).Str("subject", m.Subject).Str("status", status).
		Str("worker", result.Worker).Bool("degraded", result.Degraded).Dur("duration_ms", time.Since(started)).Msg("asked")
}

// asked reads and checks a request that came over NATS.
func (g *Gateway) asked(m bus.Message) (*request, *wire.Failure) {
	route := strings.TrimPrefix(m.Subject, wire.AskSubject(""))
	q, failure := g.directory.now.Load().check(route, m.Body, m.Header.Get)
	if failure != nil {
		return nil, failure
	}
	q.stream = false
	if !q.deadline.After(q.received) {
		return nil, overdue(q.id)
	}
	return q, nil
}

func (g *Gateway) respondAnswer(m bus.Message, r wire.Result) {
	body, err := credited(r.Answer, r)
	if err != nil {
		g.respondFailure(m, r.ID, internal())
		return
	}
	g.respond(m, bus.Header{wire.HeaderStatus: {string(r.Status)}, wire.HeaderRequestID: {r.ID}}, body)
}

func (g *Gateway) respondFailure(m bus.Message, id string, f *wire.Failure) {
	h := bus.Header{wire.HeaderStatus: {string(endOf(f))}, wire.HeaderErrorCode: {f.Code}}
	if id != "" {
		h[wire.HeaderRequestID] = []string{id}
	}
	g.respond(m, h, errorBody(f))
}

func (g *Gateway) respond(m bus.Message, h bus.Header, body []byte) {
	if err := m.Respond(h, body); err != nil {
		g.log.Warn().Err(err).Str("subject", m.Subject).Msg("reply not sent")
	}
}

// endOf is the terminal state that a failure stands for.
func endOf(f *wire.Failure) dispatch.Status {
	switch f.Status {
	case http.StatusRequestTimeout:
		return dispatch.StatusExpired
	case statusClientGone:
		return dispatch.StatusCancelled
	}
	return dispatch.StatusFailed
}

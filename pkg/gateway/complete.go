package gateway

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// pooledBody is the largest buffer that is kept for the next body.
const pooledBody = 64 << 10

// incoming reads and checks a request.
func (g *Gateway) incoming(x *exchange, r *http.Request, buffer *bytes.Buffer) (*request, *wire.Failure) {
	if r.ContentLength > g.config.MaxBody {
		return nil, tooLarge(g.config.MaxBody)
	}
	// A deadline that stayed would end the watch over the connection, too.
	_ = x.control.SetReadDeadline(time.Now().Add(g.pace.transfer))
	_, err := buffer.ReadFrom(http.MaxBytesReader(x.ResponseWriter, r.Body, g.config.MaxBody))
	_ = x.control.SetReadDeadline(time.Time{})
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return nil, tooLarge(g.config.MaxBody)
	}
	if err != nil {
		f := invalid("", "body_incomplete", "the request's body did not arrive whole")
		if errors.Is(err, os.ErrDeadlineExceeded) {
			f.Status = http.StatusRequestTimeout
		}
		return nil, f
	}
	q, failure := g.directory.now.Load().check("", buffer.Bytes(), r.Header.Get)
	if failure != nil {
		return nil, failure
	}
	x.about(q.id, q.route)
	if !q.deadline.After(q.received) {
		return q, overdue(q.id)
	}
	return q, nil
}

func (g *Gateway) body() *bytes.Buffer {
	buffer := g.bodies.Get().(*bytes.Buffer)
	buffer.Reset()
	return buffer
}

func (g *Gateway) release(buffer *bytes.Buffer) {
	if buffer.Cap() <= pooledBody {
		g.bodies.Put(buffer)
	}
}

// complete serves POST /v1/chat/completions, whole and streamed.
func (g *Gateway) complete(x *exchange, r *http.Request) {
	buffer := g.body()
	defer g.release(buffer)
	q, failure := g.incoming(x, r, buffer)
	if failure != nil {
		g.metrics.count(x.route, rejected, x.started)
		x.fail(failure)
		return
	}
	var s *stream
	if q.stream {
		s = &stream{
			x: x, usage: q.usage, pace: g.pace, local: g.directory.now.Load().local,
			first: func() { g.metrics.firstToken(q.route, x.started) },
		}
	}
	result, failure, err := g.serveRequest(r.Context(), q, s, func() { owned(x.Header()) })
	switch {
	case failure != nil:
		g.metrics.count(q.route, rejected, x.started)
		x.fail(failure)
	case err != nil:
		g.metrics.count(q.route, miss(err), x.started)
		g.apologize(x, q, s, err)
	default:
		x.worker, x.degraded = result.Worker, result.Degraded
		g.metrics.count(q.route, string(result.Status), x.started)
		g.render(x, q, s, result)
	}
}

// serveRequest takes a request through the pipeline: publish, wait, and on
// hanging up take it back. It returns the result; or the failure of a request
// that the pipeline does not own; or the error that ended the wait.
func (g *Gateway) serveRequest(ctx context.Context, q *request, s *stream, accepted func()) (result wire.Result, failure *wire.Failure, err error) {
	g.metrics.waiting.Inc()
	defer g.metrics.waiting.Dec()
	box := g.inbox.enter(q)
	defer func() {
		if orphaned := g.inbox.leave(box); orphaned && hungUp(err) {
			g.abandon(q)
		}
	}()
	receipt, failure := g.publish(ctx, q, g.inbox.address(q.id))
	if failure != nil {
		return result, failure, nil
	}
	accepted()
	if !receipt.Duplicate {
		g.inbox.added(q.id)
	}
	result, err = g.wait(ctx, q, box, s, receipt.Duplicate)
	return result, nil, err
}

// hungUp says whether a wait ended because its caller is gone.
func hungUp(err error) bool {
	return err != nil && !errors.Is(err, errOverdue) && !errors.Is(err, errStopping)
}

// miss is the status that a wait without a result is counted under.
func miss(err error) string {
	switch {
	case errors.Is(err, errOverdue):
		return string(dispatch.StatusExpired)
	case errors.Is(err, errStopping):
		return unknown
	}
	return string(dispatch.StatusCancelled)
}

// missed is what a caller sees who is there but got no result.
func missed(id string, err error) *wire.Failure {
	if errors.Is(err, errOverdue) {
		return overdue(id)
	}
	return unavailable("gateway_stopping", "this gateway stops; the request goes on, and GET /v1/requests/%s tells what becomes of it", id)
}

// apologize ends an exchange that got no result.
func (g *Gateway) apologize(x *exchange, q *request, s *stream, err error) {
	if hungUp(err) {
		if x.status == 0 {
			x.status = statusClientGone
		}
		return
	}
	failure := missed(q.id, err)
	if s != nil {
		s.fail(failure)
		return
	}
	x.fail(failure)
}

// render sends a result to the caller.
func (g *Gateway) render(x *exchange, q *request, s *stream, r wire.Result) {
	if s != nil {
		if !s.finish(r) && r.Status == dispatch.StatusAnswered {
			g.log.Warn().Str("request", q.id).Msg("stream not delivered whole")
		}
		return
	}
	announce(x.Header(), r)
	if r.Status != dispatch.StatusAnswered {
		x.fail(failureOf(r))
		return
	}
	body, err := credited(r.Answer, r)
	if err != nil {
		g.log.Error().Err(err).Str("request", q.id).Msg("recorded answer is no JSON object")
		x.fail(internal())
		return
	}
	x.reply(http.StatusOK, body)
}

// accept serves POST /v1/async/chat/completions: the request is in its queue
// when the reply goes out, and is asked for by its id.
func (g *Gateway) accept(x *exchange, r *http.Request) {
	buffer := g.body()
	defer g.release(buffer)
	q, failure := g.incoming(x, r, buffer)
	if failure == nil {
		q.stream = false
		failure = g.enqueue(r.Context(), q)
	}
	if failure != nil {
		g.metrics.count(x.route, rejected, x.started)
		x.fail(failure)
		return
	}
	g.metrics.count(q.route, string(dispatch.StatusQueued), x.started)
	owned(x.Header())
	x.Header().Set("Location", "/v1/requests/"+q.id)
	x.json(http.StatusAccepted, struct {
		ID     string          `json:"id"`
		Status dispatch.Status `json:"status"`
	}{q.id, dispatch.StatusQueued})
}

// enqueue publishes a request that nobody waits for.
func (g *Gateway) enqueue(ctx context.Context, q *request) *wire.Failure {
	receipt, failure := g.publish(ctx, q, "")
	if failure != nil {
		return failure
	}
	note := bus.Acceptance{Route: q.route, Stream: receipt.Stream, Sequence: receipt.Sequence}
	if err := g.bus.NoteAcceptance(context.WithoutCancel(ctx), q.id, note); err != nil {
		g.log.Error().Err(err).Str("request", q.id).Msg("acceptance not noted: the request is unknown until it has a result")
	}
	return nil
}

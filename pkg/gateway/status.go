package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// report is where a request stands, as GET /v1/requests/{id} tells it.
type report struct {
	ID         string          `json:"id"`
	Status     dispatch.Status `json:"status"`
	Route      string          `json:"route,omitzero"`
	Result     json.RawMessage `json:"result"`
	Error      *errorObject    `json:"error"`
	Worker     string          `json:"worker,omitzero"`
	Model      string          `json:"model,omitzero"`
	Degraded   bool            `json:"degraded"`
	Attempts   []wire.Attempt  `json:"attempts"`
	AcceptedAt time.Time       `json:"accepted_at,omitzero"`
	FinishedAt time.Time       `json:"finished_at,omitzero"`
}

func reportOf(r wire.Result) report {
	p := report{
		ID: r.ID, Status: r.Status, Route: r.Route, Result: r.Answer, Worker: r.Worker, Model: r.Model,
		Degraded: r.Degraded, Attempts: r.Attempts, AcceptedAt: r.AcceptedAt, FinishedAt: r.FinishedAt,
	}
	if r.Status != dispatch.StatusAnswered {
		p.Error = errorOf(failureOf(r))
	}
	return p
}

// errUnknown means that nobody here knows a request.
var errUnknown = errors.New("unknown request")

// find tells where a request stands: its result; else whether a worker holds
// it; else whether it was accepted. It returns errUnknown otherwise.
func (g *Gateway) find(ctx context.Context, id string) (report, error) {
	result, err := g.bus.FindResult(ctx, id)
	if err == nil {
		return reportOf(result), nil
	}
	if !errors.Is(err, bus.ErrNotFound) {
		return report{}, err
	}
	p := report{ID: id, Status: dispatch.StatusQueued, Attempts: []wire.Attempt{}}
	var known bool
	if p.Route, known = g.inbox.route(id); !known {
		note, err := g.bus.Acceptance(ctx, id)
		if err != nil && !errors.Is(err, bus.ErrNotFound) {
			return report{}, err
		}
		p.Route, known = note.Route, err == nil
	}
	ask, cancel := context.WithTimeout(ctx, g.pace.inFlight)
	defer cancel()
	if m, err := g.bus.Ask(ask, wire.InFlightSubject(id), nil, nil); err == nil {
		p.Status, p.Worker = dispatch.StatusInProgress, m.Header.Get(wire.HeaderWorker)
		return p, nil
	}
	if !known {
		return report{}, errUnknown
	}
	return p, nil
}

// lookUp serves GET /v1/requests/{id}.
func (g *Gateway) lookUp(x *exchange, r *http.Request) {
	p, ok := g.findFor(x, r)
	if ok {
		x.json(http.StatusOK, p)
	}
}

// takeBack serves DELETE /v1/requests/{id} and POST /v1/requests/{id}/cancel.
// It replies with what stands: a request that ended before stays as it ended.
func (g *Gateway) takeBack(x *exchange, r *http.Request) {
	p, ok := g.findFor(x, r)
	if !ok {
		return
	}
	switch {
	case p.Status != dispatch.StatusQueued && p.Status != dispatch.StatusInProgress:
	case p.Route == "": // only the worker that holds it knows where its result goes
		if err := g.bus.Send(wire.CancelSubject(p.ID), bus.Header{wire.HeaderGateway: {g.inbox.subject}}, nil); err != nil {
			g.unreachable(x, err)
			return
		}
	default:
		stands, err := g.recordCancelled(r.Context(), p.ID, p.Route, time.Time{}, "the caller took the request back")
		if err != nil {
			g.unreachable(x, err)
			return
		}
		p = reportOf(stands)
	}
	x.json(http.StatusOK, p)
}

func (g *Gateway) findFor(x *exchange, r *http.Request) (report, bool) {
	id := r.PathValue("id")
	if !wire.ValidID(id) {
		x.fail(notFound("request_not_found", "there is no request %q", id))
		return report{}, false
	}
	p, err := g.find(r.Context(), id)
	switch {
	case errors.Is(err, errUnknown):
		x.fail(notFound("request_not_found", "there is no request %q; results are kept for a day", id))
		return p, false
	case err != nil:
		g.unreachable(x, err)
		return p, false
	}
	x.about(p.ID, p.Route)
	return p, true
}

func (g *Gateway) unreachable(x *exchange, err error) {
	g.log.Warn().Err(err).Str("request", x.id).Msg("broker did not answer")
	f := unavailable("broker_unavailable", "the broker does not answer")
	f.RetryAfterMS = retrySoonMS
	x.fail(f)
}

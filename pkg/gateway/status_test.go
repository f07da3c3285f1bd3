package gateway

import (
	"encoding/json"
	"net/http"
	"testing"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

func (h *house) status(id string) report {
	h.t.Helper()
	got := h.do(http.MethodGet, "/v1/requests/"+id, "")
	var p report
	if err := json.Unmarshal([]byte(got.body), &p); got.StatusCode != http.StatusOK || err != nil {
		h.t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	return p
}

func (h *house) accepted(body string) string {
	h.t.Helper()
	got := h.do(http.MethodPost, "/v1/async/chat/completions", body)
	var p struct{ ID, Status string }
	if err := json.Unmarshal([]byte(got.body), &p); got.StatusCode != http.StatusAccepted || err != nil || p.Status != "queued" || got.Header.Get("Location") != "/v1/requests/"+p.ID {
		h.t.Fatalf("%d %v %s", got.StatusCode, got.Header, got.body)
	}
	return p.ID
}

func TestAsynchronousRequestCanBeFollowedToItsAnswer(t *testing.T) {
	h := open(t, plan{})
	id := h.accepted(streamed)
	if p := h.status(id); p.Status != dispatch.StatusQueued || p.Route != "chat" || p.Attempts == nil {
		t.Errorf("in the queue: %+v", p)
	}
	j := next(t, h.jobs())
	if j.id != id || j.Header.Get(wire.HeaderReplyTo) != "" || j.Header.Get(wire.HeaderStreamTo) != "" {
		t.Errorf("published with %v", j.Header)
	}
	release, err := h.bus.Listen(wire.InFlightSubject(id), "", func(m bus.Message) {
		_ = m.Respond(bus.Header{wire.HeaderWorker: {"openai"}}, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	if p := h.status(id); p.Status != dispatch.StatusInProgress || p.Worker != "openai" {
		t.Errorf("in hand: %+v", p)
	}
	release()
	result := j.answered("hello")
	j.end(result)
	if p := h.status(id); p.Status != dispatch.StatusAnswered || string(p.Result) != string(result.Answer) || p.Error != nil || len(p.Attempts) != 1 {
		t.Errorf("answered: %+v", p)
	}
}

func TestFailedRequestTellsItsError(t *testing.T) {
	h := open(t, plan{})
	id := h.accepted(question)
	j := next(t, h.jobs())
	j.end(j.failed(wire.Failure{Kind: dispatch.BadRequest, Status: 400, Message: "no", Type: "invalid_request_error", Code: "bad", Param: "messages"}))
	if p := h.status(id); p.Status != dispatch.StatusFailed || p.Error == nil || *p.Error.Code != "bad" || *p.Error.Param != "messages" || string(p.Result) != "null" {
		t.Errorf("%+v", p)
	}
}

func TestRequestIsTakenBackOnce(t *testing.T) {
	h := open(t, plan{})
	for _, way := range [][2]string{{http.MethodDelete, ""}, {http.MethodPost, "/cancel"}} {
		id := h.accepted(question)
		for range 2 {
			got := h.do(way[0], "/v1/requests/"+id+way[1], "")
			var p report
			if err := json.Unmarshal([]byte(got.body), &p); got.StatusCode != 200 || err != nil || p.Status != dispatch.StatusCancelled {
				t.Errorf("%v: %d %s", way, got.StatusCode, got.body)
			}
		}
		if r, err := h.bus.Result(t.Context(), "", id); err != nil || r.Status != dispatch.StatusCancelled {
			t.Errorf("%v: recorded %+v, %v", way, r, err)
		}
	}
	if got := h.do(http.MethodDelete, "/v1/requests/nobody", ""); got.StatusCode != 404 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

func TestTakingBackTellsTheCallerThatWaits(t *testing.T) {
	h := open(t, plan{pace: seldom})
	jobs := h.jobs()
	replies := h.post(question)
	j := next(t, jobs)
	h.do(http.MethodDelete, "/v1/requests/"+j.id, "")
	if got := next(t, replies); got.StatusCode != 499 || got.code(t) != "cancelled" {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

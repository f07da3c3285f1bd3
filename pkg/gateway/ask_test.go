package gateway

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

func (h *house) ask(route, body string, header bus.Header) <-chan bus.Message {
	answers := make(chan bus.Message, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		m, err := h.bus.Ask(ctx, wire.AskSubject(route), header, []byte(body))
		if err != nil {
			h.t.Error(err)
		}
		answers <- m
	}()
	return answers
}

func TestAskIsAnsweredOverNATS(t *testing.T) {
	h := open(t, plan{})
	h.serves()
	jobs := h.jobs()
	answers := h.ask("chat", question, bus.Header{wire.HeaderRequestID: {"asked-1"}})
	j := next(t, jobs)
	if j.id != "asked-1" {
		t.Errorf("id %s", j.id)
	}
	j.end(j.answered("hello"))
	m := next(t, answers)
	if m.Header.Get(wire.HeaderStatus) != "answered" || m.Header.Get(wire.HeaderRequestID) != "asked-1" ||
		!strings.Contains(string(m.Body), `"content":"hello"`) || !strings.Contains(string(m.Body), `"understudy":{"id":"asked-1"`) {
		t.Errorf("%v %s", m.Header, m.Body)
	}
}

func TestAskThatFailsSaysWhy(t *testing.T) {
	h := open(t, plan{pace: func(p *pace) { p.grace = time.Millisecond }})
	h.serves()
	for name, c := range map[string]struct {
		route, body, timeout, code string
		status                     dispatch.Status
	}{
		"unknown route": {"poems", question, "", "route_not_found", dispatch.StatusFailed},
		"invalid JSON":  {"chat", "{", "", "invalid_json", dispatch.StatusFailed},
		"no result":     {"chat", question, "10ms", "deadline_exceeded", dispatch.StatusExpired},
	} {
		t.Run(name, func(t *testing.T) {
			header := bus.Header{}
			if c.timeout != "" {
				header[wire.HeaderTimeout] = []string{c.timeout}
			}
			m := next(t, h.ask(c.route, c.body, header))
			if m.Header.Get(wire.HeaderStatus) != string(c.status) || m.Header.Get("Llm-Error-Code") != c.code || !strings.Contains(string(m.Body), `{"error":{`) {
				t.Errorf("%v %s", m.Header, m.Body)
			}
		})
	}
}

// serves waits until the gateway listens.
func (h *house) serves() {
	h.t.Helper()
	if got := h.do(http.MethodGet, "/healthz", ""); got.StatusCode != http.StatusOK {
		h.t.Fatalf("status %d", got.StatusCode)
	}
}

func TestBusyCrewSendsWorkAway(t *testing.T) {
	c := newCrew(1)
	hold, done := make(chan struct{}), make(chan struct{})
	if !c.try(func() { <-hold; close(done) }) {
		t.Fatal("an idle crew refused work")
	}
	if c.try(func() {}) {
		t.Error("a crew of one took two pieces of work")
	}
	close(hold)
	<-done
	c.finish()
	if c.try(func() {}) {
		t.Error("a crew took work after its day")
	}
}

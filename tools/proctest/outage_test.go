package proctest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
	"understudy/tools/fakeprovider/fake"
)

func TestOutageFromTheFirstFailureToTheLastLaneBack(t *testing.T) {
	primary, backup := fakeProvider(t, fake.Options{Name: "primary"}), fakeProvider(t, fake.Options{Name: "backup"})
	config := configuration(t, wire.Config{
		Workers: map[string]wire.Worker{"primary": asks(primary, 8), "backup": asks(backup, 8), "rules": {Kind: wire.WorkerKindRules}},
		Routes: map[string]wire.Route{route: {
			Fallbacks: []string{"primary", "backup", "rules"}, Models: []string{"m"}, SlowStart: ms(1000),
		}},
	})
	_, at := start(t, "standalone", home(config, t.TempDir(), ""))
	s := enter(t, at)
	states := s.health()

	if by := s.answeredBy("all is well"); by != "primary" {
		t.Fatalf("answered by %s", by)
	}

	s.down(primary)
	for n := range 30 {
		if by := s.answeredBy(fmt.Sprint("in the outage ", n)); by != "backup" {
			t.Fatalf("answered by %s", by)
		}
	}
	states("primary", wire.HealthStateOpen)
	s.owned("backup")

	primary.Up()
	s.owned("primary")
	s.until("the primary to answer", func() bool { return s.answeredBy("it is back") == "primary" })
	if steps := s.steps("primary"); len(steps) != 3 || steps[0] != 1 || steps[1] != 2 || steps[2] != 7 {
		t.Errorf("lanes came back in steps of %v, want 1, 2 and 7", steps)
	}

	s.down(primary)
	s.down(backup)
	s.degradedAnswer()
	s.clearFailure()
	s.owned("rules")
	parked := s.parkedRequest()
	primary.Up()
	if r := s.await(parked); r.Status != dispatch.StatusAnswered || r.Degraded || r.Worker != "primary" {
		t.Errorf("parked: %+v", r)
	}
	s.owned("primary")
	s.endedOnce()
}

// health listens to the workers and returns a wait for a worker's state.
func (s *stage) health() func(worker string, state wire.HealthState) {
	s.Helper()
	heard := make(chan wire.Health, 1000)
	stop, err := s.bus.Listen(wire.SubjectsHealth, "", func(m bus.Message) {
		var h wire.Health
		if json.Unmarshal(m.Body, &h) == nil {
			heard <- h
		}
	})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(stop)
	return func(worker string, state wire.HealthState) {
		s.Helper()
		ctx, cancel := s.patient()
		defer cancel()
		for {
			select {
			case h := <-heard:
				if h.Worker == worker && h.State == state {
					return
				}
			case <-ctx.Done():
				s.Fatalf("worker %s was not heard to be %s", worker, state)
			}
		}
	}
}

func (s *stage) down(p *fake.Server) {
	s.Helper()
	if err := p.Down(fake.DownRefuse); err != nil {
		s.Fatal(err)
	}
}

// steps counts the numbered lanes of each move to a worker, in order.
func (s *stage) steps(worker string) (steps []int) {
	s.Helper()
	ctx, cancel := s.patient()
	defer cancel()
	total := 0
	for total < wire.Lanes { // the last event follows the last move
		steps, total = nil, 0
		err := s.bus.Events(ctx, 0, func(e wire.Event, _ uint64) bool {
			if e.Kind != wire.EventKindLaneMoved || e.Data["to"] != worker {
				return true
			}
			n := 0
			for _, lane := range strings.Split(e.Data["lanes"], ",") {
				if _, numbered := wire.Lane(lane).Number(); numbered {
					n++
				}
			}
			if n > 0 {
				steps, total = append(steps, n), total+n
			}
			return true
		})
		if err != nil {
			s.Fatalf("events: %v, steps so far %v", err, steps)
		}
	}
	return steps
}

// degradedAnswer asks what the rules cover.
func (s *stage) degradedAnswer() {
	s.Helper()
	r := s.ask(question("m", "How do I get a refund?"))
	if r.status != http.StatusOK || r.header.Get("Understudy-Worker") != "rules" || r.header.Get("Understudy-Degraded") != "true" {
		s.Errorf("covered question: %+v", r)
	}
}

// clearFailure asks what they do not cover.
func (s *stage) clearFailure() {
	s.Helper()
	r := s.ask(question("m", "Why is the sky blue?"), wire.HeaderTimeout, "20s")
	if r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" || !strings.Contains(r.body, `"error"`) {
		s.Errorf("uncovered question: %+v", r)
	}
}

// parkedRequest has a request wait for a model, and returns its id.
func (s *stage) parkedRequest() string {
	s.Helper()
	r, err := s.post(s.Context(), "/v1/async/chat/completions", question("m", "How do I get a refund?"), wire.HeaderDegrade, "never", wire.HeaderRequestID, "patient")
	if err != nil || r.status != http.StatusAccepted {
		s.Fatalf("%+v %v", r, err)
	}
	s.until("the request to be parked", func() bool {
		lane, err := s.bus.LaneState(s.Context(), route, wire.LaneParked)
		return err == nil && lane.Waiting == 1
	})
	return "patient"
}

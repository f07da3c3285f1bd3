package proctest

import (
	"testing"
	"time"

	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
	"understudy/tools/fakeprovider/fake"
)

// long is an ack wait that no test waits for; soon is well before it.
const (
	long = 2 * time.Minute
	soon = 20 * time.Second
)

func TestTerminatedWorkerFinishesWhatItHolds(t *testing.T) {
	provider := fakeProvider(t, fake.Options{Name: "primary", Latency: 300 * time.Millisecond})
	config := configuration(t, wire.Config{
		Workers: map[string]wire.Worker{"primary": asks(provider, 4)},
		Routes:  map[string]wire.Route{route: {Fallbacks: []string{"primary"}, AckWait: wire.Duration(long)}},
	})
	_, at := start(t, "standalone", home(config, t.TempDir(), "supervisor"))
	s := enter(t, at)
	leaving, _ := start(t, "openai-worker", guest(at, settings{"UNDERSTUDY_INSTANCE": "leaving"}))
	start(t, "openai-worker", guest(at, settings{"UNDERSTUDY_INSTANCE": "staying"}))
	began := time.Now()
	ids := s.publishAll("r", 40)
	s.seen(provider, "both at work", func(now fake.Stats) bool { return now.InFlight == 8 })
	if code := leaving.terminate(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.allAnswered(ids)
	if took := time.Since(began); took > soon {
		t.Errorf("took %v: something waited for its worker to be given up", took)
	}
	served := map[string]int{}
	for _, id := range ids {
		r := s.await(id)
		if len(r.Attempts) != 1 {
			t.Errorf("%s took %d attempts: %+v", id, len(r.Attempts), r.Attempts)
		}
		served[r.Attempts[0].Instance]++
	}
	if served["leaving"] == 0 || served["staying"] == 0 {
		t.Errorf("served by %v, want both", served)
	}
}

func TestTerminatedWorkerGivesBackWhatDoesNotFinish(t *testing.T) {
	provider := fakeProvider(t, fake.Options{Name: "primary"})
	// The first calls hang, so the first worker holds all it can.
	if err := provider.SetFaults(fake.Fault{Kind: fake.Silence, First: 4}); err != nil {
		t.Fatal(err)
	}
	patient := asks(provider, 4)
	patient.Timeouts = wire.Timeouts{FirstToken: wire.Duration(long)}
	config := configuration(t, wire.Config{
		Workers: map[string]wire.Worker{"primary": patient},
		Routes:  map[string]wire.Route{route: {Fallbacks: []string{"primary"}, AckWait: wire.Duration(long), Timeout: wire.Duration(long)}},
	})
	_, at := start(t, "standalone", home(config, t.TempDir(), "supervisor"))
	s := enter(t, at)
	leaving, _ := start(t, "openai-worker", guest(at, settings{"UNDERSTUDY_INSTANCE": "leaving", "UNDERSTUDY_WORKER_DRAIN": "100ms"}))
	began := time.Now()
	ids := s.publishAll("r", 40)
	s.seen(provider, "4 calls to hang", func(now fake.Stats) bool { return now.InFlight == 4 })
	start(t, "openai-worker", guest(at, settings{"UNDERSTUDY_INSTANCE": "staying"}))
	if code := leaving.terminate(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(began); took > soon {
		t.Errorf("the worker took %v to leave", took)
	}
	for _, id := range ids {
		if r := s.await(id); r.Status != dispatch.StatusAnswered || r.Attempts[0].Instance != "staying" {
			t.Errorf("%s: %+v", id, r)
		}
	}
	s.allAnswered(ids)
	if took := time.Since(began); took > soon {
		t.Errorf("took %v: something waited for its worker to be given up", took)
	}
}

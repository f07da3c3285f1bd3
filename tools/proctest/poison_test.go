package proctest

import (
	"fmt"
	"testing"
	"time"

	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
	"understudy/tools/fakeprovider/fake"
)

func TestPoisonousRequestReachesTheDeadLettersAndOthersFlowOn(t *testing.T) {
	provider := fakeProvider(t, fake.Options{Name: "primary", Latency: 20 * time.Millisecond})
	// The poison holds its worker until that is killed.
	if err := provider.SetFaults(fake.Fault{Kind: fake.Silence, Model: "poison"}); err != nil {
		t.Fatal(err)
	}
	config := configuration(t, wire.Config{
		Workers: map[string]wire.Worker{"primary": asks(provider, 8)},
		Routes:  map[string]wire.Route{route: {Fallbacks: []string{"primary"}, AckWait: ms(1000)}},
	})
	_, at := start(t, "standalone", home(config, t.TempDir(), "supervisor"))
	s := enter(t, at)
	worker, _ := start(t, "openai-worker", guest(at, nil))
	s.publish("poison", question("poison", "drop dead"))
	var others []string
	for n := range 3 {
		s.seen(provider, fmt.Sprintf("call %d with the poison", n+1), func(now fake.Stats) bool { return now.ByModel["poison"] == int64(n+1) })
		others = append(others, s.publishAll(fmt.Sprintf("beside%d-", n), 20)...)
		worker.kill()
		worker, _ = start(t, "openai-worker", guest(at, nil))
	}
	if r := s.await("poison"); r.Status != dispatch.StatusFailed || r.Error.Kind != dispatch.Crashed {
		t.Errorf("result %+v %+v", r, r.Error)
	}
	s.allAnswered(others)
	letters := s.deadLetters()
	if len(letters) != 1 || letters[0].ID != "poison" || letters[0].Reason != "poisonous" || letters[0].Deliveries != 4 {
		t.Fatalf("dead letters %+v", letters)
	}
	if string(letters[0].Body) != string(question("poison", "drop dead")) {
		t.Errorf("body %s", letters[0].Body)
	}
	instances := map[string]bool{}
	for _, a := range letters[0].Attempts {
		if a.Worker != "primary" || a.Kind != dispatch.Crashed {
			t.Errorf("attempt %+v", a)
		}
		instances[a.Instance] = true
	}
	if len(instances) != 2 { // the first handling is known by the count of deliveries
		t.Errorf("history %+v", letters[0].Attempts)
	}
	if calls := provider.Stats().ByModel["poison"]; calls != 3 {
		t.Errorf("the provider saw the poison %d times", calls)
	}
}

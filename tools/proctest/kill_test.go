package proctest

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
	"understudy/tools/fakeprovider/fake"
)

// load publishes through every door until it is stopped, and keeps the ids of
// what was acknowledged.
type load struct {
	*stage
	enough chan struct{} // closed when so many were acknowledged
	most   int

	mu    sync.Mutex
	acked []string
}

func (l *load) ack(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acked = append(l.acked, id); len(l.acked) == l.most {
		close(l.enough)
	}
}

// overNATS takes the broker's acknowledgement.
func (l *load) overNATS(ctx context.Context, id string) bool {
	_, err := l.bus.Publish(ctx, wire.RequestSubject(route), id, bus.Header{wire.HeaderRequestID: {id}}, question("m", "hello"))
	return err == nil
}

// accepted takes the gateway's word that the request is in its queue.
func (l *load) accepted(ctx context.Context, id string) bool {
	r, err := l.post(ctx, "/v1/async/chat/completions", question("m", "hello"), wire.HeaderRequestID, id)
	return err == nil && r.status == http.StatusAccepted
}

// answered takes a whole answer: it was recorded before.
func (l *load) answered(ctx context.Context, id string) bool {
	r, err := l.post(ctx, "/v1/chat/completions", question("m", "hello"), wire.HeaderRequestID, id)
	return err == nil && r.status == http.StatusOK
}

func (l *load) publish(ctx context.Context, name string, door func(context.Context, string) bool) {
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprintf("%s-%d", name, n)
		if !door(ctx, id) {
			return // nothing is known of this one
		}
		l.ack(id)
	}
}

func TestKilledProcessLosesNothingThatWasAcknowledged(t *testing.T) {
	provider := fakeProvider(t, fake.Options{Name: "primary", Latency: 150 * time.Millisecond})
	config := configuration(t, wire.Config{
		Workers: map[string]wire.Worker{"primary": asks(provider, 16)},
		Routes:  map[string]wire.Route{route: {Fallbacks: []string{"primary"}, Models: []string{"m"}, AckWait: ms(1000)}},
	})
	data := t.TempDir()
	standalone, at := start(t, "standalone", home(config, data, ""))

	l := &load{stage: enter(t, at), enough: make(chan struct{}), most: 200}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var publishers sync.WaitGroup
	for n := range 2 {
		publishers.Go(func() { l.publish(ctx, fmt.Sprintf("nats%d", n), l.overNATS) })
		publishers.Go(func() { l.publish(ctx, fmt.Sprintf("async%d", n), l.accepted) })
		publishers.Go(func() { l.publish(ctx, fmt.Sprintf("sync%d", n), l.answered) })
	}
	select {
	case <-l.enough:
	case <-time.After(patience):
		t.Fatalf("only %d requests were acknowledged", len(l.acked))
	}
	standalone.kill() // while all are publishing and the provider is being asked
	stop()
	publishers.Wait()

	_, at = start(t, "standalone", home(config, data, ""))
	enter(t, at).allAnswered(l.acked)
	t.Logf("%d requests were acknowledged, %d calls made", len(l.acked), provider.Stats().Total)
}

func TestKilledWorkerLosesNothing(t *testing.T) {
	provider := fakeProvider(t, fake.Options{Name: "primary", Latency: 200 * time.Millisecond})
	config := configuration(t, wire.Config{
		Workers: map[string]wire.Worker{"primary": asks(provider, 8)},
		Routes:  map[string]wire.Route{route: {Fallbacks: []string{"primary"}, AckWait: ms(1000)}},
	})
	_, at := start(t, "standalone", home(config, t.TempDir(), "supervisor"))
	s := enter(t, at)
	worker, _ := start(t, "openai-worker", guest(at, nil))
	ids := s.publishAll("r", 80)
	s.seen(provider, "8 in flight after some answers", func(now fake.Stats) bool { return now.InFlight == 8 && now.Total > 16 })
	worker.kill()
	s.seen(provider, "the calls of the killed worker to end", func(now fake.Stats) bool { return now.InFlight == 0 })
	start(t, "openai-worker", guest(at, nil))
	s.allAnswered(ids)
	if calls := provider.Stats().Total; calls <= int64(len(ids)) {
		t.Errorf("%d calls for %d requests: the worker was killed without any in hand", calls, len(ids))
	}
}

func TestDispatchGoesOnWithoutASupervisorUntilANewOneTakesOver(t *testing.T) {
	primary, backup := fakeProvider(t, fake.Options{Name: "primary"}), fakeProvider(t, fake.Options{Name: "backup"})
	config := configuration(t, wire.Config{
		Workers: map[string]wire.Worker{"primary": asks(primary, 8), "backup": asks(backup, 8)},
		Routes:  map[string]wire.Route{route: {Fallbacks: []string{"primary", "backup"}, Models: []string{"m"}}},
	})
	_, broker := start(t, "standalone", home(config, t.TempDir(), "gateway"))
	s := enter(t, broker)
	start(t, "openai-worker", guest(broker, nil))
	if by := s.answeredBy("before any supervisor"); by != "primary" {
		t.Fatalf("answered by %s", by)
	}

	first, _ := start(t, "supervisor", guest(broker, nil))
	leader := s.leader("")
	first.kill()
	for n := range 20 {
		if by := s.answeredBy(fmt.Sprint("without a supervisor ", n)); by != "primary" {
			t.Fatalf("answered by %s", by)
		}
	}

	start(t, "supervisor", guest(broker, nil))
	s.leader(leader)
	if err := primary.Down(fake.DownRefuse); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		if by := s.answeredBy(fmt.Sprint("in the outage ", n)); by != "backup" {
			t.Fatalf("answered by %s", by)
		}
	}
	s.owned("backup")
}

// leader waits until somebody else than before leads, and returns who.
func (s *stage) leader(before string) (holder string) {
	s.Helper()
	s.until("a supervisor to lead", func() bool {
		l, err := s.bus.Leader(s.Context())
		holder = l.Holder
		return err == nil && holder != before
	})
	return holder
}

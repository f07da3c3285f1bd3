package workertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/bus/bustest"
	"understudy/pkg/config"
	"understudy/pkg/supervisor"
	"understudy/pkg/wire"
	"understudy/pkg/worker"
)

// Harness is what is held to the promise.
type Harness struct {
	// Run runs one worker until ctx ends, as worker.New(...).Run does.
	Run func(ctx context.Context, cfg worker.Config, b *bus.Bus, p worker.Provider, log zerolog.Logger) error
	// Requests to publish. Default 300.
	Requests int
	// Hedge has the models hedge every request that they are silent on.
	Hedge bool
	// Metrics may be nil.
	Metrics *worker.Metrics
	// Seed of everything that is random; 0 takes a new one. It is printed.
	Seed uint64
}

const (
	route = "chat"
	// patience bounds a run that does not come to its end.
	patience = 60 * time.Second
	// disturbances are how often a worker is stopped or cut off in mid-load.
	disturbances = 6
)

// Run publishes requests of every sort to a chain of two models and a local
// worker, disturbs the workers while they serve, and then counts: accepted =
// answered + failed + expired + cancelled, each recorded once, each failure
// with one dead letter, nothing left in a queue, and no listener told two
// different ends.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.Requests == 0 {
		h.Requests = 300
	}
	if h.Seed == 0 {
		h.Seed = rand.Uint64()
	}
	t.Logf("seed %d", h.Seed)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	b := bustest.New(t)
	if _, err := config.Apply(ctx, b, running(h)); err != nil {
		t.Fatal(err)
	}
	log := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	supervise(t, b, log)
	storm := newStorm(h.Seed, func(id string) { _ = b.Send(wire.CancelSubject(id), nil, nil) })
	crew := hire(t, h, b, storm, log)
	gallery := openGallery(t, b)

	published := make(chan []string, 1)
	go func() { published <- publish(ctx, t, b, h, gallery) }()
	chance := rand.New(rand.NewPCG(h.Seed, 2))
	for n := range disturbances {
		if !storm.await(ctx, (n+1)*h.Requests/(disturbances+2)) {
			t.Fatalf("only %d calls reached the providers", storm.count())
		}
		crew.disturb(chance)
	}
	accepted := <-published
	crew.renew()
	verify(ctx, t, b, accepted, gallery)
}

// running is the configuration: everything is short, so that every timer of
// the harness runs out within the test.
func running(h Harness) wire.Config {
	model := wire.Worker{
		Kind: wire.WorkerKindOpenai, Concurrency: 12,
		Timeouts:  wire.Timeouts{FirstToken: wire.Duration(100 * time.Millisecond), Idle: wire.Duration(100 * time.Millisecond), Total: wire.Duration(2 * time.Second)},
		SlowAfter: wire.Duration(80 * time.Millisecond),
		Breaker:   wire.BreakerSettings{Open: wire.Duration(30 * time.Millisecond), OpenMax: wire.Duration(100 * time.Millisecond)},
	}
	c := wire.Config{
		Workers: map[string]wire.Worker{"primary": model, "backup": model, "rules": {Kind: wire.WorkerKindRules, Concurrency: 12}},
		Routes: map[string]wire.Route{route: {
			Fallbacks: []string{"primary", "backup", "rules"}, Split: map[string]int64{"primary": 70, "backup": 30},
			Timeout: wire.Duration(6 * time.Second), AckWait: wire.Duration(time.Second), SlowStart: wire.Duration(50 * time.Millisecond),
			Quality: wire.Quality{Empty: true, Refusal: true, Counts: true},
		}},
	}
	if h.Hedge {
		r := c.Routes[route]
		r.HedgeAfter, r.HedgeBudget = wire.Duration(15*time.Millisecond), 100
		c.Routes[route] = r
	}
	return c
}

func supervise(t *testing.T, b *bus.Bus, log zerolog.Logger) {
	t.Helper()
	conn, err := b.Connect(t.Context(), "supervisor")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s := supervisor.New(supervisor.Config{Instance: "s1", Renew: 50 * time.Millisecond}, conn, log)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("supervisor: %v", err)
		}
		conn.Close()
	})
}

const question = `{"messages":[{"role":"user","content":"what is up?"}]}`

// publish puts the requests into the queue and returns the ids of those that
// the broker acknowledged. Some are published twice: at once, or at the end.
func publish(ctx context.Context, t *testing.T, b *bus.Bus, h Harness, g *gallery) (accepted []string) {
	chance := rand.New(rand.NewPCG(h.Seed, 3))
	send := func(id, dedupeID string, header bus.Header) {
		if _, err := b.Publish(ctx, wire.RequestSubject(route), dedupeID, header, []byte(question)); err != nil {
			t.Errorf("publish %s: %v", id, err)
		}
	}
	var again []func()
	for n := range h.Requests {
		id := fmt.Sprintf("r%d", n)
		header := func() bus.Header { return bus.Header{wire.HeaderRequestID: {id}, wire.HeaderReplyTo: {g.seat(id)}} }
		first := header()
		if chance.IntN(3) == 0 {
			first[wire.HeaderStreamTo] = []string{g.seat(id)}
		}
		switch chance.IntN(10) {
		case 0:
			first[wire.HeaderTimeout] = []string{"40ms"}
		case 1, 2:
			first[wire.HeaderDegrade] = []string{"never"}
		}
		send(id, id, first)
		accepted = append(accepted, id)
		switch chance.IntN(10) {
		case 0:
			send(id, id+"-again", header())
		case 1:
			again = append(again, func() { send(id, id+"-late", header()) })
		}
	}
	for _, repeat := range again {
		repeat()
	}
	return accepted
}

package supervisor_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"understudy/pkg/bus"
	"understudy/pkg/bus/bustest"
	"understudy/pkg/config"
	"understudy/pkg/dispatch"
	"understudy/pkg/supervisor"
	"understudy/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func applied(t *testing.T) *bus.Bus {
	t.Helper()
	b := bustest.New(t)
	_, err := config.Apply(t.Context(), b, wire.Config{
		Workers: map[string]wire.Worker{"openai": {Kind: wire.WorkerKindOpenai}, "backup": {Kind: wire.WorkerKindOpenai}},
		Routes:  map[string]wire.Route{"chat": {Fallbacks: []string{"openai", "backup"}, SlowStart: wire.Duration(50 * time.Millisecond)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func lead(t *testing.T, b *bus.Bus, instance string) (stop func()) {
	t.Helper()
	return leadBy(t, b, supervisor.Config{Instance: instance, Renew: 20 * time.Millisecond})
}

func leadBy(t *testing.T, b *bus.Bus, cfg supervisor.Config) (stop func()) {
	t.Helper()
	conn, err := b.Connect(t.Context(), cfg.Instance)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s := supervisor.New(cfg, conn, zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.InfoLevel))
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		conn.Close()
	}
	t.Cleanup(stop)
	return stop
}

// beat says that a worker is in a state, over and over, until stopped.
func beat(t *testing.T, b *bus.Bus, worker string, state wire.HealthState) (stop func()) {
	t.Helper()
	return repeat(t, b, wire.Health{Worker: worker, Instance: "i", State: state, Reason: "as the test says", Concurrency: 1, Breaker: wire.Breaker{State: wire.BreakerStateClosed}, StartedAt: time.Now(), At: time.Now()})
}

// repeat sends a report over and over, until stopped.
func repeat(t *testing.T, b *bus.Bus, h wire.Health) (stop func()) {
	t.Helper()
	data, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			_ = b.Send(wire.HealthSubject(h.Worker, h.Instance), nil, data)
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	}()
	return func() { cancel(); <-done }
}

// awaitOwner watches the table until each numbered lane has the owner.
func awaitOwner(t *testing.T, b *bus.Bus, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	owners := map[string]string{}
	err := b.WatchOwners(ctx, func(e bus.Entry[wire.Ownership]) {
		owners[e.Key] = e.Value.Worker
		for n := range wire.Lanes {
			if owners[wire.NumberedLane(n).OwnerKey("chat")] != want {
				return
			}
		}
		cancel()
	})
	if err != nil || errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		t.Fatalf("owners %v, want %s: %v", owners, want, err)
	}
}

func TestLanesFollowHealthThereAndBack(t *testing.T) {
	b := applied(t)
	lead(t, b, "one")
	stopBackup := beat(t, b, "backup", wire.HealthStateReady)
	defer stopBackup()
	stop := beat(t, b, "openai", wire.HealthStateOpen)
	awaitOwner(t, b, "backup")
	stop()
	stop = beat(t, b, "openai", wire.HealthStateReady)
	awaitOwner(t, b, "openai")
	stop()

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for moved := 0; moved < 4; { // told after the table was written
		moved = 0
		err := b.Events(ctx, 0, func(e wire.Event, _ uint64) bool {
			if e.Kind == wire.EventKindLaneMoved {
				moved++
				if e.Reason == "" || e.Data["lanes"] == "" {
					t.Errorf("event without its why: %+v", e)
				}
			}
			return true
		})
		if err != nil {
			t.Fatalf("%d moves told (want one away and three back): %v", moved, err)
		}
	}
}

func TestSecondSupervisorTakesOverWhenTheFirstStops(t *testing.T) {
	b := applied(t)
	stopFirst := lead(t, b, "one")
	lead(t, b, "two")
	stopBackup := beat(t, b, "backup", wire.HealthStateReady)
	defer stopBackup()
	stop := beat(t, b, "openai", wire.HealthStateReady)
	awaitOwner(t, b, "openai")
	stopFirst()
	stop()
	stop = beat(t, b, "openai", wire.HealthStateOpen)
	defer stop()
	awaitOwner(t, b, "backup")
	leader, err := b.Leader(t.Context())
	if err != nil || leader.Holder != "two" {
		t.Errorf("leader %+v, %v", leader, err)
	}
}

func TestRequestThatNobodyTakesExpiresVisibly(t *testing.T) {
	b := applied(t)
	inbox := b.NewInbox()
	told := make(chan bus.Message, 1)
	stop, err := b.Listen(inbox, "", func(m bus.Message) { told <- m })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	lead(t, b, "one")
	if _, err := b.Publish(t.Context(), wire.RequestSubject("chat"), "a", bus.Header{
		wire.HeaderRequestID: {"a"}, wire.HeaderTimeout: {"100ms"}, wire.HeaderReplyTo: {inbox},
	}, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if m := <-told; m.Header.Get(wire.HeaderStatus) != "expired" {
		t.Fatalf("told %v %s", m.Header, m.Body)
	}
	if r, err := b.FindResult(t.Context(), "a"); err != nil || r.Status != dispatch.StatusExpired {
		t.Fatalf("result %+v, %v", r, err)
	}
}

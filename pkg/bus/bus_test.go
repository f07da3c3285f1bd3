package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/bus/bustest"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

func openRoute(t *testing.T, route wire.Route) (*bus.Bus, context.Context) {
	t.Helper()
	b := bustest.New(t)
	if err := b.EnsureRoute(t.Context(), "chat", route); err != nil {
		t.Fatal(err)
	}
	return b, t.Context()
}

func take(t *testing.T, b *bus.Bus, lane wire.Lane, n int) []*bus.Delivery {
	t.Helper()
	var got []*bus.Delivery
	if _, err := b.Fetch(t.Context(), "chat", lane, n, bus.PriorityOwner, 2*time.Second, func(d *bus.Delivery) { got = append(got, d) }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestRequestsAreSpreadOverTenLanes(t *testing.T) {
	b, ctx := openRoute(t, wire.Route{Fallbacks: []string{"openai"}})
	const requests = 300
	for i := range requests {
		if _, err := b.Publish(ctx, wire.RequestSubject("chat"), fmt.Sprint("r", i), nil, []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	total := uint64(0)
	for n := range wire.Lanes {
		state, err := b.LaneState(ctx, "chat", wire.NumberedLane(n))
		if err != nil {
			t.Fatal(err)
		}
		if state.Waiting == 0 {
			t.Errorf("lane %d got none of %d requests", n, requests)
		}
		total += state.Waiting
	}
	if total != requests {
		t.Errorf("lanes hold %d of %d requests", total, requests)
	}
}

func TestRepeatedPublishIsNoticedAsDuplicate(t *testing.T) {
	b, ctx := openRoute(t, wire.Route{Fallbacks: []string{"openai"}})
	first, err := b.Publish(ctx, wire.RequestSubject("chat"), "same", nil, []byte(`{}`))
	if err != nil || first.Duplicate {
		t.Fatalf("first publish: %+v, %v", first, err)
	}
	second, err := b.Publish(ctx, wire.RequestSubject("chat"), "same", nil, []byte(`{}`))
	if err != nil || !second.Duplicate {
		t.Fatalf("second publish: %+v, %v", second, err)
	}
}

func TestFullQueueIsAnErrorToThePublisher(t *testing.T) {
	b, ctx := openRoute(t, wire.Route{Fallbacks: []string{"openai"}, MaxBytes: 4096})
	body := []byte(strings.Repeat("x", 1000))
	var err error
	for i := 0; i < 10 && err == nil; i++ {
		_, err = b.Publish(ctx, wire.RequestSubject("chat"), fmt.Sprint("r", i), nil, body)
	}
	if !errors.Is(err, bus.ErrQueueFull) {
		t.Fatalf("publishing into a full queue: %v", err)
	}
}

func TestOversizedRequestIsAnErrorToThePublisher(t *testing.T) {
	b, ctx := openRoute(t, wire.Route{Fallbacks: []string{"openai"}})
	_, err := b.Publish(ctx, wire.RequestSubject("chat"), "big", nil, make([]byte, b.MaxPayload()+1))
	if !errors.Is(err, bus.ErrTooLarge) {
		t.Fatalf("publishing more than the broker takes: %v", err)
	}
}

func TestHandoffWaitsInTheLaneOfItsWorker(t *testing.T) {
	b, ctx := openRoute(t, wire.Route{Fallbacks: []string{"openai", "rules"}})
	lane := wire.HandoffLane("rules")
	if _, err := b.Publish(ctx, lane.Subject("chat"), "h1", bus.Header{"Llm-Tried": {"openai"}}, []byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	got := take(t, b, lane, 1)
	if len(got) != 1 || string(got[0].Body) != `{"a":1}` || got[0].Header.Get("Llm-Tried") != "openai" {
		t.Fatalf("handoff lane delivered %+v", got)
	}
	if err := got[0].Ack(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestRetryComesBackWhenDue(t *testing.T) {
	b, ctx := openRoute(t, wire.Route{Fallbacks: []string{"openai"}})
	due := time.Now().Add(1500 * time.Millisecond)
	if err := b.RetryLater(ctx, "chat", "id-t1", due, bus.Header{"Llm-Request-Id": {"id"}}, []byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	var got []*bus.Delivery
	for len(got) == 0 && t.Context().Err() == nil {
		got = take(t, b, wire.LaneRetry, 1)
	}
	if at := time.Now(); at.Before(due) {
		t.Errorf("came back %v early", due.Sub(at))
	}
	if string(got[0].Body) != `{"a":1}` || got[0].Header.Get("Llm-Request-Id") != "id" {
		t.Errorf("came back changed: %v %s", got[0].Header, got[0].Body)
	}
}

func TestGivenBackRequestIsDeliveredAgainAtOnce(t *testing.T) {
	b, ctx := openRoute(t, wire.Route{Fallbacks: []string{"openai"}})
	lane := wire.HandoffLane("openai")
	if _, err := b.Publish(ctx, lane.Subject("chat"), "x", nil, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if err := take(t, b, lane, 1)[0].GiveBack(); err != nil {
		t.Fatal(err)
	}
	again := take(t, b, lane, 1)
	if len(again) != 1 || again[0].Deliveries != 2 {
		t.Fatalf("after giving back: %+v", again)
	}
}

func result(id string, status dispatch.Status, replay int64) wire.Result {
	return wire.Result{ID: id, Route: "chat", Status: status, Replay: replay, Attempts: []wire.Attempt{}}
}

func TestFirstTerminalStateWins(t *testing.T) {
	for _, d := range []wire.Durability{wire.DurabilityStrict, wire.DurabilityFast, wire.DurabilityMemory} {
		t.Run(string(d), func(t *testing.T) {
			b, ctx := openRoute(t, wire.Route{Fallbacks: []string{"openai"}, Durability: d})
			if _, won, err := b.Record(ctx, d, result("a", dispatch.StatusAnswered, 0)); err != nil || !won {
				t.Fatalf("first: won %v, %v", won, err)
			}
			stands, won, err := b.Record(ctx, d, result("a", dispatch.StatusFailed, 0))
			if err != nil || won || stands.Status != dispatch.StatusAnswered {
				t.Fatalf("second: %+v, won %v, %v", stands, won, err)
			}
			if _, won, err = b.Record(ctx, d, result("a", dispatch.StatusFailed, 1)); err != nil || won {
				t.Fatalf("a replay must not replace an answer: won %v, %v", won, err)
			}
			if r, err := b.FindResult(ctx, "a"); err != nil || r.Status != dispatch.StatusAnswered {
				t.Fatalf("found %+v, %v", r, err)
			}
		})
	}
}

func TestReplayReplacesAFailureOnce(t *testing.T) {
	b, ctx := openRoute(t, wire.Route{Fallbacks: []string{"openai"}})
	for _, step := range []struct {
		r   wire.Result
		won bool
	}{
		{result("a", dispatch.StatusFailed, 0), true},
		{result("a", dispatch.StatusFailed, 0), false},
		{result("a", dispatch.StatusFailed, 1), true},
		{result("a", dispatch.StatusAnswered, 1), false},
		{result("a", dispatch.StatusAnswered, 2), true},
		{result("a", dispatch.StatusFailed, 3), false},
	} {
		if _, won, err := b.Record(ctx, "", step.r); err != nil || won != step.won {
			t.Fatalf("%s, replay %d: won %v, want %v, %v", step.r.Status, step.r.Replay, won, step.won, err)
		}
	}
}

func TestLateWriteOfAnOwnerConflicts(t *testing.T) {
	b, ctx := openRoute(t, wire.Route{Fallbacks: []string{"openai"}})
	lane := wire.NumberedLane(0)
	revision, err := b.SetOwner(ctx, "chat", lane, wire.Ownership{Worker: "openai"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.SetOwner(ctx, "chat", lane, wire.Ownership{Worker: "rules"}, revision); err != nil {
		t.Fatal(err)
	}
	if _, err := b.SetOwner(ctx, "chat", lane, wire.Ownership{Worker: "late"}, revision); !errors.Is(err, bus.ErrConflict) {
		t.Fatalf("late write: %v", err)
	}
}

func TestOnlyOneSupervisorHoldsTheLease(t *testing.T) {
	b, ctx := openRoute(t, wire.Route{Fallbacks: []string{"openai"}})
	lease, err := b.TakeLease(ctx, "one")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.TakeLease(ctx, "two"); !errors.Is(err, bus.ErrConflict) {
		t.Fatalf("second holder: %v", err)
	}
	if lease, err = b.Renew(ctx, lease); err != nil {
		t.Fatal(err)
	}
	if err := b.Release(ctx); err != nil {
		t.Fatal(err)
	}
	next, err := b.TakeLease(ctx, "two")
	if err != nil || next.Epoch <= lease.Epoch {
		t.Fatalf("after release: %+v, %v", next, err)
	}
	if _, err := b.Renew(ctx, lease); !errors.Is(err, bus.ErrConflict) {
		t.Fatalf("renewing a lost lease: %v", err)
	}
}

func TestEverythingSurvivesARestartOfTheBroker(t *testing.T) {
	cfg := bustest.Config(t)
	b := bustest.Open(t, cfg)
	ctx := t.Context()
	if err := b.EnsureRoute(ctx, "chat", wire.Route{Fallbacks: []string{"openai"}}); err != nil {
		t.Fatal(err)
	}
	lane := wire.HandoffLane("openai")
	if _, err := b.Publish(ctx, lane.Subject("chat"), "x", nil, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	b.Close()
	b = bustest.Open(t, cfg)
	if got := take(t, b, lane, 1); len(got) != 1 {
		t.Fatalf("after a restart the lane delivered %d requests", len(got))
	}
}

func TestListeningBeyondLoopbackNeedsAToken(t *testing.T) {
	cfg := bustest.Config(t)
	cfg.Listen = "0.0.0.0:0"
	_, err := bus.Open(t.Context(), cfg, nopLog)
	if err == nil || !strings.Contains(err.Error(), "UNDERSTUDY_NATS_TOKEN") {
		t.Fatalf("open: %v", err)
	}
}

func TestTakenPortIsAClearError(t *testing.T) {
	cfg := bustest.Config(t)
	cfg.Listen = "127.0.0.1:0"
	first := bustest.Open(t, cfg)
	cfg.DataDir, cfg.Listen = t.TempDir(), strings.TrimPrefix(first.ClientURL(), "nats://")
	_, err := bus.Open(t.Context(), cfg, nopLog)
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Fatalf("open: %v", err)
	}
}

func TestSubjectThatNoQueueTakesIsAnErrorAtOnce(t *testing.T) {
	b, ctx := openRoute(t, wire.Route{Fallbacks: []string{"openai"}})
	if _, err := b.Publish(ctx, wire.RequestSubject("nope"), "x", nil, nil); !errors.Is(err, bus.ErrNoQueue) {
		t.Fatalf("publishing to an unknown route: %v", err)
	}
}

func TestSecondConnectionReachesTheSameRemoteBroker(t *testing.T) {
	cfg := bustest.Config(t)
	cfg.Listen, cfg.Token = "127.0.0.1:0", "secret"
	home := bustest.Open(t, cfg)
	if err := home.SetWorker(t.Context(), "openai", wire.Worker{Kind: wire.WorkerKindOpenai}); err != nil {
		t.Fatal(err)
	}
	remote := bustest.Open(t, bus.Config{URL: home.ClientURL(), Token: cfg.Token})
	second, err := remote.Connect(t.Context(), "second")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if workers, err := second.Workers(ctx); err != nil || len(workers) != 1 {
		t.Errorf("workers %v, %v", workers, err)
	}
}

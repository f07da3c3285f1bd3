package workertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// look is how often the queues are looked at: that one ran empty is no event.
const look = 20 * time.Millisecond

// verify waits until nothing is on its way, and counts.
func verify(ctx context.Context, t *testing.T, b *bus.Bus, accepted []string, g *gallery) {
	t.Helper()
	results := "KV_" + wire.ResultsBucket(wire.DurabilityStrict)
	ended := until(ctx, func() bool { return fill(t, b, results).Messages >= uint64(len(accepted)) })
	empty := until(ctx, func() bool {
		return fill(t, b, wire.RequestStream(route)).Messages == 0 && fill(t, b, wire.StreamRetries).Messages == 0
	})
	if !empty {
		report(t, b)
	}

	letters := map[string]int{}
	if err := b.DeadLetters(t.Context(), 0, func(l bus.KeptDeadLetter) bool { letters[l.ID]++; return true }); err != nil {
		t.Fatal(err)
	}
	count := map[dispatch.Status]int{}
	for _, id := range accepted {
		r, err := b.Result(t.Context(), wire.DurabilityStrict, id)
		if errors.Is(err, bus.ErrNotFound) {
			t.Errorf("%s was accepted and has no recorded end", id)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		count[r.Status]++
		want := 0
		if r.Status == dispatch.StatusFailed {
			want = 1
		}
		if letters[id] != want {
			t.Errorf("%s ended as %s and has %d dead letters, want %d", id, r.Status, letters[id], want)
		}
		if ends, other := g.heard(id, r.Status); other {
			t.Errorf("%s is recorded as %s, but its caller heard %v", id, r.Status, ends)
		}
	}
	sum := count[dispatch.StatusAnswered] + count[dispatch.StatusFailed] + count[dispatch.StatusExpired] + count[dispatch.StatusCancelled]
	if sum != len(accepted) || len(count) > 4 {
		t.Errorf("accepted %d, ended %d: %v", len(accepted), sum, count)
	}
	if s := fill(t, b, results); s.Last != s.Messages {
		t.Errorf("%d results were written %d times: an end was recorded over another", s.Messages, s.Last)
	}
	if !ended || !empty {
		t.Errorf("after %v: all ended %v, queues empty %v", patience, ended, empty)
	}
	t.Logf("accepted %d: %v, %d dead letters", len(accepted), count, len(letters))
}

// report tells what is left in the queues.
func report(t *testing.T, b *bus.Bus) {
	t.Helper()
	for _, stream := range []string{wire.RequestStream(route), wire.StreamRetries} {
		err := b.ScanQueue(t.Context(), stream, 0, func(m bus.Stored) bool {
			t.Errorf("%s still holds %s on %s since %s", stream, m.Header.Get(wire.HeaderRequestID), m.Subject, m.Time)
			return true
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func fill(t *testing.T, b *bus.Bus, stream string) bus.StreamState {
	t.Helper()
	s, err := b.StreamState(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// until looks again and again; false when ctx ended first.
func until(ctx context.Context, ok func() bool) bool {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

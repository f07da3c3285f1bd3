package limit_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"understudy/pkg/bus"
	"understudy/pkg/bus/bustest"
	"understudy/pkg/limit"
	"understudy/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a ledger without a broker, so that time can be synthetic.
type memory struct {
	mu    sync.Mutex
	entry bus.Entry[bus.Spent]
	down  bool
}

var errDown = errors.New("out of reach")

func (m *memory) Spent(context.Context, string) (bus.Entry[bus.Spent], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return bus.Entry[bus.Spent]{}, errDown
	}
	return m.entry, nil
}

func (m *memory) SetSpent(_ context.Context, _ string, s bus.Spent, revision uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return 0, errDown
	}
	if revision != m.entry.Revision {
		return 0, bus.ErrConflict
	}
	m.entry.Value, m.entry.Revision = s, revision+1
	return m.entry.Revision, nil
}

func (m *memory) setDown(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
}

// calls notes when calls were let through, and by whom.
type calls struct {
	mu sync.Mutex
	at []time.Time
	by map[string]int
}

func (c *calls) note(instance string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = append(c.at, time.Now())
	if c.by == nil {
		c.by = map[string]int{}
	}
	c.by[instance]++
}

// most is the most calls in any window of that length.
func (c *calls) most(window time.Duration) int {
	most, from := 0, 0
	for to := range c.at {
		for c.at[to].Sub(c.at[from]) >= window {
			from++
		}
		most = max(most, to-from+1)
	}
	return most
}

// storm keeps callers calling through each limiter until ctx ends.
func storm(ctx context.Context, c *calls, callers int, tokens int64, limiters map[string]*limit.Limiter) {
	var all sync.WaitGroup
	for name, l := range limiters {
		for range callers {
			all.Go(func() {
				for l.Wait(ctx, tokens) == nil {
					c.note(name)
				}
			})
		}
	}
	all.Wait()
}

func TestCallsStayWithinTheLimitAndASlice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		l := limit.New(wire.Limits{RequestsPerMinute: 600}, "openai", "a", &memory{}, zerolog.Nop())
		var c calls
		storm(ctx, &c, 20, 0, map[string]*limit.Limiter{"a": l})
		if n := len(c.at); n < 600 || n > 611 {
			t.Errorf("%d calls in a minute, want 600 and a slice of 10", n)
		}
		if n := c.most(time.Second); n > 20 {
			t.Errorf("%d calls in one second, want at most 20", n)
		}
	})
}

func TestALowLimitSpacesItsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		l := limit.New(wire.Limits{RequestsPerMinute: 6}, "openai", "a", &memory{}, zerolog.Nop())
		var c calls
		storm(ctx, &c, 3, 0, map[string]*limit.Limiter{"a": l})
		if c.most(9*time.Second) != 1 || len(c.at) < 6 {
			t.Errorf("called at %v", c.at)
		}
	})
}

// far is the ledger seen from a distance.
type far struct {
	*memory
	takes time.Duration
}

func (f far) SetSpent(ctx context.Context, worker string, s bus.Spent, revision uint64) (uint64, error) {
	<-time.After(f.takes)
	return f.memory.SetSpent(ctx, worker, s, revision)
}

func TestInstancesShareOneLimitFairly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		m, limiters := &memory{}, map[string]*limit.Limiter{}
		for name, takes := range map[string]time.Duration{"a": time.Millisecond, "b": 20 * time.Millisecond} {
			limiters[name] = limit.New(wire.Limits{RequestsPerMinute: 600}, "openai", name, far{m, takes}, zerolog.Nop())
		}
		var c calls
		storm(ctx, &c, 5, 0, limiters)
		if n := len(c.at); n < 570 || n > 611 {
			t.Errorf("%d calls in a minute, want 600 and a slice of 10", n)
		}
		if c.by["a"] < 250 || c.by["b"] < 250 {
			t.Errorf("unfair: %v", c.by)
		}
	})
}

func TestAnInstanceUsesWhatTheOthersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		idle := limit.New(wire.Limits{RequestsPerMinute: 600}, "openai", "idle", m, zerolog.Nop())
		if err := idle.Wait(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // the idle one still counts
		defer cancel()
		var c calls
		storm(ctx, &c, 20, 0, map[string]*limit.Limiter{"busy": limit.New(wire.Limits{RequestsPerMinute: 600}, "openai", "busy", m, zerolog.Nop())})
		if n := len(c.at); n < 34 || n > 50 {
			t.Errorf("%d calls in four seconds, want about 40", n)
		}
	})
}

func TestWithoutALedgerEachKeepsToItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, limiters := &memory{}, map[string]*limit.Limiter{}
		for _, name := range []string{"a", "b"} {
			limiters[name] = limit.New(wire.Limits{RequestsPerMinute: 600}, "openai", name, m, zerolog.Nop())
		}
		for range 2 { // each learns of the other
			for _, l := range limiters {
				if err := l.Wait(t.Context(), 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		m.setDown(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var c calls
		storm(ctx, &c, 5, 0, limiters)
		if n := len(c.at); n < 590 || n > 611 {
			t.Errorf("%d calls in a minute without a ledger, want 600 and a slice of 10", n)
		}
		m.setDown(false)
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c = calls{}
		storm(ctx, &c, 5, 0, limiters)
		if n := len(c.at); n < 590 || n > 622 {
			t.Errorf("%d calls in the minute after, want 600 and at most two slices of 10", n)
		}
	})
}

func TestTokensAreCorrectedByWhatWasUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for used, want := range map[int64]int{1000: 60, 500: 120, 2000: 30} {
			l := limit.New(wire.Limits{TokensPerMinute: 60000}, "openai", "a", &memory{}, zerolog.Nop())
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			n := 0
			for l.Wait(ctx, 1000) == nil {
				n++
				l.Correct(ctx, used-1000)
			}
			cancel()
			if n < want || n > want+2 {
				t.Errorf("%d calls of %d tokens in a minute, want %d", n, used, want)
			}
		}
	})
}

func TestRoomIsLeftForThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(wire.Limits{RequestsPerMinute: 60}, "openai", "a", &memory{}, zerolog.Nop())
		if l.Room() != 1 {
			t.Errorf("room for %d, want 1", l.Room())
		}
		if _, _, full := l.Full(); full {
			t.Error("full although nobody called")
		}
		if err := l.Wait(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		reason, until, full := l.Full()
		if !full || reason != "own limit: 60 requests a minute" || time.Until(until) > time.Second {
			t.Errorf("full %v: %q until %v", full, reason, time.Until(until))
		}
		second := make(chan error)
		go func() { second <- l.Wait(t.Context(), 0) }()
		synctest.Wait()
		begun := time.Now()
		if !l.AwaitRoom(t.Context()) || time.Since(begun) < 2*time.Second {
			t.Errorf("room after %v, want it after the one that waits", time.Since(begun))
		}
		if err := <-second; err != nil {
			t.Error(err)
		}
	})
}

func TestACallerThatLeavesUsesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limit.New(wire.Limits{RequestsPerMinute: 60}, "openai", "a", &memory{}, zerolog.Nop())
		if err := l.Wait(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := l.Wait(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		begun := time.Now()
		if err := l.Wait(t.Context(), 0); err != nil || time.Since(begun) > time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

func TestNoLimitsNeedNoLimiter(t *testing.T) {
	l := limit.New(wire.Limits{}, "openai", "a", nil, zerolog.Nop())
	l.Correct(t.Context(), 5)
	if l != nil || l.Wait(t.Context(), 5) != nil || l.Room() < 1000 || !l.AwaitRoom(t.Context()) {
		t.Error("a worker without limits is limited")
	}
	if _, _, full := l.Full(); full {
		t.Error("full")
	}
}

func TestInstancesShareOneLimitOnABroker(t *testing.T) {
	b := bustest.New(t)
	limiters := map[string]*limit.Limiter{}
	for i := range 2 {
		conn, err := b.Connect(t.Context(), fmt.Sprint("instance ", i))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		name := fmt.Sprint("i", i)
		limiters[name] = limit.New(wire.Limits{RequestsPerMinute: 6000}, "openai", name, conn, zerolog.Nop())
	}
	const lasts = 2 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	var c calls
	storm(ctx, &c, 10, 0, limiters)
	if n := len(c.at); n > 301 {
		t.Errorf("%d calls in %v, want at most 200 and a slice of 100", n, lasts)
	}
	if c.by["i0"] < 30 || c.by["i1"] < 30 {
		t.Errorf("unfair: %v", c.by)
	}
}

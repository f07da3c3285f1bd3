package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// crowded simulates callers that fill the slots of an adaptive worker for so
// long, at a provider that takes as given by how many call at once.
func crowded(lasts time.Duration, s *slots, p *pace, takes func(at int64) time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), lasts)
	defer cancel()
	var callers sync.WaitGroup
	var under atomic.Int64
	for range 100 {
		callers.Go(func() {
			for s.one(ctx) {
				if end, err := p.begin(ctx); err == nil {
					<-time.After(takes(under.Add(1)))
					under.Add(-1)
					end(nil)
				}
				s.release(1)
			}
		})
	}
	callers.Wait()
}

func TestAnAdaptiveWorkerBacksOffFromACrowdedProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(100)
		p := newPace(100, s)
		crowded(5*time.Minute, s, p, func(at int64) time.Duration { // serves ten at once, queues the rest
			return max(100*time.Millisecond, time.Duration(at)*10*time.Millisecond)
		})
		if n := p.limiter.Limit(); n > 40 || n < 2 {
			t.Errorf("%d at once at a provider that serves ten", n)
		}
		if s.available() != p.limiter.Limit() {
			t.Errorf("%d slots, the limit is %d", s.available(), p.limiter.Limit())
		}
	})
}

func TestAnAdaptiveWorkerGrowsAtAProviderThatCopes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(100)
		p := newPace(100, s)
		crowded(5*time.Minute, s, p, func(int64) time.Duration { return 100 * time.Millisecond })
		if n := p.limiter.Limit(); n < 60 {
			t.Errorf("%d at once at a provider that copes with any", n)
		}
	})
}

func TestSlotsShrinkAsTheyAreReleased(t *testing.T) {
	s := newSlots(10)
	if s.upTo(8) != 8 {
		t.Fatal("not eight slots")
	}
	s.resize(4)
	if s.available() != 0 {
		t.Errorf("%d free of 4 while 8 are in use", s.available())
	}
	s.release(8)
	if s.available() != 4 {
		t.Errorf("%d free, want 4", s.available())
	}
	s.resize(20)
	if s.available() != 10 {
		t.Errorf("%d free, want 10, the most", s.available())
	}
}

package worker

import (
	"context"
	"sync"
)

// slots are the places for requests in hand. There may be fewer of them for a
// while than there are at the most.
type slots struct {
	free chan struct{}

	mu   sync.Mutex
	size int
	owed int // slots that are taken away as soon as they are released
}

func newSlots(n int) *slots {
	s := &slots{free: make(chan struct{}, n), size: n}
	s.release(n)
	return s
}

// one waits for a free slot and takes it; false when ctx ended first.
func (s *slots) one(ctx context.Context) bool {
	select {
	case <-s.free:
		return true
	case <-ctx.Done():
		return false
	}
}

// upTo takes as many free slots as there are, n at the most, without waiting.
func (s *slots) upTo(n int) int {
	for taken := range n {
		select {
		case <-s.free:
		default:
			return taken
		}
	}
	return n
}

func (s *slots) release(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	away := min(n, s.owed)
	s.owed -= away
	for range n - away {
		s.free <- struct{}{}
	}
}

// resize changes how many slots there are, no more than at first. Those that
// are in use and too many go when they are released.
func (s *slots) resize(n int) {
	n = min(n, cap(s.free))
	s.mu.Lock()
	more := n - s.size
	s.size = n
	if more < 0 {
		s.owed += -more - s.upTo(-more)
	}
	s.mu.Unlock()
	if more > 0 {
		s.release(more)
	}
}

func (s *slots) available() int { return len(s.free) }

package worker

import "context"

// slots are the places for requests in hand.
type slots struct {
	free chan struct{}
}

func newSlots(n int) *slots {
	s := &slots{free: make(chan struct{}, n)}
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
	for range n {
		s.free <- struct{}{}
	}
}

func (s *slots) available() int { return len(s.free) }

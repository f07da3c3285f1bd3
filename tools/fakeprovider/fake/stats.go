package fake

import (
	"context"
	"maps"
	"sync"
	"time"
)

// maxModels bounds the models that are counted by name; the calls of the rest
// count under otherModels.
const (
	maxModels   = 1000
	otherModels = "(other)"
)

// window is how many seconds PerSecond looks back.
const window = 60

// Stats counts calls: chat completions and embeddings, with whatever came of
// them.
type Stats struct {
	Total int64 `json:"total"`
	// ByModel counts by the requested model, without the fault its name asks
	// for; "" are the requests that were not understood.
	ByModel map[string]int64 `json:"by_model"`
	// ByOutcome counts the calls that have ended.
	ByOutcome map[Outcome]int64 `json:"by_outcome"`
	InFlight  int64             `json:"in_flight"`
	// MaxInFlight is the highest concurrency so far.
	MaxInFlight int64 `json:"max_in_flight"`
	// PerSecond is the mean rate of calls over the last minute, or over the
	// time since the counts began where that is shorter (but a second at least).
	PerSecond float64 `json:"per_second"`
	// LastCall is when the last call began; zero when there was none.
	LastCall time.Time `json:"last_call,omitzero"`
}

// stats counts for many goroutines.
type stats struct {
	mu      sync.Mutex
	counts  Stats
	since   time.Time
	seconds [window]second
	changed chan struct{} // closed at the next change; nil when nobody waits
}

// second counts the calls of one second.
type second struct {
	unix, calls int64
}

func newStats() *stats {
	s := &stats{}
	s.reset()
	return s
}

// reset starts the counts anew, but for the calls in flight.
func (s *stats) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	inFlight := s.counts.InFlight
	s.counts = Stats{
		ByModel: map[string]int64{}, ByOutcome: map[Outcome]int64{},
		InFlight: inFlight, MaxInFlight: inFlight,
	}
	s.since, s.seconds = time.Now(), [window]second{}
	s.announce()
}

// begin counts a call that begins.
func (s *stats) begin(model string) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.counts
	if _, known := c.ByModel[model]; !known && len(c.ByModel) >= maxModels {
		model = otherModels
	}
	c.Total++
	c.ByModel[model]++
	c.InFlight++
	c.MaxInFlight = max(c.MaxInFlight, c.InFlight)
	c.LastCall = now
	slot := &s.seconds[now.Unix()%window]
	if slot.unix != now.Unix() {
		*slot = second{unix: now.Unix()}
	}
	slot.calls++
	s.announce()
}

// end counts a call that ends.
func (s *stats) end(outcome Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.InFlight--
	s.counts.ByOutcome[outcome]++
	s.announce()
}

// announce wakes those who wait, for a caller that holds the lock.
func (s *stats) announce() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// snapshot returns the counts.
func (s *stats) snapshot() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.copy()
}

// copy is snapshot for a caller that holds the lock.
func (s *stats) copy() Stats {
	c := s.counts
	c.ByModel, c.ByOutcome = maps.Clone(c.ByModel), maps.Clone(c.ByOutcome)
	now := time.Now()
	var calls int64
	for _, slot := range s.seconds {
		if now.Unix()-slot.unix < window {
			calls += slot.calls
		}
	}
	c.PerSecond = float64(calls) / min(max(now.Sub(s.since).Seconds(), 1), window)
	return c
}

// wait returns nil once the counts are as until wants them.
func (s *stats) wait(ctx context.Context, until func(Stats) bool) error {
	for {
		s.mu.Lock()
		now := s.copy()
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		if until(now) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

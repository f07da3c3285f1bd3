package workertest

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
	"understudy/pkg/worker"
)

// fate is what becomes of one call.
type fate string

// The fates of a call.
const (
	answers   fate = "answers"
	slow      fate = "slow"
	transient fate = "transient"
	throttled fate = "throttled"
	silent    fate = "silent"
	truncated fate = "truncated"
	malformed fate = "malformed"
	account   fate = "account"
	badInput  fate = "bad request"
	tooLong   fate = "context length"
	panics    fate = "panics"
	takenBack fate = "taken back"
	refused   fate = "refused"
	declines  fate = "declines"
)

// odds weigh the fates of a model's calls and of a local worker's.
var (
	modelOdds = map[fate]int{
		answers: 500, slow: 60, transient: 120, throttled: 40, silent: 40, truncated: 60, malformed: 40,
		account: 4, badInput: 30, tooLong: 20, panics: 20, takenBack: 40, declines: 60,
	}
	// hedgedOdds are a model's where silence is what matters.
	hedgedOdds = map[fate]int{
		answers: 500, slow: 250, silent: 100, transient: 60, throttled: 10, truncated: 40, malformed: 40,
		badInput: 30, panics: 20, takenBack: 40, declines: 60,
	}
	localOdds = map[fate]int{answers: 600, slow: 50, refused: 250, panics: 20}
	order     = []fate{answers, slow, transient, throttled, silent, truncated, malformed, account, badInput, tooLong, panics, takenBack, refused, declines}
)

// storm is the weather that all providers of a run share: it decides the fate
// of each call from the seed, and counts the calls.
type storm struct {
	cancel func(id string)

	mu     sync.Mutex
	chance *rand.Rand
	calls  int
	news   chan struct{} // closed and replaced at each call
}

func newStorm(seed uint64, cancel func(id string)) *storm {
	return &storm{cancel: cancel, chance: rand.New(rand.NewPCG(seed, 1)), news: make(chan struct{})}
}

func (s *storm) draw(odds map[fate]int) fate {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	close(s.news)
	s.news = make(chan struct{})
	total := 0
	for _, weight := range odds {
		total += weight
	}
	n := s.chance.IntN(total)
	for _, f := range order {
		if n -= odds[f]; n < 0 {
			return f
		}
	}
	return answers
}

func (s *storm) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// await waits until so many calls were made; false when ctx ended first.
func (s *storm) await(ctx context.Context, calls int) bool {
	for {
		s.mu.Lock()
		enough, news := s.calls >= calls, s.news
		s.mu.Unlock()
		if enough {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-news:
		}
	}
}

// provider is one worker's provider in the storm.
type provider struct {
	storm *storm
	odds  map[fate]int
}

var _ worker.Provider = provider{}

// Probe is in luck two times out of three.
func (p provider) Probe(context.Context) error {
	p.storm.mu.Lock()
	defer p.storm.mu.Unlock()
	if p.storm.chance.IntN(3) == 0 {
		return dispatch.Errorf(dispatch.Transient, "still down")
	}
	return nil
}

// Answer meets the fate that the storm draws.
func (p provider) Answer(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
	switch p.storm.draw(p.odds) {
	case slow:
		if err := after(ctx, 60*time.Millisecond); err != nil {
			return nil, err
		}
	case transient:
		return nil, &dispatch.Error{Kind: dispatch.Transient, Status: 503, RetryAfter: 5 * time.Millisecond}
	case throttled:
		return nil, &dispatch.Error{Kind: dispatch.Throttled, Status: 429, RetryAfter: 20 * time.Millisecond}
	case silent:
		<-ctx.Done()
		return nil, context.Cause(ctx)
	case truncated:
		emit(dispatch.Chunk{Data: []byte(`{"choices":[{"delta":{"content":"half an ans"}}]}`), Output: true})
		return nil, dispatch.Errorf(dispatch.Truncated, "the connection was cut")
	case malformed:
		return nil, dispatch.Errorf(dispatch.Malformed, "no whole answer")
	case account:
		return nil, &dispatch.Error{Kind: dispatch.Account, Status: 401}
	case badInput:
		return nil, &dispatch.Error{Kind: dispatch.BadRequest, Status: 422, Message: "no such voice"}
	case tooLong:
		return nil, &dispatch.Error{Kind: dispatch.ContextLength, Status: 400, Message: "too long"}
	case panics:
		panic("the adapter has a bug")
	case takenBack:
		p.storm.cancel(req.ID)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	case declines:
		return &dispatch.Answer{Body: chat.Completion(req.ID, "storm", "Sorry, I can't help with that.", time.Unix(0, 0)), Model: "storm"}, nil
	case refused:
		return nil, dispatch.Errorf(dispatch.Refused, "no rule fits")
	}
	emit(dispatch.Chunk{Data: []byte(`{"choices":[{"delta":{"role":"assistant"}}]}`)})
	emit(dispatch.Chunk{Data: []byte(`{"choices":[{"delta":{"content":"fine"}}]}`), Output: true})
	return &dispatch.Answer{Body: chat.Completion(req.ID, "storm", "fine", time.Unix(0, 0)), Model: "storm"}, nil
}

// after waits, or returns why ctx ended first.
func after(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

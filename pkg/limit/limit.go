// Package limit keeps a worker within so many provider calls and tokens a
// minute, all its instances together. What is used up stands in a ledger on the
// broker that each instance writes before it calls; while the broker is out of
// reach, each keeps to its own share.
package limit

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

// Ledger keeps what the instances of a worker have used up. *bus.Bus is one.
type Ledger interface {
	// Spent reads it, at revision 0 when nobody has written yet.
	Spent(ctx context.Context, worker string) (bus.Entry[bus.Spent], error)
	// SetSpent writes it if the revision still stands, else bus.ErrConflict.
	SetSpent(ctx context.Context, worker string, s bus.Spent, revision uint64) (uint64, error)
}

var _ Ledger = (*bus.Bus)(nil)

const (
	// ledgerPatience is how long one read or write of the ledger may take.
	ledgerPatience = 500 * time.Millisecond
	// aloneFor is how long an instance keeps to its own share before it tries
	// the ledger again.
	aloneFor = time.Second
	// remembered is how many slices an instance counts after it last took a part.
	remembered = 5
)

// Limiter is one instance's access to its worker's limits. A nil Limiter limits
// nothing. It is safe for concurrent use.
type Limiter struct {
	worker, instance string
	ledger           Ledger
	log              zerolog.Logger
	limits           wire.Limits
	requests, tokens allowance

	turn   chan struct{} // held by the first in the queue
	taking sync.Mutex    // held while the ledger is written

	mu      sync.Mutex
	known   bus.Entry[bus.Spent] // as last seen in the ledger
	own     bus.Spent            // what this instance used up of its share
	sharers int                  // instances that share the limits
	owed    int64                // tokens to be put right with the next entry
	waiting int
	alone   time.Time // the ledger is out of reach: not tried again before
}

// New returns the limiter of one instance of a worker; nil when there is no
// limit to keep.
func New(limits wire.Limits, worker, instance string, l Ledger, log zerolog.Logger) *Limiter {
	if limits == (wire.Limits{}) {
		return nil
	}
	return &Limiter{
		worker: worker, instance: instance, ledger: l, log: log, limits: limits,
		requests: newAllowance(limits.RequestsPerMinute), tokens: newAllowance(limits.TokensPerMinute),
		turn: make(chan struct{}, 1), sharers: 1,
	}
}

// Wait waits until one call of about so many tokens fits into the limits, and
// enters it. Callers are served in order. It returns ctx's error when ctx ended
// first; then nothing is entered.
func (l *Limiter) Wait(ctx context.Context, tokens int64) error {
	if l == nil {
		return nil
	}
	l.wait(1)
	defer l.wait(-1)
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		delay, err := l.take(ctx, 1, tokens)
		if err != nil || delay == 0 {
			return err
		}
		if !pause(ctx, delay) {
			return ctx.Err()
		}
	}
}

func (l *Limiter) wait(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting += n
}

// Correct puts right what a call was entered with: by so many tokens more, or
// less when negative.
func (l *Limiter) Correct(ctx context.Context, tokens int64) {
	if l == nil || tokens == 0 || l.tokens.unlimited() {
		return
	}
	l.mu.Lock()
	l.owed += tokens
	grave := l.tokens.cost(max(l.owed, -l.owed)) >= l.tokens.slice/10
	l.mu.Unlock()
	if grave { // the others should know before this instance's next call
		_, _ = l.take(ctx, 0, 0)
	}
}

// Room is how many calls fit in now, as far as this instance knows, besides
// those that wait.
func (l *Limiter) Room() int {
	room, _ := l.room(time.Now())
	return room
}

// AwaitRoom waits until a call fits in; false when ctx ended first.
func (l *Limiter) AwaitRoom(ctx context.Context) bool {
	for {
		room, delay := l.room(time.Now())
		if room > 0 {
			return ctx.Err() == nil
		}
		if !pause(ctx, delay) {
			return false
		}
	}
}

// Full says why no call fits in and until when; ok is false while there is room.
func (l *Limiter) Full() (reason string, until time.Time, ok bool) {
	now := time.Now()
	room, delay := l.room(now)
	if room > 0 {
		return "", time.Time{}, false
	}
	var parts []string
	for _, p := range []struct {
		n    int64
		what string
	}{{l.limits.RequestsPerMinute, "requests"}, {l.limits.TokensPerMinute, "tokens"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s a minute", p.n, p.what))
		}
	}
	return "own limit: " + strings.Join(parts, ", "), now.Add(delay), true
}

// unlimited is more calls than anybody makes at once.
const unlimited = 1 << 20

func (l *Limiter) room(now time.Time) (int, time.Duration) {
	if l == nil {
		return unlimited, 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	spent, requests, tokens := l.known.Value, l.requests, l.tokens
	if now.Before(l.alone) {
		spent, requests, tokens = l.own, requests.share(l.sharers), tokens.share(l.sharers)
	}
	least := int64(1)
	if l.waiting > 0 && !tokens.unlimited() {
		least = int64(tokens.slice / tokens.unit)
	}
	if delay := tokens.delay(spent.Tokens, now, least); delay > 0 {
		return 0, delay
	}
	room := requests.left(spent.Requests, now) - l.waiting
	if room > 0 {
		return room, 0
	}
	return 0, max(requests.delay(spent.Requests, now, 1)+requests.cost(int64(l.waiting)), time.Millisecond)
}

// pause waits, and says whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

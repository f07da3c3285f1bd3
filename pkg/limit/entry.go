package limit

import (
	"context"
	"errors"
	"time"

	"understudy/pkg/bus"
)

// take enters calls and tokens into the ledger, or says how long to wait first.
// Without calls it only puts right what is owed.
func (l *Limiter) take(ctx context.Context, calls, tokens int64) (delay time.Duration, err error) {
	l.taking.Lock()
	defer l.taking.Unlock()
	patient, cancel := context.WithTimeout(ctx, ledgerPatience)
	defer cancel()
	for {
		now := time.Now()
		if l.isAlone(now) {
			return l.takeOwn(now, calls, tokens), nil
		}
		entry, owed, delay := l.plan(now, calls, tokens)
		announce := delay > 0 && !l.present(now)
		if delay > 0 && !announce {
			return delay, nil
		}
		if announce { // without this, the others leave no share to one that waits
			entry, owed, _ = l.plan(now, 0, 0)
		}
		entry.Revision, err = l.ledger.SetSpent(patient, l.worker, entry.Value, entry.Revision)
		if err == nil && announce {
			l.entered(now, entry, 0, 0, owed)
			return delay, nil
		}
		if err == nil {
			l.entered(now, entry, calls, tokens, owed)
			return 0, nil
		}
		if errors.Is(err, bus.ErrConflict) {
			err = l.reread(patient)
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err != nil {
			l.leave(err)
		}
	}
}

// plan works out the entry that follows the known one, or says how long to wait.
func (l *Limiter) plan(now time.Time, calls, tokens int64) (next bus.Entry[bus.Spent], owed int64, delay time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	spent, owed := l.known.Value, l.owed
	if calls > 0 {
		// Beyond its share an instance may have what nobody took for half a slice.
		own := l.ownDelay(now, calls, tokens)
		spare := max(l.requests.spare(spent.Requests, now, calls), l.tokens.spare(spent.Tokens, now, tokens))
		delay = max(l.requests.delay(spent.Requests, now, calls), l.tokens.delay(spent.Tokens, now, tokens), min(own, spare))
	}
	if delay > 0 {
		return next, 0, delay
	}
	next = l.known
	next.Value = bus.Spent{
		Requests: l.requests.spend(spent.Requests, now, calls).UTC(),
		Tokens:   l.tokens.spend(spent.Tokens, now, tokens+owed).UTC(),
		Seen:     map[string]time.Time{l.instance: now.UTC()},
	}
	for instance, at := range spent.Seen {
		if instance != l.instance && l.counts(at, now) {
			next.Value.Seen[instance] = at
		}
	}
	return next, owed, 0
}

// entered keeps the entry that was written, and charges the own share.
func (l *Limiter) entered(now time.Time, entry bus.Entry[bus.Spent], calls, tokens, owed int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known = entry
	l.countSharers(now)
	l.charge(now, calls, tokens, owed)
}

// charge enters calls, tokens and what was owed into the own share. What was
// spare is charged for one slice ahead at the most.
func (l *Limiter) charge(now time.Time, calls, tokens, owed int64) {
	l.owed -= owed
	ofRequests, ofTokens := l.requests.share(l.sharers), l.tokens.share(l.sharers)
	l.own.Requests = earlier(ofRequests.spend(l.own.Requests, now, calls), now.Add(ofRequests.slice))
	l.own.Tokens = earlier(ofTokens.spend(l.own.Tokens, now, tokens+owed), now.Add(ofTokens.slice))
}

// takeOwn charges the own share only, or says how long to wait first.
func (l *Limiter) takeOwn(now time.Time, calls, tokens int64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if calls > 0 {
		if delay := l.ownDelay(now, calls, tokens); delay > 0 {
			return delay
		}
	}
	l.charge(now, calls, tokens, l.owed)
	return 0
}

func (l *Limiter) ownDelay(now time.Time, calls, tokens int64) time.Duration {
	return max(l.requests.share(l.sharers).delay(l.own.Requests, now, calls), l.tokens.share(l.sharers).delay(l.own.Tokens, now, tokens))
}

// countSharers counts those that the ledger has seen of late. While it is out of
// reach, the last count stands.
func (l *Limiter) countSharers(now time.Time) {
	l.sharers = 1
	for instance, at := range l.known.Value.Seen {
		if instance != l.instance && l.counts(at, now) {
			l.sharers++
		}
	}
}

// counts says whether an instance that last took a part then still shares.
func (l *Limiter) counts(at, now time.Time) bool {
	return now.Sub(at) < remembered*max(l.requests.slice, l.tokens.slice)
}

// present says whether the ledger has seen this instance within a slice.
func (l *Limiter) present(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Sub(l.known.Value.Seen[l.instance]) <= max(l.requests.slice, l.tokens.slice)
}

func (l *Limiter) reread(ctx context.Context) error {
	entry, err := l.ledger.Spent(ctx, l.worker)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known = entry
	l.countSharers(time.Now())
	return nil
}

func (l *Limiter) isAlone(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Before(l.alone)
}

// leave keeps to the own share for a while.
func (l *Limiter) leave(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alone = time.Now().Add(aloneFor)
	l.log.Warn().Err(err).Int("instances", l.sharers).Msg("ledger of the limits out of reach, keeping to a share of them")
}

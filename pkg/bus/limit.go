package bus

import (
	"context"
	"errors"
	"time"

	"understudy/pkg/wire"
)

// Spent is what the instances of a worker have used up of its limits. Each
// allowance grows evenly with time, so that a moment says how much is used up.
type Spent struct {
	// Requests and Tokens are the moments up to which the allowance of provider
	// calls and of tokens is used up.
	Requests time.Time `json:"requests"`
	Tokens   time.Time `json:"tokens"`
	// Seen is when each instance last took a part.
	Seen map[string]time.Time `json:"seen"`
}

// Spent reads what a worker has used up; nothing, at revision 0, when nobody
// has written yet.
func (b *Bus) Spent(ctx context.Context, worker string) (Entry[Spent], error) {
	e, err := get[Spent](ctx, b, wire.BucketLimits, worker)
	if errors.Is(err, ErrNotFound) {
		return Entry[Spent]{Key: worker}, nil
	}
	return e, err
}

// SetSpent writes what a worker has used up, only if it is still at the
// revision that was read; else ErrConflict.
func (b *Bus) SetSpent(ctx context.Context, worker string, s Spent, revision uint64) (uint64, error) {
	return b.put(ctx, wire.BucketLimits, worker, revision, s)
}

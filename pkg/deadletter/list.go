package deadletter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

// List returns the dead letters that a filter selects, oldest first, limit at
// most; 0 is no limit.
func List(ctx context.Context, b *bus.Bus, f Filter, limit int) ([]bus.KeptDeadLetter, error) {
	var letters []bus.KeptDeadLetter
	err := each(ctx, b, f, limit, func(l bus.KeptDeadLetter) error {
		letters = append(letters, l)
		return nil
	})
	return letters, err
}

// Show returns the dead letter of a request, the newest when there are several;
// bus.ErrNotFound when there is none.
func Show(ctx context.Context, b *bus.Bus, id string) (bus.KeptDeadLetter, error) {
	letters, err := List(ctx, b, Filter{ID: id}, 0)
	if err != nil {
		return bus.KeptDeadLetter{}, err
	}
	if len(letters) == 0 {
		return bus.KeptDeadLetter{}, fmt.Errorf("dead letter %s: %w", id, bus.ErrNotFound)
	}
	return letters[len(letters)-1], nil
}

// Count is how many dead letters a route has for one reason.
type Count struct {
	Route  string `json:"route"`
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// Counts returns the dead letters by route and reason, sorted. It looks at
// limit letters at most, 0 is no limit, and says whether those were all.
func Counts(ctx context.Context, b *bus.Bus, limit int) (counts []Count, all bool, err error) {
	state, err := b.StreamState(ctx, wire.StreamDeadLetters)
	if err != nil {
		return nil, false, err
	}
	found := map[Count]int{}
	err = each(ctx, b, Filter{}, limit, func(l bus.KeptDeadLetter) error {
		found[Count{Route: l.Route, Reason: l.Reason}]++
		return nil
	})
	for c, n := range found {
		c.Count = n
		counts = append(counts, c)
	}
	slices.SortFunc(counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Route, b.Route), cmp.Compare(a.Reason, b.Reason))
	})
	return counts, limit == 0 || state.Messages <= uint64(limit), err
}

// each calls do for the selected dead letters that are there now, oldest
// first, limit at most. Those that come while it runs, replays that failed
// again among them, are left for another time: it ends.
func each(ctx context.Context, b *bus.Bus, f Filter, limit int, do func(bus.KeptDeadLetter) error) error {
	state, err := b.StreamState(ctx, wire.StreamDeadLetters)
	if err != nil {
		return err
	}
	done := 0
	var failed error
	err = b.DeadLetters(ctx, state.First, func(l bus.KeptDeadLetter) bool {
		if l.Place > state.Last || (limit > 0 && done == limit) {
			return false
		}
		if !f.Match(l.DeadLetter) {
			return true
		}
		done++
		failed = do(l)
		return failed == nil
	})
	return errors.Join(failed, err)
}

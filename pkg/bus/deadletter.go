package bus

import (
	"context"
	"fmt"

	"understudy/pkg/wire"
)

// PublishDeadLetter sets a request aside. The same dedupe id within an hour
// adds nothing. It returns ErrTooLarge when the letter does not fit into one
// message.
func (b *Bus) PublishDeadLetter(ctx context.Context, dedupeID string, l wire.DeadLetter) error {
	data, err := encode(l)
	if err != nil {
		return fmt.Errorf("encode dead letter %s: %w", l.ID, err)
	}
	_, err = b.Publish(ctx, wire.DeadLetterSubject(l.Route, l.Reason), dedupeID, nil, data)
	return err
}

// KeptDeadLetter is a dead letter and its place.
type KeptDeadLetter struct {
	wire.DeadLetter
	// Place is its sequence among the dead letters.
	Place uint64 `json:"place"`
}

// DeadLetters calls see for each dead letter that is there now, oldest first,
// from the given place on, until see returns false.
func (b *Bus) DeadLetters(ctx context.Context, from uint64, see func(KeptDeadLetter) bool) error {
	return b.scan(ctx, wire.StreamDeadLetters, wire.SubjectsDeadLetters, from, func(m Stored) (bool, error) {
		l, err := wire.Decode[wire.DeadLetter](wire.SchemaDeadLetter, m.Body)
		if err != nil {
			b.log.Error().Err(err).Uint64("place", m.Sequence).Msg("dead letter skipped")
			return true, nil
		}
		return see(KeptDeadLetter{DeadLetter: l, Place: m.Sequence}), nil
	})
}

// RemoveDeadLetter discards a dead letter. A letter that is gone is no error.
func (b *Bus) RemoveDeadLetter(ctx context.Context, place uint64) error {
	return b.RemoveStored(ctx, wire.StreamDeadLetters, place)
}

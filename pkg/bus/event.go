package bus

import (
	"context"
	"encoding/json"

	"understudy/pkg/wire"
)

// Events calls see for each event kept, oldest first, until see returns false.
func (b *Bus) Events(ctx context.Context, from uint64, see func(wire.Event, uint64) bool) error {
	return b.scan(ctx, wire.StreamEvents, wire.SubjectsEvents, from, func(m Stored) (bool, error) {
		e, err := wire.Decode[wire.Event](wire.SchemaEvent, m.Body)
		if err != nil {
			b.log.Error().Err(err).Msg("event skipped")
			return true, nil
		}
		return see(e, m.Sequence), nil
	})
}

// PublishEvent keeps an event. Events are told as they happen and are not part
// of the promise: a failure is logged and goes no further.
func (b *Bus) PublishEvent(ctx context.Context, e wire.Event) {
	data, err := json.Marshal(e)
	if err == nil {
		_, err = b.js.Publish(ctx, wire.EventSubject(e.Kind, e.Name), data)
	}
	if err != nil {
		b.log.Warn().Err(err).Str("event", string(e.Kind)).Str("name", e.Name).Str("reason", e.Reason).Msg("event not kept")
	}
}

package bus

import (
	"context"
	"time"

	"understudy/pkg/wire"
)

// Diagnoses reads what is known to be wrong, by worker. A worker that was never
// unwell has no diagnosis.
func (b *Bus) Diagnoses(ctx context.Context) (map[string]wire.Diagnosis, error) {
	return named[wire.Diagnosis](ctx, b, wire.BucketDiagnoses)
}

// WatchDiagnoses calls see for every diagnosis now and on change, until ctx ends.
func (b *Bus) WatchDiagnoses(ctx context.Context, see func(Entry[wire.Diagnosis])) error {
	return watch(ctx, b, wire.BucketDiagnoses, see)
}

// SetDiagnosis writes a worker's diagnosis.
func (b *Bus) SetDiagnosis(ctx context.Context, d wire.Diagnosis) error {
	return b.set(ctx, wire.BucketDiagnoses, d.Worker, d)
}

// RemoveDiagnosis forgets a worker's diagnosis.
func (b *Bus) RemoveDiagnosis(ctx context.Context, worker string) error {
	return remove(ctx, b, wire.BucketDiagnoses, worker)
}

// Alarms lists the alarms raised since a time, oldest first.
func (b *Bus) Alarms(ctx context.Context, since time.Time) ([]wire.Event, error) {
	var alarms []wire.Event
	err := b.scan(ctx, wire.StreamEvents, wire.EventSubject(wire.EventKindAlarm, ">"), 0, func(m Stored) (bool, error) {
		if m.Time.Before(since) {
			return true, nil
		}
		e, err := wire.Decode[wire.Event](wire.SchemaEvent, m.Body)
		if err != nil {
			b.log.Error().Err(err).Msg("alarm skipped")
			return true, nil
		}
		alarms = append(alarms, e)
		return true, nil
	})
	return alarms, err
}

package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"understudy/pkg/wire"
)

// RetryLater stores a request until it is due, then it comes back on the
// route's retry lane. The dedupe id must name this very retry.
func (b *Bus) RetryLater(ctx context.Context, route, dedupeID string, due time.Time, header Header, body []byte) error {
	h := Header{}
	for k, v := range header {
		h[k] = v
	}
	h[jetstream.ScheduleHeader] = []string{"@at " + due.UTC().Format(time.RFC3339Nano)}
	h[jetstream.ScheduleTargetHeader] = []string{wire.LaneRetry.Subject(route)}
	_, err := b.Publish(ctx, wire.RetrySubject(route, dedupeID), dedupeID, h, body)
	return err
}

package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"understudy/pkg/wire"
)

// Priority orders pulls on one lane: the owner's come first, a spill worker
// takes what the owner has no free slot for.
type Priority uint8

// The priorities of a pull.
const (
	PriorityOwner Priority = 0
	PrioritySpill Priority = 1
)

// Delivery is a request in hand. It must be settled: by Ack, once what comes
// next is recorded, or by GiveBack. Until then it belongs to its holder for as
// long as InProgress is called within the lane's ack wait.
type Delivery struct {
	Route    string
	Lane     wire.Lane
	Subject  string
	Header   Header
	Body     []byte
	Sequence uint64
	// Deliveries counts how often the broker handed it out, this time included.
	Deliveries uint64
	// Stored is when the broker stored it in this lane.
	Stored time.Time

	msg jetstream.Msg
}

// Fetch takes up to n requests from a lane and hands each one over as it
// comes. It returns how many came: n, or fewer once wait has passed. It is not
// interrupted by its context, since an abandoned pull may still be served: keep
// wait short. At least a millisecond is meant by "what is there now".
func (b *Bus) Fetch(ctx context.Context, route string, lane wire.Lane, n int, p Priority, wait time.Duration, take func(*Delivery)) (int, error) {
	consumer, err := b.consumer(ctx, route, lane)
	if err != nil {
		return 0, err
	}
	batch, err := consumer.Fetch(n, jetstream.FetchMaxWait(wait), jetstream.FetchPriorityGroup(priorityGroup), jetstream.FetchPrioritized(uint8(p)))
	if err != nil {
		return 0, fmt.Errorf("pull %s: %w", lane.Subject(route), err)
	}
	taken := 0
	for msg := range batch.Messages() {
		d, err := delivery(route, lane, msg)
		if err != nil {
			return taken, err
		}
		taken++
		take(d)
	}
	err = batch.Error()
	if err == nil || errors.Is(err, nats.ErrTimeout) {
		return taken, nil
	}
	if errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, nats.ErrNoResponders) {
		b.forget(route, lane)
	}
	return taken, fmt.Errorf("pull %s: %w", lane.Subject(route), err)
}

func delivery(route string, lane wire.Lane, msg jetstream.Msg) (*Delivery, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", msg.Subject(), err)
	}
	return &Delivery{
		Route: route, Lane: lane, Subject: msg.Subject(), Header: msg.Headers(), Body: msg.Data(),
		Sequence: meta.Sequence.Stream, Deliveries: meta.NumDelivered, Stored: meta.Timestamp, msg: msg,
	}, nil
}

// Ack settles the delivery for good and returns once the broker confirmed it.
// A confirmation that fails to come is no loss: the request is delivered again
// and found settled.
func (d *Delivery) Ack(ctx context.Context) error {
	if err := d.msg.DoubleAck(ctx); err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
		return fmt.Errorf("ack %s: %w", d.Subject, err)
	}
	return nil
}

// InProgress tells the broker that the request is still being worked on.
func (d *Delivery) InProgress() error { return d.msg.InProgress() }

// GiveBack returns the request to its lane at once.
func (d *Delivery) GiveBack() error { return d.msg.Nak() }

func (b *Bus) consumer(ctx context.Context, route string, lane wire.Lane) (jetstream.Consumer, error) {
	key := lane.OwnerKey(route)
	b.mu.Lock()
	c, ok := b.consumers[key]
	b.mu.Unlock()
	if ok {
		return c, nil
	}
	c, err := b.js.Consumer(ctx, lane.Stream(route), lane.Consumer(route))
	if err != nil {
		return nil, fmt.Errorf("open lane %s: %w", key, err)
	}
	b.mu.Lock()
	b.consumers[key] = c
	b.mu.Unlock()
	return c, nil
}

func (b *Bus) forget(route string, lane wire.Lane) {
	b.mu.Lock()
	delete(b.consumers, lane.OwnerKey(route))
	b.mu.Unlock()
}

// LaneState is how full a lane is.
type LaneState struct {
	// Waiting requests have not been handed out.
	Waiting uint64 `json:"waiting"`
	// InHand requests are with workers.
	InHand int `json:"in_hand"`
}

// LaneState reads a lane's fill.
func (b *Bus) LaneState(ctx context.Context, route string, lane wire.Lane) (LaneState, error) {
	c, err := b.js.Consumer(ctx, lane.Stream(route), lane.Consumer(route))
	if err != nil {
		return LaneState{}, fmt.Errorf("read lane %s: %w", lane.OwnerKey(route), err)
	}
	info := c.CachedInfo()
	return LaneState{Waiting: info.NumPending, InHand: info.NumAckPending}, nil
}

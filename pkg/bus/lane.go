package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

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
	// Waiting is how many more the lane held when this one was handed out.
	Waiting uint64
	// Stored is when the broker stored it in this lane.
	Stored time.Time

	nc    *nats.Conn
	reply string
}

// Ack settles the delivery for good and returns once the broker confirmed it.
// A confirmation that fails to come is no loss: the request is delivered again
// and found settled.
func (d *Delivery) Ack(ctx context.Context) error {
	if _, err := d.nc.RequestWithContext(ctx, d.reply, ackAck); err != nil {
		return fmt.Errorf("ack %s: %w", d.Subject, err)
	}
	return nil
}

// InProgress tells the broker that the request is still being worked on.
func (d *Delivery) InProgress() error { return d.nc.Publish(d.reply, ackProgress) }

// GiveBack returns the request to its lane at once.
func (d *Delivery) GiveBack() error { return d.nc.Publish(d.reply, ackNak) }

// Bodies of acknowledgements (NATS ADR-15).
var (
	ackAck      = []byte("+ACK")
	ackProgress = []byte("+WPI")
	ackNak      = []byte("-NAK")
)

// delivery reads a message that a consumer sent.
func delivery(nc *nats.Conn, route string, lane wire.Lane, msg *nats.Msg) (*Delivery, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", msg.Subject, err)
	}
	return &Delivery{
		Route: route, Lane: lane, Subject: msg.Subject, Header: msg.Header, Body: msg.Data,
		Sequence: meta.Sequence.Stream, Deliveries: meta.NumDelivered, Waiting: meta.NumPending, Stored: meta.Timestamp, nc: nc, reply: msg.Reply,
	}, nil
}

// LaneState is how full a lane is.
type LaneState struct {
	// Waiting requests have not been handed out.
	Waiting uint64 `json:"waiting"`
	// InHand requests are with workers.
	InHand int `json:"in_hand"`
	// Pulls wait for requests: somebody serves the lane.
	Pulls int `json:"pulls"`
}

// LaneState reads a lane's fill.
func (b *Bus) LaneState(ctx context.Context, route string, lane wire.Lane) (LaneState, error) {
	c, err := b.js.Consumer(ctx, lane.Stream(route), lane.Consumer(route))
	if err != nil {
		return LaneState{}, fmt.Errorf("read lane %s: %w", lane.OwnerKey(route), err)
	}
	info := c.CachedInfo()
	return LaneState{Waiting: info.NumPending, InHand: info.NumAckPending, Pulls: info.NumWaiting}, nil
}

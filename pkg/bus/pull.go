package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"understudy/pkg/wire"
)

// Puller takes requests from one lane. It keeps one subscription for all its
// pulls, so a pull is one small message, and a request that arrives late is
// found by the next pull. It is for one goroutine at a time.
type Puller struct {
	nc       *nats.Conn
	route    string
	lane     wire.Lane
	priority Priority
	subject  string // of the pull API
	inbox    string
	sub      *nats.Subscription
	arrived  chan *nats.Msg
	pulls    uint64
}

const (
	// pullGrace is how much longer than the broker a pull waits for its end.
	pullGrace = 2 * time.Second
	// arrivedBuffer is more than one pull can bring.
	arrivedBuffer = 16384
)

// ErrLaneGone means that the lane's consumer was deleted or has no leader.
var ErrLaneGone = errors.New("lane cannot be pulled")

// OpenLane returns a puller for a lane. Close it.
func (b *Bus) OpenLane(route string, lane wire.Lane, p Priority) (*Puller, error) {
	puller := &Puller{
		nc: b.nc, route: route, lane: lane, priority: p,
		subject: "$JS.API.CONSUMER.MSG.NEXT." + lane.Stream(route) + "." + lane.Consumer(route),
		inbox:   b.nc.NewInbox(), arrived: make(chan *nats.Msg, arrivedBuffer),
	}
	var err error
	if puller.sub, err = b.nc.ChanSubscribe(puller.inbox+".*", puller.arrived); err != nil {
		return nil, fmt.Errorf("open lane %s: %w", lane.OwnerKey(route), err)
	}
	return puller, nil
}

// pullRequest is the body of a pull (NATS ADR-13, priorities ADR-42).
type pullRequest struct {
	Batch    int           `json:"batch"`
	Expires  time.Duration `json:"expires,omitempty"`
	NoWait   bool          `json:"no_wait,omitempty"`
	Group    string        `json:"group"`
	Priority Priority      `json:"priority,omitempty"`
}

// Pull takes up to n requests and hands each one over as it comes. It returns
// how many came: n, or what was there when wait is zero, or fewer than n once
// wait has passed or ctx has ended. After ctx has ended the puller is good for
// Close only, which gives back what the broken-off pull still brings.
func (p *Puller) Pull(ctx context.Context, n int, wait time.Duration, take func(*Delivery)) (int, error) {
	body, err := json.Marshal(pullRequest{Batch: n, Expires: wait, NoWait: wait == 0, Group: priorityGroup, Priority: p.priority})
	if err != nil {
		return 0, err
	}
	p.pulls++
	reply := p.inbox + "." + strconv.FormatUint(p.pulls, 10)
	if err := p.nc.PublishRequest(p.subject, reply, body); err != nil {
		return 0, fmt.Errorf("pull %s: %w", p.lane.OwnerKey(p.route), err)
	}
	patience := time.NewTimer(wait + pullGrace)
	defer patience.Stop()
	for taken := 0; taken < n; {
		select {
		case <-ctx.Done():
			return taken, nil
		case <-patience.C:
			return taken, nil
		case msg, open := <-p.arrived:
			if !open {
				return taken, fmt.Errorf("pull %s: %w", p.lane.OwnerKey(p.route), nats.ErrConnectionClosed)
			}
			if status := msg.Header.Get("Status"); status != "" && len(msg.Data) == 0 {
				if over, err := p.over(msg, status, reply); over {
					return taken, err
				}
				continue
			}
			d, err := delivery(p.nc, p.route, p.lane, msg)
			if err != nil {
				return taken, err
			}
			taken++
			take(d)
		}
	}
	return n, nil
}

// over says whether a status message ends the pull with the given reply.
func (p *Puller) over(msg *nats.Msg, status, reply string) (bool, error) {
	if msg.Subject != reply {
		return false, nil // of an earlier pull
	}
	switch status {
	case "404", "408": // nothing there, time is up
		return true, nil
	case "100": // heartbeat
		return false, nil
	}
	return true, fmt.Errorf("pull %s: %w: %s %s", p.lane.OwnerKey(p.route), ErrLaneGone, status, msg.Header.Get("Description"))
}

// Close ends the puller and gives back what arrived unseen. The broker drops a
// pull that nobody waits for; what it sent before it knew has arrived once it
// has answered a ping.
func (p *Puller) Close() {
	if err := p.sub.Drain(); err != nil {
		return // the connection is gone; the ack wait gives back
	}
	_ = p.nc.FlushTimeout(pullGrace)
	for {
		select {
		case msg, open := <-p.arrived:
			if !open {
				return
			}
			if strings.HasPrefix(msg.Reply, "$JS.ACK.") {
				_ = p.nc.Publish(msg.Reply, ackNak)
			}
		default:
			return
		}
	}
}

// Fetch pulls once from a lane: see Puller.Pull.
func (b *Bus) Fetch(ctx context.Context, route string, lane wire.Lane, n int, p Priority, wait time.Duration, take func(*Delivery)) (int, error) {
	puller, err := b.OpenLane(route, lane, p)
	if err != nil {
		return 0, err
	}
	defer puller.Close()
	return puller.Pull(ctx, n, wait, take)
}

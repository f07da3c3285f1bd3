package workertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/worker"
)

// drain is short, so that requests in hand are given back now and then.
const drain = 30 * time.Millisecond

// crew is the workers of a run.
type crew struct {
	t       *testing.T
	harness Harness
	bus     *bus.Bus
	storm   *storm
	log     zerolog.Logger
	members []*member
	hired   int
}

// member is one worker, in one instance after the other.
type member struct {
	name   string
	conn   *bus.Bus
	cancel context.CancelFunc
	done   chan error
	lost   bool // its connection was taken away, which it may complain about
}

func hire(t *testing.T, h Harness, b *bus.Bus, s *storm, log zerolog.Logger) *crew {
	t.Helper()
	c := &crew{t: t, harness: h, bus: b, storm: s, log: log}
	for name := range running(h).Workers {
		c.members = append(c.members, &member{name: name})
	}
	t.Cleanup(func() {
		for _, m := range c.members {
			c.stop(m)
		}
	})
	for _, m := range c.members {
		c.start(m)
	}
	return c
}

func (c *crew) start(m *member) {
	c.t.Helper()
	conn, err := c.bus.Connect(c.t.Context(), m.name)
	if err != nil {
		c.t.Fatal(err)
	}
	c.hired++
	cfg := worker.Config{
		Name: m.name, Instance: fmt.Sprintf("i%d", c.hired), Settings: running(c.harness).Workers[m.name],
		Local: m.name == "rules", Drain: drain, Poll: 100 * time.Millisecond, Metrics: c.harness.Metrics,
	}
	odds := modelOdds
	if c.harness.Hedge {
		odds = hedgedOdds
	}
	if cfg.Local {
		odds = localOdds
	}
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(context.Background())
	m.conn, m.done, m.lost = conn, make(chan error, 1), false
	go func(done chan error) { done <- c.harness.Run(ctx, cfg, conn, provider{c.storm, odds}, c.log) }(m.done)
}

// stop has a worker drain.
func (c *crew) stop(m *member) {
	if m.cancel == nil {
		return
	}
	m.cancel()
	if err := <-m.done; err != nil && !m.lost {
		c.t.Errorf("worker %s: %v", m.name, err)
	}
	m.conn.Close()
	m.cancel = nil
}

// cutOff takes a worker's connection away while it serves. Nothing that it
// does afterwards reaches the broker: what it holds comes back after the ack
// wait, as after a crash.
func (c *crew) cutOff(m *member) {
	m.lost = true
	m.conn.Close()
	c.stop(m)
}

// disturb stops a worker or cuts it off, and starts it again.
func (c *crew) disturb(chance *rand.Rand) {
	m := c.members[chance.IntN(len(c.members))]
	if chance.IntN(2) == 0 {
		c.stop(m)
	} else {
		c.cutOff(m)
	}
	c.start(m)
}

// renew starts every worker afresh, with a closed breaker.
func (c *crew) renew() {
	for _, m := range c.members {
		c.stop(m)
		c.start(m)
	}
}

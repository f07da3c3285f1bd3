package worker

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

// peerFresh is how long an instance's last word counts: three missed ones in a
// row make it unheard of.
const peerFresh = 3500 * time.Millisecond

// peers is what the other instances of this worker say about themselves. It is
// safe for concurrent use.
type peers struct {
	instance string // this one

	mu    sync.Mutex
	heard map[string]peer
}

type peer struct {
	wire.Health
	at     time.Time // when it was heard
	opened time.Time // since when it says that it is open
}

func newPeers(instance string) *peers {
	return &peers{instance: instance, heard: map[string]peer{}}
}

// hear takes an instance's word, and returns the one before.
func (p *peers) hear(h wire.Health, now time.Time) (before peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before = p.heard[h.Instance]
	if h.State == wire.HealthStateStopped {
		delete(p.heard, h.Instance)
		return before
	}
	this := peer{Health: h, at: now}
	if h.State == wire.HealthStateOpen {
		if this.opened = before.opened; before.State != wire.HealthStateOpen {
			this.opened = now
		}
	}
	p.heard[h.Instance] = this
	return before
}

// fresh calls see for every instance that was heard of lately.
func (p *peers) fresh(now time.Time, see func(peer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, h := range p.heard {
		if now.Sub(h.at) > peerFresh {
			delete(p.heard, name)
			continue
		}
		see(h)
	}
}

// leads says whether no open instance comes before this one by name.
func (p *peers) leads(now time.Time) bool {
	first := true
	p.fresh(now, func(h peer) {
		first = first && (h.State != wire.HealthStateOpen || h.Instance > p.instance)
	})
	return first
}

// open returns the instance that was the first to open by what it saw itself.
func (p *peers) open(now time.Time) (first peer, ok bool) {
	p.fresh(now, func(h peer) {
		if h.State == wire.HealthStateOpen && h.Cause == wire.HealthCauseProvider && (!ok || h.opened.Before(first.opened)) {
			first, ok = h, true
		}
	})
	return first, ok
}

// failures adds up the failures in a row of the instances that serve; all says
// that there are such instances and that the last call of each one failed.
func (p *peers) failures(now time.Time) (sum int64, all bool) {
	serving, failing := 0, 0
	p.fresh(now, func(h peer) {
		if h.State != wire.HealthStateReady && h.State != wire.HealthStatePaused {
			return
		}
		serving++
		if h.Breaker.Failures > 0 {
			failing++
			sum += h.Breaker.Failures
		}
	})
	return sum, serving > 0 && failing == serving
}

// hearPeer takes the word of another instance of this worker.
func (w *Worker) hearPeer(m bus.Message) {
	var h wire.Health
	if err := json.Unmarshal(m.Body, &h); err != nil {
		w.log.Debug().Err(err).Msg("health of another instance not read")
		return
	}
	w.hearHealth(h)
}

func (w *Worker) hearHealth(h wire.Health) {
	if h.Instance != w.cfg.Instance {
		w.breaker.heardPeer(w.peers.hear(h, time.Now()), h)
	}
}

// heardPeer draws the conclusions from what an instance said before and says now.
func (b *breaker) heardPeer(before peer, now wire.Health) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case now.State == wire.HealthStatePaused && now.Cause == wire.HealthCauseProvider:
		b.pauseWith(now)
	case now.State == wire.HealthStateReady && before.State == wire.HealthStateOpen && b.state == wire.HealthStateOpen:
		b.close(fmt.Sprintf("instance %s closed its breaker", now.Instance))
	default:
		b.weighPeers()
	}
}

// clockless is how much a pause that is heard of again may differ from the first
// time without being another one.
const clockless = 250 * time.Millisecond

// pauseWith pauses for as long as another instance was told to. What counts is
// how long, by that instance's clock.
func (b *breaker) pauseWith(h wire.Health) {
	left := h.Until.Sub(h.At)
	if time.Until(b.until)+clockless < left {
		b.pause(left, wire.HealthCausePeer, fmt.Sprintf("instance %s was throttled: %s", h.Instance, h.Reason))
	}
}

// weighPeers opens a breaker whose last call failed if the others saw the same:
// one opened and nothing was answered here since, or all that serve fail, and
// together they have as many failures in a row as open one of them.
func (b *breaker) weighPeers() {
	if b.row == 0 || b.state == wire.HealthStateOpen {
		return
	}
	now := time.Now()
	if first, open := b.peers.open(now); open && !b.answered.After(first.opened) {
		b.open(fmt.Sprintf("instance %s opened its breaker, and here it fails as well, the last: %v", first.Instance, b.last), wire.HealthCausePeer)
		b.asked = first.opened
		return
	}
	if others, all := b.peers.failures(now); all && others+b.row >= b.consecutive() {
		b.open(fmt.Sprintf("%d failures in a row, here and at the other instances, the last: %v", others+b.row, b.last), wire.HealthCauseProvider)
	}
}

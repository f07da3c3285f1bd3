package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

var (
	// errOverdue means that the deadline and its grace passed without a result.
	errOverdue = errors.New("no result within the deadline")
	// errStopping means that the gateway stops and the request stays in its queue.
	errStopping = errors.New("the gateway is stopping")
)

// pace is how often the gateway looks, and how long it bears with others.
type pace struct {
	// The record is read after poll of quiet, then after twice that, up to pollMax.
	poll, pollMax time.Duration
	// grace is how long after the deadline a result may still arrive.
	grace time.Duration
	// keepAlive is how long an open stream stays quiet before a comment is sent.
	keepAlive time.Duration
	// transfer is how long a caller may take to send a body or to take a piece of an answer.
	transfer time.Duration
	// inFlight is how long workers have to say that they hold a request.
	inFlight time.Duration
	// refresh is how often routes and workers are read in full.
	refresh time.Duration
}

func usualPace() pace {
	return pace{
		poll: time.Second, pollMax: 10 * time.Second, grace: 5 * time.Second, keepAlive: 10 * time.Second,
		transfer: 30 * time.Second, inFlight: 150 * time.Millisecond, refresh: 30 * time.Second,
	}
}

// wait returns the result of a request: from the inbox, or from the record,
// since a core message may be lost. Tokens go to s, which is nil when nobody
// wants them. It returns errOverdue, the cause of ctx, or the error of a reader
// that does not take its tokens.
func (g *Gateway) wait(ctx context.Context, q *request, box *mailbox, s *stream, recorded bool) (wire.Result, error) {
	p := poller{pace: g.pace, deadline: q.deadline}
	p.news(time.Now())
	if recorded { // it was published before: it may have ended before
		p.at = time.Now()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var messages []bus.Message
	for {
		timer.Reset(time.Until(s.sooner(p.at)))
		select {
		case <-ctx.Done():
			return wire.Result{}, context.Cause(ctx)
		case <-box.bell:
			messages = box.take(messages)
			result, ended, err := g.read(messages, s)
			if ended || err != nil {
				return result, err
			}
			clear(messages)
			p.news(time.Now())
		case now := <-timer.C:
			if err := s.quiet(now); err != nil {
				return wire.Result{}, err
			}
			if now.Before(p.at) {
				continue
			}
			result, err := g.recorded(ctx, q)
			if err == nil {
				return result, nil
			}
			if !errors.Is(err, bus.ErrNotFound) && ctx.Err() == nil {
				g.log.Warn().Err(err).Str("request", q.id).Msg("record not read, asking again")
			}
			if p.next(time.Now()) {
				return wire.Result{}, errOverdue
			}
		}
	}
}

// read passes tokens on until the end comes. An end that cannot be read is left
// to the record.
func (g *Gateway) read(messages []bus.Message, s *stream) (result wire.Result, ended bool, err error) {
	for _, m := range messages {
		if !isEnd(m) {
			s.chunk(m)
			continue
		}
		if err := json.Unmarshal(m.Body, &result); err != nil {
			g.log.Warn().Err(err).Str("subject", m.Subject).Msg("result not readable, asking the record")
			continue
		}
		return result, true, nil
	}
	return result, false, s.flush()
}

func (g *Gateway) recorded(ctx context.Context, q *request) (wire.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return g.bus.Result(ctx, q.policy.Durability, q.id)
}

// poller knows when to look into the record next.
type poller struct {
	pace     pace
	deadline time.Time
	at       time.Time
	interval time.Duration
}

// news starts the intervals over: a sign of life came.
func (p *poller) news(now time.Time) {
	p.interval = p.pace.poll
	p.plan(now)
}

// next plans the next look after one that found nothing. It returns true when
// that was the last.
func (p *poller) next(now time.Time) (over bool) {
	if !now.Before(p.deadline.Add(p.pace.grace)) {
		return true
	}
	p.interval = min(2*p.interval, p.pace.pollMax)
	if !now.Before(p.deadline) {
		p.interval = p.pace.poll
	}
	p.plan(now)
	return false
}

// plan looks once at the deadline and once when the grace is over, whatever the
// interval says.
func (p *poller) plan(now time.Time) {
	p.at = now.Add(p.interval)
	for _, limit := range []time.Time{p.deadline.Add(p.pace.grace), p.deadline} {
		if now.Before(limit) && p.at.After(limit) {
			p.at = limit
		}
	}
}

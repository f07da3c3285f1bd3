package deadletter

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

// Options say how a replay or a purge goes about its work. The zero value does
// everything, as fast as it goes.
type Options struct {
	// DryRun counts what is selected and touches nothing.
	DryRun bool
	// Rate is the most dead letters a second; 0 is no limit.
	Rate float64
	// Limit is the most dead letters of this run; 0 is no limit.
	Limit int
	// To is a route that a replay goes to instead of each request's own.
	To string
	// Progress is called after each dead letter; may be nil.
	Progress func(Report)
}

// Report counts what a run did so far.
type Report struct {
	// Selected dead letters were looked at.
	Selected int `json:"selected"`
	// Replayed requests are in their queue again.
	Replayed int `json:"replayed,omitzero"`
	// Duplicates were replayed shortly before, by a run that could not remove
	// their dead letter any more; it is removed now.
	Duplicates int `json:"duplicates,omitzero"`
	// Unroutable requests stay dead letters: their route is not applied.
	Unroutable int `json:"unroutable,omitzero"`
	// Purged dead letters were discarded.
	Purged int `json:"purged,omitzero"`
	// Attempts that the dealt-with requests had behind them.
	Attempts int `json:"attempts,omitzero"`
}

// internalHeaders belong to a request's way so far, not to the request. The
// addresses of callers go too: nobody waits there any more.
var internalHeaders = []string{
	wire.HeaderAttempts, wire.HeaderTried, wire.HeaderHops, wire.HeaderPasses, wire.HeaderForgiven, wire.HeaderEmitted, wire.HeaderRejected, wire.HeaderAccepted, wire.HeaderDeadline,
	wire.HeaderReplyTo, wire.HeaderStreamTo,
}

// Replay publishes the selected requests again, under their ids and with a
// fresh start: no attempts, a new deadline. A dead letter is removed once the
// broker has acknowledged its request. A run that ends in between leaves a
// dead letter whose replay is under way; replaying it again does no harm,
// since a request has one recorded result for each number of replay. The first
// request that cannot be published ends the run with an error; the Report says
// how far it came. The run is kept as an event.
func Replay(ctx context.Context, b *bus.Bus, f Filter, o Options) (Report, error) {
	routes, err := b.Routes(ctx)
	if err != nil {
		return Report{}, err
	}
	if _, applied := routes[o.To]; o.To != "" && !applied {
		return Report{}, fmt.Errorf("replay to route %s: %w: apply it first", o.To, bus.ErrNotFound)
	}
	return run(ctx, b, f, o, wire.EventKindReplay, func(l bus.KeptDeadLetter, r *Report) error {
		route := l.Route
		if o.To != "" {
			route = o.To
		}
		if _, applied := routes[route]; !applied {
			r.Unroutable++
			return nil
		}
		if o.DryRun {
			return nil
		}
		return replayOne(ctx, b, l, route, r)
	})
}

// Purge discards the selected dead letters for good. The run is kept as an
// event.
func Purge(ctx context.Context, b *bus.Bus, f Filter, o Options) (Report, error) {
	return run(ctx, b, f, o, wire.EventKindPurge, func(l bus.KeptDeadLetter, r *Report) error {
		if o.DryRun {
			return nil
		}
		if err := b.RemoveDeadLetter(ctx, l.Place); err != nil {
			return err
		}
		r.Purged++
		r.Attempts += len(l.Attempts)
		return nil
	})
}

func run(ctx context.Context, b *bus.Bus, f Filter, o Options, kind wire.EventKind, do func(bus.KeptDeadLetter, *Report) error) (Report, error) {
	limiter := rate.NewLimiter(rate.Inf, 1)
	if o.Rate > 0 && !o.DryRun {
		limiter.SetLimit(rate.Limit(o.Rate))
	}
	var r Report
	err := each(ctx, b, f, o.Limit, func(l bus.KeptDeadLetter) error {
		if err := limiter.Wait(ctx); err != nil {
			return fmt.Errorf("wait for the rate: %w", errors.Join(ctx.Err(), err))
		}
		r.Selected++
		if err := do(l, &r); err != nil {
			return err
		}
		if o.Progress != nil {
			o.Progress(r)
		}
		return nil
	})
	if !o.DryRun && r.Selected > 0 {
		audit(ctx, b, f, o, kind, r, err)
	}
	return r, err
}

// replayOne publishes, and removes once that is acknowledged: in this order a
// crash makes a second replay, never a loss.
func replayOne(ctx context.Context, b *bus.Bus, l bus.KeptDeadLetter, route string, r *Report) error {
	header, number := replayHeader(l.DeadLetter)
	receipt, err := b.Publish(ctx, wire.RequestSubject(route), fmt.Sprintf("%s.r%d", l.ID, number), header, Body(l.DeadLetter))
	if err != nil {
		return fmt.Errorf("replay %s: %w", l.ID, err)
	}
	if receipt.Duplicate {
		r.Duplicates++
	} else {
		r.Replayed++
	}
	r.Attempts += len(l.Attempts)
	return b.RemoveDeadLetter(ctx, l.Place)
}

// replayHeader returns the headers of a request's next replay, and its number.
func replayHeader(l wire.DeadLetter) (bus.Header, int) {
	header := bus.Header{}
	for key, values := range l.Headers {
		if !strings.HasPrefix(key, "Nats-") {
			header[key] = values
		}
	}
	for _, key := range internalHeaders {
		delete(header, key)
	}
	before, _ := strconv.Atoi(header.Get(wire.HeaderReplay))
	number := max(before, 0) + 1
	header[wire.HeaderRequestID] = []string{l.ID}
	header[wire.HeaderReplay] = []string{strconv.Itoa(number)}
	return header, number
}

// audit keeps an event of the run, also when the run was interrupted.
func audit(ctx context.Context, b *bus.Bus, f Filter, o Options, kind wire.EventKind, r Report, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	e := wire.Event{Kind: kind, Name: f.Route, Reason: "asked for by an operator", At: time.Now().UTC(), Data: map[string]string{
		"filter": f.String(), "selected": strconv.Itoa(r.Selected), "attempts": strconv.Itoa(r.Attempts),
	}}
	if !wire.ValidName(e.Name) {
		e.Name = "all"
	}
	if kind == wire.EventKindPurge {
		e.Data["purged"] = strconv.Itoa(r.Purged)
	} else {
		e.Data["replayed"], e.Data["duplicates"], e.Data["unroutable"] = strconv.Itoa(r.Replayed), strconv.Itoa(r.Duplicates), strconv.Itoa(r.Unroutable)
	}
	if o.To != "" {
		e.Data["to"] = o.To
	}
	if err != nil {
		e.Data["error"] = err.Error()
	}
	b.PublishEvent(ctx, e)
}

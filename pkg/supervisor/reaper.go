package supervisor

import (
	"container/heap"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/envelope"
	"understudy/pkg/wire"
)

const (
	reapInterval = time.Second
	// reapGrace leaves a request past its deadline to the worker that holds it.
	reapGrace = 2 * time.Second
	// reapUnseen is how long a request may lie before its deadline is looked
	// at: in a healthy system none does, and reaping costs nothing.
	reapUnseen = time.Second
	// reapBatch bounds how many requests are looked at in one round.
	reapBatch = 5000
)

// reaper ends requests whose deadline passed in a queue: those in a lane that
// nobody pulls, parked ones, retries. It reads without taking, so it needs no
// lane of its own, and reads each request once.
type reaper struct {
	bus     *bus.Bus
	log     zerolog.Logger
	metrics *Metrics
	cursors map[string]uint64 // by stream: the next sequence to look at
	due     dueHeap
}

func newReaper(b *bus.Bus, log zerolog.Logger, m *Metrics) *reaper {
	return &reaper{bus: b, log: log, metrics: m, cursors: map[string]uint64{}}
}

func (r *reaper) run(ctx context.Context, s *state) {
	r.cursors, r.due = map[string]uint64{}, nil
	tick := time.NewTicker(reapInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			routes := s.snapshot().Routes
			r.look(ctx, routes, now)
			r.reap(ctx, routes, now)
		}
	}
}

// look notes the deadlines of requests that have been lying for a while.
func (r *reaper) look(ctx context.Context, routes map[string]wire.Route, now time.Time) {
	streams := []string{wire.StreamRetries}
	for name := range routes {
		streams = append(streams, wire.RequestStream(name))
	}
	for _, stream := range streams {
		state, err := r.bus.StreamState(ctx, stream)
		if err != nil || state.Messages == 0 || now.Sub(state.Oldest) < reapUnseen {
			continue
		}
		looked := 0
		err = r.bus.ScanQueue(ctx, stream, max(r.cursors[stream], state.First), func(m bus.Stored) bool {
			if now.Sub(m.Time) < reapUnseen || looked == reapBatch {
				return false
			}
			looked++
			r.cursors[stream] = m.Sequence + 1
			name := routeOf(m.Subject)
			e := open(routes[name], name, m)
			heap.Push(&r.due, due{at: e.Request.Deadline.Add(reapGrace), stream: stream, sequence: m.Sequence})
			return true
		})
		if err != nil && ctx.Err() == nil {
			r.log.Warn().Err(err).Str("stream", stream).Msg("queue not read for deadlines")
		}
	}
}

// reap ends the requests that are due and still there.
func (r *reaper) reap(ctx context.Context, routes map[string]wire.Route, now time.Time) {
	for len(r.due) > 0 && !r.due[0].at.After(now) {
		d := heap.Pop(&r.due).(due)
		m, err := r.bus.Stored(ctx, d.stream, d.sequence)
		if errors.Is(err, bus.ErrNotFound) {
			continue
		}
		if err == nil {
			err = r.expire(ctx, routes, d.stream, m)
		}
		if err != nil {
			if ctx.Err() == nil {
				r.log.Warn().Err(err).Msg("request past its deadline not ended, trying again")
			}
			d.at = now.Add(reapGrace)
			heap.Push(&r.due, d)
			return
		}
	}
}

// expire records the end, tells whoever waits, and only then takes the request
// out of its queue.
func (r *reaper) expire(ctx context.Context, routes map[string]wire.Route, stream string, m bus.Stored) error {
	name := routeOf(m.Subject)
	route := routes[name]
	e := open(route, name, m)
	result := e.Result(dispatch.StatusExpired, time.Now())
	result.Error = wire.FailureOf(dispatch.Errorf(dispatch.Deadline, "no worker took the request before its deadline, %s", e.Request.Deadline.UTC().Format(time.RFC3339)))
	stands, won, err := r.bus.Record(ctx, route.Durability, result)
	if err != nil {
		return err
	}
	if won {
		r.metrics.expire(name)
		r.log.Info().Str("request", result.ID).Str("route", name).Msg("request expired in its queue")
	}
	if err := r.bus.Tell(stands, e.ReplyTo, e.StreamTo); err != nil {
		r.log.Debug().Err(err).Str("request", result.ID).Msg("end not told, it is recorded")
	}
	return r.bus.RemoveStored(ctx, stream, m.Sequence)
}

func open(route wire.Route, name string, m bus.Stored) *envelope.Envelope {
	fresh := strings.HasPrefix(m.Subject, "llm.lanes.")
	return envelope.Open(route, envelope.Place{Route: name, Sequence: m.Sequence, Stored: m.Time, Fresh: fresh}, envelope.Header(m.Header), m.Body)
}

// routeOf reads the route from a queue's subject: llm.<queue>.<route>...
func routeOf(subject string) string {
	if tokens := strings.SplitN(subject, ".", 4); len(tokens) > 2 {
		return tokens[2]
	}
	return ""
}

// due is a request to look at again when its deadline has passed.
type due struct {
	at       time.Time
	stream   string
	sequence uint64
}

// dueHeap orders by time, the earliest first (container/heap).
type dueHeap []due

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(due)) }
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

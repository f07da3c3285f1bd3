package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// errGiveBack ends a call so that its request goes back to its lane.
var errGiveBack = errors.New("worker is shutting down")

// job is one request in hand, with what its headers say about it.
type job struct {
	delivery *bus.Delivery
	route    wire.Route
	req      *dispatch.Request
	header   bus.Header

	accepted time.Time
	replyTo  string
	streamTo string
	attempts []wire.Attempt
	tried    []string // workers that had their turn in this pass of the chain
	hops     int64
	replay   int64
	// invalid is what is wrong with the headers; the request fails on it.
	invalid *dispatch.Error

	ctx    context.Context
	cancel context.CancelCauseFunc

	starts   []wire.Attempt // of a suspect: earlier handlings that ended in silence
	isolated bool
	chunks   int
	emitted  bool // output went out to a listener
}

// newJob reads the headers. A job always has a valid id, even when the headers
// are not: it needs one to end.
func (w *Worker) newJob(d *bus.Delivery) *job {
	j := &job{
		delivery: d, header: d.Header, route: w.table.route(d.Route),
		req: &dispatch.Request{
			ID: requestID(d), Route: d.Route, Body: d.Body,
			Tenant: d.Header.Get(wire.HeaderTenant), Traceparent: d.Header.Get(wire.HeaderTraceparent),
		},
		replyTo: d.Header.Get(wire.HeaderReplyTo),
	}
	h := headerReader{header: d.Header}
	if id := d.Header.Get(wire.HeaderRequestID); id != "" && !wire.ValidID(id) {
		h.blame(wire.HeaderRequestID, "want 1 to 128 letters, digits, - _ or =")
	}
	j.accepted = h.time(wire.HeaderAccepted, d.Stored)
	j.req.Deadline = j.deadline(&h)
	j.req.Degrade = h.degrade(j.route.Degrade)
	j.streamTo = d.Header.Get(wire.HeaderStreamTo)
	if j.streamTo == "" && d.Header.Get(wire.HeaderStream) == "true" {
		j.streamTo = wire.TokensSubject(j.req.ID)
	}
	j.req.Stream = j.streamTo != ""
	j.hops = h.number(wire.HeaderHops)
	j.replay = h.number(wire.HeaderReplay)
	if tried := d.Header.Get(wire.HeaderTried); tried != "" {
		j.tried = strings.Split(tried, ",")
	}
	if attempts := d.Header.Get(wire.HeaderAttempts); attempts != "" {
		if err := json.Unmarshal([]byte(attempts), &j.attempts); err != nil {
			h.blame(wire.HeaderAttempts, err.Error())
		}
	}
	j.invalid = h.invalid
	ctx, cancel := context.WithCancelCause(context.Background())
	late := dispatch.Errorf(dispatch.Deadline, "no answer before the deadline, %s", j.req.Deadline.UTC().Format(time.RFC3339))
	timed, stop := context.WithDeadlineCause(ctx, j.req.Deadline, late)
	j.ctx, j.cancel = timed, func(cause error) { cancel(cause); stop() }
	return j
}

// requestID is the id that the client gave, if it is valid, else its dedupe
// id, else one made of the place in the queue.
func requestID(d *bus.Delivery) string {
	for _, name := range []string{wire.HeaderRequestID, wire.HeaderNatsMsgID} {
		if id := d.Header.Get(name); wire.ValidID(id) {
			return id
		}
	}
	return fmt.Sprintf("%s-%d", d.Route, d.Sequence)
}

// deadline is what the client said, else the route's timeout, and never later
// than the route allows.
func (j *job) deadline(h *headerReader) time.Time {
	latest := j.accepted.Add(j.route.TimeoutMax.Or(defaultTimeoutMax))
	asked := j.accepted.Add(h.duration(wire.HeaderTimeout, j.route.Timeout.Or(defaultTimeout)))
	asked = h.time(wire.HeaderDeadline, asked)
	if asked.After(latest) {
		return latest
	}
	return asked
}

// calls counts the provider calls made for the request so far.
func (j *job) calls() int {
	n := 0
	for _, a := range j.attempts {
		if a.Kind != dispatch.Refused && a.Kind != dispatch.Unavailable {
			n++
		}
	}
	return n
}

func (j *job) maxAttempts() int { return int(orDefault(j.route.MaxAttempts, defaultMaxAttempts)) }

// dedupeID names what becomes of the request next, so that doing it twice
// adds nothing. It never equals the id the request was published under.
func (j *job) dedupeID(step string) string {
	id := j.req.ID
	if j.replay > 0 {
		id += ".r" + strconv.FormatInt(j.replay, 10)
	}
	return id + "." + step
}

// onward returns the headers for the request's next hop.
func (j *job) onward(tried []string) (header bus.Header, dedupeID string) {
	h := maps.Clone(j.header)
	if h == nil {
		h = bus.Header{}
	}
	maps.DeleteFunc(h, func(name string, _ []string) bool { return strings.HasPrefix(name, "Nats-") })
	hops := strconv.FormatInt(j.hops+1, 10)
	h.Set(wire.HeaderRequestID, j.req.ID)
	h.Set(wire.HeaderAccepted, j.accepted.UTC().Format(time.RFC3339Nano))
	h.Set(wire.HeaderDeadline, j.req.Deadline.UTC().Format(time.RFC3339Nano))
	h.Set(wire.HeaderHops, hops)
	h.Set(wire.HeaderTried, strings.Join(tried, ","))
	if data, err := json.Marshal(j.attempts); err == nil {
		h.Set(wire.HeaderAttempts, string(data))
	}
	return h, j.dedupeID("h" + hops)
}

// headerReader reads headers and keeps the first thing wrong with them.
type headerReader struct {
	header  bus.Header
	invalid *dispatch.Error
}

func (h *headerReader) blame(name, want string) {
	if h.invalid == nil {
		h.invalid = dispatch.Errorf(dispatch.BadRequest, "header %s %q: %s", name, h.header.Get(name), want)
		h.invalid.Param = name
	}
}

func (h *headerReader) time(name string, fallback time.Time) time.Time {
	v := h.header.Get(name)
	if v == "" {
		return fallback
	}
	t, err := time.Parse(time.RFC3339, v)
	if err != nil {
		h.blame(name, "want a time like 2006-01-02T15:04:05Z")
		return fallback
	}
	return t
}

func (h *headerReader) duration(name string, fallback time.Duration) time.Duration {
	v := h.header.Get(name)
	if v == "" {
		return fallback
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		h.blame(name, "want a duration like 30s")
		return fallback
	}
	return d
}

func (h *headerReader) number(name string) int64 {
	v := h.header.Get(name)
	if v == "" {
		return 0
	}
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || n < 0 {
		h.blame(name, "want a number")
		return 0
	}
	return n
}

func (h *headerReader) degrade(fallback dispatch.Degrade) dispatch.Degrade {
	switch v := dispatch.Degrade(h.header.Get(wire.HeaderDegrade)); v {
	case dispatch.DegradeAllow, dispatch.DegradeNever:
		return v
	case "":
	default:
		h.blame(wire.HeaderDegrade, "want allow or never")
	}
	if fallback == "" {
		return dispatch.DegradeAllow
	}
	return fallback
}

// Package envelope reads what a request's headers say about it, and writes the
// headers for its next hop. Every part that touches a queued request reads it
// here, so that all agree on its id and its deadline.
package envelope

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// Defaults of a route, in the words of wire.Route.
const (
	DefaultTimeout     = 60 * time.Second
	DefaultTimeoutMax  = 24 * time.Hour
	DefaultMaxAttempts = 10
)

// Header is a message's headers. Keys are case-sensitive.
type Header map[string][]string

func (h Header) get(name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (h Header) set(name, value string) { h[name] = []string{value} }

// Place is where a request lies.
type Place struct {
	// Route is the route's name.
	Route string
	// Sequence is its sequence in the stream.
	Sequence uint64
	// Stored is when the broker stored it there.
	Stored time.Time
	// Fresh is true in the numbered lanes: the request comes straight from a
	// client, whose word on the internal headers does not count.
	Fresh bool
}

// Envelope is a request with what its headers say about it.
type Envelope struct {
	// Request is what a provider sees. Its id is always valid, even when the
	// headers are not: a request needs one to end.
	Request dispatch.Request
	// FirstToken and Idle are how long a worker may wait for the first token and
	// between tokens; zero when the caller does not say.
	FirstToken, Idle time.Duration
	// Accepted is when the broker first accepted the request.
	Accepted time.Time
	// ReplyTo and StreamTo are where the result and the tokens go; may be empty.
	ReplyTo, StreamTo string
	// Attempts is every try so far, in order.
	Attempts []wire.Attempt
	// Tried are the workers that had their turn in this pass of the chain.
	Tried []string
	// Hops counts handoffs and retries so far.
	Hops int64
	// Passes counts the passes of the chain that ended in a retry later.
	Passes int64
	// Forgiven counts provider calls that no longer count against the budget,
	// because the request was parked after them.
	Forgiven int64
	// Rejected is the latest answer that a quality check rejected, kept for the
	// case that nobody gives a better one; nil when there is none.
	Rejected *Rejected
	// Emitted is what a listener has of an answer that broke off, for the next
	// worker to go on with; nil when no stream is being rescued.
	Emitted *wire.Emitted
	// Replay is the replay's number; 0 for a request that was not replayed.
	Replay int64
	// Invalid is the first thing wrong with the headers; nil when all is well.
	Invalid *dispatch.Error

	header Header
}

// Open reads a request's headers under its route's configuration.
func Open(route wire.Route, at Place, header Header, body []byte) *Envelope {
	h := headerReader{header: header}
	if id := header.get(wire.HeaderRequestID); id != "" && !wire.ValidID(id) {
		h.blame(wire.HeaderRequestID, "want 1 to 128 letters, digits, - _ or =")
	}
	e := &Envelope{
		Request: dispatch.Request{
			ID: requestID(at, header), Route: at.Route, Body: body,
			Tenant: header.get(wire.HeaderTenant), Traceparent: header.get(wire.HeaderTraceparent),
		},
		Accepted: at.Stored,
		ReplyTo:  header.get(wire.HeaderReplyTo),
		StreamTo: header.get(wire.HeaderStreamTo),
		Replay:   h.number(wire.HeaderReplay),
		header:   header,
	}
	if !at.Fresh {
		e.readHistory(&h)
	}
	e.Request.Deadline = e.deadline(&h, route)
	e.FirstToken = h.duration(wire.HeaderFirstTokenTimeout, 0)
	e.Idle = h.duration(wire.HeaderIdleTimeout, 0)
	e.Request.Degrade = h.degrade(route.Degrade)
	if e.StreamTo == "" && header.get(wire.HeaderStream) == "true" {
		e.StreamTo = wire.TokensSubject(e.Request.ID)
	}
	e.Request.Stream = e.StreamTo != ""
	e.Invalid = h.invalid
	return e
}

// readHistory reads what earlier handlings wrote into the headers. Acceptance
// cannot lie after the request was stored.
func (e *Envelope) readHistory(h *headerReader) {
	if accepted := h.time(wire.HeaderAccepted, e.Accepted); accepted.Before(e.Accepted) {
		e.Accepted = accepted
	}
	e.Hops = h.number(wire.HeaderHops)
	e.Passes = h.number(wire.HeaderPasses)
	e.Forgiven = h.number(wire.HeaderForgiven)
	e.readRejected(h)
	if tried := h.header.get(wire.HeaderTried); tried != "" {
		e.Tried = strings.Split(tried, ",")
	}
	if attempts := h.header.get(wire.HeaderAttempts); attempts != "" {
		if err := json.Unmarshal([]byte(attempts), &e.Attempts); err != nil {
			h.blame(wire.HeaderAttempts, err.Error())
		}
	}
	if emitted := h.header.get(wire.HeaderEmitted); emitted != "" {
		if err := json.Unmarshal([]byte(emitted), &e.Emitted); err != nil {
			h.blame(wire.HeaderEmitted, err.Error())
		}
	}
}

// requestID is the id that the client gave, if it is valid, else its dedupe
// id, else one made of the place in the queue.
func requestID(at Place, header Header) string {
	for _, name := range []string{wire.HeaderRequestID, wire.HeaderNatsMsgID} {
		if id := header.get(name); wire.ValidID(id) {
			return id
		}
	}
	return fmt.Sprintf("%s-%d", at.Route, at.Sequence)
}

// deadline is what the client said, else the route's timeout, and never later
// than the route allows.
func (e *Envelope) deadline(h *headerReader, route wire.Route) time.Time {
	latest := e.Accepted.Add(route.TimeoutMax.Or(DefaultTimeoutMax))
	asked := e.Accepted.Add(h.duration(wire.HeaderTimeout, route.Timeout.Or(DefaultTimeout)))
	asked = h.time(wire.HeaderDeadline, asked)
	if asked.After(latest) {
		return latest
	}
	return asked
}

// Calls counts the provider calls made for the request so far, but for the
// forgiven ones.
func (e *Envelope) Calls() int {
	return e.AllCalls() - int(e.Forgiven)
}

// AllCalls counts the provider calls made for the request so far.
func (e *Envelope) AllCalls() int {
	n := 0
	for _, a := range e.Attempts {
		if a.Kind != dispatch.Refused && a.Kind != dispatch.Unavailable {
			n++
		}
	}
	return n
}

// DedupeID names what becomes of the request next, so that doing it twice adds
// nothing. It never equals an id that a request was published under: a replay
// has its own, and a step follows a dot.
func (e *Envelope) DedupeID(step string) string {
	id := e.Request.ID
	if e.Replay > 0 {
		id += ".r" + strconv.FormatInt(e.Replay, 10)
	}
	return id + "." + step
}

// Handoff returns the headers for the next worker of the chain, and the hop's
// dedupe id. tried are the workers that had their turn in this pass.
func (e *Envelope) Handoff(tried []string) (Header, string) {
	h, id := e.onward()
	h.set(wire.HeaderTried, strings.Join(tried, ","))
	return h, id
}

// Retry returns the headers for another pass of the whole chain.
func (e *Envelope) Retry() (Header, string) {
	h, id := e.onward()
	delete(h, wire.HeaderTried)
	h.set(wire.HeaderPasses, strconv.FormatInt(e.Passes+1, 10))
	return h, id
}

// Park returns the headers for the parked lane: the request waits there for a
// model to come up, and then starts anew.
func (e *Envelope) Park() (Header, string) {
	h, id := e.onward()
	delete(h, wire.HeaderTried)
	delete(h, wire.HeaderPasses)
	h.set(wire.HeaderForgiven, strconv.Itoa(e.AllCalls()))
	return h, id
}

// onward returns the headers that every next hop has.
func (e *Envelope) onward() (Header, string) {
	h := maps.Clone(e.header)
	if h == nil {
		h = Header{}
	}
	maps.DeleteFunc(h, func(name string, _ []string) bool { return strings.HasPrefix(name, "Nats-") })
	hops := strconv.FormatInt(e.Hops+1, 10)
	h.set(wire.HeaderRequestID, e.Request.ID)
	h.set(wire.HeaderAccepted, e.Accepted.UTC().Format(time.RFC3339Nano))
	h.set(wire.HeaderDeadline, e.Request.Deadline.UTC().Format(time.RFC3339Nano))
	h.set(wire.HeaderHops, hops)
	if data, err := json.Marshal(e.Attempts); err == nil {
		h.set(wire.HeaderAttempts, string(data))
	}
	e.writeRejected(h)
	delete(h, wire.HeaderEmitted)
	if e.Emitted != nil {
		h.set(wire.HeaderEmitted, string(emittedJSON(*e.Emitted)))
	}
	return h, e.DedupeID("h" + hops)
}

// MaxEmitted is the most that a handoff carries of a broken answer, in bytes of
// the header's JSON. The broker takes 64 KiB of headers in all.
const MaxEmitted = 32 << 10

// Carries says whether a handoff can carry what was emitted.
func Carries(emitted wire.Emitted) bool { return len(emittedJSON(emitted)) <= MaxEmitted }

// emittedJSON writes text as it is, but for what JSON must escape.
func emittedJSON(emitted wire.Emitted) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(emitted) // text and numbers always encode
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Result begins the record of the request's end in the given state.
func (e *Envelope) Result(status dispatch.Status, now time.Time) wire.Result {
	r := wire.Result{
		ID: e.Request.ID, Route: e.Request.Route, Tenant: e.Request.Tenant, Status: status,
		Attempts: e.Attempts, Replay: e.Replay, AcceptedAt: e.Accepted.UTC(), FinishedAt: now.UTC(),
	}
	if r.Attempts == nil {
		r.Attempts = []wire.Attempt{}
	}
	return r
}

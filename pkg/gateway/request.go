package gateway

import (
	"crypto/rand"
	"encoding/json"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

const (
	defaultTimeout    = 60 * time.Second
	defaultTimeoutMax = 24 * time.Hour
)

// request is one request as it came in, checked.
type request struct {
	id    string
	route string
	// policy is the configuration of the route.
	policy   wire.Route
	body     []byte
	received time.Time
	deadline time.Time
	// stream says that the caller wants tokens, usage that it wants them counted
	// in a chunk of their own.
	stream, usage bool
	degrade       string
	traceparent   string
	// firstToken and idle are durations as the caller wrote them.
	firstToken, idle string
}

// check reads a request from its body and its headers. The model names the
// route, unless route does.
func (l *listing) check(route string, body []byte, header func(string) string) (*request, *wire.Failure) {
	if err := chat.Check(body); err != nil {
		return nil, refusal(err)
	}
	q := &request{id: header(wire.HeaderRequestID), route: route, body: body, received: time.Now(), traceparent: header(wire.HeaderTraceparent)}
	if q.id == "" {
		q.id = "req_" + rand.Text()
	}
	if !wire.ValidID(q.id) {
		return nil, invalid(wire.HeaderRequestID, "invalid_header", "the header %s takes 1 to 128 letters, digits, - _ or =, not %q", wire.HeaderRequestID, q.id)
	}
	var failure *wire.Failure
	if q.route == "" {
		if q.route, failure = l.routeOf(body); failure != nil {
			return nil, failure
		}
	}
	policy, ok := l.routes[q.route]
	if !ok {
		return nil, notFound("route_not_found", "there is no route %q", q.route)
	}
	q.policy = policy
	if q.deadline, failure = deadline(policy, q.received, header); failure != nil {
		return nil, failure
	}
	if string(chat.Get(body, "stream")) == "true" {
		q.stream = true
		q.usage = string(chat.Get(chat.Get(body, "stream_options"), "include_usage")) == "true"
	}
	switch degrade := header(wire.HeaderDegrade); dispatch.Degrade(degrade) {
	case "", dispatch.DegradeAllow, dispatch.DegradeNever:
		q.degrade = degrade
	default:
		return nil, invalid(wire.HeaderDegrade, "invalid_header", "the header %s must be allow or never, not %q", wire.HeaderDegrade, degrade)
	}
	return q, q.readTimeouts(header)
}

// readTimeouts reads how long the caller's worker may wait for tokens.
func (q *request) readTimeouts(header func(string) string) *wire.Failure {
	for name, to := range map[string]*string{wire.HeaderFirstTokenTimeout: &q.firstToken, wire.HeaderIdleTimeout: &q.idle} {
		if *to = header(name); *to == "" {
			continue
		}
		if d, err := time.ParseDuration(*to); err != nil || d <= 0 {
			return invalid(name, "invalid_header", "the header %s must be a duration like 20s, not %q", name, *to)
		}
	}
	return nil
}

func (l *listing) routeOf(body []byte) (string, *wire.Failure) {
	raw := chat.Get(body, "model")
	if raw == nil || string(raw) == "null" {
		return l.route("")
	}
	var model string
	if json.Unmarshal(raw, &model) != nil || model == "" {
		return "", invalid("model", "invalid_type", "model must be the name of a model, a string")
	}
	return l.route(model)
}

// deadline is when the caller's patience ends: as it says, else as its route
// says, and never later than the route allows.
func deadline(policy wire.Route, now time.Time, header func(string) string) (time.Time, *wire.Failure) {
	at := now.Add(policy.Timeout.Or(defaultTimeout))
	if s := header(wire.HeaderDeadline); s != "" {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return at, invalid(wire.HeaderDeadline, "invalid_header", "the header %s must be a time like 2026-01-02T15:04:05Z, not %q", wire.HeaderDeadline, s)
		}
		at = t
	} else if s := header(wire.HeaderTimeout); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return at, invalid(wire.HeaderTimeout, "invalid_header", "the header %s must be a duration like 90s or 1h30m, not %q", wire.HeaderTimeout, s)
		}
		at = now.Add(d)
	}
	if most := now.Add(policy.TimeoutMax.Or(defaultTimeoutMax)); at.After(most) {
		at = most
	}
	return at, nil
}

// header returns the headers that the request is published with. Whoever waits
// names a subject for the end, and for the tokens.
func (q *request) header(inbox string) bus.Header {
	h := make(bus.Header, 8)
	set := func(name, value string) {
		if value != "" {
			h[name] = []string{value}
		}
	}
	set(wire.HeaderRequestID, q.id)
	set(wire.HeaderDeadline, q.deadline.UTC().Format(time.RFC3339Nano))
	set(wire.HeaderDegrade, q.degrade)
	set(wire.HeaderFirstTokenTimeout, q.firstToken)
	set(wire.HeaderIdleTimeout, q.idle)
	set(wire.HeaderTraceparent, q.traceparent)
	set(wire.HeaderReplyTo, inbox)
	if q.stream {
		set(wire.HeaderStreamTo, inbox)
	}
	return h
}

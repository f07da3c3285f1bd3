package envelope_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"understudy/pkg/dispatch"
	"understudy/pkg/envelope"
	"understudy/pkg/wire"
)

var (
	stored = time.Date(2026, 3, 2, 9, 15, 0, 250e6, time.UTC)
	place  = envelope.Place{Route: "chat", Sequence: 4711, Stored: stored}
)

// headers makes headers of names and values in turn.
func headers(pairs ...string) envelope.Header {
	h := envelope.Header{}
	for pair := range slices.Chunk(pairs, 2) {
		h[pair[0]] = []string{pair[1]}
	}
	return h
}

// open opens an envelope under a route, by default one without settings.
func open(route wire.Route, pairs ...string) *envelope.Envelope {
	return envelope.Open(route, place, headers(pairs...), []byte(`{}`))
}

func TestTheIDIsTheClientsElseItsDedupeIDElseThePlace(t *testing.T) {
	for name, c := range map[string]struct {
		pairs []string
		want  string
	}{
		"both":                 {[]string{wire.HeaderRequestID, "order-1", wire.HeaderNatsMsgID, "msg-1"}, "order-1"},
		"dedupe id only":       {[]string{wire.HeaderNatsMsgID, "msg-1"}, "msg-1"},
		"none":                 {nil, "chat-4711"},
		"unusable dedupe id":   {[]string{wire.HeaderNatsMsgID, "a.b c"}, "chat-4711"},
		"unusable id":          {[]string{wire.HeaderRequestID, "a.b", wire.HeaderNatsMsgID, "msg-1"}, "msg-1"},
		"both unusable":        {[]string{wire.HeaderRequestID, "a b", wire.HeaderNatsMsgID, "*"}, "chat-4711"},
		"empty":                {[]string{wire.HeaderRequestID, ""}, "chat-4711"},
		"header of other case": {[]string{"llm-request-id", "order-1"}, "chat-4711"},
	} {
		if got := open(wire.Route{}, c.pairs...).Request.ID; got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestAnUnusableIDIsTheCallersFault(t *testing.T) {
	e := open(wire.Route{}, wire.HeaderRequestID, "order.1")
	if e.Invalid == nil || e.Invalid.Kind != dispatch.BadRequest || e.Invalid.Param != wire.HeaderRequestID {
		t.Errorf("got %v", e.Invalid)
	}
	if e := open(wire.Route{}, wire.HeaderNatsMsgID, "order.1"); e.Invalid != nil {
		t.Errorf("a dedupe id may be anything, got %v", e.Invalid)
	}
}

func TestPatienceIsTheCallersElseTheRoutesAndNeverMoreThanTheRouteAllows(t *testing.T) {
	at := func(d time.Duration) string { return stored.Add(d).Format(time.RFC3339Nano) }
	route := wire.Route{Timeout: wire.Duration(20 * time.Second), TimeoutMax: wire.Duration(time.Hour)}
	for name, c := range map[string]struct {
		route wire.Route
		pairs []string
		want  time.Duration
	}{
		"nothing said anywhere":      {wire.Route{}, nil, envelope.DefaultTimeout},
		"the route says":             {route, nil, 20 * time.Second},
		"a timeout":                  {route, []string{wire.HeaderTimeout, "45s"}, 45 * time.Second},
		"a deadline":                 {route, []string{wire.HeaderDeadline, at(50 * time.Second)}, 50 * time.Second},
		"a deadline and a timeout":   {route, []string{wire.HeaderDeadline, at(50 * time.Second), wire.HeaderTimeout, "45s"}, 50 * time.Second},
		"a timeout above the most":   {route, []string{wire.HeaderTimeout, "2h"}, time.Hour},
		"a deadline above the most":  {route, []string{wire.HeaderDeadline, at(3 * time.Hour)}, time.Hour},
		"above the most, no setting": {wire.Route{}, []string{wire.HeaderTimeout, "100h"}, envelope.DefaultTimeoutMax},
		"a deadline that has passed": {route, []string{wire.HeaderDeadline, at(-time.Second)}, -time.Second},
		"a route above its own most": {wire.Route{Timeout: wire.Duration(time.Hour), TimeoutMax: wire.Duration(time.Minute)}, nil, time.Minute},
	} {
		e := open(c.route, c.pairs...)
		if e.Invalid != nil {
			t.Errorf("%s: %v", name, e.Invalid)
		}
		if got := e.Request.Deadline.Sub(stored); got != c.want {
			t.Errorf("%s: got %v after acceptance, want %v", name, got, c.want)
		}
	}
}

func TestPatienceIsCountedFromTheFirstAcceptance(t *testing.T) {
	accepted := stored.Add(-30 * time.Second)
	e := open(wire.Route{}, wire.HeaderAccepted, accepted.Format(time.RFC3339Nano), wire.HeaderTimeout, "45s")
	if !e.Accepted.Equal(accepted) || !e.Request.Deadline.Equal(accepted.Add(45*time.Second)) {
		t.Errorf("accepted %v, deadline %v", e.Accepted, e.Request.Deadline)
	}
}

func TestBrokenHeadersAreNamedAndTheRestIsRead(t *testing.T) {
	for name, value := range map[string]string{
		wire.HeaderDeadline: "tomorrow", wire.HeaderTimeout: "30", wire.HeaderDegrade: "maybe",
		wire.HeaderAccepted: "noon", wire.HeaderHops: "-1", wire.HeaderReplay: "one",
		wire.HeaderAttempts: "{", wire.HeaderRequestID: "a b",
	} {
		e := open(wire.Route{}, name, value, wire.HeaderTenant, "acme")
		if e.Invalid == nil {
			t.Errorf("%s: %q accepted", name, value)
			continue
		}
		if e.Invalid.Kind != dispatch.BadRequest || e.Invalid.Param != name || !strings.Contains(e.Invalid.Message, name) {
			t.Errorf("%s: blamed %+v", name, e.Invalid)
		}
		if e.Request.Tenant != "acme" || e.Request.Deadline.Sub(e.Accepted) != envelope.DefaultTimeout {
			t.Errorf("%s: the rest was not read: %+v", name, e.Request)
		}
	}
	for _, timeout := range []string{"0s", "-5s"} {
		if e := open(wire.Route{}, wire.HeaderTimeout, timeout); e.Invalid == nil {
			t.Errorf("timeout %s accepted", timeout)
		}
	}
}

func TestDegradedAnswersAreTheRequestsChoiceThenTheRoutes(t *testing.T) {
	for _, c := range []struct {
		route, header string
		want          dispatch.Degrade
	}{
		{"", "", dispatch.DegradeAllow},
		{"never", "", dispatch.DegradeNever},
		{"never", "allow", dispatch.DegradeAllow},
		{"allow", "never", dispatch.DegradeNever},
		{"never", "perhaps", dispatch.DegradeNever},
	} {
		e := open(wire.Route{Degrade: dispatch.Degrade(c.route)}, wire.HeaderDegrade, c.header)
		if e.Request.Degrade != c.want {
			t.Errorf("route %q, header %q: got %s, want %s", c.route, c.header, e.Request.Degrade, c.want)
		}
	}
}

func TestTokensGoWhereTheCallerListens(t *testing.T) {
	for name, c := range map[string]struct {
		pairs []string
		to    string
	}{
		"nobody listens":   {nil, ""},
		"a subject":        {[]string{wire.HeaderStreamTo, "_INBOX.a"}, "_INBOX.a"},
		"no subject":       {[]string{wire.HeaderStream, "true", wire.HeaderRequestID, "order-1"}, "llm.tokens.order-1"},
		"both":             {[]string{wire.HeaderStream, "true", wire.HeaderStreamTo, "_INBOX.a"}, "_INBOX.a"},
		"listening denied": {[]string{wire.HeaderStream, "false"}, ""},
	} {
		e := open(wire.Route{}, c.pairs...)
		if e.StreamTo != c.to || e.Request.Stream != (c.to != "") {
			t.Errorf("%s: to %q, stream %t, want %q", name, e.StreamTo, e.Request.Stream, c.to)
		}
	}
}

func TestOnlyAttemptsThatReachedAProviderAreCalls(t *testing.T) {
	e := open(wire.Route{})
	for kind := range dispatch.Rules {
		e.Attempts = append(e.Attempts, wire.Attempt{Kind: kind})
	}
	e.Attempts = append(e.Attempts, wire.Attempt{}) // answered
	if got, want := e.Calls(), len(dispatch.Rules)+1-2; got != want {
		t.Errorf("got %d calls, want %d: all but refused and unavailable", got, want)
	}
}

func TestTimeoutsOfTheCallComeFromTheHeaders(t *testing.T) {
	place := envelope.Place{Route: "chat", Sequence: 1, Stored: time.Unix(0, 0), Fresh: true}
	e := envelope.Open(wire.Route{}, place, envelope.Header{wire.HeaderFirstTokenTimeout: {"20s"}, wire.HeaderIdleTimeout: {"500ms"}}, nil)
	if e.Invalid != nil || e.FirstToken != 20*time.Second || e.Idle != 500*time.Millisecond {
		t.Errorf("first token %v, idle %v, invalid %v", e.FirstToken, e.Idle, e.Invalid)
	}
	onward, _ := e.Handoff(nil)
	place.Fresh = false
	if again := envelope.Open(wire.Route{}, place, onward, nil); again.FirstToken != e.FirstToken || again.Idle != e.Idle {
		t.Errorf("after a handoff: first token %v, idle %v", again.FirstToken, again.Idle)
	}
	for _, name := range []string{wire.HeaderFirstTokenTimeout, wire.HeaderIdleTimeout} {
		if e := envelope.Open(wire.Route{}, place, envelope.Header{name: {"soon"}}, nil); e.Invalid == nil || e.Invalid.Param != name {
			t.Errorf("%s: soon: %v", name, e.Invalid)
		}
	}
}

package envelope_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"understudy/pkg/dispatch"
	"understudy/pkg/envelope"
	"understudy/pkg/wire"
)

func TestTheNextHopSeesTheSameRequest(t *testing.T) {
	first := open(wire.Route{Degrade: dispatch.DegradeNever}, wire.HeaderNatsMsgID, "order-1", wire.HeaderTimeout, "45s",
		wire.HeaderReplyTo, "_INBOX.a", wire.HeaderStreamTo, "_INBOX.b", wire.HeaderTenant, "acme", wire.HeaderDegrade, "allow",
		wire.HeaderTraceparent, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", wire.HeaderReplay, "2")
	first.Attempts = []wire.Attempt{{Worker: "openai", Instance: "i", StartedAt: stored, DurationMS: 9, Kind: dispatch.Silent}}
	h, _ := first.Handoff([]string{"openai", "claude"})

	later := envelope.Place{Route: "chat", Sequence: 9000, Stored: stored.Add(10 * time.Second)}
	second := envelope.Open(wire.Route{Degrade: dispatch.DegradeNever}, later, h, first.Request.Body)
	if second.Invalid != nil {
		t.Fatal(second.Invalid)
	}
	if !reflect.DeepEqual(second.Request, first.Request) {
		t.Errorf("request\n got %+v\nwant %+v", second.Request, first.Request)
	}
	if !second.Accepted.Equal(first.Accepted) || second.ReplyTo != "_INBOX.a" || second.Replay != 2 {
		t.Errorf("accepted %v, reply to %q, replay %d", second.Accepted, second.ReplyTo, second.Replay)
	}
	if !reflect.DeepEqual(second.Attempts, first.Attempts) {
		t.Errorf("attempts %+v", second.Attempts)
	}
	if second.Hops != first.Hops+1 || !slices.Equal(second.Tried, []string{"openai", "claude"}) {
		t.Errorf("hops %d, tried %q", second.Hops, second.Tried)
	}
}

func TestTheNextHopKnowsWhatWasEmitted(t *testing.T) {
	first := open(wire.Route{})
	first.Emitted = &wire.Emitted{Attempt: "i-1-1", Chunks: 7, Text: "a < b\n\u2028\"台词\" 🎭", ID: "c", Created: 9, Usage: wire.Usage{InputTokens: 3}}
	h, _ := first.Handoff([]string{"openai"})
	second := envelope.Open(wire.Route{}, place, h, nil)
	if second.Invalid != nil || !reflect.DeepEqual(second.Emitted, first.Emitted) {
		t.Fatalf("%v\n got %+v\nwant %+v", second.Invalid, second.Emitted, first.Emitted)
	}
	if again, _ := second.Handoff(nil); again[wire.HeaderEmitted][0] != h[wire.HeaderEmitted][0] {
		t.Errorf("one hop later: %s", again[wire.HeaderEmitted])
	}
}

func TestWhatAClientClaimsWasEmittedGoesNoFurther(t *testing.T) {
	forged := headers(wire.HeaderEmitted, `{"attempt":"x","chunks":1,"text":"forged"}`)
	fresh := place
	fresh.Fresh = true
	e := envelope.Open(wire.Route{}, fresh, forged, nil)
	if h, _ := e.Handoff(nil); e.Emitted != nil || h[wire.HeaderEmitted] != nil {
		t.Errorf("emitted %+v, next hop %v", e.Emitted, h[wire.HeaderEmitted])
	}
}

func TestAHandoffCarriesSoMuchAndNoMore(t *testing.T) {
	fits := wire.Emitted{Attempt: "a", Chunks: 1, Text: strings.Repeat("台", envelope.MaxEmitted/3-20)}
	if !envelope.Carries(fits) {
		t.Error("what fits is not carried")
	}
	fits.Text += strings.Repeat("<", 60)
	if envelope.Carries(fits) {
		t.Error("more than fits is carried")
	}
}

func TestANewPassOfTheChainForgetsWhoHadTheirTurn(t *testing.T) {
	h, _ := open(wire.Route{}, wire.HeaderTried, "openai,claude").Handoff(nil)
	if e := envelope.Open(wire.Route{}, place, h, nil); len(e.Tried) != 0 {
		t.Errorf("tried %q", e.Tried)
	}
}

func TestOnwardDropsTheBrokersHeadersAndKeepsTheRest(t *testing.T) {
	original := headers(wire.HeaderNatsMsgID, "order-1", "Nats-Expected-Stream", "REQUESTS_chat", "Nats-Schedule-Next", "purge",
		"X-Shop", "berlin", wire.HeaderTenant, "acme", "traceparent", "00-x")
	original["X-Many"] = []string{"a", "b"}
	before := maps.Clone(original)
	h, _ := envelope.Open(wire.Route{}, place, original, nil).Handoff(nil)
	for name := range h {
		if strings.HasPrefix(name, "Nats-") {
			t.Errorf("kept %s", name)
		}
	}
	for _, name := range []string{"X-Shop", "X-Many", wire.HeaderTenant, "traceparent"} {
		if !slices.Equal(h[name], original[name]) {
			t.Errorf("%s: got %q, want %q", name, h[name], original[name])
		}
	}
	if !reflect.DeepEqual(original, before) {
		t.Errorf("the delivery's own headers changed: %v", original)
	}
	if h, _ := envelope.Open(wire.Route{}, place, nil, nil).Handoff(nil); h[wire.HeaderRequestID][0] != "chat-4711" {
		t.Errorf("without headers: %v", h)
	}
}

func TestDedupeIDsDifferFromEveryIDAndFromEachOther(t *testing.T) {
	seen := map[string]string{}
	for _, id := range []string{"order-1", "order-1=r1", "order-1-h1"} {
		for _, replay := range []string{"", "1", "2", "11"} {
			for _, hops := range []string{"", "1", "2", "10", "11"} {
				e := open(wire.Route{}, wire.HeaderRequestID, id, wire.HeaderReplay, replay, wire.HeaderHops, hops)
				_, onward := e.Handoff(nil)
				what := strings.Join([]string{id, "replay", replay, "hops", hops}, " ")
				if other, taken := seen[onward]; taken {
					t.Errorf("%q is the dedupe id of %s and of %s", onward, other, what)
				}
				seen[onward] = what
				if wire.ValidID(onward) {
					t.Errorf("%s: a client may publish under the dedupe id %q", what, onward)
				}
				if dead := e.DedupeID("dead"); dead == onward || dead == e.Request.ID {
					t.Errorf("%s: dead letter %q, next hop %q", what, dead, onward)
				}
			}
		}
	}
}

func TestDoingTheSameStepTwiceHasOneDedupeID(t *testing.T) {
	pairs := []string{wire.HeaderRequestID, "order-1", wire.HeaderHops, "3"}
	_, first := open(wire.Route{}, pairs...).Handoff([]string{"openai"})
	_, second := open(wire.Route{}, pairs...).Handoff([]string{"openai", "claude"})
	if first != second {
		t.Errorf("%q and %q", first, second)
	}
}

func TestAResultBeginsWithWhatIsKnownOfTheRequest(t *testing.T) {
	e := open(wire.Route{}, wire.HeaderRequestID, "order-1", wire.HeaderTenant, "acme", wire.HeaderReplay, "1")
	r := e.Result(dispatch.StatusCancelled, stored.Add(time.Second))
	r.Error = wire.FailureOf(dispatch.Errorf(dispatch.Cancelled, "taken back"))
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	read, err := wire.Decode[wire.Result](wire.SchemaResult, data)
	if err != nil {
		t.Fatalf("a result without attempts does not fit its schema: %v", err)
	}
	if read.ID != "order-1" || read.Tenant != "acme" || read.Replay != 1 || !read.AcceptedAt.Equal(stored) || !read.FinishedAt.Equal(stored.Add(time.Second)) {
		t.Errorf("got %+v", read)
	}
}

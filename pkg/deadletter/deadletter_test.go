package deadletter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"understudy/pkg/bus"
	"understudy/pkg/bus/bustest"
	"understudy/pkg/deadletter"
	"understudy/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// letter is a dead letter of the route chat with the headers that a worker
// leaves behind.
func letter(id string, change func(*wire.DeadLetter)) wire.DeadLetter {
	l := wire.DeadLetter{
		ID: id, Route: "chat", Reason: "transient", Body: json.RawMessage(`{"messages":[{"role":"user","content":"hello"}]}`),
		Headers: map[string][]string{
			wire.HeaderNatsMsgID: {id}, "Nats-Expected-Stream": {"X"}, wire.HeaderRequestID: {id}, wire.HeaderTenant: {"acme"},
			wire.HeaderTimeout: {"30s"}, wire.HeaderDeadline: {"2020-01-01T00:00:00Z"}, wire.HeaderAttempts: {"[]"}, wire.HeaderTried: {"openai"},
			wire.HeaderHops: {"3"}, wire.HeaderAccepted: {"2020-01-01T00:00:00Z"}, wire.HeaderReplyTo: {"_INBOX.x"}, wire.HeaderStreamTo: {"_INBOX.y"},
			"X-Own": {"kept"},
		},
		Attempts: []wire.Attempt{{Worker: "openai", Instance: "a", StartedAt: noon, Kind: "transient"}, {Worker: "ollama", Instance: "b", StartedAt: noon}},
		Subject:  "llm.lanes.chat.0", AcceptedAt: noon, At: noon,
	}
	if change != nil {
		change(&l)
	}
	return l
}

func openChat(t *testing.T) *bus.Bus {
	t.Helper()
	b := bustest.New(t)
	for _, name := range []string{"chat", "other"} {
		route := wire.Route{Fallbacks: []string{"openai"}}
		if err := b.EnsureRoute(t.Context(), name, route); err != nil {
			t.Fatal(err)
		}
		if err := b.SetRoute(t.Context(), name, route); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func bury(t *testing.T, b *bus.Bus, letters ...wire.DeadLetter) {
	t.Helper()
	for i, l := range letters {
		if err := b.PublishDeadLetter(t.Context(), fmt.Sprint(l.ID, ".", i, b.NewInbox()), l); err != nil {
			t.Fatal(err)
		}
	}
}

func ids(t *testing.T, b *bus.Bus, f deadletter.Filter) []string {
	t.Helper()
	letters, err := deadletter.List(t.Context(), b, f, 0)
	if err != nil {
		t.Fatal(err)
	}
	list := []string{}
	for _, l := range letters {
		list = append(list, l.ID)
	}
	return list
}

// queued reads what a route's queue holds.
func queued(t *testing.T, b *bus.Bus, route string) []bus.Stored {
	t.Helper()
	var all []bus.Stored
	if err := b.ScanQueue(t.Context(), wire.RequestStream(route), 0, func(m bus.Stored) bool { all = append(all, m); return true }); err != nil {
		t.Fatal(err)
	}
	return all
}

func replay(t *testing.T, b *bus.Bus, f deadletter.Filter, o deadletter.Options) deadletter.Report {
	t.Helper()
	r, err := deadletter.Replay(t.Context(), b, f, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAFilterSelectsByEveryFieldThatIsSet(t *testing.T) {
	b := openChat(t)
	bury(t, b,
		letter("plain", nil),
		letter("route", func(l *wire.DeadLetter) { l.Route = "other" }),
		letter("reason", func(l *wire.DeadLetter) { l.Reason = "poisonous" }),
		letter("worker", func(l *wire.DeadLetter) { l.Attempts[0].Worker = "claude" }),
		letter("tenant", func(l *wire.DeadLetter) { l.Headers[wire.HeaderTenant] = []string{"umbrella"} }),
		letter("late", func(l *wire.DeadLetter) { l.At = noon.Add(time.Hour) }),
		letter("raw", func(l *wire.DeadLetter) { l.Body, l.Raw = nil, []byte("no json: needle") }),
	)
	for want, f := range map[string]deadletter.Filter{
		"route":  {Route: "other"},
		"reason": {Reason: "poisonous"},
		"worker": {Worker: "claude"},
		"tenant": {Tenant: "umbrella"},
		"late":   {Since: noon.Add(time.Hour)},
		"raw":    {Contains: "needle"},
		"plain":  {ID: "plain", Route: "chat", Reason: "transient", Worker: "ollama", Tenant: "acme", Since: noon, Until: noon.Add(time.Second), Contains: "hello"},
	} {
		if got := ids(t, b, f); !slices.Equal(got, []string{want}) {
			t.Errorf("%s selects %v", f, got)
		}
	}
	if got := ids(t, b, deadletter.Filter{Until: noon}); len(got) != 0 {
		t.Errorf("before noon: %v", got)
	}
	if got := ids(t, b, deadletter.Filter{}); len(got) != 7 {
		t.Errorf("all: %v", got)
	}
	letters, err := deadletter.List(t.Context(), b, deadletter.Filter{}, 2)
	if err != nil || len(letters) != 2 || letters[0].ID != "plain" {
		t.Errorf("the first two: %v, %v", letters, err)
	}
}

func TestShowReturnsTheNewestLetterOfARequest(t *testing.T) {
	b := openChat(t)
	bury(t, b, letter("a", nil), letter("a", func(l *wire.DeadLetter) { l.Reason = "silent" }))
	if l, err := deadletter.Show(t.Context(), b, "a"); err != nil || l.Reason != "silent" {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := deadletter.Show(t.Context(), b, "none"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("error: %v", err)
	}
}

func TestCountsAreByRouteAndReason(t *testing.T) {
	b := openChat(t)
	bury(t, b, letter("a", nil), letter("b", nil), letter("c", func(l *wire.DeadLetter) { l.Route = "other" }))
	counts, all, err := deadletter.Counts(t.Context(), b, 0)
	want := []deadletter.Count{{Route: "chat", Reason: "transient", Count: 2}, {Route: "other", Reason: "transient", Count: 1}}
	if err != nil || !all || !slices.Equal(counts, want) {
		t.Errorf("%v, %v, %v", counts, all, err)
	}
	if _, all, err := deadletter.Counts(t.Context(), b, 2); err != nil || all {
		t.Errorf("two of three are called all: %v", err)
	}
}

func TestAReplayStartsAfresh(t *testing.T) {
	b := openChat(t)
	bury(t, b, letter("a", nil))
	if r := replay(t, b, deadletter.Filter{}, deadletter.Options{}); r != (deadletter.Report{Selected: 1, Replayed: 1, Attempts: 2}) {
		t.Errorf("report: %+v", r)
	}
	got := queued(t, b, "chat")
	if len(got) != 1 {
		t.Fatalf("%d requests queued", len(got))
	}
	h := got[0].Header
	for key, want := range map[string]string{
		wire.HeaderRequestID: "a", wire.HeaderReplay: "1", wire.HeaderNatsMsgID: "a.r1", wire.HeaderTimeout: "30s", wire.HeaderTenant: "acme", "X-Own": "kept",
		wire.HeaderDeadline: "", wire.HeaderAttempts: "", wire.HeaderTried: "", wire.HeaderHops: "", wire.HeaderAccepted: "",
		wire.HeaderReplyTo: "", wire.HeaderStreamTo: "", "Nats-Expected-Stream": "",
	} {
		if h.Get(key) != want {
			t.Errorf("%s is %q, want %q", key, h.Get(key), want)
		}
	}
	if string(got[0].Body) != string(letter("a", nil).Body) {
		t.Errorf("body: %s", got[0].Body)
	}
	if left := ids(t, b, deadletter.Filter{}); len(left) != 0 {
		t.Errorf("still dead: %v", left)
	}
}

func TestARequestThatIsNotJSONIsReplayedAsItCame(t *testing.T) {
	b := openChat(t)
	bury(t, b, letter("a", func(l *wire.DeadLetter) { l.Body, l.Raw = nil, []byte("\x00raw") }))
	replay(t, b, deadletter.Filter{}, deadletter.Options{})
	if got := queued(t, b, "chat"); len(got) != 1 || string(got[0].Body) != "\x00raw" {
		t.Errorf("queued: %+v", got)
	}
}

func TestReplayingTwiceFindsNothingTheSecondTime(t *testing.T) {
	b := openChat(t)
	bury(t, b, letter("a", nil))
	replay(t, b, deadletter.Filter{}, deadletter.Options{})
	if r := replay(t, b, deadletter.Filter{}, deadletter.Options{}); r != (deadletter.Report{}) {
		t.Errorf("second report: %+v", r)
	}
}

func TestALetterThatOutlivedItsReplayIsADuplicate(t *testing.T) {
	b := openChat(t)
	bury(t, b, letter("a", nil))
	replay(t, b, deadletter.Filter{}, deadletter.Options{})
	bury(t, b, letter("a", nil)) // as if the run had ended before it could remove the letter
	if r := replay(t, b, deadletter.Filter{}, deadletter.Options{}); r.Duplicates != 1 || r.Replayed != 0 {
		t.Errorf("second report: %+v", r)
	}
	if n := len(queued(t, b, "chat")); n != 1 {
		t.Errorf("%d requests queued", n)
	}
	if left := ids(t, b, deadletter.Filter{}); len(left) != 0 {
		t.Errorf("still dead: %v", left)
	}
}

func TestAReplayThatFailedIsReplayedUnderTheNextNumber(t *testing.T) {
	b := openChat(t)
	bury(t, b, letter("a", nil))
	replay(t, b, deadletter.Filter{}, deadletter.Options{})
	bury(t, b, letter("a", func(l *wire.DeadLetter) { l.Headers = queued(t, b, "chat")[0].Header }))
	if r := replay(t, b, deadletter.Filter{}, deadletter.Options{}); r.Replayed != 1 {
		t.Errorf("second report: %+v", r)
	}
	if got := queued(t, b, "chat"); len(got) != 2 || got[1].Header.Get(wire.HeaderReplay) != "2" {
		t.Errorf("queued: %+v", got)
	}
}

func TestADryRunChangesNothing(t *testing.T) {
	b := openChat(t)
	bury(t, b, letter("a", nil), letter("b", nil))
	if r := replay(t, b, deadletter.Filter{}, deadletter.Options{DryRun: true}); r != (deadletter.Report{Selected: 2}) {
		t.Errorf("replay: %+v", r)
	}
	if r, err := deadletter.Purge(t.Context(), b, deadletter.Filter{}, deadletter.Options{DryRun: true}); err != nil || r != (deadletter.Report{Selected: 2}) {
		t.Errorf("purge: %+v, %v", r, err)
	}
	if left, n := ids(t, b, deadletter.Filter{}), len(queued(t, b, "chat")); len(left) != 2 || n != 0 || len(events(t, b)) != 0 {
		t.Errorf("left %v, queued %d, events %v", left, n, events(t, b))
	}
}

func TestARateAndALimitHold(t *testing.T) {
	b := openChat(t)
	for i := range 6 {
		bury(t, b, letter(fmt.Sprint("r", i), nil))
	}
	var seen []int
	began := time.Now()
	r := replay(t, b, deadletter.Filter{}, deadletter.Options{Rate: 20, Limit: 4, Progress: func(r deadletter.Report) { seen = append(seen, r.Selected) }})
	if took := time.Since(began); took < 3*50*time.Millisecond {
		t.Errorf("four at 20 a second took %s", took)
	}
	if r.Replayed != 4 || !slices.Equal(seen, []int{1, 2, 3, 4}) {
		t.Errorf("report %+v, progress %v", r, seen)
	}
	if left := ids(t, b, deadletter.Filter{}); !slices.Equal(left, []string{"r4", "r5"}) {
		t.Errorf("left: %v", left)
	}
}

func TestARunEndsThoughItsRequestsDieAgain(t *testing.T) {
	b := openChat(t)
	bury(t, b, letter("a", nil))
	r := replay(t, b, deadletter.Filter{}, deadletter.Options{Limit: 5, Progress: func(deadletter.Report) {
		bury(t, b, letter("a", func(l *wire.DeadLetter) { l.Headers[wire.HeaderReplay] = []string{"1"} }))
	}})
	if r.Selected != 1 {
		t.Errorf("report: %+v", r)
	}
	if left := ids(t, b, deadletter.Filter{}); !slices.Equal(left, []string{"a"}) {
		t.Errorf("left: %v", left)
	}
}

func TestAnInterruptedReplayKeepsTheRest(t *testing.T) {
	b := openChat(t)
	bury(t, b, letter("a", nil), letter("b", nil), letter("c", nil))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := deadletter.Replay(ctx, b, deadletter.Filter{}, deadletter.Options{Rate: 1000, Progress: func(deadletter.Report) { cancel() }})
	if !errors.Is(err, context.Canceled) || r.Replayed != 1 {
		t.Errorf("report %+v, %v", r, err)
	}
	if left := ids(t, b, deadletter.Filter{}); !slices.Equal(left, []string{"b", "c"}) {
		t.Errorf("left: %v", left)
	}
	if got := events(t, b); len(got) != 1 || got[0].Data["replayed"] != "1" || got[0].Data["error"] == "" {
		t.Errorf("events: %+v", got)
	}
}

func TestAReplayMayGoToAnotherRoute(t *testing.T) {
	b := openChat(t)
	bury(t, b, letter("a", nil))
	if _, err := deadletter.Replay(t.Context(), b, deadletter.Filter{}, deadletter.Options{To: "nowhere"}); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("to a route that is not applied: %v", err)
	}
	replay(t, b, deadletter.Filter{}, deadletter.Options{To: "other"})
	if len(queued(t, b, "chat")) != 0 || len(queued(t, b, "other")) != 1 {
		t.Error("it is not on the other route alone")
	}
}

func TestALetterOfARouteThatIsNotAppliedStays(t *testing.T) {
	b := openChat(t)
	bury(t, b, letter("a", func(l *wire.DeadLetter) { l.Route = "gone" }), letter("b", nil))
	if r := replay(t, b, deadletter.Filter{}, deadletter.Options{}); r.Unroutable != 1 || r.Replayed != 1 {
		t.Errorf("report: %+v", r)
	}
	if left := ids(t, b, deadletter.Filter{}); !slices.Equal(left, []string{"a"}) {
		t.Errorf("left: %v", left)
	}
}

func TestAPurgeDiscardsWhatItSelects(t *testing.T) {
	b := openChat(t)
	bury(t, b, letter("a", nil), letter("b", func(l *wire.DeadLetter) { l.Reason = "poisonous" }))
	r, err := deadletter.Purge(t.Context(), b, deadletter.Filter{Reason: "poisonous"}, deadletter.Options{})
	if err != nil || r.Purged != 1 {
		t.Errorf("report %+v, %v", r, err)
	}
	if left := ids(t, b, deadletter.Filter{}); !slices.Equal(left, []string{"a"}) {
		t.Errorf("left: %v", left)
	}
}

func TestEachRunIsAnEvent(t *testing.T) {
	b := openChat(t)
	bury(t, b, letter("a", nil), letter("b", nil))
	replay(t, b, deadletter.Filter{Route: "chat", ID: "a"}, deadletter.Options{})
	if _, err := deadletter.Purge(t.Context(), b, deadletter.Filter{}, deadletter.Options{}); err != nil {
		t.Fatal(err)
	}
	got := events(t, b)
	if len(got) != 2 {
		t.Fatalf("events: %+v", got)
	}
	if e := got[0]; e.Kind != wire.EventKindReplay || e.Name != "chat" || e.Data["filter"] != "route=chat id=a" || e.Data["replayed"] != "1" || e.Data["attempts"] != "2" {
		t.Errorf("replay: %+v", e)
	}
	if e := got[1]; e.Kind != wire.EventKindPurge || e.Name != "all" || e.Data["filter"] != "all" || e.Data["purged"] != "1" {
		t.Errorf("purge: %+v", e)
	}
}

func events(t *testing.T, b *bus.Bus) []wire.Event {
	t.Helper()
	var all []wire.Event
	if err := b.Events(t.Context(), 0, func(e wire.Event, _ uint64) bool { all = append(all, e); return true }); err != nil {
		t.Fatal(err)
	}
	return all
}

package standalone_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/bus/bustest"
	"understudy/pkg/config"
	"understudy/pkg/fleet"
	"understudy/pkg/gateway"
	"understudy/pkg/wire"
	"understudy/tools/fakeprovider/fake"
)

// story is what both providers say: long, in two scripts, with signs that take
// several bytes, and with lines that begin alike.
var story = strings.Repeat("The understudy knows every line of the play. 替角记得每一句台词，随时上场。 🎭\n- curtain up\n- lights down\n", 20)

const askForStory = `{"model":"chat","stream":true,"messages":[{"role":"user","content":"tell me"}]}`

// theatre is a gateway in front of two providers that tell the same story.
type theatre struct {
	*testing.T
	bus             *bus.Bus
	primary, backup *fake.Server
	url             string
}

func newTheatre(t *testing.T, continuation wire.Continuation) *theatre {
	t.Helper()
	th := &theatre{T: t, bus: bustest.New(t), primary: tells(t, "primary"), backup: tells(t, "backup")}
	none := int64(0)
	asks := func(p *fake.Server) wire.Worker {
		return wire.Worker{
			Kind: wire.WorkerKindOpenai, BaseURL: p.URL() + "/v1", Model: "teller", Retries: &none, Continuation: continuation,
			Timeouts: wire.Timeouts{Idle: wire.Duration(300 * time.Millisecond)},
			Breaker:  wire.BreakerSettings{Consecutive: 1000, Minimum: 1000},
		}
	}
	_, err := config.Apply(t.Context(), th.bus, wire.Config{
		Workers: map[string]wire.Worker{"primary": asks(th.primary), "backup": asks(th.backup), "rules": {Kind: wire.WorkerKindRules}},
		Routes:  map[string]wire.Route{"chat": {Fallbacks: []string{"primary", "backup", "rules"}, AckWait: wire.Duration(time.Minute)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(gateway.Config{Addr: "127.0.0.1:0"}, th.bus, zerolog.Nop(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	th.url = "http://" + g.Addr().String()
	th.run("gateway", g.Run)
	return th
}

func tells(t *testing.T, name string) *fake.Server {
	t.Helper()
	p, err := fake.Start(":0", fake.Options{Name: name, Text: story})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// run runs a part until the returned function is called or the test ends.
func (th *theatre) run(name string, part func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := part(ctx); err != nil {
			th.Errorf("%s: %v", name, err)
		}
	}()
	stop = func() { cancel(); <-done }
	th.Cleanup(stop)
	return stop
}

// hire runs workers, all of them unless it is told names.
func (th *theatre) hire(instance string, names ...string) (stop func()) {
	cfg := fleet.Config{Instance: instance, Names: names, Drain: time.Millisecond, Lookup: os.LookupEnv}
	return th.run(instance, fleet.New(cfg, th.bus, zerolog.New(zerolog.NewTestWriter(th)).Level(zerolog.InfoLevel)).Run)
}

// ask posts the request and returns the response as soon as it begins.
func (th *theatre) ask() *http.Response {
	th.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	th.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, th.url+"/v1/chat/completions", strings.NewReader(askForStory))
	if err != nil {
		th.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		th.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		th.Fatalf("status %d: %s", resp.StatusCode, body)
	}
	return resp
}

// view is what a reader makes of a stream, as an SDK does.
type view struct {
	text, finish, failure string
	ids                   map[string]bool
	worker                string
	attempts              int
	done                  bool
}

func (th *theatre) read(resp *http.Response) (v view) {
	th.Helper()
	defer resp.Body.Close()
	v.ids = map[string]bool{}
	events := bufio.NewScanner(resp.Body)
	for events.Scan() {
		data, ok := strings.CutPrefix(events.Text(), "data: ")
		switch {
		case !ok:
			continue
		case v.done || v.failure != "":
			th.Errorf("after the end: %s", data)
		case data == "[DONE]":
			v.done = true
			continue
		}
		var c struct {
			ID      string
			Choices []struct {
				Delta        struct{ Content string }
				FinishReason string `json:"finish_reason"`
			}
			Understudy struct {
				Worker   string
				Attempts int
			}
			Error struct{ Code string }
		}
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			th.Fatalf("%s: %v", data, err)
		}
		v.failure = c.Error.Code
		if c.ID != "" {
			v.ids[c.ID] = true
		}
		for _, choice := range c.Choices {
			v.text += choice.Delta.Content
			if choice.FinishReason != "" {
				v.finish, v.worker, v.attempts = choice.FinishReason, c.Understudy.Worker, c.Understudy.Attempts
			}
		}
	}
	if err := events.Err(); err != nil {
		th.Error(err)
	}
	return v
}

// tellsAll demands the whole story, unbroken, from a worker.
func (th *theatre) tellsAll(v view, worker string, attempts int) {
	th.Helper()
	if v.text != story {
		th.Errorf("the caller has %d bytes of %d, the same up to %d", len(v.text), len(story), same(v.text, story))
	}
	if !v.done || v.finish != "stop" || v.failure != "" || len(v.ids) != 1 || v.worker != worker || v.attempts != attempts {
		th.Errorf("done %v, finish %q, failure %q, ids %v, %s after %d attempts", v.done, v.finish, v.failure, v.ids, v.worker, v.attempts)
	}
}

func same(a, b string) (n int) {
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

func TestCallerOfABrokenStreamSeesOneUnbrokenAnswer(t *testing.T) {
	for _, style := range []wire.Continuation{wire.ContinuationContinue, wire.ContinuationPrefill} {
		t.Run(string(style), func(t *testing.T) {
			th := newTheatre(t, style)
			th.hire("i1")
			for _, fault := range []fake.Fault{
				{Kind: fake.Cut, Tokens: 1},
				{Kind: fake.Cut, Tokens: 100},
				{Kind: fake.Cut, Tokens: 400},
				{Kind: fake.Stall, Tokens: 50},
				{Kind: fake.ErrorEvent, Tokens: 30},
			} {
				fault.Count = 1
				if err := th.primary.SetFaults(fault); err != nil {
					t.Fatal(err)
				}
				th.tellsAll(th.read(th.ask()), "backup", 2)
			}
		})
	}
}

func TestStreamThatNobodyGoesOnWithEndsInAnErrorEvent(t *testing.T) {
	th := newTheatre(t, wire.ContinuationPrefill)
	th.hire("i1")
	if err := th.primary.SetFaults(fake.Fault{Kind: fake.Cut, Tokens: 40}); err != nil {
		t.Fatal(err)
	}
	for fault, want := range map[fake.Fault]string{
		{Kind: fake.Status, Status: 503}: "provider_unavailable",
		{Kind: fake.Cut, Tokens: 2}:      "stream_truncated",
	} {
		if err := th.backup.SetFaults(fault); err != nil {
			t.Fatal(err)
		}
		v := th.read(th.ask())
		if v.done || v.finish != "" || v.failure != want || v.text == "" || !strings.HasPrefix(story, v.text) {
			t.Errorf("done %v, finish %q, failure %q, text %q", v.done, v.finish, v.failure, v.text)
		}
	}
}

func TestStreamOfAWorkerThatStopsIsRescuedByItsReplica(t *testing.T) {
	th := newTheatre(t, wire.ContinuationPrefill)
	stop := th.hire("i1", "primary")
	if err := th.primary.SetFaults(fake.Fault{Kind: fake.SlowTokens, Delay: fake.Duration(50 * time.Millisecond), Count: 1}); err != nil {
		t.Fatal(err)
	}
	resp := th.ask() // it begins with the first token, and would take long
	th.hire("i2", "primary")
	stop()
	th.tellsAll(th.read(resp), "primary", 1)
}

package gateway

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"understudy/pkg/bus"
	"understudy/pkg/bus/bustest"
	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const question = `{"model":"gpt-5-mini","messages":[{"role":"user","content":"hi"}]}`

const streamed = `{"model":"gpt-5-mini","stream":true,"messages":[{"role":"user","content":"hi"}]}`

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// plan is what a test wants different from the usual.
type plan struct {
	config Config
	route  wire.Route
	pace   func(*pace)
}

// seldom keeps the record out of a test that is about messages.
func seldom(p *pace) { p.poll, p.pollMax = time.Hour, time.Hour }

// house is a gateway on a private broker, and a client at its door.
type house struct {
	t      *testing.T
	bus    *bus.Bus
	g      *Gateway
	client *http.Client
	stop   context.CancelFunc
	ended  chan error
}

func open(t *testing.T, p plan) *house {
	t.Helper()
	t.Parallel()
	settings := bustest.Config(t)
	settings.Relaxed = true // nothing here rests on what survives a power cut
	b := bustest.Open(t, settings)
	p.route.Fallbacks = []string{"openai", "rules"}
	p.route.Models = []string{"gpt-5-mini"}
	if err := b.EnsureRoute(t.Context(), "chat", p.route); err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]wire.WorkerKind{"openai": wire.WorkerKindOpenai, "rules": wire.WorkerKindRules} {
		if err := b.SetWorker(t.Context(), name, wire.Worker{Kind: kind}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.SetRoute(t.Context(), "chat", p.route); err != nil {
		t.Fatal(err)
	}
	return enter(t, b, p)
}

func enter(t *testing.T, b *bus.Bus, p plan) *house {
	t.Helper()
	p.config.Addr = cmp.Or(p.config.Addr, "127.0.0.1:0")
	g, err := New(p.config, b, zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.ErrorLevel), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if p.pace != nil {
		p.pace(&g.pace)
	}
	ctx, stop := context.WithCancel(context.Background())
	h := &house{t: t, bus: b, g: g, stop: stop, ended: make(chan error, 1)}
	h.client = &http.Client{Transport: &http.Transport{}, Timeout: patience}
	go func() { h.ended <- g.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		h.client.CloseIdleConnections()
		if err := <-h.ended; err != nil {
			t.Errorf("run: %v", err)
		}
		h.ended <- nil
	})
	return h
}

// job is a request in the hands of the test, which plays the worker.
type job struct {
	*bus.Delivery
	h  *house
	id string
}

// jobs pulls every numbered lane of the chat route until the test ends.
func (h *house) jobs() <-chan *job {
	jobs := make(chan *job, 16)
	var lanes sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	h.t.Cleanup(func() { stop(); lanes.Wait() })
	for n := range wire.Lanes {
		lanes.Go(func() {
			for ctx.Err() == nil {
				_, err := h.bus.Fetch(ctx, "chat", wire.NumberedLane(n), 4, bus.PriorityOwner, 80*time.Millisecond, func(d *bus.Delivery) {
					jobs <- &job{Delivery: d, h: h, id: d.Header.Get(wire.HeaderRequestID)}
				})
				if err != nil && ctx.Err() == nil {
					h.t.Errorf("pull: %v", err)
					return
				}
			}
		})
	}
	return jobs
}

func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v, open := <-from:
		if !open {
			t.Fatal("ended, nothing more comes")
		}
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	panic("unreachable")
}

// chunk sends one token chunk.
func (j *job) chunk(number int, attempt, delta, finish string) {
	j.h.t.Helper()
	j.raw(number, attempt, `{"id":"c1","object":"chat.completion.chunk","created":7,"model":"gpt-x","choices":[{"index":0,"delta":`+delta+`,"finish_reason":`+cmp.Or(finish, "null")+`}]}`)
}

func (j *job) raw(number int, attempt, body string) {
	j.h.t.Helper()
	header := bus.Header{wire.HeaderChunk: {strconv.Itoa(number)}, wire.HeaderAttempt: {attempt}, wire.HeaderWorker: {"openai"}}
	if err := j.h.bus.Send(j.Header.Get(wire.HeaderStreamTo), header, []byte(body)); err != nil {
		j.h.t.Error(err)
	}
}

func (j *job) says(number int, text string) {
	j.h.t.Helper()
	quoted, _ := json.Marshal(text)
	j.chunk(number, "a", `{"content":`+string(quoted)+`}`, "")
}

func (j *job) answered(text string) wire.Result {
	return wire.Result{
		ID: j.id, Route: "chat", Status: dispatch.StatusAnswered, Worker: "openai", Model: "gpt-x",
		Answer:   chat.Completion("c1", "gpt-x", text, time.Unix(7, 0)),
		Attempts: []wire.Attempt{{Worker: "openai"}},
	}
}

func (j *job) failed(f wire.Failure) wire.Result {
	return wire.Result{ID: j.id, Route: "chat", Status: dispatch.StatusFailed, Error: &f, Attempts: []wire.Attempt{{Worker: "openai"}, {Worker: "rules"}}}
}

// settle records the result and acknowledges the request, without a word to
// those who wait.
func (j *job) settle(r wire.Result) {
	j.h.t.Helper()
	if _, _, err := j.h.bus.Record(context.Background(), "", r); err != nil {
		j.h.t.Error(err)
	}
	if err := j.Ack(context.Background()); err != nil {
		j.h.t.Error(err)
	}
}

// end settles and sends the end.
func (j *job) end(r wire.Result) {
	j.h.t.Helper()
	j.settle(r)
	body, _ := json.Marshal(r)
	if to := j.Header.Get(wire.HeaderReplyTo); to != "" {
		if err := j.h.bus.Send(to, bus.Header{wire.HeaderStatus: {string(r.Status)}}, body); err != nil {
			j.h.t.Error(err)
		}
	}
}

// reply is a response with its body.
type reply struct {
	*http.Response
	body string
}

func (h *house) url(path string) string { return "http://" + h.g.Addr().String() + path }

func (h *house) request(ctx context.Context, method, path, body string, header ...string) *http.Request {
	h.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, h.url(path), strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] != "" {
			r.Header.Set(header[i], header[i+1])
		}
	}
	return r
}

func (h *house) do(method, path, body string, header ...string) reply {
	h.t.Helper()
	resp, err := h.client.Do(h.request(context.Background(), method, path, body, header...))
	if err != nil {
		h.t.Error(err)
		return reply{Response: &http.Response{}}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Error(err)
	}
	return reply{resp, string(data)}
}

// post asks for a completion in the background.
func (h *house) post(body string, header ...string) <-chan reply {
	replies := make(chan reply, 1)
	go func() { replies <- h.do(http.MethodPost, "/v1/chat/completions", body, header...) }()
	return replies
}

// code returns the code of an OpenAI error.
func (r reply) code(t *testing.T) string {
	t.Helper()
	var e struct {
		Error *struct{ Message, Type, Code string }
	}
	if err := json.Unmarshal([]byte(r.body), &e); err != nil || e.Error == nil || e.Error.Message == "" || e.Error.Type == "" {
		t.Fatalf("no OpenAI error: %d %s", r.StatusCode, r.body)
	}
	return e.Error.Code
}

// view is what a caller makes of a stream.
type view struct {
	text   string
	finish string
	model  string
	roles  int
	usage  bool
	credit credit
	err    string
	done   bool
}

// read makes sense of events as an SDK does.
func read(t *testing.T, body string) view {
	t.Helper()
	var v view
	for line := range strings.Lines(body) {
		data, isData := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "data: ")
		if !isData {
			continue
		}
		if v.done || v.err != "" {
			t.Errorf("after the end: %s", data)
		}
		if data == "[DONE]" {
			v.done = true
			continue
		}
		var c struct {
			Model   string
			Choices []struct {
				Delta        struct{ Role, Content string }
				FinishReason string `json:"finish_reason"`
			}
			Usage      json.RawMessage
			Understudy credit
			Error      *struct{ Code string }
		}
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if c.Error != nil {
			v.err = c.Error.Code
			continue
		}
		v.model = c.Model
		for _, choice := range c.Choices {
			v.text += choice.Delta.Content
			if choice.Delta.Role != "" {
				v.roles++
			}
			if choice.FinishReason != "" {
				v.finish, v.credit = choice.FinishReason, c.Understudy
			}
		}
		v.usage = v.usage || len(c.Choices) == 0 && c.Usage != nil
	}
	return v
}

// lines hands over the lines of a response that is still coming, without the
// empty ones, until it ends or is closed.
func lines(from io.Reader) <-chan string {
	all := make(chan string, 64)
	go func() {
		defer close(all)
		in := bufio.NewScanner(from)
		for in.Scan() {
			if in.Text() != "" {
				all <- in.Text()
			}
		}
	}()
	return all
}

// eventually waits for what announces itself in no other way.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for giveUp := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(giveUp) {
			t.Fatal("it never came to hold")
		}
	}
}

// waitForBoxes waits until so many callers wait for an id.
func waitForBoxes(t *testing.T, h *house, id string, want int) {
	t.Helper()
	eventually(t, func() bool {
		s := h.g.inbox.shard(id)
		s.mu.Lock()
		defer s.mu.Unlock()
		c := s.calls[id]
		return c != nil && len(c.boxes) == want
	})
}

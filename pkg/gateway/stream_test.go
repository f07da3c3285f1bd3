package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

func TestStreamIsForwardedAndEndsOnceRecorded(t *testing.T) {
	h := open(t, plan{})
	jobs := h.jobs()
	resp, events, j := h.follow(jobs, streamed)
	defer resp.Body.Close()
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	for name, want := range map[string]string{
		"understudy-request-id": j.id, "understudy-worker": "openai", "understudy-model": "gpt-x",
		"understudy-degraded": "false", "x-should-retry": "false",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	got := []string{next(t, events), next(t, events)} // the role and the first output
	j.says(2, " world")
	got = append(got, next(t, events))
	j.chunk(3, "a", `{}`, `"stop"`)
	j.raw(4, "a", `{"id":"c1","model":"gpt-x","choices":[],"usage":{"total_tokens":3}}`)
	j.end(j.answered("hello world"))
	for line := range events {
		got = append(got, line)
	}
	v := read(t, strings.Join(got, "\n"))
	if v.text != "hello world" || v.finish != "stop" || !v.done || v.usage || v.roles != 1 || v.credit.ID != j.id || v.credit.Attempts != 1 {
		t.Errorf("the caller sees %+v", v)
	}
}

// follow asks for a stream, lets it begin with "hello", and returns what comes.
func (h *house) follow(jobs <-chan *job, body string) (*http.Response, <-chan string, *job) {
	h.t.Helper()
	responses := make(chan *http.Response, 1)
	go func() {
		resp, err := h.client.Do(h.request(context.Background(), http.MethodPost, "/v1/chat/completions", body))
		if err != nil {
			h.t.Error(err)
		}
		responses <- resp
	}()
	j := next(h.t, jobs)
	if j.Header.Get(wire.HeaderStreamTo) == "" {
		h.t.Fatal("nobody asks for tokens")
	}
	j.chunk(0, "a", `{"role":"assistant","content":""}`, "")
	j.says(1, "hello")
	resp := next(h.t, responses)
	return resp, lines(resp.Body), j
}

func TestFailureBeforeTheFirstOutputStillHasItsStatus(t *testing.T) {
	h := open(t, plan{})
	jobs := h.jobs()
	replies := h.post(streamed)
	j := next(t, jobs)
	j.chunk(0, "a", `{"role":"assistant","content":""}`, "")
	j.end(j.failed(wire.Failure{Kind: dispatch.Account, Status: 502, Message: "no credit", Type: "server_error", Code: "provider_account"}))
	got := next(t, replies)
	if got.StatusCode != 502 || got.code(t) != "provider_account" || got.Header.Get("understudy-attempts") != "2" {
		t.Errorf("%d %v %s", got.StatusCode, got.Header, got.body)
	}
}

func TestFailureAfterOutputIsAnErrorAndNoCleanEnd(t *testing.T) {
	h := open(t, plan{})
	jobs := h.jobs()
	replies := h.post(streamed)
	j := next(t, jobs)
	j.says(0, "hel")
	j.end(j.failed(wire.Failure{Kind: dispatch.Truncated, Status: 502, Message: "cut", Type: "server_error", Code: "stream_truncated"}))
	got := next(t, replies)
	if v := read(t, got.body); got.StatusCode != 200 || v.text != "hel" || v.err != "stream_truncated" || v.done {
		t.Errorf("%d, the caller sees %+v", got.StatusCode, v)
	}
}

func TestTornStreamIsMendedFromTheRecord(t *testing.T) {
	h := open(t, plan{})
	jobs := h.jobs()
	for name, c := range map[string]struct {
		send func(j *job)
		want view
	}{
		"lost chunk": {
			func(j *job) { j.says(0, "he"); j.says(2, "o wor"); j.chunk(3, "a", `{}`, `"stop"`) },
			view{text: "hello world", finish: "stop", done: true},
		},
		"lost first chunk": {
			func(j *job) { j.says(1, "llo"); j.chunk(2, "a", `{}`, `"stop"`) },
			view{text: "hello world", finish: "stop", done: true, roles: 1},
		},
		"lost finish": {
			func(j *job) { j.says(0, "hello"); j.says(1, " world") },
			view{text: "hello world", finish: "stop", done: true},
		},
		"nothing but the end": {
			func(*job) {},
			view{text: "hello world", finish: "stop", done: true, roles: 1},
		},
		"chunk that comes twice": {
			func(j *job) {
				j.says(0, "hello")
				j.says(0, "hello")
				j.says(1, " world")
				j.chunk(2, "a", `{}`, `"stop"`)
			},
			view{text: "hello world", finish: "stop", done: true},
		},
		"attempt after output that continues": {
			func(j *job) { j.says(0, "hello"); j.chunk(0, "b", `{"content":"hello again"}`, "") },
			view{text: "hello world", finish: "stop", done: true},
		},
		"attempt after output that says something else": {
			func(j *job) { j.says(0, "good"); j.chunk(0, "b", `{"content":"hello"}`, "") },
			view{text: "good", err: "stream_broken"},
		},
		"attempt before any output": {
			func(j *job) {
				j.chunk(0, "a", `{"role":"assistant"}`, "")
				j.chunk(0, "b", `{"role":"assistant"}`, "")
				j.chunk(1, "b", `{"content":"hello world"}`, "")
				j.chunk(2, "b", `{}`, `"stop"`)
			},
			view{text: "hello world", finish: "stop", done: true, roles: 1},
		},
		"output and finish in one": {
			func(j *job) { j.says(0, "hello"); j.chunk(1, "a", `{"content":" world"}`, `"stop"`) },
			view{text: "hello world", finish: "stop", done: true},
		},
		"finish, then another attempt": {
			func(j *job) {
				j.says(0, "hello")
				j.chunk(1, "a", `{"content":" w"}`, `"stop"`)
				j.chunk(0, "b", `{"content":"hello world"}`, "")
			},
			view{text: "hello world", finish: "stop", done: true},
		},
		"chunk over several lines": {
			func(j *job) {
				j.raw(0, "a", "{\"model\":\"gpt-x\",\n\"choices\":[{\"index\":0,\n\"delta\":{\"content\":\"hello world\"}}]}")
				j.chunk(1, "a", `{}`, `"stop"`)
			},
			view{text: "hello world", finish: "stop", done: true},
		},
		"chunk that is no chunk": {
			func(j *job) { j.says(0, "hello"); j.raw(1, "a", "nonsense") },
			view{text: "hello world", finish: "stop", done: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			replies := h.post(streamed)
			j := next(t, jobs)
			c.send(j)
			j.end(j.answered("hello world"))
			v := read(t, next(t, replies).body)
			if c.want.done && (v.credit.ID != j.id || v.credit.Worker != "openai") {
				t.Errorf("credit %+v", v.credit)
			}
			v.credit, v.model = credit{}, ""
			if fmt.Sprint(v) != fmt.Sprint(c.want) {
				t.Errorf("the caller sees %+v, want %+v", v, c.want)
			}
		})
	}
}

func TestRescuedStreamGoesOnUnbroken(t *testing.T) {
	h := open(t, plan{})
	jobs := h.jobs()
	says := func(j *job, number int, attempt, rescues, text, finish string) {
		quoted, _ := json.Marshal(text)
		header := bus.Header{wire.HeaderChunk: {strconv.Itoa(number)}, wire.HeaderAttempt: {attempt}, wire.HeaderWorker: {"openai"}}
		if rescues != "" {
			header[wire.HeaderRescue] = []string{rescues}
		}
		chunk := `{"id":"c1","choices":[{"index":0,"delta":{"content":` + string(quoted) + `},"finish_reason":` + finish + `}]}`
		if err := h.bus.Send(j.Header.Get(wire.HeaderStreamTo), header, []byte(chunk)); err != nil {
			t.Error(err)
		}
	}
	t.Run("as it comes", func(t *testing.T) { // not from the record, which has nothing here
		replies := h.post(streamed)
		j := next(t, jobs)
		says(j, 0, "a", "", "hel", "null")
		says(j, 1, "b", "a", "lo", "null")
		j.end(j.failed(wire.Failure{Kind: dispatch.Truncated, Status: 502, Message: "cut", Type: "server_error", Code: "stream_truncated"}))
		if v := read(t, next(t, replies).body); v.text != "hello" || v.err != "stream_truncated" || v.done {
			t.Errorf("the caller sees %+v", v)
		}
	})
	for name, c := range map[string]struct {
		send func(j *job)
		want view
	}{
		"by another worker": {
			func(j *job) {
				says(j, 0, "a", "", "hel", "null")
				says(j, 1, "b", "a", "lo", "null")
				says(j, 2, "c", "b", " world", `"stop"`)
			},
			view{text: "hello world", finish: "stop", done: true},
		},
		"by the same worker": {
			func(j *job) {
				says(j, 0, "a", "", "hello", "null")
				says(j, 1, "a", "a", " world", `"stop"`)
			},
			view{text: "hello world", finish: "stop", done: true},
		},
		"with a chunk lost between": {
			func(j *job) {
				says(j, 0, "a", "", "hello", "null")
				says(j, 2, "b", "a", "rld", `"stop"`)
			},
			view{text: "hello world", finish: "stop", done: true},
		},
		"with the first output lost": {
			func(j *job) { says(j, 1, "b", "a", " world", `"stop"`) },
			view{text: "hello world", finish: "stop", done: true, roles: 1},
		},
		"of another stream than the caller's": {
			func(j *job) {
				says(j, 0, "a", "", "hello", "null")
				says(j, 1, "c", "b", " there", `"stop"`)
			},
			view{text: "hello world", finish: "stop", done: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			replies := h.post(streamed)
			j := next(t, jobs)
			c.send(j)
			j.end(j.answered("hello world"))
			v := read(t, next(t, replies).body)
			v.credit, v.model = credit{}, ""
			if fmt.Sprint(v) != fmt.Sprint(c.want) {
				t.Errorf("the caller sees %+v, want %+v", v, c.want)
			}
		})
	}
}

func TestUsageIsStreamedToThoseWhoAsk(t *testing.T) {
	h := open(t, plan{})
	jobs := h.jobs()
	asking := strings.Replace(streamed, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1)
	for _, told := range []bool{true, false} { // by the worker; else by the record
		replies := h.post(asking)
		j := next(t, jobs)
		j.says(0, "hello")
		j.chunk(1, "a", `{}`, `"stop"`)
		if told {
			j.raw(2, "a", `{"model":"gpt-x","choices":[],"usage":{"total_tokens":3}}`)
		}
		j.end(j.answered("hello"))
		if v := read(t, next(t, replies).body); !v.usage || !v.done || v.text != "hello" {
			t.Errorf("told %v: the caller sees %+v", told, v)
		}
	}
}

func TestRulesWorkersStreamIsDegradedFromTheFirstOutput(t *testing.T) {
	h := open(t, plan{})
	jobs := h.jobs()
	replies := h.post(streamed)
	j := next(t, jobs)
	if err := h.bus.Send(j.Header.Get(wire.HeaderStreamTo), bus.Header{wire.HeaderChunk: {"0"}, wire.HeaderWorker: {"rules"}},
		[]byte(`{"choices":[{"index":0,"delta":{"content":"hello"},"finish_reason":"stop"}]}`)); err != nil {
		t.Fatal(err)
	}
	result := j.answered("hello")
	result.Worker, result.Degraded = "rules", true
	j.end(result)
	got := next(t, replies)
	if got.Header.Get("understudy-degraded") != "true" || !read(t, got.body).credit.Degraded {
		t.Errorf("%v %s", got.Header, got.body)
	}
}

func TestQuietStreamIsKeptAliveByComments(t *testing.T) {
	h := open(t, plan{pace: func(p *pace) { p.keepAlive = 5 * time.Millisecond }})
	jobs := h.jobs()
	resp, events, j := h.follow(jobs, streamed)
	defer resp.Body.Close()
	for line := ""; line != ": keep-alive"; {
		line = next(t, events)
	}
	j.chunk(2, "a", `{}`, `"stop"`)
	j.end(j.answered("hello"))
	last := ""
	for line := range events {
		last = line
	}
	if last != "data: [DONE]" {
		t.Errorf("ends with %s", last)
	}
}

func TestReaderThatHangsUpCancelsItsStream(t *testing.T) {
	h := open(t, plan{})
	jobs := h.jobs()
	resp, events, j := h.follow(jobs, streamed)
	next(t, events)
	go func() {
		for range events { // until the body is closed
		}
	}()
	resp.Body.Close()
	eventually(t, func() bool {
		r, err := h.bus.Result(t.Context(), "", j.id)
		return err == nil && r.Status == dispatch.StatusCancelled
	})
}

func TestFullMailboxDropsTokensAndNeverTheEnd(t *testing.T) {
	box := &mailbox{chunks: true, bell: make(chan struct{}, 1)}
	for range maxChunks + 10 {
		box.put(bus.Message{})
	}
	box.put(bus.Message{Header: bus.Header{wire.HeaderStatus: {"answered"}}})
	if got := box.take(nil); len(got) != maxChunks+1 || !isEnd(got[maxChunks]) {
		t.Errorf("mailbox holds %d", len(got))
	}
}

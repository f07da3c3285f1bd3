package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// received is what a caller got for one request.
type received struct {
	status     int
	worker     string // as the product says
	retryAfter string
	text       string
	finish     string // the finish reason
	done       bool   // a body that was whole, or [DONE]
	failed     bool   // an error object came
	code       string // of the error object
	overdue    bool   // no end came within the caller's time
	broken     error  // the connection, or what it carried, made no sense
	took       time.Duration
}

// caller asks one product over HTTP. It is safe for concurrent use.
type caller struct {
	url    string
	client *http.Client
}

func newCaller(url string) caller {
	return caller{url: url, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
}

// ask sends one request and reads what comes, for as long as ctx allows.
func (c caller) ask(ctx context.Context, model, content string, stream bool) received {
	started := time.Now()
	got := c.exchange(ctx, model, content, stream)
	got.took = time.Since(started)
	got.overdue = ctx.Err() != nil
	return got
}

func (c caller) exchange(ctx context.Context, model, content string, stream bool) received {
	body, err := json.Marshal(map[string]any{
		"model": model, "stream": stream, "messages": []map[string]string{{"role": "user", "content": content}},
	})
	if err != nil {
		return received{broken: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/chat/completions", strings.NewReader(string(body)))
	if err != nil {
		return received{broken: err}
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return received{broken: err}
	}
	defer resp.Body.Close()
	got := received{status: resp.StatusCode, worker: resp.Header.Get("understudy-worker"), retryAfter: resp.Header.Get("Retry-After")}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		got.readEvents(resp.Body)
		return got
	}
	whole, err := io.ReadAll(resp.Body)
	if err != nil {
		got.broken = err
		return got
	}
	got.take(whole)
	got.done = !got.failed
	return got
}

// readEvents reads server-sent events until the connection ends.
func (r *received) readEvents(body io.Reader) {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case !ok: // an empty line, or a comment
		case r.done:
			r.broken = errors.New("an event came after [DONE]")
		case data == "[DONE]":
			r.done = true
		default:
			r.take([]byte(data))
		}
	}
	if err := lines.Err(); err != nil && r.broken == nil {
		r.broken = err
	}
}

// take reads a whole answer, a chunk of one, or an error.
func (r *received) take(data []byte) {
	var object struct {
		Error   *struct{ Code *string }
		Choices []struct {
			Message, Delta struct{ Content string }
			FinishReason   string `json:"finish_reason"`
		}
	}
	if err := json.Unmarshal(data, &object); err != nil {
		r.broken = err
		return
	}
	if object.Error != nil {
		r.failed = true
		if object.Error.Code != nil {
			r.code = *object.Error.Code
		}
	}
	for _, choice := range object.Choices {
		r.text += choice.Message.Content + choice.Delta.Content
		if choice.FinishReason != "" {
			r.finish = choice.FinishReason
		}
	}
}

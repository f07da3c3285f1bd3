package fake

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client asks a provider over HTTP.
type client struct {
	t    *testing.T
	url  string
	http *http.Client
}

// start serves a provider over TCP until the test ends.
func start(t *testing.T, options Options) (*Server, client) {
	t.Helper()
	s, err := Start(":0", options)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(func() {
		s.Close()
		transport.CloseIdleConnections()
	})
	return s, client{t: t, url: s.URL(), http: &http.Client{Transport: transport}}
}

// pipes serves a provider over pipes, whose waits a synctest bubble can see.
func pipes(t *testing.T, options Options) (*Provider, client) {
	t.Helper()
	p := New(options)
	l := &pipeListener{connections: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: p}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	transport := &http.Transport{DialContext: l.dial}
	t.Cleanup(func() {
		p.Close()
		_ = server.Close()
		transport.CloseIdleConnections()
		<-served
	})
	return p, client{t: t, url: "http://pipe", http: &http.Client{Transport: transport}}
}

type pipeListener struct {
	connections chan net.Conn
	closed      chan struct{}
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.connections <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.connections:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	close(l.closed)
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// answer is what came back: err is set when the connection broke before or
// after the head.
type answer struct {
	status int
	header http.Header
	body   string
	err    error
}

// do makes one request and reads what comes back to its end.
func (c client) do(ctx context.Context, method, path, body string, headers ...string) answer {
	c.t.Helper()
	response, err := c.open(ctx, method, path, body, headers...)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(read), err}
}

// open makes one request and leaves the body to the caller.
func (c client) open(ctx context.Context, method, path, body string, headers ...string) (*http.Response, error) {
	c.t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	return c.http.Do(request)
}

// chat asks for an answer, whole or streamed.
func (c client) chat(model string, stream bool) answer {
	c.t.Helper()
	return c.do(c.t.Context(), http.MethodPost, "/v1/chat/completions", chatBody(model, stream))
}

// chatBody is a question that "fake answers: one two three" answers, in five
// tokens.
func chatBody(model string, stream bool) string {
	return string(encode(map[string]any{
		"model": model, "stream": stream,
		"messages": []map[string]string{{"role": "user", "content": "one two three"}},
	}))
}

const echoed = "fake answers: one two three"

// events returns the data of the server-sent events in a body.
func events(body string) []string {
	var found []string
	for event := range strings.SplitSeq(body, "\n\n") {
		if data, ok := strings.CutPrefix(event, "data: "); ok {
			found = append(found, data)
		}
	}
	return found
}

// told is what a stream said.
type told struct {
	text, arguments, tool, finish string
	tokens, invalid               int
	usage                         *usage
	problem                       *errorObject
	done                          bool
}

// listen reads the events of a stream as a client does.
func listen(body string) told {
	var heard told
	for _, event := range events(body) {
		if event == "[DONE]" {
			heard.done = true
			continue
		}
		var c struct {
			countedChunk
			Error *errorObject
		}
		if json.Unmarshal([]byte(event), &c) != nil {
			heard.invalid++
			continue
		}
		if c.Error != nil {
			heard.problem = c.Error
		}
		if c.Usage != nil {
			heard.usage = c.Usage
		}
		for _, choice := range c.Choices {
			if said := choice.Delta.Content; said != nil && *said != "" {
				heard.text += *said
				heard.tokens++
			}
			for _, call := range choice.Delta.ToolCalls {
				heard.tool += call.Function.Name
				heard.arguments += call.Function.Arguments
			}
			if choice.FinishReason != nil {
				heard.finish = *choice.FinishReason
			}
		}
	}
	return heard
}

// whole reads a whole answer.
func (a answer) whole(t *testing.T) completion {
	t.Helper()
	var c completion
	if err := json.Unmarshal([]byte(a.body), &c); err != nil || a.err != nil || a.status != http.StatusOK || len(c.Choices) != 1 {
		t.Fatalf("want a whole answer, got %+v (%v)", a, err)
	}
	return c
}

// problem reads an error answer.
func (a answer) problem(t *testing.T) errorObject {
	t.Helper()
	var e errorBody
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || e.Error.Message == "" {
		t.Fatalf("want an error object, got %+v (%v)", a, err)
	}
	return e.Error
}

// code returns the code of an error, "" for null.
func (e errorObject) code() string {
	if e.Code == nil {
		return ""
	}
	return *e.Code
}

// until waits for the stats, for as long as a busy machine may need.
func until(t *testing.T, p *Provider, what string, reached func(Stats) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := p.Wait(ctx, reached); err != nil {
		t.Fatalf("wait until %s: %v; stats %+v", what, err, p.Stats())
	}
}

// lines reads whole lines until one begins with prefix.
func lines(t *testing.T, r *bufio.Reader, prefix string) string {
	t.Helper()
	var read strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("read up to %q: %v after %q", prefix, err, read.String())
		}
		read.WriteString(line)
		if strings.HasPrefix(line, prefix) {
			return read.String()
		}
	}
}

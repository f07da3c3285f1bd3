package openai

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
)

const (
	// longestFault bounds what is read of an error's body.
	longestFault = 64 << 10
	// drainTime is how long a complete answer waits for the connection to become
	// free for the next one.
	drainTime = 50 * time.Millisecond
)

// errTooLarge ends the reading of an answer larger than MaxAnswer.
var errTooLarge = errors.New("the answer is larger than the limit")

// call is one request on its way through one endpoint.
type call struct {
	p       *Provider
	body    []byte // the caller's
	model   string // as the endpoint sees it
	options []byte // the caller's stream_options; nil when there are none
	choices int    // how many the caller asked for
	asks    map[feature]bool
	emit    dispatch.Emit

	answer  chat.Assembler
	output  bool // something a caller would miss has come
	skipped int  // events that could not be read
}

func (p *Provider) newCall(body []byte, listened bool, emit dispatch.Emit) *call {
	c := &call{p: p, body: body, model: p.model, options: chat.Get(body, "stream_options"), choices: 1, emit: emit}
	if c.model == "" {
		c.model = chat.Text(body, "model")
	}
	if n, err := strconv.Atoi(string(chat.Get(body, "n"))); err == nil {
		c.choices = n
	}
	if c.emit == nil {
		c.emit = func(dispatch.Chunk) {}
	}
	stream := (p.streaming == Always || listened) && !p.lessons.refuses(c.model, streaming)
	c.asks = map[feature]bool{
		streaming:     stream,
		streamOptions: stream && !p.lessons.refuses(c.model, streamOptions),
	}
	return c
}

// forgo gives up a feature that the endpoint has refused, and says whether that
// changes anything. Options of the caller's own teach us nothing.
func (c *call) forgo(f feature) bool {
	if !c.asks[f] {
		return false
	}
	c.asks[f] = false
	if f != streamOptions || c.options == nil {
		c.p.lessons.learn(c.model, f)
	}
	return true
}

// try sends the request and reads the answer. Its errors are *dispatch.Error.
func (c *call) try(ctx context.Context) (*dispatch.Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := c.request(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := c.p.client.Do(req)
	if err != nil {
		return nil, c.p.unreached(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, c.p.refusal(resp)
	}
	body, err := c.read(resp, cancel)
	if err != nil {
		return nil, err
	}
	return &dispatch.Answer{Body: body, Model: c.answer.Model(), Usage: c.answer.Usage()}, nil
}

func (c *call) request(ctx context.Context) (*http.Request, error) {
	body, err := chat.Set(c.body, c.p.fields(c)...)
	if err != nil {
		return nil, &dispatch.Error{Kind: dispatch.BadRequest, Message: "the request is not a JSON object", Cause: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.p.url, bytes.NewReader(body))
	if err != nil {
		return nil, c.p.unreached(err)
	}
	req.Header = c.p.header.Clone()
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json, text/event-stream")
	}
	return req, nil
}

// unreached is a call that got no answer at all. The address stays out of the
// words: it may hold a key.
func (p *Provider) unreached(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return p.failed(dispatch.Transient, "no answer from the provider: "+err.Error(), err)
}

// refusal is an answer with a status that means failure.
func (p *Provider) refusal(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, longestFault)) // half a reason is better than none
	f := readFault(body)
	if f.message == "" {
		f.message = statusWords(resp.StatusCode)
	}
	if resp.StatusCode < 400 {
		f.message = "the endpoint redirects elsewhere (check base_url): " + f.message
	}
	e := p.told(resp.StatusCode, f)
	e.RetryAfter = retryAfter(resp.Header, p.now())
	return e
}

// read returns the whole answer of a response, however it is written: as one
// JSON object, or as events. An endpoint that names neither is read by its first
// byte.
func (c *call) read(resp *http.Response, cancel func()) ([]byte, error) {
	r := bufio.NewReader(&limitedReader{r: resp.Body, left: c.p.maxAnswer})
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case media == "application/json", media != "text/event-stream" && firstByte(r) == '{':
		return c.readWhole(r)
	case media == "text/html":
		return nil, dispatch.Errorf(dispatch.Malformed, "the endpoint answered with a web page")
	}
	if err := c.readStream(r); err != nil {
		return nil, err
	}
	defer time.AfterFunc(drainTime, cancel).Stop()
	_, _ = io.CopyN(io.Discard, r, longestFault) // so that the connection can be used again
	return c.answer.Completion()
}

// readWhole reads an answer that comes as one JSON object.
func (c *call) readWhole(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(r)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, c.p.tooLarge()
	case err != nil:
		return nil, c.p.failed(dispatch.Truncated, "the answer was cut: "+err.Error(), err)
	}
	if f, ok := c.p.faultIn("", body); ok {
		return nil, f
	}
	chunks, err := chat.Chunks(body)
	if err != nil {
		return nil, err
	}
	for _, chunk := range chunks {
		if err := c.take(chunk.Data); err != nil {
			return nil, err
		}
	}
	return body, c.verdict()
}

// firstByte returns the first byte that is no white space, without consuming
// it; 0 when there is none in sight.
func firstByte(r *bufio.Reader) byte {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return 0
		}
		if b != ' ' && b != '\t' && b != '\r' && b != '\n' {
			_ = r.UnreadByte() // follows a ReadByte, so it cannot fail
			return b
		}
	}
}

// limitedReader reads until its limit and then fails with errTooLarge.
type limitedReader struct {
	r    io.Reader
	left int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errTooLarge
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

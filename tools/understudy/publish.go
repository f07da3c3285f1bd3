package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// PublishCmd publishes a request.
type PublishCmd struct {
	Route   string        `arg:"" help:"The route to publish to."`
	Body    string        `arg:"" optional:"" help:"The body (JSON), @FILE to read it from a file, or - for standard input."`
	Text    string        `help:"A question, instead of a body."`
	ID      string        `name:"id" help:"The request id; one is made up without it."`
	Timeout time.Duration `help:"How long an answer is worth waiting for."`
	Degrade string        `enum:",allow,never" default:"" help:"May something other than a model answer: allow or never."`
	Stream  bool          `help:"Print the answer as it comes."`
	Wait    bool          `help:"Wait for the result and print it."`
}

type publishView struct {
	ID        string       `json:"id"`
	Route     string       `json:"route"`
	Sequence  uint64       `json:"sequence"`
	Duplicate bool         `json:"duplicate"`
	Result    *wire.Result `json:"result,omitempty"`
}

func (v publishView) sections() []section {
	if v.Result != nil {
		return resultView{*v.Result}.sections()
	}
	said := "accepted"
	if v.Duplicate {
		said = "was accepted before, nothing was added"
	}
	return []section{{lines: []string{fmt.Sprintf("%s %s on route %s", v.ID, said, v.Route)}}}
}

// Run publishes, and waits when asked to.
func (c PublishCmd) Run(s *session) error {
	body, err := c.body(s.in)
	if err != nil {
		return err
	}
	if c.ID == "" {
		c.ID = "cli-" + strings.ToLower(rand.Text())
	}
	if !wire.ValidID(c.ID) {
		return usagef("--id %q: an id has letters, digits, - _ and =, at most 128", c.ID)
	}
	return s.withBus(func(b *bus.Bus) error {
		route, err := c.findRoute(s, b)
		if err != nil {
			return err
		}
		if !c.Wait && !c.Stream {
			v, err := c.publish(s, b, body, c.header())
			if err != nil {
				return err
			}
			return s.show(v)
		}
		return c.publishAndWait(s, b, body, route)
	})
}

func (c PublishCmd) publishAndWait(s *session, b *bus.Bus, body []byte, route wire.Route) error {
	w, err := awaitResult(b, c.ID)
	if err != nil {
		return err
	}
	defer w.stop()
	header := c.header()
	if c.Stream {
		header[wire.HeaderStreamTo] = []string{w.inbox}
	}
	header[wire.HeaderReplyTo] = []string{w.inbox}
	v, err := c.publish(s, b, body, header)
	if err != nil {
		return err
	}
	patience := wire.Duration(c.Timeout).Or(route.Timeout.Or(time.Minute))
	result, err := w.wait(s.ctx, patience+settleGrace, c.chunkPrinter(s))
	if errors.Is(err, errNoResult) {
		return fmt.Errorf("request %s is accepted and has no result after %s: ask again with `understudy result %s --wait`, or see `understudy doctor`", c.ID, patience+settleGrace, c.ID)
	}
	if err != nil {
		return err
	}
	v.Result = &result
	return c.showResult(s, v)
}

// showResult prints the end of a request that was waited for. An answer that
// was printed as it came is not printed again.
func (c PublishCmd) showResult(s *session, v publishView) error {
	if c.Stream && !s.json && v.Result.Status == dispatch.StatusAnswered {
		fmt.Fprintln(s.out)
		fmt.Fprintln(s.errs, resultView{*v.Result}.summary())
		return nil
	}
	if err := s.show(v); err != nil {
		return err
	}
	return unlessAnswered(*v.Result)
}

// chunkPrinter prints tokens: their text for people, else a chunk a line.
func (PublishCmd) chunkPrinter(s *session) func([]byte) {
	return func(chunk []byte) {
		if s.json {
			_ = s.showJSON(json.RawMessage(chunk), false)
			return
		}
		fmt.Fprint(s.out, chunkText(chunk))
	}
}

func chunkText(data []byte) string {
	var chunk struct {
		Choices []struct {
			Delta struct {
				Content string `json:"content"`
			} `json:"delta"`
		} `json:"choices"`
	}
	if json.Unmarshal(data, &chunk) != nil || len(chunk.Choices) == 0 {
		return ""
	}
	return chunk.Choices[0].Delta.Content
}

func (c PublishCmd) publish(s *session, b *bus.Bus, body []byte, header bus.Header) (publishView, error) {
	receipt, err := b.Publish(s.ctx, wire.RequestSubject(c.Route), c.ID, header, body)
	switch {
	case errors.Is(err, bus.ErrQueueFull):
		return publishView{}, fmt.Errorf("the queue of route %s is full: wait for its workers, see `understudy status`, or raise its max_bytes", c.Route)
	case err != nil:
		return publishView{}, err
	}
	return publishView{ID: c.ID, Route: c.Route, Sequence: receipt.Sequence, Duplicate: receipt.Duplicate}, nil
}

func (c PublishCmd) header() bus.Header {
	h := bus.Header{wire.HeaderRequestID: {c.ID}}
	if c.Timeout > 0 {
		h[wire.HeaderTimeout] = []string{c.Timeout.String()}
	}
	if c.Degrade != "" {
		h[wire.HeaderDegrade] = []string{c.Degrade}
	}
	return h
}

// findRoute looks the route up, since a request to a queue that does not exist
// would only time out.
func (c PublishCmd) findRoute(s *session, b *bus.Bus) (wire.Route, error) {
	routes, err := b.Routes(s.ctx)
	if err != nil {
		return wire.Route{}, err
	}
	route, ok := routes[c.Route]
	switch {
	case ok:
		return route, nil
	case len(routes) == 0:
		return route, errors.New("no route is applied: write workers and routes into a file and run `understudy apply -f FILE`")
	}
	return route, fmt.Errorf("there is no route %q: use one of %s", c.Route, strings.Join(slices.Sorted(maps.Keys(routes)), ", "))
}

// body reads the body from wherever it is.
func (c PublishCmd) body(in io.Reader) ([]byte, error) {
	switch {
	case c.Text != "" && c.Body != "":
		return nil, usagef("--text and a body at once: give one of them")
	case c.Text != "":
		return json.Marshal(map[string]any{"messages": []map[string]string{{"role": "user", "content": c.Text}}})
	case c.Body == "":
		return nil, usagef(`no body: give a JSON body, @FILE, - for standard input, or --text "a question"`)
	}
	body, err := []byte(c.Body), error(nil)
	if c.Body == "-" {
		body, err = io.ReadAll(in)
	} else if file, ok := strings.CutPrefix(c.Body, "@"); ok {
		body, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	if !json.Valid(body) {
		return nil, usagef(`the body is not JSON: for plain text use --text "a question"`)
	}
	return body, nil
}

package openai

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
)

// Provider answers requests by one endpoint. Safe for concurrent use.
type Provider struct {
	name      string
	url       string
	model     string
	streaming Streaming
	client    *http.Client
	header    http.Header
	secrets   *strings.Replacer
	maxAnswer int64
	now       func() time.Time
	codes     map[string]dispatch.Kind

	lessons   lessons
	skipped   atomic.Int64
	lastModel atomic.Pointer[string]
}

// New returns the provider that c describes, or an error that names the field
// at fault. It connects to nothing.
func New(c Config) (*Provider, error) {
	endpoint, err := c.check()
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", cmp.Or(c.Name, "openai"), err)
	}
	p := &Provider{
		name:      cmp.Or(c.Name, "openai"),
		url:       endpoint.String(),
		model:     c.Model,
		streaming: cmp.Or(c.Streaming, Always),
		client:    c.client(),
		header:    http.Header{"Content-Type": {"application/json"}, "User-Agent": {"understudy"}},
		maxAnswer: cmp.Or(c.MaxAnswer, defaultMaxAnswer),
		now:       c.Now,
		codes:     c.Codes,
	}
	if p.now == nil {
		p.now = time.Now
	}
	key := strings.TrimSpace(c.APIKey)
	if key != "" {
		p.header.Set("Authorization", "Bearer "+key)
	}
	for name, value := range c.Headers {
		p.header.Set(name, value)
	}
	p.secrets = redactor(key, maps.Values(c.Headers))
	return p, nil
}

// Answer calls the endpoint once and emits the chunks of its answer as they
// come, whether or not it streams.
//
// A failure is a *dispatch.Error. When ctx is done the error wraps its cause
// instead, and comes at once.
func (p *Provider) Answer(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error) {
	answer, err := p.answer(ctx, req.Body, req.Stream, emit)
	if err != nil {
		return nil, p.because(ctx, err)
	}
	return answer, nil
}

// answer makes one call, and makes it again without a feature that the endpoint
// turns out not to know.
func (p *Provider) answer(ctx context.Context, body []byte, listened bool, emit dispatch.Emit) (*dispatch.Answer, error) {
	c := p.newCall(body, listened, emit)
	for {
		answer, err := c.try(ctx)
		if err == nil {
			model := c.model
			p.lastModel.Store(&model)
			return answer, nil
		}
		if !c.forgo(unsupported(dispatch.AsError(err))) {
			return nil, err
		}
	}
}

// because returns why a call failed: because it was told to stop, if it was.
func (p *Provider) because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("call %s: %w", p.name, cause)
	}
	return err
}

// Probe asks the endpoint for the smallest answer there is. Its errors are those
// of Answer.
//
// Without a model of its own the provider asks for the one that answered last.
// Before any has, a BadRequest passes for health: whoever misses the model has
// taken the key.
func (p *Provider) Probe(ctx context.Context) error {
	model := p.model
	if last := p.lastModel.Load(); model == "" && last != nil {
		model = *last
	}
	err := p.probe(ctx, model)
	if err != nil && unsupported(dispatch.AsError(err)) == maxTokens && !p.lessons.refuses(model, maxTokens) {
		p.lessons.learn(model, maxTokens)
		err = p.probe(ctx, model)
	}
	switch {
	case err == nil:
		return nil
	case model == "" && dispatch.KindOf(err) == dispatch.BadRequest:
		return nil
	}
	return p.because(ctx, err)
}

func (p *Provider) probe(ctx context.Context, model string) error {
	body := map[string]any{"messages": []map[string]string{{"role": "user", "content": "ping"}}}
	if model != "" {
		body["model"] = model
	}
	if p.lessons.refuses(model, maxTokens) {
		body["max_completion_tokens"] = 16 // models that reason refuse to end in a thought
	} else {
		body["max_tokens"] = 1
	}
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write the probe: %w", err)
	}
	_, err = p.answer(ctx, data, false, nil)
	return err
}

// Skipped returns how many events of all streams so far could not be read and
// were skipped.
func (p *Provider) Skipped() int64 { return p.skipped.Load() }

// fields returns what changes in a body on its way out.
func (p *Provider) fields(c *call) []chat.Field {
	var fields []chat.Field
	if p.model != "" {
		model, _ := json.Marshal(p.model) // a string always encodes
		fields = append(fields, chat.Field{Name: "model", Value: model})
	}
	if !c.asks[streaming] {
		return append(fields, chat.Field{Name: "stream"}, chat.Field{Name: "stream_options"})
	}
	fields = append(fields, chat.Field{Name: "stream", Value: json.RawMessage("true")})
	if !c.asks[streamOptions] {
		return append(fields, chat.Field{Name: "stream_options"})
	}
	usage := chat.Field{Name: "include_usage", Value: json.RawMessage("true")}
	options, err := chat.Set(c.options, usage)
	if err != nil { // the caller gave none, or nothing that could be options
		options = json.RawMessage(`{"include_usage":true}`)
	}
	return append(fields, chat.Field{Name: "stream_options", Value: options})
}

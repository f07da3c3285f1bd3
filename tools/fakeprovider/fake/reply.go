package fake

import (
	"net/http"
	"strings"
	"time"
)

// reply is one answer in pieces, before it takes the shape of a body or of a
// stream.
type reply struct {
	id, model string
	created   int64
	// pieces are the tokens of the text or, of a tool call, those of its
	// arguments.
	pieces []string
	tool   string // the name of the tool to call, "" for text
	finish string
	usage  usage
}

// chat answers a chat completion.
func (c *call) chat() {
	if len(c.request.Messages) == 0 {
		c.refuse(*badRequest("messages", "You must provide at least one message."), Refused)
		return
	}
	answer := c.compose()
	if c.request.Stream {
		c.stream(answer)
		return
	}
	c.whole(encode(answer.completion()), len(answer.pieces))
}

// compose decides what to answer.
func (c *call) compose() reply {
	r := reply{id: "chatcmpl-" + c.id, model: c.model, created: time.Now().Unix(), finish: "stop"}
	if r.tool = c.request.forcedTool(); r.tool != "" {
		r.pieces, r.finish = []string{"{", "}"}, "tool_calls"
	} else {
		r.pieces = c.p.words(&c.request)
	}
	if limit := c.request.maxTokens(); limit > 0 && limit < len(r.pieces) {
		r.pieces, r.finish = r.pieces[:limit], "length"
	}
	switch c.fault.Kind {
	case Empty:
		r.pieces, r.tool, r.finish = nil, "", "stop"
	case ContentFilterFinish:
		r.pieces, r.finish = r.pieces[:min(c.fault.Tokens, len(r.pieces))], "content_filter"
	}
	r.usage.PromptTokens = c.request.promptTokens()
	r.usage.CompletionTokens = len(r.pieces)
	r.usage.TotalTokens = r.usage.PromptTokens + r.usage.CompletionTokens
	return r
}

// words returns the tokens of a text answer. A request that ends in the
// beginning of this very answer gets the rest of it.
func (p *Provider) words(r *request) []string {
	text := *p.text.Load()
	if text == "" {
		text = p.options.Name + " answers: " + r.lastUserText()
	}
	tokens := split(text)
	if p.options.Tokens > 0 {
		tokens = fit(tokens, p.options.Tokens)
	}
	if prefill := r.prefill(); prefill != "" {
		if rest, continued := strings.CutPrefix(strings.Join(tokens, ""), prefill); continued {
			return split(rest)
		}
	}
	return tokens
}

// completion returns the reply as a whole answer.
func (r reply) completion() completion {
	said := strings.Join(r.pieces, "")
	message := answerMessage{Role: "assistant", Annotations: []struct{}{}}
	if r.tool == "" {
		message.Content = &said
	} else {
		message.ToolCalls = []toolCall{{ID: r.toolID(), Type: "function", Function: toolFunction{Name: r.tool, Arguments: said}}}
	}
	return completion{
		ID: r.id, Object: "chat.completion", Created: r.created, Model: r.model,
		Choices:     []choice{{Message: message, FinishReason: r.finish}},
		Usage:       r.usage,
		ServiceTier: "default", SystemFingerprint: fingerprint,
	}
}

// toolID returns the id of the reply's tool call.
func (r reply) toolID() string { return "call_" + strings.TrimPrefix(r.id, "chatcmpl-") }

// whole sends an answer of n tokens in one body, or what the fault leaves of it.
func (c *call) whole(body []byte, n int) {
	c.pause(c.p.options.Latency)
	for i := range max(n, 1) {
		c.pause(c.gap(i))
	}
	half := len(body) / 2
	switch c.fault.Kind {
	case MalformedBody, MalformedEvent:
		body = body[:half]
	case ErrorEvent:
		body = problemOf(http.StatusInternalServerError).body()
	case Cut, Stall:
		writeHead(c.w, http.StatusOK, "application/json", len(body))
		c.send(body[:half])
		if c.fault.Kind == Stall {
			c.hang()
		}
		c.abort(Outcome(Cut))
	}
	writeBody(c.w, http.StatusOK, "application/json", body)
}

// gap returns the pause before token i.
func (c *call) gap(i int) time.Duration {
	if i == 0 {
		wait := c.p.options.FirstToken
		if c.fault.Kind == SlowFirstToken {
			wait += time.Duration(c.fault.Delay)
		}
		return wait
	}
	var wait time.Duration
	if speed := c.p.options.TokensPerSecond; speed > 0 {
		wait = time.Duration(float64(time.Second) / speed)
	}
	if c.fault.Kind == SlowTokens {
		wait += time.Duration(c.fault.Delay)
	}
	return wait
}

// send writes and flushes. A caller that left ends the call.
func (c *call) send(data []byte) {
	_, err := c.w.Write(data)
	if err == nil {
		err = http.NewResponseController(c.w).Flush()
	}
	if err != nil {
		c.abort(Gone)
	}
}

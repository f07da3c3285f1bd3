package fake

import (
	"net/http"
)

// fingerprint marks the answers of the fake.
const fingerprint = "fp_fake"

// stream sends a reply as server-sent events, or what the fault leaves of it.
// Every event is flushed at once.
func (c *call) stream(r reply) {
	c.pause(c.p.options.Latency)
	header := c.w.Header()
	header.Set("Content-Type", "text/event-stream; charset=utf-8")
	header.Set("Cache-Control", "no-cache")
	c.w.WriteHeader(http.StatusOK)

	c.event(r, r.opening(), nil)
	strike := min(c.fault.Tokens, len(r.pieces))
	for i, piece := range r.pieces {
		if i == strike && c.interrupted() {
			return
		}
		c.pause(c.gap(i))
		c.event(r, r.piece(piece), nil)
	}
	if strike == len(r.pieces) && c.interrupted() {
		return
	}
	c.event(r, delta{}, &r.finish)
	if c.request.StreamOptions.IncludeUsage {
		c.data(encode(countedChunk{r.frame(), &r.usage}))
	}
	if c.fault.Kind != MissingDone {
		c.send([]byte("data: [DONE]\n\n"))
	}
}

// interrupted lets a fault strike in mid-stream and says whether the stream
// ends here.
func (c *call) interrupted() bool {
	switch c.fault.Kind {
	case Cut:
		c.abort(Outcome(Cut))
	case Stall:
		c.hang()
	case MalformedEvent:
		c.send([]byte("data: {\"id\":\"chatcmpl-" + c.id + "\",\"object\":\n\n"))
	case ErrorEvent:
		c.data(problemOf(http.StatusInternalServerError).body())
		return true
	}
	return false
}

// event sends one chunk with a choice.
func (c *call) event(r reply, d delta, finish *string) {
	frame := r.frame()
	frame.Choices = []chunkChoice{{Delta: d, FinishReason: finish}}
	if c.request.StreamOptions.IncludeUsage {
		c.data(encode(countedChunk{frame, nil}))
		return
	}
	c.data(encode(frame))
}

// data sends one event.
func (c *call) data(json []byte) {
	if c.fault.Kind == MalformedBody {
		json = json[:len(json)/2]
	}
	event := make([]byte, 0, len(json)+8)
	event = append(event, "data: "...)
	event = append(event, json...)
	c.send(append(event, "\n\n"...))
}

// frame returns a chunk of the reply without a choice.
func (r reply) frame() chunk {
	return chunk{
		ID: r.id, Object: "chat.completion.chunk", Created: r.created, Model: r.model,
		SystemFingerprint: fingerprint, Choices: []chunkChoice{},
	}
}

// opening returns the delta that a stream begins with.
func (r reply) opening() delta {
	if r.tool == "" {
		return delta{Role: "assistant", Content: new("")}
	}
	call := toolCall{Index: new(0), ID: r.toolID(), Type: "function", Function: toolFunction{Name: r.tool}}
	return delta{Role: "assistant", ToolCalls: []toolCall{call}}
}

// piece returns the delta of one piece.
func (r reply) piece(said string) delta {
	if r.tool == "" {
		return delta{Content: &said}
	}
	return delta{ToolCalls: []toolCall{{Index: new(0), Function: toolFunction{Arguments: said}}}}
}

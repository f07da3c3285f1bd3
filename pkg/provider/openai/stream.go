package openai

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
)

// readStream reads an answer that comes as events, until its end marker or the
// end of the connection. It returns nil when the answer is whole.
func (c *call) readStream(r *bufio.Reader) error {
	events := newEventReader(r)
	for {
		ev, err := events.next()
		switch {
		case errors.Is(err, errTooLarge):
			return c.p.tooLarge()
		case err != nil:
			return c.ended(false, err)
		case string(bytes.TrimSpace(ev.data)) == "[DONE]":
			return c.ended(true, nil)
		case ev.name == "ping":
			continue
		}
		if f, ok := c.p.faultIn(ev.name, ev.data); ok {
			return f
		}
		if err := c.take(ev.data); err != nil && !ev.cut {
			c.skipped++
			c.p.skipped.Add(1)
		}
	}
}

// take adds a chunk to the answer and passes it on. A chunk with the usage
// alone goes on only if the caller asked for one: we always do.
func (c *call) take(data []byte) error {
	output, err := c.answer.Add(data)
	if err != nil {
		return err
	}
	c.output = c.output || output
	if !output && !c.wantsUsage() && chat.UsageOnly(data) {
		return nil
	}
	c.emit(dispatch.Chunk{Data: data, Output: output})
	return nil
}

func (c *call) wantsUsage() bool {
	return string(chat.Get(c.options, "include_usage")) == "true"
}

// ended judges an answer whose stream is over. Without an end marker it is
// whole when each choice that was asked for has come and finished.
func (c *call) ended(marked bool, err error) error {
	switch {
	case c.answer.Complete() && (marked || len(c.answer.FinishReasons()) >= c.choices):
		return c.verdict()
	case c.skipped > 0:
		return dispatch.Errorf(dispatch.Malformed, "the answer is not whole, and %d of its events could not be read", c.skipped)
	case err == nil || errors.Is(err, io.EOF):
		return dispatch.Errorf(dispatch.Truncated, "the stream ended before the answer did")
	}
	return c.p.failed(dispatch.Truncated, "the stream was cut: "+err.Error(), err)
}

// verdict reads the finish reasons that mean a failure.
func (c *call) verdict() error {
	filtered := !c.output
	for _, reason := range c.answer.FinishReasons() {
		switch reason {
		case "error", "insufficient_system_resource": // OpenRouter; DeepSeek
			return &dispatch.Error{Kind: dispatch.Truncated, Message: "the provider broke the answer off", Code: reason}
		case "content_filter":
		default:
			filtered = false
		}
	}
	if filtered {
		return &dispatch.Error{
			Kind: dispatch.ContentFilter, Message: "the provider's content filter let nothing of the answer through",
			Type: "invalid_request_error", Code: "content_filter",
		}
	}
	return nil
}

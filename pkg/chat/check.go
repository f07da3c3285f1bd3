package chat

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"unicode/utf8"

	"understudy/pkg/dispatch"
)

// Check says whether body is a servable chat request: a JSON object in UTF-8
// whose `messages` is a non-empty array of objects, each with a `role` that is
// a non-empty string. It looks at nothing else.
//
// The error is a *dispatch.Error of kind BadRequest in the shape of an OpenAI
// error: Message names the field, or the line and column where the JSON ends
// to be JSON; Param is the field ("messages[2].role"), empty for the latter.
// Check reads the body once and allocates nothing for a good one.
func Check(body []byte) error {
	if !utf8.Valid(body) {
		return invalidJSON(body, &syntaxError{offset: firstInvalid(body), want: "UTF-8"})
	}
	c := check{scanner: scanner{data: body}}
	if err := c.request(); err != nil {
		if syntax, ok := errors.AsType[*syntaxError](err); ok {
			return invalidJSON(body, syntax)
		}
		return err
	}
	if c.fault != nil {
		return c.fault
	}
	return nil
}

// check walks a request. A fault of the shape is kept, not returned, so that
// the walk goes on: JSON that ends to be JSON further down is the graver news.
type check struct {
	scanner
	fault *dispatch.Error
}

func (c *check) request() error {
	if c.peek() != '{' {
		c.blame("", "invalid_type", "the request must be a JSON object")
		return c.rest()
	}
	found := false
	err := c.object(func(key []byte) error {
		if !is(key, "messages") {
			return c.value()
		}
		found = true
		return c.messages()
	})
	if err != nil {
		return err
	}
	if !found {
		c.blame("messages", "missing_required_parameter", "messages is missing: send an array of messages")
	}
	return c.end()
}

// rest consumes a request that is no object.
func (c *check) rest() error {
	if err := c.value(); err != nil {
		return err
	}
	return c.end()
}

func (c *check) messages() error {
	if c.peek() != '[' {
		c.blame("messages", "invalid_type", "messages must be an array of objects")
		return c.value()
	}
	empty := true
	err := c.array(func(i int) error {
		empty = false
		return c.message(i)
	})
	if empty {
		c.blame("messages", "empty_array", "messages is empty: send at least one message")
	}
	return err
}

func (c *check) message(i int) error {
	if c.peek() != '{' {
		c.blame(fmt.Sprintf("messages[%d]", i), "invalid_type", "messages[%d] must be an object with a role and a content", i)
		return c.value()
	}
	found := false
	err := c.object(func(key []byte) error {
		if !is(key, "role") {
			return c.value()
		}
		found = true
		c.peek()
		start := c.at
		if err := c.value(); err != nil {
			return err
		}
		if role := c.data[start:c.at]; role[0] != '"' || len(role) == 2 {
			c.blame(fmt.Sprintf("messages[%d].role", i), "invalid_type", "messages[%d].role must be a string such as \"user\"", i)
		}
		return nil
	})
	if err == nil && !found {
		c.blame(fmt.Sprintf("messages[%d].role", i), "missing_required_parameter", "messages[%d].role is missing: send a string such as \"user\"", i)
	}
	return err
}

// blame keeps the first fault.
func (c *check) blame(param, code, format string, args ...any) {
	if c.fault == nil {
		c.fault = badRequest(param, code, fmt.Sprintf(format, args...))
	}
}

func badRequest(param, code, message string) *dispatch.Error {
	return &dispatch.Error{
		Kind: dispatch.BadRequest, Status: http.StatusBadRequest,
		Message: message, Type: "invalid_request_error", Code: code, Param: param,
	}
}

// invalidJSON names the place in lines and columns, both from 1, columns in
// characters.
func invalidJSON(body []byte, e *syntaxError) *dispatch.Error {
	before := body[:e.offset]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return badRequest("", "invalid_json", fmt.Sprintf("the request is not valid JSON: line %d, column %d (byte %d): expected %s", line, column, e.offset, e.want))
}

func firstInvalid(body []byte) int {
	for i := 0; i < len(body); {
		r, size := utf8.DecodeRune(body[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(body)
}

// is compares a key as it is written with a name, escapes resolved only where
// there are any.
func is(key []byte, want string) bool {
	if bytes.IndexByte(key, '\\') < 0 {
		return string(key) == want
	}
	return unquote(key) == want
}

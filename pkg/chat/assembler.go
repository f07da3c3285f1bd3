package chat

import (
	"encoding/json"
	"fmt"

	"understudy/pkg/dispatch"
)

// Assembler builds a whole answer from the chunks of a streamed one. The zero
// value is ready; it is used from one goroutine at a time.
//
// Within a choice, text grows by concatenation whatever its field is called,
// tool calls merge by index, log probabilities append. At the top level the
// first id, model and time stay, of everything else the last word counts.
type Assembler struct {
	id, model, created []byte // raw JSON; nil until told
	choices            []*choice
	usage              []byte
	rest               value // the other top-level fields
}

// choice is one of the answers of a request with n > 1; usually the only one.
type choice struct {
	index   string
	message value
	rest    value // logprobs and whatever else stands beside the message
	finish  []byte
	deltas  bool
}

// Add takes one chunk, a JSON object in the shape of a chat.completion.chunk.
// It keeps no part of the chunk's memory. output is true when the chunk carries
// something a caller would miss: anything in a delta but a role.
//
// A chunk that is no such object is an error of kind Malformed, and changes
// nothing.
func (a *Assembler) Add(chunk []byte) (output bool, err error) {
	if err := checkChunk(chunk); err != nil {
		return false, err
	}
	s := scanner{data: chunk}
	err = s.object(func(key []byte) error {
		if is(key, "choices") && s.peek() == '[' {
			return s.array(func(i int) error {
				raw, err := s.raw()
				if err == nil && a.choice(raw, i).add(raw) {
					output = true
				}
				return err
			})
		}
		raw, err := s.raw()
		if err == nil {
			a.top(key, raw)
		}
		return err
	})
	return output, err
}

// checkChunk demands the frame of a chunk, and valid JSON all through.
func checkChunk(chunk []byte) error {
	s := scanner{data: chunk}
	err := s.object(func(key []byte) error {
		if !is(key, "choices") || s.peek() == null {
			return s.value()
		}
		return s.array(func(int) error {
			if s.peek() != '{' {
				return s.fail("a choice that is an object")
			}
			return s.value()
		})
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return &dispatch.Error{Kind: dispatch.Malformed, Message: "the chunk is no chat.completion.chunk: " + err.Error(), Cause: err}
	}
	return nil
}

// top takes a top-level field other than the choices.
func (a *Assembler) top(key, raw []byte) {
	switch field := unquote(key); field {
	case "id":
		first(&a.id, raw)
	case "model":
		first(&a.model, raw)
	case "created":
		first(&a.created, raw)
	case "usage":
		if kindOf(raw) == '{' {
			a.usage = append(a.usage[:0], raw...)
		}
	case "choices", "object", "obfuscation": // frame parts of a chunk, and padding
	default:
		if kindOf(raw) != null {
			f := a.rest.field(key)
			f.value = value{}
			f.merge(raw)
		}
	}
}

// first keeps the first value that says something.
func first(kept *[]byte, raw []byte) {
	if *kept == nil && missed(raw) && string(raw) != "0" {
		*kept = append([]byte(nil), raw...)
	}
}

// choice returns the choice that a raw one belongs to: by its index, by its
// position when it has none.
func (a *Assembler) choice(raw []byte, position int) *choice {
	index := fmt.Sprint(position)
	if told := Get(raw, "index"); told != nil && kindOf(told) == scalar {
		index = string(told)
	}
	for _, c := range a.choices {
		if c.index == index {
			return c
		}
	}
	c := &choice{index: index}
	a.choices = append(a.choices, c)
	return c
}

// add takes one choice of a chunk.
func (c *choice) add(raw []byte) (output bool) {
	s := scanner{data: raw}
	_ = s.object(func(key []byte) error { // checked before
		raw, err := s.raw()
		if err != nil {
			return err
		}
		switch field := unquote(key); {
		case field == "index":
		case field == "delta" && kindOf(raw) == '{':
			c.deltas = true
			output = c.say(raw) || output
		case field == "message" && kindOf(raw) == '{' && !c.deltas: // a whole answer as a single event
			output = c.say(raw) || output
		case field == "delta", field == "message":
		case field == "finish_reason":
			if missed(raw) {
				c.finish = append(c.finish[:0], raw...)
			}
		case field == "logprobs":
			c.rest.field(key).merge(raw)
		default:
			f := c.rest.field(key)
			f.value = value{}
			f.merge(raw)
		}
		return nil
	})
	return output
}

// say merges a delta into the message.
func (c *choice) say(delta []byte) (output bool) {
	c.message.kind = '{'
	s := scanner{data: delta}
	_ = s.object(func(key []byte) error { // checked before
		raw, err := s.raw()
		if err != nil {
			return err
		}
		c.message.field(key).mergeNamed(raw)
		output = output || missed(raw) && !is(key, "role")
		return nil
	})
	return output
}

// Text returns the text of choice 0 so far.
func (a *Assembler) Text() string {
	for _, c := range a.choices {
		if c.index != "0" {
			continue
		}
		if content := c.message.find("content"); content != nil && content.kind == '"' {
			return unquote(content.bytes)
		}
	}
	return ""
}

// Complete says whether there is a choice, and every choice seen has a finish
// reason.
func (a *Assembler) Complete() bool {
	for _, c := range a.choices {
		if c.finish == nil {
			return false
		}
	}
	return len(a.choices) > 0
}

// FinishReasons returns the finish reason of each choice seen, "" for one that
// has not finished.
func (a *Assembler) FinishReasons() []string {
	reasons := make([]string, len(a.choices))
	for i, c := range a.choices {
		reasons[i], _ = textOf(c.finish)
	}
	return reasons
}

// Model returns the model that answers, in its provider's words; "" until told.
func (a *Assembler) Model() string {
	model, _ := textOf(a.model)
	return model
}

// Usage returns the tokens counted; zero until told.
func (a *Assembler) Usage() dispatch.Usage {
	return usageOf(a.usage)
}

// usageOf reads a usage object; zero when it is none.
func usageOf(raw []byte) dispatch.Usage {
	var usage struct {
		Input  int64 `json:"prompt_tokens"`
		Output int64 `json:"completion_tokens"`
	}
	if json.Unmarshal(raw, &usage) != nil {
		return dispatch.Usage{}
	}
	return dispatch.Usage(usage)
}

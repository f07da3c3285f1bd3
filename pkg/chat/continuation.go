package chat

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"understudy/pkg/dispatch"
)

// Style is how a request has a model go on with an answer that broke off, in
// the words of a worker's configuration.
type Style string

// The styles.
const (
	// Ask has a user message ask for the rest. Every model understands it.
	Ask Style = "continue"
	// Prefill ends the messages in the broken answer; the model goes on with it.
	Prefill Style = "prefill"
	// Prefix is Prefill with the message marked by `prefix`, as DeepSeek and
	// Mistral want it.
	Prefix Style = "prefix"
)

// Exact says whether a model goes on with the very next character.
func (s Style) Exact() bool { return s == Prefill || s == Prefix }

// goOn asks for the rest of an answer.
const goOn = "The answer above was cut off by a fault of the connection. Go on with it exactly where it stops, " +
	"even in the middle of a sentence or a word. Write the rest only: repeat nothing of it, do not begin anew, add no remark."

// Continue returns the request that asks for the rest of an answer of which
// said went out. spent, the tokens it took at least, come off the request's
// limits; all other fields stay. With nothing said, that is all.
//
// An answer that the caller had begun (a last message of the assistant) is gone
// on with in the same message. Prefill loses white space at the end of said,
// which some models do not take: a Seam knows.
//
// body is a request that passes Check.
func Continue(body []byte, said string, style Style, spent int64) ([]byte, error) {
	fields := remaining(body, spent)
	if style.Exact() {
		said = strings.TrimRightFunc(said, unicode.IsSpace)
	}
	if said != "" {
		messages, err := items(Get(body, "messages"))
		if err != nil {
			return nil, err
		}
		begun := []byte(`{"role":"assistant"}`)
		if last := messages[len(messages)-1]; ownText(last) {
			begun, messages = last, messages[:len(messages)-1]
		}
		answer := []Field{{Name: "content", Value: quote(Text(begun, "content") + said)}}
		if style == Prefix {
			answer = append(answer, Field{Name: "prefix", Value: json.RawMessage("true")})
		}
		begun, err = Set(begun, answer...)
		if err != nil {
			return nil, err
		}
		messages = append(messages, begun)
		if !style.Exact() {
			messages = append(messages, []byte(`{"role":"user","content":`+string(quote(goOn))+`}`))
		}
		fields = append(fields, Field{Name: "messages", Value: array(messages)})
	}
	return Set(body, fields...)
}

// ownText tells a message of the assistant that is text and nothing else.
func ownText(message []byte) bool {
	_, isText := textOf(Get(message, "content"))
	calls := Get(message, "tool_calls")
	return isText && Text(message, "role") == "assistant" && (calls == nil || !missed(calls))
}

// remaining returns the limits on tokens without those that were spent.
func remaining(body []byte, spent int64) []Field {
	var fields []Field
	for _, name := range []string{"max_tokens", "max_completion_tokens"} {
		if limit, err := strconv.ParseInt(string(Get(body, name)), 10, 64); err == nil && limit > 1 {
			fields = append(fields, Field{Name: name, Value: strconv.AppendInt(nil, max(limit-spent, 1), 10)})
		}
	}
	return fields
}

// AsksForJSON says whether a request wants its answer to be JSON, so that
// nothing but an exact continuation keeps it whole.
func AsksForJSON(body []byte) bool {
	kind := Text(Get(body, "response_format"), "type")
	return kind == "json_object" || kind == "json_schema"
}

// Origin is what the chunks of a stream have in common, whoever speaks.
type Origin struct {
	// ID is their id; empty when there is none.
	ID string
	// Created is their time, in Unix seconds; 0 when there is none.
	Created int64
}

// OriginOf reads the origin of a chunk.
func OriginOf(chunk []byte) Origin {
	created, _ := strconv.ParseInt(string(Get(chunk, "created")), 10, 64) // 0 when it is none
	return Origin{ID: Text(chunk, "id"), Created: max(created, 0)}
}

func (o Origin) fields() []Field {
	var fields []Field
	if o.ID != "" {
		fields = append(fields, Field{Name: "id", Value: quote(o.ID)})
	}
	if o.Created > 0 {
		fields = append(fields, Field{Name: "created", Value: strconv.AppendInt(nil, o.Created, 10)})
	}
	return fields
}

// Rejoin returns a chunk of a continuation as one of the stream that it goes on
// with: with its origin, with text for the content of its choice and no role
// unless text is nil, and with what was used before added to its usage.
func Rejoin(chunk []byte, o Origin, text *string, used dispatch.Usage) ([]byte, error) {
	fields := o.fields()
	if text != nil {
		choices, err := withContent(chunk, "delta", *text, Field{Name: "role"})
		if err != nil {
			return nil, err
		}
		fields = append(fields, choices)
	}
	return Set(chunk, append(fields, addUsage(chunk, used)...)...)
}

// Whole returns a continuation's completion as that of the whole answer: with
// its origin, with text for its content unless that is empty, and with what was
// used before added.
func Whole(completion []byte, o Origin, text string, used dispatch.Usage) ([]byte, error) {
	fields := append(o.fields(), addUsage(completion, used)...)
	if text != "" {
		choices, err := withContent(completion, "message", text)
		if err != nil {
			return nil, err
		}
		fields = append(fields, choices)
	}
	return Set(completion, fields...)
}

// withContent returns the choices of a body with another content in the first,
// and other fields beside it.
func withContent(body []byte, part, text string, others ...Field) (Field, error) {
	choices, err := items(Get(body, "choices"))
	if err != nil {
		return Field{}, err
	}
	if len(choices) == 0 {
		return Field{}, dispatch.Errorf(dispatch.Malformed, "the answer has no choices")
	}
	said, err := Set(Get(choices[0], part), append(others, Field{Name: "content", Value: quote(text)})...)
	if err != nil {
		return Field{}, err
	}
	choices[0], err = Set(choices[0], Field{Name: part, Value: said})
	return Field{Name: "choices", Value: array(choices)}, err
}

// addUsage returns the usage of a body with more; nothing when it counts none.
func addUsage(body []byte, more dispatch.Usage) []Field {
	raw := Get(body, "usage")
	if raw == nil || !missed(raw) || more == (dispatch.Usage{}) {
		return nil
	}
	now := usageOf(raw)
	input, output := now.Input+more.Input, now.Output+more.Output
	sum, err := Set(raw,
		Field{Name: "prompt_tokens", Value: strconv.AppendInt(nil, input, 10)},
		Field{Name: "completion_tokens", Value: strconv.AppendInt(nil, output, 10)},
		Field{Name: "total_tokens", Value: strconv.AppendInt(nil, input+output, 10)})
	if err != nil {
		return nil
	}
	return []Field{{Name: "usage", Value: sum}}
}

// items returns the items of a JSON array.
func items(raw []byte) ([][]byte, error) {
	var all [][]byte
	s := scanner{data: raw}
	err := s.array(func(int) error {
		item, err := s.raw()
		all = append(all, item)
		return err
	})
	return all, err
}

// array returns items as a JSON array.
func array(items [][]byte) []byte {
	return slices.Concat([]byte("["), bytes.Join(items, []byte(",")), []byte("]"))
}

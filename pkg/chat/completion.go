package chat

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"understudy/pkg/dispatch"
)

// Completion returns a whole chat.completion with one choice, as a local worker
// answers: text, finished, no tokens used. id and model are written as given.
func Completion(id, model, text string, created time.Time) []byte {
	out := append([]byte(`{"id":`), quote(id)...)
	out = append(out, `,"object":"chat.completion","created":`...)
	out = strconv.AppendInt(out, created.Unix(), 10)
	out = append(append(out, `,"model":`...), quote(model)...)
	out = append(out, `,"choices":[{"index":0,"message":{"role":"assistant","content":`...)
	out = append(out, quote(text)...)
	out = append(out, `,"refusal":null},"logprobs":null,"finish_reason":"stop"}]`...)
	return append(out, `,"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}`...)
}

// Completion returns the whole answer, a chat.completion. An answer that is not
// Complete is an error of kind Truncated.
func (a *Assembler) Completion() ([]byte, error) {
	if !a.Complete() {
		return nil, dispatch.Errorf(dispatch.Truncated, "the answer ended before its last choice did")
	}
	out := append([]byte(`{"id":`), cmp.Or(string(a.id), `""`)...)
	out = append(out, `,"object":"chat.completion","created":`...)
	out = append(out, cmp.Or(string(a.created), "0")...)
	out = append(append(out, `,"model":`...), cmp.Or(string(a.model), `""`)...)
	out = append(out, `,"choices":[`...)
	for i, c := range slices.SortedFunc(slices.Values(a.choices), byIndex) {
		if i > 0 {
			out = append(out, ',')
		}
		out = c.append(out)
	}
	out = append(out, ']')
	if a.usage != nil {
		out = append(append(out, `,"usage":`...), a.usage...)
	}
	return append(a.rest.appendMembers(out), '}'), nil
}

func byIndex(a, b *choice) int {
	return cmp.Or(cmp.Compare(len(a.index), len(b.index)), cmp.Compare(a.index, b.index))
}

func (c *choice) append(out []byte) []byte {
	out = append(append(out, `{"index":`...), c.index...)
	out = append(out, `,"message":`...)
	out = c.appendMessage(out)
	if c.rest.find("logprobs") == nil {
		out = append(out, `,"logprobs":null`...)
	}
	out = c.rest.appendMembers(out)
	out = append(append(out, `,"finish_reason":`...), c.finish...)
	return append(out, '}')
}

// appendMessage writes role, content and refusal first, as every message has
// them, and then the rest. Content that never came is null.
func (c *choice) appendMessage(out []byte) []byte {
	role, content, refusal := c.message.find("role"), c.message.find("content"), c.message.find("refusal")
	out = append(out, `{"role":`...)
	if role == nil || role.kind != '"' || len(role.bytes) == 0 {
		out = append(out, `"assistant"`...)
	} else {
		out = role.append(out)
	}
	out = append(out, `,"content":`...)
	if content == nil || c.speaksOtherwise(content) {
		out = append(out, "null"...)
	} else {
		out = content.append(out)
	}
	out = append(out, `,"refusal":`...)
	if refusal == nil {
		out = append(out, "null"...)
	} else {
		out = refusal.append(out)
	}
	out = c.message.appendMembers(out, "role", "content", "refusal")
	return append(out, '}')
}

// speaksOtherwise says whether the content is empty because the message is a
// tool call or a refusal; a whole answer has null there.
func (c *choice) speaksOtherwise(content *value) bool {
	if content.kind != '"' || len(content.bytes) > 0 {
		return false
	}
	for _, name := range []string{"tool_calls", "function_call", "refusal"} {
		if v := c.message.find(name); v != nil && v.kind != 0 {
			return true
		}
	}
	return false
}

// appendMembers writes the fields of v, but for the named ones, each after a
// comma. The items of tool calls lose their index, which only streams have.
func (v *value) appendMembers(out []byte, without ...string) []byte {
	for _, f := range v.fields {
		if slices.Contains(without, f.name) {
			continue
		}
		out = append(append(out, ','), quote(f.name)...)
		out = append(out, ':')
		if f.name == "tool_calls" {
			out = f.append(out, "index")
		} else {
			out = f.append(out)
		}
	}
	return out
}

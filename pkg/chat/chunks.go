package chat

import (
	"cmp"
	"slices"
	"strconv"
	"unicode/utf8"

	"understudy/pkg/dispatch"
)

// pieceSize is the most text, in bytes, that one chunk carries: an answer of
// megabytes must not make a message that no broker takes.
const pieceSize = 16 << 10

// Chunks returns a whole completion as the chunks of a stream that says the
// same: for each choice its role, its message and its finish, then the usage,
// if the completion has it, in a chunk without choices. A choice that does not
// say why it finished gets "stop", since a whole answer has ended.
//
// A body that is no completion is an error of kind Malformed.
func Chunks(completion []byte) ([]dispatch.Chunk, error) {
	var a Assembler
	if _, err := a.Add(completion); err != nil {
		return nil, err
	}
	if len(a.choices) == 0 {
		return nil, dispatch.Errorf(dispatch.Malformed, "the completion has no choices")
	}
	w := chunkWriter{head: a.chunkHead()}
	for _, c := range a.choices {
		if c.message.kind == 0 {
			return nil, dispatch.Errorf(dispatch.Malformed, "choice %s of the completion has no message", c.index)
		}
		w.choice(c)
	}
	if a.usage != nil {
		w.chunk(`[],"usage":`+string(a.usage), false)
	}
	return w.chunks, nil
}

// chunkHead returns what all chunks of an answer begin with, up to the choices.
func (a *Assembler) chunkHead() []byte {
	out := append([]byte(`{"id":`), cmp.Or(string(a.id), `""`)...)
	out = append(out, `,"object":"chat.completion.chunk","created":`...)
	out = append(out, cmp.Or(string(a.created), "0")...)
	out = append(append(out, `,"model":`...), cmp.Or(string(a.model), `""`)...)
	out = a.rest.appendMembers(out)
	return append(out, `,"choices":`...)
}

// chunkWriter collects the chunks of one completion.
type chunkWriter struct {
	head   []byte
	chunks []dispatch.Chunk
}

func (w *chunkWriter) chunk(choices string, output bool) {
	data := make([]byte, 0, len(w.head)+len(choices)+1)
	data = append(append(append(data, w.head...), choices...), '}')
	w.chunks = append(w.chunks, dispatch.Chunk{Data: data, Output: output})
}

func (w *chunkWriter) delta(c *choice, delta string, output bool) {
	w.chunk(`[{"index":`+c.index+`,"delta":`+delta+`,"logprobs":null,"finish_reason":null}]`, output)
}

func (w *chunkWriter) choice(c *choice) {
	w.delta(c, c.roleDelta(), false)
	for _, f := range c.spoken() {
		for _, piece := range f.pieces() {
			w.delta(c, "{"+string(quote(f.name))+":"+piece+"}", true)
		}
	}
	rest := string(c.rest.appendMembers(nil))
	if c.rest.find("logprobs") == nil {
		rest = `,"logprobs":null` + rest
	}
	w.chunk(`[{"index":`+c.index+`,"delta":{}`+rest+`,"finish_reason":`+cmp.Or(string(c.finish), `"stop"`)+`}]`, false)
}

// roleDelta returns the delta that opens a choice.
func (c *choice) roleDelta() string {
	role := `"assistant"`
	if v := c.message.find("role"); v != nil && v.kind == '"' {
		role = string(v.append(nil))
	}
	content := "null"
	if v := c.message.find("content"); v != nil && v.kind == '"' {
		content = `""`
	}
	return `{"role":` + role + `,"content":` + content + `}`
}

// spoken returns the fields of the message that say something, in the order in
// which a stream says them: reasoning, content, everything else.
func (c *choice) spoken() []*field {
	var spoken []*field
	for _, f := range c.message.fields {
		if f.name != "role" && missed(f.append(nil)) {
			spoken = append(spoken, f)
		}
	}
	slices.SortStableFunc(spoken, func(a, b *field) int { return cmp.Compare(turn(a.name), turn(b.name)) })
	return spoken
}

func turn(name string) int {
	switch name {
	case "reasoning", "reasoning_content":
		return 0
	case "content":
		return 1
	}
	return 2
}

// pieces returns the field's value as one piece or, for long text, a few.
func (f *field) pieces() []string {
	switch {
	case f.name == "tool_calls" && f.kind == '[':
		return []string{f.indexed()}
	case f.kind == '"' && len(f.bytes) > pieceSize:
		return split(unquote(f.bytes))
	}
	return []string{string(f.append(nil))}
}

// indexed returns tool calls with the index that streams give them.
func (f *field) indexed() string {
	out := []byte{'['}
	for i, item := range f.items {
		if i > 0 {
			out = append(out, ',')
		}
		call := item.append(nil)
		if indexed, err := Set(call, Field{Name: "index", Value: strconv.AppendInt(nil, int64(i), 10)}); err == nil {
			call = indexed
		}
		out = append(out, call...)
	}
	return string(append(out, ']'))
}

// split returns text as JSON strings of at most pieceSize bytes of text each,
// cut between characters.
func split(text string) []string {
	var pieces []string
	for len(text) > pieceSize {
		cut := pieceSize
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		pieces = append(pieces, string(quote(text[:cut])))
		text = text[cut:]
	}
	return append(pieces, string(quote(text)))
}

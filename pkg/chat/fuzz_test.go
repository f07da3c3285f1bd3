package chat_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"unicode/utf8"

	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
)

// FuzzCheck holds Check against encoding/json: what passes is JSON with
// messages, and what encoding/json sees as JSON is never called invalid.
func FuzzCheck(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		err := chat.Check(body)
		valid := json.Valid(body) && utf8.Valid(body)
		if err != nil {
			if dispatch.KindOf(err) != dispatch.BadRequest {
				t.Fatalf("kind %s", dispatch.KindOf(err))
			}
			if invalid := dispatch.AsError(err).Code == "invalid_json"; invalid == valid {
				t.Fatalf("%q: valid %v, yet %v", body, valid, err)
			}
			return
		}
		var request map[string]json.RawMessage
		var messages []map[string]json.RawMessage
		if !valid || json.Unmarshal(body, &request) != nil || json.Unmarshal(request["messages"], &messages) != nil || len(messages) == 0 {
			t.Fatalf("%q passed", body)
		}
		for _, m := range messages {
			if role := bytes.TrimSpace(m["role"]); len(role) < 3 || role[0] != '"' {
				t.Fatalf("%q passed with role %s", body, role)
			}
		}
		set, err := chat.Set(body, chat.Field{Name: "model", Value: json.RawMessage(`"m"`)})
		if err != nil || chat.Text(set, "model") != "m" || chat.Check(set) != nil {
			t.Fatalf("%q with a model: %q, %v", body, set, err)
		}
	})
}

// FuzzAssembler feeds lines as chunks. Whatever comes, an answer that is
// complete is valid JSON and survives being streamed once more.
func FuzzAssembler(f *testing.F) {
	f.Fuzz(func(t *testing.T, lines []byte) {
		var a chat.Assembler
		for line := range bytes.SplitSeq(lines, []byte("\n")) {
			if output, err := a.Add(line); err == nil && !json.Valid(line) || err != nil && output {
				t.Fatalf("%q: output %v, %v", line, output, err)
			}
		}
		body, err := a.Completion()
		if (err == nil) != a.Complete() {
			t.Fatalf("complete %v, yet %v", a.Complete(), err)
		}
		if err != nil {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("no JSON: %s", body)
		}
		chunks, err := chat.Chunks(body)
		if err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		var again chat.Assembler
		for _, c := range chunks {
			if output, err := again.Add(c.Data); err != nil || output != c.Output {
				t.Fatalf("%s: output %v, said %v; %v", c.Data, output, c.Output, err)
			}
		}
		if again.Text() != a.Text() || !slices.Equal(slices.Sorted(slices.Values(a.FinishReasons())), slices.Sorted(slices.Values(again.FinishReasons()))) || !again.Complete() {
			t.Fatalf("%q became %q", a.Text(), again.Text())
		}
	})
}

// FuzzReadPiece holds the quick reading of a chunk against the Assembler.
func FuzzReadPiece(f *testing.F) {
	f.Add([]byte(`{"choices":[{"index":0,"delta":{"role":"assistant","content":"h\u00e9"},"finish_reason":"stop"}],"usage":null}`))
	f.Fuzz(func(t *testing.T, chunk []byte) {
		p := chat.ReadPiece(chunk)
		if !p.Plain {
			return
		}
		var a chat.Assembler
		output, err := a.Add(chunk)
		if err != nil && json.Valid(chunk) || err == nil && (p.Text != a.Text() || p.Text != "" && !output) {
			t.Fatalf("%q: %+v, assembled %q, output %v, %v", chunk, p, a.Text(), output, err)
		}
	})
}

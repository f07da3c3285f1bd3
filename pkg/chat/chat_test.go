package chat_test

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
)

func TestServableRequestsPass(t *testing.T) {
	for _, body := range []string{
		`{"messages":[{"role":"user","content":"hi"}]}`,
		` { "model" : "m" , "messages" : [ {"role":"system"} , {"content":[{"type":"text","text":"x"}],"role":"user"} ] } ` + "\n",
		`{"\u006dessages":[{"r\u006fle":"user"}],"temperature":-0.5e+10}`,
	} {
		if err := chat.Check([]byte(body)); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestUnservableRequestsNameTheFieldOrThePlace(t *testing.T) {
	for _, c := range []struct{ body, param, words string }{
		{``, "", "line 1, column 1"},
		{`{"messages":[{"role":"user"}]`, "", "line 1, column 30"},
		{"{\n  \"messages\": [\n    {\"role\": user}\n  ]\n}", "", "line 3, column 14 (byte 31)"},
		{"{\"é\": nope}", "", "line 1, column 7 (byte 7)"},
		{`{"messages":[{"role":"user"}]} x`, "", "nothing after"},
		{`{"messages":[{"role":"user"}],}`, "", "key in double quotes"},
		{"{\"messages\":[{\"role\":\"\xff\"}]}", "", "UTF-8"},
		{"{\"messages\":[{\"role\":\"a\nb\"}]}", "", "control character"},
		{`{"messages":[{"role":"\u12g4"}]}`, "", "hexadecimal"},
		{`{"messages":5, "x": 01}`, "", "',' or '}'"},
		{`[]`, "", "must be a JSON object"},
		{`"x"`, "", "must be a JSON object"},
		{`{}`, "messages", "messages is missing"},
		{`{"Messages":[{"role":"user"}]}`, "messages", "messages is missing"},
		{`{"messages":"hi"}`, "messages", "must be an array"},
		{`{"messages":null}`, "messages", "must be an array"},
		{`{"messages":[]}`, "messages", "messages is empty"},
		{`{"messages":[{"role":"user"},"hi"]}`, "messages[1]", "must be an object"},
		{`{"messages":[{"role":"user"},{"role":"user"},{"content":"x"}]}`, "messages[2].role", "messages[2].role is missing"},
		{`{"messages":[{"role":7}]}`, "messages[0].role", "must be a string"},
		{`{"messages":[{"role":""}]}`, "messages[0].role", "must be a string"},
		{`{"messages":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + `}`, "", "less nesting"},
	} {
		err := chat.Check([]byte(c.body))
		fault, ok := errors.AsType[*dispatch.Error](err)
		if !ok || fault.Kind != dispatch.BadRequest || fault.Param != c.param || !strings.Contains(fault.Message, c.words) || fault.Type != "invalid_request_error" || fault.Code == "" {
			t.Errorf("%.80q: %#v", c.body, err)
		}
	}
}

func TestCheckAllocatesNothingForAGoodRequest(t *testing.T) {
	body := []byte(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("word ", 200) + `"}]}`)
	if n := testing.AllocsPerRun(100, func() { _ = chat.Check(body) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCheck(b *testing.B) {
	body := []byte(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("word ", 200) + `"}]}`)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		_ = chat.Check(body)
	}
}

func TestQuestionIsTheLastUserText(t *testing.T) {
	for body, want := range map[string]string{
		`{"messages":[{"role":"user","content":"one"},{"role":"assistant","content":"two"}]}`:                                                           "one",
		`{"messages":[{"role":"user","content":"one"},{"role":"user","content":"t\u0077o \"q\""}]}`:                                                     `two "q"`,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"u"}},{"type":"text","text":"b"}]}]}`: "a\nb",
	} {
		got, err := chat.Question([]byte(body))
		if err != nil || got != want {
			t.Errorf("%s: %q, %v", body, got, err)
		}
	}
}

func TestRequestWithoutAQuestionIsRefusedNotBlamed(t *testing.T) {
	for body, want := range map[string]dispatch.Kind{
		`{"messages":[{"role":"system","content":"be kind"}]}`:                          dispatch.Refused,
		`{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}`:               dispatch.Refused,
		`{"messages":[{"role":"user","content":"old"},{"role":"user","content":null}]}`: dispatch.Refused,
		`{"messages":[]}`: dispatch.BadRequest,
	} {
		if _, err := chat.Question([]byte(body)); dispatch.KindOf(err) != want {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestSetTouchesNothingElse(t *testing.T) {
	set := func(name, value string) chat.Field { return chat.Field{Name: name, Value: json.RawMessage(value)} }
	drop := func(name string) chat.Field { return chat.Field{Name: name} }
	for _, c := range []struct {
		body   string
		fields []chat.Field
		want   string
	}{
		{`{ "model" : "a" , "x": 1.50 }`, []chat.Field{set("model", `"b"`)}, `{ "model" : "b" , "x": 1.50 }`},
		{`{"x":{"model":"a"}}`, []chat.Field{set("model", `"b"`), set("stream", `true`)}, `{"x":{"model":"a"},"model":"b","stream":true}`},
		{`{}`, []chat.Field{set("model", `"b"`)}, `{"model":"b"}`},
		{"{\n}\n", []chat.Field{set("a", `1`)}, "{\"a\":1\n}\n"},
		{`{"a":1,"b":2,"a":3}`, []chat.Field{set("a", `9`)}, `{"a":9,"b":2,"a":9}`},
		{`{"mod\u0065l":1,"":2}`, []chat.Field{set("model", `9`)}, `{"mod\u0065l":9,"":2}`},
		{`{"a":1, "b":2, "c":3}`, []chat.Field{drop("a")}, `{ "b":2, "c":3}`},
		{`{"a":1, "b":2, "c":3}`, []chat.Field{drop("b")}, `{"a":1, "c":3}`},
		{`{"a":1, "b":2, "c":3 }`, []chat.Field{drop("c"), drop("d")}, `{"a":1, "b":2 }`},
		{`{"a":1,"b":2}`, []chat.Field{drop("a"), drop("b"), set("c", `3`)}, `{"c":3}`},
		{`{"a":1,"b":2}`, []chat.Field{drop("a"), set("b", `3`)}, `{"b":3}`},
	} {
		before := strings.Clone(c.body)
		body := []byte(c.body)
		got, err := chat.Set(body, c.fields...)
		if err != nil || string(got) != c.want || string(body) != before {
			t.Errorf("%s: got %s, %v; want %s", c.body, got, err, c.want)
		}
	}
}

func TestSetRefusesWhatIsNoObject(t *testing.T) {
	for _, body := range []string{``, `[]`, `{"a":1`, `{"a":1} x`, `{a:1}`} {
		if got, err := chat.Set([]byte(body), chat.Field{Name: "a", Value: json.RawMessage("1")}); err == nil {
			t.Errorf("%s became %s", body, got)
		}
	}
}

func TestGetReadsTheLastOfARepeatedField(t *testing.T) {
	body := []byte(`{"a":1,"b":{"a":3},"a":"x"}`)
	if got := chat.Get(body, "a"); string(got) != `"x"` {
		t.Error(string(got))
	}
	if chat.Text(body, "a") != "x" || chat.Text(body, "b") != "" || chat.Get(body, "c") != nil || chat.Get([]byte("no"), "a") != nil {
		t.Error("text, or a field that is not there")
	}
}

func TestCompletionOfALocalWorkerIsWhole(t *testing.T) {
	body := chat.Completion("id-1", "rules", "say \"<b>\"\n再见", time.Unix(1700000000, 0))
	var got struct {
		ID, Object, Model string
		Created           int64
		Choices           []struct {
			Message      struct{ Role, Content string }
			FinishReason string `json:"finish_reason"`
		}
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if got.ID != "id-1" || got.Object != "chat.completion" || got.Model != "rules" || got.Created != 1700000000 ||
		got.Choices[0].Message.Content != "say \"<b>\"\n再见" || got.Choices[0].Message.Role != "assistant" || got.Choices[0].FinishReason != "stop" {
		t.Errorf("%s", body)
	}
	if !strings.Contains(string(body), "<b>") {
		t.Error("HTML was escaped")
	}
}

// assemble feeds chunks to an assembler and returns it.
func assemble(t *testing.T, chunks ...string) *chat.Assembler {
	t.Helper()
	var a chat.Assembler
	for _, c := range chunks {
		data := []byte(c)
		if _, err := a.Add(data); err != nil {
			t.Fatalf("%s: %v", c, err)
		}
		clear(data) // the assembler must not live off its input
	}
	return &a
}

func sameJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestStreamsAssembleIntoWholeAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		chunks []string
		want   string
	}{
		"text with usage and unknown fields": {
			[]string{
				`{"id":"","model":"","choices":[],"prompt_filter_results":[]}`,
				`{"id":"c1","object":"chat.completion.chunk","created":7,"model":"m-1","service_tier":"auto","obfuscation":"xx","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}`,
				`{"id":"c1","created":7,"model":"m-1","choices":[{"index":0,"delta":{"content":"a\n\ud83d"},"finish_reason":null}]}`,
				`{"id":"c1","created":7,"model":"m-1","choices":[{"index":0,"delta":{"content":"\ude00b","invented":"x"},"finish_reason":""}]}`,
				`{"id":"c1","created":7,"model":"m-1","choices":[{"index":0,"delta":{"invented":"y"},"finish_reason":"stop","native_finish_reason":"END"}]}`,
				`{"id":"c1","created":7,"model":"m-1","system_fingerprint":"fp","service_tier":"default","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"details":{"z":1}}}`,
			},
			`{"id":"c1","object":"chat.completion","created":7,"model":"m-1","prompt_filter_results":[],"choices":[{"index":0,"message":{"role":"assistant","content":"a\n😀b","refusal":null,"invented":"xy"},"logprobs":null,"finish_reason":"stop","native_finish_reason":"END"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"details":{"z":1}},"service_tier":"default","system_fingerprint":"fp"}`,
		},
		"tool calls by index": {
			[]string{
				`{"choices":[{"delta":{"role":"assistant","content":""}}]}`,
				`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"t0","type":"function","function":{"name":"f","arguments":""}}]}}]}`,
				`{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"t1","type":"function","function":{"name":"get_","arguments":"{\"b"}}]}}]}`,
				`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"t0","type":"function","function":{"name":"f","arguments":"{\"a\":"}},{"index":1,"function":{"name":"it","arguments":"\":2}"}}]}}]}`,
				`{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":null,"arguments":"1}"}}]}}]}`,
				`{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}`,
			},
			`{"id":"","object":"chat.completion","created":0,"model":"","choices":[{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"t0","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"t1","type":"function","function":{"name":"get_it","arguments":"{\"b\":2}"}}]},"logprobs":null,"finish_reason":"tool_calls"}]}`,
		},
		"two choices, log probabilities, refusal, reasoning, function call": {
			[]string{
				`{"choices":[{"index":1,"delta":{"role":"assistant","refusal":"no"},"logprobs":{"content":null,"refusal":[{"token":"no"}]}}]}`,
				`{"choices":[{"index":0,"delta":{"role":"assistant","reasoning_content":"h","content":"x"},"logprobs":{"content":[{"token":"x"}]}},{"index":1,"delta":{"refusal":"pe"},"logprobs":{"refusal":[{"token":"pe"}]}}]}`,
				`{"choices":[{"index":0,"delta":{"reasoning_content":"m","content":"y"},"logprobs":{"content":[{"token":"y"}]}}]}`,
				`{"choices":[{"index":0,"delta":{"function_call":{"name":"f","arguments":"{"}}},{"index":0,"delta":{"function_call":{"arguments":"}"}}}]}`,
				`{"choices":[{"index":0,"delta":{},"finish_reason":"function_call"},{"index":1,"delta":{},"finish_reason":"stop"}]}`,
			},
			`{"id":"","object":"chat.completion","created":0,"model":"","choices":[
			{"index":0,"message":{"role":"assistant","content":"xy","refusal":null,"reasoning_content":"hm","function_call":{"name":"f","arguments":"{}"}},"logprobs":{"content":[{"token":"x"},{"token":"y"}]},"finish_reason":"function_call"},
			{"index":1,"message":{"role":"assistant","content":null,"refusal":"nope"},"logprobs":{"content":null,"refusal":[{"token":"no"},{"token":"pe"}]},"finish_reason":"stop"}]}`,
		},
		"a whole answer as one event": {
			[]string{`{"id":"w","choices":[{"index":0,"message":{"role":"assistant","content":"all"},"finish_reason":"stop"}]}`},
			`{"id":"w","object":"chat.completion","created":0,"model":"","choices":[{"index":0,"message":{"role":"assistant","content":"all","refusal":null},"logprobs":null,"finish_reason":"stop"}]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := assemble(t, c.chunks...)
			got, err := a.Completion()
			if err != nil {
				t.Fatal(err)
			}
			sameJSON(t, got, c.want)
		})
	}
}

func TestAssemblerTellsOutputFromFrame(t *testing.T) {
	for chunk, want := range map[string]bool{
		`{"choices":[{"delta":{"role":"assistant","content":""}}]}`:                    false,
		`{"choices":[{"delta":{"role":"assistant","content":null,"tool_calls":[ ]}}]}`: false,
		`{"choices":[{"delta":{},"finish_reason":"stop"}]}`:                            false,
		`{"choices":[],"usage":{"prompt_tokens":1}}`:                                   false,
		`{"choices":null}`:                                               false,
		`{"choices":[{"delta":{"content":"a"}}]}`:                        true,
		`{"choices":[{"delta":{"refusal":"a"}}]}`:                        true,
		`{"choices":[{"delta":{"reasoning":"a"}}]}`:                      true,
		`{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}`:           true,
		`{"choices":[{"delta":{}},{"index":1,"delta":{"content":"a"}}]}`: true,
	} {
		var a chat.Assembler
		if got, err := a.Add([]byte(chunk)); err != nil || got != want {
			t.Errorf("%s: %v, %v", chunk, got, err)
		}
	}
}

func TestAnswerIsCompleteWhenEveryChoiceSeenHasFinished(t *testing.T) {
	var a chat.Assembler
	steps := []struct {
		chunk string
		want  bool
	}{
		{`{"choices":[]}`, false},
		{`{"choices":[{"index":0,"delta":{"content":"a"}}]}`, false},
		{`{"choices":[{"index":1,"delta":{"content":"b"}}]}`, false},
		{`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`, false},
		{`{"choices":[{"index":1,"delta":{},"finish_reason":"length"}]}`, true},
	}
	for _, s := range steps {
		if _, err := a.Completion(); dispatch.KindOf(err) != dispatch.Truncated {
			t.Errorf("before %s: %v", s.chunk, err)
		}
		if _, err := a.Add([]byte(s.chunk)); err != nil || a.Complete() != s.want {
			t.Errorf("%s: complete %v, %v", s.chunk, a.Complete(), err)
		}
	}
	if got := a.FinishReasons(); !reflect.DeepEqual(got, []string{"stop", "length"}) {
		t.Error(got)
	}
}

func TestBrokenChunkChangesNothing(t *testing.T) {
	a := assemble(t, `{"model":"m","choices":[{"delta":{"content":"a"}}]}`)
	for _, chunk := range []string{``, `[]`, `7`, `{"choices":[{"delta":{"content":"b"}}]`, `{"choices":[{"delta":{"content":"b"}}, 5]}`, `{"choices":"b"}`, `{"choices":[{"delta":{"content":"b"}}]} x`} {
		if _, err := a.Add([]byte(chunk)); dispatch.KindOf(err) != dispatch.Malformed {
			t.Errorf("%s: %v", chunk, err)
		}
	}
	if a.Text() != "a" || a.Model() != "m" {
		t.Error(a.Text(), a.Model())
	}
}

func TestUsageIsReadFromTheFinalChunk(t *testing.T) {
	a := assemble(t, `{"choices":[],"usage":null}`)
	if a.Usage() != (dispatch.Usage{}) {
		t.Error(a.Usage())
	}
	a = assemble(t, `{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}`, `{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":9}}`)
	if a.Usage() != (dispatch.Usage{Input: 3, Output: 9}) {
		t.Error(a.Usage())
	}
}

func TestChunksSayTheSameAsTheCompletion(t *testing.T) {
	whole, err := os.ReadFile("testdata/completion.json")
	if err != nil {
		t.Fatal(err)
	}
	chunks, err := chat.Chunks(whole)
	if err != nil {
		t.Fatal(err)
	}
	var a chat.Assembler
	for _, c := range chunks {
		output, err := a.Add(c.Data)
		if err != nil || output != c.Output {
			t.Errorf("%s: output %v, said %v; %v", c.Data, output, c.Output, err)
		}
	}
	got, err := a.Completion()
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, got, string(whole))
	last := chunks[len(chunks)-1]
	if string(chat.Get(last.Data, "choices")) != "[]" || chat.Get(last.Data, "usage") == nil || chat.Text(last.Data, "id") != "chatcmpl-9" || chat.Text(last.Data, "object") != "chat.completion.chunk" {
		t.Errorf("last chunk %s", last.Data)
	}
}

func TestLongAnswersAreCutBetweenCharacters(t *testing.T) {
	text := strings.Repeat("再见", 10000)
	chunks, err := chat.Chunks(chat.Completion("i", "m", text, time.Unix(1, 0)))
	if err != nil {
		t.Fatal(err)
	}
	var a chat.Assembler
	for _, c := range chunks {
		if len(c.Data) > 20<<10 {
			t.Errorf("a chunk of %d bytes", len(c.Data))
		}
		if _, err := a.Add(c.Data); err != nil {
			t.Fatal(err)
		}
	}
	if a.Text() != text || !a.Complete() {
		t.Error("text was lost")
	}
}

func TestChunksRefuseWhatIsNoCompletion(t *testing.T) {
	for _, body := range []string{``, `{}`, `{"choices":[]}`, `{"choices":[{"index":0,"finish_reason":"stop"}]}`, `<html>`} {
		if _, err := chat.Chunks([]byte(body)); dispatch.KindOf(err) != dispatch.Malformed {
			t.Errorf("%s: %v", body, err)
		}
	}
}

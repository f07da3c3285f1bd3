package chat_test

import (
	"encoding/json"
	"strings"
	"testing"

	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
)

func TestContinuationIsAskedForInTheStyleOfTheModel(t *testing.T) {
	const body = `{"model":"m", "messages":[{"role":"user","content":"hi"}] ,"max_tokens":10,"x":[1, 2]}`
	const begun = `{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"The answer: "}]}`
	asks := func(body []byte) bool {
		return strings.HasSuffix(string(body), `repeat nothing of it, do not begin anew, add no remark."}]}`)
	}
	for _, c := range []struct {
		name, body, said string
		style            chat.Style
		want             string
	}{
		{"prefill", body, "four\n", chat.Prefill, `{"model":"m", "messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"four"}] ,"max_tokens":7,"x":[1, 2]}`},
		{"prefix", body, "four", chat.Prefix, `{"model":"m", "messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"four","prefix":true}] ,"max_tokens":7,"x":[1, 2]}`},
		{"an answer that the caller began", begun, "4", chat.Prefill, `{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"The answer: 4"}]}`},
		{"nothing said", body, "", chat.Ask, `{"model":"m", "messages":[{"role":"user","content":"hi"}] ,"max_tokens":7,"x":[1, 2]}`},
		{"nothing but space", begun, " ", chat.Prefill, begun},
	} {
		got, err := chat.Continue([]byte(c.body), c.said, c.style, 3)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\n got %s\nwant %s", c.name, err, got, c.want)
		}
	}
	got, err := chat.Continue([]byte(begun), "4", chat.Ask, 3)
	if err != nil || !asks(got) || !strings.Contains(string(got), `{"role":"assistant","content":"The answer: 4"},{"role":"user"`) {
		t.Errorf("asked: %v %s", err, got)
	}
}

func TestLimitsOnTokensNeverReachZero(t *testing.T) {
	got, err := chat.Continue([]byte(`{"messages":[{"role":"user"}],"max_completion_tokens":5}`), "", chat.Ask, 100)
	if err != nil || string(chat.Get(got, "max_completion_tokens")) != "1" {
		t.Errorf("%v %s", err, got)
	}
}

func TestPieceTellsWhatAnotherModelCanTakeUp(t *testing.T) {
	for chunk, want := range map[string]chat.Piece{
		`{"choices":[{"index":0,"delta":{"content":"hi\u0021"},"finish_reason":null,"logprobs":null}],"usage":null}`: {Text: "hi!", Plain: true},
		`{"choices":[{"delta":{"role":"assistant","content":"","refusal":null,"tool_calls":[]}}]}`:                   {Plain: true},
		`{"choices":[{"delta":{"reasoning_content":"hm"}}]}`:                                                         {Plain: true},
		`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`:                                                {Finish: true, Plain: true},
		`{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}`:                                           {Plain: true, Usage: dispatch.Usage{Input: 3, Output: 4}},
		`{"choices":[{"index":1,"delta":{"content":"hi"}}]}`:                                                         {Text: "hi"},
		`{"choices":[{"delta":{"content":"a"}},{"delta":{"content":"b"}}]}`:                                          {Text: "ab"},
		`{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}`:                                                       {},
		`{"choices":[{"delta":{"function_call":{"name":"f"}}}]}`:                                                     {},
		`{"choices":[{"delta":{"refusal":"no"}}]}`:                                                                   {},
		`{"choices":[{"delta":{"content":[{"type":"text"}]}}]}`:                                                      {},
		`{"choices":[{"delta":{"content":"a"},"logprobs":{"content":[{"token":"a"}]}}]}`:                             {Text: "a"},
		`{"choices":[{"message":{"content":"whole"}}]}`:                                                              {},
		`{"error":{"message":"no"}}`:                                                                                 {},
		`{"choices":[{"delta":{"content":"a"`:                                                                        {},
	} {
		if got := chat.ReadPiece([]byte(chunk)); got != want {
			t.Errorf("%s: got %+v, want %+v", chunk, got, want)
		}
	}
}

func TestRejoinedChunkBelongsToTheFirstStream(t *testing.T) {
	origin, text := chat.Origin{ID: "first", Created: 7}, "more"
	got, err := chat.Rejoin([]byte(`{"id":"second","created":9,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"said more"},"finish_reason":null}]}`), origin, &text, dispatch.Usage{Input: 1})
	if want := `{"id":"first","created":7,"model":"m","choices":[{"index":0,"delta":{"content":"more"},"finish_reason":null}]}`; err != nil || string(got) != want {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
	got, err = chat.Rejoin([]byte(`{"id":"second","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12,"more":{}}}`), origin, nil, dispatch.Usage{Input: 5, Output: 3})
	if want := `{"id":"first","choices":[],"usage":{"prompt_tokens":15,"completion_tokens":5,"total_tokens":20,"more":{}},"created":7}`; err != nil || string(got) != want {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
}

func TestWholeAnswerHasAllTextAndAllUsage(t *testing.T) {
	rest := []byte(`{"id":"second","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"lo"},"finish_reason":"length"}],"usage":{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}}`)
	got, err := chat.Whole(rest, chat.Origin{ID: "first"}, "hello", dispatch.Usage{Input: 4, Output: 2})
	if want := `{"id":"first","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"length"}],"usage":{"prompt_tokens":14,"completion_tokens":3,"total_tokens":17}}`; err != nil || string(got) != want {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
	if !json.Valid(got) {
		t.Error("no JSON")
	}
}

func TestRequestForJSONIsKnown(t *testing.T) {
	for body, want := range map[string]bool{
		`{"response_format":{"type":"json_object"}}`:                  true,
		`{"response_format":{"type":"json_schema","json_schema":{}}}`: true,
		`{"response_format":{"type":"text"}}`:                         false,
		`{"response_format":null}`:                                    false,
		`{}`:                                                          false,
	} {
		if got := chat.AsksForJSON([]byte(body)); got != want {
			t.Errorf("%s: %v", body, got)
		}
	}
}

package fake

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const completions = "/v1/chat/completions"

func TestWholeAnswerHasTheShapeOfOpenAI(t *testing.T) {
	_, c := start(t, Options{Name: "primary"})
	got := c.chat("gpt-5-mini", false).whole(t)
	choice := got.Choices[0]
	if *choice.Message.Content != "primary answers: one two three" || choice.Message.Role != "assistant" || choice.FinishReason != "stop" {
		t.Errorf("want the echo, got %+v", choice)
	}
	if !strings.HasPrefix(got.ID, "chatcmpl-") || got.Object != "chat.completion" || got.Model != "gpt-5-mini" || got.Created == 0 {
		t.Errorf("want the frame of a chat completion, got %+v", got)
	}
	if u := got.Usage; u.PromptTokens != 3 || u.CompletionTokens != 5 || u.TotalTokens != 8 {
		t.Errorf("want 3 + 5 = 8 tokens, got %+v", u)
	}
}

func TestStreamedAnswerIsTheWholeOneInTokens(t *testing.T) {
	_, c := start(t, Options{})
	a := c.chat("m", true)
	streamed(t, a)
	all := events(a.body)
	if len(all) != 8 || !strings.Contains(all[0], `"delta":{"role":"assistant","content":""}`) || !strings.Contains(all[6], `"delta":{}`) {
		t.Errorf("want role, five tokens, finish and [DONE], got %q", all)
	}
	if strings.Contains(a.body, `"usage"`) {
		t.Errorf("nobody asked for usage: %s", a.body)
	}
	if kind := a.header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		t.Errorf("want an event stream, got %q", kind)
	}
}

func TestStreamTellsItsUsageWhenAsked(t *testing.T) {
	_, c := start(t, Options{})
	a := c.do(t.Context(), http.MethodPost, completions,
		`{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"one two three"}]}`)
	heard, all := listen(a.body), events(a.body)
	if heard.usage == nil || heard.usage.TotalTokens != 8 || !heard.done {
		t.Fatalf("want the usage, got %+v", a)
	}
	if last := all[len(all)-2]; !strings.Contains(last, `"choices":[]`) {
		t.Errorf("want the usage in a chunk of its own, got %s", last)
	}
	if !strings.Contains(all[0], `"usage":null`) {
		t.Errorf("want a null usage in the other chunks, got %s", all[0])
	}
}

func TestEveryEventIsSentAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := pipes(t, Options{Latency: time.Second, FirstToken: 2 * time.Second, TokensPerSecond: 2})
		began := time.Now()
		response, err := c.open(t.Context(), http.MethodPost, completions, chatBody("m", true))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		reader := bufio.NewReader(response.Body)
		for i, want := range []time.Duration{1000, 3000, 3500, 4000, 4500, 5000, 5000, 5000} {
			event := lines(t, reader, "data: ")
			if at := time.Since(began); at != want*time.Millisecond {
				t.Errorf("event %d came at %v, want %v: %s", i, at, want*time.Millisecond, event)
			}
		}
	})
}

func TestWholeAnswerTakesAsLongAsItsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := pipes(t, Options{Latency: time.Second, FirstToken: 2 * time.Second, TokensPerSecond: 2})
		began := time.Now()
		answered(t, c.chat("m", false))
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("took %v, want 5s", took)
		}
	})
}

func TestAnswersAreAsLongAsAsked(t *testing.T) {
	for _, ask := range []struct {
		options         Options
		limit           string
		content, finish string
	}{
		{Options{Text: "a b c"}, `"max_tokens":2`, "a b", "length"},
		{Options{Text: "a b c"}, `"max_completion_tokens":1,"max_tokens":2`, "a", "length"},
		{Options{Text: "a b c"}, `"max_tokens":3`, "a b c", "stop"},
		{Options{Text: "a b c", Tokens: 5}, `"n":1`, "a b c a b", "stop"},
		{Options{Text: "a b c", Tokens: 2}, `"n":1`, "a b", "stop"},
		{Options{Text: "申请refund now"}, `"max_tokens":3`, "申请refund", "length"},
	} {
		_, c := start(t, ask.options)
		a := c.do(t.Context(), http.MethodPost, completions, `{"model":"m","messages":[{"role":"user","content":"?"}],`+ask.limit+`}`)
		if got := a.whole(t).Choices[0]; *got.Message.Content != ask.content || got.FinishReason != ask.finish {
			t.Errorf("%+v with %s: want %q (%s), got %q (%s)", ask.options, ask.limit, ask.content, ask.finish, *got.Message.Content, got.FinishReason)
		}
	}
}

func TestEchoReadsTheLastUserMessageInEitherForm(t *testing.T) {
	_, c := start(t, Options{})
	a := c.do(t.Context(), http.MethodPost, completions, `{"model":"m","messages":[
		{"role":"user","content":"first"},{"role":"assistant","content":null},
		{"role":"user","content":[{"type":"text","text":"last "},{"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"words"}]},
		{"role":"tool","content":"42"}]}`)
	if got := *a.whole(t).Choices[0].Message.Content; got != "fake answers: last words" {
		t.Errorf("got %q", got)
	}
}

func TestPrefilledAnswerIsContinued(t *testing.T) {
	s, c := start(t, Options{})
	s.SetText("the quick brown fox")
	for prefill, want := range map[string]string{
		"the quick":  " brown fox",
		"another":    "the quick brown fox",
		"the quick ": "brown fox",
	} {
		a := c.do(t.Context(), http.MethodPost, completions, string(encode(map[string]any{
			"model": "m", "messages": []map[string]string{{"role": "user", "content": "?"}, {"role": "assistant", "content": prefill}},
		})))
		if got := *a.whole(t).Choices[0].Message.Content; got != want {
			t.Errorf("after %q: want %q, got %q", prefill, want, got)
		}
	}
}

func TestForcedToolIsCalled(t *testing.T) {
	_, c := start(t, Options{})
	ask := func(choice, more string) answer {
		return c.do(t.Context(), http.MethodPost, completions, `{"model":"m","messages":[{"role":"user","content":"one two three"}],
			"tools":[{"type":"function","function":{"name":"first"}},{"type":"function","function":{"name":"second"}}],"tool_choice":`+choice+more+`}`)
	}
	for choice, name := range map[string]string{`"required"`: "first", `{"type":"function","function":{"name":"second"}}`: "second"} {
		got := ask(choice, "").whole(t).Choices[0]
		if len(got.Message.ToolCalls) != 1 || got.FinishReason != "tool_calls" || got.Message.Content != nil {
			t.Fatalf("%s: want a tool call, got %+v", choice, got)
		}
		if call := got.Message.ToolCalls[0]; call.Function != (toolFunction{Name: name, Arguments: "{}"}) || call.Type != "function" || call.ID == "" {
			t.Errorf("%s: want a call of %s, got %+v", choice, name, call)
		}
		if heard := listen(ask(choice, `,"stream":true`).body); heard.tool != name || heard.arguments != "{}" || heard.finish != "tool_calls" || heard.text != "" {
			t.Errorf("%s: want a streamed call of %s, got %+v", choice, name, heard)
		}
	}
	for _, choice := range []string{`"auto"`, `"none"`, `null`} {
		answered(t, ask(choice, ""))
	}
}

func TestRequestsThatMakeNoSenseAreRefused(t *testing.T) {
	_, c := start(t, Options{})
	for _, ask := range []struct{ path, body, want string }{
		{completions, `{"model":`, "could not be parsed"},
		{completions, `{"model":"m"}`, "at least one message"},
		{completions, `{"messages":[{"role":"user","content":"?"}]}`, "model parameter"},
		{"/v1/embeddings", `{"model":"m"}`, "input"},
		{"/v1/embeddings", `{"model":"m","input":"x","dimensions":-1}`, "dimensions"},
	} {
		a := c.do(t.Context(), http.MethodPost, ask.path, ask.body)
		if a.status != http.StatusBadRequest || !strings.Contains(a.problem(t).Message, ask.want) || a.problem(t).Type != "invalid_request_error" {
			t.Errorf("%s: want a 400 about %q, got %+v", ask.body, ask.want, a)
		}
	}
	if a := c.do(t.Context(), http.MethodGet, "/v1/nowhere", ""); a.status != http.StatusNotFound || a.problem(t).Message == "" {
		t.Errorf("want a 404, got %+v", a)
	}
}

func TestModelsAreListed(t *testing.T) {
	s, c := start(t, Options{Models: []string{"a", "b"}})
	var list modelList
	a := c.do(t.Context(), http.MethodGet, "/v1/models", "")
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || len(list.Data) != 2 || list.Data[1].ID != "b" || list.Object != "list" {
		t.Errorf("want two models, got %+v (%v)", a, err)
	}
	if a := c.do(t.Context(), http.MethodGet, "/healthz", ""); a.status != http.StatusOK {
		t.Errorf("want health, got %+v", a)
	}
	if total := s.Stats().Total; total != 0 {
		t.Errorf("neither is a call, but %d count", total)
	}
}

func TestEmbeddingsAreUnitVectorsOfTheirText(t *testing.T) {
	_, c := start(t, Options{})
	embed := func(more string) []embedding {
		var list embeddingList
		a := c.do(t.Context(), http.MethodPost, "/v1/embeddings", `{"model":"m",`+more+`}`)
		if err := json.Unmarshal([]byte(a.body), &list); err != nil || a.status != http.StatusOK {
			t.Fatalf("want embeddings, got %+v (%v)", a, err)
		}
		return list.Data
	}
	two := embed(`"input":["refund","invoice"],"dimensions":8`)
	one := embed(`"input":"refund","dimensions":8`)
	values := func(e embedding) []float64 {
		var list []float64
		for _, value := range e.Embedding.([]any) {
			list = append(list, value.(float64))
		}
		return list
	}
	if len(two) != 2 || two[1].Index != 1 || !slices.Equal(values(two[0]), values(one[0])) || slices.Equal(values(two[0]), values(two[1])) {
		t.Errorf("want a vector for each text: %v and %v", two, one)
	}
	var square float64
	for _, value := range values(one[0]) {
		square += value * value
	}
	if math.Abs(square-1) > 1e-5 || len(values(one[0])) != 8 {
		t.Errorf("want a unit vector of 8, got %v", one[0])
	}
	packed, err := base64.StdEncoding.DecodeString(embed(`"input":"refund","dimensions":8,"encoding_format":"base64"`)[0].Embedding.(string))
	if err != nil || len(packed) != 32 {
		t.Fatalf("want 32 bytes in base64, got %d (%v)", len(packed), err)
	}
	for i, want := range values(one[0]) {
		if got := math.Float32frombits(binary.LittleEndian.Uint32(packed[4*i:])); got != float32(want) {
			t.Errorf("value %d is %v in base64, want %v", i, got, want)
		}
	}
	if tokens := embed(`"input":[[1,2],[3]]`); len(tokens) != 2 || len(values(tokens[0])) != defaultDimensions {
		t.Errorf("want two vectors of tokens, got %d", len(tokens))
	}
	if tokens := embed(`"input":[1,2,3]`); len(tokens) != 1 {
		t.Errorf("want one vector of tokens, got %d", len(tokens))
	}
}

func TestFaultsStrikeEmbeddingsToo(t *testing.T) {
	_, c := start(t, Options{})
	for kind, check := range map[FaultKind]func(*testing.T, answer){
		Status: refused(500, ""), Reset: wasReset, Cut: wasCutInHalf, MalformedBody: isNotJSON,
	} {
		check(t, c.do(t.Context(), http.MethodPost, "/v1/embeddings", `{"model":"m:fault=`+string(kind)+`","input":"x"}`))
	}
}

func TestCallerThatLeavesEndsItsCall(t *testing.T) {
	s, c := start(t, Options{Latency: time.Hour})
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan answer)
	go func() { left <- c.do(ctx, http.MethodPost, completions, chatBody("m", false)) }()
	until(t, s.Provider, "the call is in flight", func(now Stats) bool { return now.InFlight == 1 })
	leave()
	<-left
	until(t, s.Provider, "the call is gone", func(now Stats) bool { return now.InFlight == 0 && now.ByOutcome[Gone] == 1 })
}

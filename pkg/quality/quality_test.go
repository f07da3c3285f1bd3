package quality_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
	"understudy/pkg/quality"
	"understudy/pkg/wire"
)

var all = wire.Quality{Empty: true, Refusal: true, Language: true, JSON: true}

func ask(text string) []byte { return asked(text, nil) }

func asked(text string, more map[string]any, earlier ...string) []byte {
	body := map[string]any{}
	messages := []map[string]any{}
	for _, e := range earlier {
		messages = append(messages, map[string]any{"role": "system", "content": e})
	}
	body["messages"] = append(messages, map[string]any{"role": "user", "content": text})
	for k, v := range more {
		body[k] = v
	}
	data, _ := json.Marshal(body)
	return data
}

func says(text string) []byte { return chat.Completion("c", "m", text, time.Unix(0, 0)) }

func message(fields string) []byte {
	return fmt.Appendf(nil, `{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant",%s},"finish_reason":"stop"}]}`, fields)
}

func TestAnAnswerThatSaysNothingIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		answer []byte
		want   wire.QualityCheck
	}{
		"no text":            {message(`"content":""`), wire.QualityCheckEmpty},
		"null":               {message(`"content":null`), wire.QualityCheckEmpty},
		"white space":        {message(`"content":" \n"`), wire.QualityCheckEmpty},
		"no choices":         {[]byte(`{"choices":[]}`), wire.QualityCheckEmpty},
		"no tools":           {message(`"content":"","tool_calls":[]`), wire.QualityCheckEmpty},
		"thoughts alone":     {message(`"content":"","reasoning_content":"hm"`), wire.QualityCheckEmpty},
		"text":               {says("hi"), ""},
		"a tool call":        {message(`"content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]`), ""},
		"an old function":    {message(`"content":null,"function_call":{"name":"f","arguments":"{}"}`), ""},
		"speech":             {message(`"content":null,"audio":{"id":"a"}`), ""},
		"one choice of two":  {[]byte(`{"choices":[{"message":{"content":""}},{"message":{"content":"hi"}}]}`), ""},
		"text in its parts":  {message(`"content":[{"type":"text","text":"hi"}]`), ""},
		"a refusal is words": {message(`"content":null,"refusal":"no"`), wire.QualityCheckRefusal},
	} {
		if got := quality.New().Check(all, ask("hello"), c.answer); got.Check != c.want {
			t.Errorf("%s: got %q, want %q", name, got.Check, c.want)
		}
	}
}

func TestOpeningsOfRefusalsAreKnown(t *testing.T) {
	for text, want := range map[string]bool{
		"I'm sorry, but I can't help with that.":                                      true,
		"I’m sorry, but I can’t assist with that request.":                            true,
		"Sorry, I cannot comply.":                                                     true,
		"I apologize, but I am unable to assist with this.":                           true,
		"As an AI language model, I cannot provide that kind of content.":             true,
		"Unfortunately, I'm not able to help you with that.":                          true,
		"**I can't help with that.**":                                                 true,
		"抱歉，我无法提供这类信息。":                                                               true,
		"很抱歉,我不能回答这个问题。":                                                              true,
		"对不起，作为一个人工智能助手，我无法协助完成该请求。":                                                  true,
		"作为AI模型，我无法满足您的要求。":                                                           true,
		"I'm sorry to hear that. Here is what you can do.":                            false,
		"I can't help but notice that the index is missing.":                          false,
		"I can't find your order 4711. Is the number right?":                          false,
		"Sorry, I can't tell from the log alone; what does line 3 say?":               false,
		"You can refuse with: I'm sorry, but I can't help with that.":                 false,
		"抱歉让您久等了，您的包裹明天到。":                                                            false,
		"我无法确定您的订单号，请再发一次。":                                                           false,
		"I can't help with that. " + strings.Repeat("But there is another way. ", 20): false,
	} {
		got := quality.New().Check(wire.Quality{Refusal: true}, ask("hello"), says(text))
		if (got.Check == wire.QualityCheckRefusal) != want {
			t.Errorf("%q: got %q, want refusal %v", text, got.Check, want)
		}
	}
}

func TestAnswersInAnotherScriptAreFoundOnlyWhereThatIsClear(t *testing.T) {
	const (
		english = "Where is my parcel, and when will it arrive?"
		chinese = "我的包裹在哪里，什么时候能到？"
		ja      = "荷物はどこにありますか。いつ届きますか。"
		russian = "Где моя посылка и когда она придёт ко мне?"
	)
	for name, c := range map[string]struct {
		request []byte
		answer  string
		want    bool
	}{
		"Chinese for English":       {ask(english), chinese, true},
		"English for Chinese":       {ask(chinese), english, true},
		"Japanese for Chinese":      {ask(chinese), ja, true},
		"Russian for English":       {ask(english), russian, true},
		"the same":                  {ask(chinese), "您的包裹明天到达，请注意查收。", false},
		"a short question":          {ask("ok?"), chinese, false},
		"a short answer":            {ask(chinese), "DHL", false},
		"a mixed answer":            {ask(english), "您的包裹 parcel is on its way 明天到达", false},
		"code in the answer":        {ask("写一个排序函数，用快速排序"), "当然可以，请看：\n```go\nfunc sort(values []int) []int { return quick(values) }\n```", false},
		"code alone":                {ask("写一个排序函数，用快速排序"), "```go\nfunc sort(values []int) []int { return quick(values) }\n```", false},
		"a translation":             {ask("Please translate: where is my parcel?"), chinese, false},
		"a translation, in Chinese": {ask("把下面这句话翻译一下：包裹在哪里"), english, false},
		"a named language":          {asked(english, nil, "Answer in Chinese."), chinese, false},
		"instructions in it":        {asked(english, nil, "你是客服助手，请简短回答用户的问题。"), chinese, false},
		"instructions in another":   {asked(chinese, nil, "Be brief and polite to every customer."), english, false},
		"structured output":         {asked(chinese, map[string]any{"response_format": map[string]any{"type": "json_object"}}), `{"parcel":"is on its way","arrival":"tomorrow"}`, false},
	} {
		got := quality.New().Check(wire.Quality{Language: true}, c.request, says(c.answer))
		if (got.Check == wire.QualityCheckLanguage) != c.want {
			t.Errorf("%s: got %q (%s), want found %v", name, got.Check, got.Reason, c.want)
		}
	}
}

func TestAnswersAreTheJSONThatWasAskedFor(t *testing.T) {
	object := map[string]any{"response_format": map[string]any{"type": "json_object"}}
	schema := func(s string) map[string]any {
		return map[string]any{"response_format": map[string]any{"type": "json_schema", "json_schema": map[string]any{"name": "x", "schema": json.RawMessage(s)}}}
	}
	person := `{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"tags":{"type":"array","items":{"type":"string"}}},"additionalProperties":false}`
	for name, c := range map[string]struct {
		format map[string]any
		answer string
		want   string
	}{
		"nothing asked":      {nil, "prose", ""},
		"an object":          {object, ` {"a": 1} `, ""},
		"prose":              {object, "Here you are", "no JSON"},
		"fenced":             {object, "```json\n{}\n```", "no JSON"},
		"cut off":            {object, `{"a": "b`, "no JSON"},
		"two":                {object, `{} {}`, "no JSON"},
		"a list":             {object, `[1]`, "no JSON object"},
		"fits":               {schema(person), `{"name":"Ann","tags":["x"]}`, ""},
		"lacks a key":        {schema(person), `{}`, "does not fit"},
		"wrong below":        {schema(person), `{"name":"Ann","tags":[1]}`, "at /tags/0"},
		"no JSON for schema": {schema(person), `no`, "no JSON"},
		"a broken schema":    {schema(`{"type":"thing"}`), `{}`, ""},
		"a file":             {schema(`{"$ref":"file:///etc/passwd"}`), `{}`, ""},
		"a local reference":  {schema(`{"$defs":{"n":{"type":"integer"}},"$ref":"#/$defs/n"}`), `"x"`, "does not fit"},
	} {
		got := quality.New().Check(wire.Quality{JSON: true}, asked("give me JSON", c.format), says(c.answer))
		if (got.Check == wire.QualityCheckJSON) != (c.want != "") || !strings.Contains(got.Reason, c.want) {
			t.Errorf("%s: got %q (%s), want %q", name, got.Check, got.Reason, c.want)
		}
	}
	if got := quality.New().Check(wire.Quality{JSON: true}, asked("x", object), message(`"content":null,"tool_calls":[{"id":"1"}]`)); got.Check != "" {
		t.Errorf("a tool call: %+v", got)
	}
}

func TestManySchemasAreCheckedWithABoundedMemory(t *testing.T) {
	c := quality.New()
	for round := range 2 {
		for n := range 100 {
			body := asked("x", map[string]any{"response_format": map[string]any{"type": "json_schema", "json_schema": map[string]any{"schema": map[string]any{"const": n}}}})
			if got := c.Check(all, body, says(fmt.Sprint(n))); got.Check != "" {
				t.Fatalf("round %d: %d: %+v", round, n, got)
			}
			if got := c.Check(all, body, says("-1")); got.Check != wire.QualityCheckJSON {
				t.Fatalf("round %d: -1 for %d: %+v", round, n, got)
			}
		}
	}
}

func TestOnlyChecksThatAreOnFindAnything(t *testing.T) {
	if got := quality.New().Check(wire.Quality{Counts: true}, ask("hello"), message(`"content":""`)); got.Check != "" {
		t.Errorf("got %+v", got)
	}
	if got := quality.New().Check(wire.Quality{Refusal: true}, ask("hello"), message(`"content":""`)); got.Check != "" {
		t.Errorf("got %+v", got)
	}
}

func TestAFindingIsAFailureThatNamesItsCheck(t *testing.T) {
	e := quality.Finding{Check: wire.QualityCheckJSON, Reason: "it is no JSON"}.Error()
	if e.Kind != dispatch.Quality || e.Code != "json" || !strings.Contains(e.Message, "json: it is no JSON") {
		t.Errorf("got %+v", e)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(ask("hello"), says("hi"))
	f.Add(asked("x", map[string]any{"response_format": map[string]any{"type": "json_schema", "json_schema": map[string]any{"schema": map[string]any{"type": "object"}}}}), says("{}"))
	c := quality.New()
	f.Fuzz(func(t *testing.T, request, completion []byte) {
		if got := c.Check(all, request, completion); (got.Check == "") != (got.Reason == "") {
			t.Errorf("check %q without a reason, or the other way round: %q", got.Check, got.Reason)
		}
	})
}

package rules

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"understudy/pkg/dispatch"
)

// testProvider answers from one refund rule, at a fixed time.
func testProvider(t *testing.T) *Provider {
	t.Helper()
	provider := NewProvider(mustLoad(t, header+refundRule))
	provider.Now = func() time.Time { return time.Unix(1_800_000_000, 0) }
	return provider
}

// noListener fails the test when something is emitted.
func noListener(t *testing.T) dispatch.Emit {
	return func(c dispatch.Chunk) { t.Errorf("emitted %s without a listener", c.Data) }
}

func TestAnswerIsAWholeChatCompletion(t *testing.T) {
	req := &dispatch.Request{ID: "r-1", Body: []byte(`{"model":"chat","messages":[{"role":"user","content":"My refund?"}]}`)}
	answer, err := testProvider(t).Answer(t.Context(), req, noListener(t))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"chatcmpl-r-1","object":"chat.completion","created":1800000000,"model":"rules",` +
		`"choices":[{"index":0,"message":{"role":"assistant","content":"In 7 days. Note 7.","refusal":null},"logprobs":null,"finish_reason":"stop"}],` +
		`"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}`
	if string(answer.Body) != want {
		t.Errorf("body\n%s\nwant\n%s", answer.Body, want)
	}
	if answer.Model != "rules" || !slices.Equal(answer.Sources, []string{"refund"}) || answer.Usage != (dispatch.Usage{}) {
		t.Errorf("answer %+v, want model rules, source refund, no usage", answer)
	}
}

func TestLastUserMessageIsTheQuestion(t *testing.T) {
	cases := map[string]string{
		`{"messages":[{"role":"user","content":"weather"},{"role":"assistant","content":"sunny"},{"role":"user","content":"退款"}]}`:                               "7 天。注 7。",
		`{"messages":[{"role":"user","content":"refund"},{"role":"assistant","content":null,"tool_calls":[]},{"role":"tool","content":"x"}]}`:                    "In 7 days. Note 7.",
		`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:"}},{"type":"text","text":"a"},{"type":"text","text":"refund"}]}]}`: "In 7 days. Note 7.",
	}
	for body, want := range cases {
		answer, err := testProvider(t).Answer(t.Context(), &dispatch.Request{ID: "r", Body: []byte(body)}, noListener(t))
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		var got struct {
			Choices []struct{ Message struct{ Content string } }
		}
		if err := json.Unmarshal(answer.Body, &got); err != nil || got.Choices[0].Message.Content != want {
			t.Errorf("%s: answered %s (%v), want %q", body, answer.Body, err, want)
		}
	}
}

func TestQuestionWithoutARuleIsRefused(t *testing.T) {
	bodies := []string{
		`{"messages":[{"role":"user","content":"What's the weather?"}]}`,
		`{"messages":[{"role":"user","content":"refund"},{"role":"user","content":"never mind"}]}`,
		`{"messages":[{"role":"system","content":"refund"}]}`,
		`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:"}}]}]}`,
	}
	for _, body := range bodies {
		_, err := testProvider(t).Answer(t.Context(), &dispatch.Request{ID: "r", Body: []byte(body)}, noListener(t))
		if dispatch.KindOf(err) != dispatch.Refused {
			t.Errorf("%s: %v, want %s", body, err, dispatch.Refused)
		}
	}
}

func TestBodyThatIsNotUnderstoodIsABadRequest(t *testing.T) {
	bodies := []string{
		``, `refund`, `[]`, `{}`, `{"messages":[]}`, `{"messages":"refund"}`, `{"messages":["refund"]}`,
	}
	for _, body := range bodies {
		_, err := testProvider(t).Answer(t.Context(), &dispatch.Request{ID: "r", Body: []byte(body)}, noListener(t))
		failure := dispatch.AsError(err)
		if failure == nil || failure.Kind != dispatch.BadRequest {
			t.Errorf("%s: %+v, want %s", body, failure, dispatch.BadRequest)
		}
	}
}

func TestRouteAndTenantReachTheConditions(t *testing.T) {
	provider := NewProvider(mustLoad(t, header+row("own", `metadata.route == "refunds" && metadata.tenant == "acme"`)))
	req := &dispatch.Request{ID: "r", Route: "refunds", Tenant: "acme", Body: []byte(`{"messages":[{"role":"user","content":"a"}]}`)}
	if _, err := provider.Answer(t.Context(), req, noListener(t)); err != nil {
		t.Errorf("%v, want an answer", err)
	}
	other := *req
	other.Tenant = "else"
	if _, err := provider.Answer(t.Context(), &other, noListener(t)); dispatch.KindOf(err) != dispatch.Refused {
		t.Errorf("%v, want %s", err, dispatch.Refused)
	}
}

func TestCancelledRequestIsNotAnswered(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req := &dispatch.Request{ID: "r", Body: []byte(`{"messages":[{"role":"user","content":"refund"}]}`)}
	if _, err := testProvider(t).Answer(ctx, req, noListener(t)); dispatch.KindOf(err) != dispatch.Cancelled {
		t.Errorf("%v, want %s", err, dispatch.Cancelled)
	}
}

func TestLoadedProviderIsReady(t *testing.T) {
	if err := NewProvider(bundledEngine(t)).Probe(t.Context()); err != nil {
		t.Error(err)
	}
}

package openai_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
	"understudy/pkg/provider/openai"
	"understudy/pkg/provider/providertest"
)

func TestAdapterKeepsTheContract(t *testing.T) {
	for _, streaming := range []openai.Streaming{openai.Always, openai.AsAsked} {
		t.Run(string(streaming), func(t *testing.T) {
			providertest.Run(t, providertest.Harness{
				New: func(t *testing.T, s providertest.Settings) providertest.Provider {
					transport := &http.Transport{}
					t.Cleanup(transport.CloseIdleConnections)
					p, err := openai.New(openai.Config{
						BaseURL: s.BaseURL + "/v1", APIKey: s.APIKey, Model: "m", Streaming: streaming,
						MaxAnswer: s.MaxAnswer, Now: s.Now, HTTPClient: &http.Client{Transport: transport},
					})
					if err != nil {
						t.Fatal(err)
					}
					return p
				},
				Protocol: protocol{},
				Failures: failures,
			})
		})
	}
}

// failures are the codes and the shapes that OpenAI-compatible endpoints use.
var failures = []providertest.Failure{
	{Name: "quota", Status: 429, Body: `{"error":{"message":"pay","type":"insufficient_quota","code":"insufficient_quota"}}`, Kind: dispatch.Account},
	{Name: "quota, by type", Status: 429, Body: `{"error":{"message":"pay","type":"insufficient_quota","code":null}}`, Kind: dispatch.Account},
	{Name: "spend limit", Status: 400, Body: `{"error":{"message":"pay","code":"billing_hard_limit_reached"}}`, Kind: dispatch.Account},
	{Name: "key", Status: 401, Body: `{"error":{"message":"key","code":"invalid_api_key"}}`, Kind: dispatch.Account},
	{Name: "rate limit", Status: 429, Body: `{"error":{"message":"slow","type":"tokens","code":"rate_limit_exceeded"}}`, Kind: dispatch.Throttled},
	{Name: "context length", Status: 400, Body: `{"error":{"message":"long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`, Kind: dispatch.ContextLength},
	{Name: "request too large", Status: 413, Body: `{"error":{"message":"large","code":"rate_limit_exceeded"}}`, Kind: dispatch.ContextLength},
	{Name: "content filter", Status: 400, Body: `{"error":{"message":"no","code":"content_filter"}}`, Kind: dispatch.ContentFilter},
	{Name: "moderation", Status: 403, Body: `{"error":{"code":403,"message":"flagged","metadata":{"reasons":["violence"],"flagged_input":"x"}}}`, Kind: dispatch.ContentFilter},
	{Name: "unknown model", Status: 404, Body: `{"error":{"message":"no such model","code":"model_not_found","param":"model"}}`, Kind: dispatch.BadRequest},
	{Name: "error as text", Status: 400, Body: `{"error":"the reason"}`, Kind: dispatch.BadRequest},
	{Name: "message beside no error", Status: 400, Body: `{"error":null,"message":"the reason"}`, Kind: dispatch.BadRequest},
	{Name: "message alone", Status: 500, Body: `{"message":"the reason"}`, Kind: dispatch.Transient},
	{Name: "detail", Status: 422, Body: `{"detail":"the reason"}`, Kind: dispatch.BadRequest},
	{Name: "list of details", Status: 422, Body: `{"detail":[{"loc":["body","messages",0,"role"],"msg":"the reason","type":"missing"}]}`, Kind: dispatch.BadRequest},
	{Name: "in an array", Status: 400, Body: `[{"error":{"code":400,"message":"the reason","status":"INVALID_ARGUMENT"}}]`, Kind: dispatch.BadRequest},
	{Name: "very long", Status: 500, Body: `{"error":{"message":"` + strings.Repeat("é", 5000) + `"}}`, Kind: dispatch.Transient},
	{Name: "teapot", Status: 418, Body: `{}`, Kind: dispatch.Transient},
	{Name: "in a good status", Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"error":{"message":"the reason","code":429}}`, Kind: dispatch.Throttled},
}

// protocol speaks as OpenAI does.
type protocol struct{}

func (protocol) Question(body []byte) string {
	text, err := chat.Question(body)
	if err != nil {
		return err.Error()
	}
	return text
}

func (protocol) Failure(_ int, message string) string {
	return fmt.Sprintf(`{"error":{"message":%q,"type":"x","param":null,"code":null}}`, message)
}

func (protocol) Whole(text string) string {
	return fmt.Sprintf(`{"id":"c","object":"chat.completion","created":5,"model":"m-2","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}`, text)
}

func (protocol) Begin() string {
	return chunk(`{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}`)
}

func (protocol) Piece(text string) string {
	return chunk(fmt.Sprintf(`{"index":0,"delta":{"content":%q},"finish_reason":null}`, text))
}

func (protocol) Finish() string { return finish("stop") + usage }

func (protocol) End() string { return "data: [DONE]\n\n" }

func (protocol) Fault(message string) string {
	return fmt.Sprintf("data: {\"error\":{\"message\":%q,\"type\":\"server_error\"}}\n\n", message)
}

func finish(reason string) string {
	return chunk(fmt.Sprintf(`{"index":0,"delta":{},"finish_reason":%q}`, reason))
}

func chunk(choice string) string {
	return `data: {"id":"c","object":"chat.completion.chunk","created":5,"model":"m-2","choices":[` + choice + "]}\n\n"
}

const usage = `data: {"id":"c","object":"chat.completion.chunk","created":5,"model":"m-2","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}` + "\n\n"

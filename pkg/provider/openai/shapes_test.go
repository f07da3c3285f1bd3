package openai

import (
	"testing"

	"understudy/pkg/dispatch"
)

// What the providers' own words mean, in the shapes in which they say them.
func TestProvidersOwnCodesBecomeKinds(t *testing.T) {
	for _, row := range []struct {
		provider string
		status   int
		body     string
		want     dispatch.Kind
	}{
		{"OpenAI", 429, `{"error":{"message":"m","type":"requests","param":null,"code":"rate_limit_exceeded"}}`, dispatch.Throttled},
		{"OpenAI", 429, `{"error":{"message":"m","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`, dispatch.Account},
		{"OpenAI", 400, `{"error":{"message":"m","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`, dispatch.ContextLength},
		{"OpenAI", 401, `{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`, dispatch.Account},
		{"Azure", 400, `{"error":{"message":"m","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}`, dispatch.ContentFilter},
		{"Azure", 429, `{"error":{"code":"429","message":"m"}}`, dispatch.Throttled},
		{"Azure", 401, `{"error":{"code":"401","message":"m"}}`, dispatch.Account},
		{"Azure", 404, `{"error":{"code":"DeploymentNotFound","message":"m"}}`, dispatch.BadRequest},
		{"Anthropic", 529, `{"type":"error","error":{"type":"overloaded_error","message":"m"}}`, dispatch.Transient},
		{"Anthropic", 429, `{"type":"error","error":{"type":"rate_limit_error","message":"m"}}`, dispatch.Throttled},
		{"Anthropic", 401, `{"type":"error","error":{"type":"authentication_error","message":"m"}}`, dispatch.Account},
		{"Anthropic", 402, `{"type":"error","error":{"type":"billing_error","message":"m"}}`, dispatch.Account},
		{"Anthropic", 403, `{"type":"error","error":{"type":"permission_error","message":"m"}}`, dispatch.Account},
		{"Anthropic", 413, `{"type":"error","error":{"type":"request_too_large","message":"m"}}`, dispatch.ContextLength},
		{"Anthropic", 400, `{"type":"error","error":{"type":"invalid_request_error","message":"m"}}`, dispatch.BadRequest},
		{"Anthropic", 500, `{"type":"error","error":{"type":"api_error","message":"m"}}`, dispatch.Transient},
		{"Gemini", 429, `{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}`, dispatch.Throttled},
		{"Gemini", 503, `[{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}]`, dispatch.Transient},
		{"Gemini", 400, `{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT","details":[{"@type":"x"},{"reason":"API_KEY_INVALID"}]}}`, dispatch.Account},
		{"Gemini", 400, `{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}`, dispatch.BadRequest},
		{"Gemini", 403, `{"error":{"code":403,"message":"m","status":"PERMISSION_DENIED"}}`, dispatch.Account},
		{"a proxy", 502, `<html>Bad Gateway</html>`, dispatch.Transient},
	} {
		p := &Provider{}
		if got := p.classify(row.status, readFault([]byte(row.body))); got != row.want {
			t.Errorf("%s, %d %s: %s, want %s", row.provider, row.status, row.body, got, row.want)
		}
	}
}

package openai_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"understudy/pkg/dispatch"
	"understudy/pkg/provider/openai"
)

func TestConfiguredCodesGoBeforeTheTable(t *testing.T) {
	codes := map[string]dispatch.Kind{
		"40301": dispatch.Account, "1301": dispatch.ContentFilter, "sensitive": dispatch.ContentFilter,
		"403": dispatch.Throttled, "rate_limit_exceeded": dispatch.Account,
	}
	for name, c := range map[string]struct {
		status int
		body   string
		want   dispatch.Kind
	}{
		"a number":                {400, `{"error":{"code":1301,"message":"no"}}`, dispatch.ContentFilter},
		"a number as text":        {429, `{"error":{"code":"40301","message":"pay"}}`, dispatch.Account},
		"without a wrapper":       {400, `{"code":40301,"message":"pay"}`, dispatch.Account},
		"a type":                  {400, `{"error":{"type":"sensitive","message":"no"}}`, dispatch.ContentFilter},
		"a status":                {403, `{}`, dispatch.Throttled},
		"a code before a status":  {403, `{"error":{"code":"1301"}}`, dispatch.ContentFilter},
		"one that the table has":  {429, `{"error":{"code":"rate_limit_exceeded"}}`, dispatch.Account},
		"one that nobody has":     {400, `{"error":{"code":"9999"}}`, dispatch.BadRequest},
		"in an answer that began": {200, "data: {\"error\":{\"code\":1301,\"message\":\"no\"}}\n\n", dispatch.ContentFilter},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if c.status == http.StatusOK {
					w.Header().Set("Content-Type", "text/event-stream")
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			}))
			defer endpoint.Close()
			p, err := openai.New(openai.Config{BaseURL: endpoint.URL, Codes: codes, HTTPClient: endpoint.Client()})
			if err != nil {
				t.Fatal(err)
			}
			req := &dispatch.Request{Body: []byte(`{"messages":[{"role":"user","content":"x"}]}`)}
			_, err = p.Answer(t.Context(), req, func(dispatch.Chunk) {})
			if got := dispatch.KindOf(err); got != c.want {
				t.Errorf("got %s (%v), want %s", got, err, c.want)
			}
		})
	}
}

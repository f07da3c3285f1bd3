package config_test

import (
	"strings"
	"testing"

	"understudy/pkg/config"
	"understudy/pkg/dispatch"
)

func TestAProvidersOwnCodesAreRead(t *testing.T) {
	cfg, err := config.Parse("x.yaml", []byte(`
workers: {zhipu: {kind: openai, codes: {"1301": content_filter, "529": transient}}}
routes: {chat: {fallbacks: [zhipu]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if codes := cfg.Workers["zhipu"].Codes; codes["1301"] != dispatch.ContentFilter || codes["529"] != dispatch.Transient {
		t.Errorf("codes: %v", codes)
	}
}

func TestACodeThatMeansNothingIsNamedWithItsPlace(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"a kind with a slip": {"workers:\n  zhipu:\n    kind: openai\n    codes:\n      \"1301\": content_filtr\nroutes: {chat: {fallbacks: [zhipu]}}\n", "x.yaml:5:15"},
		"a worker without":   {"workers:\n  rules:\n    kind: rules\n    codes: {\"1301\": account}\nroutes: {chat: {fallbacks: [rules]}}\n", "x.yaml:4:5"},
	} {
		_, err := config.Parse("x.yaml", []byte(c.file))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "codes") {
			t.Errorf("%s: got %v, want it at %s", name, err, c.want)
		}
	}
}

package config_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"understudy/pkg/config"
	"understudy/pkg/wire"
)

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

func noOllama(context.Context, string) (string, bool) { return "", false }

// valid fails the test when a configuration would be refused as a file.
func valid(t *testing.T, cfg wire.Config) {
	t.Helper()
	text, err := json.Marshal(cfg) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	if _, err := config.Parse("default.yaml", text); err != nil {
		t.Errorf("refused as a file:\n%v", err)
	}
}

func TestKeysInTheEnvironmentBecomeTheChainInOrder(t *testing.T) {
	cfg, notes := config.Default(t.Context(), lookup(map[string]string{
		"MOONSHOT_API_KEY": "k", "OPENAI_API_KEY": "sk-secret", "OPENAI_BASE_URL": "http://proxy/v1/", "GROQ_API_KEY": "",
	}), func(context.Context, string) (string, bool) { return "qwen3:8b", true })
	if got, want := cfg.Routes["chat"].Fallbacks, []string{"openai", "moonshot", "ollama", "rules"}; !slices.Equal(got, want) {
		t.Errorf("chain %v, want %v", got, want)
	}
	if w := cfg.Workers["openai"]; w.BaseURL != "http://proxy/v1" || w.APIKeyEnv != "OPENAI_API_KEY" || w.Model == "" {
		t.Errorf("openai: %+v", w)
	}
	if w := cfg.Workers["ollama"]; w.Model != "qwen3:8b" || w.APIKeyEnv != "" {
		t.Errorf("ollama: %+v", w)
	}
	if all := strings.Join(notes, "\n"); strings.Contains(all, "sk-secret") || !strings.Contains(all, "openai: key in OPENAI_API_KEY") {
		t.Errorf("notes: %s", all)
	}
	valid(t, cfg)
}

func TestEveryKnownProviderGivesAValidConfiguration(t *testing.T) {
	env := map[string]string{}
	for _, p := range []string{"OPENAI", "DEEPSEEK", "MISTRAL", "GROQ", "OPENROUTER", "DASHSCOPE", "MOONSHOT"} {
		env[p+"_API_KEY"] = "k"
	}
	cfg, _ := config.Default(t.Context(), lookup(env), noOllama)
	if n := len(cfg.Workers); n != 8 {
		t.Errorf("%d workers, want 8", n)
	}
	valid(t, cfg)
}

func TestWithoutAnyModelTheNotesSayHowToAddOne(t *testing.T) {
	cfg, notes := config.Default(t.Context(), lookup(nil), noOllama)
	if got := cfg.Routes["chat"].Fallbacks; !slices.Equal(got, []string{"rules"}) {
		t.Errorf("chain %v", got)
	}
	all := strings.Join(notes, "\n")
	for _, want := range []string{"OPENAI_API_KEY", "MOONSHOT_API_KEY", "understudy apply -f", "Ollama"} {
		if !strings.Contains(all, want) {
			t.Errorf("notes lack %q: %s", want, all)
		}
	}
	valid(t, cfg)
}

func TestOllamaWithoutAModelIsANoteAndNoWorker(t *testing.T) {
	cfg, notes := config.Default(t.Context(), lookup(nil), func(context.Context, string) (string, bool) { return "", true })
	if _, there := cfg.Workers["ollama"]; there || !strings.Contains(strings.Join(notes, "\n"), "ollama pull") {
		t.Errorf("workers %v, notes %v", cfg.Workers, notes)
	}
}

func TestTheProbeReadsTheFirstModelListed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/models":
			_, _ = w.Write([]byte(`{"object":"list","data":[{"id":"first"},{"id":"second"}]}`))
		case "/empty/models":
			_, _ = w.Write([]byte(`{"object":"list","data":[]}`))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	t.Cleanup(server.Close)
	for base, want := range map[string]struct {
		model   string
		answers bool
	}{"/v1": {"first", true}, "/empty": {"", true}, "/none": {"", false}} {
		if model, answers := config.ProbeHTTP(t.Context(), server.URL+base); model != want.model || answers != want.answers {
			t.Errorf("%s: %q, %v", base, model, answers)
		}
	}
}

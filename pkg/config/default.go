package config

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"understudy/pkg/wire"
)

// RouteChat is the route of a configuration that nobody wrote.
const RouteChat = "chat"

// ollamaURL is where a local Ollama listens unless told otherwise.
const ollamaURL = "http://127.0.0.1:11434/v1"

// provider is an OpenAI-compatible service that a key in the environment opens.
type provider struct {
	name, keyEnv, baseURL, model string
}

// providers are looked for in this order, which is also their order in the
// chain.
var providers = []provider{
	{"openai", "OPENAI_API_KEY", "https://api.openai.com/v1", "gpt-5-mini"},
	{"deepseek", "DEEPSEEK_API_KEY", "https://api.deepseek.com/v1", "deepseek-flash"},
	{"mistral", "MISTRAL_API_KEY", "https://api.mistral.ai/v1", "mistral-medium-latest"},
	{"groq", "GROQ_API_KEY", "https://api.groq.com/openai/v1", "openai/gpt-oss-120b"},
	{"openrouter", "OPENROUTER_API_KEY", "https://openrouter.ai/api/v1", "openrouter/auto"},
	{"dashscope", "DASHSCOPE_API_KEY", "https://dashscope.aliyuncs.com/compatible-mode/v1", "qwen-plus"},
	{"moonshot", "MOONSHOT_API_KEY", "https://api.moonshot.ai/v1", "kimi-k2.6"},
}

// Probe asks whether an OpenAI-compatible server answers at a base URL, and
// which model it lists first; "" when it lists none.
type Probe func(ctx context.Context, baseURL string) (model string, answers bool)

// Default builds a configuration from what is there: API keys in the
// environment, a local Ollama, and the bundled rules, which come last. Its one
// route is chat. The notes say in words what was found and, without any model,
// how to add one. No key enters the configuration or the notes.
func Default(ctx context.Context, lookup func(string) (string, bool), probe Probe) (cfg wire.Config, notes []string) {
	cfg = wire.Config{Workers: map[string]wire.Worker{}, Routes: map[string]wire.Route{}}
	route := wire.Route{Models: []string{RouteChat}}
	add := func(name string, w wire.Worker, note string) {
		cfg.Workers[name] = w
		route.Fallbacks = append(route.Fallbacks, name)
		if w.Model != "" && !slices.Contains(route.Models, w.Model) {
			route.Models = append(route.Models, w.Model)
		}
		notes = append(notes, note)
	}
	for _, p := range providers {
		if key, ok := lookup(p.keyEnv); !ok || key == "" {
			continue
		}
		if base, ok := lookup("OPENAI_BASE_URL"); ok && base != "" && p.name == "openai" {
			p.baseURL = strings.TrimSuffix(base, "/")
		}
		add(p.name, wire.Worker{Kind: wire.WorkerKindOpenai, BaseURL: p.baseURL, APIKeyEnv: p.keyEnv, Model: p.model},
			fmt.Sprintf("%s: key in %s, model %s at %s", p.name, p.keyEnv, p.model, p.baseURL))
	}
	switch model, answers := probe(ctx, ollamaURL); {
	case answers && model != "":
		add("ollama", wire.Worker{Kind: wire.WorkerKindOpenai, BaseURL: ollamaURL, Model: model},
			fmt.Sprintf("ollama: model %s at %s", model, ollamaURL))
	case answers:
		notes = append(notes, "ollama: it answers but has no model: run `ollama pull qwen3:8b`, then start again")
	}
	if len(route.Fallbacks) == 0 {
		notes = append(notes, howToAddAProvider())
	}
	add("rules", wire.Worker{Kind: wire.WorkerKindRules}, "rules: the bundled rules answer, degraded, when no model does")
	cfg.Routes[RouteChat] = route
	return cfg, notes
}

func howToAddAProvider() string {
	variables := make([]string, len(providers))
	for i, p := range providers {
		variables[i] = p.keyEnv
	}
	return "no model: answers come from the rules alone. To add a provider set " + strings.Join(variables[:len(variables)-1], ", ") + " or " +
		variables[len(variables)-1] + ", or start Ollama on this machine, or write workers and routes into a file and run `understudy apply -f FILE`"
}

// ProbeHTTP is the Probe that asks over HTTP. It takes a second at most.
func ProbeHTTP(ctx context.Context, baseURL string) (model string, answers bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, baseURL+"/models", nil)
	if err != nil {
		return "", false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", false
	}
	defer resp.Body.Close()
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if resp.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&list) != nil {
		return "", false
	}
	if len(list.Data) == 0 {
		return "", true
	}
	return list.Data[0].ID, true
}

var _ Probe = ProbeHTTP

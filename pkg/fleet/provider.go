package fleet

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"understudy/pkg/provider/openai"
	"understudy/pkg/rules"
	"understudy/pkg/wire"
	"understudy/pkg/worker"
)

// provider builds the adapter that a worker's kind asks for.
func (f *Fleet) provider(name string, settings wire.Worker) (p worker.Provider, local bool, err error) {
	switch settings.Kind {
	case wire.WorkerKindOpenai:
		key, err := f.key(settings)
		if err != nil {
			return nil, false, err
		}
		p, err := openai.New(openai.Config{
			Name: name, BaseURL: cmp.Or(settings.BaseURL, "https://api.openai.com/v1"), APIKey: key, Model: settings.Model,
			Streaming: openai.Streaming(settings.Streaming), Headers: settings.Headers, Codes: settings.Codes,
			ConnectTimeout: settings.Timeouts.Connect.Or(5 * time.Second),
		})
		return p, false, err
	case wire.WorkerKindRules:
		packs := rules.Bundled()
		if settings.Packs != "" {
			packs = os.DirFS(settings.Packs)
		}
		engine, err := rules.Load(packs)
		if err != nil {
			return nil, true, err
		}
		return rules.NewProvider(engine), true, nil
	}
	return nil, false, fmt.Errorf("kind %q: this build knows no such adapter", settings.Kind)
}

// key reads a worker's API key; none when the configuration names none.
func (f *Fleet) key(settings wire.Worker) (string, error) {
	switch {
	case settings.APIKeyEnv != "":
		key, ok := f.cfg.Lookup(settings.APIKeyEnv)
		if !ok || key == "" {
			return "", fmt.Errorf("api_key_env: the environment variable %s is not set in this process", settings.APIKeyEnv)
		}
		return key, nil
	case settings.APIKeyFile != "":
		data, err := os.ReadFile(settings.APIKeyFile)
		if err != nil {
			return "", fmt.Errorf("api_key_file: %w", err)
		}
		return strings.TrimSpace(string(data)), nil
	}
	return "", nil
}

// fingerprint tells whether a worker's settings changed.
func fingerprint(w wire.Worker) string {
	data, err := json.Marshal(w)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

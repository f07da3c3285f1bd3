package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"understudy/pkg/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const whole = `
workers:
  openai: {kind: openai, base_url: https://api.openai.com/v1, api_key_env: OPENAI_API_KEY, model: gpt-5-mini, concurrency: 64,
           timeouts: {first_token: 10s, idle: 15s, total: 10m}, slow_after: 2s}
  ollama: {kind: openai, base_url: http://127.0.0.1:11434/v1, model: qwen3:8b}
  rules:  {kind: rules, packs: ./rules}
routes:
  chat:
    models: [gpt-5-mini, chat]        # OpenAI model names that lead here
    split: {openai: 70, ollama: 30}
    fallbacks: [openai, ollama, rules]
    degrade: allow
    timeout: 60s
`

func TestAWholeFileIsRead(t *testing.T) {
	cfg, err := config.Parse("understudy.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	chat, openai := cfg.Routes["chat"], cfg.Workers["openai"]
	if chat.Split["ollama"] != 30 || len(chat.Fallbacks) != 3 || chat.Timeout.Or(0) != time.Minute {
		t.Errorf("route: %+v", chat)
	}
	if openai.Concurrency != 64 || openai.Timeouts.Total.Or(0) != 10*time.Minute {
		t.Errorf("worker: %+v", openai)
	}
}

func TestAnchorsAndMergesAreFollowed(t *testing.T) {
	cfg, err := config.Parse("x.yaml", []byte(`
workers:
  a: &base {kind: openai, model: m, timeouts: {idle: 3s}}
  b: {<<: *base, model: n}
routes: {chat: {fallbacks: &all [a, b]}, code: {fallbacks: *all}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if b := cfg.Workers["b"]; b.Model != "n" || b.Timeouts.Idle.Or(0) != 3*time.Second {
		t.Errorf("merged worker: %+v", b)
	}
	if len(cfg.Routes["code"].Fallbacks) != 2 {
		t.Errorf("aliased chain: %v", cfg.Routes["code"].Fallbacks)
	}
}

// ok completes a file whose interesting part is elsewhere.
const ok = "workers: {a: {kind: openai}, rules: {kind: rules}}\n"

func TestEachMistakeIsNamedWithItsPlaceAndACure(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"syntax":              {"workers: [1\nroutes: {}\n", `f.yaml:2:1: not YAML: ',' or ']' must be specified`},
		"empty file":          {"", "f.yaml:1:1: a configuration has the two keys workers and routes"},
		"missing part":        {"workers: {}\n", "f.yaml:1:1: the key routes is missing: Routes by name."},
		"second document":     {ok + "routes: {}\n---\na: 1\n", "a second document begins here: keep everything in one"},
		"misspelt key":        {ok + "routes:\n  chat:\n    fallbaks: [a]\n    fallbacks: [a]\n", "f.yaml:4:5: routes.chat.fallbaks: unknown key: did you mean fallbacks?"},
		"unknown key":         {ok + "routes: {}\nzzzzzzzzzz: 1\n", "f.yaml:3:1: zzzzzzzzzz: unknown key: use one of routes, workers"},
		"key of a sub-object": {"workers:\n  a:\n    kind: openai\n    timeouts: {idel: 3s}\nroutes: {}\n", "f.yaml:4:16: workers.a.timeouts.idel: unknown key: did you mean idle?"},
		"unknown kind":        {"workers: {a: {kind: opnai}}\nroutes: {}\n", `f.yaml:1:21: workers.a.kind: "opnai" is not possible here: did you mean openai?`},
		"missing kind":        {"workers:\n  a: {model: m}\nroutes: {}\n", "f.yaml:2:3: workers.a: the key kind is missing: Which adapter it runs."},
		"wrong type":          {"workers: {a: {kind: openai, concurrency: many}}\nroutes: {}\n", "f.yaml:1:42: workers.a.concurrency: got string, want integer. The most requests in hand"},
		"duration":            {ok + "routes: {r: {fallbacks: [a], timeout: 10x}}\n", `f.yaml:2:39: routes.r.timeout: "10x" is no duration: write a number and a unit, such as 500ms, 30s or 1m30s`},
		"duration, no unit":   {ok + "routes: {r: {fallbacks: [a], timeout: 10}}\n", "f.yaml:2:39: routes.r.timeout: a duration has a unit"},
		"name":                {"workers: {Open AI: {kind: openai}}\nroutes: {}\n", "f.yaml:1:11: workers.Open AI: a name has lower-case letters"},
		"unknown worker":      {ok + "routes: {r: {fallbacks: [rule]}}\n", `f.yaml:2:26: routes.r.fallbacks.0: there is no worker "rule": did you mean rules? Or add it under workers.`},
		"unknown in split":    {ok + "routes: {r: {fallbacks: [a], split: {bbbbbbbb: 100}}}\n", `f.yaml:2:38: routes.r.split.bbbbbbbb: there is no worker "bbbbbbbb": use one of a, rules`},
		"unknown in spill":    {ok + "routes: {r: {fallbacks: [a], spill: [bbbbbbbb]}}\n", `f.yaml:2:38: routes.r.spill.0: there is no worker "bbbbbbbb"`},
		"shares":              {ok + "routes: {r: {fallbacks: [a], split: {a: 50, rules: 40}}}\n", "f.yaml:2:30: routes.r.split: the shares add up to 90, not to 100"},
		"share not in tens":   {ok + "routes: {r: {fallbacks: [a], split: {a: 15, rules: 85}}}\n", "f.yaml:2:41: routes.r.split.a: multipleOf: got 15, want 10. A share in per cent, in tens."},
		"model of two routes": {ok + "routes:\n  r: {fallbacks: [a], models: [m]}\n  s: {fallbacks: [a], models: [m]}\n", `f.yaml:4:32: routes.s.models.0: the model "m" leads to the route r already`},
		"key of other kind":   {"workers:\n  r: {kind: rules, base_url: http://x}\nroutes: {}\n", "f.yaml:2:20: workers.r.base_url: a worker of kind rules has no base_url: remove it, or make its kind openai"},
		"two keys":            {"workers:\n  r: {kind: openai, api_key_env: A, api_key_file: b}\nroutes: {}\n", "f.yaml:2:37: workers.r.api_key_file: the key comes from api_key_env or from api_key_file: keep one"},
		"repeated key":        {"workers:\n  a: {kind: openai}\n  a: {kind: rules}\nroutes: {}\n", "f.yaml:3:3: workers.a: this key is here for the second time, first in line 2: keep one"},
		"timeouts":            {ok + "routes: {r: {fallbacks: [a], timeout: 2h, timeout_max: 1h}}\n", "f.yaml:2:39: routes.r.timeout: timeout (2h0m0s) is longer than timeout_max (1h0m0s)"},
		"short timeout_max":   {ok + "routes: {r: {fallbacks: [a], timeout_max: 1s}}\n", "f.yaml:2:43: routes.r.timeout_max: timeout (1m0s) is longer than timeout_max (1s)"},
		"alias to nothing":    {"workers: {}\nroutes: *all\n", "f.yaml:2:9: routes: no anchor &all stands before this alias"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("f.yaml", []byte(c.text))
			all, ok := errors.AsType[config.Errors](err)
			if !ok {
				t.Fatalf("error is %T: %v", err, err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			for _, e := range all {
				if e.File != "f.yaml" || e.Line < 1 || e.Column < 1 {
					t.Errorf("no place: %+v", e)
				}
			}
		})
	}
}

func TestAllMistakesComeBackInTheOrderOfTheirLines(t *testing.T) {
	_, err := config.Parse("f.yaml", []byte(`workers:
  a: {kind: opnai}
  rules: {kind: rules, model: x}
routes:
  chat:
    fallbacks: [a, b]
    timeout: soon
    timeuot: 3s
  code: {fallbacks: [rules], split: {rules: 90}}
`))
	all, _ := errors.AsType[config.Errors](err)
	var lines []int
	for _, e := range all {
		lines = append(lines, e.Line)
	}
	want := []int{2, 3, 6, 7, 8, 9}
	if len(lines) != len(want) {
		t.Fatalf("lines %v, want %v:\n%v", lines, want, err)
	}
	for i := range want {
		if lines[i] != want[i] {
			t.Fatalf("lines %v, want %v:\n%v", lines, want, err)
		}
	}
}

func TestAKeyWrittenWhereItsVariableBelongsIsNotRepeated(t *testing.T) {
	const secret = "sk-very-secret"
	_, err := config.Parse("f.yaml", []byte("workers: {a: {kind: openai, api_key_env: "+secret+", api_key: "+secret+"}}\nroutes: {}\n"))
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("error: %v", err)
	}
}

func TestExpandingAliasesEnds(t *testing.T) {
	text := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 10; i++ {
		prev, this := string(rune('0'+i-1)), string(rune('0'+i))
		text += "a" + this + ": &a" + this + " [" + strings.TrimSuffix(strings.Repeat("*a"+prev+", ", 10), ", ") + "]\n"
	}
	if _, err := config.Parse("f.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "expand to too much") {
		t.Errorf("error: %.300v", err)
	}
}

func TestAMissingFileIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.yaml")
	if _, err := config.Load(path); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("error: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("workers: &a {<<: *a}\nroutes: !!map {? x : y}\n"))
	f.Add([]byte("- 1\n- {a: b}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := config.Parse("f.yaml", data)
		if err == nil && (cfg.Workers == nil || cfg.Routes == nil) {
			t.Errorf("accepted without workers or routes: %q", data)
		}
		if all, ok := errors.AsType[config.Errors](err); ok && len(all) == 0 {
			t.Errorf("refused without a reason: %q", data)
		}
	})
}

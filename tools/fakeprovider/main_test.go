package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// parse reads settings as main does.
func parse(t *testing.T, args ...string) settings {
	t.Helper()
	var s settings
	parser, err := kong.New(&s, kong.DefaultEnvars(prefix))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSettingsComeFromFlagsBeforeTheEnvironment(t *testing.T) {
	t.Setenv("FAKEPROVIDER_NAME", "environment")
	t.Setenv("FAKEPROVIDER_MODELS", "a,b")
	t.Setenv("FAKEPROVIDER_FIRST_TOKEN", "250ms")
	t.Setenv("FAKEPROVIDER_TOKENS_PER_SECOND", "40")
	s := parse(t, "--name", "flag", "--seed", "7")
	if s.Name != "flag" || len(s.Models) != 2 || s.FirstToken != 250*time.Millisecond || s.TokensPerSecond != 40 || s.Seed != 7 {
		t.Errorf("got %+v", s)
	}
	if s.Addr != "127.0.0.1:9101" {
		t.Errorf("want the default address, got %s", s.Addr)
	}
}

func TestRunServesWhereItSaysUntilItIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, parse(t, "--addr", "127.0.0.1:0", "--faults", `[{"kind":"status","status":503}]`, "--api-key", "sk-secret"), write)
		_ = write.Close()
	}()
	logs := bufio.NewScanner(read)
	if !logs.Scan() {
		t.Fatal("want a line in the log")
	}
	var line struct{ URL string }
	if err := json.Unmarshal(logs.Bytes(), &line); err != nil || strings.Contains(logs.Text(), "sk-secret") {
		t.Fatalf("want a line with the URL and without the key, got %s (%v)", logs.Text(), err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, line.URL+"/v1/chat/completions",
		strings.NewReader(`{"model":"m","messages":[{"role":"user","content":"?"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer sk-secret")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("want the fault it began with, got %s", response.Status)
	}
	stop()
	if !logs.Scan() || !strings.Contains(logs.Text(), `"calls":1`) {
		t.Errorf("want a last line that counts the call, got %q", logs.Text())
	}
	if err := <-ended; err != nil {
		t.Errorf("want a clean end, got %v", err)
	}
}

func TestRunRefusesFaultsThatMakeNoSense(t *testing.T) {
	s := parse(t, "--addr", "127.0.0.1:0", "--faults", `[{"kind":"explode"}]`)
	if err := run(t.Context(), s, io.Discard); err == nil || !strings.Contains(err.Error(), "--faults: fault 1: kind") {
		t.Errorf("want an error that names the flag, got %v", err)
	}
}

package config_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"understudy/pkg/config"
	"understudy/pkg/wire"
)

// watched is a file under Watch, and what Watch said about it.
type watched struct {
	path    string
	changes chan wire.Config
	errors  chan error
}

func startWatch(t *testing.T, text string) *watched {
	t.Helper()
	w := &watched{path: filepath.Join(t.TempDir(), "understudy.yaml"), changes: make(chan wire.Config, 10), errors: make(chan error, 10)}
	w.write(t, text)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- config.Watch(ctx, w.path, func(c wire.Config) { w.changes <- c }, func(err error) { w.errors <- err })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	return w
}

// write replaces the file, so that no half of it is ever there.
func (w *watched) write(t *testing.T, text string) {
	t.Helper()
	next := w.path + ".tmp"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, w.path); err != nil {
		t.Fatal(err)
	}
}

func (w *watched) change(t *testing.T) wire.Config {
	t.Helper()
	select {
	case cfg := <-w.changes:
		return cfg
	case err := <-w.errors:
		t.Fatalf("error instead of a change: %v", err)
	case <-time.After(10 * time.Second):
		t.Fatal("no change came")
	}
	return wire.Config{}
}

func (w *watched) error(t *testing.T) error {
	t.Helper()
	select {
	case err := <-w.errors:
		return err
	case cfg := <-w.changes:
		t.Fatalf("change instead of an error: %+v", cfg)
	case <-time.After(10 * time.Second):
		t.Fatal("no error came")
	}
	return nil
}

func withModel(model string) string {
	return "workers: {a: {kind: openai, model: " + model + "}}\nroutes: {chat: {fallbacks: [a]}}\n"
}

func TestWatchTellsTheFileAsItIsAndThenEachChange(t *testing.T) {
	w := startWatch(t, withModel("first"))
	if got := w.change(t).Workers["a"].Model; got != "first" {
		t.Errorf("model %s", got)
	}
	w.write(t, withModel("second"))
	if got := w.change(t).Workers["a"].Model; got != "second" {
		t.Errorf("model %s", got)
	}
}

func TestAFileWrittenInPlaceIsNoticed(t *testing.T) {
	w := startWatch(t, withModel("first"))
	w.change(t)
	if err := os.WriteFile(w.path, []byte(withModel("second")), 0o600); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case cfg := <-w.changes:
			if got := cfg.Workers["a"].Model; got != "second" {
				t.Errorf("model %s", got)
			}
			return
		case <-w.errors: // the file may have been seen empty
		case <-time.After(10 * time.Second):
			t.Fatal("no change came")
		}
	}
}

func TestABadFileIsAnErrorAndTheLastGoodOneStays(t *testing.T) {
	w := startWatch(t, withModel("first"))
	w.change(t)
	w.write(t, "workers: [\n")
	if err := w.error(t); !strings.Contains(err.Error(), w.path+":") {
		t.Errorf("error: %v", err)
	}
	w.write(t, withModel("second"))
	if got := w.change(t).Workers["a"].Model; got != "second" {
		t.Errorf("model %s", got)
	}
}

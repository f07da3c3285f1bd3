package config

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"understudy/pkg/wire"
)

// settleAfter is how long a file must be quiet before it is read: editors
// write in several steps.
const settleAfter = 100 * time.Millisecond

// Watch calls onChange with the file as it is now, and again after each change
// of its text, until ctx ends. A file that does not load goes to onError, once
// for each such text, and onChange is not called: the last good configuration
// stays. Both are called from Watch's own goroutine. Watch returns nil when
// ctx ends, and an error when the folder cannot be watched.
func Watch(ctx context.Context, path string, onChange func(wire.Config), onError func(error)) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch configuration: %w", err)
	}
	defer watcher.Close()
	// The folder, since editors and Kubernetes replace the file.
	if err := watcher.Add(filepath.Dir(path)); err != nil {
		return fmt.Errorf("watch configuration: %w", err)
	}
	w := &watch{path: path, onChange: onChange, onError: onError}
	w.look()
	settled := time.NewTimer(0)
	settled.Stop()
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
			settled.Reset(settleAfter)
		case err := <-watcher.Errors:
			onError(fmt.Errorf("watch configuration: %w", err))
			settled.Reset(settleAfter) // something may have been missed
		case <-settled.C:
			w.look()
		}
	}
}

type watch struct {
	path     string
	onChange func(wire.Config)
	onError  func(error)

	seen    bool
	last    []byte
	problem string
}

// look reads the file and tells what is new about it.
func (w *watch) look() {
	data, err := os.ReadFile(w.path)
	if err != nil {
		w.tell(fmt.Errorf("read configuration: %w", err))
		return
	}
	if w.seen && w.problem == "" && bytes.Equal(data, w.last) {
		return
	}
	cfg, err := Parse(w.path, data)
	if err != nil {
		w.tell(err)
		return
	}
	again := w.seen && bytes.Equal(data, w.last)
	w.seen, w.last, w.problem = true, data, ""
	if !again {
		w.onChange(cfg)
	}
}

// tell reports a problem unless it is the one reported last.
func (w *watch) tell(err error) {
	if w.problem != err.Error() {
		w.problem = err.Error()
		w.onError(err)
	}
}

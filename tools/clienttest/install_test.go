package main

import (
	"encoding/json"
	"errors"
	"os"
	"testing"
)

func TestPackagesAreInstalledAgainWhenAskedForOthers(t *testing.T) {
	folder, manifest := t.TempDir(), write(t, "requirements.txt", "openai==1")
	installs := 0
	fill := func(tool string) {
		t.Helper()
		if err := once(folder, tool, []string{manifest}, func() error { installs++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	fill("3.11")
	fill("3.11")
	if installs != 1 {
		t.Errorf("the same was asked for twice and installed %d times", installs)
	}
	fill("3.12")
	if installs != 2 {
		t.Errorf("another interpreter was met by %d installs, want 2", installs)
	}
	if err := os.WriteFile(manifest, []byte("openai==2"), 0o600); err != nil {
		t.Fatal(err)
	}
	fill("3.12")
	if installs != 3 {
		t.Errorf("another version was met by %d installs, want 3", installs)
	}
}

func TestFailedInstallIsTriedAgain(t *testing.T) {
	folder, manifest := t.TempDir(), write(t, "requirements.txt", "openai==1")
	broken := errors.New("no network")
	if err := once(folder, "3.11", []string{manifest}, func() error { return broken }); !errors.Is(err, broken) {
		t.Fatalf("want the failure, got %v", err)
	}
	tried := false
	if err := once(folder, "3.11", []string{manifest}, func() error { tried = true; return nil }); err != nil || !tried {
		t.Errorf("want another try, got %v (%v)", tried, err)
	}
}

// A lockfile that names a registry installs from there, wherever it is used.
func TestLockfileNamesNoRegistry(t *testing.T) {
	data, err := os.ReadFile("node/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	var lock struct {
		Packages map[string]struct{ Resolved, Integrity string }
	}
	if err := json.Unmarshal(data, &lock); err != nil {
		t.Fatal(err)
	}
	for name, p := range lock.Packages {
		if p.Resolved != "" {
			t.Errorf("%s is resolved to %s: run npm install where .npmrc is", name, p.Resolved)
		}
		if name != "" && p.Integrity == "" {
			t.Errorf("%s has no checksum", name)
		}
	}
	if len(lock.Packages) < 2 {
		t.Error("the lockfile locks nothing")
	}
}

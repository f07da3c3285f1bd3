package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// mark is left in a folder of installed packages once it is whole, with the
// digest of what asked for them.
const mark = ".clienttest"

// preparePython installs the requirements into a virtual environment in the
// cache.
func preparePython(ctx context.Context, at place) (*exec.Cmd, error) {
	const need = "install Python 3.11 or newer with its venv module (Debian and Ubuntu: apt install python3 python3-venv)"
	interpreter, err := exec.LookPath("python3")
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, need)
	}
	version, err := exec.CommandContext(ctx, interpreter, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("ask python3 for its version: %w: %s", err, need)
	}
	requirements := filepath.Join(at.source, "requirements.txt")
	venv := filepath.Join(at.cache, "venv")
	python := filepath.Join(venv, "bin", "python")
	err = once(venv, string(version), []string{requirements}, func() error {
		if err := command(ctx, "", at.out, interpreter, "-m", "venv", "--clear", venv).Run(); err != nil {
			return fmt.Errorf("create a virtual environment: %w: %s", err, need)
		}
		pip := command(ctx, "", at.out, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements)
		if err := pip.Run(); err != nil {
			return fmt.Errorf("install %s: %w", requirements, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return command(ctx, at.source, at.out, python, "-B", "-m", "pytest", "--junitxml="+at.report,
		"-o", "cache_dir="+filepath.Join(at.cache, "pytest")), nil
}

// prepareNode installs the locked packages beside the tests, where Node looks
// for them.
func prepareNode(ctx context.Context, at place) (*exec.Cmd, error) {
	const need = "install Node.js 20 or newer with npm (https://nodejs.org)"
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%w: %s", err, need)
		}
	}
	version, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("ask node for its version: %w: %s", err, need)
	}
	manifests := []string{filepath.Join(at.source, "package.json"), filepath.Join(at.source, "package-lock.json")}
	err = once(filepath.Join(at.source, "node_modules"), string(version), manifests, func() error {
		if err := command(ctx, at.source, at.out, "npm", "ci", "--omit=optional", "--no-audit", "--no-fund").Run(); err != nil {
			return fmt.Errorf("npm ci in %s: %w", at.source, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return command(ctx, at.source, at.out, "node", "--test", "--test-concurrency=1",
		"--test-reporter=spec", "--test-reporter-destination=stdout",
		"--test-reporter=junit", "--test-reporter-destination="+at.report), nil
}

// once fills folder by install unless it was filled before for the same tool
// and the same content of files.
func once(folder, tool string, files []string, install func() error) error {
	want, err := digest(tool, files)
	if err != nil {
		return err
	}
	marked := filepath.Join(folder, mark)
	had, err := os.ReadFile(marked)
	if err == nil && string(had) == want {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := install(); err != nil {
		return err
	}
	if err := os.WriteFile(marked, []byte(want), 0o644); err != nil {
		return fmt.Errorf("note the installation: %w", err)
	}
	return nil
}

func digest(tool string, files []string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, strings.TrimSpace(tool))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%d\n%s", len(data), data)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"understudy/tools/fakeprovider/fake"
)

// suite is the tests of one language.
type suite struct {
	name string
	// prepare installs what the tests need and returns the command that runs
	// them. The command must leave a JUnit report where the place says.
	prepare func(context.Context, place) (*exec.Cmd, error)
}

// suites are all suites there are, in the order in which they run.
var suites = []suite{
	{name: "python", prepare: preparePython},
	{name: "node", prepare: prepareNode},
}

// place is where a suite works.
type place struct {
	source string // the folder of the suite's tests
	cache  string // kept from run to run, and in no repository
	report string // the file that the JUnit report goes to
	out    io.Writer
}

// grace is how long a command that was told to stop may take.
const grace = 10 * time.Second

// against runs the suite against a product of its own. The error says why the
// suite did not run or not end as it should; failed tests alone are none.
func (s suite) against(ctx context.Context, command []string, root, scratch string, out io.Writer) (t tally, err error) {
	own := filepath.Join(scratch, s.name)
	at := place{
		source: filepath.Join(root, "tools", "clienttest", s.name),
		cache:  filepath.Join(root, ".cache", "clients", s.name),
		report: filepath.Join(own, "report.xml"),
		out:    out,
	}
	if err := errors.Join(os.MkdirAll(own, 0o700), os.MkdirAll(at.cache, 0o755)); err != nil {
		return t, fmt.Errorf("create folders: %w", err)
	}
	tests, err := s.prepare(ctx, at)
	if err != nil {
		return t, err
	}
	provider, err := fake.Start(":0", fake.Options{Name: "primary", APIKey: providerKey})
	if err != nil {
		return t, err
	}
	defer provider.Close()
	p, err := launch(ctx, command, own, provider.URL())
	if err != nil {
		return t, err
	}
	defer func() {
		err = errors.Join(err, p.stop())
		if err != nil || t.failed > 0 {
			p.tail(out)
		}
	}()
	tests.Env = append(environment(),
		"UNDERSTUDY_URL="+p.url, "NATS_URL="+p.nats, "PROVIDER_URL="+provider.URL(), "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1")
	ended := tests.Run()
	if t, err = readReport(at.report); err != nil {
		return t, errors.Join(ended, err)
	}
	if ended != nil && t.failed == 0 {
		return t, fmt.Errorf("run the tests: %w", ended)
	}
	return t, nil
}

// command returns a command in dir whose output goes to out. It is asked to
// end when ctx does, and made to after a while.
func command(ctx context.Context, dir string, out io.Writer, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = grace
	return cmd
}

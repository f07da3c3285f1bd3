package proctest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait.
const patience = 45 * time.Second

// settings are environment variables.
type settings map[string]string

// info is where a process said that it can be reached.
type info struct {
	HTTP    string `json:"http"`
	NATS    string `json:"nats"`
	Message string `json:"message"`
}

// process is a service that runs as a program of its own. Its log is shown if
// the test fails; it is killed when the test ends.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	up   chan info
	gone chan struct{} // closed when it has ended and its log is whole

	mu   sync.Mutex
	text bytes.Buffer
}

// run starts a service and returns at once.
func run(t *testing.T, service string, env settings) *process {
	t.Helper()
	p := &process{t: t, name: service, up: make(chan info, 1), gone: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(binaries, service))
	p.cmd.Dir = t.TempDir()
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.cmd.Dir, "UNDERSTUDY_LOG_FORMAT=json"}
	for name, value := range env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	log, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", service, err)
	}
	go func() {
		defer close(p.gone)
		lines := bufio.NewScanner(log)
		lines.Buffer(nil, 4<<20) // a stack is one line
		for lines.Scan() {
			p.note(lines.Bytes())
		}
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", p.name, p.log())
		}
	})
	return p
}

// start starts a service and waits until it is up.
func start(t *testing.T, service string, env settings) (*process, info) {
	t.Helper()
	p := run(t, service, env)
	select {
	case i := <-p.up:
		return p, i
	case <-p.gone:
		t.Fatalf("%s ended instead of coming up", service)
	case <-time.After(patience):
		t.Fatalf("%s did not come up within %v", service, patience)
	}
	return nil, info{}
}

func (p *process) note(line []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text.Write(append(line, '\n'))
	var i info
	if json.Unmarshal(line, &i) == nil && i.Message == "understudy is up" {
		p.up <- i
	}
}

// log is what the process has said so far.
func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.TrimSpace(p.text.String())
}

// kill ends the process without a warning: SIGKILL.
func (p *process) kill() {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("kill %s: %v", p.name, err)
	}
	<-p.gone
}

// terminate tells the process to stop and returns its exit code.
func (p *process) terminate() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Errorf("terminate %s: %v", p.name, err)
	}
	return p.exit()
}

// exit waits for the end of the process and returns its exit code.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.gone:
	case <-time.After(patience):
		p.t.Fatalf("%s did not end within %v", p.name, patience)
	}
	return p.cmd.ProcessState.ExitCode()
}

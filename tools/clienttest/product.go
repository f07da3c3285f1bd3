package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// providerKey opens the provider. Only the product has it.
const providerKey = "key-of-the-fake-provider"

const (
	// readyWithin is how long a product may take to come up.
	readyWithin = time.Minute
	// drain is how long the product lets requests in hand finish.
	drain = 5 * time.Second
	// tailed is how much of its log is shown after a failure, in bytes.
	tailed = 8 << 10
)

// configuration is the product's file: the usual one, but for times. An outage
// is over soon after the provider is back, and there is a route whose requests
// end soon when nobody can answer them.
const configuration = `workers:
  primary:
    kind: openai
    base_url: %s/v1
    api_key_env: CLIENTTEST_PROVIDER_KEY
    model: gpt-5-mini
    breaker: {open: 500ms, open_max: 1s}
    continuation: prefill # the fake provider echoes the last user message, and goes on with a prefill
  rules:
    kind: rules
routes:
  chat:
    models: [gpt-5-mini, chat]
    fallbacks: [primary, rules]
    slow_start: 100ms
  brief:
    fallbacks: [primary, rules]
    slow_start: 100ms
    max_attempts: 3
    timeout: 10s
`

// product is the product at work, in a process of its own.
type product struct {
	url, nats string
	log       string // the file that its output goes to
	cmd       *exec.Cmd
	cancel    context.CancelFunc
	ended     chan struct{}
}

// build builds the standalone service and returns the command that starts it.
func build(ctx context.Context, root, scratch string) ([]string, error) {
	binary := filepath.Join(scratch, "standalone")
	if err := command(ctx, root, os.Stderr, "go", "build", "-o", binary, "./services/standalone").Run(); err != nil {
		return nil, fmt.Errorf("build the product: %w", err)
	}
	return []string{binary}, nil
}

// launch starts the product with its data in dir and returns once it takes
// requests. The caller must stop it.
func launch(ctx context.Context, args []string, dir, provider string) (*product, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "understudy.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, configuration, provider), 0o600); err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	log, err := os.Create(filepath.Join(dir, "product.log"))
	if err != nil {
		return nil, fmt.Errorf("create the product's log: %w", err)
	}
	defer log.Close() // the process has a handle of its own
	running, cancel := context.WithCancel(ctx)
	p := &product{
		url: "http://" + ports[0], nats: "nats://" + ports[1],
		log: log.Name(), cancel: cancel, ended: make(chan struct{}),
	}
	p.cmd = command(running, "", log, args[0], args[1:]...)
	p.cmd.WaitDelay = drain + grace
	p.cmd.Env = append(environment(),
		"UNDERSTUDY_CONFIG="+config, "UNDERSTUDY_DATA_DIR="+filepath.Join(dir, "data"),
		"UNDERSTUDY_HTTP_ADDR="+ports[0], "UNDERSTUDY_NATS_LISTEN="+ports[1],
		"UNDERSTUDY_HTTP_DRAIN="+drain.String(), "CLIENTTEST_PROVIDER_KEY="+providerKey)
	if err := p.cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("start the product: %w", err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // stop reads the state
	}()
	if err := p.ready(ctx); err != nil {
		return nil, errors.Join(err, p.stop(), fmt.Errorf("its log ends with:\n%s", p.lastLines()))
	}
	return p, nil
}

// ready waits until the product takes requests.
func (p *product) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/readyz", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.ended:
			return errors.New("the product ended before it was ready")
		case <-ctx.Done():
			return fmt.Errorf("wait for the product: %w", ctx.Err())
		case <-again.C:
		}
	}
}

// stop ends the product and returns once it is gone. That it does not end
// cleanly is an error.
func (p *product) stop() error {
	p.cancel()
	<-p.ended
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("stop the product: it ended with %s", p.cmd.ProcessState)
	}
	return nil
}

// tail shows how the product's log ends.
func (p *product) tail(out io.Writer) {
	fmt.Fprintf(out, "\nThe product's log ends with:\n%s\n", p.lastLines())
}

func (p *product) lastLines() []byte {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return []byte(err.Error())
	}
	if len(data) <= tailed {
		return data
	}
	data = data[len(data)-tailed:]
	return data[bytes.IndexByte(data, '\n')+1:]
}

// freePorts returns addresses on loopback that nobody listens on.
func freePorts(n int) ([]string, error) {
	var addresses []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // only once all are found, so that none is found twice
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// environment is that of this process without what would steer the product or
// the clients.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "UNDERSTUDY_") || strings.HasPrefix(variable, "OPENAI_")
	})
}

// findRoot returns the folder of the module that the working directory is in.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod here or above: run clienttest inside the repository")
		}
		dir = parent
	}
}

// Command demo shows an outage on one screen: the whole product runs against
// two simulated providers (tools/fakeprovider); one goes down and comes back
// while callers keep asking. It says who serves, what waits, why lanes moved,
// and how many acknowledged requests were lost, which must be none.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/bus"
	"understudy/pkg/standalone"
	"understudy/tools/fakeprovider/fake"
)

func main() {
	rate := flag.Int("rate", 20, "requests per second")
	calm := flag.Duration("calm", 6*time.Second, "how long all is well at first")
	outage := flag.Duration("outage", 14*time.Second, "how long the primary is down")
	after := flag.Duration("after", 24*time.Second, "how long to watch it come back")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *rate, *calm, *outage, *after); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

const configuration = `workers:
  primary: {kind: openai, base_url: %s/v1, model: primary-model, breaker: {open: 3s}}
  backup:  {kind: openai, base_url: %s/v1, model: backup-model}
  rules:   {kind: rules}
routes:
  chat: {fallbacks: [primary, backup, rules], slow_start: 3s}
`

func run(ctx context.Context, rate int, calm, outage, after time.Duration) error {
	primary, err := fake.Start("127.0.0.1:0", fake.Options{Name: "primary", Latency: 120 * time.Millisecond, Tokens: 12})
	if err != nil {
		return err
	}
	defer primary.Close()
	backup, err := fake.Start("127.0.0.1:0", fake.Options{Name: "backup", Latency: 200 * time.Millisecond, Tokens: 12})
	if err != nil {
		return err
	}
	defer backup.Close()
	product, stopProduct, err := startProduct(ctx, fmt.Sprintf(configuration, primary.URL(), backup.URL()))
	if err != nil {
		return err
	}
	defer stopProduct()
	watch, err := bus.Open(ctx, bus.Config{URL: product.NATS, Name: "demo"}, zerolog.Nop())
	if err != nil {
		return err
	}
	defer watch.Close()

	callers := newCallers("http://"+product.HTTP.String(), watch)
	asking, stopAsking := context.WithCancel(ctx)
	asked := make(chan struct{})
	go func() { defer close(asked); callers.ask(asking, rate) }()
	screen := newScreen(watch, callers, primary.Provider, backup.Provider)

	screen.show(ctx, "all is well", calm)
	if err := primary.Down(fake.DownReset); err != nil {
		stopAsking()
		return err
	}
	screen.show(ctx, "PRIMARY IS DOWN", outage)
	primary.Up()
	screen.show(ctx, "the primary is back", after)
	stopAsking()
	<-asked
	return screen.conclude(ctx)
}

// startProduct runs the whole product in this process on free ports and a data
// folder of its own.
func startProduct(ctx context.Context, configuration string) (standalone.Info, func(), error) {
	dir, err := os.MkdirTemp("", "understudy-demo-")
	if err != nil {
		return standalone.Info{}, nil, err
	}
	file := filepath.Join(dir, "understudy.yaml")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		return standalone.Info{}, nil, err
	}
	for name, value := range map[string]string{
		"UNDERSTUDY_CONFIG": file, "UNDERSTUDY_DATA_DIR": filepath.Join(dir, "data"),
		"UNDERSTUDY_HTTP_ADDR": "127.0.0.1:0", "UNDERSTUDY_NATS_LISTEN": "127.0.0.1:0", "UNDERSTUDY_NATS_URL": "",
	} {
		if err := os.Setenv(name, value); err != nil {
			return standalone.Info{}, nil, err
		}
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	up, ended := make(chan standalone.Info, 1), make(chan error, 1)
	go func() {
		ended <- standalone.Run(own, standalone.Options{Ready: func(i standalone.Info) { up <- i }}, zerolog.Nop())
	}()
	stop := func() {
		cancel()
		<-ended
		_ = os.RemoveAll(dir)
	}
	select {
	case info := <-up:
		return info, stop, nil
	case err := <-ended:
		cancel()
		_ = os.RemoveAll(dir)
		return standalone.Info{}, nil, fmt.Errorf("product: %w", err)
	}
}

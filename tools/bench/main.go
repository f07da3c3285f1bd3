// Command bench measures what the pipeline costs over the broker underneath
// it: bare JetStream, dispatch, and the gateway with dispatch behind it, in
// turns, in one process, under the same closed loop of clients. README.md says
// what each leg does and how to read the figures.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"understudy/pkg/wire"
)

// settings are the flags.
type settings struct {
	Clients    int               `default:"64" help:"Clients at once; each waits for its answer before it asks again."`
	Body       int               `default:"1024" help:"Size of a request's body in bytes."`
	Duration   time.Duration     `default:"2s" help:"How long each leg runs in each round."`
	WarmUp     time.Duration     `default:"1s" help:"How long each leg runs before the first round, unmeasured."`
	Rounds     int               `default:"5" help:"Rounds of all legs."`
	Durability []wire.Durability `default:"strict,fast,memory" enum:"strict,fast,memory" help:"Classes of durability to measure."`
	Legs       []string          `default:"raw,dispatch,gateway" enum:"raw,dispatch,gateway" help:"Legs to run."`
	Dir        string            `help:"Folder on a real disk under which the brokers keep their data while the run lasts; the system's folder for temporary files unless set."`
	Output     string            `short:"o" default:"table" enum:"table,json" help:"How to print: table or json."`
	CPUProfile string            `name:"cpuprofile" help:"Folder for a CPU profile of each leg in each round."`
	MemProfile string            `name:"memprofile" help:"Folder for an allocation profile after each leg in each round; it counts from the start of the process."`
}

func main() {
	var s settings
	kong.Parse(&s, kong.Name("bench"), kong.Description("Measures dispatch and the gateway against bare JetStream."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, s, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures and prints. progress gets a line for each leg as it ends, and
// what the parts under test log from warnings upwards.
func run(ctx context.Context, s settings, out, progress io.Writer) error {
	if err := s.check(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(s.Dir, "understudy-bench-")
	if err != nil {
		return fmt.Errorf("create data folder: %w", err)
	}
	defer os.RemoveAll(dir)
	report := Report{Settings: s.told()}
	if report.Machine, err = inspect(dir); err != nil {
		return err
	}
	for _, d := range s.Durability {
		class, err := measure(ctx, s, d, dir, progress)
		if err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
		report.Classes = append(report.Classes, class)
		report.PeakHeap = max(report.PeakHeap, class.peakHeap)
	}
	report.PeakRSS = peakRSS()
	if s.Output == "json" {
		return report.writeJSON(out)
	}
	return report.writeTable(out)
}

func (s settings) check() error {
	for name, n := range map[string]int{"clients": s.Clients, "rounds": s.Rounds, "duration": int(s.Duration)} {
		if n < 1 {
			return fmt.Errorf("--%s: want more than 0", name)
		}
	}
	if least := len(question(0)); s.Body < least {
		return fmt.Errorf("--body %d: want at least %d bytes, an empty question's size", s.Body, least)
	}
	return nil
}

func (s settings) told() Settings {
	return Settings{Clients: s.Clients, Body: s.Body, Duration: s.Duration.String(), Rounds: s.Rounds}
}

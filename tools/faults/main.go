// Command faults shows what callers get when a provider fails: each kind of
// fault in a table, an outage under load, and the time a failover takes. The
// whole product runs in this process between two simulated providers
// (tools/fakeprovider). What it finds goes to docs/faults.md, and anything that
// is not as expect.go says makes it fail.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"time"
)

// options of one run.
type options struct {
	only      string
	row       string
	parallel  int
	outageFor time.Duration
	rate      int
	trials    int
	out       string
}

// errBad ends a run in which something was not as it must be.
var errBad = errors.New("not everything is as it must be, see above")

func main() {
	var o options
	flag.StringVar(&o.only, "only", "", "one part: table, outage or failover; the other parts of the document stay")
	flag.StringVar(&o.row, "row", "", "only the rows of the table that match this expression; the document stays as it is")
	flag.IntVar(&o.parallel, "parallel", 10, "how many rows of the table run at once")
	flag.DurationVar(&o.outageFor, "outage-for", time.Minute, "how long the primary is down")
	flag.IntVar(&o.rate, "rate", 20, "requests per second during the outage")
	flag.IntVar(&o.trials, "failover-trials", 100, "how often the failover is measured")
	flag.StringVar(&o.out, "out", "docs/faults.md", "the document to write; empty writes none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	match, err := regexp.Compile(o.row)
	if err != nil {
		return fmt.Errorf("--row: %w", err)
	}
	if o.only != "" && !slices.Contains(parts, part(o.only)) {
		return fmt.Errorf("--only %q: want one of %v", o.only, parts)
	}
	if o.parallel < 1 || o.rate < 1 || o.trials < 1 || o.outageFor <= 0 {
		return errors.New("--parallel, --rate, --failover-trials and --outage-for must be above 0")
	}
	doc, err := readDocument(o.out)
	if err != nil {
		return err
	}
	command := strings.Join(append([]string{"go run ./tools/faults"}, os.Args[1:]...), " ")
	good := true
	for _, p := range parts {
		if o.only != "" && o.only != string(p) {
			continue
		}
		section, fine, err := measure(ctx, p, o, match)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		good = good && fine
		doc.set(p, section, command, time.Now())
	}
	if o.out != "" && o.row == "" {
		if err := doc.write(o.out); err != nil {
			return err
		}
	}
	if !good {
		return errBad
	}
	return nil
}

// measure runs one part. It returns its section of the document, and whether
// all in it is as it must be.
func measure(ctx context.Context, p part, o options, match *regexp.Regexp) (section string, fine bool, err error) {
	switch p {
	case partOutage:
		outages, err := runOutages(ctx, o.outageFor, o.rate)
		section = outageSection(outages, o.outageFor, o.rate)
		fmt.Println(section)
		return section, !slices.ContainsFunc(outages, outage.bad), err
	case partFailover:
		f, err := runFailover(ctx, o.trials)
		section = failoverSection(f)
		fmt.Println(section)
		return section, !f.bad(), err
	}
	cells, err := runTable(ctx, match, o.parallel, func(row []cell) { printRow(os.Stdout, row) })
	if err != nil {
		return "", false, err
	}
	bad := badCells(cells)
	fmt.Printf("\n%d cells, %d bad\n\n", len(cells), len(bad))
	printBad(os.Stdout, bad)
	return tableSection(cells), len(bad) == 0, nil
}

// Command clienttest runs real clients in other languages against the real
// product: each suite meets a product of its own, in front of a provider that
// fails when it is told to. The README beside it says what is tested.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// settings are the flags.
type settings struct {
	Product string        `help:"Command that starts the product, split at spaces; without it the standalone service is built and started."`
	Only    []string      `help:"Suites to run; all, when none is named."`
	Timeout time.Duration `default:"5m" help:"The longest that a suite may take, installation included."`
}

func main() {
	var s settings
	kong.Parse(&s, kong.Name("clienttest"),
		kong.Description("Clients in other languages against the real product."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, s, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "clienttest:", err)
		os.Exit(1)
	}
}

// run runs the chosen suites one after the other and sums up. It returns an
// error when anything failed. All that it starts has ended by then.
func run(ctx context.Context, s settings, out io.Writer) error {
	chosen, err := choose(s.Only)
	if err != nil {
		return err
	}
	root, err := findRoot()
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "clienttest")
	if err != nil {
		return fmt.Errorf("create a scratch folder: %w", err)
	}
	defer os.RemoveAll(scratch)
	product := strings.Fields(s.Product)
	if len(product) == 0 {
		if product, err = build(ctx, root, scratch); err != nil {
			return err
		}
	}
	var sum tally
	for _, one := range chosen {
		fmt.Fprintf(out, "\n== %s\n", one.name)
		limited, cancel := context.WithTimeout(ctx, s.Timeout)
		t, err := one.against(limited, product, root, scratch, out)
		cancel()
		if err != nil {
			fmt.Fprintf(out, "%s: %v\n", one.name, err)
			t.failed = max(t.failed, 1)
		}
		sum.passed += t.passed
		sum.failed += t.failed
	}
	fmt.Fprintf(out, "\n%d passed, %d failed\n", sum.passed, sum.failed)
	return cmp.Or(ctx.Err(), sum.err())
}

func choose(names []string) ([]suite, error) {
	for _, name := range names {
		if !slices.ContainsFunc(suites, func(s suite) bool { return s.name == name }) {
			return nil, fmt.Errorf("suite %q is unknown: want one of %s", name, suiteNames())
		}
	}
	if len(names) == 0 {
		return suites, nil
	}
	return slices.DeleteFunc(slices.Clone(suites), func(s suite) bool { return !slices.Contains(names, s.name) }), nil
}

func suiteNames() string {
	var names []string
	for _, s := range suites {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

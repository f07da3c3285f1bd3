package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"understudy/tools/fakeprovider/fake"
)

// mode says what the caller asks for, and what the worker asks its provider for.
type mode string

const (
	// whole: the caller wants one body; the worker asks for a stream, as it does
	// by default, since tokens are signs of life.
	whole mode = "whole"
	// streamed: the caller wants a stream.
	streamed mode = "streamed"
	// plain: the caller wants one body, and so does the worker.
	plain mode = "plain"
)

// setting says who may serve when the primary does not.
type setting string

const (
	backed setting = "backup"
	alone  setting = "alone" // nobody, and the caller would take anything
	never  setting = "never" // nobody, and the caller waits for a model
)

var (
	modes    = []mode{whole, streamed, plain}
	settings = []setting{backed, alone, never}
)

// The workers, as the table calls them.
const (
	primary = "primary"
	backup  = "backup"
)

const (
	// patience is how long callers wait, grace how much longer an end may take.
	patience = 3 * time.Second
	grace    = 4 * time.Second
	// maxAttempts is the routes' budget of calls; a parked request may use it
	// up three times.
	maxAttempts = 4
	mostCalls   = 3 * maxAttempts
	// signsWithin is how soon a first token, and each next one, must come;
	// plainTotal is the time for a call without such signs.
	signsWithin = 400 * time.Millisecond
	plainTotal  = 600 * time.Millisecond
)

// cell is one case and what came of it.
type cell struct {
	row     row
	mode    mode
	setting setting

	got                       received
	end                       end
	worker                    string // without what tells the cells apart
	primaryCalls, backupCalls int
	shortestPause             time.Duration // between two calls to the primary
	misses                    []string
}

// bad says whether the cell is not as it must be.
func (c cell) bad() bool { return c.end.bad() || len(c.misses) > 0 }

// impatient says whether the primary was called again sooner than it asked for.
func (c cell) impatient() bool {
	asked := c.row.fault.RetryAfter
	return asked != nil && c.shortestPause < time.Duration(*asked)
}

// route names the cell's route, which is also the model that leads to it.
func (c cell) route() string { return string(c.mode) + "-" + string(c.setting) }

// runRow runs the cells of one row at once, against a product of their own. In
// it each cell has a route and a primary worker of its own, so that no breaker
// has seen anything before.
func runRow(ctx context.Context, l *launcher, r row, settings []setting) ([]cell, error) {
	first, err := fake.Start("127.0.0.1:0", fake.Options{Name: primary, Text: answer, Recorded: 4096})
	if err != nil {
		return nil, err
	}
	defer first.Close()
	second, err := fake.Start("127.0.0.1:0", fake.Options{Name: backup, Text: answer, Recorded: 4096})
	if err != nil {
		return nil, err
	}
	defer second.Close()
	var cells []cell
	for _, m := range modes {
		for _, s := range settings {
			cells = append(cells, cell{row: r, mode: m, setting: s})
		}
	}
	up, err := l.start(ctx, configure(cells, first.URL(), second.URL()), zerolog.Nop())
	if err != nil {
		return nil, err
	}
	caller := newCaller(up.url)
	defer caller.client.CloseIdleConnections()
	if err := inParallel(cells, func(c *cell) error { return c.warmUp(ctx, caller) }); err != nil {
		_ = up.stop()
		return nil, err
	}
	if r.down != "" {
		err = first.Down(r.down)
	} else {
		err = first.SetFaults(r.fault)
	}
	if err == nil {
		first.ResetStats()
		err = inParallel(cells, func(c *cell) error { c.run(ctx, caller, first.Provider, second.Provider); return nil })
	}
	return cells, cmp.Or(err, up.stop())
}

// configure writes the configuration of a row: short timeouts, and a route and
// a primary worker for each cell.
func configure(cells []cell, firstURL, secondURL string) string {
	var workers, routes strings.Builder
	for _, c := range cells {
		timeouts, streaming := fmt.Sprintf("first_token: %v, idle: %v", signsWithin, signsWithin), "always"
		if c.mode == plain {
			timeouts, streaming = fmt.Sprintf("total: %v", plainTotal), "as_asked"
		}
		fmt.Fprintf(&workers, "  primary-%s: {kind: openai, base_url: %s/v1, model: m, retries: 1, streaming: %s, timeouts: {%s}}\n",
			c.route(), firstURL, streaming, timeouts)
		chain, degrade := "primary-"+c.route(), "allow"
		if c.setting == backed {
			chain += ", backup"
		}
		if c.setting == never {
			degrade = "never"
		}
		fmt.Fprintf(&routes, "  %s: {fallbacks: [%s], degrade: %s, timeout: %v, max_attempts: %d}\n", c.route(), chain, degrade, patience, maxAttempts)
	}
	fmt.Fprintf(&workers, "  backup: {kind: openai, base_url: %s/v1, model: m}\n", secondURL)
	return "workers:\n" + workers.String() + "routes:\n" + routes.String()
}

// warmUp asks before the fault is set: the primary must answer.
func (c *cell) warmUp(ctx context.Context, by caller) error {
	ctx, cancel := context.WithTimeout(ctx, patience+grace)
	defer cancel()
	got := by.ask(ctx, c.route(), "warm up", c.mode == streamed)
	if e := endOf(got); e != wholeAnswer || nameOf(got.worker) != primary {
		return fmt.Errorf("%s: without any fault: %s of %q, status %d %s, %w", c.route(), e, got.worker, got.status, got.code, got.broken)
	}
	return nil
}

// run asks once, and looks at what the caller and the providers saw.
func (c *cell) run(ctx context.Context, by caller, first, second *fake.Provider) {
	ctx, cancel := context.WithTimeout(ctx, patience+grace)
	defer cancel()
	mark := "case " + c.route()
	c.got = by.ask(ctx, c.route(), mark, c.mode == streamed)
	c.end, c.worker = endOf(c.got), nameOf(c.got.worker)
	calls := callsWith(first, mark)
	c.primaryCalls, c.backupCalls = len(calls), len(callsWith(second, mark))
	c.shortestPause = shortestPause(calls)
	c.misses = c.row.follow(c.mode, c.setting).misses(*c)
}

// callsWith returns when each call began whose body holds a mark, the latest
// first.
func callsWith(p *fake.Provider, mark string) []time.Time {
	var at []time.Time
	for _, call := range p.Calls(0) {
		if bytes.Contains(call.Body, []byte(`"`+mark+`"`)) {
			at = append(at, call.At)
		}
	}
	return at
}

// shortestPause returns the shortest time between two calls, the latest first;
// the longest there is when there are no two.
func shortestPause(calls []time.Time) time.Duration {
	shortest := time.Duration(math.MaxInt64)
	for i := 1; i < len(calls); i++ {
		shortest = min(shortest, calls[i-1].Sub(calls[i]))
	}
	return shortest
}

// nameOf cuts off what tells the workers of the cells apart.
func nameOf(worker string) string {
	name, _, _ := strings.Cut(worker, "-")
	return name
}

func inParallel(cells []cell, do func(*cell) error) error {
	errs := make([]error, len(cells))
	var running sync.WaitGroup
	for i := range cells {
		running.Go(func() { errs[i] = do(&cells[i]) })
	}
	running.Wait()
	return cmp.Or(errs...)
}

// runTable runs the rows that match, several at a time, and reports each as it
// is done.
func runTable(ctx context.Context, match *regexp.Regexp, parallel int, done func([]cell)) ([]cell, error) {
	var rows []row
	for _, r := range table() {
		if match.MatchString(r.name) {
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("no row matches %q", match)
	}
	var l launcher
	results, errs := make([][]cell, len(rows)), make([]error, len(rows))
	free := make(chan struct{}, parallel)
	var running sync.WaitGroup
	var reporting sync.Mutex
	for i, r := range rows {
		free <- struct{}{}
		running.Go(func() {
			defer func() { <-free }()
			if results[i], errs[i] = runRow(ctx, &l, r, settings); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", r.name, errs[i])
				return
			}
			reporting.Lock()
			defer reporting.Unlock()
			done(results[i])
		})
	}
	running.Wait()
	var cells []cell
	for _, r := range results {
		cells = append(cells, r...)
	}
	return cells, cmp.Or(errs...)
}

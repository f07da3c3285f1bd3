// Command understudy looks after a deployment from the command line: it applies
// a configuration, publishes requests, shows how things stand, deals with dead
// letters, and checks what an operator should know.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// cli is the command line.
type cli struct {
	Output string `short:"o" enum:"table,json" default:"table" help:"How to print: table or json."`

	Up       UpCmd       `cmd:"" help:"Run the whole product, or some of its services, in this process."`
	Apply    ApplyCmd    `cmd:"" help:"Make a file the running configuration."`
	Publish  PublishCmd  `cmd:"" help:"Publish a request."`
	Result   ResultCmd   `cmd:"" help:"Print the recorded result of a request."`
	Status   StatusCmd   `cmd:"" help:"Show routes, lanes and their owners, workers and dead letters."`
	Diagnose DiagnoseCmd `cmd:"" help:"Say what is wrong with workers, on what evidence, and what to do."`
	DLQ      DLQCmd      `cmd:"" name:"dlq" help:"Look into dead letters, replay or discard them."`
	Doctor   DoctorCmd   `cmd:"" help:"Check the deployment; exit code 1 when something is not well."`
	Version  VersionCmd  `cmd:"" help:"Print the version."`
}

// Exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// errUnwell ends a command with exit code 1 when everything was said already.
var errUnwell = errors.New("not well")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program, with its exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c, kong.Name("understudy"), kong.Description("Keeps products answering when an LLM provider is down. The broker is found through UNDERSTUDY_NATS_URL, UNDERSTUDY_NATS_TOKEN and UNDERSTUDY_NATS_CREDS."),
		kong.UsageOnError(), kong.Writers(out, errs), kong.Exit(func(code int) { exited = code }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		fmt.Fprintln(errs, "understudy:", err)
		return exitError
	}
	chosen, err := parser.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if err != nil {
		fmt.Fprintf(errs, "understudy: %v\nRun `understudy --help`, or `understudy COMMAND --help`.\n", err)
		return exitUsage
	}
	s := &session{ctx: ctx, in: in, out: out, errs: errs, json: c.Output == "json"}
	return s.finish(chosen.Run(s))
}

// VersionCmd prints the version.
type VersionCmd struct{}

type versionView struct {
	Version string `json:"version"`
	Go      string `json:"go"`
}

func (v versionView) sections() []section {
	return []section{{lines: []string{"understudy " + v.Version + " (" + v.Go + ")"}}}
}

// Run prints the version.
func (VersionCmd) Run(s *session) error {
	v := versionView{Version: "unknown"}
	if info, ok := debug.ReadBuildInfo(); ok {
		v.Version, v.Go = info.Main.Version, info.GoVersion
	}
	return s.show(v)
}

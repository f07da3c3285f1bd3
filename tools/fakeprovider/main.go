// Command fakeprovider serves an OpenAI-compatible provider that answers,
// limps and fails as it is told; package fake says how.
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
	"github.com/rs/zerolog"

	"understudy/tools/fakeprovider/fake"
)

// prefix begins the name of every environment variable.
const prefix = "FAKEPROVIDER"

// grace is how long calls in flight may go on after a stop signal.
const grace = 2 * time.Second

// settings are the flags; each has a variable FAKEPROVIDER_<FLAG> as well.
type settings struct {
	Addr              string        `default:"127.0.0.1:9101" help:"Address to listen on."`
	Name              string        `default:"fake" help:"Name that the answers begin with."`
	Models            []string      `default:"fake-model" help:"Models to list; any model is answered."`
	APIKey            string        `name:"api-key" help:"Key that calls must carry; none accepts all."`
	Text              string        `help:"Fixed answer; none echoes the question."`
	Tokens            int           `help:"Length of every answer in tokens; 0 leaves it as it is."`
	Latency           time.Duration `help:"Pause before the headers of an answer."`
	FirstToken        time.Duration `help:"Pause between the headers and the first token."`
	TokensPerSecond   float64       `help:"Speed of an answer; 0 is without pauses."`
	RequestsPerSecond float64       `help:"Rate limit, above which calls get a 429; 0 is none."`
	Seed              uint64        `help:"Seed of the chances of faults."`
	Faults            string        `help:"Faults to begin with, as a JSON list."`
}

func main() {
	var s settings
	kong.Parse(&s,
		kong.Name("fakeprovider"),
		kong.Description("An OpenAI-compatible provider that answers, limps and fails as it is told."),
		kong.DefaultEnvars(prefix))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, s, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fakeprovider:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. It logs where, as soon as calls are taken.
func run(ctx context.Context, s settings, logs io.Writer) error {
	log := zerolog.New(logs).With().Timestamp().Logger()
	faults, err := s.faults()
	if err != nil {
		return err
	}
	server, err := fake.Start(s.Addr, s.options())
	if err != nil {
		return err
	}
	defer server.Close()
	if err := server.SetFaults(faults...); err != nil {
		return err
	}
	log.Info().Str("url", server.URL()).Str("name", s.Name).Strs("models", s.Models).Uint64("seed", s.Seed).Msg("fake provider serves")
	<-ctx.Done()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	server.Shutdown(last)
	log.Info().Int64("calls", server.Stats().Total).Msg("fake provider stopped")
	return nil
}

// faults reads the faults to begin with.
func (s settings) faults() ([]fake.Fault, error) {
	if s.Faults == "" {
		return nil, nil
	}
	faults, err := fake.ParseFaults([]byte(s.Faults))
	if err != nil {
		return nil, fmt.Errorf("--faults: %w", err)
	}
	return faults, nil
}

// options returns the settings as the provider takes them.
func (s settings) options() fake.Options {
	return fake.Options{
		Name:              s.Name,
		Models:            s.Models,
		APIKey:            s.APIKey,
		Text:              s.Text,
		Tokens:            s.Tokens,
		Latency:           s.Latency,
		FirstToken:        s.FirstToken,
		TokensPerSecond:   s.TokensPerSecond,
		RequestsPerSecond: s.RequestsPerSecond,
		Seed:              s.Seed,
	}
}

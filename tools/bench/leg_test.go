package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/wire"
)

func TestEachLegAnswersEveryRequest(t *testing.T) {
	const clients, each = 5, 10
	for _, name := range legs {
		for _, d := range []wire.Durability{wire.DurabilityStrict, wire.DurabilityFast, wire.DurabilityMemory} {
			t.Run(fmt.Sprint(name, " ", d), func(t *testing.T) {
				opened, err := openers[name](t.Context(), conditions{
					dir: t.TempDir(), durability: d, clients: clients, body: question(1024),
					log: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel),
				})
				if err != nil {
					t.Fatal(err)
				}
				defer opened.close()
				a := &accounts{leg: opened}
				f, err := load{clients: clients, duration: time.Minute, limit: each, name: "t"}.run(t.Context(), a)
				if err != nil {
					t.Fatal(err)
				}
				if f.Requests != clients*each || f.PerSecond <= 0 || f.P50 <= 0 {
					t.Errorf("got %+v", f)
				}
			})
		}
	}
}

// fault is a leg that answers as it is told.
type fault struct {
	err              error
	queued, recorded uint64
}

func (f fault) ask(context.Context, int, string) error { return f.err }

func (f fault) standing(context.Context) (queued, recorded uint64, err error) {
	return f.queued, f.recorded, nil
}

func (f fault) close() {}

func TestUnansweredRequestFailsTheRun(t *testing.T) {
	lost := errors.New("no answer")
	_, err := load{clients: 3, duration: time.Minute, limit: 5, name: "t"}.run(t.Context(), &accounts{leg: fault{err: lost}})
	if !errors.Is(err, lost) {
		t.Errorf("got %v", err)
	}
}

func TestAccountsThatDoNotAddUpAreAnError(t *testing.T) {
	for _, f := range []fault{{recorded: 9}, {recorded: 11}, {recorded: 10, queued: 1}} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := (&accounts{leg: f, asked: 10}).settle(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), "asked 10") {
			t.Errorf("%+v: got %v", f, err)
		}
	}
}

func TestReplyToAnotherRequestIsNoAnswer(t *testing.T) {
	if err := check(answer("a"), "a"); err != nil {
		t.Error(err)
	}
	for _, reply := range [][]byte{answer("b"), answer("ab"), nil, []byte(`{"id":"a"}`)} {
		if check(reply, "a") == nil {
			t.Errorf("taken for the answer to a: %s", reply)
		}
	}
}

func TestQuestionHasTheSizeAskedFor(t *testing.T) {
	if n := len(question(1024)); n != 1024 {
		t.Errorf("got %d bytes", n)
	}
}

func TestSettingsNameTheFlagAtFault(t *testing.T) {
	good := settings{Clients: 1, Rounds: 1, Duration: time.Second, Body: 1024}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	few, small := good, good
	few.Clients, small.Body = 0, 10
	for want, s := range map[string]settings{"--clients": few, "--body": small} {
		if err := s.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error about %s, got %v", want, err)
		}
	}
}

// Package bustest gives each test a private broker.
package bustest

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/bus"
)

// Config returns the settings of a private broker: in a folder of its own, not
// listening.
func Config(t testing.TB) bus.Config {
	return bus.Config{DataDir: t.TempDir(), Listen: "none", MaxPayload: 1 << 20}
}

// New opens a private broker that ends with the test.
func New(t testing.TB) *bus.Bus {
	return Open(t, Config(t))
}

// Open opens a broker with the given settings; it ends with the test.
func Open(t testing.TB, cfg bus.Config) *bus.Bus {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, cfg, zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel))
	if err != nil {
		t.Fatalf("open broker: %v", err)
	}
	t.Cleanup(b.Close)
	return b
}

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"understudy/pkg/wire"
)

// leg is one path from a request to its answer.
type leg interface {
	// ask takes a client's request from its start to its answer, and checks
	// the answer. A client asks one thing at a time.
	ask(ctx context.Context, client int, id string) error
	// standing says how many requests the queue still holds and how many
	// results are recorded.
	standing(ctx context.Context) (queued, recorded uint64, err error)
	// close ends the leg and its broker.
	close()
}

// conditions are the same for all legs.
type conditions struct {
	dir        string
	durability wire.Durability
	clients    int
	body       []byte
	log        zerolog.Logger
}

// openers bring a leg up on a broker of its own.
var openers = map[string]func(context.Context, conditions) (leg, error){
	"raw":      openRaw,
	"dispatch": openDispatch,
	"gateway":  openGateway,
}

// accounts holds a leg to its word: what was asked is what was recorded, and
// nothing stays in the queue.
type accounts struct {
	leg
	asked uint64
}

// settlePatience is how long the last acknowledgements of a run may take.
const settlePatience = 10 * time.Second

// settle waits until the queue is empty, and compares. An answer goes out
// before its delivery is acknowledged, so the queue empties a little later.
func (a *accounts) settle(ctx context.Context) error {
	patience, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		queued, recorded, err := a.standing(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("count requests: %w", err)
		case queued == 0 && recorded == a.asked:
			return nil
		}
		select {
		case <-patience.Done():
			return fmt.Errorf("asked %d, recorded %d, still queued %d", a.asked, recorded, queued)
		case <-look.C:
		}
	}
}

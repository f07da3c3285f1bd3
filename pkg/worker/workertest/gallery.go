package workertest

import (
	"strings"
	"sync"
	"testing"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// gallery hears what every request's caller hears, and keeps the ends.
type gallery struct {
	inbox string

	mu   sync.Mutex
	ends map[string]map[dispatch.Status]bool // by request id
}

func openGallery(t *testing.T, b *bus.Bus) *gallery {
	t.Helper()
	g := &gallery{inbox: b.NewInbox(), ends: map[string]map[dispatch.Status]bool{}}
	stop, err := b.Listen(g.seat("*"), "", g.hear)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return g
}

// seat is the subject where a request's caller listens.
func (g *gallery) seat(id string) string { return g.inbox + "." + id }

func (g *gallery) hear(m bus.Message) {
	status := dispatch.Status(m.Header.Get(wire.HeaderStatus))
	if status == "" {
		return // a token
	}
	id := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ends[id] == nil {
		g.ends[id] = map[dispatch.Status]bool{}
	}
	g.ends[id][status] = true
}

// heard lists the ends that a request's caller was told, and whether any other
// than the given one is among them.
func (g *gallery) heard(id string, recorded dispatch.Status) (ends map[dispatch.Status]bool, other bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ends = g.ends[id]
	return ends, len(ends) > 1 || len(ends) == 1 && !ends[recorded]
}

package gateway

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"understudy/pkg/bus"
	"understudy/pkg/wire"
)

// maxChunks is how many chunks wait for one slow reader. What comes on top is
// dropped and later mended from the result.
const maxChunks = 1024

// inbox brings what workers send to those who wait for it: one subscription for
// the whole gateway, one subject for each id.
type inbox struct {
	subject string
	seed    maphash.Seed
	shards  [64]shard
}

type shard struct {
	mu    sync.Mutex
	calls map[string]*call
}

// call is an id that somebody waits for, perhaps several at once.
type call struct {
	route string
	// added is true when a publish of this gateway put the request into its
	// queue; false when it was there before.
	added bool
	boxes []*mailbox
}

func newInbox(subject string) *inbox {
	i := &inbox{subject: subject, seed: maphash.MakeSeed()}
	for n := range i.shards {
		i.shards[n].calls = map[string]*call{}
	}
	return i
}

// address is where workers reach those who wait for an id.
func (i *inbox) address(id string) string { return i.subject + "." + id }

func (i *inbox) shard(id string) *shard {
	return &i.shards[maphash.String(i.seed, id)%uint64(len(i.shards))]
}

// receive hands a message to all who wait for its id.
func (i *inbox) receive(m bus.Message) {
	i.deliver(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], m)
}

func (i *inbox) deliver(id string, m bus.Message) {
	s := i.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.calls[id]; c != nil {
		for _, box := range c.boxes {
			box.put(m)
		}
	}
}

// enter makes the caller one of those who wait for the request.
func (i *inbox) enter(q *request) *mailbox {
	box := &mailbox{id: q.id, chunks: q.stream, bell: make(chan struct{}, 1)}
	s := i.shard(q.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.calls[q.id]
	if c == nil {
		c = &call{route: q.route}
		s.calls[q.id] = c
	}
	c.boxes = append(c.boxes, box)
	return box
}

// added notes that this gateway put the request into its queue.
func (i *inbox) added(id string) {
	s := i.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.calls[id]; c != nil {
		c.added = true
	}
}

// leave ends the wait. It returns true when nobody here waits for the request
// any longer and it was this gateway that put it into its queue.
func (i *inbox) leave(box *mailbox) (orphaned bool) {
	s := i.shard(box.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.calls[box.id]
	c.boxes = slices.DeleteFunc(c.boxes, func(b *mailbox) bool { return b == box })
	if len(c.boxes) > 0 {
		return false
	}
	delete(s.calls, box.id)
	return c.added
}

// route returns the route of an id that somebody waits for here.
func (i *inbox) route(id string) (string, bool) {
	s := i.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.calls[id]; c != nil {
		return c.route, true
	}
	return "", false
}

// mailbox keeps what came for one who waits until it is taken. Filling it never
// blocks.
type mailbox struct {
	id     string
	chunks bool
	// bell rings when there is something to take.
	bell chan struct{}

	mu    sync.Mutex
	queue []bus.Message
}

func (b *mailbox) put(m bus.Message) {
	end := isEnd(m)
	b.mu.Lock()
	if end || b.chunks && len(b.queue) < maxChunks {
		b.queue = append(b.queue, m)
	}
	b.mu.Unlock()
	select {
	case b.bell <- struct{}{}:
	default:
	}
}

// take empties the mailbox; into lends its memory to what comes next.
func (b *mailbox) take(into []bus.Message) []bus.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.queue
	b.queue = into[:0]
	return taken
}

// isEnd tells the end of a request from its tokens.
func isEnd(m bus.Message) bool { return len(m.Header[wire.HeaderStatus]) > 0 }

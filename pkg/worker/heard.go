package worker

import (
	"cmp"

	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
	"understudy/pkg/envelope"
	"understudy/pkg/wire"
)

// heard is what a listener has of an answer, kept for the case that its stream
// breaks and somebody else must go on with it.
type heard struct {
	by     string // who speaks, if not this worker
	origin chat.Origin
	text   []byte
	before dispatch.Usage // of the attempts before this one
	usage  dispatch.Usage // of all of them, as the last chunk that counts has it
	// apart is true when the listener has something that no other model can take
	// up, or more than a handoff carries.
	apart bool
	// ends is the end of the answer (finish, usage), held back until the call
	// turns out well: a stream that is yet to be gone on with has none.
	ends []dispatch.Chunk
}

// hearFrom begins with what earlier attempts emitted; nil when none did.
func hearFrom(e *wire.Emitted) heard {
	if e == nil {
		return heard{}
	}
	return heard{
		origin: originOf(e), text: []byte(e.Text),
		before: dispatch.Usage{Input: e.Usage.InputTokens, Output: e.Usage.OutputTokens},
	}
}

func originOf(e *wire.Emitted) chat.Origin { return chat.Origin{ID: e.ID, Created: e.Created} }

// take notes a chunk and returns what may go out now.
func (h *heard) take(c dispatch.Chunk) []dispatch.Chunk {
	if h.apart {
		return []dispatch.Chunk{c}
	}
	p := chat.ReadPiece(c.Data)
	if p.Usage != (dispatch.Usage{}) {
		h.usage = p.Usage
	}
	ended := len(h.ends) > 0
	if p.Plain && (p.Finish || ended && p.Text == "") {
		h.ends = append(h.ends, c)
		return nil
	}
	if !p.Plain || ended || len(h.text)+len(p.Text) > envelope.MaxEmitted {
		h.apart = true
		return append(h.release(), c)
	}
	if h.origin == (chat.Origin{}) {
		h.origin = chat.OriginOf(c.Data)
	}
	h.text = append(h.text, p.Text...)
	return []dispatch.Chunk{c}
}

// release returns the end that was held back.
func (h *heard) release() []dispatch.Chunk {
	ends := h.ends
	h.ends = nil
	return ends
}

// used is what all attempts used so far.
func (h *heard) used() wire.Usage {
	u := cmp.Or(h.usage, h.before)
	return wire.Usage{InputTokens: u.Input, OutputTokens: u.Output}
}

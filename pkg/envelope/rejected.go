package envelope

import (
	"encoding/json"

	"understudy/pkg/wire"
)

// Rejected is an answer that a quality check rejected.
type Rejected struct {
	// Check is the check that it did not pass.
	Check wire.QualityCheck `json:"check"`
	// Worker gave it, by the model named.
	Worker string          `json:"worker"`
	Model  string          `json:"model,omitzero"`
	Usage  wire.Usage      `json:"usage"`
	Answer json.RawMessage `json:"answer"`
}

// maxRejected is the largest rejected answer, in bytes, that travels in a
// header: all headers of a stored message share 64 KiB. One that is larger is
// forgotten at the next hop.
const maxRejected = 16 << 10

func (e *Envelope) readRejected(h *headerReader) {
	text := h.header.get(wire.HeaderRejected)
	if text == "" {
		return
	}
	var r Rejected
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		h.blame(wire.HeaderRejected, err.Error())
		return
	}
	e.Rejected = &r
}

func (e *Envelope) writeRejected(h Header) {
	delete(h, wire.HeaderRejected)
	if e.Rejected == nil || e.Emitted != nil { // a stream that began ends by a rescue
		return
	}
	// Encoding compacts the answer: a header is one line.
	if data, err := json.Marshal(e.Rejected); err == nil && len(data) <= maxRejected {
		h.set(wire.HeaderRejected, string(data))
	}
}

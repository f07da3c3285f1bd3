package fake

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// maxRecorded bounds what is remembered of one body, in bytes.
const maxRecorded = 64 << 10

// secretHeaders lists the headers whose values are never remembered.
var secretHeaders = []string{"Authorization", "Proxy-Authorization", "X-Api-Key", "Api-Key", "Cookie"}

// Call is one call as the provider received it.
type Call struct {
	ID   string    `json:"id"`
	At   time.Time `json:"at"`
	Path string    `json:"path"`
	// Model is the requested model, without the fault its name asks for.
	Model string `json:"model"`
	// Header holds "redacted" in the place of credentials.
	Header http.Header `json:"header"`
	// Body is the request's body, or the first 64 KiB of it.
	Body []byte `json:"-"`
	// Outcome is "" while the call is in flight.
	Outcome Outcome `json:"outcome"`
}

// MarshalJSON shows the body as the JSON it is or else as a string.
func (c Call) MarshalJSON() ([]byte, error) {
	type plain Call
	shown := struct {
		plain
		Body json.RawMessage `json:"body"`
	}{plain: plain(c), Body: c.Body}
	if !json.Valid(c.Body) {
		shown.Body = encode(string(c.Body))
	}
	return json.Marshal(shown)
}

// recorder remembers the last calls in a ring.
type recorder struct {
	mu   sync.Mutex
	ring []*Call
	next int
}

func newRecorder(size int) *recorder {
	return &recorder{ring: make([]*Call, max(size, 0))}
}

// begin remembers a call that begins; nil when nothing is remembered.
func (r *recorder) begin(c *call) *Call {
	if len(r.ring) == 0 {
		return nil
	}
	header := c.r.Header.Clone()
	for _, name := range secretHeaders {
		if header.Get(name) != "" {
			header.Set(name, "redacted")
		}
	}
	body := c.body
	if len(body) > maxRecorded {
		body = bytes.Clone(body[:maxRecorded])
	}
	record := &Call{ID: c.id, At: time.Now(), Path: c.r.URL.Path, Model: c.model, Header: header, Body: body}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring[r.next] = record
	r.next = (r.next + 1) % len(r.ring)
	return record
}

// end notes how a call ended.
func (r *recorder) end(record *Call, outcome Outcome) {
	if record == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	record.Outcome = outcome
}

// list returns up to limit calls, the newest first; all when limit is not
// positive.
func (r *recorder) list(limit int) []Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := []Call{}
	for i := range r.ring {
		record := r.ring[(r.next-1-i+2*len(r.ring))%len(r.ring)]
		if record == nil || (limit > 0 && len(calls) == limit) {
			break
		}
		calls = append(calls, *record)
	}
	return calls
}

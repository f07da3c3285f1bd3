package providertest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy/pkg/dispatch"
)

// Provider is the port that adapters implement, as the worker harness has it.
type Provider interface {
	Answer(ctx context.Context, req *dispatch.Request, emit dispatch.Emit) (*dispatch.Answer, error)
	Probe(ctx context.Context) error
}

// Settings is what a case wants of the adapter under test.
type Settings struct {
	// BaseURL is the scripted server's address, without a path.
	BaseURL string
	// APIKey is the secret that must appear in no error.
	APIKey string
	// MaxAnswer is the most bytes an answer may have.
	MaxAnswer int64
	// Now is the clock for dates.
	Now func() time.Time
}

// Protocol writes what a provider of the adapter's kind says, and reads what
// the adapter asks.
type Protocol interface {
	// Question returns the user's text in the body of an adapter's call.
	Question(body []byte) string
	// Failure returns the body that comes with a failing status.
	Failure(status int, message string) string
	// Whole returns the body of a whole answer that says text.
	Whole(text string) string
	// Begin returns the events that open a stream.
	Begin() string
	// Piece returns the events that carry a piece of text.
	Piece(text string) string
	// Finish returns the events that finish the answer, with Usage; without what
	// End returns.
	Finish() string
	// End returns the marker that ends a stream; "" when the protocol has none.
	End() string
	// Fault returns an event that reports a passing fault of the provider in
	// mid-stream.
	Fault(message string) string
}

// Usage is what Protocol.Finish and Protocol.Whole say was used.
var Usage = dispatch.Usage{Input: 7, Output: 2}

// Failure is one more row of the table of statuses and kinds.
type Failure struct {
	Name   string
	Status int
	Header http.Header
	Body   string
	Kind   dispatch.Kind
}

// Harness is an adapter under test.
type Harness struct {
	// New returns the adapter, set up as s says.
	New func(t *testing.T, s Settings) Provider
	// Protocol speaks for the adapter's provider.
	Protocol Protocol
	// Failures are the adapter's own rows: its codes, its shapes of errors.
	Failures []Failure
}

const (
	secret    = "sk-contract-0123456789abcdef"
	maxAnswer = 64 << 10
)

// now is the time of every case, in whole seconds as HTTP dates are.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// start runs a server with the handler and returns an adapter that calls it.
func (h Harness) start(t *testing.T, handler http.HandlerFunc) Provider {
	t.Helper()
	server := httptest.NewServer(readFirst(handler))
	t.Cleanup(server.Close)
	return h.connect(t, server.URL)
}

func (h Harness) connect(t *testing.T, address string) Provider {
	t.Helper()
	return h.New(t, Settings{BaseURL: address, APIKey: secret, MaxAnswer: maxAnswer, Now: func() time.Time { return now }})
}

// readFirst reads the request before the handler runs: a server that hangs on
// an unread body cannot see its client leave.
func readFirst(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		next(w, r)
	}
}

// stream writes events, each part flushed on its own.
func stream(w http.ResponseWriter, parts ...string) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	for _, part := range parts {
		_, _ = io.WriteString(w, part) // a client that has left is part of the script
		if flusher, ok := w.(http.Flusher); ok {
			flusher.Flush()
		}
	}
}

// cut ends the connection in the middle of whatever is being said.
func cut() { panic(http.ErrAbortHandler) }

// request asks a question, with somebody listening or not.
func request(question string, listened bool) *dispatch.Request {
	return &dispatch.Request{
		ID: "chat-1", Route: "chat", Stream: listened,
		Body: []byte(`{"model":"chat","messages":[{"role":"user","content":"` + question + `"}]}`),
	}
}

// listener keeps what an adapter emits.
type listener struct {
	mu     sync.Mutex
	chunks []dispatch.Chunk
	first  chan struct{} // closed at the first output
}

func newListener() *listener { return &listener{first: make(chan struct{})} }

func (l *listener) emit(c dispatch.Chunk) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.Output && !l.hasOutput() {
		close(l.first)
	}
	l.chunks = append(l.chunks, c)
}

func (l *listener) hasOutput() bool {
	for _, c := range l.chunks {
		if c.Output {
			return true
		}
	}
	return false
}

package providertest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"understudy/pkg/dispatch"
)

func streamedAnswer(t *testing.T, h Harness) {
	p := h.start(t, func(w http.ResponseWriter, _ *http.Request) {
		stream(w, ": hello\n\n", h.Protocol.Begin(), h.Protocol.Piece("one "), ": still here\n\n", h.Protocol.Piece("two 再见"), h.Protocol.Finish(), h.Protocol.End())
	})
	for _, listened := range []bool{true, false} {
		answer, chunks, err := ask(t, p, listened)
		if err != nil {
			t.Fatal(err)
		}
		wantAnswer(t, answer, chunks, "one two 再见")
	}
}

func wholeAnswer(t *testing.T, h Harness) {
	p := h.start(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		stream(w, h.Protocol.Whole("all of it"))
	})
	for _, listened := range []bool{true, false} {
		answer, chunks, err := ask(t, p, listened)
		if err != nil {
			t.Fatal(err)
		}
		wantAnswer(t, answer, chunks, "all of it")
	}
}

func missingEndMarker(t *testing.T, h Harness) {
	p := h.start(t, func(w http.ResponseWriter, _ *http.Request) {
		stream(w, h.Protocol.Begin(), h.Protocol.Piece("whole"), h.Protocol.Finish())
	})
	answer, chunks, err := ask(t, p, true)
	if err != nil {
		t.Fatal(err)
	}
	wantAnswer(t, answer, chunks, "whole")
}

func cutStream(t *testing.T, h Harness) {
	piece := h.Protocol.Piece("half an ans")
	for name, script := range map[string]struct {
		parts []string
		abort bool
	}{
		"before anything":          {nil, true},
		"after the opening":        {[]string{h.Protocol.Begin()}, true},
		"after some text":          {[]string{h.Protocol.Begin(), piece}, true},
		"within an event":          {[]string{h.Protocol.Begin(), piece, piece[:len(piece)/2]}, true},
		"in order, after text":     {[]string{h.Protocol.Begin(), piece}, false},
		"in order, in an event":    {[]string{h.Protocol.Begin(), piece, piece[:len(piece)/2]}, false},
		"in order, with nothing":   {nil, false},
		"end marker but no finish": {[]string{h.Protocol.Begin(), piece, h.Protocol.End()}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := h.start(t, func(w http.ResponseWriter, _ *http.Request) {
				stream(w, append([]string{": open\n\n"}, script.parts...)...)
				if script.abort {
					cut()
				}
			})
			_, _, err := ask(t, p, true)
			wantKind(t, err, dispatch.Truncated)
		})
	}
}

func malformedEvent(t *testing.T, h Harness) {
	p := h.start(t, func(w http.ResponseWriter, _ *http.Request) {
		stream(w, h.Protocol.Begin(), "data: {not json\n\n", h.Protocol.Piece("fine"), "data: [1\n\n", h.Protocol.Finish(), h.Protocol.End())
	})
	answer, chunks, err := ask(t, p, true)
	if err != nil {
		t.Fatal(err)
	}
	wantAnswer(t, answer, chunks, "fine")
}

func malformedAnswer(t *testing.T, h Harness) {
	for name, handler := range map[string]http.HandlerFunc{
		"a stream that never becomes whole": func(w http.ResponseWriter, _ *http.Request) {
			stream(w, h.Protocol.Begin(), "data: {not json\n\n", h.Protocol.End())
		},
		"a whole answer that is no JSON": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			stream(w, h.Protocol.Whole("x")[:20])
		},
		"a whole answer that is another object": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			stream(w, `{"hello":"world"}`)
		},
		"a web page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			stream(w, "<html>log in</html>")
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := ask(t, h.start(t, handler), true)
			wantKind(t, err, dispatch.Malformed)
		})
	}
}

func oversizedAnswer(t *testing.T, h Harness) {
	large := strings.Repeat("x", maxAnswer)
	for name, handler := range map[string]http.HandlerFunc{
		"in one event": func(w http.ResponseWriter, _ *http.Request) {
			stream(w, h.Protocol.Begin(), h.Protocol.Piece(large), h.Protocol.Finish(), h.Protocol.End())
		},
		"in an endless line": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				stream(w, "data: "+large)
			}
		},
		"in endless events": func(w http.ResponseWriter, r *http.Request) {
			stream(w, h.Protocol.Begin())
			for r.Context().Err() == nil {
				stream(w, h.Protocol.Piece("and so on"))
			}
		},
		"as a whole": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			stream(w, h.Protocol.Whole(large))
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := ask(t, h.start(t, handler), true)
			wantKind(t, err, dispatch.Malformed)
		})
	}
}

func faultInMidStream(t *testing.T, h Harness) {
	p := h.start(t, func(w http.ResponseWriter, _ *http.Request) {
		stream(w, h.Protocol.Begin(), h.Protocol.Piece("so far so"), h.Protocol.Fault("it broke"), h.Protocol.End())
	})
	_, chunks, err := ask(t, p, true)
	if e := wantKind(t, err, dispatch.Transient); e.Message != "it broke" {
		t.Errorf("message %q", e.Message)
	}
	if len(chunks) == 0 {
		t.Error("what came before the fault was not emitted")
	}
}

func refusedConnection(t *testing.T, h Harness) {
	server := httptest.NewServer(http.NotFoundHandler())
	address := server.URL
	server.Close()
	_, _, err := ask(t, h.connect(t, address), true)
	wantKind(t, err, dispatch.Transient)

	p := h.start(t, func(http.ResponseWriter, *http.Request) { cut() })
	_, _, err = ask(t, p, true)
	wantKind(t, err, dispatch.Transient)
}

func cancelBeforeAnswer(t *testing.T, h Harness) {
	arrived, left := make(chan struct{}), make(chan struct{})
	p := h.start(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(left)
	})
	cancelWhen(t, p, arrived, newListener())
	<-left
}

func cancelInMidStream(t *testing.T, h Harness) {
	left := make(chan struct{})
	p := h.start(t, func(w http.ResponseWriter, r *http.Request) {
		stream(w, h.Protocol.Begin(), h.Protocol.Piece("so far"))
		<-r.Context().Done()
		close(left)
	})
	l := newListener()
	cancelWhen(t, p, l.first, l)
	<-left
}

// cancelWhen cancels a call at a signal, and demands its cause back.
func cancelWhen(t *testing.T, p Provider, signal <-chan struct{}, l *listener) {
	t.Helper()
	cause := &dispatch.Error{Kind: dispatch.Stalled, Message: "no token in time"}
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-signal
		cancel(cause)
	}()
	_, err := p.Answer(ctx, request("hello", true), l.emit)
	if !errors.Is(err, cause) || dispatch.KindOf(err) != dispatch.Stalled {
		t.Errorf("got %v, want %v", err, cause)
	}
}

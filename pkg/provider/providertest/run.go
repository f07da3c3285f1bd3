package providertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
)

// Run holds an adapter to the contract.
func Run(t *testing.T, h Harness) {
	for name, check := range map[string]func(*testing.T, Harness){
		"StatusesBecomeKinds":                statusesBecomeKinds,
		"RetryAfterIsReadInAllItsForms":      retryAfterForms,
		"StreamedAnswerIsWhole":              streamedAnswer,
		"WholeAnswerIsEmittedAsChunks":       wholeAnswer,
		"MissingEndMarkerIsForgiven":         missingEndMarker,
		"CutStreamIsTruncated":               cutStream,
		"MalformedEventIsSkipped":            malformedEvent,
		"MalformedAnswerIsMalformed":         malformedAnswer,
		"OversizedAnswerIsMalformed":         oversizedAnswer,
		"FaultInMidStreamIsClassified":       faultInMidStream,
		"RefusedConnectionIsTransient":       refusedConnection,
		"CancelEndsACallThatHangs":           cancelBeforeAnswer,
		"CancelEndsAStreamThatHangs":         cancelInMidStream,
		"KeyIsInNoError":                     keyInNoError,
		"ProbeTellsHealthAndKind":            probe,
		"ConcurrentCallsDoNotMix":            concurrentCalls,
		"RedirectToAnotherHostIsNotFollowed": redirect,
	} {
		t.Run(name, func(t *testing.T) { check(t, h) })
	}
}

// ask makes one call and returns everything that came of it.
func ask(t *testing.T, p Provider, listened bool) (*dispatch.Answer, []dispatch.Chunk, error) {
	t.Helper()
	l := newListener()
	answer, err := p.Answer(t.Context(), request("hello", listened), l.emit)
	if (answer == nil) == (err == nil) {
		t.Fatalf("answer %v with error %v", answer, err)
	}
	return answer, l.chunks, err
}

func wantKind(t *testing.T, err error, kind dispatch.Kind) *dispatch.Error {
	t.Helper()
	if dispatch.KindOf(err) != kind {
		t.Errorf("got kind %q (%v), want %q", dispatch.KindOf(err), err, kind)
	}
	e, ok := errors.AsType[*dispatch.Error](err)
	if !ok {
		t.Fatalf("%v is no *dispatch.Error", err)
	}
	return e
}

// wantAnswer demands that the answer, and the chunks put together, say text.
func wantAnswer(t *testing.T, answer *dispatch.Answer, chunks []dispatch.Chunk, text string) {
	t.Helper()
	var said, whole chat.Assembler
	for _, c := range chunks {
		output, err := said.Add(c.Data)
		if err != nil || output != c.Output {
			t.Errorf("chunk %s: output %v, said %v; %v", c.Data, output, c.Output, err)
		}
		if chat.UsageOnly(c.Data) {
			t.Errorf("nobody asked for usage: %s", c.Data)
		}
	}
	if said.Text() != text || !said.Complete() {
		t.Errorf("chunks say %q, complete %v; want %q", said.Text(), said.Complete(), text)
	}
	if _, err := whole.Add(answer.Body); err != nil || whole.Text() != text || chat.Text(answer.Body, "object") != "chat.completion" {
		t.Errorf("the answer is %s (%v), want %q", answer.Body, err, text)
	}
	if answer.Usage != Usage {
		t.Errorf("usage %v, want %v", answer.Usage, Usage)
	}
	if answer.Model == "" {
		t.Error("the answer names no model")
	}
}

func statusesBecomeKinds(t *testing.T, h Harness) {
	rows := h.Failures
	for status, kind := range map[int]dispatch.Kind{
		400: dispatch.BadRequest, 404: dispatch.BadRequest, 422: dispatch.BadRequest,
		401: dispatch.Account, 402: dispatch.Account, 403: dispatch.Account,
		429: dispatch.Throttled,
		500: dispatch.Transient, 502: dispatch.Transient, 503: dispatch.Transient, 504: dispatch.Transient, 529: dispatch.Transient,
	} {
		rows = append(rows,
			Failure{Name: fmt.Sprint(status), Status: status, Body: h.Protocol.Failure(status, "the reason"), Kind: kind},
			Failure{Name: fmt.Sprint(status, " in plain text"), Status: status, Body: "the reason", Kind: kind},
			Failure{Name: fmt.Sprint(status, " as a page"), Status: status, Body: "<html><body>" + strings.Repeat("oops ", 1<<14) + "</body></html>", Kind: kind},
			Failure{Name: fmt.Sprint(status, " without words"), Status: status, Kind: kind},
		)
	}
	for _, row := range rows {
		t.Run(row.Name, func(t *testing.T) {
			p := h.start(t, func(w http.ResponseWriter, _ *http.Request) {
				for name, values := range row.Header {
					w.Header()[name] = values
				}
				w.WriteHeader(row.Status)
				_, _ = io.WriteString(w, row.Body)
			})
			_, chunks, err := ask(t, p, true)
			e := wantKind(t, err, row.Kind)
			if e.Status != row.Status && row.Status >= 300 {
				t.Errorf("status %d, want %d", e.Status, row.Status)
			}
			if e.Message == "" || len(e.Message) > 2000 || strings.Contains(e.Message, "<html>") {
				t.Errorf("message %q", e.Message)
			}
			if strings.Contains(row.Body, "the reason") && e.Message != "the reason" {
				t.Errorf("message %q is not the provider's", e.Message)
			}
			if len(chunks) > 0 {
				t.Errorf("%d chunks of a failure", len(chunks))
			}
		})
	}
}

func retryAfterForms(t *testing.T, h Harness) {
	for name, c := range map[string]struct {
		header, value string
		want          time.Duration
	}{
		"seconds":      {"Retry-After", "17", 17 * time.Second},
		"fraction":     {"Retry-After", "1.5", 1500 * time.Millisecond},
		"date":         {"Retry-After", now.Add(90 * time.Second).Format(http.TimeFormat), 90 * time.Second},
		"past date":    {"Retry-After", now.Add(-time.Hour).Format(http.TimeFormat), 0},
		"negative":     {"Retry-After", "-3", 0},
		"nonsense":     {"Retry-After", "soon", 0},
		"far away":     {"Retry-After", "1e300", 24 * time.Hour},
		"milli":        {"Retry-After-Ms", "250", 250 * time.Millisecond},
		"not a number": {"Retry-After", "NaN", 0},
	} {
		for _, status := range []int{429, 503} {
			t.Run(fmt.Sprint(name, " ", status), func(t *testing.T) {
				p := h.start(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set(c.header, c.value)
					w.WriteHeader(status)
					_, _ = io.WriteString(w, h.Protocol.Failure(status, "slow down"))
				})
				_, _, err := ask(t, p, false)
				if got := dispatch.AsError(err).RetryAfter; got != c.want {
					t.Errorf("got %v, want %v", got, c.want)
				}
			})
		}
	}
}

func probe(t *testing.T, h Harness) {
	p := h.start(t, func(w http.ResponseWriter, _ *http.Request) {
		stream(w, h.Protocol.Begin(), h.Protocol.Piece("x"), h.Protocol.Finish(), h.Protocol.End())
	})
	if err := p.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	p = h.start(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, h.Protocol.Failure(http.StatusUnauthorized, "no such key"))
	})
	wantKind(t, p.Probe(t.Context()), dispatch.Account)

	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := p.Probe(ctx); !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
}

func keyInNoError(t *testing.T, h Harness) {
	echo := "wrong key " + secret + " given"
	for name, handler := range map[string]http.HandlerFunc{
		"in a status": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, h.Protocol.Failure(http.StatusUnauthorized, echo))
		},
		"in plain text, at the limit of a message": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, strings.Repeat(".", 985)+secret)
		},
		"in mid-stream": func(w http.ResponseWriter, _ *http.Request) {
			stream(w, h.Protocol.Begin(), h.Protocol.Fault(echo))
		},
		"in what is no HTTP": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 "+secret+"\r\n\r\n")
			_ = conn.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := h.start(t, handler)
			_, _, err := ask(t, p, true)
			for e := err; e != nil; e = errors.Unwrap(e) {
				if words := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(words, secret[:8]) {
					t.Errorf("the key is in %s", words)
				}
			}
		})
	}
}

func concurrentCalls(t *testing.T, h Harness) {
	p := h.start(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			cut()
		}
		question := h.Protocol.Question(body)
		half := len(question) / 2
		stream(w, h.Protocol.Begin(), h.Protocol.Piece(question[:half]), h.Protocol.Piece(question[half:]), h.Protocol.Finish(), h.Protocol.End())
	})
	var calls sync.WaitGroup
	for i := range 64 {
		calls.Go(func() {
			question := fmt.Sprintf("question %d of sixty-four", i)
			l := newListener()
			answer, err := p.Answer(t.Context(), request(question, i%2 == 0), l.emit)
			if err != nil {
				t.Errorf("%s: %v", question, err)
				return
			}
			wantAnswer(t, answer, l.chunks, question)
		})
	}
	calls.Wait()
}

func redirect(t *testing.T, h Harness) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the call went to another host")
	}))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{301, 302, 307, 308} {
		p := h.start(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, status)
		})
		_, _, err := ask(t, p, false)
		wantKind(t, err, dispatch.Transient)
	}
}

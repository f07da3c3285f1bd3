package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

const (
	// settleGrace is how much longer than a request's patience its result may
	// take to be recorded.
	settleGrace = 10 * time.Second
	// lookEvery is how often the record is read while waiting: the notice may
	// get lost, the record does not.
	lookEvery = time.Second
	// inFlightPatience is how long a worker may take to say that it holds a request.
	inFlightPatience = 500 * time.Millisecond
)

// errNoResult means that the time to wait was over.
var errNoResult = errors.New("no result yet")

// ResultCmd prints the recorded result of a request.
type ResultCmd struct {
	ID   string        `arg:"" help:"The request id."`
	Wait bool          `help:"Wait until there is one."`
	For  time.Duration `default:"5m" help:"How long to wait."`
}

type resultView struct{ wire.Result }

// summary says on one line how the request ended.
func (v resultView) summary() string {
	parts := []string{v.ID, string(v.Status)}
	if v.Worker != "" {
		by := "by " + v.Worker
		if v.Model != "" {
			by += " (" + v.Model + ")"
		}
		parts = append(parts, by)
	}
	if v.Degraded {
		parts = append(parts, "degraded")
	}
	return fmt.Sprintf("%s, %d attempts, %s", strings.Join(parts, " "), len(v.Attempts), v.FinishedAt.Sub(v.AcceptedAt).Round(time.Millisecond))
}

func (v resultView) sections() []section {
	lines := []string{v.summary()}
	if v.Error != nil {
		lines = append(lines, fmt.Sprintf("%s (%d): %s", v.Error.Kind, v.Error.Status, v.Error.Message))
	}
	parts := []section{{lines: lines}}
	if len(v.Attempts) > 0 {
		parts = append(parts, attemptsSection(v.Attempts))
	}
	if text := answerText(v.Answer); text != "" {
		parts = append(parts, section{lines: []string{text}})
	}
	return parts
}

// answerText is the text of a chat completion, or the whole of anything else.
func answerText(answer json.RawMessage) string {
	var completion struct {
		Choices []struct {
			Message struct {
				Content string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
	}
	if json.Unmarshal(answer, &completion) == nil && len(completion.Choices) > 0 && completion.Choices[0].Message.Content != "" {
		return completion.Choices[0].Message.Content
	}
	return string(answer)
}

func attemptsSection(attempts []wire.Attempt) section {
	p := section{header: []string{"attempt", "worker", "instance", "started", "took", "outcome", "status", "message"}}
	for i, a := range attempts {
		outcome := string(a.Kind)
		if outcome == "" {
			outcome = string(dispatch.StatusAnswered)
		}
		status := ""
		if a.Status != 0 {
			status = fmt.Sprint(a.Status)
		}
		p.rows = append(p.rows, []any{i + 1, a.Worker, a.Instance, a.StartedAt.UTC().Format(time.RFC3339), time.Duration(a.DurationMS) * time.Millisecond, outcome, orDash(status), orDash(a.Message)})
	}
	return p
}

// unlessAnswered makes the exit code tell an answer from every other end.
func unlessAnswered(r wire.Result) error {
	if r.Status != dispatch.StatusAnswered {
		return errUnwell
	}
	return nil
}

// Run prints the result; exit code 1 when there is none, or when it is no answer.
func (c ResultCmd) Run(s *session) error {
	return s.withBus(func(b *bus.Bus) error {
		r, err := b.FindResult(s.ctx, c.ID)
		if errors.Is(err, bus.ErrNotFound) && c.Wait {
			r, err = c.await(s, b)
		}
		switch {
		case errors.Is(err, bus.ErrNotFound), errors.Is(err, errNoResult):
			return c.missing(s, b)
		case err != nil:
			return err
		}
		if err := s.show(resultView{r}); err != nil {
			return err
		}
		return unlessAnswered(r)
	})
}

func (c ResultCmd) await(s *session, b *bus.Bus) (wire.Result, error) {
	w, err := awaitResult(b, c.ID)
	if err != nil {
		return wire.Result{}, err
	}
	defer w.stop()
	return w.wait(s.ctx, c.For, func([]byte) {})
}

// missing says what is known about a request without a result.
func (c ResultCmd) missing(s *session, b *bus.Bus) error {
	ctx, cancel := context.WithTimeout(s.ctx, inFlightPatience)
	defer cancel()
	if _, err := b.Ask(ctx, wire.InFlightSubject(c.ID), nil, nil); err == nil {
		return fmt.Errorf("request %s is in progress: add --wait to wait for its result", c.ID)
	}
	return fmt.Errorf("request %s has no result: it waits in its queue (add --wait), its result aged out, or it was never accepted", c.ID)
}

// waiter waits for one request's result: for the notice, and by looking at the
// record from time to time.
type waiter struct {
	bus    *bus.Bus
	id     string
	inbox  string
	chunks chan []byte // in order, before the notice
	notice chan struct{}
	stop   func()
}

// awaitResult listens on an inbox of its own for a request's tokens and end.
func awaitResult(b *bus.Bus, id string) (*waiter, error) {
	w := &waiter{bus: b, id: id, inbox: b.NewInbox(), chunks: make(chan []byte, 4096), notice: make(chan struct{}, 1)}
	stop, err := b.Listen(w.inbox, "", func(m bus.Message) {
		if m.Header.Get(wire.HeaderStatus) == "" {
			select {
			case w.chunks <- m.Body:
			default: // tokens are the view, the result is the record
			}
			return
		}
		select {
		case w.notice <- struct{}{}:
		default:
		}
	})
	w.stop = stop
	return w, err
}

// wait returns the recorded result, or errNoResult when the time is over. Until
// then each chunk goes to see.
func (w *waiter) wait(ctx context.Context, patience time.Duration, see func([]byte)) (wire.Result, error) {
	over := time.NewTimer(patience)
	defer over.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		r, err := w.bus.FindResult(ctx, w.id)
		if !errors.Is(err, bus.ErrNotFound) {
			w.drain(see)
			return r, err
		}
		if err := w.next(ctx, over.C, look.C, see); err != nil {
			return r, err
		}
	}
}

// next passes chunks on until it is time to look at the record.
func (w *waiter) next(ctx context.Context, over, look <-chan time.Time, see func([]byte)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return errNoResult
		case chunk := <-w.chunks:
			see(chunk)
		case <-w.notice:
			return nil
		case <-look:
			return nil
		}
	}
}

// drain passes on the chunks that came before the end.
func (w *waiter) drain(see func([]byte)) {
	for {
		select {
		case chunk := <-w.chunks:
			see(chunk)
		default:
			return
		}
	}
}

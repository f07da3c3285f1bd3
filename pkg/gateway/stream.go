package gateway

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"understudy/pkg/bus"
	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// stream is the view that one caller has of an answer as it comes: server-sent
// events. Until the first real output nothing is sent, so that a failure can
// still choose its status. What follows the output (finish, usage) is held back
// until the result is recorded.
//
// A nil stream takes tokens and does nothing with them.
type stream struct {
	x     *exchange
	usage bool
	pace  pace
	local map[string]bool // workers whose answers are degraded
	first func()          // called when the first output is there

	attempt string
	next    int // the number of the next chunk
	seen    *chat.Assembler
	// opened is true once the caller has output in hand. torn is true when the
	// chunks do not follow each other any longer: nothing more is forwarded, and
	// the end mends it from the result.
	opened, torn bool
	held         [][]byte // before the first output
	tail         [][]byte // after the last output
	counted      []byte   // the usage chunk

	buffer  bytes.Buffer
	written time.Time
}

// chunk takes one chunk of tokens.
func (s *stream) chunk(m bus.Message) {
	if s == nil {
		return
	}
	attempt := m.Header.Get(wire.HeaderAttempt)
	rescued := m.Header.Get(wire.HeaderRescue)
	if s.seen != nil && rescued != "" && rescued == s.attempt {
		s.attempt = attempt // another speaker, and the same answer: the numbers go on
	}
	if s.seen == nil || attempt != s.attempt {
		if s.opened {
			s.torn = true
			return
		}
		s.attempt, s.next, s.seen, s.torn = attempt, 0, &chat.Assembler{}, false
		s.held, s.tail, s.counted = nil, nil, nil
	}
	number, err := strconv.Atoi(m.Header.Get(wire.HeaderChunk))
	switch {
	case s.torn, err == nil && number < s.next:
		return
	case err != nil, number > s.next:
		s.torn = true
		return
	}
	s.next++
	s.take(m.Header.Get(wire.HeaderWorker), m.Body)
}

func (s *stream) take(worker string, body []byte) {
	output, err := s.seen.Add(body)
	complete := err == nil && s.seen.Complete()
	switch {
	case err != nil:
		s.torn = true
	case output && complete:
		delta, finish, err := unfinished(body)
		if err != nil {
			s.torn = true
			return
		}
		s.forward(worker, delta)
		s.tail = append(s.tail, finish)
	case output:
		s.forward(worker, body)
	case countsOnly(body):
		s.counted = body
	case complete:
		s.tail = append(s.tail, body)
	case !s.opened:
		s.held = append(s.held, body)
	default:
		s.event(body)
	}
}

// forward sends output. What was held back before it goes first: the frame of
// the answer, or the finish of a choice that turned out not to be the last.
func (s *stream) forward(worker string, body []byte) {
	if !s.opened {
		h := s.x.Header()
		h.Set(headerDegraded, strconv.FormatBool(s.local[worker]))
		if worker != "" {
			h.Set(headerWorker, worker)
		}
		if model := s.seen.Model(); model != "" {
			h.Set(headerModel, model)
		}
		s.x.worker, s.x.degraded = worker, s.local[worker]
		s.open()
		for _, frame := range s.held {
			s.event(frame)
		}
		s.held = nil
	}
	for _, finish := range s.tail {
		s.event(finish)
	}
	s.tail = nil
	s.event(body)
}

// open sends the headers.
func (s *stream) open() {
	s.opened = true
	s.first()
	h := s.x.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	s.x.WriteHeader(http.StatusOK)
}

// event writes one event, which flush sends.
func (s *stream) event(data []byte) {
	if bytes.IndexByte(data, '\n') >= 0 { // an event is one line; JSON may be several
		var line bytes.Buffer
		if json.Compact(&line, data) == nil {
			data = line.Bytes()
		}
	}
	s.buffer.WriteString("data: ")
	s.buffer.Write(data)
	s.buffer.WriteString("\n\n")
}

// flush sends what was written.
func (s *stream) flush() error {
	if s == nil || s.buffer.Len() == 0 {
		return nil
	}
	s.written = time.Now()
	err := s.x.send(s.buffer.Bytes())
	s.buffer.Reset()
	return err
}

// quiet sends a comment when the stream has been quiet for long.
func (s *stream) quiet(now time.Time) error {
	if s == nil || !s.opened || now.Sub(s.written) < s.pace.keepAlive {
		return nil
	}
	s.buffer.WriteString(": keep-alive\n\n")
	return s.flush()
}

// sooner returns the time at which quiet is due, if that is before t.
func (s *stream) sooner(t time.Time) time.Time {
	if s == nil || !s.opened {
		return t
	}
	if due := s.written.Add(s.pace.keepAlive); due.Before(t) {
		return due
	}
	return t
}

// fail ends the stream with an error: as a status while nothing was sent, else
// as an event without the end of a clean stream.
func (s *stream) fail(f *wire.Failure) {
	if !s.opened {
		s.x.fail(f)
		return
	}
	s.event(errorBody(f))
	_ = s.flush() // a caller that is gone needs no end
}

// finish ends the stream as the record says. It returns false when the caller
// was left with less than the answer.
func (s *stream) finish(r wire.Result) bool {
	if r.Status != dispatch.StatusAnswered {
		if !s.opened {
			announce(s.x.Header(), r)
		}
		s.fail(failureOf(r))
		return false
	}
	if err := s.mend(r); err != nil {
		s.fail(tornStream(r.ID))
		return false
	}
	if !s.opened {
		announce(s.x.Header(), r)
		s.open()
	}
	for _, chunk := range s.held {
		s.event(chunk)
	}
	for i, chunk := range s.tail {
		if i == 0 {
			if with, err := credited(chunk, r); err == nil {
				chunk = with
			}
		}
		s.event(chunk)
	}
	if s.usage && s.counted != nil {
		s.event(s.counted)
	}
	s.event([]byte("[DONE]"))
	return s.flush() == nil
}

// countsOnly tells a chunk that has nothing but the usage.
func countsOnly(chunk []byte) bool {
	choices := bytes.TrimSpace(chat.Get(chunk, "choices"))
	return len(choices) >= 2 && choices[0] == '[' && len(bytes.TrimSpace(choices[1:len(choices)-1])) == 0 && len(chat.Get(chunk, "usage")) > 4
}

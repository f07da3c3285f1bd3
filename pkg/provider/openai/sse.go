package openai

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// event is one server-sent event.
type event struct {
	name string // "" when the event has none
	data []byte // the caller may keep it
	// cut is true for what stood at the end of the stream without the blank
	// line that ends an event: it may be whole, or half of one.
	cut bool
}

// eventReader reads server-sent events as the HTML standard defines them, with
// lines that end in LF or CRLF. Comments, ids and retry hints are skipped; an
// event without data is none. What bounds the bytes of r bounds a line.
type eventReader struct {
	r     *bufio.Reader
	begun bool
}

func newEventReader(r *bufio.Reader) *eventReader { return &eventReader{r: r} }

// next returns the next event, or the error that ended the stream: io.EOF when
// it was closed in order.
func (e *eventReader) next() (event, error) {
	var ev event
	var data [][]byte
	for {
		line, err := e.r.ReadBytes('\n')
		if !e.begun {
			e.begun = true
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "data":
			data = append(data, value)
		case "event":
			ev.name = string(value)
		}
		switch {
		case errors.Is(err, io.EOF) && data != nil:
			ev.data, ev.cut = bytes.Join(data, []byte("\n")), true
			return ev, nil
		case err != nil:
			return event{}, err
		case len(line) == 0 && data != nil:
			ev.data = bytes.Join(data, []byte("\n"))
			return ev, nil
		case len(line) == 0:
			ev.name = ""
		}
	}
}

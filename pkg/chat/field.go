package chat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Field is one top-level field of a JSON object.
type Field struct {
	Name string
	// Value is the field's JSON; nil takes the field out.
	Value json.RawMessage
}

// Get returns the value of a top-level field of a JSON object; nil when the
// object has none, or when body is no object. Of a repeated field the last
// counts, as in every common parser. The value shares body's memory.
func Get(body []byte, field string) json.RawMessage {
	s := scanner{data: body}
	var value json.RawMessage
	err := s.object(func(key []byte) error {
		raw, err := s.raw()
		if err == nil && is(key, field) {
			value = raw
		}
		return err
	})
	if err != nil {
		return nil
	}
	return value
}

// Items returns the items of a JSON array; none when raw is no array. They share
// raw's memory.
func Items(raw []byte) []json.RawMessage {
	s := scanner{data: raw}
	var items []json.RawMessage
	err := s.array(func(int) error {
		item, err := s.raw()
		items = append(items, item)
		return err
	})
	if err != nil {
		return nil
	}
	return items
}

// Text returns the value of a top-level string field; "" when there is none.
func Text(body []byte, field string) string {
	text, _ := textOf(Get(body, field))
	return text
}

// Set returns body, a JSON object, with the fields set. A field that is there
// is replaced where it stands, one that is not is added at the end, and every
// other byte stays as it is. Of a repeated field every occurrence is replaced.
// body is not changed.
func Set(body []byte, fields ...Field) ([]byte, error) {
	s := scanner{data: body}
	e := edit{out: make([]byte, 0, len(body)+64*len(fields))}
	if s.peek() == '{' {
		e.out, e.from = append(e.out, body[:s.at+1]...), s.at+1
	}
	seen := make([]bool, len(fields))
	err := s.object(func(key []byte) error {
		start := s.key
		raw, err := s.raw()
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(fields, func(f Field) bool { return is(key, f.Name) }); i >= 0 {
			seen[i] = true
			e.replace(body, start, s.at, len(raw), fields[i].Value)
			return nil
		}
		e.replace(body, start, s.at, len(raw), raw)
		return nil
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, fmt.Errorf("set a field of a JSON object: %w", err)
	}
	for i, f := range fields {
		if !seen[i] && f.Value != nil {
			e.add(f)
		}
	}
	return append(e.out, body[e.from:]...), nil
}

// edit copies an object member by member.
type edit struct {
	out     []byte
	from    int // everything of the body before this is dealt with
	members int // members written
}

// replace writes the member that lies in body[start:end] and whose value is
// size bytes long, with another value; without one it leaves the member out.
func (e *edit) replace(body []byte, start, end, size int, value []byte) {
	lead := body[e.from:start] // a comma, unless it is the first, and white space
	e.from = end
	if value == nil {
		return
	}
	if e.members == 0 {
		lead = bytes.Replace(lead, []byte(","), nil, 1)
	}
	e.members++
	e.out = append(e.out, lead...)
	e.out = append(e.out, body[start:end-size]...)
	e.out = append(e.out, value...)
}

func (e *edit) add(f Field) {
	if e.members > 0 {
		e.out = append(e.out, ',')
	}
	e.members++
	e.out = append(e.out, quote(f.Name)...)
	e.out = append(e.out, ':')
	e.out = append(e.out, f.Value...)
}

// UsageOnly says whether a chunk carries the usage and nothing else: the chunk
// that a caller gets who asked for stream_options.include_usage.
func UsageOnly(chunk []byte) bool {
	choices, usage := Get(chunk, "choices"), Get(chunk, "usage")
	return choices != nil && !missed(choices) && usage != nil && missed(usage)
}

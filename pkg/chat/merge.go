package chat

import (
	"bytes"
	"slices"
)

// value is JSON that grows by deltas. Strings grow by concatenation, arrays by
// appending, objects field by field, and array items that carry an "index"
// merge with the item of that index; other items are kept as they came.
// Anything else is replaced.
//
// Text is kept as it was written, escapes included, so that merging loses
// nothing and costs a copy.
type value struct {
	kind   byte     // as kindOf tells it; 0 while there is nothing but null
	bytes  []byte   // the inside of a string, or the rest as it is
	fields []*field // of an object, in order of appearance
	items  []*item  // of an array
}

type field struct {
	name string
	value
}

type item struct {
	index []byte // the item's "index" as it was written; nil when it has none
	value
}

// settled are the string fields that name something: they are said once, and
// the providers that repeat them do not mean a longer name.
var settled = map[string]bool{"role": true, "id": true, "type": true}

// merge adds a delta, valid JSON, to v. It keeps no part of the delta's memory.
func (v *value) merge(delta []byte) {
	kind := kindOf(delta)
	if kind == null {
		return
	}
	if kind != v.kind || kind == scalar {
		*v = value{kind: kind}
	}
	switch s := (scanner{data: delta}); kind {
	case '"':
		v.bytes = append(v.bytes, delta[1:len(delta)-1]...)
	case '{':
		v.mergeObject(&s)
	case '[':
		v.mergeArray(&s)
	default:
		v.bytes = append(v.bytes, delta...)
	}
}

func (v *value) mergeObject(s *scanner) {
	_ = s.object(func(key []byte) error { // valid by contract
		raw, err := s.raw()
		if err == nil {
			v.field(key).mergeNamed(raw)
		}
		return err
	})
}

func (v *value) mergeArray(s *scanner) {
	_ = s.array(func(int) error { // valid by contract
		raw, err := s.raw()
		if err != nil {
			return err
		}
		if index := Get(raw, "index"); index != nil {
			v.item(index).merge(raw)
		} else {
			v.items = append(v.items, &item{value: value{kind: scalar, bytes: bytes.Clone(raw)}})
		}
		return nil
	})
}

// mergeNamed merges with an eye to the name: what is settled stays, and a
// function's name that comes again is not written twice.
func (f *field) mergeNamed(delta []byte) {
	if f.kind == '"' && len(f.bytes) > 0 && kindOf(delta) == '"' {
		again := f.name == "name" && bytes.Equal(f.bytes, delta[1:len(delta)-1])
		if settled[f.name] || again {
			return
		}
	}
	f.merge(delta)
}

// field returns the field of an object; a new one when it is not there.
func (v *value) field(key []byte) *field {
	for _, f := range v.fields {
		if is(key, f.name) {
			return f
		}
	}
	f := &field{name: unquote(key)}
	v.fields = append(v.fields, f)
	return f
}

// item returns the array item of an index; a new one when it is not there.
func (v *value) item(index []byte) *item {
	for _, i := range v.items {
		if bytes.Equal(i.index, index) {
			return i
		}
	}
	i := &item{index: bytes.Clone(index)}
	v.items = append(v.items, i)
	return i
}

// find returns a field of an object; nil when it is not there.
func (v *value) find(name string) *value {
	for _, f := range v.fields {
		if f.name == name {
			return &f.value
		}
	}
	return nil
}

// append writes v to out, leaving out the named fields of v itself.
func (v *value) append(out []byte, without ...string) []byte {
	switch v.kind {
	case '"':
		out = append(out, '"')
		out = append(out, v.bytes...)
		return append(out, '"')
	case '{':
		return v.appendObject(out, without)
	case '[':
		out = append(out, '[')
		for i, item := range v.items {
			if i > 0 {
				out = append(out, ',')
			}
			out = item.append(out, without...)
		}
		return append(out, ']')
	}
	if v.kind == 0 {
		return append(out, "null"...)
	}
	return append(out, v.bytes...)
}

func (v *value) appendObject(out []byte, without []string) []byte {
	out = append(out, '{')
	first := true
	for _, f := range v.fields {
		if slices.Contains(without, f.name) {
			continue
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = append(out, quote(f.name)...)
		out = append(out, ':')
		out = f.append(out)
	}
	return append(out, '}')
}

// The kinds of a raw value that are not told by its first byte.
const (
	null   = 'n'
	scalar = 'v'
)

// kindOf returns '"', '{', '[', null, or scalar for numbers and booleans.
func kindOf(raw []byte) byte {
	switch raw[0] {
	case '"', '{', '[', null:
		return raw[0]
	}
	return scalar
}

// missed says whether a caller would miss something without a raw value.
func missed(raw []byte) bool {
	switch kindOf(raw) {
	case null:
		return false
	case '"':
		return len(raw) > 2
	case '{', '[':
		return len(bytes.Trim(raw[1:len(raw)-1], " \t\r\n")) > 0
	}
	return true
}

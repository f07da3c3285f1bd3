package chat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// maxDepth bounds nesting, as encoding/json does.
const maxDepth = 10000

// syntaxError is a place where a body stops being JSON.
type syntaxError struct {
	offset int
	want   string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("byte %d: expected %s", e.offset, e.want)
}

// scanner walks JSON text once, from left to right, without building values.
// Its methods accept what encoding/json accepts. The first error ends a walk.
type scanner struct {
	data  []byte
	at    int
	depth int
	key   int // where the key of the latest member starts, at its quote
}

func (s *scanner) fail(want string) error { return &syntaxError{offset: s.at, want: want} }

// peek skips white space and returns the next byte; 0 at the end.
func (s *scanner) peek() byte {
	for s.at < len(s.data) {
		switch c := s.data[s.at]; c {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return c
		}
	}
	return 0
}

// raw consumes one value and returns its bytes.
func (s *scanner) raw() ([]byte, error) {
	s.peek()
	start := s.at
	if err := s.value(); err != nil {
		return nil, err
	}
	return s.data[start:s.at], nil
}

// value consumes one value.
func (s *scanner) value() error {
	switch c := s.peek(); {
	case c == '"':
		return s.text()
	case c == '{':
		return s.object(func([]byte) error { return s.value() })
	case c == '[':
		return s.array(func(int) error { return s.value() })
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	case c == '-' || isDigit(c):
		return s.number()
	}
	return s.fail("a value")
}

// object consumes an object. It calls field with each key, between its quotes
// and as it is written; field must consume the value.
func (s *scanner) object(field func(key []byte) error) error {
	if err := s.open('{', "an object"); err != nil {
		return err
	}
	if s.peek() == '}' {
		return s.close()
	}
	for {
		if s.peek() != '"' {
			return s.fail("a key in double quotes")
		}
		start := s.at
		if err := s.text(); err != nil {
			return err
		}
		s.key = start
		key := s.data[start+1 : s.at-1]
		if s.peek() != ':' {
			return s.fail("':'")
		}
		s.at++
		if err := field(key); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.at++
		case '}':
			return s.close()
		default:
			return s.fail("',' or '}'")
		}
	}
}

// array consumes an array. It calls item with each position; item must consume
// the value.
func (s *scanner) array(item func(i int) error) error {
	if err := s.open('[', "an array"); err != nil {
		return err
	}
	if s.peek() == ']' {
		return s.close()
	}
	for i := 0; ; i++ {
		if err := item(i); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.at++
		case ']':
			return s.close()
		default:
			return s.fail("',' or ']'")
		}
	}
}

func (s *scanner) open(c byte, want string) error {
	if s.peek() != c {
		return s.fail(want)
	}
	if s.depth++; s.depth > maxDepth {
		return s.fail("less nesting")
	}
	s.at++
	return nil
}

func (s *scanner) close() error {
	s.depth--
	s.at++
	return nil
}

// text consumes a string.
func (s *scanner) text() error {
	s.at++
	for s.at < len(s.data) {
		switch c := s.data[s.at]; {
		case c == '"':
			s.at++
			return nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		case c < ' ':
			return s.fail("no raw control character in a string (escape it)")
		default:
			s.at++
		}
	}
	return s.fail("'\"' at the end of a string")
}

func (s *scanner) escape() error {
	s.at++
	if s.at >= len(s.data) {
		return s.fail("an escape")
	}
	c := s.data[s.at]
	if c != 'u' {
		if bytes.IndexByte([]byte(`"\/bfnrt`), c) < 0 {
			return s.fail(`one of " \ / b f n r t u after \`)
		}
		s.at++
		return nil
	}
	s.at++
	for range 4 {
		if s.at >= len(s.data) || !isHex(s.data[s.at]) {
			return s.fail(`four hexadecimal digits after \u`)
		}
		s.at++
	}
	return nil
}

func (s *scanner) word(w string) error {
	if !bytes.HasPrefix(s.data[s.at:], []byte(w)) {
		return s.fail("a value")
	}
	s.at += len(w)
	return nil
}

func (s *scanner) number() error {
	if s.next() == '-' {
		s.at++
	}
	if s.next() == '0' {
		s.at++
	} else if err := s.digits(); err != nil {
		return err
	}
	if s.next() == '.' {
		s.at++
		if err := s.digits(); err != nil {
			return err
		}
	}
	if c := s.next(); c != 'e' && c != 'E' {
		return nil
	}
	s.at++
	if c := s.next(); c == '+' || c == '-' {
		s.at++
	}
	return s.digits()
}

func (s *scanner) digits() error {
	start := s.at
	for isDigit(s.next()) {
		s.at++
	}
	if s.at == start {
		return s.fail("a digit")
	}
	return nil
}

// next returns the byte at hand without skipping anything; 0 at the end.
func (s *scanner) next() byte {
	if s.at >= len(s.data) {
		return 0
	}
	return s.data[s.at]
}

// end demands that nothing but white space is left.
func (s *scanner) end() error {
	if s.peek(); s.at < len(s.data) {
		return s.fail("nothing after the value")
	}
	return nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// unquote returns the text of a valid JSON string, given without its quotes.
func unquote(inner []byte) string {
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner)
	}
	quoted := make([]byte, 0, len(inner)+2)
	quoted = append(append(append(quoted, '"'), inner...), '"')
	var text string
	if json.Unmarshal(quoted, &text) != nil {
		return ""
	}
	return text
}

// textOf returns the text of a raw value; ok is false when it is no string.
func textOf(raw []byte) (text string, ok bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	return unquote(raw[1 : len(raw)-1]), true
}

// quote returns text as a JSON string.
func quote(text string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string always encodes, and a buffer always takes it
	return bytes.TrimRight(b.Bytes(), "\n")
}

package rules

import (
	"fmt"
	"strings"
	"unicode"
)

// position is a place in a file: both numbers count from 1, a column is one
// character.
type position struct{ line, column int }

// text is a scalar of a pack file that knows where it stands. The zero value is
// a text that the file does not give.
type text struct {
	value string
	at    position
	// block is true for the styles | and >, whose text begins on the next line.
	block bool
}

func (t text) given() bool { return t.at.line > 0 }

// source is the text of one pack file, and collects the problems found in it.
type source struct {
	file     string
	lines    []string
	problems []Problem
}

func newSource(file string, data []byte) *source {
	return &source{file: file, lines: strings.Split(string(data), "\n")}
}

// report records a problem at a place of the file.
func (s *source) report(at position, format string, args ...any) {
	s.problems = append(s.problems, Problem{
		File: s.file, Line: at.line, Column: at.column, Message: fmt.Sprintf(format, args...),
	})
}

// beginning returns where an unquoted scalar begins that the YAML library places
// at or, when white space follows the scalar, up to as many characters before.
func (s *source) beginning(at position, value string) position {
	words := strings.Fields(value)
	if len(words) == 0 || at.line > len(s.lines) {
		return at
	}
	line := []rune(s.lines[at.line-1])
	for column := min(at.column, len(line)); column > 0; column-- {
		if strings.HasPrefix(string(line[column-1:]), words[0]) {
			return position{at.line, column}
		}
	}
	return at
}

// within returns where the character of t with the given index stands in the
// file. YAML folds white space, quotes and escapes, so the characters of the
// value are looked up in the file one after the other.
func (s *source) within(t text, index int) position {
	start := t.at
	if t.block {
		start = position{line: t.at.line + 1, column: 1}
	}
	rest := []rune(strings.Join(s.lines[min(start.line-1, len(s.lines)):], "\n"))
	rest = rest[min(start.column-1, len(rest)):]
	next := 0
	for i, r := range []rune(t.value) {
		if i > index {
			break
		}
		if unicode.IsSpace(r) {
			continue
		}
		for next < len(rest) && rest[next] != r {
			next++
		}
		if next == len(rest) {
			return t.at
		}
		if i == index {
			return advance(start, rest[:next])
		}
		next++
	}
	return advance(start, rest[:next])
}

// advance returns the position after passed, which begins at start.
func advance(start position, passed []rune) position {
	at := start
	for _, r := range passed {
		if r == '\n' {
			at = position{line: at.line + 1, column: 1}
			continue
		}
		at.column++
	}
	return at
}

package chat

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"understudy/pkg/dispatch"
)

const (
	// seamRunes is how far back a continuation may reach to repeat what was said.
	seamRunes = 400
	// anew is the weight of a common beginning by which a continuation is known
	// to start the whole answer again.
	anew = 20
)

// Seam joins a continuation to what was said before it. Models asked to go on
// like to repeat the last words, or the whole answer from its beginning; the
// repetition is taken out. The opening of the continuation is held back until
// it is known what it repeats.
//
// What counts as a repetition is a matter of weight: "hel" and "lo" overlap by
// a letter and are whole as they are, "of Par" and "Paris" are not.
type Seam struct {
	said  string
	exact bool
	held  string
	open  bool // the repetition is over: everything goes through
}

// NewSeam returns a seam behind said. exact is true for a model that goes on
// with the very next character: what looks like a repetition is meant, as in
// tables and code, unless it is white space or the whole answer.
func NewSeam(said string, exact bool) *Seam {
	return &Seam{said: said, exact: exact, open: said == ""}
}

// Add takes the next text of the continuation and returns what of it is new and
// certain so far.
//
// A continuation that starts the answer again, and then with other words,
// cannot be joined: that is an error of kind Refused.
func (s *Seam) Add(text string) (string, error) {
	if s.open {
		return text, nil
	}
	s.held += text
	if s.undecided() {
		return "", nil
	}
	return s.End()
}

// End returns what is new in the text held back. The error is that of Add.
func (s *Seam) End() (string, error) {
	if s.open {
		return "", nil
	}
	s.open = true
	held := s.held
	s.held = ""
	trimmed := trimStart(held)
	opening, repeated := held, s.repeated(held)
	if n := s.repeated(trimmed); n > repeated {
		opening, repeated = trimmed, n
	}
	if repeated == 0 && !s.exact && weight(trimmed[:common(trimStart(s.said), trimmed)]) >= anew {
		return "", dispatch.Errorf(dispatch.Refused, "asked to go on with an answer, the model began it again in other words")
	}
	return opening[repeated:], nil
}

// undecided says whether more text may make a repetition of what is held, or a
// longer one.
func (s *Seam) undecided() bool {
	trimmed := trimStart(s.held)
	if trimmed == "" {
		return true
	}
	for at := range s.places() {
		tail := s.said[at:]
		for _, opening := range []string{s.held, trimmed} {
			if len(tail) > len(opening) && strings.HasPrefix(tail, opening) {
				return true
			}
		}
	}
	return false
}

// repeated is the length of the longest end of what was said that the text
// begins with and that weighs enough.
func (s *Seam) repeated(text string) int {
	for at := range s.places() {
		if tail := s.said[at:]; strings.HasPrefix(text, tail) && s.repeats(at) {
			return len(tail)
		}
	}
	return 0
}

// places are where a repetition may begin in what was said: at the beginning,
// then at each of the last characters.
func (s *Seam) places() func(yield func(at int) bool) {
	from := len(s.said)
	for n := 0; n < seamRunes && from > 0; n++ {
		_, size := utf8.DecodeLastRuneInString(s.said[:from])
		from -= size
	}
	return func(yield func(int) bool) {
		if from > 0 && !yield(0) {
			return
		}
		if start := len(s.said) - len(trimStart(s.said)); start > 0 && start < from && !yield(start) {
			return
		}
		for i := range s.said[from:] {
			if !yield(from + i) {
				return
			}
		}
	}
}

// repeats says whether a text that begins with said[at:] repeats it, rather than
// going on with the same letters by chance.
func (s *Seam) repeats(at int) bool {
	tail := s.said[at:]
	weighs := weight(tail)
	whole := trimStart(s.said[:at]) == "" // the whole answer again
	before, _ := utf8.DecodeLastRuneInString(s.said[:at])
	first, _ := utf8.DecodeRuneInString(tail)
	switch {
	case trimStart(tail) == "":
		return true
	case s.exact:
		return whole && weighs >= 4
	case whole, before == '\n':
		return true
	case inWord(first) && !wide(first) && !inWord(before): // a word from its beginning
		return true
	case inWord(first) && !wide(first): // the end of a word
		return weighs >= 8
	}
	return weighs >= 4
}

// weight tells how unlikely it is that text is repeated by chance: letters and
// digits count, those of scripts without an alphabet twice.
func weight(text string) int {
	n := 0
	for _, r := range text {
		if wide(r) {
			n++
		}
		if inWord(r) {
			n++
		}
	}
	return n
}

func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

func wide(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul)
}

func trimStart(text string) string { return strings.TrimLeftFunc(text, unicode.IsSpace) }

// common is the length of the common beginning of two texts, in whole characters.
func common(a, b string) int {
	n := 0
	for i, r := range a {
		if !strings.HasPrefix(b[i:], string(r)) {
			break
		}
		n = i + utf8.RuneLen(r)
	}
	return n
}

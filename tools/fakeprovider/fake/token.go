package fake

import (
	"unicode"
)

// split cuts text into tokens: a word with the space before it, or one Han
// character. The tokens joined are the text.
func split(text string) []string {
	var tokens []string
	start := 0
	var before rune
	for i, r := range text {
		word := unicode.IsSpace(r) && !unicode.IsSpace(before)
		if i > start && (word || unicode.Is(unicode.Han, r) || unicode.Is(unicode.Han, before)) {
			tokens = append(tokens, text[start:i])
			start = i
		}
		before = r
	}
	if start < len(text) {
		tokens = append(tokens, text[start:])
	}
	return tokens
}

// fit cuts tokens to n, or repeats them up to n.
func fit(tokens []string, n int) []string {
	if len(tokens) >= n {
		return tokens[:n]
	}
	if len(tokens) == 0 {
		tokens = []string{"word"}
	}
	fitted := make([]string, n)
	for i := range fitted {
		fitted[i] = tokens[i%len(tokens)]
		if i > 0 && i%len(tokens) == 0 {
			fitted[i] = " " + fitted[i]
		}
	}
	return fitted
}

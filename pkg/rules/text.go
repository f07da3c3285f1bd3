package rules

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Language is a language that rules answer in.
type Language string

// The languages of answers.
const (
	Chinese Language = "zh"
	English Language = "en"
)

// languages lists what every reply must be written in.
var languages = []Language{English, Chinese}

func (l Language) known() bool { return l == Chinese || l == English }

// hanWeight is how many Latin letters one Han character outweighs: a Chinese
// word is two characters, the English word beside it about seven letters.
const hanWeight = 4

// LanguageOf returns Chinese when the Han characters of text outweigh its Latin
// letters, so that "申请refund" is Chinese; English in all other cases.
func LanguageOf(text string) Language {
	han, latin := 0, 0
	for _, r := range text {
		switch {
		case unicode.Is(unicode.Han, r):
			han++
		case unicode.Is(unicode.Latin, r):
			latin++
		}
	}
	if han*hanWeight > latin {
		return Chinese
	}
	return English
}

// normalise returns text as conditions see it: lower case, full width folded,
// straight apostrophes, single spaces, none at the ends.
func normalise(text string) string {
	folded := strings.ToLower(width.Fold.String(text))
	straight := strings.ReplaceAll(folded, "’", "'")
	return strings.Join(strings.Fields(straight), " ")
}

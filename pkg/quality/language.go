package quality

import (
	"regexp"
	"unicode"

	"understudy/pkg/chat"
)

// script is the writing of a text, as far as it tells languages apart.
type script string

// The least that makes a text's script clear.
const (
	// clearWeight is in Latin letters: about four words.
	clearWeight = 20
	// hanWeight is how many letters one Han character, kana or Hangul syllable
	// outweighs: a Chinese word is two characters, an English one about seven
	// letters.
	hanWeight = 4
	// clearShare is the part of a text that is in its script, in per cent.
	clearShare = 80
)

// otherLanguage says in which script the answer is instead of the question's;
// "" when they are the same, or when one of them is not clear, or when anything
// in the request may have asked for it.
func otherLanguage(request []byte, choices []choice) string {
	if format := chat.Get(request, "response_format"); format != nil && chat.Text(format, "type") != "text" {
		return "" // keys and codes are Latin
	}
	question, err := chat.Question(request)
	if err != nil {
		return ""
	}
	asked := scriptOf(question)
	if asked == "" {
		return ""
	}
	spoken := map[script]bool{}
	for _, message := range chat.Items(chat.Get(request, "messages")) {
		text := chat.ContentText(chat.Get(message, "content"))
		if namesLanguage(text) {
			return ""
		}
		spoken[scriptOf(text)] = true
	}
	answered := script("")
	for _, c := range choices {
		answered = scriptOf(c.text)
		if c.calls || answered == "" || spoken[answered] {
			return ""
		}
	}
	if answered == "" {
		return ""
	}
	return "the question is written in " + string(asked) + ", the answer in " + string(answered)
}

// code is what has its own language: blocks, spans, addresses.
var code = regexp.MustCompile("(?s)```.*?(?:```|$)|`[^`\n]*`|https?://\\S+")

// scriptOf returns the script of nearly all of a text; "" when it is short or
// mixed. Han with kana is Japanese.
func scriptOf(text string) script {
	weights := map[script]int{}
	total := 0
	for _, r := range code.ReplaceAllString(text, " ") {
		s, weight := scriptOfRune(r)
		weights[s] += weight
		total += weight
	}
	if weights["Kana"] > 0 {
		weights["Kana"] += weights["Han"]
		delete(weights, "Han")
	}
	for s, weight := range weights {
		if weight >= clearWeight && weight*100 >= total*clearShare {
			return s
		}
	}
	return ""
}

func scriptOfRune(r rune) (script, int) {
	switch {
	case r < unicode.MaxASCII && !unicode.IsLetter(r):
		return "", 0
	case unicode.Is(unicode.Latin, r):
		return "Latin", 1
	case unicode.Is(unicode.Han, r):
		return "Han", hanWeight
	case unicode.In(r, unicode.Hiragana, unicode.Katakana):
		return "Kana", hanWeight
	case unicode.Is(unicode.Hangul, r):
		return "Hangul", hanWeight
	case unicode.Is(unicode.Cyrillic, r):
		return "Cyrillic", 1
	case unicode.Is(unicode.Arabic, r):
		return "Arabic", 1
	case unicode.IsLetter(r):
		return "another script", 1
	}
	return "", 0
}

// languageWords name a language or a translation. One of them anywhere in the
// request, and every language is in order.
var languageWords = regexp.MustCompile(`(?i)translat|language|\b(?:english|chinese|mandarin|cantonese|japanese|korean|russian|arabic|french|german|spanish|italian|portuguese)\b|` +
	`翻译|翻譯|译成|譯成|英文|英语|英語|中文|汉语|漢語|日文|日语|日本語|韩语|韓語|韩文|俄语|法语|德语|西班牙语|双语|语言|語言|言語|перевод|перевед|язык|русск|англий`)

func namesLanguage(text string) bool { return languageWords.MatchString(text) }

package rules

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

const (
	mentionsFunction = "mentions"
	mentionsOverload = "mentions_string_list"
)

// mentionsAny declares mentions(string, list(string)) to CEL.
func mentionsAny() cel.EnvOption {
	return cel.Function(mentionsFunction, cel.Overload(mentionsOverload,
		[]*cel.Type{cel.StringType, cel.ListType(cel.StringType)}, cel.BoolType,
		cel.BinaryBinding(func(text, words ref.Val) ref.Val {
			haystack, isText := text.(types.String)
			list, isList := words.(traits.Lister)
			if !isText || !isList {
				return types.MaybeNoSuchOverloadErr(text)
			}
			for it := list.Iterator(); it.HasNext() == types.True; {
				value := it.Next()
				word, isWord := value.(types.String)
				if !isWord {
					return types.MaybeNoSuchOverloadErr(value)
				}
				if mentions(string(haystack), string(word)) {
					return types.True
				}
			}
			return types.False
		})))
}

// mentionsCost charges a tenth of the text for every word, which is what CEL
// charges for contains().
func mentionsCost() cost.TrackerOption {
	return cost.OverloadTracker(mentionsOverload, func(args []ref.Val, _ ref.Val) *uint64 {
		units := uint64(1)
		text, isText := args[0].(types.String)
		words, isList := args[1].(traits.Lister)
		if isText && isList {
			count, _ := words.Size().(types.Int)
			units += uint64(count) * uint64(1+len(text)/10)
		}
		return &units
	})
}

// mentions tells whether word occurs in text with its Latin ends standing alone.
func mentions(text, word string) bool {
	for from := 0; from <= len(text)-len(word); {
		found := strings.Index(text[from:], word)
		if found < 0 {
			return false
		}
		start := from + found
		if standsAlone(text, start, start+len(word)) {
			return true
		}
		_, size := utf8.DecodeRuneInString(text[start:])
		from = start + max(size, 1)
	}
	return false
}

// standsAlone tells whether text[start:end] cuts no Latin word or number in two.
func standsAlone(text string, start, end int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:start])
	first, _ := utf8.DecodeRuneInString(text[start:])
	last, _ := utf8.DecodeLastRuneInString(text[:end])
	after, _ := utf8.DecodeRuneInString(text[end:])
	cutsBegin, cutsEnd := joins(before) && joins(first), joins(last) && joins(after)
	return !cutsBegin && !cutsEnd
}

// joins tells whether r is part of a word whose ends matter.
func joins(r rune) bool { return unicode.Is(unicode.Latin, r) || unicode.IsDigit(r) }

package main

import (
	"net/http"
	"strings"
)

// answer is what both providers say. No word comes twice, so that text which
// was sent twice shows.
const answer = "one two three four five six seven eight nine ten eleven twelve"

// end says how a request ended for its caller.
type end string

// The ends that a caller can work with.
const (
	wholeAnswer    end = "whole answer"
	emptyAnswer    end = "empty answer"
	filteredAnswer end = "filtered answer" // part of the text, and the finish reason says so
	cleanError     end = "clean error"
)

// The ends that must never be.
const (
	truncatedAnswer end = "truncated, looks complete"
	doubledText     end = "doubled text"
	wrongText       end = "wrong text"
	noEnd           end = "no clean end and no error"
	hang            end = "hang"
	rawRefusal      end = "raw 401"
	contradiction   end = "an error and a clean end"
)

// bad says whether an end must never be, whatever was expected.
func (e end) bad() bool {
	switch e {
	case wholeAnswer, emptyAnswer, filteredAnswer, cleanError:
		return false
	}
	return true
}

// endOf reads what a caller got.
func endOf(r received) end {
	switch {
	case r.overdue:
		return hang
	case r.status == http.StatusUnauthorized:
		return rawRefusal
	case doubled(r.text):
		return doubledText
	case !strings.HasPrefix(answer, r.text):
		return wrongText
	case r.failed && r.done:
		return contradiction
	case r.failed && r.code != "":
		return cleanError
	case !r.done || r.broken != nil || r.status != http.StatusOK:
		return noEnd
	case r.finish == "content_filter":
		return filteredAnswer
	case r.text == answer && r.finish == "stop":
		return wholeAnswer
	case r.text == "" && r.finish == "stop":
		return emptyAnswer
	}
	return truncatedAnswer
}

// doubled says whether a word comes twice.
func doubled(text string) bool {
	seen := map[string]bool{}
	for word := range strings.FieldsSeq(text) {
		if seen[word] {
			return true
		}
		seen[word] = true
	}
	return false
}

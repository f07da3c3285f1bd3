package quality

import (
	"fmt"

	"understudy/pkg/chat"
	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// Finding is what is wrong with an answer.
type Finding struct {
	// Check is the check that the answer did not pass; empty when it passed all.
	Check wire.QualityCheck
	// Reason says what is wrong, without the answer's words.
	Reason string
}

// Error is the failure of the attempt that gave the answer.
func (f Finding) Error() *dispatch.Error {
	return &dispatch.Error{
		Kind: dispatch.Quality, Code: string(f.Check),
		Message: fmt.Sprintf("the answer was rejected by the check %s: %s", f.Check, f.Reason),
	}
}

// Checker looks at answers. It keeps the JSON schemas that requests bring along
// compiled, a bounded number of them. It is safe for concurrent use.
type Checker struct {
	schemas *shelf
}

// New returns a Checker.
func New() *Checker { return &Checker{schemas: newShelf()} }

// Check holds a whole chat.completion against the request that it answers, and
// returns the first thing that one of the switched-on checks finds. With
// several choices, a check finds something when it does so in every one; json
// wants each to fit.
func (c *Checker) Check(on wire.Quality, request, completion []byte) Finding {
	if !on.Empty && !on.Refusal && !on.Language && !on.JSON {
		return Finding{}
	}
	choices := choicesOf(completion)
	for _, check := range []struct {
		on   bool
		name wire.QualityCheck
		find func() string
	}{
		{on.Empty, wire.QualityCheckEmpty, func() string { return empty(choices) }},
		{on.Refusal, wire.QualityCheckRefusal, func() string { return refusal(choices) }},
		{on.JSON, wire.QualityCheckJSON, func() string { return c.misfit(request, choices) }},
		{on.Language, wire.QualityCheckLanguage, func() string { return otherLanguage(request, choices) }},
	} {
		if !check.on {
			continue
		}
		if reason := check.find(); reason != "" {
			return Finding{Check: check.name, Reason: reason}
		}
	}
	return Finding{}
}

// choice is what the checks see of one choice of an answer.
type choice struct {
	text    string
	refusal string
	calls   bool // it calls a tool
	audio   bool
}

func choicesOf(completion []byte) []choice {
	var all []choice
	for _, raw := range chat.Items(chat.Get(completion, "choices")) {
		message := chat.Get(raw, "message")
		all = append(all, choice{
			text:    chat.ContentText(chat.Get(message, "content")),
			refusal: chat.Text(message, "refusal"),
			calls:   len(chat.Items(chat.Get(message, "tool_calls"))) > 0 || isObject(chat.Get(message, "function_call")),
			audio:   isObject(chat.Get(message, "audio")),
		})
	}
	return all
}

func isObject(raw []byte) bool { return len(raw) > 0 && raw[0] == '{' }

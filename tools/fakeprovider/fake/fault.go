package fake

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// FaultKind names a way in which a provider fails.
type FaultKind string

// The kinds of fault. "Whole" is an answer that is not streamed; a streamed
// answer is made of a role chunk, token chunks, a finish chunk and [DONE].
const (
	// Status answers with an HTTP error status and an OpenAI error object.
	Status FaultKind = "status"
	// Reset sends a TCP reset before any byte of an answer.
	Reset FaultKind = "reset"
	// Silence reads the request and never answers.
	Silence FaultKind = "silence"
	// SlowFirstToken adds Delay before the first token.
	SlowFirstToken FaultKind = "slow_first_token"
	// SlowTokens adds Delay before every token after the first; a whole answer
	// comes later by their sum.
	SlowTokens FaultKind = "slow_tokens"
	// Cut closes the connection after Tokens tokens, without a finish chunk. A
	// whole answer is cut in the middle of its body.
	Cut FaultKind = "cut"
	// Stall goes quiet after Tokens tokens and holds the connection open. A
	// whole answer stalls in the middle of its body.
	Stall FaultKind = "stall"
	// MalformedEvent slips one event of invalid JSON in after Tokens tokens. A
	// whole answer is as MalformedBody.
	MalformedEvent FaultKind = "malformed_event"
	// MalformedBody answers 200 with invalid JSON; in a stream, every event is.
	MalformedBody FaultKind = "malformed_body"
	// ErrorEvent sends an error object after Tokens tokens and ends without
	// [DONE]. A whole answer is an error object with status 200.
	ErrorEvent FaultKind = "error_event"
	// MissingDone leaves [DONE] out. A whole answer is as ever.
	MissingDone FaultKind = "missing_done"
	// Empty answers with no content.
	Empty FaultKind = "empty"
	// ContextLength answers 400 context_length_exceeded.
	ContextLength FaultKind = "context_length"
	// ContentFilter answers 400 content_filter.
	ContentFilter FaultKind = "content_filter"
	// ContentFilterFinish ends the answer after Tokens tokens with the finish
	// reason content_filter.
	ContentFilterFinish FaultKind = "content_filter_finish"
	// Quota answers 429 insufficient_quota.
	Quota FaultKind = "quota"
	// Account answers 401 invalid_api_key.
	Account FaultKind = "account"
)

// RetryAfterForm says how a provider spells its Retry-After.
type RetryAfterForm string

// The forms of Retry-After.
const (
	// Seconds is "Retry-After: 2", rounded up.
	Seconds RetryAfterForm = "seconds"
	// Date is "Retry-After: <HTTP date>", counted from the answer and rounded
	// up to the second.
	Date RetryAfterForm = "date"
	// Milliseconds is "retry-after-ms: 2000".
	Milliseconds RetryAfterForm = "ms"
)

// Fault is one rule: which calls fail, and how. The zero value of every
// selector means "all calls".
type Fault struct {
	Kind FaultKind `json:"kind"`

	// Model selects by model name; * stands for any run of characters.
	Model string `json:"model,omitempty"`
	// Probability selects by chance, 0 to 1; nil is always.
	Probability *float64 `json:"probability,omitempty"`
	// After spares the first so many calls that Model selects, First spares
	// all but the first so many. Both count from when the rule was set.
	After int `json:"after,omitempty"`
	First int `json:"first,omitempty"`
	// Count ends the rule after it has struck so many times.
	Count int `json:"count,omitempty"`

	// Status is the HTTP status of kind status, 400 to 599; 0 is 500.
	Status int `json:"status,omitempty"`
	// RetryAfter is what kind status asks the caller to wait, in the form
	// RetryAfterForm ("" is seconds); nil says nothing, a negative date lies
	// in the past.
	RetryAfter     *Duration      `json:"retry_after,omitempty"`
	RetryAfterForm RetryAfterForm `json:"retry_after_form,omitempty"`
	// Body takes the place of the error object of kind status.
	Body string `json:"body,omitempty"`
	// Delay belongs to the slow kinds.
	Delay Duration `json:"delay,omitempty"`
	// Tokens is how many tokens go out before the fault strikes. An answer
	// that is shorter is struck before its finish chunk.
	Tokens int `json:"tokens,omitempty"`
}

// fields lists the settings that each kind takes.
var fields = map[FaultKind][]string{
	Status:              {"status", "retry_after", "retry_after_form", "body"},
	Reset:               {},
	Silence:             {},
	SlowFirstToken:      {"delay"},
	SlowTokens:          {"delay"},
	Cut:                 {"tokens"},
	Stall:               {"tokens"},
	MalformedEvent:      {"tokens"},
	MalformedBody:       {},
	ErrorEvent:          {"tokens"},
	MissingDone:         {},
	Empty:               {},
	ContextLength:       {},
	ContentFilter:       {},
	ContentFilterFinish: {"tokens"},
	Quota:               {},
	Account:             {},
}

// Validate returns an error that names the first setting that is wrong.
func (f Fault) Validate() error {
	takes, known := fields[f.Kind]
	if !known {
		return fmt.Errorf("kind %q is unknown: use one of %s", f.Kind, kindNames())
	}
	if f.Probability != nil && !(*f.Probability >= 0 && *f.Probability <= 1) {
		return fmt.Errorf("probability %v must lie between 0 and 1", *f.Probability)
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"after", f.After}, {"first", f.First}, {"count", f.Count}, {"tokens", f.Tokens}} {
		if n.value < 0 {
			return fmt.Errorf("%s %d must not be negative", n.name, n.value)
		}
	}
	if f.First > 0 && f.After >= f.First {
		return fmt.Errorf("after %d spares every one of the first %d calls: make first larger than after", f.After, f.First)
	}
	for _, s := range []struct {
		name string
		set  bool
	}{
		{"status", f.Status != 0},
		{"retry_after", f.RetryAfter != nil},
		{"retry_after_form", f.RetryAfterForm != ""},
		{"body", f.Body != ""},
		{"delay", f.Delay != 0},
		{"tokens", f.Tokens != 0},
	} {
		if s.set && !slices.Contains(takes, s.name) {
			return fmt.Errorf("kind %s takes no %s", f.Kind, s.name)
		}
	}
	if f.Status != 0 && (f.Status < 400 || f.Status > 599) {
		return fmt.Errorf("status %d must lie between 400 and 599", f.Status)
	}
	switch f.RetryAfterForm {
	case "", Seconds, Date, Milliseconds:
	default:
		return fmt.Errorf("retry_after_form %q is unknown: use %s, %s or %s", f.RetryAfterForm, Seconds, Date, Milliseconds)
	}
	if f.RetryAfter != nil && *f.RetryAfter < 0 && f.RetryAfterForm != Date {
		return fmt.Errorf("retry_after must not be negative, but as a date")
	}
	if slices.Contains(takes, "delay") && f.Delay <= 0 {
		return fmt.Errorf("kind %s needs a delay such as \"2s\"", f.Kind)
	}
	return nil
}

// kindNames returns the known kinds, sorted, for error messages.
func kindNames() string {
	var names []string
	for kind := range fields {
		names = append(names, string(kind))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// status returns the HTTP status of a fault of kind status.
func (f Fault) status() int {
	if f.Status == 0 {
		return http.StatusInternalServerError
	}
	return f.Status
}

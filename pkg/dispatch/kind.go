package dispatch

import "net/http"

// Kind names what went wrong with one attempt. Everything that follows a
// failure (retry, handoff, breaker, what the caller sees) is decided by kind,
// never by message text.
type Kind string

// The kinds of failure.
const (
	// Transient is a server-side fault that may pass: 500, 502, 503, 529, a reset.
	Transient Kind = "transient"
	// Throttled is a rate limit: 429 that is not about money.
	Throttled Kind = "throttled"
	// Silent means that no first token came in time.
	Silent Kind = "silent"
	// Stalled means that tokens stopped coming in mid-answer.
	Stalled Kind = "stalled"
	// Truncated means that the connection ended before the answer did.
	Truncated Kind = "truncated"
	// Malformed means that the provider sent something that is no whole answer.
	Malformed Kind = "malformed"
	// Account is a fault of our credentials or our balance: 401, 402, 403, quota.
	Account Kind = "account"
	// ContextLength means that the request does not fit the model's window.
	ContextLength Kind = "context_length"
	// ContentFilter means that the provider refused the content.
	ContentFilter Kind = "content_filter"
	// BadRequest is the caller's fault: the request can succeed nowhere.
	BadRequest Kind = "bad_request"
	// Deadline means that the caller's time ran out.
	Deadline Kind = "deadline"
	// Cancelled means that the caller took the request back.
	Cancelled Kind = "cancelled"
	// Unavailable means that the worker could not take the request: its breaker
	// is open, or it is shutting down. No provider was called.
	Unavailable Kind = "unavailable"
	// Refused means that a local worker knows no answer: no rule fits, nothing
	// relevant is known.
	Refused Kind = "refused"
	// Crashed means that a worker took the request and was never heard of again.
	Crashed Kind = "crashed"
	// Quality means that the route does not take a model's answer: it is empty,
	// a refusal, in the wrong language or not the JSON that was asked for.
	Quality Kind = "quality"
)

// Again says whether the same worker may try once more.
type Again string

// The answers to "same worker again?".
const (
	Never        Again = "never"
	WithBackoff  Again = "backoff"
	AfterWaiting Again = "retry_after"
)

// Next says what happens to a request that this worker will not try again.
type Next string

// The ways on from a failure.
const (
	Handoff Next = "handoff"
	Fail    Next = "fail"
	Expire  Next = "expire"
	Cancel  Next = "cancel"
)

// Weight says what a failure means to the worker's breaker.
type Weight string

// The weights of a failure.
const (
	// Ignored failures say nothing about the provider.
	Ignored Weight = "ignored"
	// Counted failures count towards opening.
	Counted Weight = "counted"
	// Pauses stop pulling for as long as the provider asks, without a failure.
	Pauses Weight = "pauses"
	// Opens means that the breaker opens at once.
	Opens Weight = "opens"
)

// Rule is one row of the failure table.
type Rule struct {
	// Again says whether the same worker may try once more.
	Again Again
	// Next is what happens when the same worker will not.
	Next Next
	// Later allows a retry of the whole chain after a pause, once the chain is
	// exhausted and the budget of attempts and time still permits it.
	Later bool
	// Breaker is what the failure means to the worker's breaker.
	Breaker Weight
	// Status is the HTTP status that a caller sees at the end.
	Status int
	// AsItCame passes the provider's own message, type, code and parameter to
	// the caller; otherwise the caller sees our words.
	AsItCame bool
	// Type and Code are the OpenAI error fields that a caller sees at the end
	// unless AsItCame.
	Type, Code string
	// RetryAfter tells the caller to come back (the Retry-After header).
	RetryAfter bool
}

// Rules is the failure table: what follows from each kind of failure.
var Rules = map[Kind]Rule{
	Transient:     {Again: WithBackoff, Next: Handoff, Later: true, Breaker: Counted, Status: http.StatusServiceUnavailable, Type: "server_error", Code: "provider_unavailable", RetryAfter: true},
	Throttled:     {Again: AfterWaiting, Next: Handoff, Later: true, Breaker: Pauses, Status: http.StatusTooManyRequests, Type: "rate_limit_error", Code: "rate_limit_exceeded", RetryAfter: true},
	Silent:        {Again: Never, Next: Handoff, Breaker: Counted, Status: http.StatusGatewayTimeout, Type: "server_error", Code: "provider_silent", RetryAfter: true},
	Stalled:       {Again: Never, Next: Handoff, Breaker: Counted, Status: http.StatusGatewayTimeout, Type: "server_error", Code: "stream_stalled", RetryAfter: true},
	Truncated:     {Again: Never, Next: Handoff, Breaker: Counted, Status: http.StatusBadGateway, Type: "server_error", Code: "stream_truncated", RetryAfter: true},
	Malformed:     {Again: Never, Next: Handoff, Breaker: Counted, Status: http.StatusBadGateway, Type: "server_error", Code: "malformed_answer", RetryAfter: true},
	Account:       {Again: Never, Next: Handoff, Breaker: Opens, Status: http.StatusBadGateway, Type: "server_error", Code: "provider_account"},
	ContextLength: {Again: Never, Next: Handoff, Breaker: Ignored, Status: http.StatusBadRequest, AsItCame: true, Type: "invalid_request_error", Code: "context_length_exceeded"},
	ContentFilter: {Again: Never, Next: Fail, Breaker: Ignored, Status: http.StatusBadRequest, AsItCame: true, Type: "invalid_request_error", Code: "content_filter"},
	BadRequest:    {Again: Never, Next: Fail, Breaker: Ignored, Status: http.StatusBadRequest, AsItCame: true, Type: "invalid_request_error", Code: "bad_request"},
	Deadline:      {Again: Never, Next: Expire, Breaker: Ignored, Status: http.StatusRequestTimeout, Type: "timeout_error", Code: "deadline_exceeded"},
	Cancelled:     {Again: Never, Next: Cancel, Breaker: Ignored, Status: 499, Type: "invalid_request_error", Code: "cancelled"},
	Unavailable:   {Again: Never, Next: Handoff, Later: true, Breaker: Ignored, Status: http.StatusServiceUnavailable, Type: "server_error", Code: "worker_unavailable", RetryAfter: true},
	Refused:       {Again: Never, Next: Handoff, Breaker: Ignored, Status: http.StatusServiceUnavailable, Type: "server_error", Code: "no_worker_could_answer", RetryAfter: true},
	Crashed:       {Again: Never, Next: Fail, Breaker: Ignored, Status: http.StatusInternalServerError, Type: "server_error", Code: "worker_crashed"},
	Quality:       {Again: Never, Next: Handoff, Breaker: Ignored, Status: http.StatusBadGateway, Type: "server_error", Code: "answer_rejected"},
}

// Rule returns the row of the failure table for k. An unknown kind is treated
// as Transient: the safe reading of a failure nobody has named yet.
func (k Kind) Rule() Rule {
	if r, ok := Rules[k]; ok {
		return r
	}
	return Rules[Transient]
}

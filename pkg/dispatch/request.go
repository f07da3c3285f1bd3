package dispatch

import "time"

// Degrade says whether a request may be answered by something other than a
// model: knowledge, rules, a template.
type Degrade string

// The choices of Degrade.
const (
	DegradeAllow Degrade = "allow"
	DegradeNever Degrade = "never"
)

// Request is one unit of work as a worker's provider sees it. Providers treat
// it as read-only; it may be handed to several calls, one after the other.
type Request struct {
	// ID is the request id: unique, and safe as a subject token and a KV key.
	ID string
	// Route is the route that the request was published to.
	Route string
	// Tenant is the caller's tenant; may be empty.
	Tenant string
	// Body is the request as it was published: a JSON object in the shape of
	// OpenAI chat completions.
	Body []byte
	// Stream is true when somebody listens to the tokens.
	Stream bool
	// Degrade says whether a degraded answer is acceptable.
	Degrade Degrade
	// Deadline is when the caller's patience ends.
	Deadline time.Time
	// Traceparent is the caller's W3C trace context; may be empty.
	Traceparent string
}

// Chunk is one piece of a streamed answer.
type Chunk struct {
	// Data is a JSON object in the shape of an OpenAI chat.completion.chunk.
	// The receiver may keep it.
	Data []byte
	// Output is true when the chunk carries something a caller would miss (text,
	// a tool call, a refusal), false for roles, usage and other frame parts.
	Output bool
}

// Emit receives the chunks of one answer, in order and from one goroutine. It
// never blocks for long and never fails: a listener that is gone is no reason
// to stop an answer that will be recorded anyway.
type Emit func(Chunk)

// Usage counts tokens.
type Usage struct {
	Input, Output int64
}

// Answer is what a worker's provider gives for a request.
type Answer struct {
	// Body is a whole JSON object in the shape of an OpenAI chat.completion.
	Body []byte
	// Model is the model that really answered, in its provider's words.
	Model string
	// Usage counts the tokens, where the provider told.
	Usage Usage
	// Sources are the ids of the rules or documents an offline answer rests on.
	Sources []string
}

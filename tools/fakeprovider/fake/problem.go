package fake

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// problem is an error answer in OpenAI's shape.
type problem struct {
	status        int
	message, kind string
	param, code   string
	retryAfter    *Duration
	retryForm     RetryAfterForm
	override      string
}

// problems holds the answers of the kinds of fault that refuse a call.
var problems = map[FaultKind]problem{
	ContextLength: {
		status: http.StatusBadRequest, kind: "invalid_request_error", param: "messages", code: "context_length_exceeded",
		message: "This model's maximum context length is 8192 tokens, and the messages are longer. Please shorten them.",
	},
	ContentFilter: {
		status: http.StatusBadRequest, kind: "invalid_request_error", param: "messages", code: "content_filter",
		message: "The request was refused by the content filter.",
	},
	Quota: {
		status: http.StatusTooManyRequests, kind: "insufficient_quota", code: "insufficient_quota",
		message: "The quota of this account is used up. Check its plan and billing.",
	},
	Account: {
		status: http.StatusUnauthorized, kind: "invalid_request_error", code: "invalid_api_key",
		message: "The API key is not valid.",
	},
}

// problem returns the answer of a fault that refuses a call, and whether f is
// such a fault.
func (f Fault) problem() (problem, bool) {
	if f.Kind != Status {
		p, refuses := problems[f.Kind]
		return p, refuses
	}
	p := problemOf(f.status())
	p.retryAfter, p.retryForm, p.override = f.RetryAfter, f.RetryAfterForm, f.Body
	return p, true
}

// problemOf returns what a provider says with an HTTP status.
func problemOf(status int) problem {
	p := problem{status: status, kind: "server_error", message: "The server had an error: " + http.StatusText(status)}
	switch {
	case status == http.StatusTooManyRequests:
		p.kind, p.code, p.message = "requests", "rate_limit_exceeded", "Rate limit reached. Please try again later."
	case status == http.StatusUnauthorized:
		p = problems[Account]
	case status == http.StatusNotFound:
		p.kind, p.code, p.param, p.message = "invalid_request_error", "model_not_found", "model", "The model does not exist."
	case status == 529:
		p.kind, p.message = "overloaded_error", "The server is overloaded."
	case status < http.StatusInternalServerError:
		p.kind, p.message = "invalid_request_error", "The request is not valid: "+http.StatusText(status)
	}
	return p
}

// badRequest returns the answer to a request that the fake does not understand.
func badRequest(param, format string, args ...any) *problem {
	return &problem{status: http.StatusBadRequest, kind: "invalid_request_error", param: param, message: fmt.Sprintf(format, args...)}
}

// write sends the problem as the whole answer.
func (p problem) write(w http.ResponseWriter) {
	if p.retryAfter != nil {
		name, value := retryAfter(p.retryForm, time.Duration(*p.retryAfter))
		w.Header().Set(name, value)
	}
	body := p.body()
	contentType := "application/json"
	if p.override != "" {
		body = []byte(p.override)
		if !json.Valid(body) {
			contentType = "text/html; charset=utf-8"
		}
	}
	writeBody(w, p.status, contentType, body)
}

// body returns the problem as an OpenAI error object.
func (p problem) body() []byte {
	return encode(errorBody{errorObject{Message: p.message, Type: p.kind, Param: orNull(p.param), Code: orNull(p.code)}})
}

// retryAfter returns the header that asks a caller to wait.
func retryAfter(form RetryAfterForm, wait time.Duration) (name, value string) {
	switch form {
	case Milliseconds:
		return "Retry-After-Ms", strconv.FormatInt(wait.Milliseconds(), 10)
	case Date:
		up := time.Second - 1 // the format cuts off fractions
		return "Retry-After", time.Now().Add(wait + up).UTC().Format(http.TimeFormat)
	}
	return "Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds())))
}

// orNull returns nil for the empty string, which JSON shows as null.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// writeBody sends one whole body with its length.
func writeBody(w http.ResponseWriter, status int, contentType string, body []byte) {
	writeHead(w, status, contentType, len(body))
	_, _ = w.Write(body) // a caller that left hears nothing
}

// writeHead announces a body of the given length.
func writeHead(w http.ResponseWriter, status int, contentType string, length int) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(length))
	w.WriteHeader(status)
}

// writeJSON sends v as a whole body.
func writeJSON(w http.ResponseWriter, v any) {
	writeBody(w, http.StatusOK, "application/json", encode(v))
}

// encode returns v as JSON. All that the fake encodes is its own and encodable.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return data
}

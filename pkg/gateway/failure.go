package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// statusClientGone is logged for callers that hung up; nobody reads it.
const statusClientGone = 499

const retrySoonMS = 1000

// errorObject is the error of the OpenAI API.
type errorObject struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

func errorOf(f *wire.Failure) *errorObject {
	return &errorObject{Message: f.Message, Type: f.Type, Param: orNull(f.Param), Code: orNull(f.Code)}
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// errorBody returns {"error": ...}.
func errorBody(f *wire.Failure) []byte {
	body, _ := json.Marshal(map[string]*errorObject{"error": errorOf(f)}) // strings always encode
	return body
}

func retryAfter(f *wire.Failure) string {
	return strconv.FormatInt(max(1, (f.RetryAfterMS+999)/1000), 10)
}

func invalid(param, code, format string, args ...any) *wire.Failure {
	return &wire.Failure{
		Kind: dispatch.BadRequest, Status: http.StatusBadRequest, Type: "invalid_request_error",
		Code: code, Param: param, Message: fmt.Sprintf(format, args...),
	}
}

func notFound(code, format string, args ...any) *wire.Failure {
	f := invalid("", code, format, args...)
	f.Status = http.StatusNotFound
	return f
}

func tooLarge(limit int64) *wire.Failure {
	f := invalid("", "request_too_large", "the request is larger than %d bytes, the most that is taken", limit)
	f.Status = http.StatusRequestEntityTooLarge
	return f
}

func unavailable(code, format string, args ...any) *wire.Failure {
	return &wire.Failure{
		Kind: dispatch.Unavailable, Status: http.StatusServiceUnavailable, Type: "server_error",
		Code: code, Message: fmt.Sprintf(format, args...),
	}
}

func overdue(id string) *wire.Failure {
	rule := dispatch.Deadline.Rule()
	return &wire.Failure{
		Kind: dispatch.Deadline, Status: int64(rule.Status), Type: rule.Type, Code: rule.Code,
		Message: "no result within the request's deadline; GET /v1/requests/" + id + " tells what becomes of it",
	}
}

func internal() *wire.Failure {
	return &wire.Failure{
		Kind: dispatch.Transient, Status: http.StatusInternalServerError, Type: "server_error",
		Code: "internal_error", Message: "something went wrong inside the gateway; its log has the details",
	}
}

// tornStream is what a caller sees whose stream could not be completed.
func tornStream(id string) *wire.Failure {
	return &wire.Failure{
		Kind: dispatch.Truncated, Status: http.StatusBadGateway, Type: "server_error", Code: "stream_broken",
		Message: "the stream broke and the recorded answer does not continue it; GET /v1/requests/" + id + " has the answer",
	}
}

// refusal is what is wrong with a request, in the words of whoever checked it.
func refusal(err error) *wire.Failure {
	e := dispatch.AsError(err)
	return &wire.Failure{
		Kind: dispatch.BadRequest, Status: http.StatusBadRequest, Type: "invalid_request_error",
		Code: e.Code, Param: e.Param, Message: e.Message,
	}
}

// failureOf returns what a caller sees of a result that is no answer.
func failureOf(r wire.Result) *wire.Failure {
	kind := dispatch.Crashed
	switch r.Status {
	case dispatch.StatusExpired:
		kind = dispatch.Deadline
	case dispatch.StatusCancelled:
		kind = dispatch.Cancelled
	}
	rule := kind.Rule()
	f := wire.Failure{
		Kind: kind, Status: int64(rule.Status), Type: rule.Type, Code: rule.Code,
		Message: "the request ended as " + string(r.Status),
	}
	if r.Error != nil {
		f = *r.Error
	}
	if f.Status < 400 || f.Status > 599 {
		f.Status = int64(rule.Status)
	}
	return &f
}

package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Error is a failed attempt, as an adapter reports it. It never carries a
// secret: adapters put the provider's words into it, not their own headers.
type Error struct {
	// Kind decides everything that follows.
	Kind Kind
	// Status is the provider's HTTP status; 0 when there was none.
	Status int
	// Message, Type, Code and Param are the provider's own words, in the shape
	// of an OpenAI error object; empty when it gave none.
	Message, Type, Code, Param string
	// RetryAfter is how long the provider asked to be left alone; 0 when it
	// did not say.
	RetryAfter time.Duration
	// Cause is the error underneath; nil when the provider answered.
	Cause error
}

// Error returns the kind, the status and the provider's words on one line.
func (e *Error) Error() string {
	s := string(e.Kind)
	if e.Status != 0 {
		s = fmt.Sprintf("%s (status %d)", s, e.Status)
	}
	switch {
	case e.Message != "":
		return s + ": " + e.Message
	case e.Cause != nil:
		return s + ": " + e.Cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Errorf returns an Error of the given kind with a formatted message.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// AsError returns err as an *Error. An error that carries none becomes one:
// a context error becomes Deadline or Cancelled, anything else Transient.
// It returns nil for nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Kind: Deadline, Cause: err}
	case errors.Is(err, context.Canceled):
		return &Error{Kind: Cancelled, Cause: err}
	}
	return &Error{Kind: Transient, Cause: err}
}

// KindOf returns the kind of err, as AsError reads it; "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	return AsError(err).Kind
}

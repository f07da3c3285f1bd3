package openai

import (
	"net/http"
	"strconv"

	"understudy/pkg/dispatch"
)

// codes is the first half of the table that turns a provider's answer into a
// kind: error codes, and error types where there is no code. What a provider
// says in a code is more exact than its status, so codes are asked first.
var codes = map[string]dispatch.Kind{
	// Our key or our money.
	"insufficient_quota":           dispatch.Account,
	"billing_hard_limit_reached":   dispatch.Account,
	"billing_not_active":           dispatch.Account,
	"account_deactivated":          dispatch.Account,
	"access_terminated":            dispatch.Account,
	"invalid_api_key":              dispatch.Account,
	"invalid_organization":         dispatch.Account,
	"authentication_error":         dispatch.Account,
	"exceeded_current_quota_error": dispatch.Account, // Moonshot
	"insufficient_balance":         dispatch.Account,
	"insufficient_user_quota":      dispatch.Account, // new-api
	"Arrearage":                    dispatch.Account, // DashScope
	"permission_error":             dispatch.Account, // Anthropic
	"billing_error":                dispatch.Account, // Anthropic
	"UNAUTHENTICATED":              dispatch.Account, // Gemini
	"PERMISSION_DENIED":            dispatch.Account, // Gemini
	"API_KEY_INVALID":              dispatch.Account, // Gemini, with a 400
	"BILLING_DISABLED":             dispatch.Account, // Gemini

	// Too much at once.
	"rate_limit_exceeded": dispatch.Throttled,
	"rate_limit_error":    dispatch.Throttled,
	"too_many_requests":   dispatch.Throttled,
	"RESOURCE_EXHAUSTED":  dispatch.Throttled, // Gemini
	"RATE_LIMIT_EXCEEDED": dispatch.Throttled, // Gemini

	// Too long for the model.
	"context_length_exceeded":   dispatch.ContextLength,
	"exceed_context_size_error": dispatch.ContextLength, // llama.cpp
	"request_too_large":         dispatch.ContextLength, // Anthropic

	// Refused for what it says.
	"content_filter":               dispatch.ContentFilter,
	"content_policy_violation":     dispatch.ContentFilter,
	"data_inspection_failed":       dispatch.ContentFilter, // DashScope
	"DataInspectionFailed":         dispatch.ContentFilter, // DashScope
	"ResponsibleAIPolicyViolation": dispatch.ContentFilter, // Azure

	// Theirs, and it may pass.
	"server_error":        dispatch.Transient,
	"overloaded_error":    dispatch.Transient,
	"service_unavailable": dispatch.Transient,
	"api_error":           dispatch.Transient, // Anthropic
	"timeout_error":       dispatch.Transient, // Anthropic
	"UNAVAILABLE":         dispatch.Transient, // Gemini
	"INTERNAL":            dispatch.Transient, // Gemini
	"DEADLINE_EXCEEDED":   dispatch.Transient, // Gemini
}

// statuses is the second half: what a status means when no code says more. A
// status that is not here is Transient: a handoff loses nothing, a wrong
// BadRequest loses the request.
var statuses = map[int]dispatch.Kind{
	http.StatusBadRequest:            dispatch.BadRequest,
	http.StatusUnauthorized:          dispatch.Account,
	http.StatusPaymentRequired:       dispatch.Account,
	http.StatusForbidden:             dispatch.Account,
	http.StatusNotFound:              dispatch.BadRequest,
	http.StatusRequestEntityTooLarge: dispatch.ContextLength,
	http.StatusUnprocessableEntity:   dispatch.BadRequest,
	http.StatusTooManyRequests:       dispatch.Throttled,
}

// classify returns the kind of a failure that the provider told. What the
// configuration says of a code, an error type or a status goes before the table.
func (p *Provider) classify(status int, f fault) dispatch.Kind {
	for _, word := range []string{f.code, f.kind, strconv.Itoa(status)} {
		if kind, ok := p.codes[word]; ok {
			return kind
		}
	}
	switch {
	case status == http.StatusRequestEntityTooLarge: // even as a rate limit: one request that is over it stays over it
		return dispatch.ContextLength
	case f.flagged: // OpenRouter says so with a 403, which is no fault of our account
		return dispatch.ContentFilter
	}
	for _, word := range []string{f.code, f.kind} {
		if kind, ok := codes[word]; ok {
			return kind
		}
	}
	if kind, ok := statuses[status]; ok {
		return kind
	}
	return dispatch.Transient
}

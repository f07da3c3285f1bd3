// Package openai answers requests by any endpoint that speaks OpenAI chat
// completions: OpenAI itself, its many imitators, local model servers.
//
// The adapter speaks the protocol and nothing more. Timeouts, retries and the
// breaker belong to the worker harness, which ends a call by its context.
package openai

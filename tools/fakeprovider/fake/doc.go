// Package fake is an OpenAI-compatible provider made for demos, tests and load
// tests: it answers at once and recognisably, it fails on demand in every way a
// real provider fails, and it tells afterwards what it was asked.
//
// A Provider is an http.Handler; Start serves one on a listener of its own.
// Faults are chosen by a list of rules (SetFaults, PUT /admin/faults) or by the
// model name of a single request: "gpt-5-mini:fault=cut,tokens=3".
//
// It tells the time by package time alone, so that a Provider behaves inside a
// testing/synctest bubble, and it draws its chances from a seed.
package fake

// Package rules answers questions without any model: a decision table in YAML
// whose conditions are CEL expressions and whose answers are prepared texts.
//
// A file is a pack: facts, reply templates and an ordered list of rules, each
// with the cases that test it. [Load] reads every pack of a folder into an
// [Engine]; [Provider] lets a worker answer from it. A rule speaks only where
// its condition fits: a question that no rule covers gets no answer.
//
// A condition sees
//
//	text      string               the question in normal form: lower case, full
//	                               width folded, white space trimmed and collapsed
//	language  string               "zh" or "en"
//	metadata  map(string, string)  what the caller says about the request: route, tenant
//	facts     map(string, dyn)     the facts of the pack
//
// and, besides the standard functions of CEL, mentions(text, words): whether the
// text contains one of the words. A word that begins or ends with a Latin letter
// or a digit must stand alone on that side, so "refund" is not found in
// "refunded"; Han words are found anywhere.
package rules

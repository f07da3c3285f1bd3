// Package gateway is the front door: it takes chat completions over HTTP and
// over NATS, hands each one to its route's queue, and waits for the result.
//
// The result is the record, tokens are the view. What a caller reads as a clean
// end has been recorded before; a view that got torn on its way is mended from
// the record or ends in an error, never in silence.
package gateway

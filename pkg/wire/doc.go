// Package wire is what crosses the broker: the types generated from schemas/,
// strict decoding, and the names of subjects, lanes, streams and headers.
package wire

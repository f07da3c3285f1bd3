// Package dispatch holds the words of the domain: a request, the answer a
// worker gives to it, the kinds of failure and what follows from each kind.
//
// It imports the standard library only, so that every other package may import
// it. What crosses the wire is defined in schemas/ and lives in pkg/wire.
package dispatch

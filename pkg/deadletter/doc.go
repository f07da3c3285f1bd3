// Package deadletter looks into the requests that were set aside for a person,
// and replays or discards them.
package deadletter

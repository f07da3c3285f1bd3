// Package proctest holds Understudy to its promise with real processes: they
// are built, started, killed and told to stop, and every request that the
// broker acknowledged must still reach exactly one recorded end. It has tests
// only.
package proctest

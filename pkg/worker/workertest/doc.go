// Package workertest holds the worker harness to the promise: on a real broker,
// with providers that fail at random and workers that stop, vanish and come
// back, every accepted request reaches exactly one recorded terminal state.
package workertest

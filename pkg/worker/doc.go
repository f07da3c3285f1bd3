// Package worker is the harness that every worker service runs: it pulls
// requests from the lanes it owns, holds them against deadlines, attempts and
// recorded results, calls its provider under timeout, retry and breaker
// policies, and settles each request at one place.
//
// An adapter implements Provider and nothing else.
package worker

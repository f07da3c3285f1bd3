// Package quality finds answers that arrived whole and are still no answers: an
// empty one, a refusal, one in the wrong language, one that is not the JSON that
// was asked for. The checks are conservative: what is in doubt passes.
package quality

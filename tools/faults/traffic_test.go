package main

import (
	"testing"
	"time"
)

func TestPercentilesAreValuesThatWereMeasured(t *testing.T) {
	var hundred []time.Duration
	for n := range 100 {
		hundred = append(hundred, time.Duration(100-n))
	}
	for p, want := range map[int]time.Duration{1: 1, 50: 50, 99: 99, 100: 100} {
		if got := percentile(hundred, p); got != want {
			t.Errorf("%d per cent: got %d, want %d", p, got, want)
		}
	}
	if got := percentile([]time.Duration{7}, 50); got != 7 {
		t.Errorf("of one value: got %d", got)
	}
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("of nothing: got %d", got)
	}
}

func TestAFailureIsToleratedOnlyInABrokenStream(t *testing.T) {
	cut := sample{end: cleanError, got: received{status: 200, code: "stream_truncated"}}
	refusal := sample{end: cleanError, got: received{status: 503, code: "provider_unavailable"}}
	torn := sample{end: truncatedAnswer, got: received{status: 200}}
	ends, intolerable := unanswered([]sample{{end: wholeAnswer}, cut, refusal, torn})
	want := 2
	if rescueRequired {
		want = 3
	}
	if len(ends) != 3 || intolerable != want {
		t.Errorf("got %v, %d intolerable, want 3 ends, %d intolerable", ends, intolerable, want)
	}
}

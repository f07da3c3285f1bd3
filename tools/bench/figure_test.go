package main

import (
	"testing"
	"time"
)

func TestPercentileIsAMeasuredValue(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = i + 1
	}
	for _, c := range []struct {
		sorted  []int
		p, want int
	}{
		{nil, 50, 0},
		{[]int{7}, 99, 7},
		{[]int{1, 2}, 50, 1},
		{[]int{1, 2, 3}, 50, 2},
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 100, 100},
		{hundred[:10], 99, 10},
	} {
		if got := percentile(c.sorted, c.p); got != c.want {
			t.Errorf("percentile %d of %v: got %d, want %d", c.p, c.sorted, got, c.want)
		}
	}
}

func TestMedianIsTheMiddle(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0},
		{[]float64{3}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 2, 100}, 3},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v: got %v, want %v", c.values, got, c.want)
		}
	}
}

func TestFiguresCountByRequestAndSecond(t *testing.T) {
	f := figures(
		[]time.Duration{4 * time.Millisecond, 2 * time.Millisecond, time.Millisecond, 3 * time.Millisecond}, 2*time.Second,
		usage{cpu: 400 * time.Microsecond, bytes: 4096, allocs: 8},
	)
	want := Figures{Requests: 4, PerSecond: 2, P50: 2, P99: 4, CPU: 100, Bytes: 1024, Allocs: 2}
	if f != want {
		t.Errorf("got %+v, want %+v", f, want)
	}
}

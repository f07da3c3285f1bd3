package main

import (
	"cmp"
	"slices"
	"time"
)

// Figures are what one leg did in one run.
type Figures struct {
	Requests  int     `json:"requests"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	// CPU, Bytes and Allocs are what the whole process used for one request,
	// clients and broker included. On a busy machine they are steadier than
	// the clock.
	CPU    float64 `json:"cpu_us_per_request"`
	Bytes  float64 `json:"bytes_per_request"`
	Allocs float64 `json:"allocs_per_request"`

	heap uint64
}

func figures(latencies []time.Duration, elapsed time.Duration, used usage) Figures {
	slices.Sort(latencies)
	n := float64(max(len(latencies), 1))
	return Figures{
		Requests: len(latencies), PerSecond: float64(len(latencies)) / elapsed.Seconds(),
		P50: milliseconds(percentile(latencies, 50)), P99: milliseconds(percentile(latencies, 99)),
		CPU: float64(used.cpu.Microseconds()) / n, Bytes: float64(used.bytes) / n, Allocs: float64(used.allocs) / n,
		heap: used.heap,
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// percentile returns the smallest of the sorted values that p in a hundred do
// not exceed; 0 of none.
func percentile[T cmp.Ordered](sorted []T, p int) T {
	var none T
	if len(sorted) == 0 {
		return none
	}
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1]
}

// median returns the middle value, or the mean of the two in the middle; 0 of
// none.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

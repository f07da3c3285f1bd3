package main

import (
	"encoding/json"
	"strings"
	"testing"

	"understudy/pkg/wire"
)

func example() Report {
	c := Class{Durability: wire.DurabilityFast, Rounds: []Round{
		{"raw": {Requests: 100, PerSecond: 1000, P50: 1}, "dispatch": {Requests: 80, PerSecond: 800, P50: 2}},
		{"raw": {Requests: 20, PerSecond: 200, P50: 9}, "dispatch": {Requests: 10, PerSecond: 100, P50: 8}},
		{"raw": {Requests: 50, PerSecond: 500, P50: 3}, "dispatch": {Requests: 45, PerSecond: 450, P50: 4}},
	}}
	c.sumUp()
	return Report{Machine: Machine{Cores: 2, FileSystem: "ext4"}, Classes: []Class{c}, PeakRSS: 64 << 20}
}

func TestRatioIsTheMedianOfTheRoundsRatios(t *testing.T) {
	c := example().Classes[0]
	// 0.8, 0.5 and 0.9; not 450 to 500, the ratio of the medians.
	if got := c.Ratio["dispatch"]; got != 0.8 {
		t.Errorf("ratio %v, want 0.8", got)
	}
	if m := c.Median["raw"]; m.PerSecond != 500 || m.P50 != 3 {
		t.Errorf("median %+v", m)
	}
	if _, there := c.Median["gateway"]; there {
		t.Error("a leg that did not run has a median")
	}
}

func TestTableShowsEachRoundAndTheMedians(t *testing.T) {
	var out strings.Builder
	if err := example().writeTable(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"2 cores", "ext4", "\nfast\n", "peak resident 64 MB",
		"     2  dispatch         100    0.50    8.00",
		"median       raw         500            3.00",
		"median  dispatch         450    0.80    4.00",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
}

func TestJSONHoldsTheWholeReport(t *testing.T) {
	var out strings.Builder
	if err := example().writeJSON(&out); err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Classes[0].Rounds) != 3 || r.Classes[0].Ratio["dispatch"] != 0.8 || r.PeakRSS != 64<<20 {
		t.Errorf("got %+v", r)
	}
}

func TestInnermostMountNamesTheFileSystem(t *testing.T) {
	mounts := "/dev/a / ext4 rw 0 0\ntmpfs /data tmpfs rw 0 0\n/dev/b /data/deep xfs rw 0 0\nbroken\n"
	for dir, want := range map[string]string{"/home": "ext4", "/data": "tmpfs", "/data/deep/er": "xfs", "/database": "ext4"} {
		if got := mounted(mounts, dir); got != want {
			t.Errorf("%s: got %s, want %s", dir, got, want)
		}
	}
	if got := mounted("", "/"); got != unknown {
		t.Errorf("without mounts: got %s", got)
	}
}

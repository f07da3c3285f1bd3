package main

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestFaultsReachCallersAsExpected(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var l launcher
	var running sync.WaitGroup
	defer running.Wait()
	ran := 0
	for _, r := range table() {
		if !slices.Contains([]string{"cut after 3 tokens", "status 401", "missing_done"}, r.name) {
			continue
		}
		ran++
		running.Go(func() {
			cells, err := runRow(ctx, &l, r, []setting{backed, alone})
			if err != nil {
				t.Errorf("%s: %v", r.name, err)
			}
			for _, c := range cells {
				if c.bad() {
					t.Errorf("%s, %s, %s: %s; %+v", c.row.name, c.mode, c.setting, c.show(), c.got)
				}
			}
		})
	}
	if ran != 3 {
		t.Errorf("%d rows ran, want 3: a row was renamed", ran)
	}
}

func TestAPartThatIsNotMeasuredAnewStaysInTheDocument(t *testing.T) {
	path := filepath.Join(t.TempDir(), "faults.md")
	day := time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC)
	for _, p := range []part{partFailover, partTable, partFailover} {
		d, err := readDocument(path)
		if err != nil {
			t.Fatal(err)
		}
		d.set(p, "## The "+string(p)+"\n", "command", day)
		if err := d.write(path); err != nil {
			t.Fatal(err)
		}
		day = day.AddDate(1, 0, 0)
	}
	d, err := readDocument(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(d) != 2 {
		t.Errorf("the document has %d parts, want 2", len(d))
	}
	for p, want := range map[part]string{
		partTable:    "\n## The table\n\nMeasured on 2031-01-02 by `command`: " + machine() + ".\n\n",
		partFailover: "\n## The failover\n\nMeasured on 2032-01-02 by `command`: " + machine() + ".\n\n",
	} {
		if d[p] != want {
			t.Errorf("%s: got %q, want %q", p, d[p], want)
		}
	}
}

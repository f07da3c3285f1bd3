package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"understudy/pkg/wire"
)

// Report is all that a run found out.
type Report struct {
	Machine  Machine  `json:"machine"`
	Settings Settings `json:"settings"`
	Classes  []Class  `json:"classes"`
	// PeakRSS is the largest resident size of the process, PeakHeap the largest
	// heap in use at the end of a leg, both in bytes, data of all legs included.
	PeakRSS  uint64 `json:"peak_rss_bytes"`
	PeakHeap uint64 `json:"peak_heap_bytes"`
}

// Settings are the flags that the figures depend on.
type Settings struct {
	Clients  int    `json:"clients"`
	Body     int    `json:"body_bytes"`
	Duration string `json:"duration"`
	Rounds   int    `json:"rounds"`
}

// Class is what was measured for one class of durability.
type Class struct {
	Durability wire.Durability    `json:"durability"`
	Rounds     []Round            `json:"rounds"`
	Median     Round              `json:"median"`
	Ratio      map[string]float64 `json:"ratio_to_raw,omitempty"`

	peakHeap uint64
}

// Round holds the figures of each leg, by its name.
type Round map[string]Figures

// legs lists the legs in the order they are printed.
var legs = []string{"raw", "dispatch", "gateway"}

// sumUp computes the medians of each figure, and of the ratios within rounds.
func (c *Class) sumUp() {
	c.Median, c.Ratio = Round{}, map[string]float64{}
	for _, leg := range legs {
		var all []Figures
		var ratios []float64
		for _, round := range c.Rounds {
			f, ran := round[leg]
			if !ran {
				continue
			}
			all = append(all, f)
			if raw := round["raw"]; leg != "raw" && raw.PerSecond > 0 {
				ratios = append(ratios, f.PerSecond/raw.PerSecond)
			}
		}
		if len(all) > 0 {
			c.Median[leg] = middle(all)
		}
		if len(ratios) > 0 {
			c.Ratio[leg] = median(ratios)
		}
	}
}

func middle(all []Figures) Figures {
	of := func(get func(Figures) float64) float64 {
		values := make([]float64, len(all))
		for i, f := range all {
			values[i] = get(f)
		}
		return median(values)
	}
	return Figures{
		Requests:  int(of(func(f Figures) float64 { return float64(f.Requests) })),
		PerSecond: of(func(f Figures) float64 { return f.PerSecond }),
		P50:       of(func(f Figures) float64 { return f.P50 }),
		P99:       of(func(f Figures) float64 { return f.P99 }),
		CPU:       of(func(f Figures) float64 { return f.CPU }),
		Bytes:     of(func(f Figures) float64 { return f.Bytes }),
		Allocs:    of(func(f Figures) float64 { return f.Allocs }),
	}
}

func (r Report) writeJSON(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func (r Report) writeTable(out io.Writer) error {
	m := r.Machine
	fmt.Fprintf(out, "%d cores, %s, nats-server %s, %s, fsync of 1 KB %.2f ms\n", m.Cores, m.Go, m.Broker, m.FileSystem, m.FsyncMS)
	fmt.Fprintf(out, "%d clients, body %d bytes, %d rounds of %s a leg\n", r.Settings.Clients, r.Settings.Body, r.Settings.Rounds, r.Settings.Duration)
	for _, class := range r.Classes {
		fmt.Fprintf(out, "\n%s\n", class.Durability)
		if err := class.write(out); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "\nevery request was answered once; peak resident %d MB, peak heap %d MB\n", r.PeakRSS>>20, r.PeakHeap>>20)
	return err
}

func (c Class) write(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "round\tleg\trequests/s\tto raw\tp50 ms\tp99 ms\tCPU us\tKB\tallocs\t")
	row := func(round, leg string, f Figures, ratio float64) {
		to := ""
		if ratio > 0 {
			to = fmt.Sprintf("%.2f", ratio)
		}
		fmt.Fprintf(t, "%s\t%s\t%.0f\t%s\t%.2f\t%.2f\t%.0f\t%.1f\t%.0f\t\n", round, leg, f.PerSecond, to, f.P50, f.P99, f.CPU, f.Bytes/1024, f.Allocs)
	}
	for n, round := range c.Rounds {
		for _, leg := range legs {
			if f, ran := round[leg]; ran {
				ratio := 0.0
				if raw := round["raw"].PerSecond; leg != "raw" && raw > 0 {
					ratio = f.PerSecond / raw
				}
				row(fmt.Sprint(n+1), leg, f, ratio)
			}
		}
	}
	for _, leg := range legs {
		if f, ran := c.Median[leg]; ran {
			row("median", leg, f, c.Ratio[leg])
		}
	}
	return t.Flush()
}

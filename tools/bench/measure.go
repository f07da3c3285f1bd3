package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"

	"github.com/rs/zerolog"

	"understudy/pkg/wire"
)

// measure runs all rounds of one class of durability.
func measure(ctx context.Context, s settings, d wire.Durability, dir string, progress io.Writer) (class Class, err error) {
	legs := map[string]*accounts{}
	defer func() {
		for _, a := range legs {
			a.close()
		}
	}()
	for _, name := range s.Legs {
		opened, err := openers[name](ctx, conditions{
			dir: filepath.Join(dir, string(d), name), durability: d, clients: s.Clients, body: question(s.Body),
			log: zerolog.New(progress).Level(zerolog.WarnLevel),
		})
		if err != nil {
			return class, fmt.Errorf("open %s: %w", name, err)
		}
		legs[name] = &accounts{leg: opened}
		if _, err := (load{clients: s.Clients, duration: s.WarmUp, name: "warm"}).run(ctx, legs[name]); err != nil {
			return class, fmt.Errorf("warm up %s: %w", name, err)
		}
	}
	class = Class{Durability: d}
	order := slices.Clone(s.Legs)
	for n := 1; n <= s.Rounds; n++ {
		round := Round{}
		for _, name := range order {
			f, err := profiled(s, fmt.Sprintf("%s.%s.%d.pprof", d, name, n), func() (Figures, error) {
				return load{clients: s.Clients, duration: s.Duration, name: fmt.Sprint("r", n)}.run(ctx, legs[name])
			})
			if err != nil {
				return class, fmt.Errorf("round %d, %s: %w", n, name, err)
			}
			fmt.Fprintf(progress, "%s round %d: %s %.0f requests/s\n", d, n, name, f.PerSecond)
			round[name] = f
			class.peakHeap = max(class.peakHeap, f.heap)
		}
		class.Rounds = append(class.Rounds, round)
		slices.Reverse(order) // no leg always follows the same other one
	}
	class.sumUp()
	return class, nil
}

// profiled runs a leg, with profiles where they were asked for.
func profiled(s settings, name string, run func() (Figures, error)) (f Figures, err error) {
	if s.CPUProfile != "" {
		file, err := create(s.CPUProfile, "cpu."+name)
		if err != nil {
			return f, err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return f, fmt.Errorf("profile: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	if f, err = run(); err != nil || s.MemProfile == "" {
		return f, err
	}
	file, err := create(s.MemProfile, "mem."+name)
	if err != nil {
		return f, err
	}
	defer file.Close()
	if err := pprof.Lookup("allocs").WriteTo(file, 0); err != nil {
		return f, fmt.Errorf("profile: %w", err)
	}
	return f, nil
}

func create(dir, name string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	file, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	return file, nil
}

package main

import (
	"fmt"

	"understudy/pkg/bus"
	"understudy/pkg/config"
)

// ApplyCmd makes a file the running configuration.
type ApplyCmd struct {
	File   string `short:"f" required:"" placeholder:"FILE" help:"The configuration file (YAML)."`
	DryRun bool   `help:"Say what would change and change nothing."`
}

type applyView struct {
	File    string          `json:"file"`
	DryRun  bool            `json:"dry_run"`
	Changes []config.Change `json:"changes"`
}

func (v applyView) sections() []section {
	lines := config.Report{Changes: v.Changes}.Lines()
	if v.DryRun {
		lines = append([]string{"dry run: nothing was written; applying would give"}, lines...)
	}
	return []section{{lines: lines}}
}

// Run applies the file. It is read before the broker is asked, so that a
// mistake in it shows without one.
func (c ApplyCmd) Run(s *session) error {
	cfg, err := config.Load(c.File)
	if err != nil {
		return fmt.Errorf("%s was not applied:\n%w", c.File, err)
	}
	return s.withBus(func(b *bus.Bus) error {
		do := config.Apply
		if c.DryRun {
			do = config.Plan
		}
		report, err := do(s.ctx, b, cfg)
		if err != nil {
			return fmt.Errorf("apply %s: %w", c.File, err)
		}
		if !c.DryRun {
			// A product that starts without a file leaves this configuration in place.
			if err := b.SetConfigSource(s.ctx, c.File); err != nil {
				return err
			}
		}
		v := applyView{File: c.File, DryRun: c.DryRun, Changes: report.Changes}
		if v.Changes == nil {
			v.Changes = []config.Change{}
		}
		return s.show(v)
	})
}

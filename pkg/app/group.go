package app

import (
	"context"
	"fmt"
)

// Part is something that runs until its context ends. Run returns nil when it
// was told to stop.
type Part struct {
	Name string
	Run  func(ctx context.Context) error
}

// RunParts runs the parts side by side until ctx ends or one of them fails.
// They are stopped one after the other, the last one first, each given all the
// time it needs: list what others depend on before them. It returns the first
// failure.
func RunParts(ctx context.Context, parts ...Part) error {
	type end struct {
		part int
		err  error
	}
	ends := make(chan end, len(parts))
	stops := make([]context.CancelFunc, len(parts))
	for i, p := range parts {
		own, stop := context.WithCancel(context.WithoutCancel(ctx))
		defer stop()
		stops[i] = stop
		go func() { ends <- end{i, p.Run(own)} }()
	}
	var failure error
	over := make([]bool, len(parts))
	note := func(e end) {
		over[e.part] = true
		if e.err != nil && failure == nil {
			failure = fmt.Errorf("%s: %w", parts[e.part].Name, e.err)
		}
	}
	select {
	case <-ctx.Done():
	case e := <-ends:
		note(e)
		if failure == nil && ctx.Err() == nil {
			failure = fmt.Errorf("%s ended although nobody stopped it", parts[e.part].Name)
		}
	}
	for i := len(parts) - 1; i >= 0; i-- {
		stops[i]()
		for !over[i] {
			note(<-ends)
		}
	}
	return failure
}

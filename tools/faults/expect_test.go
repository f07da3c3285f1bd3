package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

func TestEveryKindOfFaultHasARow(t *testing.T) {
	have := map[string]bool{}
	for _, r := range table() {
		have[string(r.fault.Kind)] = true
	}
	for _, kind := range constants(t, "../fakeprovider/fake/fault.go", "FaultKind") {
		if !have[kind] {
			t.Errorf("the fault %q has no row: say in expect.go what should follow from it", kind)
		}
	}
}

func TestEveryWayOfBeingDownHasARow(t *testing.T) {
	have := map[string]bool{}
	for _, r := range table() {
		have[string(r.down)] = true
	}
	for _, mode := range constants(t, "../fakeprovider/fake/provider.go", "DownMode") {
		if !have[mode] {
			t.Errorf("down mode %q has no row: say in expect.go what should follow from it", mode)
		}
	}
}

// constants lists the values of the constants of a type in a file.
func constants(t *testing.T, file, kind string) []string {
	t.Helper()
	source, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(source, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, typed := spec.Type.(*ast.Ident); !typed || name.Name != kind {
			return true
		}
		for _, v := range spec.Values {
			if literal, ok := v.(*ast.BasicLit); ok {
				value, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, value)
			}
		}
		return true
	})
	if len(values) == 0 {
		t.Fatalf("%s has no constants of type %s", file, kind)
	}
	return values
}

func TestEveryRowHasANameOfItsOwnAndAValidFault(t *testing.T) {
	var names []string
	for _, r := range table() {
		if slices.Contains(names, r.name) {
			t.Errorf("two rows are called %q", r.name)
		}
		names = append(names, r.name)
		if r.down != "" {
			continue
		}
		if err := r.fault.Validate(); err != nil {
			t.Errorf("%s: %v", r.name, err)
		}
	}
}

func TestACellThatDiffersFromItsExpectationIsBad(t *testing.T) {
	all := received{status: 200, text: answer, finish: "stop", done: true}
	refusal := received{status: 503, failed: true, code: "provider_unavailable"}
	for name, c := range map[string]struct {
		cell  cell
		setup setting
		bad   bool
	}{
		"as wanted":           {cell{got: all, worker: backup, primaryCalls: 2, backupCalls: 1}, backed, false},
		"of the wrong one":    {cell{got: all, worker: primary, primaryCalls: 2, backupCalls: 1}, backed, true},
		"called twice":        {cell{got: all, worker: backup, primaryCalls: 2, backupCalls: 2}, backed, true},
		"an error":            {cell{got: refusal, primaryCalls: 2, backupCalls: 1}, backed, true},
		"the error wanted":    {cell{got: refusal, primaryCalls: 2}, alone, false},
		"another error":       {cell{got: refusal, primaryCalls: 2}, never, true},
		"never called":        {cell{got: refusal}, alone, true},
		"called far too much": {cell{got: refusal, primaryCalls: mostCalls + 1}, alone, true},
	} {
		c.cell.end = endOf(c.cell.got)
		c.cell.misses = moved(503, "provider_unavailable")(whole, c.setup).misses(c.cell)
		if c.cell.bad() != c.bad {
			t.Errorf("%s: bad is %v: %v", name, c.cell.bad(), c.cell.misses)
		}
	}
}

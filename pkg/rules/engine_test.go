package rules

import (
	"testing"
)

// bundledEngine loads the packs that are shipped.
func bundledEngine(tb testing.TB) *Engine {
	tb.Helper()
	engine, err := Load(Bundled())
	if err != nil {
		tb.Fatalf("load the bundled packs:\n%v", err)
	}
	return engine
}

func TestBundledPacksPassTheirOwnCases(t *testing.T) {
	for _, p := range bundledEngine(t).Check() {
		t.Error(p)
	}
}

package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"understudy/pkg/wire"
)

// Load reads a configuration file. Everything that is wrong with it comes back
// at once, as Errors.
func Load(path string) (wire.Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return wire.Config{}, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse reads the text of a configuration file; name stands for it in Errors.
func Parse(name string, data []byte) (wire.Config, error) {
	t := read(name, data)
	if len(t.problems) > 0 && t.doc == nil {
		return wire.Config{}, t.problems
	}
	misfits, err := t.checkSchema()
	if err != nil {
		return wire.Config{}, fmt.Errorf("%s: %w", name, err)
	}
	t.checkTop()
	t.checkNames()
	cfg, err := t.decode(misfits)
	switch {
	case err == nil:
		t.checkMeaning(cfg)
	case len(t.problems) == 0:
		return wire.Config{}, fmt.Errorf("%s: %w", name, err)
	}
	if len(t.problems) > 0 {
		return wire.Config{}, t.problems.sorted()
	}
	return cfg, nil
}

// checkSchema reports what does not fit the schema, and returns the paths.
func (t *tree) checkSchema() (misfits [][]string, err error) {
	err = wire.Check(wire.SchemaConfig, t.doc)
	if err == nil {
		return nil, nil
	}
	schema, ok := errors.AsType[*wire.SchemaError](err)
	if !ok {
		return nil, err
	}
	for _, f := range schema.Fields {
		if len(f.Path) == 0 {
			continue // the top and the names are checked apart, with their places
		}
		at := t.valuePlace(f.Path)
		if f.Message == unknownKey {
			at = t.keyPlace(f.Path)
		}
		t.problem(at, f.Path, explain(f, t.at(f.Path...)))
		misfits = append(misfits, f.Path)
	}
	return misfits, nil
}

// checkTop reports a file without its two parts.
func (t *tree) checkTop() {
	top, ok := t.doc.(map[string]any)
	if !ok {
		t.problem(place{1, 1}, nil, "a configuration has the two keys workers and routes")
		return
	}
	for _, key := range []string{"workers", "routes"} {
		if _, ok := top[key]; !ok {
			t.problem(place{1, 1}, nil, fmt.Sprintf("the key %s is missing: %s", key, shapeOf([]string{key}).Description))
		}
	}
}

// checkNames reports workers and routes whose name cannot be a subject.
func (t *tree) checkNames() {
	for _, part := range []string{"workers", "routes"} {
		for _, name := range t.keysOf(part) {
			if !wire.ValidName(name) {
				path := []string{part, name}
				t.problem(t.keyPlace(path), path, "a name has lower-case letters, digits, - and _, at most 63: rename it")
			}
		}
	}
}

// decode reads the document into its types, without the paths that do not fit,
// so that everything else can still be checked.
func (t *tree) decode(misfits [][]string) (wire.Config, error) {
	var cfg wire.Config
	for _, path := range misfits {
		t.prune(path)
	}
	data, err := json.Marshal(t.doc)
	if err != nil {
		return cfg, err
	}
	err = json.Unmarshal(data, &cfg)
	return cfg, err
}

// prune takes a value out of the document. An item of a list becomes null, so
// that the others keep their places.
func (t *tree) prune(path []string) {
	above, last := path[:len(path)-1], path[len(path)-1]
	switch parent := t.at(above...).(type) {
	case map[string]any:
		delete(parent, last)
	case []any:
		if i, err := strconv.Atoi(last); err == nil && i < len(parent) {
			parent[i] = nil
		}
	}
}

// below joins a path and further keys, without touching the path.
func below(path []string, keys ...string) []string { return append(slices.Clone(path), keys...) }

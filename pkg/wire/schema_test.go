package wire_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"understudy/pkg/wire"
	"understudy/schemas"
)

// schemaFile is what these tests read in a schema.
type schemaFile struct {
	Title      string                     `json:"title"`
	Properties map[string]json.RawMessage `json:"properties"`
}

// schemaFiles returns every schema by its name.
func schemaFiles(t *testing.T) map[wire.Schema]schemaFile {
	t.Helper()
	names, err := fs.Glob(schemas.FS, "*.json")
	if err != nil {
		t.Fatal(err)
	}
	all := map[wire.Schema]schemaFile{}
	for _, name := range names {
		data, err := schemas.FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var s schemaFile
		if err := json.Unmarshal(data, &s); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[schemaOf(name)] = s
	}
	return all
}

// declarations returns the types that a source file of this package declares,
// and its constants' values by name.
func declarations(t *testing.T, file string) (types map[string]bool, constants map[string]string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	types, constants = map[string]bool{}, map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			return false
		case *ast.TypeSpec:
			types[n.Name.Name] = true
		case *ast.ValueSpec:
			for i, name := range n.Names {
				if i >= len(n.Values) {
					continue
				}
				if lit, ok := n.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					constants[name.Name], _ = strconv.Unquote(lit.Value)
				}
			}
		}
		return true
	})
	return types, constants
}

func TestEverySchemaHasAGeneratedType(t *testing.T) {
	types, _ := declarations(t, "types.gen.go")
	for name, s := range schemaFiles(t) {
		if name == wire.SchemaHeaders || name == wire.SchemaRequest {
			continue // constants, and a body that passes through
		}
		if !types[s.Title] {
			t.Errorf("%s.json: no type %s in types.gen.go: run make generate", name, s.Title)
		}
	}
}

func TestEverySchemaConstantHasAFile(t *testing.T) {
	_, constants := declarations(t, "decode.go")
	files := schemaFiles(t)
	found := 0
	for name, value := range constants {
		if !strings.HasPrefix(name, "Schema") {
			continue
		}
		found++
		if _, ok := files[wire.Schema(value)]; !ok {
			t.Errorf("%s: there is no schemas/%s.json", name, value)
		}
		if messages[wire.Schema(value)] == nil {
			t.Errorf("%s: no golden message is checked against it", name)
		}
	}
	if found != len(messages) {
		t.Errorf("%d constants, %d schemas of messages", found, len(messages))
	}
}

func TestHeaderConstantsAreThePropertiesOfTheHeadersSchema(t *testing.T) {
	_, constants := declarations(t, "types.gen.go")
	var got []string
	for name, value := range constants {
		if strings.HasPrefix(name, "Header") {
			got = append(got, value)
		}
	}
	slices.Sort(got)
	want := slices.Sorted(maps.Keys(schemaFiles(t)[wire.SchemaHeaders].Properties))
	if !slices.Equal(got, want) {
		t.Errorf("constants %q\nschema    %q", got, want)
	}
}

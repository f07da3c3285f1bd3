package envelope_test

import (
	"encoding/json"
	"io/fs"
	"path"
	"testing"

	"understudy/pkg/envelope"
	"understudy/pkg/wire"
	"understudy/schemas"
)

// goldenHeaders returns the golden headers of a folder by file name.
func goldenHeaders(t testing.TB, folder string) map[string]envelope.Header {
	t.Helper()
	names, err := fs.Glob(schemas.FS, path.Join("testdata", folder, "headers.*.json"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no golden headers in schemas/testdata/%s: %v", folder, err)
	}
	all := map[string]envelope.Header{}
	for _, name := range names {
		data, err := schemas.FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var values map[string]any
		if err := json.Unmarshal(data, &values); err != nil {
			t.Fatal(err)
		}
		h := envelope.Header{}
		for name, v := range values {
			if text, ok := v.(string); ok {
				h[name] = []string{text}
			}
		}
		all[path.Base(name)] = h
	}
	return all
}

func TestHeadersThatFitTheSchemaAreAccepted(t *testing.T) {
	for file, h := range goldenHeaders(t, "valid") {
		if e := envelope.Open(wire.Route{}, place, h, nil); e.Invalid != nil {
			t.Errorf("%s: %v", file, e.Invalid)
		}
	}
}

func TestHeadersThatDoNotFitTheSchemaStillHaveAUsableID(t *testing.T) {
	for file, h := range goldenHeaders(t, "invalid") {
		if e := envelope.Open(wire.Route{}, place, h, nil); !wire.ValidID(e.Request.ID) {
			t.Errorf("%s: id %q", file, e.Request.ID)
		}
	}
}

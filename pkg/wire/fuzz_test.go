package wire_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"understudy/pkg/dispatch"
	"understudy/pkg/wire"
)

// FuzzDecodeResult: whatever comes in, decoding does not panic, and what it lets
// through is a result that can be written and read again.
func FuzzDecodeResult(f *testing.F) {
	for _, folder := range []string{"valid", "invalid"} {
		for file, data := range golden(f, folder) {
			if schemaOf(file) == wire.SchemaResult {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := wire.Decode[wire.Result](wire.SchemaResult, data)
		if err != nil {
			return
		}
		if !wire.ValidID(r.ID) || !wire.ValidName(r.Route) {
			t.Fatalf("accepted id %q, route %q", r.ID, r.Route)
		}
		if (r.Status == dispatch.StatusAnswered) != (r.Answer != nil) || (r.Answer == nil) != (r.Error != nil) {
			t.Fatalf("accepted %s with answer %s and error %v", r.Status, r.Answer, r.Error)
		}
		written, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("accepted but not encoded: %v", err)
		}
		read, err := wire.Decode[wire.Result](wire.SchemaResult, written)
		if err != nil {
			t.Fatalf("written and refused: %v in %s", err, written)
		}
		twice, err := json.Marshal(read)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(document(t, written), document(t, twice)) {
			t.Fatalf("changed from %s to %s", written, twice)
		}
	})
}

// FuzzCheckHeaders: any object may be held against the schema of headers, and
// the id that it lets through is one that Understudy can use.
func FuzzCheckHeaders(f *testing.F) {
	for _, folder := range []string{"valid", "invalid"} {
		for file, data := range golden(f, folder) {
			if schemaOf(file) == wire.SchemaHeaders {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := wire.Decode[map[string]any](wire.SchemaHeaders, data)
		if err != nil {
			return
		}
		if id, ok := h[wire.HeaderRequestID]; ok && !wire.ValidID(id.(string)) {
			t.Fatalf("accepted id %q", id)
		}
	})
}

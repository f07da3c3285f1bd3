package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"understudy/pkg/wire"
	"understudy/schemas"
)

// again decodes data strictly and encodes what came of it.
type again func(data []byte) ([]byte, error)

func through[T any](s wire.Schema) again {
	return func(data []byte) ([]byte, error) {
		v, err := wire.Decode[T](s, data)
		if err != nil {
			return nil, err
		}
		return json.Marshal(v)
	}
}

// messages is every schema that a message is checked against, with its way
// through Go. Headers and request bodies have no type of their own.
var messages = map[wire.Schema]again{
	wire.SchemaAttempt:    through[wire.Attempt](wire.SchemaAttempt),
	wire.SchemaConfig:     through[wire.Config](wire.SchemaConfig),
	wire.SchemaDeadLetter: through[wire.DeadLetter](wire.SchemaDeadLetter),
	wire.SchemaEmitted:    through[wire.Emitted](wire.SchemaEmitted),
	wire.SchemaDiagnosis:  through[wire.Diagnosis](wire.SchemaDiagnosis),
	wire.SchemaEvent:      through[wire.Event](wire.SchemaEvent),
	wire.SchemaHeaders:    through[map[string]string](wire.SchemaHeaders),
	wire.SchemaHealth:     through[wire.Health](wire.SchemaHealth),
	wire.SchemaOwnership:  through[wire.Ownership](wire.SchemaOwnership),
	wire.SchemaRequest:    through[json.RawMessage](wire.SchemaRequest),
	wire.SchemaResult:     through[wire.Result](wire.SchemaResult),
	wire.SchemaRoute:      through[wire.Route](wire.SchemaRoute),
	wire.SchemaWorker:     through[wire.Worker](wire.SchemaWorker),
}

// golden returns the golden messages of a folder by file name. The first part
// of the name is the schema.
func golden(t testing.TB, folder string) map[string][]byte {
	t.Helper()
	names, err := fs.Glob(schemas.FS, path.Join("testdata", folder, "*.json"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no golden messages in schemas/testdata/%s: %v", folder, err)
	}
	all := map[string][]byte{}
	for _, name := range names {
		data, err := schemas.FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[path.Base(name)] = data
	}
	return all
}

func schemaOf(file string) wire.Schema {
	name, _, _ := strings.Cut(file, ".")
	return wire.Schema(name)
}

// document decodes JSON so that two documents can be compared: numbers keep
// their digits.
func document(t testing.TB, data []byte) any {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return doc
}

func TestValidMessagesPassTheSchemaAndLoseNothingInGo(t *testing.T) {
	for file, data := range golden(t, "valid") {
		t.Run(file, func(t *testing.T) {
			s := schemaOf(file)
			doc := document(t, data)
			if err := wire.Check(s, doc); err != nil {
				t.Fatalf("check: %v", err)
			}
			encoded, err := messages[s](data)
			if err != nil {
				t.Fatalf("decode: %v", err)
			}
			if got := document(t, encoded); !reflect.DeepEqual(got, doc) {
				t.Errorf("encoded again:\n got %s\nwant %s", encoded, data)
			}
		})
	}
}

func TestInvalidMessagesAreRefusedForTheFieldAtFault(t *testing.T) {
	want := expected(t)
	files := golden(t, "invalid")
	for file, data := range files {
		t.Run(file, func(t *testing.T) {
			reason, ok := want[file]
			if !ok {
				t.Fatalf("say in invalid/EXPECTED.txt what %s is refused for", file)
			}
			_, err := messages[schemaOf(file)](data)
			if err == nil {
				t.Fatalf("accepted, want %q", reason)
			}
			message := strings.TrimPrefix(err.Error(), string(schemaOf(file))+": ")
			if !strings.HasPrefix(message, reason) {
				t.Errorf("refused for %q, want %q", message, reason)
			}
			if e, ok := errors.AsType[*wire.SchemaError](err); ok && len(e.Fields) != 1 {
				t.Errorf("breaks %d rules, want one a file: %v", len(e.Fields), e)
			}
		})
	}
	for file := range want {
		if files[file] == nil {
			t.Errorf("invalid/EXPECTED.txt names %s, which is not there", file)
		}
	}
}

func TestEverySchemaHasValidAndInvalidMessages(t *testing.T) {
	for _, folder := range []string{"valid", "invalid"} {
		files := golden(t, folder)
		seen := map[wire.Schema]bool{}
		for file := range files {
			seen[schemaOf(file)] = true
			if messages[schemaOf(file)] == nil {
				t.Errorf("%s/%s: no message has this schema", folder, file)
			}
		}
		for s := range messages {
			if !seen[s] {
				t.Errorf("%s/: no message of schema %s", folder, s)
			}
		}
	}
}

// expected reads invalid/EXPECTED.txt: the beginning of the error by file.
func expected(t *testing.T) map[string]string {
	t.Helper()
	data, err := schemas.FS.ReadFile("testdata/invalid/EXPECTED.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		file, reason, ok := strings.Cut(line, ": ")
		if !ok {
			t.Fatalf("EXPECTED.txt: %q: want <file>: <error>", line)
		}
		want[file] = reason
	}
	return want
}

package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"understudy/schemas"
)

// Schema names one of the schemas in schemas/.
type Schema string

// The schemas that messages are checked against.
const (
	SchemaAttempt    Schema = "attempt"
	SchemaConfig     Schema = "config"
	SchemaDeadLetter Schema = "dead_letter"
	SchemaEmitted    Schema = "emitted"
	SchemaDiagnosis  Schema = "diagnosis"
	SchemaEvent      Schema = "event"
	SchemaHeaders    Schema = "headers"
	SchemaHealth     Schema = "health"
	SchemaOwnership  Schema = "ownership"
	SchemaRequest    Schema = "request"
	SchemaResult     Schema = "result"
	SchemaRoute      Schema = "route"
	SchemaWorker     Schema = "worker"
)

// FieldError is one way in which a document does not fit its schema.
type FieldError struct {
	// Path leads to the field, from the document's root: keys and indexes.
	Path []string
	// Message says what is wrong with it.
	Message string
}

// Error returns the path and the message.
func (e FieldError) Error() string {
	if len(e.Path) == 0 {
		return e.Message
	}
	return strings.Join(e.Path, ".") + ": " + e.Message
}

// SchemaError lists every way in which a document does not fit.
type SchemaError struct {
	Schema Schema
	Fields []FieldError
}

// Error returns all fields' messages on one line.
func (e *SchemaError) Error() string {
	all := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		all[i] = f.Error()
	}
	return string(e.Schema) + ": " + strings.Join(all, "; ")
}

// Decode checks data against its schema and decodes it. It is the strict way in
// for everything that somebody else wrote: a *SchemaError names each field at
// fault. It costs tens of microseconds; what this process wrote itself may be
// read with encoding/json.
func Decode[T any](s Schema, data []byte) (T, error) {
	var v T
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return v, fmt.Errorf("%s: not JSON: %w", s, err)
	}
	if err := Check(s, doc); err != nil {
		return v, err
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, fmt.Errorf("%s: %w", s, err)
	}
	return v, nil
}

// Check holds a decoded document (numbers as json.Number) against its schema.
// It returns a *SchemaError when the document does not fit.
func Check(s Schema, doc any) error {
	compiled, err := compile()
	if err != nil {
		return err
	}
	err = compiled[s].Validate(doc)
	if err == nil {
		return nil
	}
	invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return fmt.Errorf("%s: %w", s, err)
	}
	e := &SchemaError{Schema: s}
	e.collect(invalid, message.NewPrinter(language.English))
	return e
}

// collect keeps the leaves: the fields at fault, not the schemas around them.
func (e *SchemaError) collect(v *jsonschema.ValidationError, p *message.Printer) {
	for _, cause := range v.Causes {
		e.collect(cause, p)
	}
	if len(v.Causes) > 0 {
		return
	}
	switch k := v.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			path := append(append([]string{}, v.InstanceLocation...), name)
			e.Fields = append(e.Fields, FieldError{Path: path, Message: "unknown key"})
		}
	case *kind.FalseSchema:
		e.Fields = append(e.Fields, FieldError{Path: v.InstanceLocation, Message: "does not belong here"})
	default:
		e.Fields = append(e.Fields, FieldError{Path: v.InstanceLocation, Message: k.LocalizedString(p)})
	}
}

// compile compiles every schema once.
var compile = sync.OnceValues(func() (map[Schema]*jsonschema.Schema, error) {
	names, err := fs.Glob(schemas.FS, "*.json")
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	for _, name := range names {
		file, err := schemas.FS.Open(name)
		if err != nil {
			return nil, err
		}
		doc, err := jsonschema.UnmarshalJSON(file)
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := compiler.AddResource("https://understudy.dev/schemas/"+name, doc); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	compiled := map[Schema]*jsonschema.Schema{}
	for _, name := range names {
		s, err := compiler.Compile("https://understudy.dev/schemas/" + name)
		if err != nil {
			return nil, err
		}
		compiled[Schema(strings.TrimSuffix(name, ".json"))] = s
	}
	return compiled, nil
})

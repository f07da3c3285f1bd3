package quality

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"understudy/pkg/chat"
)

// misfit says why a choice is not the JSON that response_format asks for; ""
// when each is, or when none was asked for.
func (c *Checker) misfit(request []byte, choices []choice) string {
	format := chat.Get(request, "response_format")
	kind := chat.Text(format, "type")
	if kind != "json_object" && kind != "json_schema" {
		return ""
	}
	for _, choice := range choices {
		if choice.calls || choice.refusal != "" {
			continue
		}
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(choice.text))
		if err != nil {
			return "it is no JSON, which response_format asks for"
		}
		if _, object := doc.(map[string]any); !object && kind == "json_object" {
			return "it is no JSON object, which response_format asks for"
		}
		if kind == "json_object" {
			continue
		}
		if schema := c.schemas.compiled(chat.Get(chat.Get(format, "json_schema"), "schema")); schema != nil {
			if err := schema.Validate(doc); err != nil {
				return "it does not fit the request's schema" + misfitAt(err)
			}
		}
	}
	return ""
}

// misfitAt names the field at fault, which is the caller's own word.
func misfitAt(err error) string {
	invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return ""
	}
	for len(invalid.Causes) > 0 {
		invalid = invalid.Causes[0]
	}
	return fmt.Sprintf(", at /%s", strings.Join(invalid.InstanceLocation, "/"))
}

// shelfSize is how many compiled schemas are kept: callers use a few again and
// again.
const shelfSize = 64

// shelf keeps compiled schemas by their text, the latest used ones.
type shelf struct {
	mu    sync.Mutex
	kept  map[string]*jsonschema.Schema // nil for one that does not compile
	order []string                      // the latest used last
}

func newShelf() *shelf { return &shelf{kept: map[string]*jsonschema.Schema{}} }

// compiled returns a schema; nil when there is none, or when it is none that can
// be used, which is for the provider to say.
func (s *shelf) compiled(raw json.RawMessage) *jsonschema.Schema {
	if !isObject(raw) {
		return nil
	}
	text := string(raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	schema, known := s.kept[text]
	if !known {
		schema = compile(raw)
	}
	s.keep(text, schema)
	return schema
}

func (s *shelf) keep(text string, schema *jsonschema.Schema) {
	if i := slices.Index(s.order, text); i >= 0 {
		s.order = slices.Delete(s.order, i, i+1)
	} else if len(s.order) == shelfSize {
		delete(s.kept, s.order[0])
		s.order = slices.Delete(s.order, 0, 1)
	}
	s.kept[text] = schema
	s.order = append(s.order, text)
}

func compile(raw []byte) *jsonschema.Schema {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil
	}
	const place = "request:schema"
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(closed{})
	if err := compiler.AddResource(place, doc); err != nil {
		return nil
	}
	schema, err := compiler.Compile(place)
	if err != nil {
		return nil
	}
	return schema
}

// closed loads nothing: a caller's schema reads no file of this machine.
type closed struct{}

// Load refuses.
func (closed) Load(url string) (any, error) {
	return nil, fmt.Errorf("load %s: schemas stand alone", url)
}

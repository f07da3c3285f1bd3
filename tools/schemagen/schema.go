package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// schema is the part of JSON Schema that the project uses.
type schema struct {
	Title                string          `json:"title"`
	Description          string          `json:"description"`
	Type                 string          `json:"type"`
	Ref                  string          `json:"$ref"`
	Enum                 []string        `json:"enum"`
	Format               string          `json:"format"`
	Required             []string        `json:"required"`
	Properties           properties      `json:"properties"`
	Items                *schema         `json:"items"`
	AdditionalProperties json.RawMessage `json:"additionalProperties"`
	GoType               string          `json:"x-go-type"`

	file string
}

// properties keeps the order in which a schema lists its properties.
type properties []property

type property struct {
	name string
	schema
}

func (p *properties) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		prop := property{name: name.(string)}
		if err := dec.Decode(&prop.schema); err != nil {
			return fmt.Errorf("property %s: %w", prop.name, err)
		}
		*p = append(*p, prop)
	}
	return nil
}

// load reads every schema in the folder, by file name.
func load(fsys fs.FS) ([]schema, error) {
	names, err := fs.Glob(fsys, "*.json")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var schemas []schema
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		s := schema{file: strings.TrimSuffix(path.Base(name), ".json")}
		if err := json.Unmarshal(data, &s); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		schemas = append(schemas, s)
	}
	return schemas, nil
}

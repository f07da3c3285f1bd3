package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/agnivade/levenshtein"

	"understudy/pkg/wire"
	"understudy/schemas"
)

// shape is what a schema says about one key: enough to explain an error.
type shape struct {
	Ref         string           `json:"$ref"`
	Description string           `json:"description"`
	GoType      string           `json:"x-go-type"`
	Enum        []string         `json:"enum"`
	Pattern     string           `json:"pattern"`
	Required    []string         `json:"required"`
	Properties  map[string]shape `json:"properties"`
	Items       *shape           `json:"items"`
	// Others is a shape, or false.
	Others json.RawMessage `json:"additionalProperties"`
}

// shapes reads the schemas that a configuration file is made of.
var shapes = sync.OnceValues(func() (map[string]shape, error) {
	names, err := schemas.FS.ReadDir(".")
	if err != nil {
		return nil, err
	}
	all := map[string]shape{}
	for _, entry := range names {
		if !strings.HasSuffix(entry.Name(), ".json") {
			continue
		}
		data, err := schemas.FS.ReadFile(entry.Name())
		if err != nil {
			return nil, err
		}
		var s shape
		if err := json.Unmarshal(data, &s); err != nil {
			return nil, fmt.Errorf("%s: %w", entry.Name(), err)
		}
		all[entry.Name()] = s
	}
	return all, nil
})

// shapeOf returns what the schema says about a path.
func shapeOf(path []string) shape {
	all, err := shapes()
	if err != nil {
		return shape{}
	}
	s := all[string(wire.SchemaConfig)+".json"]
	for _, key := range path {
		next, known := s.Properties[key]
		switch {
		case known:
		case s.Items != nil:
			next = *s.Items
		default:
			_ = json.Unmarshal(s.Others, &next) // false: no shape
		}
		if next.Ref != "" {
			next = all[next.Ref]
		}
		s = next
	}
	return s
}

// explain says what is wrong with the field and what to do. It shows a value
// only where no secret can stand.
func explain(f wire.FieldError, value any) string {
	s := shapeOf(f.Path)
	text, isText := value.(string)
	object, isObject := value.(map[string]any)
	switch {
	case f.Message == unknownKey:
		parent := slices.Sorted(maps.Keys(shapeOf(f.Path[:len(f.Path)-1]).Properties))
		return "unknown key" + suggest(f.Path[len(f.Path)-1], parent)
	case isObject && len(s.Required) > 0:
		return explainMissing(f.Path, object, s.Required)
	case s.GoType == "Duration" && isText:
		return fmt.Sprintf("%q is no duration: write a number and a unit, such as 500ms, 30s or 1m30s", text)
	case s.GoType == "Duration":
		return "a duration has a unit: write it like 500ms, 30s or 1m30s"
	case len(s.Enum) > 0 && isText:
		return fmt.Sprintf("%q is not possible here%s", text, suggest(text, s.Enum))
	case s.Pattern != "" && isText:
		return fmt.Sprintf("this value does not match %s. %s", s.Pattern, s.Description)
	case s.Description != "":
		return fmt.Sprintf("%s. %s", f.Message, s.Description)
	}
	return f.Message
}

// explainMissing names the keys that an object lacks, and what they are for.
func explainMissing(path []string, object map[string]any, required []string) string {
	var missing []string
	for _, key := range required {
		if _, there := object[key]; !there {
			missing = append(missing, fmt.Sprintf("the key %s is missing: %s", key, shapeOf(below(path, key)).Description))
		}
	}
	return strings.Join(missing, " ")
}

// unknownKey is how wire.Check names a key that no schema knows.
const unknownKey = "unknown key"

// suggest ends a message with the known word that was probably meant, or else
// with all of them.
func suggest(word string, known []string) string {
	best, distance := "", max(2, len(word)/3)+1
	for _, k := range known {
		if d := levenshtein.ComputeDistance(strings.ToLower(word), k); d < distance {
			best, distance = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf(": did you mean %s?", best)
	}
	if len(known) == 0 {
		return ": remove it"
	}
	return ": use one of " + strings.Join(known, ", ")
}

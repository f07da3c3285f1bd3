package fake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// faultMark separates a model name from the fault it asks for.
const faultMark = ":fault="

// selectors are the settings of a rule that mean nothing in a model name,
// which selects a single call by itself.
var selectors = []string{"kind", "model", "after", "first", "count"}

// ParseFaults reads a JSON list of faults. Unknown fields and impossible
// settings are errors that say which fault of the list, counted from 1, is
// wrong.
func ParseFaults(data []byte) ([]Fault, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(data, &items); err != nil {
		return nil, fmt.Errorf("read faults: want a JSON list such as [{\"kind\": \"reset\"}]: %w", err)
	}
	faults := make([]Fault, 0, len(items))
	for i, item := range items {
		fault, err := parseFault(item)
		if err != nil {
			return nil, fmt.Errorf("fault %d: %w", i+1, err)
		}
		faults = append(faults, fault)
	}
	return faults, nil
}

// ParseModel splits a requested model name into the model and the fault that
// the name asks for, nil when it asks for none. The grammar is
//
//	<model>[:fault=<kind>[,<setting>=<value>]...]
//
// with the settings spelled as in the JSON of a Fault; of its selectors, a
// name may give the probability alone.
func ParseModel(name string) (model string, fault *Fault, err error) {
	model, spec, asks := strings.Cut(name, faultMark)
	if !asks {
		return name, nil, nil
	}
	kind, settings, _ := strings.Cut(spec, ",")
	item := map[string]any{"kind": kind}
	for pair := range strings.SplitSeq(settings, ",") {
		if pair == "" {
			continue
		}
		setting, value, ok := strings.Cut(pair, "=")
		switch {
		case !ok:
			return model, nil, fmt.Errorf("model %q: write %s as setting=value", name, pair)
		case slices.Contains(selectors, setting):
			return model, nil, fmt.Errorf("model %q: %s cannot be set in a model name", name, setting)
		case json.Valid([]byte(value)):
			item[setting] = json.RawMessage(value)
		default:
			item[setting] = value
		}
	}
	data, err := json.Marshal(item)
	if err != nil {
		return model, nil, fmt.Errorf("model %q: %w", name, err)
	}
	parsed, err := parseFault(data)
	if err != nil {
		return model, nil, fmt.Errorf("model %q: %w", name, err)
	}
	return model, &parsed, nil
}

// parseFault reads one fault strictly.
func parseFault(item []byte) (Fault, error) {
	decoder := json.NewDecoder(bytes.NewReader(item))
	decoder.DisallowUnknownFields()
	var fault Fault
	if err := decoder.Decode(&fault); err != nil {
		return Fault{}, err
	}
	return fault, fault.Validate()
}

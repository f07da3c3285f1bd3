package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxNodes bounds what aliases may expand to.
const maxNodes = 100_000

// place is where something stands in the file, counted from 1.
type place struct{ line, column int }

// tree is a YAML document as plain values, and where each of them stands.
type tree struct {
	file string
	// doc holds maps, slices, strings, bools, nil and json.Number.
	doc any
	// keys and values are the places of keys and of scalar values, by path.
	keys, values map[string]place
	problems     Errors

	anchors map[string]ast.Node
	nodes   int
}

// read turns the text of a file into a tree. What is wrong with its syntax, and
// keys that come twice, are problems of the tree.
func read(file string, data []byte) *tree {
	t := &tree{file: file, keys: map[string]place{}, values: map[string]place{}, anchors: map[string]ast.Node{}}
	parsed, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if syntax, ok := errors.AsType[yaml.Error](err); ok {
		t.problem(placeOf(syntax.GetToken()), nil, "not YAML: "+syntax.GetMessage())
		return t
	}
	if err != nil {
		t.problem(place{1, 1}, nil, "not YAML: "+err.Error())
		return t
	}
	if len(parsed.Docs) > 1 {
		t.problem(placeOf(parsed.Docs[1].GetToken()), nil, "a second document begins here: keep everything in one")
	}
	if len(parsed.Docs) > 0 && parsed.Docs[0].Body != nil {
		t.doc = t.value(parsed.Docs[0].Body, nil)
	}
	return t
}

func placeOf(tk *token.Token) place {
	if tk == nil || tk.Position == nil {
		return place{1, 1}
	}
	return place{tk.Position.Line, tk.Position.Column}
}

func (t *tree) problem(at place, path []string, message string) {
	t.problems = append(t.problems, Error{File: t.file, Line: at.line, Column: at.column, Path: strings.Join(path, "."), Message: message})
}

func id(path []string) string { return strings.Join(path, "\x00") }

// keyPlace is where a path's key stands, or the nearest one above it.
func (t *tree) keyPlace(path []string) place {
	for n := len(path); n > 0; n-- {
		if at, ok := t.keys[id(path[:n])]; ok {
			return at
		}
	}
	return place{1, 1}
}

// valuePlace is where a path's value stands; a mapping or a sequence stands at
// its key.
func (t *tree) valuePlace(path []string) place {
	if at, ok := t.values[id(path)]; ok {
		return at
	}
	return t.keyPlace(path)
}

// at returns the value of a path; nil when there is none.
func (t *tree) at(path ...string) any {
	v := t.doc
	for _, key := range path {
		switch parent := v.(type) {
		case map[string]any:
			v = parent[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(parent) {
				return nil
			}
			v = parent[i]
		default:
			return nil
		}
	}
	return v
}

// keysOf lists the keys of the mapping at a path, sorted; none when there is none.
func (t *tree) keysOf(path ...string) []string {
	m, _ := t.at(path...).(map[string]any)
	return slices.Sorted(maps.Keys(m))
}

// value reads one node and notes its place and those of everything below.
func (t *tree) value(n ast.Node, path []string) any {
	if t.nodes++; t.nodes > maxNodes {
		if t.nodes == maxNodes+1 {
			t.problem(placeOf(n.GetToken()), path, "the aliases of this file expand to too much: write less with them")
		}
		return nil
	}
	switch n := n.(type) {
	case *ast.AnchorNode:
		v := t.value(n.Value, path)
		t.anchors[n.Name.GetToken().Value] = n.Value // only now: an anchor may not hold itself
		return v
	case *ast.AliasNode:
		return t.alias(n, path)
	case *ast.TagNode:
		return t.value(n.Value, path)
	case *ast.MappingNode:
		return t.mapping(n.Values, path)
	case *ast.MappingValueNode:
		return t.mapping([]*ast.MappingValueNode{n}, path)
	case *ast.SequenceNode:
		list := make([]any, len(n.Values))
		for i, item := range n.Values {
			here := below(path, strconv.Itoa(i))
			t.keys[id(here)] = placeOf(item.GetToken())
			list[i] = t.value(item, here)
		}
		return list
	}
	t.values[id(path)] = placeOf(n.GetToken())
	return scalar(n)
}

func (t *tree) alias(n *ast.AliasNode, path []string) any {
	name := n.Value.GetToken().Value
	target, ok := t.anchors[name]
	if !ok {
		t.problem(placeOf(n.GetToken()), path, fmt.Sprintf("no anchor &%s stands before this alias", name))
		return nil
	}
	return t.value(target, path)
}

func (t *tree) mapping(pairs []*ast.MappingValueNode, path []string) any {
	m := map[string]any{}
	var merges []map[string]any
	for _, pair := range pairs {
		if pair.Key.IsMergeKey() {
			if merged, ok := t.value(pair.Value, path).(map[string]any); ok {
				merges = append(merges, merged)
			} else {
				t.problem(placeOf(pair.Key.GetToken()), path, "<< wants a mapping: an alias to one, or one in place")
			}
			continue
		}
		key, at := keyOf(pair.Key)
		here := below(path, key)
		if _, repeated := m[key]; repeated {
			t.problem(at, here, fmt.Sprintf("this key is here for the second time, first in line %d: keep one", t.keys[id(here)].line))
			continue
		}
		t.keys[id(here)] = at
		delete(t.values, id(here)) // a merged value that this one replaces
		m[key] = t.value(pair.Value, here)
	}
	for _, merged := range merges {
		for key, v := range merged {
			if _, own := m[key]; !own {
				m[key] = v
			}
		}
	}
	return m
}

func keyOf(key ast.MapKeyNode) (string, place) {
	node := ast.Node(key)
	if anchor, ok := node.(*ast.AnchorNode); ok {
		node = anchor.Value
	}
	if s, ok := node.(*ast.StringNode); ok {
		return s.Value, placeOf(s.GetToken())
	}
	return node.GetToken().Value, placeOf(node.GetToken())
}

// scalar returns a leaf as JSON would hold it.
func scalar(n ast.Node) any {
	s, ok := n.(ast.ScalarNode)
	if !ok {
		return nil
	}
	switch v := s.GetValue().(type) {
	case nil, bool, string:
		return v
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return n.GetToken().Value
		}
		return json.Number(strconv.FormatFloat(v, 'g', -1, 64))
	default:
		return json.Number(fmt.Sprint(v))
	}
}

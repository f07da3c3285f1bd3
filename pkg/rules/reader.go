package rules

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// reader walks the tree of one pack file and reports whatever is not as the
// format wants it. It reads on after a problem, which the library's strict mode
// does not: that stops at the first.
type reader struct{ *source }

// root parses the file and returns its only document; nil after a problem.
func (r reader) root(data []byte) ast.Node {
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		at, message := position{1, 1}, err.Error()
		if syntax, ok := errors.AsType[yaml.Error](err); ok {
			message = syntax.GetMessage()
			if faulty := syntax.GetToken(); faulty != nil {
				at = position{faulty.Position.Line, faulty.Position.Column}
			}
		}
		r.report(at, "not YAML: %s", message)
		return nil
	}
	switch {
	case len(file.Docs) == 0 || file.Docs[0].Body == nil:
		r.report(position{1, 1}, "the file is empty: write a pack or remove it")
		return nil
	case len(file.Docs) > 1:
		r.report(position{1, 1}, "the file holds %d YAML documents: put each pack into its own file", len(file.Docs))
		return nil
	}
	return file.Docs[0].Body
}

// mapping calls the reader of each field that node gives, in the file's order,
// and reports unknown and missing ones. It returns false when node is no mapping.
func (r reader) mapping(node ast.Node, what string, fields map[string]func(ast.Node), required ...string) {
	known := slices.Sorted(maps.Keys(fields))
	given := map[string]bool{}
	ok := r.entries(node, what, func(key text, value ast.Node) {
		given[key.value] = true
		read, ok := fields[key.value]
		if !ok {
			r.report(key.at, "unknown key %q in %s: use one of %s", key.value, what, strings.Join(known, ", "))
			return
		}
		read(value)
	})
	if !ok {
		return
	}
	for _, key := range required {
		if !given[key] {
			r.report(r.place(node), "%s lacks %q: add it", what, key)
		}
	}
}

// entries calls visit for every entry of a mapping, in the file's order.
func (r reader) entries(node ast.Node, what string, visit func(key text, value ast.Node)) bool {
	mapping, ok := node.(ast.MapNode)
	if !ok {
		r.report(r.place(node), "%s must be a mapping (key: value), found %s", what, found(node))
		return false
	}
	seen := map[string]bool{}
	for it := mapping.MapRange(); it.Next(); {
		key := text{value: it.Key().GetToken().Value, at: r.place(it.Key())}
		if seen[key.value] {
			r.report(key.at, "key %q is given twice in %s: keep one", key.value, what)
			continue
		}
		seen[key.value] = true
		visit(key, it.Value())
	}
	return true
}

// list calls visit for every element of a list.
func (r reader) list(node ast.Node, what string, visit func(ast.Node)) {
	list, ok := node.(ast.ArrayNode)
	if !ok {
		r.report(r.place(node), "%s must be a list (- ...), found %s", what, found(node))
		return
	}
	for it := list.ArrayRange(); it.Next(); {
		visit(it.Value())
	}
}

// text reads a text that is not empty; the zero text after a problem.
func (r reader) text(node ast.Node, what string) text {
	value, ok := textValue(node)
	if !ok {
		r.report(r.place(node), "%s must be a text, found %s: put it in quotes", what, found(node))
		return text{}
	}
	if strings.TrimSpace(value) == "" {
		r.report(r.place(node), "%s is empty: write it or remove the key", what)
		return text{}
	}
	_, block := node.(*ast.LiteralNode)
	return text{value: value, at: r.place(node), block: block}
}

// integer reads a whole number.
func (r reader) integer(node ast.Node, what string) int {
	if number, ok := node.(*ast.IntegerNode); ok {
		switch value := number.Value.(type) {
		case int64:
			return int(value)
		case uint64:
			if value <= 1<<31 {
				return int(value)
			}
		}
	}
	r.report(r.place(node), "%s must be a whole number, found %s", what, found(node))
	return 0
}

// scalar reads a text, a number or a truth value as CEL knows them.
func (r reader) scalar(node ast.Node, what string) any {
	switch value := node.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return r.text(node, what).value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return value.(ast.ScalarNode).GetValue()
	}
	r.report(r.place(node), "%s must be a text, a number, true or false, found %s", what, found(node))
	return nil
}

// textValue returns the text of a scalar that is one by its syntax.
func textValue(node ast.Node) (string, bool) {
	switch value := node.(type) {
	case *ast.StringNode:
		return value.Value, true
	case *ast.LiteralNode:
		return value.Value.Value, true
	}
	return "", false
}

// place returns where node begins; the token of a block mapping is its first
// colon, so that its first key counts instead.
func (r reader) place(node ast.Node) position {
	at := node.GetToken()
	if mapping, ok := node.(ast.MapNode); ok {
		if it := mapping.MapRange(); it.Next() && at.Value == ":" {
			at = it.Key().GetToken()
		}
	}
	begin := position{at.Position.Line, at.Position.Column}
	if at.Type == token.StringType {
		return r.beginning(begin, at.Value)
	}
	return begin
}

// found names what stands where something else was expected.
func found(node ast.Node) string {
	switch node.(type) {
	case *ast.NullNode:
		return "nothing"
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		return "an anchor, alias or tag, which packs do not use"
	case ast.MapNode:
		return "a mapping"
	case ast.ArrayNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "a text"
	case *ast.IntegerNode, *ast.FloatNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	}
	return "something else"
}

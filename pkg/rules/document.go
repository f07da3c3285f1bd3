package rules

import (
	"github.com/goccy/go-yaml/ast"
)

// document is what a pack file says, before any of it is compiled.
type document struct {
	name, description, policy text
	facts                     []fact
	templates                 []template
	rules                     []ruleEntry
}

// fact is one named value of a pack: a scalar or a list of scalars.
type fact struct {
	name  text
	value any
}

// template is a named reply that answers may contain.
type template struct {
	name  text
	reply reply
}

// reply is one text per language.
type reply struct {
	at    position
	texts map[Language]text
}

// ruleEntry is one row of the decision table.
type ruleEntry struct {
	at                    position
	id, description, when text
	priority              int
	priorityAt            position
	answer                reply
	cases                 []caseEntry
	casesAt               position
}

// caseEntry is a question and the id of the rule that must answer it.
type caseEntry struct {
	question, rule text
	metadata       map[string]string
}

// readDocument reads a pack file; problems go to src.
func readDocument(src *source, data []byte) document {
	r := reader{src}
	var doc document
	root := r.root(data)
	if root == nil {
		return doc
	}
	r.mapping(root, "the pack", map[string]func(ast.Node){
		"name":        func(n ast.Node) { doc.name = r.text(n, "name") },
		"description": func(n ast.Node) { doc.description = r.text(n, "description") },
		"hit_policy":  func(n ast.Node) { doc.policy = r.text(n, "hit_policy") },
		"facts":       func(n ast.Node) { doc.facts = r.facts(n) },
		"templates":   func(n ast.Node) { doc.templates = r.templates(n) },
		"rules": func(n ast.Node) {
			r.list(n, "rules", func(n ast.Node) { doc.rules = append(doc.rules, r.rule(n)) })
		},
	}, "name", "description", "rules")
	return doc
}

func (r reader) facts(node ast.Node) []fact {
	var facts []fact
	r.entries(node, "facts", func(name text, value ast.Node) {
		r.identifier(name)
		facts = append(facts, fact{name: name, value: r.factValue(name.value, value)})
	})
	return facts
}

func (r reader) factValue(name string, node ast.Node) any {
	what := "fact " + name
	if _, ok := node.(ast.ArrayNode); !ok {
		return r.scalar(node, what)
	}
	values := []any{}
	r.list(node, what, func(n ast.Node) { values = append(values, r.scalar(n, "an element of "+what)) })
	return values
}

func (r reader) templates(node ast.Node) []template {
	var templates []template
	r.entries(node, "templates", func(name text, value ast.Node) {
		r.identifier(name)
		templates = append(templates, template{name: name, reply: r.reply(value, "template "+name.value)})
	})
	return templates
}

func (r reader) reply(node ast.Node, what string) reply {
	result := reply{at: r.place(node), texts: map[Language]text{}}
	fields := map[string]func(ast.Node){}
	required := make([]string, len(languages))
	for i, language := range languages {
		required[i] = string(language)
		fields[string(language)] = func(n ast.Node) {
			result.texts[language] = r.text(n, what+" in "+string(language))
		}
	}
	r.mapping(node, what, fields, required...)
	return result
}

func (r reader) rule(node ast.Node) ruleEntry {
	entry := ruleEntry{at: r.place(node)}
	r.mapping(node, "a rule", map[string]func(ast.Node){
		"id":          func(n ast.Node) { entry.id = r.text(n, "id") },
		"description": func(n ast.Node) { entry.description = r.text(n, "description") },
		"priority":    func(n ast.Node) { entry.priority, entry.priorityAt = r.integer(n, "priority"), r.place(n) },
		"when":        func(n ast.Node) { entry.when = r.text(n, "when") },
		"answer":      func(n ast.Node) { entry.answer = r.reply(n, "answer") },
		"tests": func(n ast.Node) {
			entry.casesAt = r.place(n)
			r.list(n, "tests", func(n ast.Node) { entry.cases = append(entry.cases, r.testCase(n)) })
		},
	}, "id", "description", "when", "answer", "tests")
	return entry
}

func (r reader) testCase(node ast.Node) caseEntry {
	var entry caseEntry
	r.mapping(node, "a test", map[string]func(ast.Node){
		"text": func(n ast.Node) { entry.question = r.text(n, "text") },
		"rule": func(n ast.Node) { entry.rule = r.text(n, "rule") },
		"metadata": func(n ast.Node) {
			entry.metadata = map[string]string{}
			r.entries(n, "metadata", func(key text, value ast.Node) {
				entry.metadata[key.value] = r.text(value, "metadata "+key.value).value
			})
		},
	}, "text", "rule")
	return entry
}

// identifier reports a name that {{name}} and facts.name could not reach.
func (r reader) identifier(name text) {
	for i, c := range name.value {
		letter := c == '_' || c >= 'a' && c <= 'z'
		digit := c >= '0' && c <= '9'
		if !letter && (!digit || i == 0) {
			r.report(name.at, "name %q must be of a-z, 0-9 and _, beginning with a letter", name.value)
			return
		}
	}
}

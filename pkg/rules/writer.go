package rules

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// writer fills the variables of replies: {{name}} becomes the fact or the
// template of that name. Templates may contain facts, not other templates.
type writer struct {
	src       *source
	facts     map[string]any
	templates map[string]map[Language]string
}

// newWriter fills the templates of a document; problems go to src.
func newWriter(src *source, doc document) writer {
	w := writer{src: src, facts: map[string]any{}, templates: map[string]map[Language]string{}}
	for _, f := range doc.facts {
		w.facts[f.name.value] = f.value
	}
	filled := map[string]map[Language]string{}
	for _, t := range doc.templates {
		if _, taken := w.facts[t.name.value]; taken {
			src.report(t.name.at, "template %q has the name of a fact: rename one", t.name.value)
		}
		filled[t.name.value] = w.write(t.reply)
	}
	w.templates = filled
	return w
}

// write returns the reply with its variables filled, per language.
func (w writer) write(r reply) map[Language]string {
	texts := map[Language]string{}
	for _, language := range languages {
		if t := r.texts[language]; t.given() {
			texts[language] = strings.TrimSpace(w.fill(t, language))
		}
	}
	return texts
}

// fill returns the value of t with its variables replaced.
func (w writer) fill(t text, language Language) string {
	var out strings.Builder
	rest := t.value
	for {
		before, after, found := strings.Cut(rest, "{{")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		opening := len(t.value) - len(after) - len("{{")
		at := w.src.within(t, utf8.RuneCountInString(t.value[:opening]))
		name, tail, closed := strings.Cut(after, "}}")
		if !closed {
			w.src.report(at, "{{ without }}: close the variable")
			return out.String()
		}
		value, err := w.value(strings.TrimSpace(name), language)
		if err != nil {
			w.src.report(at, "%v", err)
		}
		out.WriteString(value)
		rest = tail
	}
}

// value returns what {{name}} stands for.
func (w writer) value(name string, language Language) (string, error) {
	if texts, ok := w.templates[name]; ok {
		return texts[language], nil
	}
	value, ok := w.facts[name]
	if !ok {
		return "", fmt.Errorf("unknown variable {{%s}}: add it to facts or templates", name)
	}
	if _, list := value.([]any); list {
		return "", fmt.Errorf("fact %q is a list, which a text cannot show", name)
	}
	return fmt.Sprint(value), nil
}

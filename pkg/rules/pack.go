package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// hitPolicy says which rule answers when several fit.
type hitPolicy string

const (
	// hitFirst lets the rule that stands first in the file answer.
	hitFirst hitPolicy = "first"
	// hitPriority lets the rule with the highest priority answer; among equals,
	// the one that stands first.
	hitPriority hitPolicy = "priority"
)

// noRule is what a test case expects when nothing may fit.
const noRule = "none"

// pack is one compiled file.
type pack struct {
	name  string
	facts ref.Val
	// rules are in the order in which they are asked: the first that fits answers.
	rules []rule
}

// rule is one compiled row of the decision table.
type rule struct {
	id       string
	at       position
	priority int
	program  cel.Program
	// answers hold the finished texts: facts do not change while a pack is loaded.
	answers map[Language]string
	cases   []testCase
}

// testCase is a question and the rule that must answer it; noRule for none.
type testCase struct {
	at       position
	question Question
	rule     string
}

// compile turns a document into a pack; problems go to src.
func compile(src *source, doc document) (*pack, error) {
	facts := map[string]any{}
	for _, f := range doc.facts {
		facts[f.name.value] = f.value
	}
	conditions, err := newConditions(facts)
	if err != nil {
		return nil, err
	}
	p := &pack{name: doc.name.value, facts: types.DefaultTypeAdapter.NativeToValue(facts)}
	policy := compilePolicy(src, doc.policy)
	writer := newWriter(src, doc)
	for _, entry := range doc.rules {
		checkPriority(src, policy, entry)
		r := rule{id: entry.id.value, at: entry.id.at, priority: entry.priority}
		if entry.when.given() {
			r.program = conditions.compile(src, entry.when)
		}
		r.answers = writer.write(entry.answer)
		r.cases = compileCases(src, entry)
		p.rules = append(p.rules, r)
	}
	checkIDs(src, doc.rules)
	if policy == hitPriority {
		slices.SortStableFunc(p.rules, func(a, b rule) int { return cmp.Compare(b.priority, a.priority) })
	}
	return p, nil
}

// compilePolicy reads the hit policy; a pack that names none takes the first.
func compilePolicy(src *source, policy text) hitPolicy {
	known := []hitPolicy{hitFirst, hitPriority}
	if !policy.given() || slices.Contains(known, hitPolicy(policy.value)) {
		return cmp.Or(hitPolicy(policy.value), hitFirst)
	}
	src.report(policy.at, "unknown hit policy %q: use one of %s, %s", policy.value, hitFirst, hitPriority)
	return ""
}

func checkPriority(src *source, policy hitPolicy, entry ruleEntry) {
	if policy == hitFirst && entry.priorityAt.line > 0 {
		src.report(entry.priorityAt, "priority means nothing under hit policy %s: remove it, or set hit_policy: %s", hitFirst, hitPriority)
	}
}

// checkIDs reports ids that are reserved, hard to read in a trace or not unique
// in the file, and test cases that expect a rule that the file does not have.
func checkIDs(src *source, entries []ruleEntry) {
	seen := map[string]position{noRule: {}}
	for _, entry := range entries {
		id := entry.id
		if !id.given() {
			return // reported already, and any unknown id may be the missing one
		}
		if id.value == noRule || strings.Trim(id.value, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
			src.report(id.at, "id %q cannot be used: write a-z, 0-9, -, _ and ., anything but %q", id.value, noRule)
			continue
		}
		if first, taken := seen[id.value]; taken {
			src.report(id.at, "id %q is already used at line %d: rename one", id.value, first.line)
			continue
		}
		seen[id.value] = id.at
	}
	for _, entry := range entries {
		for _, c := range entry.cases {
			if _, known := seen[c.rule.value]; c.rule.given() && !known {
				src.report(c.rule.at, "the test expects rule %q, which is not in this file: use a rule's id or %q", c.rule.value, noRule)
			}
		}
	}
}

// compileCases reads the tests of a rule, which must show it a question of its
// own in every language.
func compileCases(src *source, entry ruleEntry) []testCase {
	shown := map[Language]bool{}
	cases := make([]testCase, 0, len(entry.cases))
	for _, c := range entry.cases {
		if c.rule.value == entry.id.value {
			shown[LanguageOf(c.question.value)] = true
		}
		question := Question{Text: c.question.value, Metadata: c.metadata}
		cases = append(cases, testCase{at: c.question.at, question: question, rule: c.rule.value})
	}
	if entry.casesAt.line == 0 || !entry.id.given() {
		return cases
	}
	var missing []string
	for _, language := range languages {
		if !shown[language] {
			missing = append(missing, fmt.Sprint(language))
		}
	}
	if len(missing) > 0 {
		src.report(entry.casesAt, "rule %q has no test that expects it in %s: add one", entry.id.value, strings.Join(missing, ", "))
	}
	return cases
}

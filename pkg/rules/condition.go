package rules

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

const (
	// costLimit bounds one evaluation of one condition, in CEL's units (about
	// one an operation, one a ten characters looked at).
	costLimit = 100_000
	// regexLimit bounds the size of a compiled pattern of matches().
	regexLimit = 10_000
	// nestingLimit bounds loops in loops: all(), exists(), filter(), map().
	nestingLimit = 2
)

// conditions compiles the conditions of one pack.
type conditions struct {
	env *cel.Env
}

func newConditions(facts map[string]any) (conditions, error) {
	env, err := cel.NewEnv(
		cel.Variable("text", cel.StringType),
		cel.Variable("language", cel.StringType),
		cel.Variable("metadata", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("facts", cel.MapType(cel.StringType, cel.DynType)),
		mentionsAny(),
		cel.RegexProgramSizeLimit(regexLimit),
		cel.ASTValidators(
			cel.ValidateRegexLiterals(),
			cel.ValidateComprehensionNestingLimit(nestingLimit),
			knownFacts{facts},
			spelledWords{facts},
		),
	)
	if err != nil {
		return conditions{}, fmt.Errorf("build the environment of conditions: %w", err)
	}
	return conditions{env: env}, nil
}

// compile returns the program of a condition; nil after problems, which go to
// src at their places in the file. The program is safe for concurrent use.
func (c conditions) compile(src *source, when text) cel.Program {
	checked, issues := c.env.Compile(when.value)
	if issues.Err() != nil {
		for _, issue := range issues.Errors() {
			at := src.within(when, index(when.value, issue.Location.Line(), issue.Location.Column()))
			src.report(at, "when: %s", issue.Message)
		}
		return nil
	}
	if checked.OutputType() != cel.BoolType {
		src.report(when.at, "when must be true or false, it is %s: compare it with something", checked.OutputType())
		return nil
	}
	program, err := c.env.Program(checked,
		cel.EvalOptions(cel.OptOptimize),
		cel.CostLimit(costLimit),
		cel.CostTrackerOptions(mentionsCost()),
	)
	if err != nil {
		src.report(when.at, "when: %v", err)
		return nil
	}
	return program
}

// index returns the index of the character at a CEL location: lines count from
// 1, columns from 0.
func index(value string, line, column int) int {
	i, at := 0, 1
	for _, r := range value {
		if at == line {
			break
		}
		if r == '\n' {
			at++
		}
		i++
	}
	return i + column
}

// knownFacts reports facts that the pack does not have.
type knownFacts struct{ facts map[string]any }

// Name returns the name of the validator.
func (knownFacts) Name() string { return "understudy.known_facts" }

// Validate reports every facts.name and facts["name"] without such a fact.
func (k knownFacts) Validate(_ *cel.Env, _ cel.ValidatorConfig, tree *ast.AST, issues *cel.Issues) {
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		name, ok := factName(e)
		if !ok {
			return
		}
		if _, known := k.facts[name]; !known {
			issues.ReportErrorAtID(e.ID(), "unknown fact %q: add it to facts", name)
		}
	}))
}

// factName returns the fact that an expression reads by a literal name.
func factName(e ast.Expr) (string, bool) {
	switch e.Kind() {
	case ast.SelectKind:
		return e.AsSelect().FieldName(), isFacts(e.AsSelect().Operand())
	case ast.CallKind:
		call := e.AsCall()
		if call.FunctionName() != operators.Index || !isFacts(call.Args()[0]) {
			return "", false
		}
		return literal(call.Args()[1])
	}
	return "", false
}

func isFacts(e ast.Expr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == "facts" }

func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	value, ok := e.AsLiteral().Value().(string)
	return value, ok
}

// spelledWords reports words given to mentions() that no text in normal form
// can contain.
type spelledWords struct{ facts map[string]any }

// Name returns the name of the validator.
func (spelledWords) Name() string { return "understudy.spelled_words" }

// Validate reports the words of every mentions(text, [...]) and
// mentions(text, facts.name) that are not in normal form.
func (s spelledWords) Validate(_ *cel.Env, _ cel.ValidatorConfig, tree *ast.AST, issues *cel.Issues) {
	check := func(id int64, word string) {
		if want := normalise(word); word != want || word == "" {
			issues.ReportErrorAtID(id, "mentions never finds %q: texts are in lower case and half width, write %q", word, want)
		}
	}
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != mentionsFunction {
			return
		}
		words := e.AsCall().Args()[1]
		if words.Kind() == ast.ListKind {
			for _, element := range words.AsList().Elements() {
				if word, ok := literal(element); ok {
					check(element.ID(), word)
				}
			}
			return
		}
		name, ok := factName(words)
		if !ok {
			return
		}
		list, ok := s.facts[name].([]any)
		if !ok {
			issues.ReportErrorAtID(words.ID(), "mentions needs a list of words, fact %q is none", name)
		}
		for _, element := range list {
			word, _ := element.(string)
			check(words.ID(), word)
		}
	}))
}

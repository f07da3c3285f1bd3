package rules

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

//go:embed packs
var bundled embed.FS

// Bundled returns the folder of the packs that are shipped with the program.
func Bundled() fs.FS {
	packs, err := fs.Sub(bundled, "packs")
	if err != nil {
		panic(err) // "packs" is a valid path: fs.Sub has no other fault to report
	}
	return packs
}

// Engine decides questions by rules. It is safe for concurrent use and never
// changes once it is loaded.
type Engine struct {
	packs []*pack
	// files are the paths of the packs, in the same order.
	files []string
}

// Load reads every pack (*.yaml, *.yml) that lies directly in fsys, in the order
// of their names. A rule id must be unique in all of them. Faults in the packs
// come as one *[PackError] with all of them; a folder without packs is an error.
func Load(fsys fs.FS) (*Engine, error) {
	files, err := packFiles(fsys)
	if err != nil {
		return nil, err
	}
	engine := &Engine{}
	var problems []Problem
	owners := map[string]Problem{}
	for _, file := range files {
		data, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, fmt.Errorf("read pack: %w", err)
		}
		src := newSource(file, data)
		p, err := compile(src, readDocument(src, data))
		if err != nil {
			return nil, fmt.Errorf("compile pack %s: %w", file, err)
		}
		claimIDs(src, p, owners)
		problems = append(problems, src.problems...)
		engine.packs = append(engine.packs, p)
		engine.files = append(engine.files, file)
	}
	if len(problems) > 0 {
		sortProblems(problems)
		return nil, &PackError{Problems: problems}
	}
	return engine, nil
}

// packFiles lists the packs of a folder.
func packFiles(fsys fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("list packs: %w", err)
	}
	var files []string
	for _, entry := range entries {
		if !entry.IsDir() && slices.Contains([]string{".yaml", ".yml"}, path.Ext(entry.Name())) {
			files = append(files, entry.Name())
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("list packs: the folder holds no *.yaml file: %w", fs.ErrNotExist)
	}
	return files, nil
}

// claimIDs reports ids that another file has already used.
func claimIDs(src *source, p *pack, owners map[string]Problem) {
	for _, r := range p.rules {
		owner, taken := owners[r.id]
		if taken && owner.File != src.file {
			src.report(r.at, "id %q is already used in %s at line %d: rename one", r.id, owner.File, owner.Line)
			continue
		}
		owners[r.id] = Problem{File: src.file, Line: r.at.line}
	}
}

// Question is what a user asks.
type Question struct {
	// Text is the question in the user's words.
	Text string
	// Language is the language of the answer; detected from Text when it is empty.
	Language Language
	// Metadata says more about the request: route, tenant. May be nil.
	Metadata map[string]string
}

// Decision is what the rules say to a question.
type Decision struct {
	// Pack and RuleID name the rule that answers; empty when none fits.
	Pack, RuleID string
	// Text is the answer, ready to be shown; empty when no rule fits.
	Text string
	// Language is the language of the answer, given or detected.
	Language Language
	// Trace lists the rules that were asked, in order.
	Trace []Step
}

// Step is one rule that was asked.
type Step struct {
	RuleID string
	// Fits says whether the rule's condition held.
	Fits bool
	// Err is why the condition could not be evaluated: its cost limit, metadata
	// that is not there. Such a rule does not fit.
	Err error
}

// Decide asks the packs in the order of their names and returns what the first
// rule that fits says, under each pack's hit policy. It returns false when no
// rule fits; the trace then lists every rule.
func (e *Engine) Decide(q Question) (Decision, bool) {
	decision := Decision{Language: q.Language}
	if !q.Language.known() {
		decision.Language = LanguageOf(q.Text)
	}
	input := map[string]any{
		"text":     types.String(normalise(q.Text)),
		"language": types.String(decision.Language),
		"metadata": types.DefaultTypeAdapter.NativeToValue(q.Metadata),
	}
	for _, p := range e.packs {
		input["facts"] = p.facts
		for i := range p.rules {
			r := &p.rules[i]
			fits, err := evaluate(r.program, input)
			decision.Trace = append(decision.Trace, Step{RuleID: r.id, Fits: fits, Err: err})
			if fits {
				decision.Pack, decision.RuleID, decision.Text = p.name, r.id, r.answers[decision.Language]
				return decision, true
			}
		}
	}
	return decision, false
}

func evaluate(program cel.Program, input map[string]any) (bool, error) {
	out, _, err := program.Eval(input)
	if err != nil {
		return false, err
	}
	return out == types.True, nil
}

// Check runs the tests of every rule and returns a problem for each question
// that another rule answers than the test expects; nil when all is well.
func (e *Engine) Check() []Problem {
	var problems []Problem
	for i, p := range e.packs {
		for _, r := range p.rules {
			for _, c := range r.cases {
				decision, fits := e.Decide(c.question)
				got := decision.RuleID
				if !fits {
					got = noRule
				}
				if got != c.rule {
					problems = append(problems, Problem{
						File: e.files[i], Line: c.at.line, Column: c.at.column,
						Message: fmt.Sprintf("%q is answered by %s, expected %s", c.question.Text, got, c.rule),
					})
				}
			}
		}
	}
	sortProblems(problems)
	return problems
}

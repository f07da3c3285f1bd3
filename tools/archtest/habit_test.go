package archtest

import (
	"encoding/json"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"understudy/schemas"
)

func TestEveryPackageHasADocComment(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" {
			t.Errorf("%s has no doc comment: say in doc.go what it is for, in a sentence that begins with its name", p.path)
		}
	}
}

func TestPackagesAreNamedForWhatTheyHold(t *testing.T) {
	vague := []string{"util", "common", "helpers", "types", "models", "core", "manager"}
	for _, p := range packages(t) {
		if slices.Contains(vague, p.Name) {
			t.Errorf("%s: package %s could hold anything: name it for the one noun that it is about", p.path, p.Name)
		}
	}
}

// pkg/standalone composes all services for the mains that run them in one
// process, and stands for a main.
func TestOnlyMainsAndConfigReadTheEnvironment(t *testing.T) {
	for _, s := range sources(t) {
		main := s.pkg.Name == "main" && s.pkg.is("services", "tools") || s.pkg.is("pkg/standalone")
		if s.test() || main || s.pkg.is("pkg/config") {
			continue
		}
		s.mentions("os", []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, func(n ast.Node, name string) {
			t.Errorf("%s: %s: configuration comes in once, by value; take it as a field of the Config, or a lookup function from main", s.at(n), name)
		})
	}
}

func TestNoFileIsLongerThan600Lines(t *testing.T) {
	for _, s := range sources(t) {
		if s.lines > 600 && !s.generated() {
			t.Errorf("%s has %d lines: split it by its nouns or verbs; 300 are comfortable", s.path, s.lines)
		}
	}
}

func TestNoTestSleeps(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test() {
			continue
		}
		s.mentions("time", []string{"Sleep"}, func(n ast.Node, name string) {
			t.Errorf("%s: %s: wait for the event itself, on a channel or a message; use testing/synctest for timers", s.at(n), name)
		})
	}
}

func TestNoTestSkips(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test() {
			continue
		}
		s.mentions("", []string{"Skip", "Skipf", "SkipNow"}, func(n ast.Node, name string) {
			t.Errorf("%s: %s: a test that skips guards nothing; bring along what it needs, or remove it", s.at(n), name)
		})
	}
}

func TestEveryLlmHeaderIsInTheSchema(t *testing.T) {
	data, err := schemas.FS.ReadFile("headers.json")
	if err != nil {
		t.Fatal(err)
	}
	var known struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(data, &known); err != nil {
		t.Fatal(err)
	}
	header := regexp.MustCompile(`^Llm(-[A-Z][a-zA-Z]*)+$`)
	found := 0
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			name, err := strconv.Unquote(literal.Value)
			if err != nil || !header.MatchString(name) {
				return true
			}
			found++
			if known.Properties[name] == nil {
				t.Errorf("%s: header %s crosses the wire unannounced: add it to schemas/headers.json, run make generate, and use wire's constant", s.at(n), name)
			}
			return true
		})
	}
	if found == 0 {
		t.Error("no header found in the code: this test looks in the wrong place")
	}
}

package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one fault of a pack and where it stands.
type Problem struct {
	// File is the path inside the folder that was loaded.
	File string
	// Line and Column count from 1; a column is one character.
	Line, Column int
	// Message says what is wrong and what to do about it.
	Message string
}

// String returns the problem as file:line:column: message.
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// PackError holds every problem that was found in the packs of a folder, ordered
// by file, line and column.
type PackError struct {
	Problems []Problem
}

// Error returns the problems, one a line.
func (e *PackError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sortProblems orders problems as a reader meets them.
func sortProblems(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

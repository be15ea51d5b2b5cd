package baseline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one fault of a baseline file, or one thing in it to think over.
type Problem struct {
	// File is the file's name as Parse was given it.
	File string
	// Line and Column are where, counted from 1; a column is a character.
	Line, Column int
	// Message says what is wrong and what would be right, in one line.
	Message string
	// Warning is set if the file can be used all the same.
	Warning bool
}

// String prints a problem as compilers do: "baseline.yaml:4:11: message".
func (p Problem) String() string {
	kind := ""
	if p.Warning {
		kind = "warning: "
	}
	return fmt.Sprintf("%s:%d:%d: %s%s", p.File, p.Line, p.Column, kind, p.Message)
}

// Problems are all problems of a file, in the order of the file. They become
// an error by Err.
type Problems []Problem

// Error prints the problems, warnings too, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Err returns the problems as an error, or nil if none is worse than a warning.
func (ps Problems) Err() error {
	if slices.ContainsFunc(ps, func(p Problem) bool { return !p.Warning }) {
		return ps
	}
	return nil
}

// sort puts the problems in the order of the file.
func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

package iampolicy

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// DocumentError is a fault of a policy document: where it is, and what to write
// there instead. What has one can't be judged: it may allow anything.
type DocumentError struct {
	// Line and Column are counted from 1, the column in characters. They are those
	// of the decoded text if the document was percent-encoded.
	Line, Column int
	// Path is the element's: "Statement[2].Action[0]"; empty if the text as a whole
	// is at fault.
	Path string
	// Problem is a sentence: what is wrong and what to write.
	Problem string
}

// Error names the place and the fault.
func (e *DocumentError) Error() string {
	place := fmt.Sprintf("line %d, column %d", e.Line, e.Column)
	if e.Path != "" {
		place += ", " + e.Path
	}
	return "policy document, " + place + ": " + e.Problem
}

// under is the fault with a step put before its path, on the way out of the
// element: paths cost nothing as long as there is no fault.
func (e *DocumentError) under(step string) *DocumentError {
	if e.Path != "" && e.Path[0] != '[' {
		step += "."
	}
	e.Path = step + e.Path
	return e
}

// step is a name as a step of a path. Who writes the policy chooses it: what could
// play tricks on a terminal is escaped.
func step(name string) string {
	if name == "" || len(name) > 80 || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Sprintf("%.80q", name)
	}
	return name
}

// faultAt is a fault at a byte of a text.
func faultAt(text string, at int, problem string, args ...any) *DocumentError {
	before := text[:at]
	return &DocumentError{
		Line:    1 + strings.Count(before, "\n"),
		Column:  1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]),
		Problem: fmt.Sprintf(problem, args...),
	}
}

package main

// The rules of what is printed: results go to standard output, everything else
// to standard error. Text is for people: quiet, aligned, no wider than a
// terminal where it can be, with nothing that only a colour says. With
// --output json there is one object a line on standard output, with the same
// fields in every command. Text that came from an event is printed with its
// control characters replaced.

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// columns is how wide text is.
const columns = 100

func output(cmd *cobra.Command) string {
	o, err := cmd.Flags().GetString("output")
	if err != nil {
		return "text"
	}
	return o
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func printf(w io.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(w, format, args...)
	return err
}

// table prints rows in aligned columns.
func table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		if err := printf(t, "%s\n", strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}

// detail is one named value; it may have several lines.
type detail struct{ name, value string }

// details prints named values in two columns, each line after an indent.
func details(w io.Writer, indent string, of []detail) error {
	width := 0
	for _, d := range of {
		width = max(width, len(d.name))
	}
	for _, d := range of {
		name := d.name
		for line := range strings.SplitSeq(d.value, "\n") {
			if err := printf(w, "%s%-*s  %s\n", indent, width, name, line); err != nil {
				return err
			}
			name = ""
		}
	}
	return nil
}

// wrap breaks text at spaces into lines of at most width characters. Words
// longer than that stay whole.
func wrap(s string, width int) string {
	var b strings.Builder
	at := 0
	for i, word := range strings.Split(s, " ") {
		n := len([]rune(word))
		switch {
		case i == 0:
		case at+1+n > width:
			b.WriteByte('\n')
			at = 0
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	return b.String()
}

// plain replaces what could move the cursor or change the terminal's state, and
// cuts what is longer than most characters.
func plain(s string, most int) string {
	if r := []rune(s); len(r) > most {
		s = string(r[:most-1]) + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// oneOf lists names to choose from: "a", "b" or "c".
func oneOf(names []string) string {
	var b strings.Builder
	for i, n := range names {
		switch {
		case i > 0 && i == len(names)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(n))
	}
	return b.String()
}

// clearLine takes away a line of progress.
const clearLine = "\r\x1b[K"

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// patience says on a terminal what is going on if that takes longer than a
// second; the function that it returns takes the line away.
func patience(w io.Writer, what string) (done func()) {
	if !isTerminal(w) {
		return func() {}
	}
	timer := time.AfterFunc(time.Second, func() { _ = printf(w, "%s", what) }) // a hint alone
	return func() {
		if !timer.Stop() {
			_ = printf(w, clearLine) // a hint alone
		}
	}
}

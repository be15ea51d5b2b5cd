package main

// The rules of what is printed: results go to standard output, everything else
// to standard error. Text is for people: quiet, aligned, with nothing that only
// a colour says. With --output json there is one object a line on standard
// output, with the same fields in every command. Text that came from an event
// is printed with its control characters escaped.

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"
)

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

// plain escapes what could move the cursor or change the terminal's state, and
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

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = strconv.Quote(n)
	}
	return strings.Join(quoted, ", ")
}

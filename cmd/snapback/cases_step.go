package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// stepWidth is how wide the values are that are printed of a step or a finding.
const stepWidth = columns - len("  ") - len("not put back") - len("  ")

// lines are texts that may come from an event, each on lines of its own.
func lines(of ...string) string {
	var wrapped []string
	for _, text := range of {
		wrapped = append(wrapped, wrap(plain(text, 600), stepWidth))
	}
	return strings.Join(wrapped, "\n")
}

// told are details of which those that say nothing are left out.
func told(of ...detail) []detail {
	return slices.DeleteFunc(of, func(d detail) bool { return d.value == "" })
}

// showFindings prints the findings that a case is about.
func showFindings(w io.Writer, c *ledger.Case) error {
	for i := range c.Findings {
		f := &c.Findings[i]
		if err := printf(w, "\nfinding %s\n", plain(f.Type, columns-8)); err != nil {
			return err
		}
		if err := details(w, "  ", findingDetails(f)); err != nil {
			return err
		}
	}
	return nil
}

func findingDetails(f *ledger.Finding) []detail {
	ports := make([]string, len(f.Ports))
	for i, port := range f.Ports {
		ports[i] = strconv.Itoa(port)
	}
	seen := func(at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return moment(at)
	}
	return told(
		detail{"title", lines(f.Title)}, detail{"about", lines(f.Resource)}, detail{"severity", rated(f)},
		detail{"first", seen(f.First)}, detail{"last", seen(f.Last)}, detail{"role", plain(f.Role, stepWidth)},
		detail{"remotes", lines(strings.Join(f.Remotes, " "))}, detail{"ports", lines(strings.Join(ports, " "))},
		detail{"id", plain(f.ID, stepWidth)}, detail{"arn", plain(f.ARN, 600)},
	)
}

// rated is how severe a finding is, and how often it was seen.
func rated(f *ledger.Finding) string {
	text := fmt.Sprintf("%g (%s)", f.Severity, control.SeverityOf(f.Severity))
	if f.Severity == 0 {
		text = "not told"
	}
	if f.Count > 0 {
		text += ", seen " + plural(int(f.Count), "time")
	}
	return text
}

// showSteps prints the steps of a case that count, in the order of the remedies,
// and then those that were tried before them.
func showSteps(w io.Writer, c *ledger.Case, facts bool) error {
	current := c.Current()
	for _, s := range current {
		if err := showStep(w, c, s, stepHead(s), facts); err != nil {
			return err
		}
	}
	for i := range c.Steps {
		s := &c.Steps[i]
		if slices.Contains(current, s) {
			continue
		}
		if err := showStep(w, c, s, stepHead(s)+" (an earlier attempt)", facts); err != nil {
			return err
		}
	}
	return nil
}

// stepHead is a step's name and how it stands.
func stepHead(s *ledger.Step) string {
	switch {
	case !s.Undone.IsZero():
		return s.Remedy + "  " + string(control.Undone)
	case s.Outcome != "":
		return s.Remedy + "  " + string(s.Outcome)
	}
	return s.Remedy
}

// showStep prints a change and the states before and after it.
func showStep(w io.Writer, c *ledger.Case, s *ledger.Step, head string, facts bool) error {
	if err := printf(w, "\n%s\n", head); err != nil {
		return err
	}
	return details(w, "  ", stepDetails(c, s, facts))
}

func stepDetails(c *ledger.Case, s *ledger.Step, facts bool) []detail {
	var of []detail
	if s.Reason != c.Reason {
		of = append(of, detail{"why", lines(s.Reason)})
	}
	switch {
	case s.Digest == "": // there is nothing to do, or it could not be planned
	case len(s.After) == 0:
		of = append(of, detail{"found", wholeState(s.Before)})
	default:
		of = append(of, detail{"before", wholeState(s.Before)}, detail{"after", wholeState(s.After)})
	}
	if !several(c) { // of several, the yes is given to all of them
		of = append(of, detail{"digest", control.ShortDigest(s.Digest)})
	}
	left := "left open"
	if !s.Undone.IsZero() {
		left = "not put back"
	}
	return told(append(of,
		detail{"touches", lines(s.Touches...)}, detail{left, lines(s.Left...)}, detail{"error", lines(s.Error)},
		detail{"manifest", manifest(c, s, facts)})...)
}

// several reports whether a case has more than one change to tell apart.
func several(c *ledger.Case) bool { return len(c.Current()) > 1 }

// wholeState is a state uncut, since a yes is given to all of it.
func wholeState[T ~[]byte](v T) string {
	if len(v) == 0 {
		return "null"
	}
	return plain(string(v), len(v))
}

// manifest is what a plan found besides, or how to see it.
func manifest(c *ledger.Case, s *ledger.Step, whole bool) string {
	switch {
	case len(s.Facts) == 0:
		return ""
	case !whole:
		return size(len(s.Facts)) + ": `snapback cases show " + c.ID + " --facts` prints it"
	}
	var text bytes.Buffer
	if err := json.Indent(&text, s.Facts, "", "  "); err != nil { // it is damaged: as it is, then
		return wholeState(s.Facts)
	}
	var all []string
	for line := range strings.Lines(text.String()) {
		all = append(all, plain(strings.TrimSuffix(line, "\n"), len(line)))
	}
	return strings.Join(all, "\n")
}

// size is a number of bytes, for people.
func size(bytes int) string {
	const kilo = 1 << 10
	if bytes < kilo {
		return plural(bytes, "byte")
	}
	return fmt.Sprintf("%.0f KB", float64(bytes)/kilo)
}

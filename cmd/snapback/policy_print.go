package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// The most that the text says of one thing; the JSON has all.
const (
	mostWays   = 5  // of a document or a principal
	mostNames  = 3  // of resources or principals that a way names
	mostFaults = 20 // of an account
)

// printVerdicts prints those that somebody should look at, and as JSON all.
func printVerdicts(cmd *cobra.Command, file string, verdicts []*judged) error {
	w := cmd.OutOrStdout()
	if output(cmd) == "json" {
		for _, v := range verdicts {
			if err := printJSON(w, v.policyVerdict); err != nil {
				return err
			}
		}
		return nil
	}
	for _, v := range verdicts {
		if !v.Found && v.CantTell == "" {
			continue
		}
		if err := v.print(w); err != nil {
			return err
		}
	}
	switch only := verdicts[0]; {
	case len(verdicts) > 1 || only.Principal != "":
		return printf(w, "%s: %s\n", plain(file, 200), summary(verdicts))
	case !only.Found && only.CantTell == "":
		return printf(w, "%s: nothing found (%s policy)\n", plain(file, 200), only.Kind)
	}
	return nil
}

// summary counts the principals of an account.
func summary(verdicts []*judged) string {
	var principals, administrators, escalating, open, unclear, expected, nothing int
	count := func(n *int, is bool) {
		if is {
			*n++
		}
	}
	for _, v := range verdicts {
		if v.Principal == "" {
			continue
		}
		principals++
		count(&administrators, v.admin() && !v.Expected)
		count(&escalating, !v.admin() && len(v.Escalations) > 0 && !v.Expected)
		count(&open, v.public() || len(v.Outside) > 0)
		count(&unclear, v.CantTell != "")
		count(&expected, v.Expected && (v.admin() || len(v.Escalations) > 0))
		count(&nothing, !v.Found && v.CantTell == "")
	}
	said := []string{
		plural(administrators, "administrator"), fmt.Sprintf("%d can become administrator", escalating),
		fmt.Sprintf("%d open to outsiders", open), fmt.Sprintf("%d can't be told", unclear), fmt.Sprintf("%d with nothing found", nothing),
	}
	if expected > 0 {
		said[len(said)-1] += fmt.Sprintf(" (%d of them expected to be administrator)", expected)
	}
	return plural(principals, "principal") + ": " + strings.Join(said, ", ")
}

func (v *judged) print(w io.Writer) error {
	name := v.File
	if v.Principal != "" {
		name = v.Principal
	}
	lines := append([]string{plain(name, 300) + ": " + v.headline()}, v.why...)
	ways := v.ways()
	for i, e := range ways {
		if i == mostWays {
			lines = append(lines, fmt.Sprintf("and %d more: --output json has all", len(ways)-i))
			break
		}
		lines = append(lines, e.line())
	}
	if v.CantTell != "" {
		lines = append(lines, v.faults()...)
	}
	for i, line := range lines {
		if i > 0 {
			line = "  " + strings.ReplaceAll(wrap(plain(line, 1000), columns-6), "\n", "\n      ")
		}
		if err := printf(w, "%s\n", line); err != nil {
			return err
		}
	}
	return nil
}

// ways are the ways to become administrator that are worth telling: who is one under
// conditions has them all under conditions.
func (v *judged) ways() []policyEscalation {
	switch {
	case v.Expected:
		return nil
	case !v.admin():
		return v.Escalations
	}
	return slices.DeleteFunc(slices.Clone(v.Escalations), func(e policyEscalation) bool { return e.Conditional })
}

// faults are what could not be understood; beside what was found, they say that
// they are that.
func (v *judged) faults() []string {
	lines := strings.Split(v.CantTell, "\n")
	if more := len(lines) - mostFaults; more > 0 {
		lines = append(lines[:mostFaults], fmt.Sprintf("and %d more: --output json has all", more))
	}
	if v.Found {
		lines[0] = "can't tell: " + lines[0]
	}
	return lines
}

func (v *judged) headline() string {
	var all []string
	add := func(is bool, what string) {
		if is {
			all = append(all, what)
		}
	}
	if !v.Expected {
		add(v.admin(), "administrator")
		add(len(v.ways()) > 0, "can become administrator in "+plural(len(v.ways()), "way"))
	}
	add(v.public(), "open to anybody")
	add(len(v.Outside) > 0, "open to "+some(v.Outside))
	if len(all) == 0 {
		return "can't tell"
	}
	said := plain(strings.Join(all, "; "), 600)
	if v.Conditional {
		said += ", under conditions"
	}
	return said
}

// line tells one way to become administrator.
func (e *policyEscalation) line() string {
	said := e.ID + ": " + e.Name + ": " + strings.Join(e.Actions, ", ")
	if len(e.Resources) > 0 {
		said += " on " + some(e.Resources)
	}
	if len(e.Through) > 0 {
		said += ", through " + some(e.Through)
	}
	switch {
	case e.Presumes != "":
		said += "; if there is " + e.Presumes
	case e.Conditional:
		said += "; under conditions"
	}
	return said
}

// some names the first of a list.
func some(names []string) string {
	if more := len(names) - mostNames; more > 0 {
		return strings.Join(names[:mostNames], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

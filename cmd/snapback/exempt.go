package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/function"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

func newExempt() *cobra.Command {
	return parent("exempt", "Let a control or runbook leave a resource alone until a time",
		newExemptAdd(), newExemptList(), newExemptRemove())
}

// exemptionOptions are the flags that make up an exemption.
type exemptionOptions struct{ control, resource, reason, owner, until string }

func newExemptAdd() *cobra.Command {
	var o exemptionOptions
	cmd := &cobra.Command{
		Use: "add", Short: "Exempt a resource from a control or runbook until a time", Args: want(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needFlags(cmd); err != nil {
				return err
			}
			until, err := parseEnd(o.until, time.Now())
			if err != nil {
				return misuse("exempt add: --until %w", err)
			}
			return exempt(cmd, function.Exempt, ledger.Exemption{
				Control: o.control, Resource: o.resource, Reason: o.reason, Owner: o.owner, Until: until,
			})
		},
	}
	o.target(cmd)
	f := cmd.Flags()
	f.StringVar(&o.reason, "reason", "", "why the resource may differ from the baseline")
	f.StringVar(&o.owner, "owner", "", "who answers for it: an e-mail address or a team")
	f.StringVar(&o.until, "until", "", "its end: a day, the last one (2027-03-31, in UTC), a time (RFC 3339), or so long from now (36h, 14d)")
	return cmd
}

func newExemptRemove() *cobra.Command {
	var o exemptionOptions
	cmd := &cobra.Command{
		Use: "remove", Short: "End an exemption that a command made", Args: want(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needFlags(cmd); err != nil {
				return err
			}
			return exempt(cmd, function.Unexempt, ledger.Exemption{Control: o.control, Resource: o.resource})
		},
	}
	o.target(cmd)
	return cmd
}

func (o *exemptionOptions) target(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.control, "control", "", "the control's or runbook's ID")
	cmd.Flags().StringVar(&o.resource, "resource", "", "the resource's ARN, without wildcards")
}

// needFlags says at once which of a command's flags are missing: none of its
// own has a default.
func needFlags(cmd *cobra.Command) error {
	var missing []string
	for _, name := range []string{"control", "resource", "reason", "owner", "until"} {
		if f := cmd.Flags().Lookup(name); f != nil && strings.TrimSpace(f.Value.String()) == "" {
			missing = append(missing, "--"+name+" ("+f.Usage+")")
		}
	}
	if len(missing) > 0 {
		return misuse("%s: missing: %s", name(cmd), strings.Join(missing, "; "))
	}
	return nil
}

// exempt has the function of the domain make or end an exemption.
func exempt(cmd *cobra.Command, command string, x ledger.Exemption) error {
	domain := domainOf(x.Control)
	if domain == "" {
		return unknownControl(cmd, x.Control)
	}
	cfg, err := connect(cmd)
	if err != nil {
		return err
	}
	done := patience(cmd.ErrOrStderr(), "asking "+deployment.Function(domain))
	a, err := invoke(cmd, cfg, domain, function.Request{Command: command, Exemption: &x})
	done()
	switch {
	case err != nil:
		return err
	case output(cmd) == "json":
		err = printJSON(cmd.OutOrStdout(), a)
	case a.Verdict == engine.Done:
		err = printf(cmd.OutOrStdout(), "%s\n", plain(a.Reason, 2*ledger.MaxResource))
	}
	if err != nil {
		return err
	}
	return verdict(cmd, a)
}

// parseEnd reads until when something lasts.
func parseEnd(s string, now time.Time) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, s); err == nil {
		return day.AddDate(0, 0, 1).Add(-time.Second), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC(), nil
	}
	if long, ok := span(s); ok {
		return now.UTC().Truncate(time.Second).Add(long), nil
	}
	return time.Time{}, fmt.Errorf("%q: want the last day, such as 2027-03-31 (in UTC), a time, such as 2027-03-31T12:00:00Z, or how long, such as 36h or 14d", s)
}

// exemption is the JSON of an exemption.
type exemption struct {
	ledger.Exemption
	// State is in-force, ended (by itself), replaced or removed.
	State string `json:"state"`
}

// exemptionFilter are the flags of exempt list.
type exemptionFilter struct {
	table, control, endingWithin string
	all                          bool

	within time.Duration // endingWithin; zero: whenever they end
}

func newExemptList() *cobra.Command {
	var o exemptionFilter
	cmd := &cobra.Command{
		Use: "list", Short: "List the exemptions that commands made, soonest end first", Args: want(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			l, err := findLedger(cmd, o.table)
			if err != nil {
				return err
			}
			found, err := o.find(cmd, l)
			if err != nil {
				return err
			}
			return printExemptions(cmd, found)
		},
	}
	f := cmd.Flags()
	tableFlag(f, &o.table)
	f.StringVar(&o.control, "control", "", "only those from this control or runbook")
	f.StringVar(&o.endingWithin, "ending-within", "", "only those in force that end within a time (36h, 7d)")
	f.BoolVar(&o.all, "all", false, "also those that have ended, or were replaced or removed")
	return cmd
}

func (o *exemptionFilter) check(cmd *cobra.Command) error {
	if o.control != "" && domainOf(o.control) == "" {
		return unknownControl(cmd, o.control)
	}
	if o.endingWithin == "" {
		return nil
	}
	var ok bool
	if o.within, ok = span(o.endingWithin); !ok {
		return misuse("exempt list: --ending-within %q: want how long, such as 36h or 14d", o.endingWithin)
	}
	if o.all {
		return misuse("exempt list: --all and --ending-within don't go together: choose one")
	}
	return nil
}

// anyLength stands for the longest exemption that the baseline allows, which
// the functions alone know: they end what lasts longer.
const anyLength = time.Duration(math.MaxInt64)

// find reads the exemptions that are asked for: those in force, soonest end
// first, then the others, latest end first.
func (o *exemptionFilter) find(cmd *cobra.Command, l *ledger.Ledger) ([]exemption, error) {
	var read []*ledger.Exemption
	for x, err := range l.Exemptions(cmd.Context(), o.all) {
		if err != nil {
			return nil, fmt.Errorf("exempt list: %s", reason(err))
		}
		if o.control == "" || o.control == x.Control {
			read = append(read, x)
		}
	}
	now := time.Now()
	var found []exemption
	for _, x := range read {
		inForce := x.InForce(now, anyLength)
		if o.all || inForce && (o.within == 0 || x.EndsWithin(o.within, now, anyLength)) {
			found = append(found, exemption{*x, stateOf(x, read, now)})
		}
	}
	slices.SortStableFunc(found, func(a, b exemption) int {
		switch aIn, bIn := a.State == "in-force", b.State == "in-force"; {
		case aIn && bIn:
			return a.Until.Compare(b.Until)
		case !aIn && !bIn:
			return b.over().Compare(a.over())
		case aIn:
			return -1
		}
		return 1
	})
	return found, nil
}

// over is when an exemption ended, or will.
func (x exemption) over() time.Time {
	if x.State == "replaced" || x.State == "removed" {
		return x.Removed
	}
	return x.Until
}

// stateOf is how an exemption stands. One that was replaced is told from one
// that was removed by the other one, which began before this one was put away.
func stateOf(x *ledger.Exemption, all []*ledger.Exemption, now time.Time) string {
	replacement := func(other *ledger.Exemption) bool {
		return other.Control == x.Control && other.Resource == x.Resource &&
			other.Created.After(x.Created) && !other.Created.After(x.Removed)
	}
	switch {
	case x.InForce(now, anyLength):
		return "in-force"
	case x.Removed.IsZero() || !x.Until.After(x.Removed):
		return "ended"
	case slices.ContainsFunc(all, replacement):
		return "replaced"
	}
	return "removed"
}

func printExemptions(cmd *cobra.Command, found []exemption) error {
	if len(found) == 0 {
		return printf(cmd.ErrOrStderr(), "no exemptions\n")
	}
	if output(cmd) == "text" {
		return exemptionTable(cmd.OutOrStdout(), found)
	}
	for _, x := range found {
		if err := printJSON(cmd.OutOrStdout(), x); err != nil {
			return err
		}
	}
	return nil
}

// exemptionTable prints exemptions, each with a second line on who answers for
// it and why, and a third one on how it ended.
func exemptionTable(w io.Writer, found []exemption) error {
	width := len("CONTROL")
	for _, x := range found {
		width = max(width, len(x.Control))
	}
	const until = len(time.RFC3339) - len("07:00") // in UTC
	if err := printf(w, "%-*s  %-*s  RESOURCE\n", until, "UNTIL", width, "CONTROL"); err != nil {
		return err
	}
	for _, x := range found {
		lines := []string{
			fmt.Sprintf("%s  %-*s  %s", x.Until.UTC().Format(time.RFC3339), width, x.Control, x.Resource),
			"  " + x.Owner + ": " + x.Reason,
		}
		switch {
		case x.State == "ended":
			lines = append(lines, "  ended")
		case x.State != "in-force" && x.RemovedBy != nil:
			lines = append(lines, "  "+x.State+" "+x.Removed.UTC().Format(time.RFC3339)+" by "+x.RemovedBy.ARN)
		}
		for _, line := range lines {
			if err := printf(w, "%s\n", plain(line, columns)); err != nil {
				return err
			}
		}
	}
	return nil
}

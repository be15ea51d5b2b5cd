package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/function"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// releaseOptions are the flags of cases release.
type releaseOptions struct{ account, control string }

func newCasesRelease(table *string) *cobra.Command {
	var o releaseOptions
	cmd := &cobra.Command{
		Use:   "release [CASE…]",
		Short: "Make changes that are held: by their cases, or all of a control, a runbook or an account",
		RunE: func(cmd *cobra.Command, args []string) error {
			filtered := o != releaseOptions{}
			switch {
			case len(args) == 0 && !filtered:
				return misuse("cases release: say which: cases by their IDs, or those of --control, --account or both: `snapback cases list --state held` lists them")
			case len(args) > 0 && filtered:
				return misuse("cases release: cases by their IDs and --control or --account don't go together: choose one")
			case len(args) == 1:
				return give(cmd, *table, "", function.Request{Command: engine.Release, Case: args[0]})
			}
			if err := checkFilter(cmd, o.account, o.control); err != nil {
				return err
			}
			return o.release(cmd, *table, args)
		},
	}
	cmd.Flags().StringVar(&o.control, "control", "", "all held cases of this control or runbook")
	cmd.Flags().StringVar(&o.account, "account", "", "all held cases of this account")
	return cmd
}

// release releases several cases, one after the other, whatever comes of each.
func (o releaseOptions) release(cmd *cobra.Command, table string, ids []string) error {
	cfg, l, err := connectLedger(cmd, table)
	if err != nil {
		return err
	}
	cases, err := o.cases(cmd, l, table, ids)
	if err != nil {
		return err
	}
	if len(cases) == 0 {
		return printf(cmd.ErrOrStderr(), "no such case is held\n")
	}
	if err := showReleases(cmd, cases); err != nil {
		return err
	}
	return each(cases, func(c *ledger.Case) (bool, error) { return releaseOne(cmd, cfg, c) })
}

// cases are those of the IDs or, where there are none, the held ones that the
// flags choose.
func (o releaseOptions) cases(cmd *cobra.Command, l *ledger.Ledger, table string, ids []string) ([]*ledger.Case, error) {
	var cases []*ledger.Case
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			continue
		}
		c, err := readCase(cmd, l, table, id)
		if err != nil {
			return nil, err
		}
		cases = append(cases, c)
	}
	if len(ids) > 0 {
		return cases, nil
	}
	held := selection{listOptions: listOptions{account: o.account, control: o.control, state: string(control.Held)}}
	for c, err := range l.Cases(cmd.Context(), ledger.Query{State: ledger.State(control.Held)}) {
		if err != nil {
			return nil, fmt.Errorf("cases release: %s", reason(err))
		}
		if held.wanted(c) {
			cases = append(cases, c)
		}
	}
	return cases, nil
}

// showReleases prints the cases that are about to be released, and which of
// their changes can't be undone.
func showReleases(cmd *cobra.Command, cases []*ledger.Case) error {
	w, end := cmd.OutOrStdout(), "\n"
	if output(cmd) == "json" {
		w, end = cmd.ErrOrStderr(), ""
	} else if err := caseTable(w, "GATE", gateOf, cases); err != nil {
		return err
	}
	var forGood []string
	for _, c := range cases {
		if final(c) {
			forGood = append(forGood, c.ID)
		}
	}
	if len(forGood) > 0 {
		end = "Changes that can't be undone: " + strings.Join(forGood, ", ") + "\n" + end
	}
	return printf(w, "%s", end)
}

// gateOf is what holds a case; of one that is not held, how it stands.
func gateOf(c *ledger.Case) string {
	if c.Gate != "" {
		return string(c.Gate)
	}
	return engine.Standing(c)
}

// releaseOne releases one of several cases, and reports whether it is done. A
// case that is not leaves the others to be released.
func releaseOne(cmd *cobra.Command, cfg aws.Config, c *ledger.Case) (bool, error) {
	a, err := ask(cmd, cfg, c, function.Request{Command: engine.Release})
	if err != nil {
		return false, printf(cmd.ErrOrStderr(), "snapback: %s: %v\n", c.ID, err)
	}
	w := cmd.OutOrStdout()
	if output(cmd) == "json" {
		err = printJSON(w, a)
	} else if err = resultLine(w, c, a); err == nil {
		err = showMoved(w, engine.Release, c, a)
	}
	return a.Verdict == engine.Done, err
}

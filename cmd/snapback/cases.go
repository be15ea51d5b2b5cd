package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

func newCases() *cobra.Command {
	var table string
	cases := parent("cases", "Look at the ledger's cases, and decide about them",
		newCasesList(&table), newCasesShow(&table),
		newCasesApprove(&table), newCasesDeny(&table), newCasesRelease(&table), newCasesRetry(&table), newCasesUndo(&table),
		newCasesExpire())
	tableFlag(cases.PersistentFlags(), &table)
	return cases
}

func findLedger(cmd *cobra.Command, table string) (*ledger.Ledger, error) {
	_, l, err := connectLedger(cmd, table)
	return l, err
}

// connectLedger opens the ledger with the configuration by which the functions
// are reached, too.
func connectLedger(cmd *cobra.Command, table string) (aws.Config, *ledger.Ledger, error) {
	cfg, err := connect(cmd)
	if err != nil {
		return aws.Config{}, nil, err
	}
	return cfg, openLedger(cfg, table), nil
}

func readCase(cmd *cobra.Command, l *ledger.Ledger, table, id string) (*ledger.Case, error) {
	c, err := l.Case(cmd.Context(), id)
	switch {
	case errors.Is(err, ledger.ErrNoCase):
		return nil, misuse("%s: no case %q in the ledger table %s: `snapback cases list` lists them", name(cmd), id, table)
	case err != nil:
		return nil, fmt.Errorf("%s: %s", name(cmd), reason(err))
	}
	return c, nil
}

// checkFilter says what is wrong with an account or a control or runbook to
// choose cases by; either may be empty.
func checkFilter(cmd *cobra.Command, account, controlID string) error {
	switch {
	case account != "" && !event.IsAccount(account):
		return misuse("%s: --account %q: want a 12-digit account number", name(cmd), account)
	case controlID != "" && domainOf(controlID) == "":
		return misuse("%s: --control %q: there is no such control or runbook: `snapback controls` lists them", name(cmd), controlID)
	}
	return nil
}

// span reads a length of time as people write it: 36h, 90m or 7d.
func span(s string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err == nil && n > 0
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d > 0
}

// takes are the commands that a case waits for.
func takes(c *ledger.Case) []string {
	switch c.State {
	case ledger.Open:
		if begun := c.Begun(); begun != nil { // whoever began it may have been killed
			return []string{begun.Name}
		}
		return nil
	case ledger.Undoing:
		return []string{engine.Undo}
	}
	names := engine.WaitsFor(c)
	changed := made(c)
	if c.State == "" && len(changed) > 0 && !slices.ContainsFunc(changed, irreversible) && c.Outcome != control.Undone && c.Outcome != control.Gone {
		names = append(names, engine.Undo)
	}
	return names
}

// made are the changes of a case that are in force.
func made(c *ledger.Case) []*ledger.Step {
	var all []*ledger.Step
	for i := range c.Steps {
		if s := &c.Steps[i]; !s.Applied.IsZero() && s.Undone.IsZero() {
			all = append(all, s)
		}
	}
	return all
}

// irreversible reports whether a step's change can't be undone.
func irreversible(s *ledger.Step) bool { return s.Irreversible && len(s.After) > 0 }

// final reports whether what a case changes, or would, can't be undone.
func final(c *ledger.Case) bool { return slices.ContainsFunc(c.Current(), irreversible) }

// kind is what else a case is than a violation that a control found.
func kind(c *ledger.Case) string {
	switch {
	case c.Drill:
		return "drill"
	case c.Threat():
		return "threat"
	}
	return ""
}

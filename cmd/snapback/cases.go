package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

func newCases() *cobra.Command {
	var table string
	list, show := newCasesList(&table), newCasesShow(&table)
	cases := parent("cases", "Look at the ledger's cases", list, show)
	cases.PersistentFlags().StringVar(&table, "table", os.Getenv("SNAPBACK_TABLE"), "the ledger's DynamoDB table (default $SNAPBACK_TABLE)")
	return cases
}

func findLedger(cmd *cobra.Command, table string) (*ledger.Ledger, error) {
	if table == "" {
		return nil, misuse("%s: no ledger: name its DynamoDB table by --table or SNAPBACK_TABLE", name(cmd))
	}
	cfg, err := connect(cmd)
	if err != nil {
		return nil, err
	}
	return openLedger(cfg, table), nil
}

// listOptions are the flags of cases list.
type listOptions struct {
	account, state string
	days, limit    int
}

func newCasesList(table *string) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use: "list", Short: "List cases, newest first", Args: want(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch given := cmd.Flags().Changed("days"); {
			case given && o.days < 1:
				return misuse("cases list: --days %d: want a number above 0", o.days)
			case !given && o.account == "" && o.state == "":
				o.days = 7
			}
			if err := o.check(); err != nil {
				return err
			}
			l, err := findLedger(cmd, *table)
			if err != nil {
				return err
			}
			return o.list(cmd, l)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.account, "account", "", "only cases of this account")
	f.StringVar(&o.state, "state", "", "only live cases: open, observed, awaiting-approval, held or unreadable")
	f.IntVar(&o.days, "days", 0, "only the last days (default 7; all with --account or --state)")
	f.IntVar(&o.limit, "limit", 100, "list at most so many")
	return cmd
}

func (o listOptions) check() error {
	switch {
	case o.account != "" && !event.IsAccount(o.account):
		return misuse("cases list: --account %q: want a 12-digit account number", o.account)
	case o.state != "" && !ledger.State(o.state).Valid():
		return misuse("cases list: --state %q: want open, observed, awaiting-approval, held or unreadable", o.state)
	case o.limit < 1:
		return misuse("cases list: --limit %d: want a number above 0", o.limit)
	}
	return nil
}

// queries are what to ask the ledger for, by the index that holds the fewest
// other cases; wanted tells the rest apart. Zero days are all days.
func (o listOptions) queries(today time.Time) []ledger.Query {
	switch {
	case o.state != "":
		return []ledger.Query{{State: ledger.State(o.state)}}
	case o.account != "":
		return []ledger.Query{{Account: o.account}}
	}
	var queries []ledger.Query
	for day := range o.days {
		queries = append(queries, ledger.Query{Day: today.AddDate(0, 0, -day)})
	}
	return queries
}

func (o listOptions) wanted(c *ledger.Case) bool {
	return o.account == "" || c.Target.Account == o.account
}

// tooOld reports whether a case, and so every case after it in the list, is
// older than asked for.
func (o listOptions) tooOld(c *ledger.Case, today time.Time) bool {
	return o.days > 0 && c.Opened.Before(today.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1-o.days))
}

func (o listOptions) list(cmd *cobra.Command, l *ledger.Ledger) error {
	today := time.Now()
	var rows [][]string
	for _, q := range o.queries(today) {
		for c, err := range l.Cases(cmd.Context(), q) {
			switch {
			case err != nil:
				return fmt.Errorf("cases list: %s", reason(err))
			case o.tooOld(c, today):
				return endList(cmd, rows)
			case !o.wanted(c):
				continue
			case len(rows) == o.limit:
				_ = printf(cmd.ErrOrStderr(), "there are more: raise --limit to see them\n") // a hint alone
				return endList(cmd, rows)
			}
			if output(cmd) == "json" {
				if err := printJSON(cmd.OutOrStdout(), c); err != nil {
					return err
				}
			}
			rows = append(rows, []string{
				c.ID, c.Opened.UTC().Format("15:04"), standing(c), c.Target.Account, c.Control, plain(c.Target.ID, 40),
			})
		}
	}
	return endList(cmd, rows)
}

func endList(cmd *cobra.Command, rows [][]string) error {
	switch {
	case len(rows) == 0:
		return printf(cmd.ErrOrStderr(), "no cases\n")
	case output(cmd) == "json":
		return nil
	}
	return table(cmd.OutOrStdout(), append([][]string{{"CASE", "UTC", "OUTCOME", "ACCOUNT", "CONTROL", "RESOURCE"}}, rows...))
}

// standing is how a case stands, in a word or two.
func standing(c *ledger.Case) string {
	switch {
	case c.State == ledger.Open:
		return "open"
	case c.State == "" && c.Ended != "":
		return string(c.Outcome) + ", ended"
	}
	return string(c.Outcome)
}

func newCasesShow(table *string) *cobra.Command {
	return &cobra.Command{
		Use: "show CASE", Short: "Show one case: what was found, done, and there before", Args: want(1, 1, "the ID of one case"),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := findLedger(cmd, *table)
			if err != nil {
				return err
			}
			c, err := l.Case(cmd.Context(), args[0])
			switch {
			case errors.Is(err, ledger.ErrNoCase):
				return misuse("cases show: no case %q in the ledger table %s: `snapback cases list` lists them", args[0], *table)
			case err != nil:
				return fmt.Errorf("cases show: %s", reason(err))
			case output(cmd) == "json":
				return printJSON(cmd.OutOrStdout(), c)
			}
			return showCase(cmd.OutOrStdout(), c)
		},
	}
}

func showCase(w io.Writer, c *ledger.Case) error {
	const nameWidth = 10
	of := []detail{
		{"Case", c.ID},
		{"Outcome", standing(c)},
		{"Reason", wrap(plain(c.Reason, 600), columns-nameWidth)},
		{"Control", c.Control + " (" + string(c.Severity) + ", mode " + c.Mode + ")"},
		{"Resource", plain(c.Target.String(), 300)},
		{"ARN", plain(c.ARN, 300)},
	}
	add := func(name, value string) {
		if value != "" {
			of = append(of, detail{name, wrap(value, columns-nameWidth)})
		}
	}
	add("Ended", plain(c.Ended, 200))
	add("Before it", c.Previous)
	if a := c.Actor; a != nil {
		add("Who", plain(a.Name+" ("+a.Type+") "+a.ARN, 400))
		add("From", plain(a.Address, 100))
		add("With", plain(a.UserAgent, 300))
	}
	add("Event", plain(c.Event.Name+" "+c.Event.ID, 300))
	add("CloudTrail", plain(c.Event.CloudTrail, 100))
	if err := details(w, "", of); err != nil {
		return err
	}
	for _, s := range c.Steps {
		of := []detail{{"before", stateText(s.Before)}, {"after", stateText(s.After)}}
		if s.Error != "" {
			of = append(of, detail{"error", wrap(plain(s.Error, 600), columns-nameWidth)})
		}
		if err := printf(w, "\n%s\n", s.Remedy); err != nil {
			return err
		}
		if err := details(w, "  ", of); err != nil {
			return err
		}
	}
	if err := printf(w, "\n"); err != nil {
		return err
	}
	return details(w, "", timeline(c))
}

// timeline is what happened when, in the order in which it does.
func timeline(c *ledger.Case) []detail {
	var of []detail
	add := func(t time.Time, what string) {
		if !t.IsZero() {
			of = append(of, detail{t.UTC().Format("2006-01-02 15:04:05 UTC"), what})
		}
	}
	add(c.Event.Time, "event")
	add(c.Opened, "case written")
	for _, s := range c.Steps {
		add(s.Applied, s.Remedy+" applied")
		add(s.Verified, s.Remedy+" read back as compliant")
	}
	add(c.Alerted, "operators alerted")
	add(c.Closed, "case closed")
	return of
}

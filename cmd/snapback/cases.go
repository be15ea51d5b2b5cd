package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

func newCases() *cobra.Command {
	parent := &cobra.Command{Use: "cases", Short: "Look at the ledger's cases", Args: cobra.NoArgs}
	var name string
	parent.PersistentFlags().StringVar(&name, "table", os.Getenv("SNAPBACK_TABLE"), "the ledger's DynamoDB table (default $SNAPBACK_TABLE)")
	parent.AddCommand(newCasesList(&name), newCasesShow(&name))
	return parent
}

func openLedger(cmd *cobra.Command, name string) (*ledger.Ledger, error) {
	if name == "" {
		return nil, errors.New("cases: no ledger: name its DynamoDB table by --table or SNAPBACK_TABLE")
	}
	cfg, err := cloud.Load(cmd.Context())
	if err != nil {
		return nil, fmt.Errorf("cases: %w", err)
	}
	return ledger.New(cfg, name), nil
}

// listOptions are the flags of cases list.
type listOptions struct {
	account, state string
	days, limit    int
}

func newCasesList(name *string) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use: "list", Short: "List cases, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			queries, err := o.queries()
			if err != nil {
				return err
			}
			l, err := openLedger(cmd, *name)
			if err != nil {
				return err
			}
			return listCases(cmd, l, queries, o.limit)
		},
	}
	cmd.Flags().StringVar(&o.account, "account", "", "only cases of this account, however old")
	cmd.Flags().StringVar(&o.state, "state", "", "only live cases: open, observed, awaiting-approval, held or unreadable")
	cmd.Flags().IntVar(&o.days, "days", 7, "cases of the last days, where neither account nor state is given")
	cmd.Flags().IntVar(&o.limit, "limit", 100, "list at most so many")
	return cmd
}

func (o listOptions) queries() ([]ledger.Query, error) {
	switch {
	case o.account != "" && o.state != "":
		return nil, errors.New("cases list: --account and --state don't go together: choose one")
	case o.account != "" && !event.IsAccount(o.account):
		return nil, fmt.Errorf("cases list: --account %q: want a 12-digit account number", o.account)
	case o.account != "":
		return []ledger.Query{{Account: o.account}}, nil
	case o.state != "" && !ledger.State(o.state).Valid():
		return nil, fmt.Errorf("cases list: --state %q: want open, observed, awaiting-approval, held or unreadable", o.state)
	case o.state != "":
		return []ledger.Query{{State: ledger.State(o.state)}}, nil
	case o.days < 1 || o.limit < 1:
		return nil, errors.New("cases list: --days and --limit: want a number above 0")
	}
	var queries []ledger.Query
	for day := range o.days {
		queries = append(queries, ledger.Query{Day: time.Now().AddDate(0, 0, -day)})
	}
	return queries, nil
}

func listCases(cmd *cobra.Command, l *ledger.Ledger, queries []ledger.Query, limit int) error {
	rows := [][]string{{"CASE", "OUTCOME", "ACCOUNT", "CONTROL", "RESOURCE"}}
	for _, q := range queries {
		for c, err := range l.Cases(cmd.Context(), q) {
			switch {
			case err != nil:
				return failure{err}
			case limit == 0:
				_ = printf(cmd.ErrOrStderr(), "there are more: raise --limit to see them\n") // a hint alone
				return endList(cmd, rows)
			case output(cmd) == "json":
				if err := printJSON(cmd.OutOrStdout(), c); err != nil {
					return err
				}
			}
			limit--
			rows = append(rows, []string{c.ID, standing(c), c.Target.Account, c.Control, plain(c.Target.ID, 40)})
		}
	}
	return endList(cmd, rows)
}

func endList(cmd *cobra.Command, rows [][]string) error {
	switch {
	case output(cmd) == "json":
		return nil
	case len(rows) == 1:
		return printf(cmd.ErrOrStderr(), "no cases\n")
	}
	return table(cmd.OutOrStdout(), rows)
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

func newCasesShow(name *string) *cobra.Command {
	return &cobra.Command{
		Use: "show CASE", Short: "Show one case: what was found, done, and there before", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := openLedger(cmd, *name)
			if err != nil {
				return err
			}
			c, err := l.Case(cmd.Context(), args[0])
			switch {
			case errors.Is(err, ledger.ErrNoCase):
				return fmt.Errorf("%w: `snapback cases list` lists them", err)
			case err != nil:
				return failure{err}
			case output(cmd) == "json":
				return printJSON(cmd.OutOrStdout(), c)
			}
			return showCase(cmd, c)
		},
	}
}

func showCase(cmd *cobra.Command, c *ledger.Case) error {
	rows := [][]string{
		{"Case", c.ID},
		{"Outcome", standing(c)},
		{"Reason", plain(c.Reason, 600)},
		{"Control", c.Control + " (" + string(c.Severity) + ", mode " + c.Mode + ")"},
		{"Resource", plain(c.Target.String(), 300)},
		{"ARN", plain(c.ARN, 300)},
	}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	add("Ended", plain(c.Ended, 200))
	add("Before it", c.Previous)
	if a := c.Actor; a != nil {
		add("Actor", plain(a.Name+" ("+a.Type+") "+a.ARN, 400))
		add("From", plain(a.Address+" "+a.UserAgent, 300))
	}
	add("Event", plain(c.Event.Name+" "+c.Event.ID, 300))
	rows = append(rows, []string{"", ""})
	line := func(t time.Time, what string) {
		if !t.IsZero() {
			rows = append(rows, []string{t.UTC().Format("2006-01-02 15:04:05"), what})
		}
	}
	line(c.Event.Time, "event")
	line(c.Opened, "case written")
	for _, s := range c.Steps {
		line(s.Applied, s.Remedy+" applied")
		line(s.Verified, s.Remedy+" read back as compliant")
		rows = append(rows, []string{"  before", stateText(s.Before)}, []string{"  after", stateText(s.After)})
		if s.Error != "" {
			rows = append(rows, []string{"  error", plain(s.Error, 600)})
		}
	}
	line(c.Alerted, "operators alerted")
	line(c.Closed, "case closed")
	return table(cmd.OutOrStdout(), rows)
}

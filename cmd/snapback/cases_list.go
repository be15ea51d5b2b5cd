package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// listOptions are the flags of cases list.
type listOptions struct {
	account, control, outcome, state, since, before string

	open  bool
	limit int
}

// The words that may be asked for.
var (
	stateWords = []string{
		string(ledger.Open), string(ledger.Undoing), string(control.AwaitingApproval), string(control.Held),
		string(control.Denied), string(control.Observed), string(control.Unreadable),
	}
	outcomeWords = []string{
		string(control.Remediated), string(control.Partial), string(control.Undone), string(control.Failed), string(control.AwaitingApproval),
		string(control.Denied), string(control.Expired), string(control.Held), string(control.Observed),
		string(control.Unreadable), string(control.Gone), string(ledger.Open), string(ledger.Undoing),
	}
)

func newCasesList(table *string) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use: "list", Short: "List cases, newest first", Args: want(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := o.selection(cmd, time.Now())
			if err != nil {
				return err
			}
			l, err := findLedger(cmd, *table)
			if err != nil {
				return err
			}
			if o.before != "" {
				if s.after, err = readCase(cmd, l, *table, o.before); err != nil {
					return err
				}
			}
			return s.list(cmd, l)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.account, "account", "", "only cases of this account")
	f.StringVar(&o.control, "control", "", "only cases of this control or runbook")
	f.StringVar(&o.outcome, "outcome", "", "only cases of this outcome: "+strings.Join(outcomeWords, ", "))
	f.StringVar(&o.state, "state", "", "only live cases of this state: "+strings.Join(stateWords, ", "))
	f.BoolVar(&o.open, "open", false, "only live cases")
	f.StringVar(&o.since, "since", "", "only cases opened since then: a day as 2026-11-22, or so long ago as 36h or 7d (default 7d; all with --account, --state or --open)")
	f.StringVar(&o.before, "before", "", "only cases opened before this case: the next page")
	f.IntVar(&o.limit, "limit", 100, "list at most so many")
	return cmd
}

// selection is which cases to list.
type selection struct {
	listOptions

	now   time.Time
	from  time.Time    // they were opened then or later; zero: however old
	after *ledger.Case // they come after this one in the list; nil: from its beginning
}

func (o listOptions) selection(cmd *cobra.Command, now time.Time) (selection, error) {
	s := selection{listOptions: o, now: now.UTC()}
	if err := checkFilter(cmd, o.account, o.control); err != nil {
		return s, err
	}
	switch {
	case o.outcome != "" && !slices.Contains(outcomeWords, o.outcome):
		return s, misuse("cases list: --outcome %q: want %s", o.outcome, oneOf(outcomeWords))
	case o.state != "" && !ledger.State(o.state).Valid():
		return s, misuse("cases list: --state %q: want %s", o.state, oneOf(stateWords))
	case o.limit < 1:
		return s, misuse("cases list: --limit %d: want a number above 0", o.limit)
	}
	if live := ledger.State(o.outcome); s.state == "" && (live == ledger.Open || live == ledger.Undoing) {
		s.state = o.outcome
	}
	return s, s.setFrom(cmp.Or(o.since, s.defaultSince()))
}

// defaultSince is for what can't be looked up in an index of its own.
func (s *selection) defaultSince() string {
	if s.account == "" && s.state == "" && !s.open {
		return "7d"
	}
	return ""
}

// setFrom reads a day, or how long ago; empty: however long.
func (s *selection) setFrom(since string) error {
	if since == "" {
		return nil
	}
	if d, ok := span(since); ok {
		s.from = s.now.Add(-d)
		return nil
	}
	var err error
	if s.from, err = time.Parse(time.DateOnly, since); err != nil {
		return misuse("cases list: --since %q: want a day such as %s, or a time such as 36h or 7d", since, s.now.Format(time.DateOnly))
	}
	return nil
}

// list prints a page of cases.
func (s selection) list(cmd *cobra.Command, l *ledger.Ledger) error {
	done := patience(cmd.ErrOrStderr(), "reading the ledger")
	cases, more, err := s.page(cmd.Context(), l)
	done()
	if err != nil {
		return fmt.Errorf("cases list: %s", reason(err))
	}
	switch {
	case len(cases) == 0:
		return printf(cmd.ErrOrStderr(), "no cases\n")
	case output(cmd) == "json":
		for _, c := range cases {
			if err := printJSON(cmd.OutOrStdout(), c); err != nil {
				return err
			}
		}
	default:
		if err := caseTable(cmd.OutOrStdout(), "OUTCOME", engine.Standing, cases); err != nil {
			return err
		}
	}
	if more {
		return printf(cmd.ErrOrStderr(), "there are more: `%s`\n", nextPage(cmd, cases[len(cases)-1]))
	}
	return nil
}

// page reads the first cases that are wanted, newest first, and says whether
// there are more.
func (s selection) page(ctx context.Context, l *ledger.Ledger) (cases []*ledger.Case, more bool, err error) {
	for _, list := range s.lists(ctx, l) {
		part, err := s.first(list)
		if err != nil {
			return nil, false, err
		}
		cases = append(cases, part...)
	}
	slices.SortFunc(cases, newestFirst)
	cases = slices.CompactFunc(cases, func(a, b *ledger.Case) bool { return a.ID == b.ID }) // it changed its state meanwhile
	more = len(cases) > s.limit
	return cases[:min(len(cases), s.limit)], more, nil
}

// first takes from a list the cases that are wanted: one more than a page
// holds, and those of the same millisecond as that, which the ledger yields in
// any order.
func (s selection) first(list iter.Seq2[*ledger.Case, error]) ([]*ledger.Case, error) {
	var cases []*ledger.Case
	for c, err := range list {
		switch {
		case err != nil:
			return nil, err
		case !s.wanted(c):
		case len(cases) > s.limit && !c.Opened.Equal(cases[len(cases)-1].Opened):
			return cases, nil
		default:
			cases = append(cases, c)
		}
	}
	return cases, nil
}

func newestFirst(a, b *ledger.Case) int {
	return cmp.Or(b.Opened.Compare(a.Opened), strings.Compare(b.ID, a.ID))
}

func (s selection) wanted(c *ledger.Case) bool {
	outcome := string(c.Outcome)
	if c.State == ledger.Open || c.State == ledger.Undoing {
		outcome = string(c.State)
	}
	return (s.account == "" || c.Target.Account == s.account) &&
		(s.control == "" || c.Control == s.control) &&
		(s.outcome == "" || outcome == s.outcome) &&
		(s.state == "" || string(c.State) == s.state) &&
		(!s.open || c.State != "") &&
		(s.after == nil || newestFirst(s.after, c) < 0)
}

// lists are the lists in which the cases are, each newest first, from the index
// that holds the fewest others.
func (s selection) lists(ctx context.Context, l *ledger.Ledger) []iter.Seq2[*ledger.Case, error] {
	q := ledger.Query{Since: s.from}
	last := s.now
	if s.after != nil {
		q.Until, last = s.after.Opened, s.after.Opened
	}
	states := stateWords
	switch {
	case s.state != "":
		states = []string{s.state}
	case s.open:
	case s.account != "":
		q.Account = s.account
		return []iter.Seq2[*ledger.Case, error]{l.Cases(ctx, q)}
	default:
		return []iter.Seq2[*ledger.Case, error]{days(ctx, l, q, last)}
	}
	var lists []iter.Seq2[*ledger.Case, error]
	for _, state := range states {
		q.State = ledger.State(state)
		lists = append(lists, l.Cases(ctx, q))
	}
	return lists
}

// days yields the cases of a day and of those before it, one day after the other.
func days(ctx context.Context, l *ledger.Ledger, q ledger.Query, last time.Time) iter.Seq2[*ledger.Case, error] {
	const day = 24 * time.Hour
	return func(yield func(*ledger.Case, error) bool) {
		for q.Day = last.UTC().Truncate(day); !q.Day.Before(q.Since.Truncate(day)); q.Day = q.Day.Add(-day) {
			for c, err := range l.Cases(ctx, q) {
				if !yield(c, err) {
					return
				}
			}
		}
	}
}

// nextPage is the command that lists the cases after the last one of a page. No
// value that got that far needs quotes.
func nextPage(cmd *cobra.Command, last *ledger.Case) string {
	text := cmd.CommandPath()
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "before":
		case "open":
			text += " --open"
		default:
			text += " --" + f.Name + " " + f.Value.String()
		}
	})
	return text + " --before " + last.ID
}

// caseTable prints cases in columns no wider than a terminal: the control and
// the resource are cut to what the others leave. The third column is the
// caller's; the one after it is left out where no case is a threat or a drill.
func caseTable(w io.Writer, head string, value func(*ledger.Case) string, cases []*ledger.Case) error {
	rows := [][]string{{"CASE", "UTC", head, "KIND", "ACCOUNT", "CONTROL", "RESOURCE"}}
	for _, c := range cases {
		rows = append(rows, []string{
			c.ID, c.Opened.UTC().Format("Jan 02 15:04"), value(c), kind(c), c.Target.Account, plain(c.Control, columns), plain(about(c), columns),
		})
	}
	const kindColumn, gap = 3, 2
	if !slices.ContainsFunc(cases, (*ledger.Case).Threat) {
		for i := range rows {
			rows[i] = slices.Delete(rows[i], kindColumn, kindColumn+1)
		}
	}
	controlColumn, resourceColumn := len(rows[0])-2, len(rows[0])-1
	room := columns
	for i := range controlColumn {
		room -= widest(rows, i) + gap
	}
	const least = 16 // for both, whatever the others hold
	room = max(room-gap, least)
	control := min(widest(rows, controlColumn), max(room/2, room-widest(rows, resourceColumn)))
	for _, row := range rows {
		row[controlColumn] = plain(row[controlColumn], control)
		row[resourceColumn] = plain(row[resourceColumn], room-control)
	}
	return table(w, rows)
}

// about is the resource of a case in one name. Of a case whose target is a
// finding, it is what the finding is about.
func about(c *ledger.Case) string {
	if c.Target.Type == control.TypeFinding && len(c.Findings) > 0 {
		return cmp.Or(c.Findings[0].Resource, c.Target.ID)
	}
	return c.Target.ID
}

// widest is the width of a column.
func widest(rows [][]string, column int) int {
	width := 0
	for _, row := range rows {
		width = max(width, utf8.RuneCountInString(row[column]))
	}
	return width
}

package main

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// status is how Snapback stands, and its JSON.
type status struct {
	// Stopped says whether the whole organization is, or the account asked for.
	Stopped    bool            `json:"stopped"`
	Stops      []ledger.Stop   `json:"stops"`
	Cases      []stateCount    `json:"cases"`
	Exemptions exemptionsCount `json:"exemptions"`
}

// stateCount is how many live cases have a state.
type stateCount struct {
	State ledger.State `json:"state"`
	Count int          `json:"count"`
	// More says that counting ended at maxCount.
	More bool `json:"more"`
}

type exemptionsCount struct {
	InForce int `json:"inForce"`
	// Ending are those that end within a week.
	Ending int `json:"ending"`
}

// maxCount is how far live cases are counted: each is read for that.
const maxCount = 1000

// soon is how long before its end an exemption is told of.
const soon = 7 * 24 * time.Hour

// liveStates are the states of live cases, in the order in which they want to
// be looked at.
var liveStates = []ledger.State{
	ledger.Open, ledger.Undoing, ledger.State(control.AwaitingApproval), ledger.State(control.Held),
	ledger.State(control.Denied), ledger.State(control.Unreadable), ledger.State(control.Observed),
}

func newStatus() *cobra.Command {
	var table, account string
	cmd := &cobra.Command{
		Use: "status", Short: "Tell what is stopped, waiting and exempt", Args: want(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if account != "" && !event.IsAccount(account) {
				return misuse("status: --account %q: want a 12-digit account number", account)
			}
			l, err := findLedger(cmd, table)
			if err != nil {
				return err
			}
			done := patience(cmd.ErrOrStderr(), "reading the ledger")
			s, err := readStatus(cmd, l, account)
			done()
			switch {
			case err != nil:
				return fmt.Errorf("status: %s", reason(err))
			case output(cmd) == "json":
				return printJSON(cmd.OutOrStdout(), s)
			}
			return details(cmd.OutOrStdout(), "", s.details(account))
		},
	}
	cmd.Flags().StringVar(&account, "account", "", "only the kill switches and cases that concern this account")
	tableFlag(cmd.Flags(), &table)
	return cmd
}

func readStatus(cmd *cobra.Command, l *ledger.Ledger, account string) (status, error) {
	s := status{Stops: []ledger.Stop{}}
	for stop, err := range l.Stops(cmd.Context()) {
		if err != nil {
			return s, err
		}
		if account != "" && stop.Scope != account && stop.Scope != ledger.Organization {
			continue
		}
		s.Stops = append(s.Stops, *stop)
		s.Stopped = s.Stopped || account != "" || stop.Scope == ledger.Organization
	}
	for _, state := range liveStates {
		n, err := countCases(l.Cases(cmd.Context(), ledger.Query{State: state}), state, account)
		if err != nil {
			return s, err
		}
		s.Cases = append(s.Cases, n)
	}
	now := time.Now()
	for x, err := range l.Exemptions(cmd.Context(), false) {
		if err != nil {
			return s, err
		}
		if x.InForce(now, anyLength) {
			s.Exemptions.InForce++
		}
		if x.EndsWithin(soon, now, anyLength) {
			s.Exemptions.Ending++
		}
	}
	return s, nil
}

// countCases counts cases of an account, or all if that is empty.
func countCases(of iter.Seq2[*ledger.Case, error], state ledger.State, account string) (stateCount, error) {
	n := stateCount{State: state}
	for c, err := range of {
		switch {
		case err != nil:
			return n, err
		case account != "" && c.Target.Account != account:
			continue
		case n.Count == maxCount:
			n.More = true
			return n, nil
		}
		n.Count++
	}
	return n, nil
}

func (s status) details(account string) []detail {
	const nameWidth = 14
	standing := "running"
	if account != "" {
		standing += " in account " + account
	}
	if s.Stopped {
		standing = "STOPPED: every function only observes"
	}
	of := []detail{{"Snapback", standing}}
	for _, stop := range s.Stops {
		of = append(of, detail{"Stopped", wrap(plain(place(stop.Scope)+" "+stopText(stop), 1000), columns-nameWidth)})
	}
	var counts []string
	for _, n := range s.Cases {
		count := strconv.Itoa(n.Count)
		if n.More {
			count += "+"
		}
		counts = append(counts, string(n.State)+" "+count)
	}
	exemptions := fmt.Sprintf("%d in force", s.Exemptions.InForce)
	if account != "" { // most ARNs of exempt resources name none
		exemptions += " in the whole organization"
	}
	if s.Exemptions.Ending > 0 {
		exemptions += fmt.Sprintf(", %d of them ending within 7 days: `snapback exempt list --ending-within 7d`", s.Exemptions.Ending)
	}
	return append(of, detail{"Live cases", wrap(strings.Join(counts, ", "), columns-nameWidth)}, detail{"Exemptions", exemptions})
}

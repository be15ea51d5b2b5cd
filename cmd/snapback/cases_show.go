package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/function"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

func newCasesShow(table *string) *cobra.Command {
	var facts, live bool
	cmd := &cobra.Command{
		Use: "show CASE", Short: "Tell the story of one case, and what can be done about it", Args: want(1, 1, "the ID of one case"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, l, err := connectLedger(cmd, *table)
			if err != nil {
				return err
			}
			c, err := readCase(cmd, l, *table, args[0])
			if err != nil {
				return err
			}
			s, unknown := story{Case: c}, error(nil)
			if live {
				s.Live, unknown = askLive(cmd, cfg, c)
			}
			if output(cmd) == "json" {
				err = printJSON(cmd.OutOrStdout(), s)
			} else {
				err = s.print(cmd.OutOrStdout(), facts)
			}
			return cmp.Or(err, unknown)
		},
	}
	cmd.Flags().BoolVar(&facts, "facts", false, "print the manifest of what was found besides, too (JSON has it always)")
	cmd.Flags().BoolVar(&live, "live", false, "ask the function how what the case made stands now, such as snapshots")
	return cmd
}

// story is a case and its JSON.
type story struct {
	*ledger.Case

	// Live is how what the case made stands now, a line each; nil: nobody asked, or
	// nobody answered.
	Live []string `json:"live,omitzero"`
}

// askLive asks the function of the case's domain how what it made stands now.
func askLive(cmd *cobra.Command, cfg aws.Config, c *ledger.Case) ([]string, error) {
	a, err := ask(cmd, cfg, c, function.Request{Command: engine.Look})
	if err == nil {
		err = verdict(cmd, a)
	}
	if err != nil {
		return nil, err
	}
	return append([]string{}, a.Notes...), nil
}

func (s story) print(w io.Writer, facts bool) error {
	return cmp.Or(
		details(w, "", caseDetails(s.Case)),
		showFindings(w, s.Case),
		showSteps(w, s.Case, facts),
		s.showLive(w),
		printf(w, "\n"),
		details(w, "", timeline(s.Case)),
		showPossible(w, s.Case),
	)
}

func (s story) showLive(w io.Writer) error {
	if s.Live == nil {
		return nil
	}
	lines := []string{"nothing that takes its time"}
	if len(s.Live) > 0 {
		lines = nil
	}
	for _, note := range s.Live {
		lines = append(lines, strings.ReplaceAll(wrap(plain(note, 600), columns-4), "\n", "\n    "))
	}
	return printf(w, "\nHow what it made stands now:\n  %s\n", strings.Join(lines, "\n  "))
}

// showPossible prints the commands that can be given now.
func showPossible(w io.Writer, c *ledger.Case) error {
	can := possible(c)
	if len(can) > 0 {
		if err := printf(w, "\nWhat can be done now:\n  %s\n", strings.Join(can, "\n  ")); err != nil {
			return err
		}
	}
	if final(c) && (len(can) > 0 || len(made(c)) > 0) {
		return printf(w, "\n%s\n", irreversibleText)
	}
	return nil
}

// caseDetails are what a case is about and how it stands.
func caseDetails(c *ledger.Case) []detail {
	const nameWidth = 10
	var of []detail
	add := func(name, value string, most int) {
		if value != "" {
			of = append(of, detail{name, wrap(plain(value, most), columns-nameWidth-2)})
		}
	}
	add("Case", c.ID, columns)
	add("Outcome", engine.Standing(c), columns)
	add("Reason", c.Reason, 600)
	add("Held", c.Held, 600)
	add("Until", until(c), columns)
	add("Ended", c.Ended, 200)
	if c.Drill {
		add("Drill", "the finding is a sample, so nothing is ever changed", columns)
	}
	rule := "Control"
	if c.Threat() {
		rule = "Runbook"
	}
	add(rule, c.Control+" ("+string(c.Severity)+", mode "+c.Mode+")", 200)
	add("Resource", c.Target.String(), 300)
	add("ARN", c.ARN, 300)
	add("Before it", c.Previous, columns)
	if a := c.Actor; a != nil {
		add("Who", strings.TrimSpace(a.Name+" ("+a.Type+") "+a.ARN), 400)
		add("From", a.Address, 100)
		add("With", a.UserAgent, 300)
	}
	add("Event", c.Event.Name+" "+c.Event.ID, 300)
	add("CloudTrail", c.Event.CloudTrail, 100)
	return of
}

// until says what a case's time means, as long as it means anything.
func until(c *ledger.Case) string {
	means := map[control.Outcome]string{
		control.AwaitingApproval: "it waits for an answer", control.Denied: "the denial holds", control.Undone: "the undo made the resource exempt",
	}[c.Outcome]
	if c.Until.IsZero() || c.Ended != "" || means == "" {
		return ""
	}
	return moment(c.Until) + " " + means
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// happening is one entry of a timeline.
type happening struct {
	at   time.Time
	what []string // its lines
}

// timeline is what happened when, in the order in which it did.
func timeline(c *ledger.Case) []detail {
	all := []happening{{c.Event.Time, []string{plain(c.Event.Name, 100) + by(c.Actor)}}}
	for i, r := range c.Rounds {
		what := fmt.Sprintf("round %d of the tug of war: case %s, after %s", i+1, r.Case, plain(r.Event, 100))
		if r.Actor != "" {
			what += " by " + plain(r.Actor, 300)
		}
		all = append(all, happening{r.At, []string{what}})
	}
	all = append(all, gates(c)...)
	all = append(all, happening{c.Opened, []string{"case opened"}})
	for _, s := range c.Steps {
		all = append(all, happening{s.Applied, []string{s.Remedy + " applied"}}, happening{s.Verified, []string{s.Remedy + " read back as compliant"}})
	}
	for _, command := range c.Commands {
		all = append(all, given(command))
	}
	for _, s := range slices.Backward(c.Steps) {
		undone := " undone: what was there before is back, and was read back"
		if len(s.Left) > 0 {
			undone = " undone as far as that was possible"
		}
		all = append(all, happening{s.Undone, []string{s.Remedy + undone}})
	}
	for _, a := range c.Alerts {
		all = append(all, happening{a.At, []string{"alert " + a.ID}})
	}
	end := "case closed"
	if c.Ended != "" {
		end = "case ended: " + plain(c.Ended, 200)
	}
	all = append(all, happening{c.Closed, []string{end}})
	all = slices.DeleteFunc(all, func(h happening) bool { return h.at.IsZero() })
	slices.SortStableFunc(all, func(a, b happening) int { return a.at.Compare(b.at) })
	return entries(all)
}

// entries are a timeline as it is printed.
func entries(all []happening) []detail {
	var of []detail
	for _, h := range all {
		at := moment(h.at)
		var lines []string
		for _, line := range h.what {
			lines = append(lines, wrap(line, columns-len(at)-2))
		}
		of = append(of, detail{at, strings.Join(lines, "\n")})
	}
	return of
}

func by(a *event.Actor) string {
	if a == nil {
		return ""
	}
	return " by " + plain(cmp.Or(a.ARN, a.Name, a.Type), 300)
}

// gates is what the gates said: when the case was opened, and when one of them
// stopped a change that was begun, which the alert about it tells.
func gates(c *ledger.Case) []happening {
	var all []happening
	if c.Decided != "" {
		all = append(all, happening{c.Opened, []string{"gates: " + plain(c.Decided, 600)}})
	}
	if c.Held == "" {
		return all
	}
	at, why := c.Opened, "held"
	if c.Gate == ledger.GateMode && len(c.Alerts) > 0 {
		at = c.Alerts[len(c.Alerts)-1].At
	}
	if c.Gate != "" {
		why += " (" + string(c.Gate) + ")"
	}
	return append(all, happening{at, []string{why + ": " + plain(c.Held, 600)}})
}

// given is a command in the timeline: who, from where, why, and what came of it.
func given(c ledger.Command) happening {
	lines := []string{c.Name + " by " + plain(c.By.ARN, 300)}
	if c.By.Host != "" {
		lines = append(lines, "on "+plain(c.By.Host, 100))
	}
	if c.Why != "" {
		lines = append(lines, "why: "+plain(c.Why, 600))
	}
	return happening{c.At, append(lines, "result: "+plain(cmp.Or(c.Result, "none yet: it is being carried out, or was cut off"), 600))}
}

// possible are the commands that fit a case's state, ready to be copied.
func possible(c *ledger.Case) []string {
	var lines []string
	for _, name := range takes(c) {
		line := "snapback cases " + name + " " + c.ID
		switch name {
		case engine.Approve:
			line += " --digest " + control.ShortDigest(c.Digest())
		case engine.Deny:
			line += ` --why "…"`
		}
		lines = append(lines, line)
	}
	return lines
}

// irreversibleText is said before a command is sent, and where one looks.
const irreversibleText = "This change can't be undone."

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/health"
)

// standing is what came of a check.
type standing string

// The standings. A note is no fault, but worth knowing; skipped is what could
// not be looked at because something before it is wrong.
const (
	isOK      standing = "ok"
	isNote    standing = "note"
	isWrong   standing = "wrong"
	isSkipped standing = "skipped"
)

// finding is what a check found, and its JSON.
type finding struct {
	Check    string   `json:"check"`
	Domain   string   `json:"domain"`            // whose queues or function it is about; empty: it is about the hub
	Account  string   `json:"account,omitempty"` // of the check site alone
	Region   string   `json:"region,omitempty"`  // likewise
	Standing standing `json:"standing"`
	// Found is what is there. It may have several lines.
	Found string `json:"found"`
	// Mend says how to mend what is wrong, and Command, if there is one, with what.
	Mend    string `json:"mend"`
	Command string `json:"command"`
	// sites are what a table of accounts and Regions is printed from. In JSON each is
	// a finding of its own.
	sites []health.Site
}

func ok(format string, args ...any) finding {
	return finding{Standing: isOK, Found: fmt.Sprintf(format, args...)}
}

func note(format string, args ...any) finding {
	return finding{Standing: isNote, Found: fmt.Sprintf(format, args...)}
}

func wrong(format string, args ...any) finding {
	return finding{Standing: isWrong, Found: fmt.Sprintf(format, args...)}
}

func (f finding) mend(how string) finding { f.Mend = how; return f }

func (f finding) by(command string) finding { f.Command = command; return f }

// unread is the finding that something can't be looked at.
func unread(err error) finding {
	f := wrong("%s", cloud.Reason(err))
	if cloud.Permanent(err) {
		return f.mend("use credentials of the hub account that may make this call")
	}
	return f.mend("see that the Region, AWS_ENDPOINT_URL and the network are right, then ask again")
}

// deployAgain mends what only the deployment makes.
const deployAgain = "deploy Snapback's hub stack again: it makes this"

// check is one thing that must be so for Snapback to work. It has nothing to
// look at where one of those that it needs is wrong.
type check struct {
	name  string
	needs []string
	look  func(context.Context) finding
}

// doctor looks at the hub.
type doctor struct {
	cmd          *cobra.Command
	cfg          aws.Config
	table, topic string
	baseline     string // a file
	accounts     []string

	rules []ebtypes.Rule   // of the hub's bus
	told  map[string]build // what the functions are made of, by domain
}

func (d *doctor) checks() []check {
	return []check{
		{"ledger", nil, d.ledger},
		{"ledger-recovery", []string{"ledger"}, d.ledgerRecovery},
		{"ledger-expiry", []string{"ledger"}, d.ledgerExpiry},
		{"kill-switch", []string{"ledger"}, d.killSwitch},
		{"topic", nil, d.topicThere},
		{"subscriptions", []string{"topic"}, d.subscriptions},
		{"accounts", nil, d.listAccounts},
		{"alarms", nil, d.alarms},
		{"bus", nil, d.bus},
	}
}

// lastChecks are those that need what the functions of the domains have told.
func (d *doctor) lastChecks() []check {
	return []check{
		{"members", nil, d.members},
		{"versions", nil, d.versions},
		{"rules", []string{"bus"}, d.generated},
	}
}

func (d *domainDoctor) checks() []check {
	return []check{
		{"queue", nil, d.queueThere},
		{"dead-letter-queue", nil, d.deadThere},
		{"redrive", []string{"queue", "dead-letter-queue"}, d.redrive},
		{"dead-letters", []string{"dead-letter-queue"}, d.deadLetters},
		{"age", []string{"queue"}, d.age},
		{"mapping", []string{"queue"}, d.mapping},
		{"function", nil, d.function},
		{"roles", []string{"accounts", "function"}, d.roles},
	}
}

func newDoctor() *cobra.Command {
	d := &doctor{}
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check that Snapback can work, and say how to mend it", Args: want(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.cmd = cmd
			if err := d.usage(); err != nil {
				return err
			}
			return d.run(cmd)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&d.accounts, "account", nil, "an account that the functions must be able to enter; may be repeated (default: all of the organization)")
	f.StringVar(&d.baseline, "baseline", "baseline.yaml", "the baseline file that is deployed, if it is at hand")
	tableFlag(f, &d.table)
	topicFlag(f, &d.topic)
	return cmd
}

func (d *doctor) usage() error {
	if err := checkTopic(d.cmd, d.topic); err != nil {
		return err
	}
	if _, err := os.Stat(d.baseline); err != nil && d.cmd.Flags().Changed("baseline") {
		return misuse("doctor: --baseline: %w", err)
	}
	for _, account := range d.accounts {
		if !event.IsAccount(account) {
			return misuse("doctor: --account %q: want a 12-digit account number", account)
		}
	}
	slices.Sort(d.accounts)
	d.accounts = slices.Compact(d.accounts)
	return nil
}

// run makes all checks: those of the hub, those of the domains side by side, and
// those of what the functions have told. Without credentials, or where nobody
// answers, there is nothing to check.
func (d *doctor) run(cmd *cobra.Command) error {
	cfg, err := connect(cmd)
	if err != nil {
		return err
	}
	cfg.RetryMaxAttempts = 2 // a person waits
	d.cfg = cfg
	who, err := whoami(cmd, cfg)
	if err != nil {
		return err
	}
	d.topic = cmp.Or(d.topic, mainTopic(cfg, who.Account))
	report := newReport(cmd)
	done := map[string]standing{}
	report.add(finding{Check: "credentials", Standing: isOK, Found: who.ARN + " in " + cfg.Region})
	for f := range examine(cmd.Context(), "", d.checks(), done) {
		report.add(f)
	}
	d.runDomains(report, done)
	for f := range examine(cmd.Context(), "", d.lastChecks(), done) {
		report.add(f)
	}
	return report.end()
}

// runDomains makes the checks of all deployed domains side by side.
func (d *doctor) runDomains(report *report, done map[string]standing) {
	var all []*domainDoctor
	var groups []<-chan finding
	for _, domain := range d.deployed(done["bus"]) {
		about := &domainDoctor{doctor: d, domain: domain.Name}
		all = append(all, about)
		groups = append(groups, examine(d.cmd.Context(), domain.Name, about.checks(), maps.Clone(done)))
	}
	for _, group := range groups {
		for f := range group {
			report.add(f)
		}
	}
	d.told = map[string]build{}
	for _, about := range all {
		if about.told != (build{}) {
			d.told[about.domain] = about.told
		}
	}
}

// examine makes checks one after the other and sends what each found. Those
// done before it may be needed by them.
func examine(ctx context.Context, domain string, checks []check, done map[string]standing) <-chan finding {
	found := make(chan finding)
	go func() {
		defer close(found)
		for _, c := range checks {
			f := finding{Standing: isSkipped}
			for _, need := range c.needs {
				if s := done[need]; f.Found == "" && (s == isWrong || s == isSkipped) {
					f.Found = "not looked at, since the check " + need + " is " + strings.ToUpper(string(s))
				}
			}
			if f.Found == "" {
				f = c.look(ctx)
			}
			f.Check, f.Domain = c.name, domain
			done[c.name] = f.Standing
			found <- f
		}
	}()
	return found
}

// report prints findings as they come.
type report struct {
	cmd        *cobra.Command
	all, wrong int
	err        error // of printing
	quiet      func()
}

func newReport(cmd *cobra.Command) *report {
	r := &report{cmd: cmd}
	r.wait()
	return r
}

// wait says that something is going on until the next finding comes.
func (r *report) wait() { r.quiet = patience(r.cmd.ErrOrStderr(), "checking…") }

func (r *report) add(f finding) {
	r.quiet()
	defer r.wait()
	r.all++
	if f.Standing == isWrong {
		r.wrong++
	}
	if r.err != nil {
		return
	}
	if output(r.cmd) != "json" {
		r.err = printFinding(r.cmd.OutOrStdout(), f)
		return
	}
	for _, each := range append([]finding{f}, siteFindings(f)...) {
		if r.err == nil {
			r.err = printJSON(r.cmd.OutOrStdout(), each)
		}
	}
}

func (r *report) end() error {
	r.quiet()
	switch {
	case r.err != nil:
		return r.err
	case r.wrong > 0:
		return fmt.Errorf("doctor: %d of %d checks found something wrong", r.wrong, r.all)
	}
	return nil
}

// maxLines is how many lines of a finding are printed: of very many accounts
// that can't be entered, the first ones tell why.
const maxLines = 12

func printFinding(w io.Writer, f finding) error {
	const wordWidth, nameWidth = 7, 26 // of the longest words, and names with a domain's
	word := string(f.Standing)
	if f.Standing == isWrong {
		word = "WRONG"
	}
	indent := strings.Repeat(" ", wordWidth+2)
	head := fmt.Sprintf("%-*s  %-*s  ", wordWidth, word, nameWidth, strings.TrimSpace(f.Domain+" "+f.Check))
	lines := strings.Split(f.Found, "\n")
	if more := len(lines) - maxLines; more > 0 {
		lines = append(lines[:maxLines], fmt.Sprintf("and %d more: --output json has them all", more))
	}
	var printed []string
	for _, line := range lines {
		for part := range strings.SplitSeq(wrap(plain(line, 600), columns-len(head)), "\n") {
			printed = append(printed, head+part)
			head = strings.Repeat(" ", len(head))
		}
	}
	if err := printf(w, "%s\n", strings.Join(printed, "\n")); err != nil {
		return err
	}
	if len(f.sites) > 0 {
		if err := printSites(w, indent, f.sites); err != nil {
			return err
		}
	}
	return printMend(w, indent, f)
}

// printMend prints how to mend what is wrong.
func printMend(w io.Writer, indent string, f finding) error {
	var printed []string
	if f.Mend != "" {
		for part := range strings.SplitSeq(wrap("To mend it: "+plain(f.Mend, 600), columns-len(indent)), "\n") {
			printed = append(printed, indent+part)
		}
	}
	if f.Command != "" {
		printed = append(printed, indent+plain(f.Command, 600)) // whole, so that it can be copied
	}
	for _, line := range printed {
		if err := printf(w, "%s\n", line); err != nil {
			return err
		}
	}
	return nil
}

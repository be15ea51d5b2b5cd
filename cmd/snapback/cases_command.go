package main

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/function"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

func newCasesApprove(table *string) *cobra.Command {
	var digest string
	cmd := &cobra.Command{
		Use: "approve CASE", Short: "Make the change that waits for a yes", Args: want(1, 1, "the ID of one case"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if digest != "" && !digestForm.MatchString(digest) {
				return misuse("cases approve: --digest %q: want at least the first 8 hexadecimal digits of the change's digest, as alerts and `snapback cases show` print them", digest)
			}
			return give(cmd, *table, digest, function.Request{Command: engine.Approve, Case: args[0]})
		},
	}
	cmd.Flags().StringVar(&digest, "digest", "", "only if the change is the one of this digest, or of one that begins so")
	return cmd
}

var digestForm = regexp.MustCompile(`^[0-9a-fA-F]{8,64}$`)

func newCasesDeny(table *string) *cobra.Command {
	var why string
	cmd := &cobra.Command{
		Use: "deny CASE", Short: "Say no to the change that waits for a yes", Args: want(1, 1, "the ID of one case"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(why) == "" {
				return misuse("cases deny: say why, for whoever reads the case later: `snapback cases deny %s --why TEXT`", args[0])
			}
			return give(cmd, *table, "", function.Request{Command: engine.Deny, Case: args[0], Why: why})
		},
	}
	cmd.Flags().StringVar(&why, "why", "", "the reason, which is written into the case")
	return cmd
}

func newCasesRetry(table *string) *cobra.Command {
	return &cobra.Command{
		Use: "retry CASE", Short: "Try again what failed", Args: want(1, 1, "the ID of one case"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return give(cmd, *table, "", function.Request{Command: engine.Retry, Case: args[0]})
		},
	}
}

func newCasesUndo(table *string) *cobra.Command {
	var last, why string
	var keep []string
	cmd := &cobra.Command{
		Use: "undo CASE", Short: "Put back what was there before", Args: want(1, 1, "the ID of one case"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := function.Request{Command: engine.Undo, Case: args[0], Why: why, Keep: keep}
			if cmd.Flags().Changed("for") {
				d, ok := span(last)
				if !ok {
					return misuse("cases undo: --for %q: want a time such as 36h or 7d", last)
				}
				r.For = d.String()
			}
			return give(cmd, *table, "", r)
		},
	}
	cmd.Flags().StringVar(&last, "for", "24h", "how long the resource is exempt from the control or runbook: 36h or 7d")
	cmd.Flags().StringVar(&why, "why", "", "the reason, which is written into the case and the exemption")
	cmd.Flags().StringArrayVar(&keep, "keep", nil, "a remedy whose change stays, such as take-back-grant to release whoever was contained without his grant; may be given again")
	return cmd
}

// give reads a case, shows what is asked for, hands the command to the function
// and prints what came of it.
func give(cmd *cobra.Command, table, pinned string, r function.Request) error {
	cfg, l, err := connectLedger(cmd, table)
	if err != nil {
		return err
	}
	c, err := readCase(cmd, l, table, r.Case)
	if err != nil {
		return err
	}
	if slices.Contains(takes(c), r.Command) { // else the function says what it is for
		if !strings.HasPrefix(c.Digest(), strings.ToLower(pinned)) {
			return misuse("%s: --digest %s is not that of the change which case %s holds now: that is %.*s: look at it with `snapback cases show %s`",
				name(cmd), pinned, c.ID, max(len(pinned), len(control.ShortDigest(c.Digest()))), c.Digest(), c.ID)
		}
		if err := showRequest(cmd, c, r); err != nil {
			return err
		}
	}
	a, err := ask(cmd, cfg, c, r)
	if err != nil {
		return err
	}
	if err := printAnswer(cmd, r.Command, c, a); err != nil {
		return err
	}
	return verdict(cmd, a)
}

// showRequest prints the changes that a command is about, before it is sent.
func showRequest(cmd *cobra.Command, c *ledger.Case, r function.Request) error {
	command := r.Command
	forGood := command != engine.Deny && final(c)
	switch {
	case output(cmd) != "json":
	case forGood:
		return printf(cmd.ErrOrStderr(), "%s\n", irreversibleText)
	default:
		return nil
	}
	head := map[string]string{
		engine.Deny: "Not to be changed", engine.Undo: "To be put back to what was there before",
	}[command]
	w := cmd.OutOrStdout()
	if err := printf(w, "%s: %s\n", cmp.Or(head, "To be changed"), plain(c.Target.String(), 300)); err != nil {
		return err
	}
	if command != engine.Undo {
		if err := printf(w, "%s\n", wrap(plain(c.Reason, 600), columns)); err != nil {
			return err
		}
	}
	if len(c.Findings) > 0 {
		after := "After " + plain(c.Findings[0].Type, columns) + ": severity " + rated(&c.Findings[0])
		if more := len(c.Findings) - 1; more > 0 {
			after += ", and " + plural(more, "more finding")
		}
		if err := printf(w, "%s\n", after); err != nil {
			return err
		}
	}
	for _, s := range requested(c, r.Command, r.Keep) {
		if err := showStep(w, c, s, stepHead(s), false); err != nil {
			return err
		}
	}
	if forGood {
		return printf(w, "\n%s\n\n", irreversibleText)
	}
	return printf(w, "\n")
}

// requested are the steps that a command is about, in the order in which they
// are made or put back.
func requested(c *ledger.Case, command string, keep []string) []*ledger.Step {
	if command != engine.Undo {
		return c.Current()
	}
	steps := slices.DeleteFunc(made(c), func(s *ledger.Step) bool { return slices.Contains(keep, s.Remedy) })
	slices.Reverse(steps)
	return steps
}

// ask hands a command about a case to the function of its domain, with the
// digest of the changes that were shown.
func ask(cmd *cobra.Command, cfg aws.Config, c *ledger.Case, r function.Request) (engine.Answer, error) {
	domain := domainOf(c.Control)
	if domain == "" {
		return engine.Answer{}, fmt.Errorf("%s: case %s is about %s, a control or runbook that version %s of the command line does not know: use the one that is deployed",
			name(cmd), c.ID, plain(c.Control, 100), version)
	}
	r.Case, r.Digest = c.ID, c.Digest()
	defer patience(cmd.ErrOrStderr(), "waiting for the function "+deployment.Function(domain))()
	return invoke(cmd, cfg, domain, r)
}

// printAnswer prints what came of a command; why it is not done, its error says.
func printAnswer(cmd *cobra.Command, command string, c *ledger.Case, a engine.Answer) error {
	w := cmd.OutOrStdout()
	switch {
	case output(cmd) == "json":
		return printJSON(w, a)
	case a.Verdict == engine.Done:
		return resultLine(w, c, a)
	}
	return showMoved(w, command, c, a)
}

// resultLine says how a case stands now, and what came of the command; of what
// could not be put back, each on a line.
func resultLine(w io.Writer, c *ledger.Case, a engine.Answer) error {
	if a.Case != nil {
		c = a.Case
	}
	standing := engine.Standing(c)
	text := strings.TrimPrefix(a.Reason, standing+": ")
	if len(a.Notes) > 0 {
		text, _, _ = strings.Cut(text, notPutBack)
	}
	if err := printf(w, "%s  %s  %s\n", c.ID, standing, plain(text, 1000)); err != nil {
		return err
	}
	for _, note := range a.Notes {
		if err := printf(w, "  not put back: %s\n", plain(note, 1000)); err != nil {
			return err
		}
	}
	return nil
}

// notPutBack begins, in the reason of an undo, what its notes say one by one.
const notPutBack = ". Not put back: "

// showMoved prints what the operator was shown and what there is now, where the
// two differ and so nothing was done; of several steps, of the one that differs.
func showMoved(w io.Writer, command string, c *ledger.Case, a engine.Answer) error {
	if a.Now == nil {
		return nil
	}
	digest := func(of *alert.Change) string { return control.ShortDigest(of.Digest) }
	if several(c) {
		digest = func(*alert.Change) string { return "" } // it is not what a yes is given to
		was := "was shown"
		if command == engine.Undo {
			was = "the case left it"
		}
		if err := printf(w, "%s is not as %s:\n", a.Now.Remedy, was); err != nil {
			return err
		}
	}
	shown := cmp.Or(a.Shown, &alert.Change{}) // the case had no such step
	if command == engine.Undo {
		return details(w, "", []detail{
			{"before", wholeState(shown.Before)}, {"after", wholeState(shown.After)}, {"now", wholeState(a.Now.After)},
		})
	}
	for _, of := range []struct {
		when string
		what *alert.Change
	}{{"You were shown", shown}, {"It would be now", a.Now}} {
		if err := printf(w, "%s:\n", of.when); err != nil {
			return err
		}
		if err := details(w, "  ", told(
			detail{"before", wholeState(of.what.Before)}, detail{"after", wholeState(of.what.After)},
			detail{"digest", digest(of.what)},
		)); err != nil {
			return err
		}
	}
	return nil
}

func newCasesExpire() *cobra.Command {
	return &cobra.Command{
		Use: "expire", Short: "End the cases that nobody answered in time, as the scheduler does", Args: want(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := connect(cmd)
			if err != nil {
				return err
			}
			return each(domains(), func(d control.Domain) (bool, error) { return expire(cmd, cfg, d.Name) })
		},
	}
}

// expire asks one domain's function, and reports whether it is done.
func expire(cmd *cobra.Command, cfg aws.Config, domain string) (bool, error) {
	a, failed := invoke(cmd, cfg, domain, function.Request{Command: function.Expire})
	var err error
	if failed == nil {
		failed = verdict(cmd, a)
		switch {
		case output(cmd) == "json":
			err = printJSON(cmd.OutOrStdout(), a)
		case failed == nil:
			err = printf(cmd.OutOrStdout(), "%s  %s\n", domain, plain(a.Reason, 1000))
		}
	}
	if failed != nil && err == nil {
		err = printf(cmd.ErrOrStderr(), "snapback: %v\n", failed)
	}
	return failed == nil, err
}

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/health"
)

// newDrill sends canaries. What is done is done by the function snapback-health,
// so that credentials of the hub are enough.
func newDrill() *cobra.Command {
	r := health.Request{Command: health.Drill}
	cmd := &cobra.Command{
		Use: "drill", Short: "Send a canary event from every account and Region, and report what did not come back",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownCommand(cmd, args[0])
		},
		SuggestionsMinimumDistance: 2,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return drill(cmd, r) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&r.Accounts, "account", nil, "an account to send one from; may be repeated (default: all of the organization)")
	f.StringSliceVar(&r.Regions, "region", nil, "a governed Region to send one from; may be repeated (default: all)")
	cmd.AddCommand(newDrillGuardDuty())
	return cmd
}

func drill(cmd *cobra.Command, r health.Request) error {
	for _, account := range r.Accounts {
		if !event.IsAccount(account) {
			return misuse("drill: --account %q: want a 12-digit account number", account)
		}
	}
	for _, names := range []*[]string{&r.Accounts, &r.Regions} {
		slices.Sort(*names)
		*names = slices.Compact(*names)
	}
	cfg, err := connect(cmd)
	if err != nil {
		return err
	}
	done := patience(cmd.ErrOrStderr(), "canaries are under way; of a large organization it takes some minutes…")
	a, err := askHealth(cmd, cfg, r)
	done()
	if err != nil {
		return err
	}
	if err := nothingSeen(cmd, a); err != nil {
		return err
	}
	if err := printDrill(cmd, a); err != nil {
		return err
	}
	return drillVerdict(cmd, a)
}

// site is the JSON of one account in one Region in a drill.
type site struct {
	Drill   string `json:"drill"`
	Account string `json:"account"`
	Region  string `json:"region"`
	// Back says that the canary came back from every domain.
	Back bool `json:"back"`
	// Missing are the domains that it did not come back from.
	Missing []string `json:"missing"`
	// Faults say what is wrong, if that is known.
	Faults      []string `json:"faults"`
	Undelivered int      `json:"undelivered"`
}

// back reports whether the canary of a site came back from every domain.
func back(s health.Site) bool { return len(s.Missing)+len(s.Faults) == 0 }

func printDrill(cmd *cobra.Command, a health.Answer) error {
	w := cmd.OutOrStdout()
	if output(cmd) != "json" {
		if err := printSites(w, "", a.Sites); err != nil {
			return err
		}
		return printf(w, "%s\n", drillSums(a))
	}
	for _, s := range a.Sites {
		row := site{a.Drill, s.Account, s.Region, back(s), append([]string{}, s.Missing...), append([]string{}, s.Faults...), s.Undelivered}
		if err := printJSON(w, row); err != nil {
			return err
		}
	}
	return nil
}

// drillSums tells in a line how many came back, and of the others from which
// domains they did not.
func drillSums(a health.Answer) string {
	good := 0
	missing := map[string]int{}
	var domains []string
	for _, s := range a.Sites {
		if back(s) {
			good++
		}
		for _, d := range s.Missing {
			if missing[d]++; missing[d] == 1 {
				domains = append(domains, d)
			}
		}
	}
	took := time.Duration(a.Milliseconds) * time.Millisecond
	text := fmt.Sprintf("drill %s: %d of %s came back in %s", a.Drill, good, plural(len(a.Sites), "site"), took.Round(100*time.Millisecond))
	slices.Sort(domains)
	for i, d := range domains {
		domains[i] = fmt.Sprintf("%s %d", d, missing[d])
	}
	if len(domains) > 0 {
		text += "; missing: " + strings.Join(domains, ", ")
	}
	return wrap(plain(text, 600), columns)
}

// drillVerdict is the error of a drill that did not come back whole. Events that
// wait undelivered since before are told, and are no canary that is missing.
func drillVerdict(cmd *cobra.Command, a health.Answer) error {
	whole := !slices.ContainsFunc(a.Sites, func(s health.Site) bool { return !back(s) })
	if a.Verdict == engine.Done || whole && slices.ContainsFunc(a.Sites, health.Site.Wrong) {
		return nil
	}
	_ = printf(cmd.ErrOrStderr(), "what happens where it did not come back may not reach Snapback: `snapback doctor` tells what is wrong\n") // a hint alone
	return verdict(cmd, engine.Answer{Verdict: a.Verdict, Reason: a.Reason})
}

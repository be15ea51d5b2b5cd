package main

import (
	"cmp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/health"
)

// newDrillGuardDuty has GuardDuty make sample findings: the way of a real
// finding, from GuardDuty to the alert.
func newDrillGuardDuty() *cobra.Command {
	var account, region string
	var types []string
	cmd := &cobra.Command{
		Use: "guardduty", Short: "Have GuardDuty send sample findings, which change nothing", Args: want(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if account != "" && !event.IsAccount(account) {
				return misuse("drill guardduty: --account %q: want a 12-digit account number", account)
			}
			cfg, err := connect(cmd)
			if err != nil {
				return err
			}
			return sample(cmd, cfg, account, health.Request{Command: health.Sample, Regions: []string{cmp.Or(region, cfg.Region)}, Types: types})
		},
	}
	f := cmd.Flags()
	f.StringVar(&account, "account", "", "the account whose GuardDuty is to send them (default: the hub's)")
	f.StringVar(&region, "region", "", "the Region (default: the hub's)")
	f.StringSliceVar(&types, "type", nil, "a finding type; may be repeated (default: one that a runbook answers)")
	return cmd
}

// sampled is the JSON of drill guardduty.
type sampled struct {
	Account string `json:"account"`
	Region  string `json:"region"`
	// Types are those that were asked for; empty: the function chose.
	Types   []string `json:"types"`
	Verdict string   `json:"verdict"`
	Reason  string   `json:"reason"`
}

// expect is what comes of a sample finding. A new finding is sent within minutes.
// Source: GuardDuty user guide, "Processing GuardDuty findings with Amazon
// EventBridge".
const expect = "Expect within some minutes an alert of each that is answered, marked as a drill, with all that would be " +
	"done. A sample changes nothing. If no alert comes: `snapback doctor`, `snapback drill`."

func sample(cmd *cobra.Command, cfg aws.Config, account string, r health.Request) error {
	if account == "" {
		who, err := whoami(cmd, cfg)
		if err != nil {
			return err
		}
		account = who.Account
	}
	r.Accounts = []string{account}
	done := patience(cmd.ErrOrStderr(), "asking GuardDuty for sample findings")
	a, err := askHealth(cmd, cfg, r)
	done()
	if err != nil {
		return err
	}
	if output(cmd) == "json" {
		err = printJSON(cmd.OutOrStdout(), sampled{account, r.Regions[0], append([]string{}, r.Types...), string(a.Verdict), a.Reason})
	} else if a.Verdict == engine.Done {
		err = printf(cmd.OutOrStdout(), "%s\n%s\n", wrap(plain(a.Reason, 600), columns), wrap(expect, columns))
	}
	if err != nil {
		return err
	}
	return verdict(cmd, engine.Answer{Verdict: a.Verdict, Reason: a.Reason})
}

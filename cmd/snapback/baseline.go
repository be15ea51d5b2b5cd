package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
)

func newBaseline() *cobra.Command {
	parent := &cobra.Command{Use: "baseline", Short: "Look at the baseline file", Args: cobra.NoArgs}
	parent.AddCommand(&cobra.Command{
		Use:   "check [FILE]",
		Short: "Report every fault of a baseline file (default baseline.yaml)",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := "baseline.yaml"
			if len(args) > 0 {
				file = args[0]
			}
			return checkBaseline(cmd, file)
		},
	})
	return parent
}

func checkBaseline(cmd *cobra.Command, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("baseline check: %w", err)
	}
	b, problems := baseline.Parse(file, data, controls.All(), time.Now())
	for _, p := range problems {
		if output(cmd) == "json" {
			err = printJSON(cmd.OutOrStdout(), p)
		} else {
			err = printf(cmd.ErrOrStderr(), "%s\n", p)
		}
		if err != nil {
			return err
		}
	}
	if b == nil {
		return errNotSo
	}
	if output(cmd) == "json" {
		return nil
	}
	return printf(cmd.OutOrStdout(), "%s: valid\n", file)
}

// loadBaseline reads a baseline for a command that works by it, with the
// domains whose parameters it sets.
func loadBaseline(cmd *cobra.Command, file string) (*baseline.Baseline, []control.Domain, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("--baseline: %w", err)
	}
	domains := controls.Domains()
	var all []control.Control
	for _, d := range domains {
		all = append(all, d.Controls...)
	}
	b, problems := baseline.Parse(file, data, all, time.Now())
	if b == nil {
		return nil, nil, failure{problems}
	}
	for _, p := range problems {
		if err := printf(cmd.ErrOrStderr(), "%s\n", p); err != nil {
			return nil, nil, err
		}
	}
	return b, domains, nil
}

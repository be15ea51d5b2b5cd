package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
)

func newBaseline() *cobra.Command {
	return parent("baseline", "Look at the baseline file", &cobra.Command{
		Use:   "check [FILE]",
		Short: "Report every fault of a baseline file (default baseline.yaml)",
		Args:  want(0, 1, "at most one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := "baseline.yaml"
			if len(args) > 0 {
				file = args[0]
			}
			return checkBaseline(cmd, file)
		},
	})
}

// problem is the JSON of a fault or a warning.
type problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Warning bool   `json:"warning"`
	Message string `json:"message"`
}

func checkBaseline(cmd *cobra.Command, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return misuse("baseline check: %w", err)
	}
	b, problems := baseline.Parse(file, data, domains(), time.Now())
	out, asJSON := cmd.OutOrStdout(), output(cmd) == "json"
	for _, p := range problems {
		if asJSON {
			err = printJSON(out, problem{p.File, p.Line, p.Column, p.Warning, p.Message})
		} else {
			err = printf(out, "%s\n", p)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case b == nil:
		return errNotSo
	case asJSON:
		return nil
	}
	return printf(out, "%s: valid\n", file)
}

// loadBaseline reads a baseline for a command that works by it, with the
// domains whose parameters it sets.
func loadBaseline(cmd *cobra.Command, file string) (*baseline.Baseline, []control.Domain, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, misuse("%s: --baseline: %w", name(cmd), err)
	}
	all := domains()
	b, problems := baseline.Parse(file, data, all, time.Now())
	for _, p := range problems {
		if err := printf(cmd.ErrOrStderr(), "%s\n", p); err != nil {
			return nil, nil, err
		}
	}
	if b == nil {
		return nil, nil, fmt.Errorf("%s: nothing was done: the baseline file %s has faults", name(cmd), file)
	}
	return b, all, nil
}

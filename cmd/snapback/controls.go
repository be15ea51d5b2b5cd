package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
)

// controlInfo is the JSON of a control.
type controlInfo struct {
	Control     string           `json:"control"`
	Domain      string           `json:"domain"`
	Title       string           `json:"title"`
	Severity    control.Severity `json:"severity"`
	Type        string           `json:"type"`
	Remedy      string           `json:"remedy"`
	Changes     bool             `json:"changes"`
	Reversible  bool             `json:"reversible"`
	SecurityHub []string         `json:"securityHub"`
	CIS         []string         `json:"cis"`
	ConfigRules []string         `json:"configRules"`
	Triggers    []string         `json:"triggers"`
	Rationale   string           `json:"rationale"`
	Hazard      string           `json:"hazard"`
	Permissions []string         `json:"permissions"`
}

func info(domain string, c *control.Control) controlInfo {
	i := controlInfo{
		Control: c.ID, Domain: domain, Title: c.Title, Severity: c.Severity, Type: c.Type,
		Remedy: c.Remedy.Name, Changes: c.Remedy.Apply != nil, Reversible: c.Remedy.Undo != nil,
		SecurityHub: c.Standards.SecurityHub, CIS: c.Standards.CIS, ConfigRules: c.Standards.ConfigRules,
		Rationale: c.Rationale, Hazard: c.Hazard, Triggers: []string{}, Permissions: c.Remedy.Permissions.Actions(),
	}
	for _, t := range c.Triggers {
		for _, name := range t.Names {
			i.Triggers = append(i.Triggers, t.Source+":"+name)
		}
	}
	for _, t := range c.ConfigTypes() {
		i.Triggers = append(i.Triggers, "config:"+t)
	}
	return i
}

func newControls() *cobra.Command {
	return &cobra.Command{
		Use: "controls", Short: "List the controls", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rows := [][]string{{"CONTROL", "SEVERITY", "DOMAIN", "STANDARDS", "WHAT HOLDS"}}
			for _, d := range controls.Domains() {
				for i := range d.Controls {
					c := info(d.Name, &d.Controls[i])
					if output(cmd) == "json" {
						if err := printJSON(cmd.OutOrStdout(), c); err != nil {
							return err
						}
					}
					rows = append(rows, []string{c.Control, string(c.Severity), c.Domain, strings.Join(c.SecurityHub, " "), c.Title})
				}
			}
			if output(cmd) == "json" {
				return nil
			}
			return table(cmd.OutOrStdout(), rows)
		},
	}
}

func newExplain() *cobra.Command {
	return &cobra.Command{
		Use: "explain CONTROL", Short: "Tell all about one control", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var known []string
			for _, d := range controls.Domains() {
				for i := range d.Controls {
					if c := &d.Controls[i]; c.ID == args[0] {
						return explain(cmd, info(d.Name, c))
					}
					known = append(known, d.Controls[i].ID)
				}
			}
			return fmt.Errorf("explain: no control %q: want one of %s", args[0], quoteAll(known))
		},
	}
}

func explain(cmd *cobra.Command, c controlInfo) error {
	if output(cmd) == "json" {
		return printJSON(cmd.OutOrStdout(), c)
	}
	changes := "nothing: it only reports"
	switch {
	case c.Changes && c.Reversible:
		changes = "yes, and the change can be undone"
	case c.Changes:
		changes = "yes, and the change can NOT be undone"
	}
	rows := [][]string{
		{"Severity", string(c.Severity)},
		{"Domain", c.Domain},
		{"Resource", c.Type},
		{"Security Hub", strings.Join(c.SecurityHub, ", ")},
		{"CIS", strings.Join(c.CIS, ", ")},
		{"Config rules", strings.Join(c.ConfigRules, ", ")},
		{"Changes", changes},
	}
	w := cmd.OutOrStdout()
	if err := printf(w, "%s: %s\n\n%s\n\nMay break: %s\n\n", c.Control, c.Title, c.Rationale, c.Hazard); err != nil {
		return err
	}
	if err := table(w, rows); err != nil {
		return err
	}
	return printf(w, "\nLooked at after:\n  %s\n\nIAM actions:\n  %s\n",
		strings.Join(c.Triggers, "\n  "), strings.Join(c.Permissions, "\n  "))
}

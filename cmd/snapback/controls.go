package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"github.com/snapback-aws/snapback/pkg/control"
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
	// Params are the control's parameters with their defaults.
	Params      map[string]any `json:"params"`
	Permissions []permission   `json:"permissions"`
}

// permission is one call of one of a control's steps.
type permission struct {
	Step     string `json:"step"`
	Call     string `json:"call"`
	Action   string `json:"action"`
	Resource string `json:"resource"`
}

func info(domain string, c *control.Control) (controlInfo, error) {
	i := controlInfo{
		Control: c.ID, Domain: domain, Title: c.Title, Severity: c.Severity, Type: c.Type,
		Remedy: c.Remedy.Name, Changes: c.Remedy.Apply != nil, Reversible: c.Remedy.Undo != nil,
		SecurityHub: list(c.Standards.SecurityHub), CIS: list(c.Standards.CIS), ConfigRules: list(c.Standards.ConfigRules),
		Rationale: c.Rationale, Hazard: c.Hazard, Triggers: []string{}, Permissions: []permission{}, Params: map[string]any{},
	}
	for _, t := range c.Triggers {
		for _, name := range t.Names {
			i.Triggers = append(i.Triggers, t.Source+":"+name)
		}
	}
	for _, t := range c.ConfigTypes() {
		i.Triggers = append(i.Triggers, "config:"+t)
	}
	i.Permissions = append(i.Permissions, permissions(c.Remedy)...)
	var err error
	i.Params, err = paramsOf(c.ID, c.Params)
	return i, err
}

// permissions are the calls of each of a remedy's steps.
func permissions(r control.Remedy) []permission {
	var all []permission
	for _, step := range []struct {
		name string
		of   []control.Permission
	}{
		{"list", r.Permissions.List}, {"plan", r.Permissions.Plan}, {"verify", r.Permissions.Verify},
		{"apply", r.Permissions.Apply}, {"undo", r.Permissions.Undo}, {"look", r.Permissions.Look},
	} {
		for _, p := range step.of {
			all = append(all, permission{step.name, p.Call, p.Action, p.Resource})
		}
	}
	return all
}

// paramsOf are the parameters of a control or a runbook by their names in the
// baseline file.
func paramsOf(id string, params any) (map[string]any, error) {
	all := map[string]any{}
	if params == nil {
		return all, nil
	}
	text, err := yaml.Marshal(params)
	if err == nil {
		err = yaml.Unmarshal(text, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("print the parameters of %s: %w", id, err)
	}
	return all, nil
}

// list is never null in JSON.
func list(of []string) []string { return append([]string{}, of...) }

func newControls() *cobra.Command {
	return &cobra.Command{
		Use: "controls", Short: "List the controls", Args: want(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			rows := [][]string{{"CONTROL", "SEVERITY", "DOMAIN", "WHAT HOLDS"}}
			for _, d := range domains() {
				for i := range d.Controls {
					c, err := info(d.Name, &d.Controls[i])
					if err == nil && output(cmd) == "json" {
						err = printJSON(cmd.OutOrStdout(), c)
					}
					if err != nil {
						return err
					}
					rows = append(rows, []string{c.Control, string(c.Severity), c.Domain, c.Title})
				}
			}
			if output(cmd) == "json" {
				return nil
			}
			return table(cmd.OutOrStdout(), rows)
		},
	}
}

// unknownControl names the controls and runbooks that may be meant.
func unknownControl(cmd *cobra.Command, id string) error {
	if like := alike(id, names()); len(like) > 0 {
		return misuse("%s: no control or runbook %q: did you mean %s?", name(cmd), id, oneOf(like))
	}
	return misuse("%s: no control or runbook %q: `snapback controls` and docs/runbooks.md list them", name(cmd), id)
}

// names are the IDs of all controls and runbooks.
func names() []string {
	var all []string
	for _, d := range domains() {
		for i := range d.Controls {
			all = append(all, d.Controls[i].ID)
		}
		for i := range d.Runbooks {
			all = append(all, d.Runbooks[i].ID)
		}
	}
	return all
}

// alike are those of some names that may be meant by another.
func alike(name string, of []string) []string {
	probe := &cobra.Command{SuggestionsMinimumDistance: 3} // cobra's measure of likeness
	for _, n := range of {
		probe.AddCommand(&cobra.Command{Use: n, Run: func(*cobra.Command, []string) {}})
	}
	like := probe.SuggestionsFor(name)
	return like[:min(len(like), 3)]
}

func explain(w io.Writer, c controlInfo) error {
	if err := printf(w, "%s: %s\n\n%s\n\n", c.Control, c.Title, wrap(c.Rationale, columns)); err != nil {
		return err
	}
	if c.Changes {
		if err := printf(w, "%s\n\n", wrap("May break: "+c.Hazard, columns)); err != nil {
			return err
		}
	}
	if err := details(w, "", c.details()); err != nil {
		return err
	}
	if err := explainParams(w, c.Params); err != nil {
		return err
	}
	if err := printf(w, "\nLooked at after:\n  %s\n\n", strings.Join(c.Triggers, "\n  ")); err != nil {
		return err
	}
	rows := [][]string{{"STEP", "IAM ACTION", "CALL", "ON"}}
	for _, p := range c.Permissions {
		rows = append(rows, []string{p.Step, p.Action, p.Call, p.Resource})
	}
	return table(w, rows)
}

func explainParams(w io.Writer, params map[string]any) error {
	if len(params) == 0 {
		return nil
	}
	text, err := yaml.Marshal(params)
	if err != nil {
		return err
	}
	return printf(w, "\nParameters, with their defaults:\n%s", text)
}

func (c controlInfo) details() []detail {
	changes := "nothing: it only reports"
	switch {
	case c.Reversible:
		changes = "yes (" + c.Remedy + "), and the change can be undone"
	case c.Changes:
		changes = "yes (" + c.Remedy + "), and the change can NOT be undone"
	}
	of := []detail{
		{"Severity", string(c.Severity)},
		{"Domain", c.Domain},
		{"Resource", c.Type},
		{"Changes", changes},
	}
	for _, standard := range []struct {
		name string
		of   []string
	}{{"Security Hub", c.SecurityHub}, {"CIS", c.CIS}, {"Config rules", c.ConfigRules}} {
		if len(standard.of) > 0 {
			of = append(of, detail{standard.name, wrap(strings.Join(standard.of, ", "), columns-14)})
		}
	}
	return of
}

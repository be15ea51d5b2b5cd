package main

import (
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/runbooks"
)

// runbookInfo is the JSON of a runbook.
type runbookInfo struct {
	Runbook  string   `json:"runbook"`
	Domain   string   `json:"domain"`
	Title    string   `json:"title"`
	Type     string   `json:"type"`
	Findings []string `json:"findings"`
	// Calls are those of CloudTrail that it answers, as "iam.amazonaws.com:AttachUserPolicy".
	Calls []string `json:"calls"`
	When  string   `json:"when"`
	Steps []step   `json:"steps"`
	// Rationale and Hazard are as those of a control.
	Rationale string `json:"rationale"`
	Hazard    string `json:"hazard"`
	// Params are the runbook's parameters with their defaults.
	Params      map[string]any      `json:"params"`
	Permissions []runbookPermission `json:"permissions"`
}

// step is one remedy of a runbook.
type step struct {
	Remedy     string   `json:"remedy"`
	After      []string `json:"after"`
	Urgent     bool     `json:"urgent"`
	Changes    bool     `json:"changes"`
	Reversible bool     `json:"reversible"`
}

// runbookPermission is one call of a step of one of a runbook's remedies.
type runbookPermission struct {
	Remedy   string `json:"remedy"`
	Step     string `json:"step"`
	Call     string `json:"call"`
	Action   string `json:"action"`
	Resource string `json:"resource"`
}

// findingInfo is the JSON of a finding type.
type findingInfo struct {
	Finding string `json:"finding"`
	// Status is empty if Snapback does not know the type.
	Status    runbooks.Status `json:"status"`
	Answers   []findingAnswer `json:"answers"`
	Otherwise string          `json:"otherwise"`
	// Like are types that may be meant by one that is not known.
	Like []string `json:"like"`
}

// findingAnswer is a runbook that answers findings of a type on a condition.
type findingAnswer struct {
	Runbook string `json:"runbook"`
	Title   string `json:"title"`
	If      string `json:"if"`
}

func newExplain() *cobra.Command {
	return &cobra.Command{
		Use: "explain NAME", Short: "Tell all about a control, a runbook or the answer to a type of finding",
		Args: want(1, 1, "the ID of a control or a runbook, or a finding type"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id := args[0]
			for _, d := range domains() {
				for i := range d.Controls {
					if d.Controls[i].ID == id {
						c, err := info(d.Name, &d.Controls[i])
						return show(cmd, c, err, explain)
					}
				}
				for i := range d.Runbooks {
					if d.Runbooks[i].ID == id {
						r, err := infoOfRunbook(d.Name, &d.Runbooks[i])
						return show(cmd, r, err, explainRunbook)
					}
				}
			}
			if findingType.MatchString(id) {
				return show(cmd, infoOfFinding(id), nil, explainFinding)
			}
			if like := alike(id, append(names(), findingTypes()...)); len(like) > 0 {
				return misuse("%s: no control, runbook or finding type %q: did you mean %s?", name(cmd), id, oneOf(like))
			}
			return misuse("%s: no control, runbook or finding type %q: `snapback controls` lists the controls, docs/runbooks.md the others",
				name(cmd), id)
		},
	}
}

// show prints what there is to tell, in the form that is wanted.
func show[T any](cmd *cobra.Command, of T, err error, asText func(io.Writer, T) error) error {
	switch {
	case err != nil:
		return err
	case output(cmd) == "json":
		return printJSON(cmd.OutOrStdout(), of)
	}
	return asText(cmd.OutOrStdout(), of)
}

// findingType is the form of the names of finding types. Source: GuardDuty user
// guide, "GuardDuty finding format".
var findingType = regexp.MustCompile(`^[A-Za-z0-9]+:[A-Za-z0-9]+/[A-Za-z0-9&.!-]+$`)

func findingTypes() []string {
	var names []string
	for _, t := range runbooks.FindingTypes() {
		names = append(names, t.Name)
	}
	return names
}

func infoOfRunbook(domain string, r *control.Runbook) (runbookInfo, error) {
	i := runbookInfo{
		Runbook: r.ID, Domain: domain, Title: r.Title, Type: r.Type, Findings: list(r.Findings), Calls: calls(r.Triggers), When: r.When,
		Rationale: r.Rationale, Hazard: r.Hazard, Steps: []step{}, Permissions: []runbookPermission{},
	}
	for _, s := range r.Steps {
		i.Steps = append(i.Steps, step{
			Remedy: s.Remedy.Name, After: list(s.After), Urgent: s.Urgent, Changes: s.Remedy.Apply != nil, Reversible: s.Remedy.Undo != nil,
		})
		for _, p := range permissions(s.Remedy) {
			i.Permissions = append(i.Permissions, runbookPermission{s.Remedy.Name, p.Step, p.Call, p.Action, p.Resource})
		}
	}
	var err error
	i.Params, err = paramsOf(r.ID, r.Params)
	return i, err
}

func explainRunbook(w io.Writer, r runbookInfo) error {
	if err := printf(w, "%s: %s\n\n%s\n\n", r.Runbook, r.Title, wrap(r.Rationale, columns)); err != nil {
		return err
	}
	if r.Hazard != "" {
		if err := printf(w, "%s\n\n", wrap("May break: "+r.Hazard, columns)); err != nil {
			return err
		}
	}
	of := []detail{{"Domain", r.Domain}, {"Resource", r.Type}, {"Answers when", wrap(r.When, columns-14)}}
	if err := details(w, "", of); err != nil {
		return err
	}
	if err := explainSteps(w, r.Steps); err != nil {
		return err
	}
	if err := explainParams(w, r.Params); err != nil {
		return err
	}
	if err := explainAnswers(w, r); err != nil || len(r.Permissions) == 0 {
		return err
	}
	rows := [][]string{{"REMEDY", "STEP", "IAM ACTION", "CALL", "ON"}}
	for _, p := range r.Permissions {
		rows = append(rows, []string{p.Remedy, p.Step, p.Action, p.Call, p.Resource})
	}
	if err := printf(w, "\n"); err != nil {
		return err
	}
	return table(w, rows)
}

// explainAnswers prints what a runbook answers.
func explainAnswers(w io.Writer, r runbookInfo) error {
	if len(r.Findings) > 0 {
		return printf(w, "\nAnswers findings of:\n  %s\n", strings.Join(r.Findings, "\n  "))
	}
	return printf(w, "\nAnswers calls, where the live state shows that it has to:\n  %s\n", strings.Join(r.Calls, "\n  "))
}

// calls are the calls of triggers, by source and name.
func calls(triggers []control.Trigger) []string {
	all := []string{}
	for _, t := range triggers {
		for _, name := range t.Names {
			all = append(all, t.Source+":"+name)
		}
	}
	return all
}

func explainSteps(w io.Writer, steps []step) error {
	if len(steps) == 0 {
		return printf(w, "\nIt changes nothing: it only tells.\n")
	}
	rows := [][]string{{"REMEDY", "AFTER", "CHANGES"}}
	for _, s := range steps {
		changes := "nothing: it only reports"
		switch {
		case s.Reversible:
			changes = "yes, and the change can be undone"
		case s.Changes:
			changes = "yes, and the change can NOT be undone"
		}
		after := strings.Join(s.After, ", ")
		if s.Urgent {
			after = "at once: it waits for no other's plan"
		}
		rows = append(rows, []string{s.Remedy, after, changes})
	}
	if err := printf(w, "\n"); err != nil {
		return err
	}
	return table(w, rows)
}

func infoOfFinding(name string) findingInfo {
	a := runbooks.AnswerTo(name)
	i := findingInfo{Finding: name, Status: a.Type.Status, Otherwise: a.Otherwise, Answers: []findingAnswer{}, Like: []string{}}
	for _, r := range a.Runbooks {
		i.Answers = append(i.Answers, findingAnswer{r.ID, r.Title, r.If})
	}
	if a.Type.Status == "" {
		i.Like = list(alike(name, findingTypes()))
	}
	return i
}

// statuses say what AWS does with a type.
var statuses = map[runbooks.Status]string{
	"":               "not a finding type that Snapback knows",
	runbooks.Active:  "a finding type of GuardDuty",
	runbooks.OptIn:   "a finding type of GuardDuty's Custom Detection Rules",
	runbooks.Retired: "a finding type that GuardDuty has retired",
}

func explainFinding(w io.Writer, f findingInfo) error {
	if err := printf(w, "%s: %s\n", f.Finding, statuses[f.Status]); err != nil {
		return err
	}
	for _, a := range f.Answers {
		if err := printf(w, "\n%s: %s\n%s\n", a.Runbook, a.Title, wrap("If "+a.If+".", columns)); err != nil {
			return err
		}
	}
	head := "Otherwise"
	if len(f.Answers) == 0 {
		head = "finding-report: it is told, and nothing more is done"
	}
	if err := printf(w, "\n%s\n%s\n", head, wrap(f.Otherwise, columns)); err != nil || len(f.Like) == 0 {
		return err
	}
	return printf(w, "\nDid you mean %s?\n", oneOf(f.Like))
}

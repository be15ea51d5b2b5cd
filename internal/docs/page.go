package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v4"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
	"github.com/snapback-aws/snapback/pkg/runbooks"
)

// page is one generated file of the folder docs.
type page struct {
	file   string
	render func([]control.Domain) ([]byte, error)
}

var (
	//go:embed controls.md.tmpl
	controlsTemplate string
	//go:embed patterns.md.tmpl
	patternsTemplate string
	//go:embed runbooks.md.tmpl
	runbooksTemplate string

	pages = []page{
		{"controls.md", templated(controlsTemplate)},
		{"runbooks.md", templated(runbooksTemplate)},
		{"patterns.md", templated(patternsTemplate)},
		{"permissions.md", permissions},
		{"ledger-table.json", ledgerTable},
		{"operations.md", alertsOf("operations.md")},
	}
)

// templated renders a template that is given the domains.
func templated(text string) func([]control.Domain) ([]byte, error) {
	return func(domains []control.Domain) ([]byte, error) { return execute(text, domains) }
}

// execute renders a template.
func execute(text string, data any) ([]byte, error) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"cell": cell, "codes": codes, "changes": changes, "steps": steps, "yaml": yamlOf,
		"sources": sources, "indented": indented, "join": strings.Join, "answers": answers, "remedies": remedies,
		"provided": provided, "memberRole": deployment.MemberRole, "functionRole": deployment.FunctionRole,
		"length":     func(p event.Pattern) int { return len(p.String()) },
		"maxPattern": func() int { return event.MaxPattern },
	}).Parse(text)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, data)
	return out.Bytes(), err
}

// shown is an alert in a page: the golden file that its tests hold it to, named
// in a comment, and its text.
var shown = regexp.MustCompile("(?s)<!-- (pkg/alert/testdata/[a-z-]+[.]txt) -->\n```\n.*?```\n")

// alertsOf is a written page with its alerts as they look now.
func alertsOf(file string) func([]control.Domain) ([]byte, error) {
	return func([]control.Domain) ([]byte, error) {
		page, err := os.ReadFile(filepath.Join(local.Root(), "docs", file))
		if err != nil {
			return nil, err
		}
		return shown.ReplaceAllFunc(page, func(block []byte) []byte {
			golden := string(shown.FindSubmatch(block)[1])
			text, readErr := os.ReadFile(filepath.Join(local.Root(), golden))
			err = errors.Join(err, readErr)
			return []byte("<!-- " + golden + " -->\n```\n" + string(text) + "```\n")
		}), err
	}
}

// ledgerTable is the ledger's table as `aws dynamodb create-table
// --cli-input-json` takes it.
func ledgerTable([]control.Domain) ([]byte, error) {
	text, err := json.Marshal(ledger.Schema("snapback"))
	if err != nil {
		return nil, err
	}
	var table any
	if err := json.Unmarshal(text, &table); err != nil {
		return nil, err
	}
	out, err := json.MarshalIndent(given(table), "", "  ")
	return append(out, '\n'), err
}

// given is a value without the fields that are not set.
func given(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, field := range v {
			if field == nil || field == "" {
				delete(v, name)
			} else {
				v[name] = given(field)
			}
		}
	case []any:
		for i := range v {
			v[i] = given(v[i])
		}
	}
	return v
}

// cell is text that may stand in a cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// codes prints names as code, parted by commas.
func codes(names []string) string {
	var quoted []string
	for _, n := range names {
		quoted = append(quoted, "`"+n+"`")
	}
	return strings.Join(quoted, ", ")
}

// changes says what a remedy may do.
func changes(r control.Remedy) string {
	switch {
	case r.Apply == nil:
		return "nothing: it only reports"
	case r.Undo == nil:
		return "can NOT be undone"
	}
	return "can be undone"
}

// remedies names what a runbook does, in its order.
func remedies(r control.Runbook) []string {
	var names []string
	for _, s := range r.Steps {
		names = append(names, s.Remedy.Name)
	}
	return names
}

// answered is a finding type with what is done about it, as a table shows it.
type answered struct{ Type, By, Why string }

// answers are all finding types, and what is done about findings of each.
func answers() []answered {
	var all []answered
	for _, t := range runbooks.FindingTypes() {
		a := runbooks.AnswerTo(t.Name)
		row := answered{Type: t.Name, By: "told", Why: a.Otherwise}
		if a.Answered() {
			row.By, row.Why = conditions(a.Runbooks)
		}
		all = append(all, row)
	}
	return all
}

// conditions links to runbooks and says on which findings each answers.
func conditions(of []runbooks.Conditional) (links, whens string) {
	var names, conditions []string
	for i, r := range of {
		names = append(names, "["+r.ID+"](#"+r.ID+")")
		if i == 0 || of[i-1].If != r.If {
			conditions = append(conditions, r.ID+": if "+r.If)
		}
	}
	return strings.Join(names, ", "), strings.Join(conditions, "; ")
}

// step is the permissions of one step of a control.
type step struct {
	Name string
	Of   []control.Permission
}

// steps are the steps that need permissions, in the order in which they are
// taken.
func steps(p control.Permissions) []step {
	return slices.DeleteFunc([]step{{"List", p.List}, {"Plan", p.Plan}, {"Verify", p.Verify}, {"Apply", p.Apply}, {"Undo", p.Undo}, {"Look", p.Look}},
		func(s step) bool { return len(s.Of) == 0 })
}

// source is the calls of one event source that a control looks at.
type source struct {
	Name  string
	Calls []string
}

// sources are the triggers of a control, those of one source together.
func sources(triggers []control.Trigger) []source {
	var all []source
	for _, t := range triggers {
		i := slices.IndexFunc(all, func(s source) bool { return s.Name == t.Source })
		if i < 0 {
			i = len(all)
			all = append(all, source{Name: t.Source})
		}
		all[i].Calls = append(all[i].Calls, t.Names...)
	}
	return all
}

func yamlOf(params any) (string, error) {
	text, err := yaml.Marshal(params)
	return strings.TrimSpace(string(text)), err
}

// indented is a pattern with a value on each line, so that a change shows what
// came and went.
func indented(p event.Pattern) (string, error) {
	var out bytes.Buffer
	err := json.Indent(&out, []byte(p.String()), "", "  ")
	return out.String(), err
}

package control

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Validate reports every fault in the declarations of the domains: what is
// missing, malformed or there twice. It makes no calls.
func Validate(domains []Domain) error {
	var faults []error
	seen := map[string]bool{}
	unique := func(among, kind, name string) {
		if seen[among+name] {
			faults = append(faults, fmt.Errorf("%s %s is there twice", kind, name))
		}
		seen[among+name] = true
	}
	for _, d := range domains {
		unique("domains ", "domain", d.Name)
		if !isName(d.Name) {
			faults = append(faults, fmt.Errorf("domain %q: want lower-case letters and digits, parted by hyphens", d.Name))
		}
		for i := range d.Controls {
			c := &d.Controls[i]
			unique("rules ", "control", c.ID)
			unique("remedies of "+d.Name, "remedy of "+d.Name, c.Remedy.Name)
			for _, fault := range c.faults() {
				faults = append(faults, fmt.Errorf("control %s: %s", c.ID, fault))
			}
		}
		for i := range d.Runbooks {
			r := &d.Runbooks[i]
			unique("rules ", "runbook", r.ID)
			for _, s := range r.Steps {
				unique("remedies of "+d.Name, "remedy of "+d.Name, s.Remedy.Name)
			}
			for _, fault := range r.faults() {
				faults = append(faults, fmt.Errorf("runbook %s: %s", r.ID, fault))
			}
		}
	}
	return errors.Join(faults...)
}

// wanted collects faults.
type wanted []string

func (w *wanted) want(ok bool, fault string) {
	if !ok {
		*w = append(*w, fault)
	}
}

func (c *Control) faults() []string {
	var f wanted
	f.words(c.ID, c.Title, c.Rationale)
	f.want(c.Hazard != "" || c.Remedy.Apply == nil, "Hazard is missing: what may the change break?")
	f.want(slices.Contains(Severities, c.Severity), "Severity is missing")
	f.resource(c.Resource)
	f.want(len(c.Triggers) > 0, "Triggers are missing")
	f.want(c.List != nil, "List is missing")
	f.triggers(c.Triggers)
	f.params(c.Params)
	return append(f, c.Remedy.faults()...)
}

func (r *Runbook) faults() []string {
	var f wanted
	f.words(r.ID, r.Title, r.Rationale)
	f.resource(r.Resource)
	f.want(len(r.Findings) > 0 != (len(r.Triggers) > 0), "want either Findings or Triggers")
	f.want(len(r.Triggers) == 0 || slices.Contains(Severities, r.Severity), "Severity is missing")
	f.triggers(r.Triggers)
	for _, glob := range r.Findings {
		f.want(findingGlob.MatchString(glob), fmt.Sprintf("Findings: %q is no glob over finding types such as CryptoCurrency:EC2/*", glob))
	}
	f.want(r.Targets != nil || len(r.Findings) == 0, "Targets is missing")
	f.want(len(r.Steps) > 0 || r.Reason != nil, "Reason is missing: why is nothing done?")
	f.want(len(r.Steps) == 0 || r.Reason == nil, "Reason of a runbook that has Steps")
	f.params(r.Params)
	changes := slices.ContainsFunc(r.Steps, func(s Step) bool { return s.Remedy.Apply != nil })
	f.want(r.Hazard != "" || !changes, "Hazard is missing: what may its changes break?")
	for i := range r.Steps {
		for _, fault := range r.Steps[i].Remedy.faults() {
			f = append(f, fmt.Sprintf("step %s: %s", r.Steps[i].Remedy.Name, fault))
		}
	}
	return append(f, r.order()...)
}

// order reports what is wrong with the order of the steps.
func (r *Runbook) order() []string {
	waiting := map[string][]string{}
	for _, s := range r.Steps {
		waiting[s.Remedy.Name] = s.After
	}
	var f wanted
	for _, s := range r.Steps {
		for _, name := range s.After {
			_, ok := waiting[name]
			f.want(ok, fmt.Sprintf("step %s is after %q, which is no step of the runbook", s.Remedy.Name, name))
		}
	}
	for len(f) == 0 && len(waiting) > 0 {
		before := len(waiting)
		maps.DeleteFunc(waiting, func(_ string, after []string) bool {
			return !slices.ContainsFunc(after, func(name string) bool { _, ok := waiting[name]; return ok })
		})
		f.want(len(waiting) < before, "steps that wait for each other: "+strings.Join(slices.Sorted(maps.Keys(waiting)), ", "))
	}
	return f
}

// findingGlob is what globs over finding types are made of. Source: GuardDuty
// user guide, "GuardDuty finding format".
var findingGlob = regexp.MustCompile(`^(\*|[A-Za-z0-9*?]+:[A-Za-z0-9*?]+/[A-Za-z0-9&.!*?]+)$`)

// words checks what every rule says of itself.
func (w *wanted) words(id, title, rationale string) {
	w.want(isName(id), "ID: want lower-case letters and digits, parted by hyphens")
	w.want(title != "" && !strings.HasSuffix(title, "."), "Title: want a sentence without a full stop")
	w.want(rationale != "", "Rationale is missing: why does the rule exist?")
}

func (w *wanted) triggers(triggers []Trigger) {
	for _, t := range triggers {
		w.want(strings.HasSuffix(t.Source, ".amazonaws.com"), "a trigger's Source: want an eventSource such as s3.amazonaws.com")
		w.want(len(t.Names) > 0 && t.Targets != nil, "a trigger without Names or Targets")
	}
}

func (w *wanted) resource(r Resource) {
	w.want(strings.HasPrefix(r.Type, "AWS::"), "Type: want a Config resource type such as AWS::S3::Bucket")
	w.want(r.ARN != nil, "ARN is missing")
	w.want(r.IDs != nil, "IDs is missing")
}

func (w *wanted) params(params any) {
	if t := reflect.TypeOf(params); t != nil {
		w.want(t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct, "Params: want a pointer to a struct")
	}
}

func (r *Remedy) faults() []string {
	var faults []string
	if !isName(r.Name) {
		faults = append(faults, "Remedy.Name: want lower-case letters and digits, parted by hyphens")
	}
	if r.Plan == nil {
		faults = append(faults, "Remedy.Plan is missing")
	}
	if r.Undo != nil && r.Apply == nil {
		faults = append(faults, "Remedy.Undo without Apply")
	}
	for _, step := range []struct {
		name        string
		there       bool
		permissions []Permission
	}{
		{"List", true, r.Permissions.List},
		{"Plan", r.Plan != nil, r.Permissions.Plan},
		{"Verify", r.Verify != nil, r.Permissions.Verify},
		{"Apply", r.Apply != nil, r.Permissions.Apply},
		{"Undo", r.Undo != nil, r.Permissions.Undo},
		{"Look", r.Look != nil, r.Permissions.Look},
	} {
		if !step.there && len(step.permissions) > 0 {
			faults = append(faults, "Permissions."+step.name+" of a step that is not there")
		}
		for _, p := range step.permissions {
			if !strings.Contains(p.Call, ".") || !strings.Contains(p.Action, ":") || p.Resource == "" {
				faults = append(faults, fmt.Sprintf("Permissions.%s: want Call Service.Operation, Action service:Action and Resource, got %+v", step.name, p))
			}
		}
	}
	return faults
}

func isName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" && strings.Trim(s, "-") == s
}

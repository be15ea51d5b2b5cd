package control

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Validate reports every fault in the declarations of the domains: what is
// missing, malformed or there twice. It makes no calls.
func Validate(domains []Domain) error {
	var faults []error
	seen := map[string]bool{}
	unique := func(kind, name string) {
		if seen[kind+name] {
			faults = append(faults, fmt.Errorf("%s %s is there twice", kind, name))
		}
		seen[kind+name] = true
	}
	for _, d := range domains {
		unique("domain", d.Name)
		if !isName(d.Name) {
			faults = append(faults, fmt.Errorf("domain %q: want lower-case letters and digits, parted by hyphens", d.Name))
		}
		for i := range d.Controls {
			c := &d.Controls[i]
			unique("control", c.ID)
			unique("remedy of "+d.Name, c.Remedy.Name)
			for _, fault := range c.faults() {
				faults = append(faults, fmt.Errorf("control %s: %s", c.ID, fault))
			}
		}
	}
	return errors.Join(faults...)
}

func (c *Control) faults() []string {
	var faults []string
	want := func(ok bool, fault string) {
		if !ok {
			faults = append(faults, fault)
		}
	}
	want(isName(c.ID), "ID: want lower-case letters and digits, parted by hyphens")
	want(c.Title != "" && !strings.HasSuffix(c.Title, "."), "Title: want a sentence without a full stop")
	want(c.Rationale != "", "Rationale is missing: why does the rule exist?")
	want(c.Hazard != "" || c.Remedy.Apply == nil, "Hazard is missing: what may the change break?")
	want(slices.Contains(Severities, c.Severity), "Severity is missing")
	want(strings.HasPrefix(c.Type, "AWS::"), "Type: want a Config resource type such as AWS::S3::Bucket")
	want(len(c.Triggers) > 0, "Triggers are missing")
	want(c.ARN != nil, "ARN is missing")
	want(c.IDs != nil, "IDs is missing")
	want(c.List != nil, "List is missing")
	for _, t := range c.Triggers {
		want(strings.HasSuffix(t.Source, ".amazonaws.com"), "a trigger's Source: want an eventSource such as s3.amazonaws.com")
		want(len(t.Names) > 0 && t.Targets != nil, "a trigger without Names or Targets")
	}
	if t := reflect.TypeOf(c.Params); t != nil {
		want(t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct, "Params: want a pointer to a struct")
	}
	return append(faults, c.Remedy.faults()...)
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

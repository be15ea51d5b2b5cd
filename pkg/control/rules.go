package control

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/snapback-aws/snapback/pkg/event"
)

// Rule is one EventBridge rule of a domain.
type Rule struct {
	Name    string // "storage-s3", "storage-config", "storage-config-2", "response-guardduty", "storage-drill"
	Pattern event.Pattern
}

// Rules are the EventBridge rules that bring a domain the events its controls
// are triggered by: one for each source of CloudTrail calls and one for AWS
// Config, split where a pattern would be longer than EventBridge takes; the
// GuardDuty findings, if it has runbooks that answer them; and, last, the
// canaries of drills. The same controls always give the same rules.
//
// Failed and read-only calls are not filtered here: a filter that is wrong
// about AWS's records loses violations without a word, while the function
// dismisses such an event without a call.
func (d Domain) Rules() []Rule {
	calls := map[string][]string{}
	var types []string
	for i := range d.Controls {
		c := &d.Controls[i]
		types = append(types, c.ConfigTypes()...)
		for _, t := range c.Triggers {
			calls[t.Source] = append(calls[t.Source], t.Names...)
		}
	}
	for i := range d.Runbooks {
		for _, t := range d.Runbooks[i].Triggers {
			calls[t.Source] = append(calls[t.Source], t.Names...)
		}
	}
	var rules []Rule
	for _, source := range slices.Sorted(maps.Keys(calls)) {
		service, _, _ := strings.Cut(source, ".")
		rules = append(rules, d.rules(service, event.Split(calls[source], func(names []string) event.Pattern {
			return event.Calls(source, names)
		}))...)
	}
	rules = append(rules, d.rules("config", event.Split(types, event.ConfigResources))...)
	if slices.ContainsFunc(d.Runbooks, func(r Runbook) bool { return len(r.Findings) > 0 }) {
		rules = append(rules, d.rules("guardduty", []event.Pattern{event.Findings()})...)
	}
	return append(rules, d.rules("drill", []event.Pattern{event.Drills()})...)
}

func (d Domain) rules(source string, patterns []event.Pattern) []Rule {
	var rules []Rule
	for i, p := range patterns {
		name := d.Name + "-" + source
		if i > 0 {
			name += "-" + strconv.Itoa(i+1)
		}
		rules = append(rules, Rule{name, p})
	}
	return rules
}

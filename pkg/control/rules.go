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
	rules := Merged([]Domain{d}, event.Split)
	for i := range rules {
		rules[i].Name = d.Name + "-" + rules[i].Name
	}
	return rules
}

// Merged are the rules that bring what any of the domains is brought: none
// matches what another one does. They are named after their sources, "s3",
// "config"; those after the first of a name are numbered, as the calls of AWS
// Config's own API are of the source of what it tells. Split is event.Split, or
// what leaves room in the patterns besides.
func Merged(domains []Domain, split func(values []string, build func([]string) event.Pattern) []event.Pattern) []Rule {
	calls := map[string][]string{}
	triggered := func(triggers []Trigger) {
		for _, t := range triggers {
			calls[t.Source] = append(calls[t.Source], t.Names...)
		}
	}
	var types []string
	findings := false
	for _, d := range domains {
		for i := range d.Controls {
			triggered(d.Controls[i].Triggers)
			types = append(types, d.Controls[i].ConfigTypes()...)
		}
		for i := range d.Runbooks {
			triggered(d.Runbooks[i].Triggers)
			findings = findings || len(d.Runbooks[i].Findings) > 0
		}
	}
	var m merged
	for _, source := range slices.Sorted(maps.Keys(calls)) {
		service, _, _ := strings.Cut(source, ".")
		m.add(service, split(calls[source], func(names []string) event.Pattern { return event.Calls(source, names) })...)
	}
	m.add("config", split(types, event.ConfigResources)...)
	if findings {
		m.add("guardduty", event.Findings())
	}
	if len(domains) > 0 {
		m.add("drill", event.Drills())
	}
	return m
}

type merged []Rule

// add adds rules under a name, those after the first of that name numbered.
func (m *merged) add(name string, patterns ...event.Pattern) {
	for _, p := range patterns {
		unique := name
		for n := 2; slices.ContainsFunc(*m, func(r Rule) bool { return r.Name == unique }); n++ {
			unique = name + "-" + strconv.Itoa(n)
		}
		*m = append(*m, Rule{unique, p})
	}
}

package deployment

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

// Forwarding are the rules of a member's default bus, which bring the hub's bus
// all that a rule of a domain matches. No event matches two of them: it would
// arrive twice. The same domains, in any order, give the same rules.
//
// Each pattern leaves room for the account that the deployment adds to it.
func Forwarding(domains []control.Domain) []control.Rule {
	calls := map[string][]string{}
	triggered := func(triggers []control.Trigger) {
		for _, t := range triggers {
			calls[t.Source] = append(calls[t.Source], t.Names...)
		}
	}
	var types []string
	findings := false
	for _, d := range domains {
		for _, c := range d.Controls {
			triggered(c.Triggers)
			types = append(types, c.ConfigTypes()...)
		}
		for _, r := range d.Runbooks {
			triggered(r.Triggers)
			findings = findings || len(r.Findings) > 0
		}
	}
	var f forwarding
	for _, source := range slices.Sorted(maps.Keys(calls)) {
		service, _, _ := strings.Cut(source, ".")
		f.add(service, split(calls[source], func(names []string) event.Pattern { return event.Calls(source, names) })...)
	}
	f.add("config", split(types, event.ConfigResources)...)
	if findings {
		f.add("guardduty", event.Findings())
	}
	if len(domains) > 0 {
		f.add("drill", event.Drills())
	}
	return f
}

type forwarding []control.Rule

// add adds rules under a name; those after the first of that name are numbered:
// the calls of AWS Config's own API are of the same source as what it tells.
func (f *forwarding) add(name string, patterns ...event.Pattern) {
	for _, p := range patterns {
		unique := name
		for n := 2; slices.ContainsFunc(*f, func(r control.Rule) bool { return r.Name == unique }); n++ {
			unique = name + "-" + strconv.Itoa(n)
		}
		*f = append(*f, control.Rule{Name: unique, Pattern: p})
	}
}

// split is event.Split with room for an account.
func split(values []string, build func([]string) event.Pattern) []event.Pattern {
	account := event.Field{Path: "account", Values: []string{"222222222222"}}
	patterns := event.Split(values, func(values []string) event.Pattern {
		p := build(values)
		p.Fields = append(p.Fields, account)
		return p
	})
	for i := range patterns {
		patterns[i].Fields = slices.DeleteFunc(patterns[i].Fields, func(f event.Field) bool { return f.Path == account.Path })
	}
	return patterns
}

// ForwardPolicy is what the role of members' rules may do.
func ForwardPolicy(b *baseline.Baseline) Document {
	at := b.Organization.Hub
	return document(Statement{
		Sid: "HubBus", Effect: allow, Action: []string{"events:PutEvents"},
		Resource: []string{"arn:${Partition}:events:" + at.Region + ":" + at.Account + ":event-bus/" + Bus},
		Why:      "The account's rules send its events to the hub.",
	})
}

// ForwardTrust is the trust policy of that role: EventBridge alone, for rules of
// the account whose names are Snapback's. Source: EventBridge user guide,
// "Cross-service confused deputy prevention".
func ForwardTrust() Document {
	return document(Statement{
		Sid: "Rules", Effect: allow,
		Principal: map[string]string{"Service": "events.amazonaws.com"},
		Action:    []string{assume},
		Condition: map[string]map[string][]string{
			"StringEquals": {"aws:SourceAccount": {"${Account}"}},
			"ArnLike":      {"aws:SourceArn": {"arn:${Partition}:events:*:${Account}:rule/" + Rule("*")}},
		},
		Why: "EventBridge acts by it for Snapback's rules in the account.",
	})
}

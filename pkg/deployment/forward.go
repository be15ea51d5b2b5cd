package deployment

import (
	"slices"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

// Forwarding are the rules of a member's default bus, which bring the hub's bus
// all that a rule of a domain matches. No event matches two of them: it would
// arrive twice. The same domains, in any order, give the same rules.
//
// Each pattern leaves room for the account that the deployment adds to it.
func Forwarding(domains []control.Domain) []control.Rule { return control.Merged(domains, split) }

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

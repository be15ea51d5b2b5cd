package deployment

import (
	"cmp"
	"slices"
	"strings"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

// On are the domains with what is not off in the baseline, and without what is.
func On(domains []control.Domain, b *baseline.Baseline) []control.Domain {
	var on []control.Domain
	for _, d := range domains {
		d.Controls = slices.DeleteFunc(slices.Clone(d.Controls), func(c control.Control) bool {
			return b.Strongest(baseline.Facts{Control: c.ID}) == baseline.Off
		})
		d.Runbooks = slices.DeleteFunc(slices.Clone(d.Runbooks), func(r control.Runbook) bool {
			return b.Strongest(baseline.Facts{Control: r.ID, Runbook: true}) == baseline.Off
		})
		if len(d.Controls)+len(d.Runbooks) > 0 {
			on = append(on, d)
		}
	}
	return on
}

// Grant is one permission of a domain's role in members.
type Grant struct {
	// Action is the IAM action, Resource the ARN pattern that it is granted on, "*"
	// where IAM knows none: see Unnameable.
	Action, Resource string
	// Changes says that only a change needs it, or an undo.
	Changes bool
	// Needs are what needs it, in the order of the domain, and their steps in that in
	// which they are taken.
	Needs []Need
}

// Need is a control, or a runbook, and the steps of its remedies that make the
// call: "Plan", "Apply". Without steps it is an override that concerns it.
type Need struct {
	ID      string
	Runbook bool
	Steps   []string
}

// rule is a control or a runbook, as far as its permissions go.
type rule struct {
	id       string
	runbook  bool
	untagged bool
	mode     baseline.Mode // the strongest that it may have
	remedies []control.Remedy
}

func rulesOf(d control.Domain, b *baseline.Baseline) []rule {
	var rules []rule
	for _, c := range d.Controls {
		rules = append(rules, rule{id: c.ID, untagged: c.Untagged, remedies: []control.Remedy{c.Remedy}})
	}
	for _, r := range d.Runbooks {
		of := rule{id: r.ID, runbook: true, untagged: r.Untagged}
		for _, s := range r.Steps {
			of.remedies = append(of.remedies, s.Remedy)
		}
		rules = append(rules, of)
	}
	for i := range rules {
		rules[i].mode = b.Strongest(baseline.Facts{Control: rules[i].id, Runbook: rules[i].runbook})
	}
	return rules
}

// changes reports whether anything may ever be changed by it.
func (r rule) changes() bool { return r.mode == baseline.Approve || r.mode == baseline.Enforce }

// overridden reports whether an override that holds where holds says concerns it.
func (r rule) overridden(b *baseline.Baseline, holds func(baseline.Match) bool) bool {
	return slices.ContainsFunc(b.Overrides, func(o baseline.Override) bool {
		names := o.Controls
		if r.runbook {
			names = o.Runbooks
		}
		return holds(o.Match) && slices.ContainsFunc(names, func(glob string) bool { return control.MatchGlob(glob, r.id) })
	})
}

// Grants are the permissions of a domain's role in members, each once, by action
// and resource: what the plans of its controls and runbooks read and, of those
// that may change anything under the baseline, what else they do. What is listed
// for scans alone is left out, since no function scans.
func Grants(d control.Domain, b *baseline.Baseline) []Grant {
	g := grants{}
	rules := rulesOf(d, b)
	for _, r := range rules {
		for _, remedy := range r.remedies {
			g.add(r, "Plan", remedy.Permissions.Plan, false)
			if r.changes() {
				g.add(r, "Verify", remedy.Permissions.Verify, false)
				g.add(r, "Look", remedy.Permissions.Look, false)
			}
		}
		// The tags that package facts reads.
		if !r.untagged && r.overridden(b, func(m baseline.Match) bool { return len(m.Tags) > 0 }) {
			g.add(r, "", []control.Permission{{Action: "tag:GetResources", Resource: "*"}}, false)
		}
	}
	// What the plans may do already needs no second permission.
	for _, r := range rules {
		for _, remedy := range r.remedies {
			if r.changes() {
				g.add(r, "Apply", remedy.Permissions.Apply, true)
				g.add(r, "Undo", remedy.Permissions.Undo, true)
			}
		}
	}
	g.sort(rules)
	return g
}

// order is that of the steps.
var order = []string{"Plan", "Verify", "Apply", "Undo", "Look"}

func (g grants) sort(rules []rule) {
	place := func(n Need) int {
		return slices.IndexFunc(rules, func(r rule) bool { return r.id == n.ID && r.runbook == n.Runbook })
	}
	for _, one := range g {
		slices.SortFunc(one.Needs, func(a, b Need) int { return cmp.Compare(place(a), place(b)) })
		for _, n := range one.Needs {
			slices.SortFunc(n.Steps, func(a, b string) int { return cmp.Compare(slices.Index(order, a), slices.Index(order, b)) })
		}
	}
	slices.SortFunc(g, func(a, b Grant) int {
		return cmp.Or(cmp.Compare(a.Action, b.Action), cmp.Compare(a.Resource, b.Resource))
	})
}

type grants []Grant

// add adds what a step of a rule needs.
func (g *grants) add(r rule, step string, permissions []control.Permission, changes bool) {
	for _, p := range permissions {
		resource := strings.ReplaceAll(p.Resource, "${Region}", "*")
		i := slices.IndexFunc(*g, func(had Grant) bool { return had.Action == p.Action && had.Resource == resource })
		if i < 0 {
			i = len(*g)
			*g = append(*g, Grant{Action: p.Action, Resource: resource, Changes: changes})
		}
		(*g)[i].need(r, step)
	}
}

func (g *Grant) need(r rule, step string) {
	i := slices.IndexFunc(g.Needs, func(n Need) bool { return n.ID == r.id && n.Runbook == r.runbook })
	if i < 0 {
		i = len(g.Needs)
		g.Needs = append(g.Needs, Need{ID: r.id, Runbook: r.runbook})
	}
	if n := &g.Needs[i]; step != "" && !slices.Contains(n.Steps, step) {
		n.Steps = append(n.Steps, step)
	}
}

// MemberPolicies are the managed policies of a domain's role in members: what it
// may read, what it may change, if anything, and what it may never touch.
func MemberPolicies(d control.Domain, b *baseline.Baseline) []Policy {
	grants := Grants(d, b)
	changes := func(g Grant) bool { return g.Changes }
	reads := func(g Grant) bool { return !g.Changes }
	name := MemberRole(d.Name)
	return slices.Concat(
		packed(name+"-evaluate", allowing(slices.DeleteFunc(slices.Clone(grants), changes))),
		packed(name+"-remediate", allowing(slices.DeleteFunc(slices.Clone(grants), reads))),
		[]Policy{{name + "-protect", document(protect())}},
	)
}

// protect denies everything but reads on what is Snapback's own, in any account
// and Region: whoever comes to act as a member's role can't take Snapback out of
// service or give himself another of its roles. All that names.go names is in it,
// and the roles by which StackSets deploy.
//
// What Snapback makes in members has no such name as a resource: inline policies
// belong to the role that they are on, security groups and snapshots go by IDs.
func protect() Statement {
	const iam, events, all = "arn:${Partition}:iam::*:", "arn:${Partition}:events:*:*:", ":*:*:"
	of := func(service, resource string) string { return "arn:${Partition}:" + service + all + resource }
	return Statement{
		Sid: "NothingOfSnapback", Effect: deny,
		NotAction: []string{
			"cloudformation:Describe*", "cloudformation:Get*", "cloudformation:List*",
			"cloudwatch:Describe*", "cloudwatch:Get*", "cloudwatch:List*",
			"dynamodb:Describe*", "dynamodb:List*",
			"events:Describe*", "events:List*",
			"iam:Get*", "iam:List*",
			"lambda:Get*", "lambda:List*",
			"logs:Describe*", "logs:List*",
			"scheduler:Get*", "scheduler:List*",
			"sns:Get*", "sns:List*",
			"sqs:Get*", "sqs:List*",
		},
		Resource: []string{
			iam + "role/" + Prefix + "-*", iam + "policy/" + Prefix + "-*", iam + "role/stacksets-exec-*",
			events + "rule/" + Prefix + "-*", events + "rule/" + Bus + "/*", events + "event-bus/" + Bus, events + "archive/" + Bus,
			of("cloudformation", "stack/"+Prefix+"-*"), of("cloudformation", "stack/StackSet-"+StackSet+"-*"),
			of("cloudformation", "stackset/"+StackSet+":*"),
			of("cloudwatch", "alarm:"+Prefix+"-*"),
			of("dynamodb", "table/"+Table), of("dynamodb", "table/"+Table+"/*"),
			of("lambda", "function:"+Prefix+"-*"),
			of("logs", "log-group:"+LogGroup("*")),
			of("scheduler", "schedule/"+Prefix+"/*"), of("scheduler", "schedule-group/"+Prefix),
			of("sns", Prefix+"-*"), of("sqs", Prefix+"-*"),
		},
		Why: "What is Snapback's own stays as it is, whoever acts as the role.",
	}
}

// Trust is the trust policy of a member's role: a role of the hub may assume it,
// given by its name, and nobody else.
//
// The account stands as the principal and the role in a condition, since IAM
// keeps a role that is a principal by its unique ID: one made anew under the same
// name would not be trusted (IAM user guide, "AWS JSON policy elements:
// Principal"). The condition's key holds the ARN of the role for each of its
// sessions ("AWS global condition context keys", aws:PrincipalArn).
func Trust(role string, b *baseline.Baseline) Document {
	o := b.Organization
	hub := "arn:${Partition}:iam::" + o.Hub.Account + ":"
	return document(Statement{
		Sid: "Hub", Effect: allow,
		Principal: map[string]string{"AWS": hub + "root"},
		Action:    []string{assume},
		Condition: map[string]map[string][]string{
			"ArnEquals":    {"aws:PrincipalArn": {hub + "role/" + role}},
			"StringEquals": {"aws:PrincipalOrgID": {o.ID}},
		},
		Why: "The hub's function acts in the account by it.",
	})
}

// HealthPolicies are the managed policies of the health function's role in
// members.
func HealthPolicies() []Policy {
	return []Policy{{MemberRole(Health), document(
		Statement{
			Sid: "Canary", Effect: allow, Action: []string{"events:PutEvents"},
			Resource: []string{"arn:${Partition}:events:*:${Account}:event-bus/default"},
			Condition: map[string]map[string][]string{
				"StringEquals": {"events:source": {event.DrillSource}, "events:detail-type": {event.DrillType}},
			},
			Why: "A drill's canary, and no other event, is put where the account's events begin their way.",
		},
		Statement{
			Sid: "Rules", Effect: allow, Action: []string{"events:ListRules"}, Resource: []string{"*"},
			Why: "Whether the forwarding rules are there, enabled, and of which version.",
		},
		Statement{
			Sid: "Trails", Effect: allow, Action: []string{"cloudtrail:DescribeTrails"}, Resource: []string{"*"},
			Why: "Whether there is a trail: without one that logs, EventBridge hears of no call.",
		},
		Statement{
			Sid: "TrailStatus", Effect: allow, Action: []string{"cloudtrail:GetEventSelectors", "cloudtrail:GetTrailStatus"},
			Resource: []string{"arn:${Partition}:cloudtrail:*:*:trail/*"},
			Why:      "Whether it logs, and the management events that write; a trail of the organization is the management account's.",
		},
		Statement{
			Sid: "Undelivered", Effect: allow, Action: []string{"sqs:GetQueueAttributes", "sqs:GetQueueUrl"},
			Resource: []string{"arn:${Partition}:sqs:*:${Account}:" + Undelivered},
			Why:      "How many events could not be put on the hub's bus.",
		},
		Statement{
			Sid: "Samples", Effect: allow, Action: []string{"guardduty:CreateSampleFindings", "guardduty:ListDetectors"}, Resource: []string{"*"},
			Why: "Sample findings, when an operator asks for them.",
		},
	)}}
}

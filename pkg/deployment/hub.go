package deployment

import (
	"cmp"
	"slices"
	"strings"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
)

// FunctionPolicies are the inline policies of a domain's function role.
func FunctionPolicies(d control.Domain, b *baseline.Baseline) []Policy {
	h := hub{b}
	statements := []Statement{
		h.logs(d.Name),
		{
			// As AWS's own policy AWSLambdaSQSQueueExecutionRole has it: Lambda leaves a message
			// that failed in the queue until its visibility timeout ends, and changes nothing of it.
			Sid: "Queue", Effect: allow, Action: []string{"sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"},
			Resource: []string{h.arn("sqs", Queue(d.Name))},
			Why:      "Lambda takes the domain's events from its queue.",
		},
		{
			// A transaction needs the actions of what it is made of (DynamoDB developer guide,
			// "Using IAM with DynamoDB transactions").
			Sid: "Ledger", Effect: allow, Action: []string{
				"dynamodb:BatchGetItem", "dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:GetItem",
				"dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
			},
			Resource: []string{h.arn("dynamodb", "table/"+Table)},
			Why:      "Cases, gates and commands are written down before anything is changed.",
		},
		{
			Sid: "LedgerIndexes", Effect: allow, Action: []string{"dynamodb:Query"},
			Resource: []string{h.arn("dynamodb", "table/"+Table+"/index/*")},
			Why:      "Cases that wait for an answer are found by their state.",
		},
		{
			Sid: "Alerts", Effect: allow, Action: []string{"sns:Publish"}, Resource: h.topics(),
			Why: "The operators are told; the baseline's alerts name the further topics.",
		},
		{
			// SNS user guide, "Key management", Configuring AWS KMS permissions.
			Sid: "AlertsKey", Effect: allow, Action: []string{"kms:Decrypt", "kms:GenerateDataKey"}, Resource: []string{"${TopicKey}"},
			Why: "The main topic is encrypted with a key of its own.",
		},
		h.members(d.Name),
	}
	units := func(m baseline.Match) bool { return len(m.OrganizationalUnits) > 0 }
	if slices.ContainsFunc(rulesOf(d, b), func(r rule) bool { return r.overridden(b, units) }) {
		statements = append(statements, h.units())
	}
	return []Policy{{FunctionRole(d.Name), document(statements...)}}
}

// HealthFunctionPolicies are the inline policies of the health function's role.
func HealthFunctionPolicies(b *baseline.Baseline) []Policy {
	h := hub{b}
	return []Policy{{FunctionRole(Health), document(
		h.logs(Health),
		Statement{
			Sid: "Ledger", Effect: allow, Action: []string{"dynamodb:PutItem", "dynamodb:Query"},
			Resource: []string{h.arn("dynamodb", "table/"+Table)},
			Why:      "A drill is written down, and what arrived of it is read; kill switches are counted.",
		},
		h.members(Health),
		Statement{
			Sid: "Accounts", Effect: allow, Action: []string{"organizations:ListAccounts"}, Resource: []string{"*"},
			Why: "Every active account is looked at.",
		},
	)}}
}

// hub is the hub of a baseline.
type hub struct{ *baseline.Baseline }

// arn is the ARN of a resource in the hub.
func (h hub) arn(service, resource string) string {
	return "arn:${Partition}:" + service + ":" + h.Organization.Hub.Region + ":${Account}:" + resource
}

func (h hub) logs(domain string) Statement {
	return Statement{
		Sid: "Logs", Effect: allow, Action: []string{"logs:CreateLogStream", "logs:PutLogEvents"},
		Resource: []string{h.arn("logs", "log-group:"+LogGroup(domain)+":*")},
		Why:      "Its log, from which CloudWatch takes its metrics too.",
	}
}

// topics are the main topic, and those that the baseline sends alerts to.
func (h hub) topics() []string {
	topics := []string{h.arn("sns", Topic)}
	for _, route := range h.Alerts {
		// The others are words: main, none.
		if strings.HasPrefix(route.Topic, "arn:") && !slices.Contains(topics, route.Topic) {
			topics = append(topics, route.Topic)
		}
	}
	return topics
}

func (h hub) members(domain string) Statement {
	return Statement{
		Sid: "Members", Effect: allow, Action: []string{assume},
		Resource:  []string{"arn:${Partition}:iam::*:role/" + MemberRole(domain)},
		Condition: map[string]map[string][]string{"StringEquals": {"aws:ResourceOrgID": {h.Organization.ID}}},
		Why:       "It acts in the accounts of the organization by one role, and in no other account.",
	}
}

func (h hub) units() Statement {
	of := func(kind string) string {
		return "arn:${Partition}:organizations::" + cmp.Or(h.Organization.Management, "*") + ":" + kind + "/" + h.Organization.ID + "/*"
	}
	return Statement{
		Sid: "Units", Effect: allow, Action: []string{"organizations:ListParents"}, Resource: []string{of("account"), of("ou")},
		Why: "An override of the baseline by organizational units concerns the domain.",
	}
}

package deployment_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

const (
	hub    = "111111111111"
	member = "222222222222"
)

// shipped is the baseline file of the repository, whatever day it is.
func shipped(t testing.TB) *baseline.Baseline {
	t.Helper()
	const file = "baseline.yaml"
	data, err := os.ReadFile(filepath.Join(local.Root(), file))
	must(t, err)
	b, problems := baseline.Parse(file, data, controls.Domains(), time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC))
	if b == nil {
		t.Fatal(problems)
	}
	return b
}

// all is the shipped baseline with every control and runbook in one mode.
func all(t testing.TB, mode baseline.Mode) *baseline.Baseline {
	t.Helper()
	b := shipped(t)
	b.Mode, b.Controls, b.Overrides = mode, nil, nil
	b.Runbooks = []baseline.Setting{{Name: "*", Mode: mode}}
	return b
}

// filled fills in what the deployment fills in, in an account.
func filled(account, text string) string {
	return strings.NewReplacer("${Partition}", "aws", "${Account}", account, "${Region}", "eu-west-1",
		"${TopicKey}", "arn:aws:kms:us-east-1:"+hub+":key/k").Replace(text)
}

func parse(t testing.TB, account string, d deployment.Document) *iampolicy.Document {
	t.Helper()
	text, err := json.Marshal(d)
	must(t, err)
	parsed, err := iampolicy.Parse(filled(account, string(text)))
	if err != nil {
		t.Fatalf("parse %s: %v", text, err)
	}
	return parsed
}

// role is a role of an account with policies.
func role(t testing.TB, account, name string, policies ...deployment.Policy) *iampolicy.Principal {
	t.Helper()
	p := &iampolicy.Principal{ARN: "arn:aws:iam::" + account + ":role/" + name, Type: iampolicy.Role}
	for _, policy := range policies {
		p.Policies = append(p.Policies, iampolicy.Policy{Name: policy.Name, Document: parse(t, account, policy.Document)})
	}
	return p
}

// memberRole is a domain's role in a member.
func memberRole(t testing.TB, d control.Domain, b *baseline.Baseline) *iampolicy.Principal {
	t.Helper()
	return role(t, member, deployment.MemberRole(d.Name), deployment.MemberPolicies(d, b)...)
}

// domain is one of the domains that are on.
func domain(t testing.TB, name string, b *baseline.Baseline) control.Domain {
	t.Helper()
	for _, d := range deployment.On(controls.Domains(), b) {
		if d.Name == name {
			return d
		}
	}
	t.Fatalf("domain %s is not on", name)
	return control.Domain{}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// remediesOf are the remedies of a domain.
func remediesOf(d control.Domain) []control.Remedy {
	var remedies []control.Remedy
	for _, c := range d.Controls {
		remedies = append(remedies, c.Remedy)
	}
	for _, r := range d.Runbooks {
		for _, s := range r.Steps {
			remedies = append(remedies, s.Remedy)
		}
	}
	return remedies
}

// reads reports whether an action changes nothing, by its name.
func reads(action string) bool {
	_, verb, _ := strings.Cut(action, ":")
	return strings.HasPrefix(verb, "Get") || strings.HasPrefix(verb, "List") || strings.HasPrefix(verb, "Describe")
}

// madeUp is a control that no domain has.
func madeUp() control.Control {
	const queue = "arn:${Partition}:sqs:${Region}:${Account}:*"
	return control.Control{
		ID: "sqs-made-up", Resource: control.Resource{Type: "AWS::SQS::Queue"},
		Triggers: []control.Trigger{{Source: "sqs.amazonaws.com", Names: []string{"SetQueueAttributes"}}},
		Remedy: control.Remedy{Permissions: control.Permissions{
			List:   []control.Permission{{Action: "sqs:ListQueues", Resource: "*"}},
			Plan:   []control.Permission{{Action: "sqs:GetQueueAttributes", Resource: queue}},
			Verify: []control.Permission{{Action: "sqs:GetQueueUrl", Resource: queue}},
			Apply:  []control.Permission{{Action: "sqs:GetQueueAttributes", Resource: queue}, {Action: "sqs:SetQueueAttributes", Resource: queue}},
			Undo:   []control.Permission{{Action: "sqs:SetQueueAttributes", Resource: queue}},
			Look:   []control.Permission{{Action: "sqs:ListQueueTags", Resource: queue}},
		}},
	}
}

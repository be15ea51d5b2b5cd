package main

import (
	"fmt"
	"slices"
	"testing"

	"github.com/snapback-aws/snapback/pkg/deployment"
)

// The quotas of policies, in characters without white space (for a role: of all
// its inline policies together), and of what a role may have. Sources: IAM user
// guide, "IAM and AWS STS quotas"; SQS developer guide, "Amazon SQS policy quotas";
// EventBridge user guide, quotas; SNS API reference, SetTopicAttributes.
const (
	managedPolicy   = 6144
	inlinePolicies  = 10240
	trustPolicy     = 2048
	policiesOfARole = 10
	queuePolicy     = 8192
	busPolicy       = 10240
)

// Policies are measured as they are in an account of the partition with the
// longest name: what fills a document in may make it longer.
func TestPoliciesFitTheirQuotas(t *testing.T) {
	for _, name := range baselines {
		for stack, made := range templatesOf(t, baselineOf(t, name)) {
			longest := map[string]int{}
			measure := func(id, what string, document any, limit int) {
				n := size(t, document)
				longest[what] = max(longest[what], n)
				if n > limit {
					t.Errorf("%s: %s: the %s of %s has %d characters, the limit is %d", name, stack, what, id, n, limit)
				}
			}
			for id, r := range made.Resources {
				switch r.Type {
				case "AWS::IAM::ManagedPolicy":
					measure(id, "managed policy", r.Properties["PolicyDocument"], managedPolicy)
				case "AWS::IAM::Role":
					measure(id, "trust policy", r.Properties["AssumeRolePolicyDocument"], trustPolicy)
					measure(id, "inline policies", inline(made, id), inlinePolicies)
					if arns, _ := r.Properties["ManagedPolicyArns"].([]any); len(arns) > policiesOfARole {
						t.Errorf("%s: %s: role %s has %d managed policies, the limit is %d", name, stack, id, len(arns), policiesOfARole)
					}
				case "AWS::SQS::QueuePolicy":
					measure(id, "queue policy", r.Properties["PolicyDocument"], queuePolicy)
				case "AWS::Events::EventBusPolicy":
					measure(id, "bus policy", r.Properties["Statement"], busPolicy)
				}
			}
			if len(longest) > 0 {
				t.Logf("%s: %s: the longest: %v", name, stack, longest)
			}
		}
	}
}

// inline are the documents of a role's inline policies, its own and those that
// stand beside it.
func inline(made template, role string) []any {
	var documents []any
	policies, _ := made.Resources[role].Properties["Policies"].([]any)
	for _, p := range policies {
		documents = append(documents, p.(map[string]any)["PolicyDocument"])
	}
	for _, r := range made.Resources {
		if r.Type != "AWS::IAM::Policy" && r.Type != "AWS::IAM::RolePolicy" {
			continue
		}
		roles, _ := r.Properties["Roles"].([]any)
		for _, ref := range append(roles, r.Properties["RoleName"]) {
			if ref, ok := ref.(map[string]any); ok && ref["Ref"] == role {
				documents = append(documents, r.Properties["PolicyDocument"])
			}
		}
	}
	return documents
}

// size is how many characters a document has in an account. Encoded as JSON it has
// white space in its texts alone, and that counts.
func size(t *testing.T, document any) int {
	t.Helper()
	return len(encoded(t, inAccount(document, "aws-us-gov", "222222222222")))
}

// An action on all resources is one of those that IAM knows no resource for.
func TestNothingIsAllowedOnAllResourcesThatIAMCanName(t *testing.T) {
	unnameable := map[string]bool{}
	for _, e := range deployment.Unnameable() {
		unnameable[e.Action] = true
	}
	met := 0
	for stack, made := range templatesOf(t, baselineOf(t, "everything")) {
		for id, r := range made.Resources {
			documents := inline(made, id)
			if r.Type == "AWS::IAM::ManagedPolicy" {
				documents = append(documents, r.Properties["PolicyDocument"])
			}
			for _, action := range onEverything(documents) {
				met++
				if !unnameable[action] {
					t.Errorf("%s: %s allows %s on all resources", stack, id, action)
				}
			}
		}
	}
	if met == 0 {
		t.Error("nothing is allowed on all resources: is this still how policies are written?")
	}
}

// onEverything are the actions that documents allow on all resources.
func onEverything(documents []any) []string {
	var actions []string
	for _, d := range documents {
		for _, s := range list(d.(map[string]any)["Statement"]) {
			statement := s.(map[string]any)
			if statement["Effect"] == "Allow" && slices.Contains(list(statement["Resource"]), any("*")) {
				for _, action := range list(statement["Action"]) {
					actions = append(actions, fmt.Sprint(action))
				}
			}
		}
	}
	return actions
}

// list is a value of a policy as a list: where there is one, it may stand alone.
func list(value any) []any {
	if values, ok := value.([]any); ok {
		return values
	}
	return []any{value}
}

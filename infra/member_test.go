package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
)

// The management account, which a StackSet does not reach, has by hand what all
// others have.
func TestMemberTemplateIsTheSameEverywhere(t *testing.T) {
	all := templatesOf(t, baselineOf(t, "everything"))
	byHand := 0
	for name, made := range all {
		if !strings.HasPrefix(name, "snapback-member-") {
			continue
		}
		byHand++
		if !bytes.Equal(made.text, all["member"].text) {
			t.Errorf("%s differs from what the StackSet brings (-StackSet +by hand):\n%s", name,
				cmp.Diff(string(all["member"].text), string(made.text)))
		}
	}
	if byHand != 3 {
		t.Errorf("%d stacks are deployed by hand, want one a Region: 3", byHand)
	}
}

// Whoever looks at a rule can tell which template made it, and so which baseline.
func TestRulesNameTheDigestOfTheTemplate(t *testing.T) {
	in := inputOf(t, baselineOf(t, "smallest"), controls.Domains())
	in.out = t.TempDir()
	made, err := makeMember(in)
	if err != nil {
		t.Fatal(err)
	}
	member, rules := readTemplate(t, made.file), 0
	for id, r := range member.Resources {
		if r.Type != "AWS::Events::Rule" {
			continue
		}
		rules++
		if want := deployment.RuleDescription(made.digest); r.Properties["Description"] != want {
			t.Errorf("rule %s is described as %q, want %q", id, r.Properties["Description"], want)
		}
	}
	if rules != made.rules || rules == 0 {
		t.Errorf("the template has %d rules and is said to have %d", rules, made.rules)
	}
	sum := sha256.Sum256(bytes.ReplaceAll(member.text, []byte(deployment.RuleDescription(made.digest)), []byte(deployment.RuleDescription(""))))
	if want := hex.EncodeToString(sum[:])[:12]; made.digest != want {
		t.Errorf("the digest is %s; without it, the template's is %s", made.digest, want)
	}
}

// Roles exist once an account: a second Region would fail to make them again. That
// of the rules is one for each Region, and named after it.
func TestRolesAreOfTheHomeRegionAlone(t *testing.T) {
	member := templatesOf(t, baselineOf(t, "everything"))["member"]
	want := map[string]any{"IsHome": map[string]any{"Fn::Equals": []any{map[string]any{"Ref": "AWS::Region"}, "us-east-1"}}}
	if diff := cmp.Diff(want, member.Conditions); diff != "" {
		t.Errorf("the conditions differ (-want +got):\n%s", diff)
	}
	for id, r := range member.Resources {
		if id == "ForwardRole" {
			if diff := cmp.Diff(map[string]any{"Fn::Sub": deployment.ForwardRole("${AWS::Region}")}, r.Properties["RoleName"]); diff != "" || r.Condition != "" {
				t.Errorf("the role of the rules is made under the condition %q, and its name differs (-want +got):\n%s", r.Condition, diff)
			}
			continue
		}
		global := strings.HasPrefix(r.Type, "AWS::IAM::")
		if global && r.Condition != "IsHome" || !global && r.Condition != "" {
			t.Errorf("%s of type %s is made under the condition %q", id, r.Type, r.Condition)
		}
	}
}

// The limits of CloudFormation: what a call may bring in its body, what it may
// name by a URL, and resources of one template. Source: CloudFormation user guide,
// "Understand CloudFormation quotas".
const (
	bodyBytes = 51_200
	urlBytes  = 1_000_000 // "1 MB", read as the smaller of the two meanings
	resources = 500
)

func TestTemplatesFitCloudFormation(t *testing.T) {
	for _, name := range baselines {
		for stack, made := range templatesOf(t, baselineOf(t, name)) {
			tally := map[string]int{}
			for _, r := range made.Resources {
				tally[r.Type]++
			}
			t.Logf("%s: %s: %d bytes (%.0f%% of a body, %.1f%% of a file), %d resources: %v", name, stack, len(made.text),
				100*float64(len(made.text))/bodyBytes, 100*float64(len(made.text))/urlBytes, len(made.Resources), tally)
			if len(made.text) > urlBytes || len(made.Resources) > resources {
				t.Errorf("%s: %s: CloudFormation takes %d bytes and %d resources", name, stack, urlBytes, resources)
			}
			if rules := tally["AWS::Events::Rule"]; rules > rulesOfABus {
				t.Errorf("%s: %s has %d rules, the limit is %d", name, stack, rules, rulesOfABus)
			}
		}
	}
}

// rulesOfABus is how many rules a bus takes where it takes fewest, as in af-south-1.
// Source: EventBridge user guide, quotas.
const rulesOfABus = 100

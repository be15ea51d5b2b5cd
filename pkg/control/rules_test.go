package control_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

// busy is a domain whose controls have so many triggers and types that its
// rules must be split.
func busy() control.Domain {
	d := control.Domain{Name: "busy"}
	for i := range 40 {
		c := queuePolicy()
		c.Type = fmt.Sprintf("AWS::SQS::QueueOfKind%02d", i)
		c.Triggers = nil
		for _, source := range []string{"sqs.amazonaws.com", "ec2.amazonaws.com"} {
			var names []string
			for j := range 5 {
				names = append(names, fmt.Sprintf("PutSettingOfTheQueue%02d%d", i, j))
			}
			c.Triggers = append(c.Triggers, control.Trigger{Source: source, Names: names})
		}
		d.Controls = append(d.Controls, c)
	}
	return d
}

func TestRulesAreSplitWithinTheLimitOfAPattern(t *testing.T) {
	rules := busy().Rules()
	var names []string
	accepted := map[string][]string{}
	for _, r := range rules {
		names = append(names, r.Name)
		if n := len(r.Pattern.String()); n > event.MaxPattern {
			t.Errorf("rule %s has %d characters", r.Name, n)
		}
		for _, f := range append(slices.Clone(r.Pattern.Fields), slices.Concat(r.Pattern.Or...)...) {
			key := r.Pattern.Fields[0].Values[0] + " " + f.Path
			accepted[key] = append(accepted[key], f.Values...)
		}
	}
	want := []string{
		"busy-ec2", "busy-ec2-2", "busy-ec2-3",
		"busy-sqs", "busy-sqs-2", "busy-sqs-3",
		"busy-config", "busy-config-2",
		"busy-drill",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("names differ (-want +got):\n%s", diff)
	}
	for key, n := range map[string]int{
		"aws.sqs detail.eventName": 200, "aws.ec2 detail.eventName": 200, "aws.config detail.resourceType": 40,
		"aws.config detail.configurationItem.resourceType": 40, "aws.config detail.configurationItemSummary.resourceType": 40,
	} {
		if got := len(slices.Compact(slices.Sorted(slices.Values(accepted[key])))); got != n || len(accepted[key]) != n {
			t.Errorf("%s: %d values, %d different ones, want %d", key, len(accepted[key]), got, n)
		}
	}
}

func TestRulesDoNotDependOnTheOrderOfControls(t *testing.T) {
	d := busy()
	want := d.Rules()
	slices.Reverse(d.Controls)
	d.Controls = append(d.Controls, d.Controls[0]) // the same calls again
	if diff := cmp.Diff(want, d.Rules()); diff != "" {
		t.Errorf("rules differ (-want +got):\n%s", diff)
	}
}

func TestRulesBringEveryTrigger(t *testing.T) {
	d := control.Domain{Name: "queues", Controls: []control.Control{queuePolicy()}}
	events := []*event.Event{
		call(t, "sqs.amazonaws.com", "SetQueueAttributes", orders),
		call(t, "sqs.amazonaws.com", "AddPermission", orders),
		decode(t, "aws.config", event.ConfigItemChange,
			`{"configurationItem":{"awsAccountId":"222222222222","awsRegion":"eu-west-1","resourceType":"AWS::SQS::Queue","resourceId":"orders"}}`),
	}
	for _, e := range events {
		if len(d.Controls[0].Targets(e)) == 0 {
			t.Errorf("%s is no trigger", e.Raw())
		}
		if !slices.ContainsFunc(d.Rules(), func(r control.Rule) bool { return r.Pattern.Matcher().Match(e) }) {
			t.Errorf("no rule brings %s", e.Raw())
		}
	}
}

func TestEveryDomainIsBroughtCanariesByItsLastRule(t *testing.T) {
	canary := decode(t, event.DrillSource, event.DrillType, `{"drill":"20261122-0123abcd"}`)
	for _, d := range []control.Domain{{Name: "empty"}, {Name: "queues", Controls: []control.Control{queuePolicy()}}} {
		rules := d.Rules()
		for i, r := range rules {
			last := i == len(rules)-1
			if r.Pattern.Matcher().Match(canary) != last || last && r.Name != d.Name+"-drill" {
				t.Errorf("rule %s, %d of %d: matches a canary: %t", r.Name, i+1, len(rules), !last)
			}
		}
		if len(rules) == 0 {
			t.Errorf("domain %s has no rule", d.Name)
		}
	}
}

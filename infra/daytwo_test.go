package main

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The baseline of the first day: one control looks on.
const dayOne = `version: 1
reviewed: 2026-11-22
organization:
  id: o-example1234
  root: r-ab12
  management: "000000000000"
  hub: {account: "111111111111", region: us-east-1}
  regions: [us-east-1]
mode: off
controls: {s3-bucket-public-access: {mode: observe}, ec2-security-group-open-ingress: {mode: observe}}
`

// changed are the resources that a deployment adds (+), removes (-) or changes (~).
// What differs by the digest of the member template alone has not changed.
func changed(from, to template, digests *strings.Replacer) []string {
	var all []string
	names := maps.Clone(from.Resources)
	maps.Copy(names, to.Resources)
	for _, id := range slices.Sorted(maps.Keys(names)) {
		was, before := from.Resources[id]
		is, after := to.Resources[id]
		switch {
		case !before:
			all = append(all, "+"+id)
		case !after:
			all = append(all, "-"+id)
		case !equalBut(digests, was, is):
			all = append(all, "~"+id)
		}
	}
	return all
}

// equalBut reports whether two resources are equal but for the digests.
func equalBut(digests *strings.Replacer, a, b resource) bool {
	described := func(r resource) resource {
		r.Properties = maps.Clone(r.Properties)
		if text, ok := r.Properties["Description"].(string); ok {
			r.Properties["Description"] = digests.Replace(text)
		}
		return r
	}
	return cmp.Equal(described(a), described(b))
}

// A new baseline reaches every function, which carries it, and of all else just
// what it is about.
func TestADeploymentChangesWhatTheBaselineChanged(t *testing.T) {
	edit := func(old, by string) string {
		if !strings.Contains(dayOne, old) {
			t.Fatalf("the baseline lacks %s", old)
		}
		return strings.Replace(dayOne, old, by, 1)
	}
	functions := []string{"~HealthFunction", "~NetworkFunction", "~StorageFunction"}
	tests := map[string]struct {
		text        string
		hub, member []string
		stacks      []string // that are there besides
	}{
		"a limit": {text: dayOne + "limits: {rounds-per-resource: 4}\n", hub: functions},
		"a subscriber": {
			text: dayOne + "deployment: {subscribers: [security@example.com]}\n", hub: append([]string{"+Subscriber1"}, functions...),
		},
		"a control from observe to enforce": {
			text: edit("s3-bucket-public-access: {mode: observe}", "s3-bucket-public-access: {mode: enforce}"),
			// The StackSet is given the new template.
			hub: append([]string{"~Members"}, functions...), member: []string{"+StorageRemediatePolicy", "~StorageRole"},
		},
		"a Region": {
			text: edit("regions: [us-east-1]", "regions: [us-east-1, eu-west-1]"),
			hub:  append([]string{"~Members"}, functions...), stacks: []string{"snapback-member-eu-west-1"},
		},
		"a domain off": {
			text: edit(", ec2-security-group-open-ingress: {mode: observe}", ""),
			hub: []string{
				"-NetworkConfigRule", "-NetworkDeadAlarm", "-NetworkDeadQueue", "-NetworkDeadQueuePolicy", "-NetworkDrillRule",
				"-NetworkEc2Rule", "-NetworkErrorsAlarm", "-NetworkFunction", "-NetworkFunctionRole", "-NetworkLateAlarm", "-NetworkLogs",
				"-NetworkMapping", "-NetworkQueue", "-NetworkQueuePolicy", "-NetworkThrottledAlarm", "-ExpireNetworkSchedule",
				"~Dashboard", "~HealthFunction", "~Members", "~SchedulerRole", "~StorageFunction",
			},
			member: []string{"~ConfigRule", "-Ec2Rule", "-NetworkEvaluatePolicy", "-NetworkProtectPolicy", "-NetworkRole"},
		},
		"nothing but a remark": {text: dayOne + "# read by two of us\n", hub: functions},
	}
	from := templatesOf(t, dayOne)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			to := templatesOf(t, tt.text)
			digests := strings.NewReplacer(digestOf(from["member"]), "DIGEST", digestOf(to["member"]), "DIGEST")
			slices.Sort(tt.hub)
			if diff := cmp.Diff(tt.hub, sorted(changed(from["snapback-hub"], to["snapback-hub"], digests))); diff != "" {
				t.Errorf("in the hub (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(tt.member, changed(from["member"], to["member"], digests)); diff != "" {
				t.Errorf("in members (-want +got)\n%s", diff)
			}
			if same := bytes.Equal(from["member"].text, to["member"].text); same != (tt.member == nil) {
				t.Errorf("the member template is the same: %v", same)
			}
			if !bytes.Equal(from["snapback-ledger"].text, to["snapback-ledger"].text) {
				t.Error("the ledger is changed")
			}
			var besides []string
			for stack := range to {
				if _, ok := from[stack]; !ok {
					besides = append(besides, stack)
				}
			}
			if diff := cmp.Diff(tt.stacks, besides); diff != "" {
				t.Errorf("stacks that came (-want +got)\n%s", diff)
			}
		})
	}
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// digestOf is the digest that a member template's rules name.
func digestOf(member template) string {
	description, _ := member.Resources["DrillRule"].Properties["Description"].(string)
	return description[strings.LastIndex(description, " ")+1:]
}

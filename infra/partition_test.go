package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
)

// elsewhere is the baseline with everything, moved to another partition.
func elsewhere(t *testing.T, partition string) string {
	t.Helper()
	regions, ok := map[string][2]string{
		"aws-us-gov": {"us-gov-west-1", "us-gov-east-1"}, "aws-cn": {"cn-north-1", "cn-northwest-1"},
	}[partition]
	if !ok {
		t.Fatalf("no Regions are known of %s", partition)
	}
	return strings.NewReplacer(
		"us-east-1, eu-west-1, ap-southeast-2", regions[0]+", "+regions[1], "us-east-1", regions[0], "arn:aws:", "arn:"+partition+":",
	).Replace(baselineOf(t, "everything"))
}

// TestTemplatesKnowNoPartition looks for what is of the commercial partition alone.
func TestTemplatesKnowNoPartition(t *testing.T) {
	for _, partition := range []string{"aws-us-gov", "aws-cn"} {
		text := elsewhere(t, partition)
		for stack, made := range templatesOf(t, text) {
			for _, found := range commercial.FindAllString(string(made.text), -1) {
				t.Errorf("%s: %s has %s", partition, stack, found)
			}
			for id, r := range made.Resources {
				hosts(r.Properties, id, func(path, host string) {
					known := slices.Contains(principals, host) || slices.Contains(eventSources(), host)
					if !known && !strings.Contains(text, host) { // what the baseline says stands as it is
						t.Errorf("%s: %s has %s in %s", partition, stack, host, path)
					}
				})
			}
		}
	}
}

var commercial = regexp.MustCompile(`arn:aws:[^"]*|[^"]*us-east-1[^"]*`)

// principals are the services that act for Snapback. They have these names in all
// partitions: of China's, only some others end with .cn, as that of EC2 does
// (aws-cdk, issues 2198 and 1282).
var principals = []string{
	"budgets.amazonaws.com", "cloudwatch.amazonaws.com", "events.amazonaws.com", "lambda.amazonaws.com", "scheduler.amazonaws.com", "sns.amazonaws.com",
}

// eventSources are what CloudTrail calls the services whose calls are triggers, in
// all partitions (CloudTrail user guide, "CloudTrail record contents").
func eventSources() []string {
	var sources []string
	add := func(triggers []control.Trigger) {
		for _, t := range triggers {
			sources = append(sources, t.Source)
		}
	}
	for _, d := range controls.Domains() {
		for _, c := range d.Controls {
			add(c.Triggers)
		}
		for _, r := range d.Runbooks {
			add(r.Triggers)
		}
	}
	return sources
}

// hosts calls found with every text below tree that has a name of AWS's domain in
// it, and where it is.
func hosts(tree any, path string, found func(path, host string)) {
	switch v := tree.(type) {
	case string:
		if strings.Contains(v, "amazonaws.com") {
			found(path, v)
		}
	case []any:
		for i := range v {
			hosts(v[i], fmt.Sprintf("%s.%d", path, i), found)
		}
	case map[string]any:
		for key := range v {
			hosts(v[key], path+"."+key, found)
		}
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/event"
)

// anAccount is the account whose bus sends the sample events.
const anAccount = "222222222222"

// patternsIn returns the patterns of a template's rules, by their names, as they
// are in an account. Rules by the clock have none.
func patternsIn(t *testing.T, made template, account string) map[string]string {
	t.Helper()
	patterns := map[string]string{}
	for id, r := range made.Resources {
		if r.Type != "AWS::Events::Rule" || r.Properties["EventPattern"] == nil {
			continue
		}
		name, _ := r.Properties["Name"].(string)
		if _, twice := patterns[name]; twice || name == "" {
			t.Errorf("rule %s has the name %q of another, or none", id, name)
		}
		patterns[name] = encoded(t, inAccount(r.Properties["EventPattern"], "aws", account))
	}
	return patterns
}

// encoded is a value as JSON, without what is not needed.
func encoded(t *testing.T, value any) string {
	t.Helper()
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(text.String(), "\n")
}

// inAccount is part of a template after CloudFormation has filled in what it knows
// of partition and account. Names that AWS gives stand as those of the template.
func inAccount(tree any, partition, account string) any {
	switch v := tree.(type) {
	case []any:
		made := make([]any, len(v))
		for i := range v {
			made[i] = inAccount(v[i], partition, account)
		}
		return made
	case map[string]any:
		if text, ok := intrinsic(v, partition, account); ok {
			return text
		}
		made := map[string]any{}
		for key := range v {
			made[key] = inAccount(v[key], partition, account)
		}
		return made
	}
	return tree
}

// intrinsic is the text that an intrinsic function stands for.
func intrinsic(v map[string]any, partition, account string) (string, bool) {
	pseudo := strings.NewReplacer("${AWS::Partition}", partition, "${AWS::AccountId}", account,
		"${AWS::Region}", "ap-southeast-2", "${AWS::URLSuffix}", "amazonaws.com", "${!", "${")
	for name, value := range v {
		if len(v) > 1 {
			return "", false
		}
		switch name {
		case "Ref":
			return pseudo.Replace(fmt.Sprintf("${%v}", value)), true
		case "Fn::Sub":
			return pseudo.Replace(fmt.Sprint(value)), true
		case "Fn::GetAtt":
			return fmt.Sprint(value), true
		case "Fn::Join":
			parts, ok := inAccount(value, partition, account).([]any)
			if !ok || len(parts) != 2 {
				return "", false
			}
			var all []string
			for _, part := range parts[1].([]any) {
				all = append(all, fmt.Sprint(part))
			}
			return strings.Join(all, parts[0].(string)), true
		}
	}
	return "", false
}

// generated are the rules of a hub's domains that are on, by their names.
func generated(domains []control.Domain, b *baseline.Baseline) map[string]event.Pattern {
	rules := map[string]event.Pattern{}
	for _, d := range deployment.On(domains, b) {
		for _, r := range d.Rules() {
			rules[deployment.Rule(r.Name)] = r.Pattern
		}
	}
	return rules
}

func TestDeployedPatternsAreTheGeneratedOnes(t *testing.T) {
	for _, name := range baselines {
		text := baselineOf(t, name)
		in, all := inputOf(t, text, controls.Domains()), templatesOf(t, text)
		hub := map[string]string{}
		for rule, pattern := range generated(in.domains, in.baseline) {
			hub[rule] = pattern.String()
		}
		if diff := cmp.Diff(hub, patternsIn(t, all[deployment.HubStack], anAccount)); diff != "" {
			t.Errorf("%s: the hub's patterns differ (-generated +deployed):\n%s", name, diff)
		}
		member := map[string]string{}
		for _, r := range deployment.Forwarding(deployment.On(in.domains, in.baseline)) {
			r.Pattern.Fields = append([]event.Field{{Path: "account", Values: []string{anAccount}}}, r.Pattern.Fields...)
			member[deployment.Rule(r.Name)] = r.Pattern.String()
		}
		if diff := cmp.Diff(member, patternsIn(t, all["member"], anAccount)); diff != "" {
			t.Errorf("%s: the members' patterns differ (-generated +deployed):\n%s", name, diff)
		}
	}
}

func TestDeployedPatternsFitEventBridge(t *testing.T) {
	for stack, made := range templatesOf(t, baselineOf(t, "everything")) {
		longest := 0
		for rule, pattern := range patternsIn(t, made, anAccount) {
			longest = max(longest, len(pattern))
			if len(pattern) > event.MaxPattern {
				t.Errorf("%s: the pattern of rule %s has %d characters, the limit is %d", stack, rule, len(pattern), event.MaxPattern)
			}
		}
		if longest > 0 {
			t.Logf("%s: %d rules, the longest pattern has %d characters", stack, len(patternsIn(t, made, anAccount)), longest)
		}
	}
}

// AWS's own rule engine is asked what the deployed rules do with every sample
// event: the hub's must bring it to the domains that it concerns, and a member's
// must send it there once, or not at all if it concerns none.
func TestSampleEventsTakeTheDeployedWay(t *testing.T) {
	text := baselineOf(t, "everything")
	in, all := inputOf(t, text, controls.Domains()), templatesOf(t, text)
	hub, member := patternsIn(t, all[deployment.HubStack], anAccount), map[string]map[string]string{}
	matchers := map[string]event.Matcher{}
	for rule, pattern := range generated(in.domains, in.baseline) {
		matchers[rule] = pattern.Matcher()
	}
	ruler, err := local.StartRuler(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ruler.Close)
	taken := 0
	for path, data := range sampleEvents(t) {
		e, err := event.Decode([]byte(data))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		concerns := 0
		for rule, pattern := range hub {
			want, got := matchers[rule].Match(e), matches(t, ruler, pattern, data)
			if want != got {
				t.Errorf("%s: the hub's rule %s takes it: %v, want %v", path, rule, got, want)
			}
			if want {
				concerns = 1
			}
		}
		if member[e.Account] == nil {
			member[e.Account] = patternsIn(t, all["member"], e.Account)
		}
		var sent []string
		for rule, pattern := range member[e.Account] {
			if matches(t, ruler, pattern, data) {
				sent = append(sent, rule)
			}
		}
		if len(sent) != concerns {
			t.Errorf("%s: members' rules %q send it, want %d", path, sent, concerns)
		}
		taken += concerns
	}
	t.Logf("%d sample events concern a domain", taken)
	if taken == 0 {
		t.Error("no sample event concerns any domain")
	}
}

func matches(t *testing.T, ruler *local.Ruler, pattern, data string) bool {
	t.Helper()
	match, err := ruler.Match(pattern, data)
	if err != nil {
		t.Fatal(err)
	}
	return match
}

// sampleEvents are those of the folder events, by their paths, and a drill.
func sampleEvents(t *testing.T) map[string]string {
	t.Helper()
	samples := map[string]string{"drill": fmt.Sprintf(`{"version":"0","id":"6a7e8feb-b491-4cf7-a9f1-bf3703467718","detail-type":%q,`+
		`"source":%q,"account":%q,"time":"2026-11-20T10:00:00Z","region":"eu-west-1","resources":[],"detail":{"drill":"20261122-0123abcd"}}`,
		event.DrillType, event.DrillSource, anAccount)}
	folder := filepath.Join(local.Root(), "events")
	err := fs.WalkDir(os.DirFS(folder), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".json" {
			return err
		}
		data, err := os.ReadFile(filepath.Join(folder, path))
		samples[path] = string(data)
		return err
	})
	if err != nil || len(samples) < 10 {
		t.Fatalf("read %d sample events: %v", len(samples), err)
	}
	return samples
}

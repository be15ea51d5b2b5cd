package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

// guardrailsOf returns the template of the guardrails of a baseline, and the
// environment that it is for.
func guardrailsOf(t *testing.T, text string) (template, string) {
	t.Helper()
	folder := synthesized(t, text)
	manifest, err := os.ReadFile(filepath.Join(folder, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var assembly struct {
		Artifacts map[string]struct{ Environment string }
	}
	if err := json.Unmarshal(manifest, &assembly); err != nil {
		t.Fatal(err)
	}
	return readTemplate(t, filepath.Join(folder, deployment.Guardrails+".template.json")), assembly.Artifacts[deployment.Guardrails].Environment
}

func TestGuardrailsAreAttachedAsTheBaselineSays(t *testing.T) {
	text := baselineOf(t, "everything")
	made, _ := guardrailsOf(t, text)
	want, err := deployment.ServiceControlPolicies(inputOf(t, text, controls.Domains()).baseline)
	if err != nil {
		t.Fatal(err)
	}
	if len(made.Resources) != len(want) || len(want) == 0 {
		t.Fatalf("%d resources of %d policies", len(made.Resources), len(want))
	}
	for _, p := range want {
		r := made.Resources[logicalID(p.Name, "Policy")]
		if r.Type != "AWS::Organizations::Policy" || r.Properties["Name"] != p.Name || r.Properties["Type"] != "SERVICE_CONTROL_POLICY" {
			t.Errorf("%s is %s %v %v", p.Name, r.Type, r.Properties["Name"], r.Properties["Type"])
		}
		if diff := cmp.Diff([]any{"r-ab12", "ou-ab12-11111111"}, r.Properties["TargetIds"]); diff != "" {
			t.Errorf("%s is attached elsewhere (-want +got):\n%s", p.Name, diff)
		}
		if diff := cmp.Diff(said(t, p.Document), said(t, r.Properties["Content"])); diff != "" {
			t.Errorf("%s says something else (-want +got):\n%s", p.Name, diff)
		}
	}
}

// said are the statements of a policy, however it is written.
func said(t *testing.T, policy any) []iampolicy.Statement {
	t.Helper()
	text, err := json.Marshal(policy)
	if err != nil {
		t.Fatal(err)
	}
	d, err := iampolicy.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return d.Statements
}

// Organizations refuses what comes at once.
func TestGuardrailsAreMadeOneByOne(t *testing.T) {
	made, _ := guardrailsOf(t, baselineOf(t, "everything"))
	var raw struct {
		Resources map[string]struct{ DependsOn []string }
	}
	if err := json.Unmarshal(made.text, &raw); err != nil {
		t.Fatal(err)
	}
	var first []string
	after := map[string]bool{}
	for id, r := range raw.Resources {
		if len(r.DependsOn) == 0 {
			first = append(first, id)
		}
		for _, before := range r.DependsOn {
			after[before] = true
		}
	}
	if len(first) != 1 || len(after) != len(raw.Resources)-1 {
		t.Errorf("%v depend on none, %d of %d are waited for", first, len(after), len(raw.Resources))
	}
}

func TestGuardrailsAreMadeWhereOrganizationsAnswers(t *testing.T) {
	for partition, region := range map[string]string{"aws-us-gov": "us-gov-west-1", "aws-cn": "cn-northwest-1"} {
		if _, environment := guardrailsOf(t, elsewhere(t, partition)); environment != "aws://000000000000/"+region {
			t.Errorf("%s: they are made in %s", partition, environment)
		}
	}
	if _, environment := guardrailsOf(t, baselineOf(t, "everything")); environment != "aws://000000000000/us-east-1" {
		t.Errorf("they are made in %s", environment)
	}
}

func TestGuardrailsThatAreTooLongNameTheirPlaceInTheBaseline(t *testing.T) {
	var arns []string
	for i := range 200 {
		arns = append(arns, fmt.Sprintf(`"arn:aws:iam::*:role/break-glass-%d"`, i))
	}
	text := strings.Replace(baselineOf(t, "everything"), `break-glass: ["arn:aws:iam::*:role/break-glass"]`, "break-glass: ["+strings.Join(arns, ", ")+"]", 1)
	line := 1 + slices.IndexFunc(strings.Split(text, "\n"), func(l string) bool { return strings.HasPrefix(l, "  guardrails:") })
	_, err := guardrails(inputOf(t, text, controls.Domains()).baseline)
	if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("baseline.yaml:%d: deployment.guardrails: ", line)) || !strings.Contains(err.Error(), "shorten") {
		t.Errorf("line %d: %v", line, err)
	}
}

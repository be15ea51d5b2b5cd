package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/health"
)

// at is a doctor whose AWS is a stand-in.
func at(t *testing.T, api http.HandlerFunc) *doctor {
	t.Helper()
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	cmd := &cobra.Command{Use: "doctor"}
	cmd.SetContext(t.Context())
	return &doctor{cmd: cmd, told: map[string]build{}, cfg: aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL),
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "example", ""),
	}}
}

// The health function looks at as many accounts as it has time for.
func TestMembersAreLookedAtInChunks(t *testing.T) {
	var looked []string
	d := at(t, func(w http.ResponseWriter, r *http.Request) {
		var asked health.Request
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked.Command != health.Look || len(asked.Accounts) > accountsAtOnce {
			t.Errorf("asked for %s of %d accounts (%v)", asked.Command, len(asked.Accounts), err)
		}
		looked = append(looked, asked.Accounts...)
		a := health.Answer{Verdict: engine.Done, Version: "v1", Baseline: "5b0c"}
		for _, account := range asked.Accounts {
			a.Sites = append(a.Sites, health.Site{Account: account, Region: "us-east-1"})
		}
		_ = json.NewEncoder(w).Encode(a) // a caller that is gone needs none
	})
	for i := range 120 {
		d.accounts = append(d.accounts, fmt.Sprintf("%012d", i))
	}
	f := d.members(t.Context())
	if f.Standing != isOK || len(f.sites) != 120 || !slices.Equal(looked, d.accounts) {
		t.Errorf("looked at %d accounts, told of %d sites: %s: %s", len(looked), len(f.sites), f.Standing, f.Found)
	}
	if got := d.told[deployment.Health]; got != (build{"v1", "5b0c"}) {
		t.Errorf("the function told that it is %v", got)
	}
}

// EventBridge gives at most a hundred rules at once.
func TestEveryPageOfRulesIsRead(t *testing.T) {
	d := at(t, func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ EventBusName, NamePrefix, NextToken string }
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked.EventBusName != "snapback" || asked.NamePrefix != "snapback-" {
			t.Errorf("asked for %+v (%v)", asked, err)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		page := `{"Rules":[{"Name":"snapback-storage-s3","State":"ENABLED"}],"NextToken":"more"}`
		if asked.NextToken == "more" {
			page = `{"Rules":[{"Name":"snapback-storage-drill","State":"DISABLED"}]}`
		}
		_, _ = w.Write([]byte(page)) // a caller that is gone needs none
	})
	if f := d.bus(t.Context()); f.Standing != isWrong || f.Found != "1 of 2 rules of the event bus snapback disabled: snapback-storage-drill" {
		t.Errorf("%s: %s", f.Standing, f.Found)
	}
}

func TestDomainsWithoutRulesAreOff(t *testing.T) {
	names := func(domains []control.Domain) (all []string) {
		for _, d := range domains {
			all = append(all, d.Name)
		}
		return all
	}
	rule := func(name string) ebtypes.Rule { return ebtypes.Rule{Name: aws.String(name)} }
	all := names(controls.Domains())
	for _, tt := range []struct {
		name  string
		rules []ebtypes.Rule
		bus   standing
		want  []string
	}{
		{"some", []ebtypes.Rule{rule("snapback-storage-s3"), rule("snapback-identity-drill")}, isOK, []string{"storage", "identity"}},
		{"some, one of them disabled", []ebtypes.Rule{rule("snapback-storage-s3")}, isWrong, []string{"storage"}},
		{"the bus can't be read", nil, isWrong, all},
	} {
		d := &doctor{rules: tt.rules}
		if diff := cmp.Diff(tt.want, names(d.deployed(tt.bus))); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

// CloudFormation writes the fields of a pattern in another order.
func TestRulesAreComparedByWhatTheyMatch(t *testing.T) {
	on := controls.Domains()
	var deployed []ebtypes.Rule
	for _, d := range on {
		for _, r := range d.Rules() {
			var pattern map[string]any
			if err := json.Unmarshal([]byte(r.Pattern.String()), &pattern); err != nil {
				t.Fatal(err)
			}
			text, err := json.MarshalIndent(pattern, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			deployed = append(deployed, ebtypes.Rule{Name: aws.String(deployment.Rule(r.Name)), EventPattern: aws.String(string(text))})
		}
	}
	if faults := ruleFaults(deployed, on); len(faults) > 0 {
		t.Errorf("faults: %q", faults)
	}
	deployed[0].EventPattern = aws.String(`{"source":[{"prefix":"aws."}]}`) // none that we generate
	want := []string{aws.ToString(deployed[0].Name) + " has another pattern"}
	if diff := cmp.Diff(want, ruleFaults(deployed, on)); diff != "" {
		t.Error(diff)
	}
}

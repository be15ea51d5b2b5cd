package deployment_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

// samples are the sample events, by their paths.
func samples(t *testing.T) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	root := filepath.Join(local.Root(), "events")
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		found[strings.TrimPrefix(path, root+"/")], err = os.ReadFile(path)
		return err
	}))
	return found
}

// deployed are patterns as they are deployed in an account.
func deployed(rules []control.Rule, account string) []event.Pattern {
	var patterns []event.Pattern
	for _, r := range rules {
		p := r.Pattern
		p.Fields = append(slices.Clone(p.Fields), event.Field{Path: "account", Values: []string{account}})
		patterns = append(patterns, p)
	}
	return patterns
}

func TestWhatDomainsLookForIsForwardedOnce(t *testing.T) {
	domains := controls.Domains()
	forwarding := deployment.Forwarding(domains)
	forwarded := 0
	for path, data := range samples(t) {
		e, err := event.Decode(data)
		must(t, err)
		wanted := slices.ContainsFunc(domains, func(d control.Domain) bool {
			return slices.ContainsFunc(d.Rules(), func(r control.Rule) bool { return r.Pattern.Matcher().Match(e) })
		})
		var by []string
		for _, r := range forwarding {
			if r.Pattern.Matcher().Match(e) {
				by = append(by, r.Name)
			}
		}
		switch {
		case wanted && len(by) != 1:
			t.Errorf("%s is forwarded by %v, want one rule", path, by)
		case !wanted && len(by) > 0:
			t.Errorf("%s is forwarded by %v, and no domain looks for it", path, by)
		case wanted:
			forwarded++
		}
	}
	if forwarded < 20 {
		t.Errorf("%d sample events are forwarded", forwarded)
	}
}

// values are all texts that rules accept, by source and field.
func values(rules []control.Rule) map[string][]string {
	all := map[string][]string{}
	for _, r := range rules {
		source := ""
		for _, f := range r.Pattern.Fields {
			if f.Path == "source" || f.Path == "detail.eventSource" {
				source += f.Values[0] + " "
			}
		}
		for _, f := range slices.Concat(r.Pattern.Fields, slices.Concat(r.Pattern.Or...)) {
			all[source+f.Path] = append(all[source+f.Path], f.Values...)
		}
	}
	for key := range all {
		slices.Sort(all[key])
		all[key] = slices.Compact(all[key])
	}
	return all
}

func TestForwardingAcceptsWhatTheRulesOfDomainsAccept(t *testing.T) {
	var rules []control.Rule
	for _, d := range controls.Domains() {
		rules = append(rules, d.Rules()...)
	}
	if diff := cmp.Diff(values(rules), values(deployment.Forwarding(controls.Domains()))); diff != "" {
		t.Errorf("what rules accept (-of domains +forwarding):\n%s", diff)
	}
}

// wide is a domain with more calls and types than one pattern holds, and with
// calls to AWS Config itself.
func wide() control.Domain {
	c := madeUp()
	c.Triggers = nil
	for _, source := range []string{"sqs.amazonaws.com", "config.amazonaws.com", "config.elsewhere.com"} {
		var names []string
		for i := range 150 {
			names = append(names, fmt.Sprintf("PutSettingOfTheQueue%03d", i))
		}
		c.Triggers = append(c.Triggers, control.Trigger{Source: source, Names: names})
	}
	for i := range 60 {
		c.AlsoTypes = append(c.AlsoTypes, fmt.Sprintf("AWS::SQS::QueueOfKind%02d", i))
	}
	return control.Domain{Name: "wide", Controls: []control.Control{c}}
}

func TestForwardingFitsWithTheAccount(t *testing.T) {
	rules := deployment.Forwarding(append(controls.Domains(), wide()))
	names := map[string]bool{}
	for i, p := range deployed(rules, member) {
		name := deployment.Rule(rules[i].Name)
		if n := len(p.String()); n > event.MaxPattern {
			t.Errorf("%s has %d characters with the account", name, n)
		}
		if strings.Contains(rules[i].Pattern.String(), "account") {
			t.Errorf("%s names an account already", name)
		}
		// EventBridge API reference, PutRule, Name.
		if names[name] || len(name) > 64 {
			t.Errorf("rule name %s is there twice or too long", name)
		}
		names[name] = true
	}
	for _, name := range []string{"s3", "sqs", "sqs-2", "config", "config-2", "guardduty", "drill"} {
		if !names[deployment.Rule(name)] {
			t.Errorf("there is no rule %s", name)
		}
	}
}

func TestForwardingDoesNotDependOnOrder(t *testing.T) {
	domains := append(controls.Domains(), wide())
	want := deployment.Forwarding(domains)
	slices.Reverse(domains)
	for _, d := range domains {
		slices.Reverse(d.Controls)
		slices.Reverse(d.Runbooks)
	}
	if diff := cmp.Diff(want, deployment.Forwarding(domains)); diff != "" {
		t.Errorf("rules differ (-want +got):\n%s", diff)
	}
	if rules := deployment.Forwarding(nil); len(rules) > 0 {
		t.Errorf("with nothing on, %d rules forward", len(rules))
	}
}

// AWS's own event-ruler is the oracle, as in pkg/controls: what our matcher says of
// the rules that are deployed, EventBridge must say too.
func TestForwardingMatchesAsEventBridgeDoes(t *testing.T) {
	ruler, err := local.StartRuler(t.Context())
	must(t, err)
	t.Cleanup(ruler.Close)
	c := local.Comparison{Patterns: deployed(deployment.Forwarding(controls.Domains()), member), Variations: 500, Seed: 1}
	for _, data := range samples(t) {
		c.Events = append(c.Events, data)
	}
	// In a random order the variations would be others each time.
	slices.SortFunc(c.Events, slices.Compare)
	tally, differ, err := ruler.Compare(c)
	must(t, err)
	for _, d := range differ {
		t.Error(d)
	}
	t.Logf("%+v", tally)
}

func TestForwardingRolePutsEventsOnTheHubsBusAlone(t *testing.T) {
	b := all(t, baseline.Observe)
	p := role(t, member, deployment.ForwardRole("us-east-1"), deployment.Policy{Document: deployment.ForwardPolicy(b)})
	for question, want := range map[string]iampolicy.Answer{
		"events:PutEvents arn:aws:events:us-east-1:111111111111:event-bus/snapback": iampolicy.Yes,
		"events:PutEvents arn:aws:events:us-east-1:111111111111:event-bus/default":  iampolicy.No,
		"events:PutEvents arn:aws:events:us-east-1:222222222222:event-bus/snapback": iampolicy.No,
		"events:PutEvents arn:aws:events:eu-west-1:111111111111:event-bus/snapback": iampolicy.No,
		"events:PutRule arn:aws:events:us-east-1:111111111111:event-bus/snapback":   iampolicy.No,
	} {
		action, resource, _ := strings.Cut(question, " ")
		if got := p.May(action, resource, nil); got != want {
			t.Errorf("%s: %s, want %s", question, got, want)
		}
	}
	trust := deployment.ForwardTrust()
	if doc := parse(t, member, trust); doc.Kind() != iampolicy.TrustPolicy {
		t.Errorf("it is no trust policy: %s", doc)
	}
	s := trust.Statement[0]
	if diff := cmp.Diff(map[string]string{"Service": "events.amazonaws.com"}, s.Principal); diff != "" {
		t.Errorf("principal:\n%s", diff)
	}
	s.Principal, s.Resource = nil, []string{"*"}
	p = role(t, member, "events", deployment.Policy{Document: deployment.Document{Version: trust.Version, Statement: []deployment.Statement{s}}})
	for _, tt := range []struct {
		account, rule string
		want          iampolicy.Answer
	}{
		{member, "arn:aws:events:eu-west-1:222222222222:rule/snapback-s3", iampolicy.Yes},
		{member, "arn:aws:events:eu-west-1:222222222222:rule/example", iampolicy.No},
		{"333333333333", "arn:aws:events:eu-west-1:333333333333:rule/snapback-s3", iampolicy.No},
	} {
		known := iampolicy.Context{"aws:sourceaccount": {tt.account}, "aws:sourcearn": {tt.rule}}
		if got := p.May("sts:AssumeRole", "*", known); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.rule, got, tt.want)
		}
	}
}

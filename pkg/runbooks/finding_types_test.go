package runbooks_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/runbooks"
)

const unknown = "Snapback does not know this type yet"

// generated is a finding of a type about a resource of a type, with an instance
// where GuardDuty has one.
func generated(t testing.TB, findingType, resourceType, role string) *event.Finding {
	t.Helper()
	instance := map[string]any{
		"instanceId": "i-0123456789abcdef0",
		"networkInterfaces": []any{map[string]any{
			"securityGroups": []any{map[string]any{"groupId": "sg-0123456789abcdef0", "groupName": "web"}},
		}},
	}
	detail := map[string]any{
		"accountId": "222222222222", "region": "us-east-1", "id": "0123456789abcdef0123456789abcdef", "type": findingType, "severity": 8,
		"resource": map[string]any{"resourceType": resourceType, "instanceDetails": instance},
		"service":  map[string]any{"resourceRole": role},
	}
	data, err := json.Marshal(map[string]any{
		"id": "e", "source": "aws.guardduty", "detail-type": event.GuardDutyFinding, "account": "222222222222", "region": "us-east-1",
		"time": "2026-11-22T01:00:00Z", "detail": detail,
	})
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, data)
}

func TestTableOfFindingTypesIsSortedAndWhole(t *testing.T) {
	all := runbooks.FindingTypes()
	// The numbers of AWS's three lists in September 2026.
	count := map[runbooks.Status]int{}
	for i, ft := range all {
		count[ft.Status]++
		if i > 0 && all[i-1].Name >= ft.Name {
			t.Errorf("%s stands after %s", ft.Name, all[i-1].Name)
		}
		if purpose, rest, ok := strings.Cut(ft.Name, ":"); !ok || purpose == "" || strings.Count(rest, "/") != 1 {
			t.Errorf("%q is no finding type", ft.Name)
		}
	}
	if got := fmt.Sprint(count); got != "map[active:204 opt-in:25 retired:22]" || len(all) != 251 {
		t.Errorf("there are %d types: %s", len(all), got)
	}
}

// Each known type has an answer that somebody chose for it, whatever a finding
// of it is about.
func TestEveryFindingTypeHasAnAnswerOfItsOwn(t *testing.T) {
	for _, ft := range runbooks.FindingTypes() {
		a := runbooks.AnswerTo(ft.Name)
		if a.Type != ft {
			t.Errorf("%s is answered as %v", ft.Name, a.Type)
		}
		for _, resourceType := range []string{"Instance", "AccessKey", "EKSCluster", "AttackSequence", "Widget", ""} {
			for _, role := range []string{event.RoleActor, event.RoleTarget, ""} {
				got := answerTo(generated(t, ft.Name, resourceType, role))
				_, told := got.Runbooks["finding-report"]
				switch {
				case len(got.Runbooks) == 0:
					t.Errorf("%s about %q as %q has no answer", ft.Name, resourceType, role)
				case told != (got.Reason != "") || strings.HasPrefix(got.Reason, unknown):
					t.Errorf("%s about %q as %q is answered by %v, and the reason is %q", ft.Name, resourceType, role, got.Runbooks, got.Reason)
				case !a.Answered() && got.Reason != a.Otherwise:
					t.Errorf("%s about %q as %q: told because of %q, and the table says %q", ft.Name, resourceType, role, got.Reason, a.Otherwise)
				}
			}
		}
	}
}

// A type has either a runbook or a reason of the table, so that no row is dead
// and no glob of the one covers up the other.
func TestTypesThatAreAnsweredHaveNoReasonAndOthersHaveOne(t *testing.T) {
	for _, ft := range runbooks.FindingTypes() {
		answered := runbooks.AnswerTo(ft.Name).Answered()
		if reasoned := runbooks.HasReason(ft.Name); answered == reasoned {
			t.Errorf("%s is answered by a runbook: %t; it has a reason why nothing is done: %t", ft.Name, answered, reasoned)
		}
	}
	for _, row := range runbooks.UnusedReasons() {
		t.Errorf("no known type is told for this reason: %s", row)
	}
}

// Nothing is cut off for a type that nobody has read about.
func TestRunbooksThatActNameExactTypesThatAWSMakes(t *testing.T) {
	known := map[string]runbooks.Status{}
	for _, ft := range runbooks.FindingTypes() {
		known[ft.Name] = ft.Status
	}
	for _, r := range runbooks.All() {
		for i, name := range r.Findings {
			if len(r.Steps) > 0 && known[name] != runbooks.Active {
				t.Errorf("%s answers %q, which is no type that GuardDuty makes", r.ID, name)
			}
			if slices.Contains(r.Findings[:i], name) {
				t.Errorf("%s has %q twice", r.ID, name)
			}
		}
	}
}

func TestUnknownTypesAreTold(t *testing.T) {
	for _, name := range []string{
		"CryptoCurrency:EC2/BitcoinTool.C", "CryptoCurrency:EC2/BitcoinTool.B!TLS", "Backdoor:EC2/Anything", "Trojan:Runtime/New",
		"AttackSequence:EC2/CompromisedFleet", "Impact:Widget/New", "cryptocurrency:ec2/bitcointool.b", "CryptoCurrency:EC2/BitcoinTool.B ",
		"*", "",
	} {
		a := runbooks.AnswerTo(name)
		if a.Answered() || a.Type.Status != "" || !strings.HasPrefix(a.Otherwise, unknown) {
			t.Errorf("%q is answered by %v: %s", name, a.Runbooks, a.Otherwise)
		}
		if name == "" {
			continue // GuardDuty always names the type
		}
		got := answerTo(generated(t, name, "Instance", event.RoleActor))
		if len(got.Runbooks["finding-report"]) != 1 || !strings.HasPrefix(got.Reason, unknown) {
			t.Errorf("%q is answered by %v: %s", name, got.Runbooks, got.Reason)
		}
	}
}

func TestSeverityDoesNotDecideWhichRunbookAnswers(t *testing.T) {
	f := generated(t, "Backdoor:EC2/Spambot", "Instance", event.RoleActor)
	for _, severity := range []float64{0, 2, 5, 8, 10} {
		f.Severity = severity
		if got := answerTo(f); len(got.Runbooks["ec2-quarantine"]) != 1 {
			t.Errorf("severity %g (%s): answered by %v", severity, control.SeverityOf(severity), got.Runbooks)
		}
	}
}

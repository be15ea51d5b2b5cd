package baseline_test

import (
	"regexp"
	"slices"
	"testing"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
)

// outcomes are all that package control knows, read from its source so that a
// new one is not forgotten here.
func outcomes(t testing.TB) []control.Outcome {
	t.Helper()
	var all []control.Outcome
	for _, found := range regexp.MustCompile(`Outcome = "([a-z-]+)"`).FindAllSubmatch(read(t, "..", "control", "outcome.go"), -1) {
		all = append(all, control.Outcome(found[1]))
	}
	if !slices.Contains(all, control.Refused) {
		t.Fatalf("read only the outcomes %s", all)
	}
	return all
}

func TestFirstRouteThatMatchesDecidesWhereAnAlertGoes(t *testing.T) {
	const observed, pager = "arn:aws:sns:us-east-1:111111111111:observed", "arn:aws:sns:us-east-1:111111111111:pager"
	b, problems := baseline.Parse("b.yaml", []byte(string(read(t, "testdata/good/minimal.yaml"))+`
alerts:
  - {outcomes: [observed, remediated], severities: [LOW, MEDIUM], topic: none}
  - {outcomes: [observed], severities: [HIGH], topic: main}
  - {outcomes: [observed], topic: `+observed+`}
  - {severities: [CRITICAL], topic: `+pager+`}
`), testDomains(), now)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, test := range []struct {
		outcome  control.Outcome
		severity control.Severity
		topic    string
		send     bool
	}{
		{control.Observed, control.Low, "", false},
		{control.Remediated, control.Medium, "", false},
		{control.Observed, control.High, "", true},
		{control.Observed, control.Critical, observed, true},
		{control.Remediated, control.Critical, pager, true},
		{control.Refused, control.Critical, pager, true},
		{control.Remediated, control.High, "", true},
		{control.Failed, control.Low, "", true},
		{control.Refused, "", "", true},
		{control.Observed, "", observed, true},
	} {
		if topic, send := b.Topic(test.outcome, test.severity); topic != test.topic || send != test.send {
			t.Errorf("%s of severity %q goes to %q: %t, want %q: %t", test.outcome, test.severity, topic, send, test.topic, test.send)
		}
	}
	for _, o := range outcomes(t) {
		if topic, send := (&baseline.Baseline{}).Topic(o, control.Low); topic != "" || !send {
			t.Errorf("without routes %s goes to %q: %t, want the main topic", o, topic, send)
		}
	}
}

func TestRouteMayNameEveryOutcomeThatAlertsAndNoOther(t *testing.T) {
	minimal := string(read(t, "testdata/good/minimal.yaml"))
	for _, o := range outcomes(t) {
		_, problems := baseline.Parse("b.yaml", []byte(minimal+"\nalerts: [{outcomes: ["+string(o)+"], topic: main}]\n"), testDomains(), now)
		if named := problems.Err() == nil; named != o.Alerts() {
			t.Errorf("%s can be named: %t, want %t, since that is whether it alerts", o, named, o.Alerts())
		}
	}
}

package baseline_test

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/snapback-aws/snapback/pkg/baseline"
)

// decideFile is the file that the decisions below are made with.
const decideFile = `version: 1
reviewed: 2026-11-01
organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1]}
mode: approve
controls:
  s3-bucket-public-access: {mode: enforce}
  "s3-*": {mode: observe}
  "*-ingress": {mode: off}
  "ec2-*": {mode: enforce}
  iam-access-key-rotation: {params: {max-age-days: 30}}
overrides:
  - {match: {accounts: ["222222222222", "333333333333"]}, controls: ["s3-bucket-*"], mode: off}
  - {match: {organizational-units: [ou-ab12-11111111, ou-ab12-22222222]}, controls: [s3-bucket-public-access], mode: approve}
  - {match: {accounts: ["444444444444"], organizational-units: [ou-ab12-33333333], tags: {env: dev, team: web}}, controls: ["*"], mode: observe}
exemptions:
  - {control: s3-bucket-public-access, resource: "arn:aws:s3:::www.example.com", reason: website, owner: web, expires: 2026-12-31}
  - {control: "s3-*", resource: "arn:aws:s3:::assets-*", reason: website, owner: web, expires: 2026-12-31}
  - {control: "iam-*", resource: "arn:aws:iam::555555555555:user/ci", reason: moving, owner: ci, expires: 2026-12-31}
protected: {principals: ["arn:aws:iam::*:role/break-glass", "arn:aws:iam::555555555555:user/*"]}
`

func decideBaseline(t testing.TB) *baseline.Baseline {
	t.Helper()
	b, problems := baseline.Parse("b.yaml", []byte(decideFile), testDomains(), now)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheMostSpecificPlaceDecides(t *testing.T) {
	const (
		s3, account = "s3-bucket-public-access", "999999999999"
		role        = "arn:aws:iam::999999999999:role/"
	)
	lastMoment := time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC)
	web := map[string]string{"env": "dev", "team": "web", "more": ""}
	units := func(ids ...string) []string { return ids }
	b := decideBaseline(t)
	for _, test := range []struct {
		name   string
		facts  baseline.Facts
		mode   baseline.Mode
		why    string
		exempt bool
	}{
		{"nothing names the control", baseline.Facts{Control: "rds-public"}, baseline.Approve, "the default mode", false},
		{"params alone name no mode", baseline.Facts{Control: "iam-access-key-rotation"}, baseline.Approve, "the default mode", false},
		{"its own entry beats a later glob", baseline.Facts{Control: s3}, baseline.Enforce, "b.yaml:6 (control s3-bucket-public-access)", false},
		{"a glob beats the default", baseline.Facts{Control: "s3-account-public-access"}, baseline.Observe, "b.yaml:7 (control s3-*)", false},
		{"the later glob wins", baseline.Facts{Control: "ec2-security-group-ingress"}, baseline.Enforce, "b.yaml:9 (control ec2-*)", false},

		{"an account of the list", baseline.Facts{Control: s3, Account: "333333333333"}, baseline.Off, "b.yaml:12 (override)", false},
		{"an account of the list, another control", baseline.Facts{Control: "rds-public", Account: "333333333333"}, baseline.Approve, "the default mode", false},
		{"a unit of the list", baseline.Facts{Control: s3, OrganizationalUnits: units("ou-ab12-00000000", "ou-ab12-22222222")}, baseline.Approve, "b.yaml:13 (override)", false},
		{"the later override wins", baseline.Facts{Control: s3, Account: "222222222222", OrganizationalUnits: units("ou-ab12-11111111")}, baseline.Approve, "b.yaml:13 (override)", false},
		{"account, unit and tags", baseline.Facts{Control: s3, Account: "444444444444", OrganizationalUnits: units("ou-ab12-33333333"), Tags: web}, baseline.Observe, "b.yaml:14 (override)", false},
		{"unit and tags, another account", baseline.Facts{Control: s3, Account: account, OrganizationalUnits: units("ou-ab12-33333333"), Tags: web}, baseline.Enforce, "b.yaml:6 (control s3-bucket-public-access)", false},
		{"account and tags, another unit", baseline.Facts{Control: s3, Account: "444444444444", Tags: web}, baseline.Enforce, "b.yaml:6 (control s3-bucket-public-access)", false},
		{"one tag of two", baseline.Facts{Control: s3, Account: "444444444444", OrganizationalUnits: units("ou-ab12-33333333"), Tags: map[string]string{"env": "dev"}}, baseline.Enforce, "b.yaml:6 (control s3-bucket-public-access)", false},
		{"another value of a tag", baseline.Facts{Control: s3, Account: "444444444444", OrganizationalUnits: units("ou-ab12-33333333"), Tags: map[string]string{"env": "dev", "team": "Web"}}, baseline.Enforce, "b.yaml:6 (control s3-bucket-public-access)", false},

		{"a protected principal", baseline.Facts{Control: "iam-x", ARN: role + "break-glass"}, baseline.Observe, "protected principal arn:aws:iam::*:role/break-glass", false},
		{"a role of that name in a path", baseline.Facts{Control: "iam-x", ARN: role + "x/break-glass"}, baseline.Approve, "the default mode", false},
		{"a path that imitates a protected one", baseline.Facts{Control: "iam-x", ARN: role + "x:role/break-glass"}, baseline.Approve, "the default mode", false},
		{"a longer name", baseline.Facts{Control: "iam-x", ARN: role + "break-glass2"}, baseline.Approve, "the default mode", false},
		{"a user, not a role", baseline.Facts{Control: "iam-x", ARN: "arn:aws:iam::999999999999:user/break-glass"}, baseline.Approve, "the default mode", false},

		{"an exempt resource", baseline.Facts{Control: s3, ARN: "arn:aws:s3:::www.example.com"}, baseline.Observe, "b.yaml:16 (exemption)", true},
		{"exempt by globs", baseline.Facts{Control: "s3-account-public-access", ARN: "arn:aws:s3:::assets-1/x"}, baseline.Observe, "b.yaml:17 (exemption)", true},
		{"exempt from another control", baseline.Facts{Control: "ec2-security-group-ingress", ARN: "arn:aws:s3:::www.example.com"}, baseline.Enforce, "b.yaml:9 (control ec2-*)", false},
		{"a dot is no wildcard", baseline.Facts{Control: s3, ARN: "arn:aws:s3:::wwwxexample.com"}, baseline.Enforce, "b.yaml:6 (control s3-bucket-public-access)", false},
		{"exempt on its last day", baseline.Facts{Control: s3, ARN: "arn:aws:s3:::www.example.com", Now: lastMoment}, baseline.Observe, "b.yaml:16 (exemption)", true},
		{"no longer exempt after it", baseline.Facts{Control: s3, ARN: "arn:aws:s3:::www.example.com", Now: lastMoment.Add(time.Second)}, baseline.Enforce, "b.yaml:6 (control s3-bucket-public-access)", false},
		{"protected and exempt", baseline.Facts{Control: "iam-x", ARN: "arn:aws:iam::555555555555:user/ci"}, baseline.Observe, "b.yaml:18 (exemption)", true},
		{"off and exempt", baseline.Facts{Control: s3, Account: "222222222222", ARN: "arn:aws:s3:::www.example.com"}, baseline.Off, "b.yaml:12 (override)", false},
		{"no ARN", baseline.Facts{Control: s3, ARN: "assets-1"}, baseline.Enforce, "b.yaml:6 (control s3-bucket-public-access)", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.facts.Now.IsZero() {
				test.facts.Now = now
			}
			got := b.Decide(test.facts)
			if got.Mode != test.mode || got.Why != test.why || (got.Exemption != nil) != test.exempt {
				t.Errorf("got %s because of %s, exemption %v; want %s because of %s, exemption: %v",
					got.Mode, got.Why, got.Exemption, test.mode, test.why, test.exempt)
			}
		})
	}
}

func TestModeIsExplicitOnlyIfItsControlWasNamed(t *testing.T) {
	const s3, other = "s3-bucket-public-access", "s3-account-public-access"
	b := decideBaseline(t)
	b.Overrides = append(b.Overrides, baseline.Override{
		Match: baseline.Match{Accounts: []string{"666666666666"}}, Controls: []string{"s3-*", s3}, Mode: baseline.Enforce,
	})
	for _, test := range []struct {
		name     string
		facts    baseline.Facts
		explicit bool
	}{
		{"its own entry", baseline.Facts{Control: s3}, true},
		{"a glob over controls", baseline.Facts{Control: other}, false},
		{"the default mode", baseline.Facts{Control: "rds-public"}, false},
		{"an entry without a mode", baseline.Facts{Control: "iam-access-key-rotation"}, false},
		{"an override by its ID", baseline.Facts{Control: s3, OrganizationalUnits: []string{"ou-ab12-11111111"}}, true},
		{"an override by a glob, over its own entry", baseline.Facts{Control: s3, Account: "222222222222"}, false},
		{"an override by its ID and a glob", baseline.Facts{Control: s3, Account: "666666666666"}, true},
		{"an override by another ID and a glob", baseline.Facts{Control: other, Account: "666666666666"}, false},
		{"its own entry, of an exempt resource", baseline.Facts{Control: s3, ARN: "arn:aws:s3:::www.example.com"}, false},
		{"its own entry, of a protected principal", baseline.Facts{Control: s3, ARN: "arn:aws:iam::999999999999:role/break-glass"}, false},
	} {
		test.facts.Now = now
		if got := b.Decide(test.facts); got.Explicit != test.explicit {
			t.Errorf("%s: the mode %s of %s is explicit: %t, want %t", test.name, got.Mode, got.Why, got.Explicit, test.explicit)
		}
	}
}

// runbookFile is the file that the decisions about runbooks are made with.
const runbookFile = `version: 1
reviewed: 2026-11-01
organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1]}
mode: enforce
controls:
  "*": {mode: enforce}
runbooks:
  ec2-quarantine: {mode: enforce}
  "ec2-*": {mode: observe, from-severity: 4}
  "iam-*": {from-severity: 8.5}
  iam-report: {mode: observe, params: {}}
overrides:
  - {match: {accounts: ["222222222222"]}, runbooks: [ec2-quarantine], mode: enforce}
  - {match: {accounts: ["222222222222"]}, controls: ["*"], mode: off}
  - {match: {accounts: ["333333333333"]}, runbooks: ["*"], mode: off}
  - {match: {accounts: ["444444444444"]}, controls: ["s3-*"], runbooks: ["iam-*"], mode: enforce}
exemptions:
  - {control: "*", resource: "arn:aws:ec2:us-east-1:555555555555:instance/i-0", reason: test, owner: web, expires: 2026-12-31}
  - {runbook: "ec2-*", resource: "arn:aws:ec2:us-east-1:555555555555:instance/i-1", reason: test, owner: web, expires: 2026-12-31}
protected:
  principals: ["arn:aws:iam::*:role/break-glass"]
  resources: ["arn:aws:ec2:us-east-1:*:instance/i-2*", "arn:aws:s3:::logs"]
`

func runbookBaseline(t testing.TB, edits ...string) *baseline.Baseline {
	t.Helper()
	domains := testDomains()
	domains[0].Runbooks[1].Params = &struct{}{}
	b, problems := baseline.Parse("b.yaml", []byte(strings.NewReplacer(edits...).Replace(runbookFile)), domains, now)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRunbookChangesOnlyWhatItsSeverityAndTheFileAllow(t *testing.T) {
	const (
		quarantine, account, hub = "ec2-quarantine", "999999999999", "111111111111"
		own, glob                = "b.yaml:8 (runbook ec2-quarantine)", "b.yaml:9 (runbook ec2-*)"
		instance                 = "arn:aws:ec2:us-east-1:555555555555:instance/"
	)
	b := runbookBaseline(t)
	for _, test := range []struct {
		name     string
		facts    baseline.Facts
		mode     baseline.Mode
		why      string
		explicit bool
	}{
		{"no entry, from severity 7", baseline.Facts{Control: "s3-x", FindingSeverity: 7}, baseline.Approve, "the default of runbooks", false},
		{"no entry, below 7", baseline.Facts{Control: "s3-x", FindingSeverity: 6.9}, baseline.Observe, "the finding's severity 6.9 is below 7: the default of runbooks", false},
		{"no entry, no severity", baseline.Facts{Control: "s3-x"}, baseline.Observe, "the finding's severity 0 is below 7: the default of runbooks", false},
		{"no entry, a severity that is no number", baseline.Facts{Control: "s3-x", FindingSeverity: math.NaN()}, baseline.Observe, "the finding's severity NaN is below 7: the default of runbooks", false},

		{"its own mode, the severity of a glob", baseline.Facts{Control: quarantine, FindingSeverity: 4}, baseline.Enforce, own, true},
		{"its own mode, below the severity of a glob", baseline.Facts{Control: quarantine, FindingSeverity: 3.9}, baseline.Observe, "the finding's severity 3.9 is below 4: " + glob, false},
		{"the mode and severity of a glob", baseline.Facts{Control: "ec2-x", FindingSeverity: 4}, baseline.Observe, glob, false},
		{"a mode that needs no severity", baseline.Facts{Control: "ec2-x", FindingSeverity: 1}, baseline.Observe, glob, false},
		{"the default mode, the severity of a glob", baseline.Facts{Control: "iam-x", FindingSeverity: 8.5}, baseline.Approve, "the default of runbooks", false},
		{"the default mode, below the severity of a glob", baseline.Facts{Control: "iam-x", FindingSeverity: 8.4}, baseline.Observe, "the finding's severity 8.4 is below 8.5: b.yaml:10 (runbook iam-*)", false},

		{"an override", baseline.Facts{Control: quarantine, Account: "222222222222", FindingSeverity: 4}, baseline.Enforce, "b.yaml:13 (override)", true},
		{"an override, below its severity", baseline.Facts{Control: quarantine, Account: "222222222222", FindingSeverity: 3.9}, baseline.Observe, "the finding's severity 3.9 is below 4: " + glob, false},
		{"off by an override", baseline.Facts{Control: quarantine, Account: "333333333333", FindingSeverity: 9}, baseline.Off, "b.yaml:15 (override)", false},
		{"off by an override, below its severity", baseline.Facts{Control: quarantine, Account: "333333333333", FindingSeverity: 1}, baseline.Off, "b.yaml:15 (override)", false},
		{"an override of both kinds, of this one", baseline.Facts{Control: "iam-x", Account: "444444444444", FindingSeverity: 9}, baseline.Enforce, "b.yaml:16 (override)", false},
		{"an override of both kinds, of the other", baseline.Facts{Control: "s3-x", Account: "444444444444", FindingSeverity: 9}, baseline.Approve, "the default of runbooks", false},

		{"exempt from all controls", baseline.Facts{Control: quarantine, ARN: instance + "i-0", FindingSeverity: 9}, baseline.Enforce, own, true},
		{"exempt from the runbook", baseline.Facts{Control: quarantine, ARN: instance + "i-1", FindingSeverity: 9}, baseline.Observe, "b.yaml:19 (exemption)", false},
		{"a protected resource", baseline.Facts{Control: quarantine, ARN: instance + "i-23", FindingSeverity: 9}, baseline.Observe, "protected resource arn:aws:ec2:us-east-1:*:instance/i-2*", false},
		{"a protected principal", baseline.Facts{Control: quarantine, ARN: "arn:aws:iam::999999999999:role/break-glass", FindingSeverity: 9}, baseline.Observe, "protected principal arn:aws:iam::*:role/break-glass", false},
		{"the hub", baseline.Facts{Control: quarantine, Account: hub, FindingSeverity: 9}, baseline.Observe, "the hub's own account", false},
		{"the hub, below its severity", baseline.Facts{Control: quarantine, Account: hub, FindingSeverity: 1}, baseline.Observe, "the hub's own account", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.facts.Runbook, test.facts.Now = true, now
			test.facts.Account = cmp.Or(test.facts.Account, account)
			got := b.Decide(test.facts)
			if got.Mode != test.mode || got.Why != test.why || got.Explicit != test.explicit || (got.Exemption != nil) != strings.Contains(test.why, "exemption") {
				t.Errorf("got %+v\nwant %s because of %s, explicit: %t", got, test.mode, test.why, test.explicit)
			}
		})
	}
}

// What is for runbooks alone must not weaken a control, nor its own glob reach
// one.
func TestControlIsDecidedWithoutRegardToRunbooks(t *testing.T) {
	b := runbookBaseline(t)
	for _, test := range []struct {
		facts baseline.Facts
		mode  baseline.Mode
	}{
		{baseline.Facts{Control: "ec2-quarantine"}, baseline.Enforce},
		{baseline.Facts{Control: "ec2-x", Account: "111111111111"}, baseline.Enforce},
		{baseline.Facts{Control: "ec2-x", Account: "333333333333"}, baseline.Enforce},
		{baseline.Facts{Control: "ec2-x", Account: "222222222222"}, baseline.Off},
		{baseline.Facts{Control: "ec2-x", ARN: "arn:aws:ec2:us-east-1:555555555555:instance/i-1"}, baseline.Enforce},
		{baseline.Facts{Control: "ec2-x", ARN: "arn:aws:ec2:us-east-1:555555555555:instance/i-0"}, baseline.Observe},
		{baseline.Facts{Control: "s3-x", ARN: "arn:aws:s3:::logs"}, baseline.Observe},
	} {
		test.facts.Now = now
		if got := b.Decide(test.facts); got.Mode != test.mode {
			t.Errorf("%+v: got %s because of %s, want %s", test.facts, got.Mode, got.Why, test.mode)
		}
	}
}

func TestDefaultModeMovesARunbookOnlyIfItTurnsAllOff(t *testing.T) {
	serious := func(id string) baseline.Facts {
		return baseline.Facts{Control: id, Runbook: true, Account: "999999999999", FindingSeverity: 9, Now: now}
	}
	for _, test := range []struct {
		file, id string
		want     baseline.Mode
		why      string
	}{
		{"observe", "s3-x", baseline.Approve, "the default of runbooks"},
		{"approve", "s3-x", baseline.Approve, "the default of runbooks"},
		{"enforce", "s3-x", baseline.Approve, "the default of runbooks"},
		{"off", "s3-x", baseline.Off, "the default mode"},
		{"off", "iam-x", baseline.Off, "the default mode"}, // its entry gives no mode
		{"off", "ec2-quarantine", baseline.Enforce, "b.yaml:8 (runbook ec2-quarantine)"},
	} {
		if got := runbookBaseline(t, "mode: enforce\ncontrols", "mode: "+test.file+"\ncontrols").Decide(serious(test.id)); got.Mode != test.want || got.Why != test.why {
			t.Errorf("mode %s: %s is in mode %s because of %s, want %s because of %s", test.file, test.id, got.Mode, got.Why, test.want, test.why)
		}
	}
	if got := (&baseline.Baseline{}).Decide(serious("s3-x")); got.Mode != baseline.Approve {
		t.Errorf("without any mode: %+v", got)
	}
}

func TestWhatAChangeTouchesIsKnownToBeProtected(t *testing.T) {
	b := runbookBaseline(t)
	for arn, want := range map[string]string{
		"arn:aws:iam::999999999999:role/break-glass":        "protected principal arn:aws:iam::*:role/break-glass",
		"arn:aws:ec2:us-east-1:999999999999:instance/i-22":  "protected resource arn:aws:ec2:us-east-1:*:instance/i-2*",
		"arn:aws:s3:::logs":                                 "protected resource arn:aws:s3:::logs",
		"arn:aws:s3:::logs2":                                "",
		"arn:aws:ec2:us-east-1:999999999999:volume/i-22":    "",
		"arn:aws:ec2:eu-west-1:999999999999:instance/i-22":  "",
		"arn:aws:iam::999999999999:role/x:role/break-glass": "",
		"":     "",
		"i-22": "",
	} {
		if got := b.ProtectedBy(arn); got != want {
			t.Errorf("%s: got %q, want %q", arn, got, want)
		}
	}
}

func TestStrongestModeIsTheStrongestOfWhatMayDecide(t *testing.T) {
	const file = `version: 1
reviewed: 2026-11-01
organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1]}
mode: DEFAULT
controls:
  s3-bucket-public-access: {mode: off}
  "s3-*": {mode: approve}
  "ec2-*": {mode: observe}
runbooks:
  ec2-quarantine: {mode: observe, from-severity: 10}
overrides:
  - {match: {accounts: ["222222222222"]}, controls: ["ec2-*"], mode: enforce}
  - {match: {accounts: ["222222222222"]}, controls: ["ec2-*", "s3-*"], mode: off}
  - {match: {tags: {env: dev}}, controls: [root-user-use], mode: approve}
  - {match: {organizational-units: [ou-ab12-11111111]}, runbooks: ["ec2-*"], mode: enforce}
`
	const control, runbook = false, true
	for _, test := range []struct {
		mode, id string
		runbook  bool
		want     baseline.Mode
	}{
		{"enforce", "iam-access-key-rotation", control, baseline.Enforce}, // the default
		{"off", "iam-access-key-rotation", control, baseline.Off},
		{"enforce", "s3-bucket-public-access", control, baseline.Off}, // its own entry, which wins over the glob
		{"enforce", "s3-account-public-access", control, baseline.Approve},
		{"off", "ec2-security-group-ingress", control, baseline.Enforce}, // an override by a glob
		{"off", "root-user-use", control, baseline.Approve},              // an override by tags
		{"enforce", "root-user-use", control, baseline.Enforce},          // a weaker override

		{"observe", "iam-report", runbook, baseline.Approve}, // the default of runbooks
		{"enforce", "iam-report", runbook, baseline.Approve},
		{"off", "iam-report", runbook, baseline.Off},
		{"off", "ec2-quarantine", runbook, baseline.Enforce}, // an override of runbooks
		{"off", "ec2-security-group-ingress", runbook, baseline.Enforce},
		{"enforce", "root-user-use", runbook, baseline.Approve}, // overrides of controls say nothing of runbooks
	} {
		b, problems := baseline.Parse("b.yaml", []byte(strings.Replace(file, "DEFAULT", test.mode, 1)), testDomains(), now)
		if err := problems.Err(); err != nil {
			t.Fatal(err)
		}
		if got := b.Strongest(baseline.Facts{Control: test.id, Runbook: test.runbook}); got != test.want {
			t.Errorf("mode %s: %s, runbook: %t: got %s, want %s", test.mode, test.id, test.runbook, got, test.want)
		}
	}
}

func TestNoDecisionIsStrongerThanTheStrongest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, f := anyBaseline(t), anyFacts(t)
		most := b.Strongest(baseline.Facts{Control: f.Control, Runbook: f.Runbook})
		if got := b.Decide(f).Mode; got.AtMost(most) != got {
			t.Fatalf("decided %s, and the strongest is %s", got, most)
		}
	})
}

func TestOnlyTheFactsThatCanDecideAreNeeded(t *testing.T) {
	b := &baseline.Baseline{Overrides: []baseline.Override{
		{Match: baseline.Match{Tags: map[string]string{"env": "dev"}}, Controls: []string{"s3-*"}, Mode: baseline.Off},
		{Match: baseline.Match{Accounts: []string{"1"}, OrganizationalUnits: []string{"ou"}}, Controls: []string{"s3-*"}, Mode: baseline.Off},
		{Match: baseline.Match{Accounts: []string{"2"}}, Controls: []string{"s3-*"}, Mode: baseline.Off},
		{Match: baseline.Match{Accounts: []string{"3"}, Tags: map[string]string{"env": "dev"}}, Controls: []string{"ec2-x"}, Mode: baseline.Off},
		{Match: baseline.Match{OrganizationalUnits: []string{"ou"}}, Runbooks: []string{"ec2-*"}, Mode: baseline.Off},
	}}
	for _, test := range []struct {
		facts       baseline.Facts
		units, tags bool
	}{
		{baseline.Facts{Control: "s3-x", Account: "1"}, true, true},
		{baseline.Facts{Control: "s3-x", Account: "2"}, false, false}, // The third override matches for certain.
		{baseline.Facts{Control: "s3-x", Account: "3"}, false, true},
		{baseline.Facts{Control: "ec2-x", Account: "3"}, false, true},
		{baseline.Facts{Control: "ec2-x", Account: "1"}, false, false},
		{baseline.Facts{Control: "iam-x", Account: "1"}, false, false},
		{baseline.Facts{Control: "ec2-x", Runbook: true, Account: "1"}, true, false},
		{baseline.Facts{Control: "ec2-x", Runbook: true, Account: "3"}, true, false},
		{baseline.Facts{Control: "s3-x", Runbook: true, Account: "1"}, false, false},
	} {
		if units, tags := b.Needs(test.facts); units != test.units || tags != test.tags {
			t.Errorf("Needs(%+v) = %v, %v, want %v, %v", test.facts, units, tags, test.units, test.tags)
		}
	}
}

func TestAtMostReturnsTheWeakerMode(t *testing.T) {
	modes := []baseline.Mode{baseline.Off, baseline.Observe, baseline.Approve, baseline.Enforce}
	for i, a := range modes {
		for j, b := range modes {
			if got, want := a.AtMost(b), modes[min(i, j)]; got != want {
				t.Errorf("%s at most %s is %s, want %s", a, b, got, want)
			}
		}
	}
	if got := baseline.Mode("bogus").AtMost(baseline.Observe); got != "bogus" {
		t.Errorf("an unknown mode became %s", got)
	}
}

// anyBaseline draws a baseline over few names, so that entries often match.
func anyBaseline(t *rapid.T) *baseline.Baseline {
	modes := rapid.SampledFrom([]baseline.Mode{baseline.Off, baseline.Observe, baseline.Approve, baseline.Enforce})
	severities := rapid.SampledFrom([]float64{0, 4, 8.5})
	globs := rapid.SampledFrom([]string{"s3-a", "s3-b", "s3-*", "*", "ec2-?"})
	accounts := rapid.SliceOfN(rapid.SampledFrom([]string{"1", "2"}), 0, 2)
	units := rapid.SliceOfN(rapid.SampledFrom([]string{"ou-1", "ou-2"}), 0, 2)
	tags := rapid.MapOfN(rapid.SampledFrom([]string{"k", "l"}), rapid.SampledFrom([]string{"", "v"}), 0, 2)
	b := &baseline.Baseline{Mode: rapid.OneOf(modes, rapid.Just(baseline.Mode(""))).Draw(t, "mode")}
	for i := range rapid.IntRange(0, 4).Draw(t, "settings") {
		b.Controls = append(b.Controls, baseline.Setting{Name: globs.Draw(t, "control"), Mode: modes.Draw(t, "mode"), Line: i})
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "runbooks") {
		b.Runbooks = append(b.Runbooks, baseline.Setting{
			Name: globs.Draw(t, "runbook"), Mode: modes.Draw(t, "mode"), FromSeverity: severities.Draw(t, "from"), Line: i,
		})
	}
	for range rapid.IntRange(0, 4).Draw(t, "overrides") {
		b.Overrides = append(b.Overrides, baseline.Override{
			Match:    baseline.Match{Accounts: accounts.Draw(t, "accounts"), OrganizationalUnits: units.Draw(t, "units"), Tags: tags.Draw(t, "tags")},
			Controls: []string{globs.Draw(t, "controls")},
			Runbooks: []string{globs.Draw(t, "runbooks")},
			Mode:     modes.Draw(t, "mode"),
		})
	}
	for range rapid.IntRange(0, 2).Draw(t, "exemptions") {
		b.Exemptions = append(b.Exemptions, baseline.Exemption{
			Control: globs.Draw(t, "control"), Runbook: globs.Draw(t, "runbook"), Resource: "arn:aws:s3:::" + rapid.SampledFrom([]string{"a", "a*"}).Draw(t, "bucket"),
			Expires: rapid.SampledFrom([]time.Time{now, now.AddDate(0, 0, -2)}).Draw(t, "expires"),
		})
	}
	return b
}

func anyFacts(t *rapid.T) baseline.Facts {
	return baseline.Facts{
		Control:             rapid.SampledFrom([]string{"s3-a", "s3-b", "ec2-a"}).Draw(t, "control"),
		Runbook:             rapid.Bool().Draw(t, "runbook"),
		FindingSeverity:     rapid.SampledFrom([]float64{2, 4, 7, 9}).Draw(t, "severity"),
		Account:             rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "account"),
		ARN:                 rapid.SampledFrom([]string{"", "arn:aws:s3:::a", "arn:aws:s3:::ab"}).Draw(t, "arn"),
		OrganizationalUnits: rapid.SliceOfN(rapid.SampledFrom([]string{"ou-1", "ou-2"}), 0, 2).Draw(t, "units"),
		Tags:                rapid.MapOfN(rapid.SampledFrom([]string{"k", "l"}), rapid.SampledFrom([]string{"", "v"}), 0, 2).Draw(t, "tags"),
		Now:                 now,
	}
}

func TestNoDecisionIsStrongerThanWhatTheFileNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, f := anyBaseline(t), anyFacts(t)
		got := b.Decide(f)
		named := []baseline.Mode{b.Mode}
		if b.Mode == "" {
			named[0] = baseline.Observe
		}
		settings := b.Controls
		if f.Runbook {
			named, settings = []baseline.Mode{baseline.Approve}, b.Runbooks
		}
		for _, s := range settings {
			named = append(named, s.Mode)
		}
		for _, o := range b.Overrides {
			named = append(named, o.Mode)
		}
		if !slices.ContainsFunc(named, func(m baseline.Mode) bool { return got.Mode.AtMost(m) == got.Mode }) {
			t.Fatalf("decided %s, the file names only %v", got.Mode, named)
		}
		if got.Exemption != nil && got.Mode.AtMost(baseline.Observe) != got.Mode {
			t.Fatalf("an exempt resource may be changed: %s", got.Mode)
		}
		if f.Runbook && f.FindingSeverity < 4 && got.Mode.AtMost(baseline.Observe) != got.Mode {
			t.Fatalf("after a finding of severity %g the mode is %s", f.FindingSeverity, got.Mode)
		}
	})
}

func TestFactsThatAreNotNeededDecideNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, f := anyBaseline(t), anyFacts(t)
		want := b.Decide(f)
		units, tags := b.Needs(f)
		if !units {
			f.OrganizationalUnits = nil
		}
		if !tags {
			f.Tags = nil
		}
		if got := b.Decide(f); got != want {
			t.Fatalf("decided %+v without the facts that are not needed, %+v with them", got, want)
		}
	})
}

func TestTagWithoutValueIsNotAMissingTag(t *testing.T) {
	b := &baseline.Baseline{Mode: baseline.Enforce, Overrides: []baseline.Override{
		{Match: baseline.Match{Tags: map[string]string{"sandbox": ""}}, Controls: []string{"*"}, Mode: baseline.Off},
	}}
	for _, test := range []struct {
		tags map[string]string
		want baseline.Mode
	}{
		{map[string]string{"sandbox": ""}, baseline.Off},
		{map[string]string{"sandbox": "no"}, baseline.Enforce},
		{map[string]string{"other": ""}, baseline.Enforce},
		{nil, baseline.Enforce},
	} {
		if got := b.Decide(baseline.Facts{Control: "s3-a", Tags: test.tags}).Mode; got != test.want {
			t.Errorf("with the tags %v the mode is %s, want %s", test.tags, got, test.want)
		}
	}
}

func TestWildcardsStayWithinTheirFieldOfTheARN(t *testing.T) {
	b := &baseline.Baseline{Mode: baseline.Enforce, Protected: baseline.Protected{Principals: []string{"arn:aws:iam::*:role/a*b?c**", "arn:*:*:*:1:role/z"}}}
	for arn, want := range map[string]bool{
		"arn:aws:iam::1:role/abxc":      true,
		"arn:aws:iam::1:role/aabbxcd":   true,
		"arn:aws:iam::1:role/a/b:bxc/d": true,
		"arn:aws:iam::1:role/abc":       false,
		"arn:aws:iam::1:role/xabxc":     false,
		"arn:aws-cn:iam::1:role/abxc":   false,
		"arn:aws:iam:x:1:role/abxc":     false,
		"arn:aws:iam::1":                false,
		"arn:aws:iam:x:1:role/z":        false,
	} {
		if got := b.Decide(baseline.Facts{ARN: arn}).Mode == baseline.Observe; got != want {
			t.Errorf("%s is protected: %v, want %v", arn, got, want)
		}
	}
}

package baseline_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// now is when every test runs.
var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func day(year int, month time.Month, d int) time.Time {
	return time.Date(year, month, d, 0, 0, 0, 0, time.UTC)
}

// rotation stands for the params of a control.
type rotation struct {
	MaxAgeDays int `yaml:"max-age-days"`
	WarnDays   int `yaml:"warn-days"`
}

func (r *rotation) Validate() error {
	if r.WarnDays >= r.MaxAgeDays {
		return fmt.Errorf("warn-days is %d\nwant less than max-age-days, which is %d", r.WarnDays, r.MaxAgeDays)
	}
	return nil
}

// quarantine stands for the params of a runbook.
type quarantine struct {
	Untrack bool `yaml:"untrack"`
}

// kinds are params of every kind that is read.
type kinds struct {
	On      bool
	Name    string
	Wait    time.Duration
	Labels  []string
	Nested  nested
	List    []nested
	Weights map[string]float64
	Pair    [2]int
	Small   struct{ Value int8 }
	Since   *time.Time
	Hidden  string `yaml:"-"`
}

type nested struct {
	Count int      `yaml:"count,omitempty"`
	Names []string `yaml:"names"`
}

// testControls are new controls, so that no test sees the params of another.
// The last one only reports.
func testControls() []control.Control {
	changes := control.Remedy{Apply: func(context.Context, *cloud.Session, control.Change) error { return nil }}
	return []control.Control{
		{ID: "s3-bucket-public-access", Remedy: changes, Resource: control.Resource{ARN: func(t control.Target) string {
			return "arn:" + cloud.Partition(t.Region) + ":s3:::" + t.ID
		}}},
		{ID: "s3-account-public-access", Remedy: changes, Resource: control.Resource{ARN: func(t control.Target) string {
			return "arn:" + cloud.Partition(t.Region) + ":s3::" + t.ID + ":account"
		}}},
		{ID: "ec2-security-group-ingress", Remedy: changes, Resource: control.Resource{ARN: func(t control.Target) string {
			return "arn:" + cloud.Partition(t.Region) + ":ec2:" + t.Region + ":" + t.Account + ":security-group/" + t.ID
		}}},
		{ID: "iam-access-key-rotation", Remedy: changes, Params: &rotation{MaxAgeDays: 90, WarnDays: 7}},
		{ID: "test-kinds", Params: &kinds{Name: "default", Labels: []string{"default"}, Weights: map[string]float64{"default": 1}}},
		{ID: "test-defect", Params: rotation{}},
		{ID: "root-user-use"},
	}
}

// testRunbooks are new runbooks: one that changes instances, and one that only
// tells of a finding.
func testRunbooks() []control.Runbook {
	return []control.Runbook{
		{
			ID: "ec2-quarantine", Params: &quarantine{Untrack: true},
			Resource: control.Resource{ARN: func(t control.Target) string {
				return "arn:" + cloud.Partition(t.Region) + ":ec2:" + t.Region + ":" + t.Account + ":instance/" + t.ID
			}},
			Steps: []control.Step{
				{Remedy: control.Remedy{Name: "report"}},
				{Remedy: control.Remedy{Name: "isolate", Apply: func(context.Context, *cloud.Session, control.Change) error { return nil }}},
			},
		},
		// Its targets have no ARN.
		{ID: "iam-report", Resource: control.Resource{ARN: func(t control.Target) string { return t.ID }}},
	}
}

// testDomains are the domain of the controls, and that of the runbooks, which
// uses a control that it makes anew, as domains do.
func testDomains() []control.Domain {
	return []control.Domain{
		{Name: "response", Identities: &control.Identities{}, Runbooks: testRunbooks(), Uses: testControls()[rotationControl : rotationControl+1]},
		{Name: "test", Controls: testControls()},
	}
}

// Where the controls with params stand among the testControls.
const (
	rotationControl = 3
	kindsControl    = 4
)

func read(t testing.TB, elem ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// files returns the YAML files of a folder of testdata.
func files(t testing.TB, folder string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files in testdata/%s: %v", folder, err)
	}
	return paths
}

func parse(t testing.TB, path string) (*baseline.Baseline, baseline.Problems) {
	t.Helper()
	return baseline.Parse(filepath.Base(path), read(t, path), testDomains(), now)
}

func TestFaultyFileIsRefusedWithItsMessages(t *testing.T) {
	for _, path := range files(t, "faults") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			b, problems := parse(t, path)
			if b != nil || problems.Err() == nil {
				t.Fatalf("the file was accepted; problems: %v", problems)
			}
			compareGolden(t, path, problems)
			comparePositions(t, path, problems)
		})
	}
}

func TestDoubtfulFileIsAcceptedWithWarnings(t *testing.T) {
	for _, path := range files(t, "warnings") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			b, problems := parse(t, path)
			if b == nil || problems.Err() != nil || len(problems) == 0 {
				t.Fatalf("want a baseline and warnings, got baseline %v, problems %v", b != nil, problems)
			}
			compareGolden(t, path, problems)
			comparePositions(t, path, problems)
		})
	}
}

// compareGolden compares the messages with the .txt file beside a file.
func compareGolden(t *testing.T, path string, problems baseline.Problems) {
	t.Helper()
	golden := strings.TrimSuffix(path, ".yaml") + ".txt"
	got := problems.Error() + "\n"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(read(t, golden)), got); diff != "" {
		t.Errorf("messages differ from %s (-want +got):\n%s", golden, diff)
	}
}

// comparePositions compares what stands at each problem's position with the
// lines `# at: TEXT` at the top of a file, one for each problem.
func comparePositions(t *testing.T, path string, problems baseline.Problems) {
	t.Helper()
	lines := strings.SplitAfter(string(read(t, path)), "\n")
	var want []string
	for _, line := range lines {
		text, ok := strings.CutPrefix(line, "# at: ")
		if !ok {
			break
		}
		want = append(want, strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(strings.TrimSuffix(text, "\n")))
	}
	if len(problems) != len(want) {
		t.Fatalf("%d problems, want %d", len(problems), len(want))
	}
	for i, p := range problems {
		rest := "<nowhere>"
		if p.Line <= len(lines) && p.Column <= len(lines[p.Line-1])+1 {
			rest = lines[p.Line-1][p.Column-1:]
		}
		if rest == "" {
			rest = "<end>"
		}
		if !strings.HasPrefix(rest, want[i]) {
			t.Errorf("%s\npoints at %q, want %q", p, rest, want[i])
		}
	}
}

func TestGoodFileIsAcceptedWithoutErrors(t *testing.T) {
	for _, path := range files(t, "good") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			if b, problems := parse(t, path); b == nil || problems.Err() != nil {
				t.Errorf("refused: %v", problems)
			}
		})
	}
}

func TestFileIsReadInFull(t *testing.T) {
	domains := testDomains()
	got, problems := baseline.Parse("full.yaml", read(t, "testdata", "good", "full.yaml"), domains, now)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	want := &baseline.Baseline{
		File:     "full.yaml",
		Digest:   got.Digest,
		Version:  1,
		Reviewed: day(2026, 11, 1),
		Organization: baseline.Organization{
			ID: "o-example1234", Root: "r-ab12", Management: "000000000000",
			Hub:     baseline.Hub{Account: "111111111111", Region: "us-east-1"},
			Regions: []string{"us-east-1", "eu-west-1"},
			Line:    4,
		},
		Mode: baseline.Observe,
		Controls: []baseline.Setting{
			{Name: "s3-bucket-public-access", Mode: baseline.Enforce, Line: 7},
			{Name: "iam-access-key-rotation", Mode: baseline.Approve, Params: &rotation{90, 14}, Line: 8},
		},
		Runbooks: []baseline.Setting{
			{Name: "*", FromSeverity: 10, Line: 10},
			{Name: "ec2-quarantine", Mode: baseline.Enforce, FromSeverity: 8.5, Params: &quarantine{}, Line: 11},
		},
		Overrides: []baseline.Override{{
			Match: baseline.Match{
				Accounts:            []string{"222222222222"},
				OrganizationalUnits: []string{"ou-ab12-11111111"},
				Tags:                map[string]string{"env": "dev"},
			},
			Controls: []string{"ec2-*"},
			Runbooks: []string{"*-quarantine", "iam-report"},
			Mode:     baseline.Observe,
			Line:     13,
		}, {
			Match:    baseline.Match{Accounts: []string{"222222222222"}},
			Runbooks: []string{"ec2-quarantine"},
			Mode:     baseline.Approve,
			Line:     14,
		}},
		Exemptions: []baseline.Exemption{{
			Control:  "s3-bucket-public-access",
			Resource: "arn:aws:s3:::www.example.com",
			Reason:   "public website",
			Owner:    "web@example.com",
			Expires:  day(2027, 3, 31),
			Line:     16,
		}, {
			Runbook:  "ec2-quarantine",
			Resource: "arn:aws:ec2:eu-west-1:222222222222:instance/i-0123456789abcdef0",
			Reason:   "the bastion",
			Owner:    "net@example.com",
			Expires:  day(2027, 3, 31),
			Line:     17,
		}},
		Protected: baseline.Protected{
			Principals: []string{"arn:aws:iam::*:role/break-glass"},
			Resources: []string{
				"arn:aws:ec2:eu-west-1:*:instance/i-0123456789abcdef0",
				"arn:aws:autoscaling:eu-west-1:222222222222:autoScalingGroup:*:autoScalingGroupName/hub-*",
				"arn:aws:s3:::log-archive",
			},
		},
		Administrators: []string{
			"arn:aws:iam::*:role/aws-reserved/sso.amazonaws.com/*/AWSReservedSSO_AdministratorAccess_*", "arn:aws:iam::222222222222:user/ops/break-glass",
		},
		Sensitive: []control.Access{
			{Actions: []string{"s3:GetObject", "s3:*Policy"}, Resources: []string{"arn:aws:s3:::payroll/*"}},
			{Actions: []string{"kms:*"}, Resources: []string{"*"}},
		},
		Approvals: baseline.Approvals{ExpireAfter: 3 * 24 * time.Hour},
		Limits: baseline.Limits{
			ChangesPerAccountPerHour: 10, ChangesPerControlPerHour: 20, ThreatChangesPerAccountPerHour: 30,
			RoundsPerResource: 4, ExemptionDays: 150,
		},
		Alerts: []baseline.Route{
			{Outcomes: []control.Outcome{control.Observed}, Severities: []control.Severity{control.Low, control.Medium}, Topic: "none", Line: 33},
			{Severities: []control.Severity{control.Critical}, Topic: "arn:aws:sns:us-east-1:111111111111:Pager_1-a", Line: 34},
			{Outcomes: []control.Outcome{control.Failed, control.Held}, Topic: "main", Line: 35},
		},
		Deployment: baseline.Deployment{
			Subscribers: []string{"security@example.com", "ops+pager@example.com"}, Concurrency: 1000, Line: 36,
			Guardrails: &baseline.Guardrails{
				Targets:    []string{"r-ab12", "ou-ab12-11111111", "333333333333"},
				BreakGlass: []string{"arn:aws:iam::*:role/break-glass", "arn:aws:iam::333333333333:root"},
				Line:       39,
			},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the baseline differs (-want +got):\n%s", diff)
	}
	if got.Controls[1].Params != domains[1].Controls[rotationControl].Params || got.Runbooks[1].Params != domains[0].Runbooks[0].Params {
		t.Error("the settings' params are not those of the control and the runbook")
	}
	identities := control.Identities{Administrators: want.Administrators, Sensitive: want.Sensitive, Protected: want.Protected.Principals}
	if diff := cmp.Diff(identities, *domains[0].Identities); diff != "" {
		t.Errorf("the domain does not know the baseline's identities (-want +got):\n%s", diff)
	}
}

func TestFileWithoutModeAndLimitsObservesWithinTheDefaults(t *testing.T) {
	b, problems := parse(t, "testdata/good/minimal.yaml")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	limits := baseline.Limits{
		ChangesPerAccountPerHour: 50, ChangesPerControlPerHour: 200, ThreatChangesPerAccountPerHour: 50,
		RoundsPerResource: 3, ExemptionDays: 180,
	}
	approvals := baseline.Approvals{FourEyes: true, ExpireAfter: 7 * 24 * time.Hour}
	if b.Mode != baseline.Observe || b.Limits != limits || b.Approvals != approvals || b.Alerts != nil {
		t.Errorf("mode %s, %+v, %+v, alerts %v; want observe, %+v, %+v and no alerts",
			b.Mode, b.Limits, b.Approvals, b.Alerts, limits, approvals)
	}
}

func TestConcurrencyThatTheFileDoesNotGiveIsTheDefault(t *testing.T) {
	for _, name := range []string{"minimal", "deployment"} {
		b, problems := parse(t, "testdata/good/"+name+".yaml")
		if len(problems) > 0 || b.Deployment.Concurrency != baseline.DefaultConcurrency {
			t.Errorf("%s: %d; %v", name, b.Deployment.Concurrency, problems)
		}
	}
}

// What is deployed must read its file as the one who deployed it did.
func TestDeployedFileSaysTheSameOfTheDeployment(t *testing.T) {
	data := read(t, "testdata", "good", "full.yaml")
	checked, _ := baseline.Parse("full.yaml", data, testDomains(), now)
	deployed, problems := baseline.ParseDeployed("full.yaml", data, testDomains()[0])
	if checked == nil || deployed == nil {
		t.Fatal(problems)
	}
	if diff := cmp.Diff(checked.Deployment, deployed.Deployment); diff != "" {
		t.Errorf("deployment (-checked +deployed):\n%s", diff)
	}
	if diff := cmp.Diff(checked.Organization, deployed.Organization); diff != "" {
		t.Errorf("organization (-checked +deployed):\n%s", diff)
	}
	for _, path := range files(t, "faults") {
		name := filepath.Base(path)
		if !strings.HasPrefix(name, "deployment-") && !strings.HasPrefix(name, "guardrails-") && !strings.HasPrefix(name, "break-glass-") {
			continue
		}
		if b, _ := baseline.ParseDeployed(name, read(t, path), testDomains()[0]); b != nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestDigestIsThatOfTheBytes(t *testing.T) {
	minimal := read(t, "testdata/good/minimal.yaml")
	a, _ := baseline.Parse("a.yaml", minimal, nil, now)
	b, _ := baseline.Parse("b.yaml", minimal, nil, now)
	c, _ := baseline.Parse("a.yaml", append(minimal, '\n'), nil, now)
	if a.Digest != b.Digest || a.Digest == c.Digest || len(a.Digest) != 64 {
		t.Errorf("digests %q, %q and %q: want the first two equal, the third different, all of 64 digits", a.Digest, b.Digest, c.Digest)
	}
}

func TestReviewFallsDueAfterSixMonths(t *testing.T) {
	file := string(read(t, "testdata/good/minimal.yaml"))
	for _, test := range []struct {
		reviewed string
		want     string
	}{
		{"2026-05-23", ""},
		{"2026-05-22", "older than six months"},
		{"2026-11-22", ""},
		// In Kiribati it is tomorrow already.
		{"2026-11-23", ""},
		{"2026-11-24", "in the future"},
	} {
		_, problems := baseline.Parse("b.yaml", []byte(strings.Replace(file, "2026-11-01", test.reviewed, 1)), nil, now)
		got := problems.Error()
		if (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
			t.Errorf("reviewed %s: got %q, want %q", test.reviewed, got, test.want)
		}
	}
}

func TestExemptionLastsNoLongerThanTheLimitsAllow(t *testing.T) {
	file := string(read(t, "testdata/good/minimal.yaml")) + `
exemptions:
  - {control: s3-bucket-public-access, resource: "arn:aws:s3:::www", reason: site, owner: web, expires: EXPIRES}
`
	for _, test := range []struct{ expires, limits, want string }{
		{"2027-05-21", "", ""},
		{"2027-05-22", "", "exemption-days in limits is 180: write 2027-05-21"},
		{"2026-11-23", "limits: {exemption-days: 1}", ""},
		{"2026-11-24", "limits: {exemption-days: 1}", "exemption-days in limits is 1: write 2026-11-23"},
		{"2036-11-19", "limits: {exemption-days: 3650}", ""},
	} {
		_, problems := baseline.Parse("b.yaml", []byte(strings.Replace(file, "EXPIRES", test.expires, 1)+test.limits), testDomains(), now)
		got := problems.Error()
		if (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
			t.Errorf("until %s with %q: got %q, want %q", test.expires, test.limits, got, test.want)
		}
	}
}

func TestUnreadableBytesAreRefusedWhereTheyStand(t *testing.T) {
	good := string(read(t, "testdata/good/minimal.yaml"))
	line := strings.Count(good, "\n") + 1
	for name, test := range map[string]struct {
		data   string
		line   int
		column int
		want   string
	}{
		"no bytes":           {"", 1, 1, "empty"},
		"blank":              {"\n\n", 1, 1, "empty"},
		"null":               {"~", 1, 1, "empty"},
		"too large":          {good + "#" + strings.Repeat("x", 1<<20), 1, 1, "may hold at most 1048576"},
		"not UTF-8":          {good + "# h\xf6flich", line, 4, "UTF-8"},
		"UTF-16":             {"\xff\xfev\x00e\x00", 1, 1, "UTF-8"},
		"NUL":                {good + "\x00", line, 1, "U+0000"},
		"line separator":     {good + "# é\u2028mode: off", line, 4, "U+2028"},
		"next line":          {good + "#\u0085mode: off", line, 2, "U+0085"},
		"bare return":        {good + "#\rmode: off", line, 2, "U+000D"},
		"right to left":      {good + "# \u202eedoc", line, 3, "U+202E"},
		"alias bomb":         {"a: &a [x]\nb: &b [*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c]\n", 4, 17, "aliases are not supported"},
		"alias of itself":    {"a: &a [*a]", 1, 4, "anchors are not supported"},
		"alias of nothing":   {"a: *a", 1, 4, "unknown anchor"},
		"colon and blank":    {"a: b: c", 1, 5, "quote a value that holds a colon"},
		"reserved character": {"a: @b", 1, 4, "quote a value that begins with @"},
	} {
		t.Run(name, func(t *testing.T) {
			b, problems := baseline.Parse("b.yaml", []byte(test.data), testDomains(), now)
			if b != nil || len(problems) == 0 {
				t.Fatalf("the file was accepted; problems: %v", problems)
			}
			if !slices.ContainsFunc(problems, func(p baseline.Problem) bool {
				return p.Line == test.line && p.Column == test.column && strings.Contains(p.Message, test.want)
			}) {
				t.Errorf("got %s, want %d:%d with %q", problems, test.line, test.column, test.want)
			}
		})
	}
}

func TestFileOfWindowsIsAccepted(t *testing.T) {
	data := bytes.ReplaceAll(read(t, "testdata/good/full.yaml"), []byte("\n"), []byte("\r\n"))
	if _, problems := baseline.Parse("b.yaml", append([]byte("\uFEFF"), data...), testDomains(), now); problems.Err() != nil {
		t.Error(problems)
	}
}

func TestParamsReplaceOnlyTheDefaultsThatTheyName(t *testing.T) {
	domains := testDomains()
	controls := domains[1].Controls
	_, problems := baseline.Parse("b.yaml", []byte(string(read(t, "testdata/good/minimal.yaml"))+`
controls:
  iam-access-key-rotation: {params: {max-age-days: 30}}
  test-kinds:
    mode: "off"
    params:
      on: true
      wait: 36h
      labels: [a, b]
      nested: {count: 5}
      list: [{count: 1}, {names: [x]}]
      weights: {a: 1.5}
      pair: [1, 2]
      small: {value: -128}
      since: 2026-01-01
`), domains, now)
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	if diff := cmp.Diff(&rotation{MaxAgeDays: 30, WarnDays: 7}, controls[rotationControl].Params); diff != "" {
		t.Errorf("rotation differs (-want +got):\n%s", diff)
	}
	since := day(2026, 1, 1)
	want := kinds{
		On: true, Name: "default", Wait: 36 * time.Hour, Labels: []string{"a", "b"},
		Nested: nested{Count: 5}, List: []nested{{Count: 1}, {Names: []string{"x"}}},
		Weights: map[string]float64{"a": 1.5}, Pair: [2]int{1, 2}, Since: &since,
	}
	want.Small.Value = -128
	if diff := cmp.Diff(want, *controls[kindsControl].Params.(*kinds)); diff != "" {
		t.Errorf("kinds differ (-want +got):\n%s", diff)
	}
}

func TestParamsStayAsTheyWereIfTheFileIsRefused(t *testing.T) {
	domains := testDomains()
	_, problems := baseline.Parse("b.yaml", []byte(string(read(t, "testdata/good/minimal.yaml"))+`
controls:
  iam-access-key-rotation: {params: {max-age-days: 30}}
  test-kinds: {params: {name: new, labels: [new], weights: {new: 2}}}
  nothing: {mode: off}
runbooks:
  ec2-quarantine: {params: {untrack: false}}
`), domains, now)
	if problems.Err() == nil {
		t.Fatal("the file was accepted")
	}
	if diff := cmp.Diff(allParams(testDomains()), allParams(domains)); diff != "" {
		t.Errorf("params were changed (-want +got):\n%s", diff)
	}
}

// allParams are the params of domains, in their order.
func allParams(domains []control.Domain) []any {
	var all []any
	for _, d := range domains {
		for _, c := range slices.Concat(d.Controls, d.Uses) {
			all = append(all, c.Params)
		}
		for _, r := range d.Runbooks {
			all = append(all, r.Params)
		}
	}
	return all
}

func TestDomainThatUsesAControlGetsTheParamsOfTheOneThatOwnsIt(t *testing.T) {
	const file = `
controls:
  iam-access-key-rotation: {params: {max-age-days: 30}}
  test-kinds: {params: {name: new}}
runbooks:
  ec2-quarantine: {params: {untrack: false}}
`
	data := []byte(string(read(t, "testdata/good/minimal.yaml")) + file)
	domains := testDomains()
	response, test := domains[0], domains[1]
	if _, problems := baseline.Parse("b.yaml", data, domains, now); problems.Err() != nil {
		t.Fatal(problems)
	}
	owner, user := test.Controls[rotationControl].Params, response.Uses[0].Params
	if diff := cmp.Diff(&rotation{MaxAgeDays: 30, WarnDays: 7}, owner); diff != "" {
		t.Errorf("its own domain has other params (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(owner, user); diff != "" || owner == user {
		t.Errorf("the domain that uses it has other params, or the very same ones (-owner +user):\n%s", diff)
	}
	// Its own function knows no other domain, and reads the same.
	deployed := testDomains()[0]
	if _, problems := baseline.ParseDeployed("b.yaml", data, deployed); problems.Err() != nil {
		t.Fatal(problems)
	}
	if diff := cmp.Diff(allParams([]control.Domain{response}), allParams([]control.Domain{deployed})); diff != "" {
		t.Errorf("deployed it has other params (-checked +deployed):\n%s", diff)
	}
}

func TestDomainThatUsesAControlWithOtherParamsIsAFaultOfSnapback(t *testing.T) {
	domains := testDomains()
	domains[0].Uses[0].Params = &quarantine{}
	b, problems := baseline.Parse("b.yaml", []byte(string(read(t, "testdata/good/minimal.yaml"))+`
controls:
  iam-access-key-rotation: {params: {max-age-days: 30}}
`), domains, now)
	if b != nil || !strings.Contains(problems.Error(), "keeps its params in a *baseline_test.quarantine, which is a fault of Snapback") {
		t.Errorf("got %v", problems)
	}
}

func TestProblemsAreAnErrorOnlyIfOneIsNoWarning(t *testing.T) {
	warning := baseline.Problem{File: "b.yaml", Line: 2, Column: 3, Message: "old", Warning: true}
	fault := baseline.Problem{File: "b.yaml", Line: 4, Column: 1, Message: "bad"}
	if err := (baseline.Problems{warning}).Err(); err != nil {
		t.Errorf("a warning became the error %v", err)
	}
	if err := (baseline.Problems(nil)).Err(); err != nil {
		t.Errorf("nothing became the error %v", err)
	}
	err := baseline.Problems{warning, fault}.Err()
	var problems baseline.Problems
	if !errors.As(err, &problems) || len(problems) != 2 {
		t.Fatalf("error %v, want both problems", err)
	}
	if got, want := err.Error(), "b.yaml:2:3: warning: old\nb.yaml:4:1: bad"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
}

func BenchmarkParse(b *testing.B) {
	data, domains := read(b, "..", "..", "baseline.yaml"), testDomains()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, problems := baseline.Parse("baseline.yaml", data, domains, now); problems.Err() != nil {
			b.Fatal(problems)
		}
	}
}

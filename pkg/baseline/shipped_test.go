package baseline_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/baseline"
)

// example matches a line that is to be used without its #: what follows is no
// blank, or the deeper indentation of an example's inner lines.
var example = regexp.MustCompile(`^#(\S|  )`)

// examples returns the blocks of example lines, as the numbers of their first
// line and of the line behind them.
func examples(lines []string) [][2]int {
	var blocks [][2]int
	for i := 0; i < len(lines); i++ {
		start := i
		for i < len(lines) && example.MatchString(lines[i]) && !prose(lines[start]) {
			i++
		}
		if i > start {
			blocks = append(blocks, [2]int{start, i})
		}
	}
	return blocks
}

// prose reports whether a line can't begin an example: an example begins with
// a key of the file.
func prose(line string) bool { return strings.HasPrefix(line, "#  ") }

func uncomment(lines []string, block [2]int) []string {
	out := append([]string(nil), lines...)
	for i := block[0]; i < block[1]; i++ {
		out[i] = strings.TrimPrefix(out[i], "#")
	}
	return out
}

// check fails the test if a file has errors, or warnings other than those that
// its tags bring.
func check(t *testing.T, lines []string) *baseline.Baseline {
	t.Helper()
	b, problems := baseline.Parse("baseline.yaml", []byte(strings.Join(lines, "\n")), testDomains(), now)
	for _, p := range problems {
		if !p.Warning || !strings.Contains(p.Message, "tag") {
			t.Errorf("%s\n%s", p, lines[p.Line-1])
		}
	}
	return b
}

func TestShippedFileChangesNothingUnasked(t *testing.T) {
	b, problems := baseline.Parse("baseline.yaml", read(t, "..", "..", "baseline.yaml"), testDomains(), now)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if o := b.Organization; o.Root == "" || o.Management == "" || b.Deployment.Guardrails != nil || b.Deployment.Subscribers != nil {
		t.Errorf("what deploys needs root and management, and nothing besides unasked: %+v %+v", o, b.Deployment)
	}
	for _, c := range testControls() {
		if d := b.Decide(baseline.Facts{Control: c.ID, Now: now}); d.Mode != baseline.Observe {
			t.Errorf("%s is in mode %s because of %s, want observe", c.ID, d.Mode, d.Why)
		}
	}
	for _, r := range testRunbooks() {
		for severity, want := range map[float64]baseline.Mode{6.9: baseline.Observe, 7: baseline.Approve} {
			f := baseline.Facts{Control: r.ID, Runbook: true, FindingSeverity: severity, Account: "222222222222", Now: now}
			if d := b.Decide(f); d.Mode != want {
				t.Errorf("%s at severity %g is in mode %s because of %s, want %s", r.ID, severity, d.Mode, d.Why, want)
			}
		}
	}
}

func TestExamplesOfTheShippedFileAreValid(t *testing.T) {
	lines := strings.Split(string(read(t, "..", "..", "baseline.yaml")), "\n")
	blocks := examples(lines)
	if len(blocks) != 11 {
		t.Fatalf("%d examples, want one each of controls, runbooks, overrides, exemptions, protected, administrators, sensitive, approvals, limits, alerts and deployment", len(blocks))
	}
	everything := lines
	for _, block := range blocks {
		name, _, _ := strings.Cut(strings.TrimPrefix(lines[block[0]], "#"), ":")
		t.Run(name, func(t *testing.T) { check(t, uncomment(lines, block)) })
		everything = uncomment(everything, block)
	}
	b := check(t, everything)
	if b == nil {
		t.Fatal("the examples together are refused")
	}
	given := []int{
		len(b.Controls), len(b.Runbooks), len(b.Overrides), len(b.Exemptions), len(b.Protected.Principals), len(b.Protected.Resources),
		len(b.Administrators), len(b.Sensitive), len(b.Alerts), len(b.Deployment.Subscribers), len(b.Deployment.Guardrails.BreakGlass),
	}
	if diff := cmp.Diff([]int{2, 1, 2, 2, 1, 1, 3, 2, 2, 1, 1}, given); diff != "" {
		t.Errorf("the examples together give %+v (-want +got):\n%s", b, diff)
	}
	plain := check(t, lines)
	if b.Limits != plain.Limits || b.Approvals != plain.Approvals || b.Deployment.Concurrency != plain.Deployment.Concurrency {
		t.Errorf("the examples give %+v, %+v and %+v, want the defaults %+v, %+v and %+v",
			b.Limits, b.Approvals, b.Deployment, plain.Limits, plain.Approvals, plain.Deployment)
	}
}

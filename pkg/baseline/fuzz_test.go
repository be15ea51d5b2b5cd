package baseline_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
)

// checkBounds checks what no file may undo: a limit that limits, an end to
// every wait, and an alert of what somebody must act on.
func checkBounds(t *testing.T, b *baseline.Baseline) {
	t.Helper()
	l, wait := b.Limits, b.Approvals.ExpireAfter
	if min(l.ChangesPerAccountPerHour, l.ChangesPerControlPerHour, l.ThreatChangesPerAccountPerHour, l.ExemptionDays) < 1 || l.RoundsPerResource < 2 {
		t.Errorf("limits %+v", l)
	}
	if wait < 24*time.Hour || wait > 90*24*time.Hour {
		t.Errorf("a change waits %s for a yes", wait)
	}
	for _, e := range b.Exemptions {
		if e.Expires.After(now.AddDate(0, 0, l.ExemptionDays)) {
			t.Errorf("exempt until %s, and %d days are allowed", e.Expires, l.ExemptionDays)
		}
	}
	for _, o := range []control.Outcome{
		control.AwaitingApproval, control.Expired, control.Partial, control.Failed, control.Held, control.Unreadable, control.Refused,
	} {
		for _, s := range []control.Severity{"", control.Low, control.Medium, control.High, control.Critical} {
			if topic, send := b.Topic(o, s); !send || topic != "" && !strings.HasPrefix(topic, "arn:") {
				t.Errorf("%s of severity %q goes to %q: %t", o, s, topic, send)
			}
		}
	}
}

// checkDeployment checks that nobody is locked out, and that Lambda takes it.
func checkDeployment(t *testing.T, d baseline.Deployment) {
	t.Helper()
	if d.Concurrency < 2 || d.Concurrency > 1000 {
		t.Errorf("concurrency %d", d.Concurrency)
	}
	if g := d.Guardrails; g != nil && (len(g.Targets) == 0 || len(g.BreakGlass) == 0) {
		t.Errorf("guardrails %+v", g)
	}
}

// checkNames checks that every entry names what it is about, and every runbook's
// mode a severity that a finding can have.
func checkNames(t *testing.T, b *baseline.Baseline) {
	t.Helper()
	for _, s := range b.Runbooks {
		if s.FromSeverity != 0 && !(s.FromSeverity >= 1 && s.FromSeverity <= 10) {
			t.Errorf("the mode of %s applies from severity %g", s.Name, s.FromSeverity)
		}
	}
	for _, o := range b.Overrides {
		if len(o.Controls)+len(o.Runbooks) == 0 {
			t.Errorf("the override in line %d concerns nothing", o.Line)
		}
	}
	for _, e := range b.Exemptions {
		if (e.Control == "") == (e.Runbook == "") {
			t.Errorf("exempt from the control %q and the runbook %q", e.Control, e.Runbook)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(read(f, "..", "..", "baseline.yaml"))
	f.Add([]byte(decideFile))
	f.Add([]byte(runbookFile))
	for _, folder := range []string{"good", "warnings", "faults"} {
		for _, path := range files(f, folder) {
			f.Add(read(f, path))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, problems := baseline.Parse("b.yaml", data, testDomains(), now)
		if (b == nil) != (problems.Err() != nil) {
			t.Fatalf("baseline: %v, problems: %v", b != nil, problems)
		}
		lines := strings.Split(string(data), "\n")
		last := baseline.Problem{}
		for _, p := range problems {
			if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > utf8.RuneCountInString(lines[p.Line-1])+1 {
				t.Errorf("not within the file: %s", p)
			}
			if p.Line < last.Line || p.Line == last.Line && p.Column < last.Column {
				t.Errorf("out of order: %s after %s", p, last)
			}
			if p.Message == "" || strings.ContainsAny(p.Message, "\r\n") {
				t.Errorf("not one line: %q", p.Message)
			}
			last = p
		}
		if b != nil {
			checkBounds(t, b)
			checkDeployment(t, b.Deployment)
			checkNames(t, b)
		}
	})
}

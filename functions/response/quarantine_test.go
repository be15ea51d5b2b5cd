package main_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
)

// The steps of a quarantine in which everything is to be done, and is.
const allDone = "preserve-instance remediated, take-out-of-service remediated, isolate-network remediated, " +
	"cut-instance-credentials remediated, take-snapshots remediated"

// wantContained says what holds of an instance in quarantine, whatever it had.
func wantContained(t *testing.T, s *scene.Scene) {
	t.Helper()
	open, err := s.Open(t.Context())
	must(t, err)
	if len(open) > 0 {
		t.Errorf("packets are let through: %q", open)
	}
	w := worldOf(t, s)
	wantLines(t, w, scene.World{
		"termination protection of " + s.Instance: "true",
		"shutdown behavior of " + s.Instance:      "stop",
		"auto scaling group":                      "",
	})
	for name, line := range w {
		switch {
		case strings.HasPrefix(name, "volume ") && strings.HasSuffix(name, s.Instance) && !strings.HasSuffix(line, "deleted on termination: false"):
			t.Errorf("%s is %s", name, line)
		case strings.HasPrefix(name, "target group "), strings.HasPrefix(name, "classic load balancer "):
			if strings.Contains(line, s.Instance) {
				t.Errorf("%s still holds the instance: %s", name, line)
			}
		}
	}
	if s.RoleID != "" {
		wantCut(t, s, w)
	}
}

// wantCut says that the role's policies deny everything to this instance, and
// nothing to any other session.
func wantCut(t *testing.T, s *scene.Scene, w scene.World) {
	t.Helper()
	var policy struct {
		Statement struct {
			Effect, Action, Resource string
			Condition                map[string]map[string]string
		}
	}
	text := w[fmt.Sprintf("policy snapback-quarantine-%s of role %s", s.Instance, scene.Role)]
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		t.Fatalf("the policy of the instance is %q: %v", text, err)
	}
	p := policy.Statement
	if p.Effect != "Deny" || p.Action != "*" || p.Resource != "*" || len(p.Condition) != 1 || len(p.Condition["StringEquals"]) != 1 ||
		p.Condition["StringEquals"]["aws:userid"] != s.RoleID+":"+s.Instance {
		t.Errorf("the policy does not cut off %s:%s alone: %s", s.RoleID, s.Instance, text)
	}
}

// wantEvidence says that each volume has one snapshot that is held, and names
// case and finding.
func wantEvidence(t *testing.T, s *scene.Scene, caseID, finding string) {
	t.Helper()
	w := worldOf(t, s)
	for _, volume := range s.Volumes {
		snapshot, tags, _ := strings.Cut(w["evidence of "+volume], " ")
		want := fmt.Sprintf(`{"snapback:case":%q,"snapback:evidence":"held","snapback:finding":%q,"snapback:instance":%q}`, caseID, finding, s.Instance)
		if !strings.HasPrefix(snapshot, "snap-") || tags != want {
			t.Errorf("the evidence of %s is %q %s, want %s", volume, snapshot, tags, want)
		}
	}
}

const miningID = "5eed0000000000000000000000002001"

func TestInstanceInServiceIsContainedAndReleased(t *testing.T) {
	s := newSite(t, enforced)
	web := s.scene(scene.Options{})
	before := worldOf(t, web)

	s.found(web.Finding(sample(t, mining)))
	wantContained(t, web)
	c := s.oneCase(quarantine)
	wantEvidence(t, web, c.ID, miningID)
	if got := outcomesOf(c); got != allDone || c.Outcome != control.Remediated || c.State != "" || c.Closed.IsZero() {
		t.Errorf("the case is %s, and its steps are %s", c.Outcome, got)
	}
	a := s.told("CONTAINED")
	if a.Case != c.ID || a.Severity != control.High || a.Target.ID != web.Instance || len(a.Changes) != 5 {
		t.Errorf("the alert: %+v", a)
	}
	for _, change := range a.Changes {
		if change.Outcome != control.Remediated {
			t.Errorf("the alert says of %s: %s %s", change.Remedy, change.Outcome, change.Error)
		}
	}
	o := s.last(quarantine)
	t.Logf("%d calls: %v", len(o.Calls), o.Calls)

	answer := s.done(engine.Undo, c)
	wantWorld(t, web, before)
	if len(answer.Notes) > 0 || answer.Case.Outcome != control.Undone {
		t.Errorf("the undo left %q, and the case is %s", answer.Notes, answer.Case.Outcome)
	}
	if e := s.exemption(web); e == nil || e.Case != c.ID {
		t.Errorf("the exemption: %+v", e)
	}
	s.told("RELEASED")
	if again := s.command(engine.Undo, c); again.Verdict != engine.Misuse || !strings.Contains(again.Reason, "undone already") {
		t.Errorf("the second undo: %s: %s", again.Verdict, again.Reason)
	}
	wantWorld(t, web, before)
}

func TestBareInstanceIsContainedAndReleased(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options scene.Options
		steps   string
	}{
		{"with a role", scene.Options{Bare: true}, strings.Replace(allDone, "take-out-of-service remediated", "take-out-of-service compliant", 1)},
		{"without a profile", scene.Options{Bare: true, NoProfile: true}, strings.NewReplacer(
			"take-out-of-service remediated", "take-out-of-service compliant",
			"cut-instance-credentials remediated", "cut-instance-credentials compliant").Replace(allDone)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, enforced)
			box := s.scene(tt.options)
			before := worldOf(t, box)
			s.found(box.Finding(sample(t, mining)))
			wantContained(t, box)
			c := s.oneCase(quarantine)
			wantEvidence(t, box, c.ID, miningID)
			if got := outcomesOf(c); got != tt.steps || c.Outcome != control.Remediated {
				t.Errorf("the case is %s, and its steps are %s", c.Outcome, got)
			}
			s.told("CONTAINED")
			s.done(engine.Undo, c)
			wantWorld(t, box, before)
		})
	}
}

var _ = slices.Clone[[]string]

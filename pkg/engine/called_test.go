package engine_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// newCalled is a house whose runbook answers a call and not a finding: whoever
// opened the north door is to be kept out of the south one too. That the north
// door is open is the one reason for both, so it is gone with the first change.
func newCalled(t *testing.T, mode string, more ...string) *house {
	t.Helper()
	h := &house{stage: newStage(t, "observe"), doors: map[string]*door{"north": {}, "south": {}}}
	h.called = true
	for name := range h.doors {
		h.open(name)
	}
	lines := []string{"runbooks: {shut-doors: {mode: " + mode + "}}"}
	if mode == "" {
		lines = nil
	}
	h.engine = h.rebuild(append(lines, more...)...)
	return h
}

func (h *house) calledRunbook() control.Runbook {
	r := h.runbook()
	r.Findings, r.Targets, r.Severity = nil, nil, control.High
	r.Triggers = []control.Trigger{{
		Source: "s3.amazonaws.com", Names: []string{"DeleteBucketPublicAccessBlock"},
		Targets: func(*event.Call) []control.Target { return []control.Target{{ID: theHouse}} },
	}}
	r.Steps = nil
	for _, name := range []string{"north", "south"} {
		d := h.doors[name]
		remedy := h.remedy(name)
		remedy.Plan = func(ctx context.Context, s *cloud.Session, t control.Target) (*control.Change, error) {
			if now, err := isShut(ctx, s, "north"); now || err != nil {
				return nil, err
			}
			return d.plan(ctx, s, t, name)
		}
		remedy.Verify = func(ctx context.Context, s *cloud.Session, c control.Change) (*control.Change, error) {
			now, err := isShut(ctx, s, name)
			if now || err != nil {
				return nil, err
			}
			c.Before = []byte(`"open"`)
			return &c, nil
		}
		remedy.Resume = func(ctx context.Context, s *cloud.Session, c control.Change) (*control.Change, error) {
			return d.plan(ctx, s, c.Target, name)
		}
		r.Steps = append(r.Steps, control.Step{Remedy: remedy})
	}
	return r
}

// call is the event of the call that the runbook answers.
func (h *house) call() engine.Result {
	h.t.Helper()
	return h.handle(deleted)
}

func TestRunbookAnswersACallWithAllOfItsSteps(t *testing.T) {
	h := newCalled(t, "enforce")
	h.want(h.call(), control.Remediated, "")
	h.wantShut("north south")
	c := h.oneCase()
	if !c.Threat() || len(c.Findings) != 0 || c.Severity != control.High || c.Actor == nil {
		t.Errorf("the case is not that of a threat by an actor: %+v", c)
	}
	a := h.alerts()
	if len(a) != 1 || !strings.Contains(a[0].Text(), "CONTAINED") || !strings.Contains(a[0].Text(), "Runbook   shut-doors (HIGH)") ||
		!strings.Contains(a[0].Text(), "alice") {
		t.Errorf("want one alert that names the runbook and who it was, got %+v", a)
	}
	h.want(h.call(), control.Compliant, "")
	h.noAlert()
	h.answered(h.do(engine.Undo, c), engine.Done, "undone")
	h.wantShut("")
}

func TestRunbookThatAnswersCallsWaitsByDefault(t *testing.T) {
	h := newCalled(t, "")
	h.want(h.call(), control.AwaitingApproval, "")
	h.wantShut("")
	h.answered(h.do(engine.Approve, h.oneCase()), engine.Done, "")
	h.wantShut("north south")
}

// failings are how the second change can fail: it can't be made, or not even be
// planned in time. Its reason is gone once the first one is made: that must not be
// taken for done, or for nothing to do.
var failings = map[string]func(h *house, status int, code string){
	"made":    func(h *house, status int, code string) { h.refuse("south", status, code) },
	"planned": func(h *house, status int, code string) { h.unreadable("south", status, code) },
}

func TestWhatWasDecidedIsMadeAlthoughItsReasonIsGone(t *testing.T) {
	for name, fail := range failings {
		t.Run("it could not be "+name, func(t *testing.T) {
			h := newCalled(t, "enforce")
			fail(h, http.StatusServiceUnavailable, "SlowDown")
			if r := h.call(); r.Retry == nil {
				t.Fatalf("want to be handed out again, got %+v", r)
			}
			h.wantShut("north")
			h.faults.set(nil)
			h.want(h.call(), control.Remediated, "")
			h.wantShut("north south")
			if c := h.oneCase(); outcomes(c) != "north remediated, south remediated" {
				t.Errorf("the steps ended as %s", outcomes(c))
			}
			h.answered(h.do(engine.Undo, h.oneCase()), engine.Done, "undone")
			h.wantShut("")
		})
	}
}

func TestRetryMakesWhatFailedAlthoughItsReasonIsGone(t *testing.T) {
	for name, fail := range failings {
		t.Run("it could not be "+name, func(t *testing.T) {
			h := newCalled(t, "enforce")
			fail(h, http.StatusForbidden, "AccessDenied")
			h.want(h.call(), control.Partial, "")
			h.wantShut("north")
			h.faults.set(nil)
			h.want(h.call(), control.Compliant, "") // there is no new reason
			h.wantShut("north")
			h.answered(h.do(engine.Retry, h.oneCase()), engine.Done, "")
			h.wantShut("north south")
			h.answered(h.do(engine.Undo, h.oneCase()), engine.Done, "undone")
			h.wantShut("")
		})
	}
}

func TestCallAboutAnExemptResourceIsOnlyTold(t *testing.T) {
	h := newCalled(t, "enforce", `exemptions: [{runbook: shut-doors, resource: "arn:aws:ec2:us-east-1:222222222222:instance/`+theHouse+
		`", reason: x, owner: x, expires: `+time.Now().AddDate(0, 1, 0).Format(time.DateOnly)+`}]`)
	h.want(h.call(), control.Observed, "exempt")
	h.wantShut("")
	if a := h.alerts(); len(a) != 1 {
		t.Errorf("want one alert, got %d", len(a))
	}
	h.want(h.call(), control.Observed, "")
	h.noAlert()
}

func TestCallsAreCountedAsThreats(t *testing.T) {
	h := newCalled(t, "enforce", "limits: {threat-changes-per-account-per-hour: 1}")
	h.want(h.call(), control.Remediated, "")
	h.removeBlock("north")
	h.want(h.call(), control.Held, "against threats in account")
	h.wantShut("south")
	if c := h.cases()[0]; c.Gate != ledger.GateLimit {
		t.Errorf("the case waits at %q", c.Gate)
	}
}

func TestUndoMayKeepAChange(t *testing.T) {
	h := newCalled(t, "enforce")
	h.want(h.call(), control.Remediated, "")
	c := h.oneCase()
	undo := engine.Command{Name: engine.Undo, Case: c.ID, By: bob, Keep: []string{"shut-east"}}
	h.answered(h.engine.Do(t.Context(), undo), engine.Misuse, "nothing of it to keep")
	undo.Keep = []string{"shut-north"}
	h.answered(h.engine.Do(t.Context(), undo), engine.Done, "Left as it was changed: shut-north")
	h.wantShut("north")
	if a := h.alerts(); !strings.Contains(a[len(a)-1].Text(), "shut-north: left as it was changed") {
		t.Errorf("the alert does not say what was kept:\n%s", a[len(a)-1].Text())
	}
}

func TestUndoOfAStepThatSomebodyPutBackIsNotRefused(t *testing.T) {
	h := newCalled(t, "enforce")
	h.want(h.call(), control.Remediated, "")
	h.removeBlock("south")
	h.answered(h.do(engine.Undo, h.oneCase()), engine.Done, "undone")
	h.wantShut("")
}

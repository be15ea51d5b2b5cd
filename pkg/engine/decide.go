package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// decide asks the baseline for the target's mode. It costs a call only where an
// override of the baseline needs to know more than the account. If that can't
// be read, nothing may be changed: the violation, if there is one, is held.
func (w *walk) decide(ctx context.Context) error {
	about := baseline.Facts{Control: w.rule.id, Account: w.subject.Account, ARN: w.rule.ARN(w.subject), Now: time.Now()}
	if w.rule.runbook != nil {
		about.Runbook, about.FindingSeverity = true, w.rule.severity.Rating()
	}
	if w.finding != nil {
		about.FindingSeverity = w.finding.Severity
	}
	units, tags := w.Baseline.Needs(about)
	var err error
	if units {
		about.OrganizationalUnits, err = w.Facts.OrganizationalUnits(ctx, w.subject.Account)
	}
	if err == nil && tags && !w.rule.Untagged {
		var session *cloud.Session
		if session, err = w.session(ctx); err == nil {
			about.Tags, err = w.Facts.Tags(ctx, session, about.ARN)
		}
	}
	if err != nil {
		return &gateError{err: fmt.Errorf("ask what the baseline's overrides need to know: %w", err)}
	}
	w.decision = w.Baseline.Decide(about)
	w.sober()
	if w.decision.Mode == baseline.Off {
		return w.end(control.Ignored, "the "+w.rule.kind()+" is off: "+w.decision.Why)
	}
	x := w.decision.Exemption
	if x == nil {
		return nil
	}
	why := fmt.Sprintf("exempt until %s: %s (%s)", x.Expires.Format(time.DateOnly), x.Reason, x.Owner)
	if w.rule.runbook != nil {
		w.excuse(why)
		return nil
	}
	return w.end(control.Exempt, why)
}

// sober keeps a mode within what the rule can do: one that changes nothing
// observes, and one that is cautious or whose change can't be undone waits for a
// yes unless the baseline enforces this very rule by its ID.
func (w *walk) sober() {
	d := &w.decision
	switch {
	case !w.rule.changes() && d.Mode.AtMost(baseline.Observe) != d.Mode:
		d.Mode, d.Why = baseline.Observe, "the "+w.rule.kind()+" only reports"
	case d.Mode != baseline.Enforce || d.Explicit:
	case !w.rule.reversible():
		d.Mode, d.Why = baseline.Approve, "the change can't be undone, and no entry of the baseline enforces "+w.rule.id+" by its ID"
	case w.rule.cautious:
		d.Mode, d.Why = baseline.Approve, "the change reaches far, and no entry of the baseline enforces "+w.rule.id+" by its ID"
	}
}

// ended reports whether the walk has its outcome.
func (w *walk) ended() bool { return w.result.Outcome != "" }

func (w *walk) end(outcome control.Outcome, reason string) error {
	w.result.Outcome, w.result.Reason = outcome, reason
	return nil
}

// report copies what a case says into the result.
func (w *walk) report(c *ledger.Case) {
	w.result.Outcome, w.result.Reason, w.result.Case = c.Outcome, c.Reason, c.ID
	w.result.Changes = alert.FromCase(c).Changes
	if c.Held != "" {
		w.result.Reason += " " + c.Held
		return
	}
	for _, s := range c.Current() {
		if s.Error != "" && !strings.Contains(w.result.Reason, s.Error) { // several may fail of the same
			w.result.Reason += " " + s.Error
		}
	}
}

// fail ends a walk on which something went wrong. A violation whose gates
// can't be read is held and alerted, and the event is handed out again, so
// that it is neither changed unasked nor lost.
func (w *walk) fail(ctx context.Context, err error) {
	if err == nil {
		return
	}
	w.result.Retry = err
	var gate *gateError
	switch {
	case w.ended():
		w.result.Reason += " " + cloud.Reason(err)
	case errors.As(err, &gate) && !retryable(gate.err):
		_ = w.end(control.Held, cloud.Reason(gate.err))
		w.alertHeld(ctx, gate)
	default:
		_ = w.end(control.Failed, cloud.Reason(err))
	}
}

func (w *walk) alertHeld(ctx context.Context, gate *gateError) {
	reason := "Whether the resource is as the baseline wants it was not looked at."
	if gate.change != nil {
		reason = gate.change.Reason
	}
	var findings []ledger.Finding
	if w.finding != nil {
		findings = append(findings, *w.finding)
	}
	_, err := w.tell(ctx, alert.Alert{
		Runbook: w.rule.runbook != nil, Findings: findings, Drill: w.drill, Case: w.result.Case,
		Schema: alert.Schema, ID: w.origin.ID + "-" + w.rule.id + "-" + string(control.Held),
		Outcome: control.Held, Severity: w.rule.severity, Reason: reason, Error: cloud.Reason(gate.err),
		Mode: string(w.decision.Mode), Control: w.rule.id, Target: &w.subject, ARN: w.rule.ARN(w.subject),
		Account: w.target.Account, Region: w.target.Region, Event: w.origin, Actor: w.actor,
		Changes: []alert.Change{},
	})
	if err != nil {
		w.result.Reason += " " + cloud.Reason(err)
	}
}

// newCase is the case of what was found.
func (w *walk) newCase(gates ledger.Gates, p *plan) *ledger.Case {
	now := time.Now().UTC()
	c := &ledger.Case{
		Version: ledger.CaseVersion, ID: ledger.NewID(now),
		Control: w.rule.id, Severity: w.rule.severity, Target: w.target, ARN: w.rule.ARN(w.subject),
		Mode: string(w.decision.Mode), Baseline: w.Baseline.Digest, Decided: w.decided(gates),
		Event: w.origin, Actor: w.actor, Opened: now, Previous: gates.Latest, Drill: w.drill, Steps: w.steps(p),
		Runbook: w.rule.runbook != nil,
	}
	if f := w.finding; f != nil {
		c.Findings, c.Reason = []ledger.Finding{*f}, f.Title
		return c
	}
	if change := p.change(); change != nil {
		c.Reason = change.Reason
	}
	return c
}

// lease is until when a worker that works under ctx may hold a target: longer
// than it can live, and than a request of its can be under way after its end.
func lease(ctx context.Context) time.Time {
	const margin = 6 * time.Second
	if deadline, ok := ctx.Deadline(); ok {
		return deadline.Add(margin)
	}
	return time.Now().Add(2 * time.Minute)
}

// pause waits, and reports whether the context outlived the wait.
func pause(ctx context.Context, wait time.Duration) bool {
	if wait == 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

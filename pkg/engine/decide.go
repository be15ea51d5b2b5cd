package engine

import (
	"context"
	"errors"
	"fmt"
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
	about := baseline.Facts{
		Control: w.control.ID, Account: w.target.Account, ARN: w.control.ARN(w.target), Now: time.Now(),
	}
	units, tags := w.Baseline.Needs(w.control.ID, w.target.Account)
	var err error
	if units {
		about.OrganizationalUnits, err = w.Facts.OrganizationalUnits(ctx, w.target.Account)
	}
	if err == nil && tags && !w.control.Untagged {
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
	switch d := w.decision; {
	case d.Mode == baseline.Off:
		return w.end(control.Ignored, "the control is off: "+d.Why)
	case d.Exemption != nil:
		return w.end(control.Exempt, fmt.Sprintf("exempt until %s: %s (%s)",
			d.Exemption.Expires.Format(time.DateOnly), d.Exemption.Reason, d.Exemption.Owner))
	}
	return nil
}

// sober keeps a mode within what the control can do: one that changes nothing
// observes, and one whose change can't be undone waits for a yes unless the
// baseline enforces this very control by its ID.
func (w *walk) sober() {
	remedy, d := &w.control.Remedy, &w.decision
	switch {
	case remedy.Apply == nil && d.Mode.AtMost(baseline.Observe) != d.Mode:
		d.Mode, d.Why = baseline.Observe, "the control only reports"
	case remedy.Undo == nil && d.Mode == baseline.Enforce && !d.Explicit:
		d.Mode, d.Why = baseline.Approve, "the change can't be undone, and no entry of the baseline enforces "+w.control.ID+" by its ID"
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
	} else if s := c.Last(); s != nil && s.Error != "" {
		w.result.Reason += " " + s.Error
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
	_, err := w.tell(ctx, alert.Alert{
		Schema: alert.Schema, ID: w.origin.ID + "-" + w.control.ID + "-" + string(control.Held),
		Outcome: control.Held, Severity: w.control.Severity, Reason: reason, Error: cloud.Reason(gate.err),
		Mode: string(w.decision.Mode), Control: w.control.ID, Target: &w.target, ARN: w.control.ARN(w.target),
		Account: w.target.Account, Region: w.target.Region, Event: w.origin, Actor: w.actor,
		Changes: []alert.Change{},
	})
	if err != nil {
		w.result.Reason += " " + cloud.Reason(err)
	}
}

func (w *walk) newCase(gates ledger.Gates, change *control.Change) *ledger.Case {
	now := time.Now().UTC()
	c := &ledger.Case{
		Version: ledger.CaseVersion, ID: ledger.NewID(now),
		Control: w.control.ID, Severity: w.control.Severity, Target: w.target, ARN: w.control.ARN(w.target),
		Mode: string(w.decision.Mode), Baseline: w.Baseline.Digest, Decided: w.decided(gates),
		Event: w.origin, Actor: w.actor, Opened: now, Previous: gates.Latest,
	}
	if change != nil {
		c.Reason = change.Reason
		c.Steps = []ledger.Step{w.step(change)}
	}
	return c
}

func (w *walk) step(change *control.Change) ledger.Step {
	return ledger.Step{
		Remedy: w.control.Remedy.Name, Reason: change.Reason,
		Before: change.Before, After: change.After, Digest: change.Digest(),
		Irreversible: w.control.Remedy.Undo == nil,
	}
}

// verifyWaits are the waits before each read that verifies a change: AWS's
// reads may lag behind its writes, by seconds for S3 settings and IAM. 30 s in all.
var verifyWaits = []time.Duration{
	0, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
	4 * time.Second, 7 * time.Second, 15250 * time.Millisecond,
}

// verify plans again until that finds nothing to do.
func (w *walk) verify(ctx context.Context, session *cloud.Session, step *ledger.Step) {
	for _, wait := range verifyWaits {
		if !pause(ctx, wait) {
			break
		}
		change, err := w.control.Remedy.Plan(ctx, session, w.target)
		switch {
		case errors.Is(err, control.ErrGone):
			step.Outcome, step.Error = control.Gone, "the resource was deleted after it was changed"
			return
		case err != nil:
			step.Error = "The change was made, but it can't be read back: " + cloud.Reason(err)
		case change == nil:
			step.Outcome, step.Error, step.Verified = control.Remediated, "", time.Now().UTC()
			return
		default:
			step.Error = "The change was made, but reading it back shows: " + change.Reason
		}
	}
	step.Outcome = control.Failed
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

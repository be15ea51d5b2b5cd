package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// walk is the way of one rule and target: of one event, or of an operator's
// command about a case.
type walk struct {
	*Engine
	rule    *rule
	target  control.Target
	subject control.Target  // what is planned for: the target, but in a drill
	origin  ledger.Event    // the event that led here
	actor   *event.Actor    // who caused it; nil if the event names none
	finding *ledger.Finding // the finding that led here; nil if none did
	drill   bool            // the finding is a sample: nothing is changed
	noMore  string          // why a finding is only told of
	excused string          // why nothing is changed after a finding: an exemption
	foreign string          // why the event may not reach for the target; empty if it may

	// begun is a case whose changes are decided: what of them is still to be made is
	// verified and not planned anew. Nil: there is none.
	begun *ledger.Case

	decision baseline.Decision
	worker   ledger.Worker
	result   Result
}

// busyWaits are how long to wait for another worker on the same target before
// the event is handed out again, some four seconds in all.
var busyWaits = []time.Duration{
	50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond,
	800 * time.Millisecond, 1200 * time.Millisecond, 1200 * time.Millisecond,
}

// patiently does something again where another worker is on the target.
func patiently(ctx context.Context, do func() error) error {
	err := do()
	for _, wait := range busyWaits {
		if !errors.Is(err, ledger.ErrBusy) || !pause(ctx, wait) {
			break
		}
		err = do()
	}
	return err
}

// run walks, and waits where another worker is on the target. A panic fails
// this walk alone.
func (w *walk) run(ctx context.Context) (result Result) {
	ctx, recorder := cloud.Record(ctx)
	w.result = Result{
		Event: w.origin.ID, Control: w.rule.id, Target: &w.subject, EventTime: w.origin.Time, Changes: []alert.Change{},
	}
	defer func() {
		if p := recover(); p != nil {
			w.fail(ctx, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
		w.result.trace(recorder)
		result = w.result
	}()
	w.fail(ctx, patiently(ctx, func() error { return w.way(ctx) }))
	return w.result
}

// way is the way of one event. Live state decides: the event only named the
// target. ErrBusy means: another worker is on the target, look again.
func (w *walk) way(ctx context.Context) error {
	w.result.Outcome, w.result.Case = "", "" // an attempt before this one may have come close
	if w.foreign != "" {
		return w.refuse(ctx)
	}
	if err := w.decide(ctx); err != nil || w.ended() {
		return err
	}
	if len(w.rule.steps) == 0 {
		return w.tellOf(ctx)
	}
	p, gates, err := w.look(ctx)
	defer p.wait()
	switch {
	case err != nil:
		return w.unreadable(ctx, gates, err)
	case gates.Taken() && (gates.Begun() || !p.nothing()):
		return ledger.ErrBusy
	case gates.Begun():
		return w.takeOver(ctx, gates, p)
	case w.enforces() && w.hurries(gates) && p.urgentTodo():
		return w.open(ctx, gates, w.newCase(gates, p), p)
	}
	p.wait()
	return w.whole(ctx, gates, p)
}

// whole ends a walk whose target nobody else is on, once all is planned.
func (w *walk) whole(ctx context.Context, gates ledger.Gates, p *plan) error {
	switch {
	case w.drill:
		return w.rehearse(ctx, gates, p)
	case p.gone() != nil || p.nothing():
		return w.compliant(ctx, gates, p.gone())
	}
	if why := w.exemption(gates); why != "" {
		if w.rule.runbook == nil {
			return w.end(control.Exempt, why)
		}
		w.excuse(why)
	}
	return w.violation(ctx, gates, p)
}

// rehearse records what would be done after a sample finding, and tells the
// operators as of a drill.
func (w *walk) rehearse(ctx context.Context, gates ledger.Gates, p *plan) error {
	if err := p.transient(); err != nil {
		return err
	}
	c := w.newCase(gates, p)
	if p.gone() != nil {
		c.Steps, c.Held = nil, "The sample names a resource that does not exist, so no change could be planned."
	}
	c.Closed, c.Ended = c.Opened, "a drill: nothing was changed"
	return w.record(ctx, gates, c, control.Observed)
}

// tellOf records a finding about which nothing is done but to tell of it.
func (w *walk) tellOf(ctx context.Context) error {
	w.worker = ledger.NewWorker(lease(ctx))
	gates, err := w.Ledger.Read(ctx, w.question())
	if err != nil {
		return &gateError{err: err}
	}
	c := w.newCase(gates, &plan{})
	c.Held = w.noMore
	c.Closed, c.Ended = c.Opened, "nothing is done about such a finding but to tell of it"
	return w.record(ctx, gates, c, control.Observed)
}

// enforces reports whether the walk may make changes without asking.
func (w *walk) enforces() bool { return w.decision.Mode == baseline.Enforce && !w.drill }

// violation goes as far with a new case as its mode and the gates allow.
func (w *walk) violation(ctx context.Context, gates ledger.Gates, p *plan) error {
	if w.rule.runbook != nil && gates.Live == nil {
		if done, err := w.contained(ctx, gates, p, control.Partial); done || err != nil {
			return err
		}
	}
	c := w.newCase(gates, p)
	switch {
	case !p.todo(), w.decision.Mode.AtMost(baseline.Observe) == w.decision.Mode:
	case w.decision.Mode == baseline.Approve:
		if err := p.transient(); err != nil {
			return err // whoever approves is to see all
		}
		return w.await(ctx, gates, c)
	default:
		if h := w.held(gates); h != nil {
			return w.hold(ctx, gates, c, h)
		}
		return w.open(ctx, gates, c, p)
	}
	if err := p.transient(); err != nil {
		return err
	}
	if w.excused != "" {
		c.Held = "Nothing is changed: the resource is " + w.excused + "."
	}
	if gates.Stop != nil {
		c.Held = "Nothing is changed while Snapback is stopped: " + stopped(gates.Stop) + "."
	}
	return w.record(ctx, gates, c, control.Observed)
}

// open writes the case down and makes its change. If it can't be known whether
// it was written, it is given free, so that the next delivery need not wait for
// the lease to end. What the ledger refuses for good to write is not changed:
// the operators are told as if it could not be asked.
func (w *walk) open(ctx context.Context, gates ledger.Gates, c *ledger.Case, p *plan) error {
	err := w.Ledger.Open(ctx, c, gates, w.worker)
	switch {
	case errors.Is(err, ledger.ErrBusy):
		return err
	case err != nil:
		return w.release(ctx, c, unwritten(c, err))
	}
	return w.restore(ctx, c, p)
}

// takeOver finishes a case whose worker was killed or gave up. The first
// Before stays: an undo leads back to where the case began.
func (w *walk) takeOver(ctx context.Context, gates ledger.Gates, p *plan) (err error) {
	p.wait()
	if p, err = w.verifyAll(ctx, gates.Live.Case, p); err != nil {
		return err
	}
	moved := "" // what an approved change has become
	c, err := w.Ledger.TakeOver(ctx, gates.Live.Case, gates, w.worker, func(c *ledger.Case) {
		if w.finding != nil {
			c.Saw(*w.finding)
		}
		if p.gone() == nil {
			moved = w.resume(c, p)
		}
	})
	if err != nil {
		return err
	}
	exempt := w.exemption(gates)
	switch {
	case p.gone() != nil:
		vanished(c)
	case !p.todo() && p.transient() == nil:
	case exempt != "":
		w.park(c, "the change was begun, and the resource is exempt now: "+exempt)
	case gates.Stop != nil || c.Begun() == nil && w.decision.Mode != baseline.Enforce:
		w.park(c, "the change was begun, and the mode is now "+string(w.decision.Mode)+": "+w.decision.Why)
	case moved != "":
		w.park(c, "the change was approved and begun, and the resource has moved since: "+moved)
	default:
		return w.restore(ctx, c, p)
	}
	return w.settle(ctx, c)
}

// verifyAll is the plan of a walk that takes over a case: of what was decided in
// it, what is still to be made. The reason for a change may be gone with another
// one that was made.
func (w *walk) verifyAll(ctx context.Context, id string, p *plan) (*plan, error) {
	if w.begun != nil || !slices.ContainsFunc(w.rule.steps, func(s control.Step) bool { return s.Remedy.Verify != nil }) {
		return p, nil
	}
	var err error
	if w.begun, err = w.Ledger.Case(ctx, id); err != nil {
		return nil, err
	}
	p = w.plan(ctx)
	p.wait()
	return p, nil
}

// vanished ends the steps of a case whose resource is gone. What a killed worker
// may have made of them, on other resources too, an undo finds out.
func vanished(c *ledger.Case) {
	for _, s := range c.Current() {
		if s.Applied.IsZero() && s.Outcome == "" && len(s.After) > 0 {
			s.Applied = time.Now().UTC()
		}
		s.Outcome, s.Error = control.Gone, "the resource no longer exists"
	}
}

// resume brings the steps of a case that was begun to where a new plan stands,
// and says what an approved change has become if it would be another one now.
// What is approved does not change.
func (w *walk) resume(c *ledger.Case, p *plan) (moved string) {
	now := time.Now().UTC()
	for _, f := range p.steps {
		s := c.Step(f.step.Remedy.Name)
		if s == nil {
			c.Steps = append(c.Steps, ledger.Step{Remedy: f.step.Remedy.Name})
			s = &c.Steps[len(c.Steps)-1]
		}
		switch {
		case f.todo() && s.Digest != "":
			digest := begunDigest(c.Target, s, f.change)
			if c.Begun() != nil && digest != s.Digest {
				moved = f.change.Reason
				continue
			}
			fresh := w.step(f) // what it touches may be protected
			s.After, s.Digest, s.Outcome, s.Error = f.change.After, digest, fresh.Outcome, fresh.Error
			s.Touches, s.Left = fresh.Touches, fresh.Left
		case f.todo() && c.Begun() != nil:
			moved = f.change.Reason
		case f.err != nil && s.Digest != "":
			s.Outcome, s.Error = control.Unreadable, cloud.Reason(f.err)
		case f.err == nil && len(s.After) > 0: // it is made
			s.Outcome, s.Verified, s.Error, s.Left = control.Remediated, now, "", nil
			if f.change != nil {
				s.Left = f.change.Left
			}
			if s.Applied.IsZero() {
				s.Applied = now // whoever made it did not live to note when
			}
		default:
			*s = w.step(f)
		}
	}
	return moved
}

// begunDigest is the digest of the change that leads from where a step began to
// where a new plan would go.
func begunDigest(t control.Target, s *ledger.Step, plan *control.Change) string {
	return control.Change{Target: t, Before: s.Before, After: plan.After}.Digest()
}

// park holds a change that was begun and may not go on.
func (w *walk) park(c *ledger.Case, why string) {
	c.Gate, c.Held = ledger.GateMode, why
	for _, s := range c.Current() {
		if s.Outcome == "" {
			s.Outcome, s.Error = control.Held, why
		}
	}
}

// settle tells the operators how an open case ended, and closes it.
func (w *walk) settle(ctx context.Context, c *ledger.Case) error {
	c.Outcome = overall(c)
	w.report(c)
	if c.Outcome.Alerts() || c.Threat() { // that a compromised resource vanished is news
		if err := w.tellCase(ctx, c); err != nil {
			return w.release(ctx, c, err)
		}
	}
	if command := c.Begun(); command != nil { // until here it is still to be finished
		command.Result = string(c.Outcome)
	}
	return w.Ledger.Close(ctx, c, w.worker)
}

// tell sends an alert to where the baseline wants it, and reports whether that
// is anywhere. Every alert of an engine is sent here.
func (e *Engine) tell(ctx context.Context, a alert.Alert) (told bool, err error) {
	to, send := e.Baseline.Topic(a.Outcome, a.Severity)
	if !send {
		return false, nil
	}
	a.Version, a.Baseline = e.Version, e.Baseline.Digest
	return true, e.Alerts.Publish(ctx, to, a)
}

// tellCase sends the alert that tells of a case, and notes it in the case.
func (e *Engine) tellCase(ctx context.Context, c *ledger.Case) error {
	a := alert.FromCase(c)
	told, err := e.tell(ctx, a)
	if told && err == nil {
		c.Alerts = append(c.Alerts, ledger.Alerted{ID: a.ID, At: time.Now().UTC()})
	}
	return err
}

// release leaves an open case to the event's next delivery. It has a moment
// for that even when the walk's own time is over.
func (w *walk) release(ctx context.Context, c *ledger.Case, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return errors.Join(err, w.Ledger.Release(ctx, c, w.worker))
}

// await records a change that waits for an operator's yes. A no holds for as
// long as the change would wait.
func (w *walk) await(ctx context.Context, gates ledger.Gates, c *ledger.Case) error {
	if gates.Known(c, control.Denied) {
		w.result.Case = gates.Live.Case
		return w.end(control.Denied, "an operator said no to exactly this change: "+c.Reason)
	}
	c.Until = time.Now().UTC().Add(w.Baseline.Approvals.ExpireAfter)
	return w.record(ctx, gates, c, control.AwaitingApproval)
}

// record writes down a violation that is not changed, and tells the operators
// of it once: the same violation found again adds nothing.
func (w *walk) record(ctx context.Context, gates ledger.Gates, c *ledger.Case, outcome control.Outcome) error {
	c.Outcome = outcome
	w.report(c)
	a := alert.FromCase(c)
	_, send := w.Baseline.Topic(a.Outcome, a.Severity)
	// What a limit holds is told once for the limit, not for every violation.
	send = send && c.Gate != ledger.GateLimit
	if gates.Known(c, outcome) {
		return w.recordAgain(ctx, gates.Live, c, send)
	}
	alertBy := time.Time{}
	if send {
		alertBy = w.worker.Lease
	}
	if err := w.Ledger.Record(ctx, c, gates, alertBy); err != nil {
		w.result.Outcome = ""
		return unwritten(c, err)
	}
	if !send {
		return nil
	}
	return w.tellRecorded(ctx, c)
}

// recordAgain adds to a live case what a new one knows more than it, and tells
// the operators if whoever recorded it did not live to.
func (w *walk) recordAgain(ctx context.Context, live *ledger.Live, c *ledger.Case, send bool) error {
	w.result.Case, c.ID = live.Case, live.Case
	if w.actor != nil && !live.Actor {
		// AWS Config told of it first, which knows no actor: without him there is no
		// telling four eyes from two.
		if err := w.Ledger.Attribute(ctx, c); err != nil {
			return err
		}
	}
	if w.finding != nil {
		if err := w.saw(ctx, live.Case, live.Alerted && send); err != nil {
			return err
		}
	}
	switch {
	case live.Alerted || !send:
		return nil
	case time.Now().UnixMilli() < live.AlertLease:
		return ledger.ErrBusy // someone else is about to tell them, or was killed before
	}
	return w.tellRecorded(ctx, c)
}

// tellRecorded tells the operators of a recorded case, and notes whether they
// were told.
func (w *walk) tellRecorded(ctx context.Context, c *ledger.Case) error {
	a := alert.FromCase(c)
	if _, err := w.tell(ctx, a); err != nil {
		return errors.Join(err, w.Ledger.Alerted(ctx, c, ledger.Alerted{}))
	}
	return w.Ledger.Alerted(ctx, c, ledger.Alerted{ID: a.ID, At: time.Now().UTC()})
}

// saw notes a finding in a case that is there already. Another kind of threat to
// the same resource is news: if tell is set, the operators are told of it before
// it is noted, so that a worker killed between the two repeats the alert.
func (w *walk) saw(ctx context.Context, id string, tell bool) error {
	c, err := w.Ledger.Case(ctx, id)
	if err != nil {
		return err
	}
	return w.noteFinding(ctx, c, tell)
}

// noteFinding notes the walk's finding in a case, if it says more than the case.
func (w *walk) noteFinding(ctx context.Context, c *ledger.Case, tell bool) error {
	more, newType := c.Saw(*w.finding)
	if newType && tell {
		if err := w.tellCase(ctx, c); err != nil {
			return err
		}
	}
	if !more {
		return nil
	}
	return w.Ledger.Note(ctx, c)
}

// contained ends the walk of a finding, or a call, about a resource that this
// runbook has contained, as far as it could: it came again, or another one did. A
// finding is noted in the case. Not done: no case has contained the resource, or
// there is something to do besides what failed there and waits for an operator's
// retry.
func (w *walk) contained(ctx context.Context, gates ledger.Gates, p *plan, outcome control.Outcome) (done bool, err error) {
	if gates.Latest == "" {
		return false, nil
	}
	c, err := w.Ledger.Case(ctx, gates.Latest)
	if err != nil || c.Control != w.rule.id || c.Outcome != control.Remediated && c.Outcome != control.Partial || p.beyond(c) {
		return false, err
	}
	if w.finding != nil {
		if err := w.noteFinding(ctx, c, false); err != nil {
			return false, err
		}
	}
	w.result.Case = c.ID
	return true, w.end(outcome, "contained by case "+c.ID)
}

// compliant ends a walk that found nothing to do, or nothing at all.
func (w *walk) compliant(ctx context.Context, gates ledger.Gates, gone error) error {
	outcome, reason := control.Compliant, "as the baseline wants it"
	if gone != nil {
		outcome, reason = control.Gone, "the resource no longer exists"
	}
	if live := gates.Live; live != nil {
		if err := w.Ledger.Resolve(ctx, w.rule.id, w.target, *live, "found "+string(outcome)); err != nil {
			return err
		}
		w.result.Case = live.Case
	}
	if w.finding != nil && gone == nil {
		if done, err := w.contained(ctx, gates, &plan{}, outcome); done || err != nil {
			return err
		}
	}
	return w.end(outcome, reason)
}

// unreadable records that the live state can't be read, if retrying won't mend
// that.
func (w *walk) unreadable(ctx context.Context, gates ledger.Gates, err error) error {
	var gate *gateError
	if errors.As(err, &gate) || retryable(err) || gates.Begun() {
		return err // a change that was begun is not given up for another outcome
	}
	c := w.newCase(gates, &plan{})
	c.Reason = cloud.Reason(err)
	if w.drill {
		c.Closed, c.Ended = c.Opened, "a drill: nothing could be planned"
	}
	return w.record(ctx, gates, c, control.Unreadable)
}

// refuse ends a walk whose target belongs to another account than the event.
func (w *walk) refuse(ctx context.Context) error {
	_ = w.end(control.Refused, w.foreign)
	return w.alertRefused(ctx, w.origin, w.actor, w.foreign)
}

func (w *walk) session(ctx context.Context) (*cloud.Session, error) {
	return w.Sessions.For(ctx, w.target.Account, w.target.Region, w.origin.ID)
}

// gateError says that a violation was found, or may be there, and that it
// can't be asked whether it may be changed, or not be written down that it is.
// So it is not.
type gateError struct {
	change *control.Change
	err    error
}

// unwritten says that a case could not be written down.
func unwritten(c *ledger.Case, err error) error {
	if errors.Is(err, ledger.ErrBusy) {
		return err
	}
	var change *control.Change
	for _, s := range c.Current() {
		if s.Digest != "" && change == nil {
			of := c.Change(s)
			change = &of
		}
	}
	return &gateError{change, err}
}

func (g *gateError) Error() string { return g.err.Error() }

func (g *gateError) Unwrap() error { return g.err }

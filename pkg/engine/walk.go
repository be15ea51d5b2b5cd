package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// walk is the way of one control and target: of one event, or of an operator's
// command about a case.
type walk struct {
	*Engine
	control  *control.Control
	target   control.Target
	origin   ledger.Event // the event that led here
	actor    *event.Actor // who caused it; nil if the event names none
	foreign  string       // why the event may not reach for the target; empty if it may
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
		Event: w.origin.ID, Control: w.control.ID, Target: &w.target, EventTime: w.origin.Time, Changes: []alert.Change{},
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
	w.result.Outcome = "" // an attempt before this one may have come close
	if w.foreign != "" {
		return w.refuse(ctx)
	}
	if err := w.decide(ctx); err != nil || w.ended() {
		return err
	}
	change, gates, err := w.look(ctx)
	switch {
	case err != nil && !errors.Is(err, control.ErrGone):
		return w.unreadable(ctx, gates, err)
	case gates.Taken() && (gates.Begun() || change != nil):
		return ledger.ErrBusy
	case gates.Begun():
		return w.takeOver(ctx, gates, change, err)
	case change == nil:
		return w.compliant(ctx, gates, err)
	case w.exempt(gates):
		return nil
	}
	return w.violation(ctx, gates, w.newCase(gates, change))
}

// violation goes as far with a new case as its mode and the gates allow.
func (w *walk) violation(ctx context.Context, gates ledger.Gates, c *ledger.Case) error {
	switch w.decision.Mode {
	case baseline.Enforce:
		if held, err := w.hold(ctx, gates, c); held || err != nil {
			return err
		}
		return w.open(ctx, gates, c)
	case baseline.Approve:
		return w.await(ctx, gates, c)
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
func (w *walk) open(ctx context.Context, gates ledger.Gates, c *ledger.Case) error {
	err := w.Ledger.Open(ctx, c, gates, w.worker)
	switch {
	case errors.Is(err, ledger.ErrBusy):
		return err
	case err != nil:
		return w.release(ctx, c, unwritten(c, err))
	}
	return w.restore(ctx, c)
}

// restore makes the change of an open case, reads it back, tells the operators
// and closes the case. The alert goes out before the case is closed: a worker
// killed between the two repeats the alert rather than losing it.
func (w *walk) restore(ctx context.Context, c *ledger.Case) error {
	session, err := w.session(ctx)
	step := c.Last()
	if err == nil {
		err = w.control.Remedy.Apply(ctx, session, step.Change(c.Target))
	}
	switch {
	case retryable(err):
		step.Error = cloud.Reason(err)
		return w.release(ctx, c, err)
	case errors.Is(err, control.ErrGone):
		step.Outcome, step.Error = control.Gone, "the resource was deleted before it could be changed"
	case err != nil:
		step.Outcome, step.Error = control.Failed, cloud.Reason(err)
	default:
		step.Applied = time.Now().UTC()
		w.result.Contained = step.Applied
		w.verify(ctx, session, step)
	}
	return w.settle(ctx, c)
}

// takeOver finishes a case whose worker was killed or gave up. The first
// Before stays: an undo leads back to where the case began.
func (w *walk) takeOver(ctx context.Context, gates ledger.Gates, change *control.Change, gone error) error {
	var now string // the digest of the change as it is now, from the first Before
	c, err := w.Ledger.TakeOver(ctx, gates.Live.Case, gates, w.worker, func(c *ledger.Case) {
		if change != nil {
			now = begunDigest(c, change)
			if c.Begun() == nil {
				c.Last().After, c.Last().Digest = change.After, now
			}
		}
	})
	if err != nil {
		return err
	}
	step, approved := c.Last(), c.Begun()
	step.Error = ""
	switch {
	case gone != nil:
		step.Outcome, step.Error = control.Gone, "the resource no longer exists"
	case change == nil:
		step.Outcome, step.Verified = control.Remediated, time.Now().UTC()
		if step.Applied.IsZero() {
			step.Applied = step.Verified // whoever made it did not live to note when
		}
	case w.exempt(gates):
		w.park(c, "the change was begun, and the resource is exempt now: "+w.result.Reason)
	case gates.Stop != nil || approved == nil && w.decision.Mode != baseline.Enforce:
		w.park(c, "the change was begun, and the mode is now "+string(w.decision.Mode)+": "+w.decision.Why)
	case now != c.Digest():
		w.park(c, "the change was approved and begun, and the resource has moved since: "+change.Reason)
	default:
		return w.restore(ctx, c)
	}
	return w.settle(ctx, c)
}

// begunDigest is the digest of the change that leads from where a case began to
// where a new plan would go.
func begunDigest(c *ledger.Case, plan *control.Change) string {
	return control.Change{Target: c.Target, Before: c.Last().Before, After: plan.After}.Digest()
}

// park holds a change that was begun and may not go on.
func (w *walk) park(c *ledger.Case, why string) {
	c.Gate, c.Held = ledger.GateMode, why
	c.Last().Outcome, c.Last().Error = control.Held, why
}

// settle tells the operators how an open case ended, and closes it.
func (w *walk) settle(ctx context.Context, c *ledger.Case) error {
	c.Outcome = c.Last().Outcome
	w.report(c)
	if c.Outcome.Alerts() {
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
// is anywhere.
func (e *Engine) tell(ctx context.Context, a alert.Alert) (told bool, err error) {
	to, send := e.Baseline.Topic(a.Outcome, a.Severity)
	if !send {
		return false, nil
	}
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

// compliant ends a walk that found nothing to do, or nothing at all.
func (w *walk) compliant(ctx context.Context, gates ledger.Gates, gone error) error {
	outcome, reason := control.Compliant, "as the baseline wants it"
	if gone != nil {
		outcome, reason = control.Gone, "the resource no longer exists"
	}
	if live := gates.Live; live != nil {
		if err := w.Ledger.Resolve(ctx, w.control.ID, w.target, *live, "found "+string(outcome)); err != nil {
			return err
		}
		w.result.Case = live.Case
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
	c := w.newCase(gates, nil)
	c.Reason = cloud.Reason(err)
	return w.record(ctx, gates, c, control.Unreadable)
}

// refuse ends a walk whose target belongs to another account than the event.
func (w *walk) refuse(ctx context.Context) error {
	_ = w.end(control.Refused, w.foreign)
	return w.alertRefused(ctx, w.origin, w.actor, w.foreign)
}

// recently is longer than a plan takes and the clocks of two workers differ.
const recently = 30 * time.Second

// look plans and reads the gates side by side, and weakens the decision by what
// the gates say. A violation whose gates can't be read is a *gateError; without
// a violation the gates don't matter.
func (w *walk) look(ctx context.Context) (*control.Change, ledger.Gates, error) {
	w.worker = ledger.NewWorker(lease(ctx))
	var gates ledger.Gates
	var gateErr error
	var side sync.WaitGroup
	side.Go(func() { gates, gateErr = w.Ledger.Read(ctx, w.question()) })
	session, err := w.session(ctx)
	var change *control.Change
	if err == nil {
		change, err = w.control.Remedy.Plan(ctx, session, w.target)
	}
	side.Wait()
	if change != nil && gateErr == nil && time.Since(gates.Released) < recently {
		// Another worker left the target while this plan was made, perhaps: its
		// change may not be in it. This plan is younger than the gates, and the case
		// opens only if nobody came and went since they were read.
		change, err = w.control.Remedy.Plan(ctx, session, w.target)
	}
	if gateErr != nil && (change != nil || err != nil && !errors.Is(err, control.ErrGone)) {
		return nil, gates, &gateError{change, gateErr}
	}
	w.weaken(gates)
	return change, gates, err
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
	if step := c.Last(); step != nil {
		of := step.Change(c.Target)
		change = &of
	}
	return &gateError{change, err}
}

func (g *gateError) Error() string { return g.err.Error() }

func (g *gateError) Unwrap() error { return g.err }

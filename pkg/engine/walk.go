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

// walk is the way of one event for one control and target.
type walk struct {
	*Engine
	event    *event.Event
	control  *control.Control
	target   control.Target
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

// run walks, and waits where another worker is on the target. A panic fails
// this walk alone.
func (w *walk) run(ctx context.Context) (result Result) {
	ctx, recorder := cloud.Record(ctx)
	w.result = Result{
		Event: w.event.ID, Control: w.control.ID, Target: &w.target, EventTime: source(w.event).Time, Changes: []alert.Change{},
	}
	defer func() {
		if p := recover(); p != nil {
			w.fail(ctx, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
		w.result.trace(recorder)
		result = w.result
	}()
	err := w.way(ctx)
	for _, wait := range busyWaits {
		if !errors.Is(err, ledger.ErrBusy) || !pause(ctx, wait) {
			break
		}
		err = w.way(ctx)
	}
	w.fail(ctx, err)
	return w.result
}

// way is the way of one event. Live state decides: the event only named the
// target. ErrBusy means: another worker is on the target, look again.
func (w *walk) way(ctx context.Context) error {
	w.result.Outcome = "" // an attempt before this one may have come close
	if why := w.target.Foreign(w.event); why != "" {
		return w.refuse(ctx, why)
	}
	if err := w.decide(ctx); err != nil || w.ended() {
		return err
	}
	w.worker = ledger.NewWorker(lease(ctx))
	change, gates, err := w.look(ctx)
	switch {
	case err != nil && !errors.Is(err, control.ErrGone):
		return w.unreadable(ctx, gates, err)
	case gates.Taken() && (gates.Begun() || change != nil):
		return ledger.ErrBusy
	case gates.Begun():
		return w.takeOver(ctx, gates.Live.Case, change, err)
	case change == nil:
		return w.compliant(ctx, gates, err)
	case w.decision.Mode == baseline.Approve:
		return w.record(ctx, gates, control.AwaitingApproval, change.Reason, change)
	case w.decision.Mode != baseline.Enforce || w.control.Remedy.Apply == nil:
		return w.record(ctx, gates, control.Observed, change.Reason, change)
	}
	c := w.newCase(gates, change)
	if err := w.Ledger.Open(ctx, c, gates, w.worker); err != nil {
		return err
	}
	return w.restore(ctx, c)
}

// restore makes the change of an open case, reads it back, tells the operators
// and closes the case. The alert goes out before the case is closed: a worker
// killed between the two repeats the alert rather than losing it.
func (w *walk) restore(ctx context.Context, c *ledger.Case) error {
	session, err := w.session(ctx)
	step := &c.Steps[0]
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
func (w *walk) takeOver(ctx context.Context, id string, change *control.Change, gone error) error {
	c, err := w.Ledger.TakeOver(ctx, id, w.worker, func(c *ledger.Case) {
		if change != nil {
			c.Steps[0].After, c.Steps[0].Digest = change.After, control.Change{
				Target: c.Target, Before: c.Steps[0].Before, After: change.After,
			}.Digest()
		}
	})
	if err != nil {
		return err
	}
	step := &c.Steps[0]
	step.Error = ""
	switch {
	case gone != nil:
		step.Outcome, step.Error = control.Gone, "the resource no longer exists"
	case change == nil:
		step.Outcome, step.Verified = control.Remediated, time.Now().UTC()
	case change != nil && w.decision.Mode == baseline.Enforce:
		return w.restore(ctx, c)
	case change != nil:
		step.Outcome, step.Error = control.Held, "the change was begun, and the baseline now says "+string(w.decision.Mode)
	}
	return w.settle(ctx, c)
}

// settle tells the operators how an open case ended, and closes it.
func (w *walk) settle(ctx context.Context, c *ledger.Case) error {
	c.Outcome = c.Steps[0].Outcome
	w.report(c)
	if c.Outcome.Alerts() {
		if err := w.Alerts.Publish(ctx, alert.FromCase(c)); err != nil {
			return w.release(ctx, c, err)
		}
		c.Alerted = time.Now().UTC()
	}
	return w.Ledger.Close(ctx, c, w.worker)
}

// release leaves an open case to the event's next delivery. It has a moment
// for that even when the walk's own time is over.
func (w *walk) release(ctx context.Context, c *ledger.Case, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return errors.Join(err, w.Ledger.Release(ctx, c, w.worker))
}

// record writes down a violation that is not changed, and tells the operators
// of it once: the same violation found again adds nothing.
func (w *walk) record(ctx context.Context, gates ledger.Gates, outcome control.Outcome, reason string, change *control.Change) error {
	c := w.newCase(gates, change)
	c.Outcome, c.Reason = outcome, reason
	w.report(c)
	if live := gates.Live; live != nil && live.State == ledger.State(outcome) && live.Digest == c.Digest() {
		w.result.Case = live.Case
		if live.Alerted || time.Now().UnixMilli() < live.AlertLease {
			return nil
		}
		c.ID = live.Case // whoever recorded it did not live to tell
	} else if err := w.Ledger.Record(ctx, c, gates, w.worker.Lease); err != nil {
		return err
	}
	if err := w.Alerts.Publish(ctx, alert.FromCase(c)); err != nil {
		return errors.Join(err, w.Ledger.Alerted(ctx, c, time.Time{}))
	}
	return w.Ledger.Alerted(ctx, c, time.Now())
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
	return w.record(ctx, gates, control.Unreadable, cloud.Reason(err), nil)
}

// refuse ends a walk whose target belongs to another account than the event.
func (w *walk) refuse(ctx context.Context, why string) error {
	_ = w.end(control.Refused, why)
	return w.alertRefused(ctx, source(w.event), actor(w.event), why)
}

// recently is longer than a plan takes and the clocks of two workers differ.
const recently = 30 * time.Second

// look plans and reads the gates side by side. A violation whose gates can't
// be read is a *gateError; without a violation the gates don't matter.
func (w *walk) look(ctx context.Context) (*control.Change, ledger.Gates, error) {
	var gates ledger.Gates
	var gateErr error
	var side sync.WaitGroup
	side.Go(func() { gates, gateErr = w.Ledger.Read(ctx, w.control.ID, w.target) })
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
	return change, gates, err
}

func (w *walk) session(ctx context.Context) (*cloud.Session, error) {
	return w.Sessions.For(ctx, w.target.Account, w.target.Region, w.event.ID)
}

// gateError says that a violation was found, or may be there, and that it
// can't be asked whether it may be changed. So it is not.
type gateError struct {
	change *control.Change
	err    error
}

func (g *gateError) Error() string { return g.err.Error() }

func (g *gateError) Unwrap() error { return g.err }

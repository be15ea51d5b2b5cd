package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// defaultExemption is how long a resource is exempt after an undo that says
// nothing else: a working day and a night to decide.
const defaultExemption = 24 * time.Hour

// undo puts back what was there before a case, in reverse order of its steps,
// if the resource is still as the case left it. Before anything is changed the
// case and an exemption are written, which keeps the event that the undo itself
// causes from making the change again.
//
// The kill switch does not stop an undo: taking changes back is what it is
// turned for.
func (w *walk) undo(ctx context.Context, cmd Command, c *ledger.Case) (Answer, error) {
	if a, err := w.undoable(cmd, c); a.Verdict != "" {
		return a, err
	}
	w.worker = ledger.NewWorker(lease(ctx))
	gates, err := w.Ledger.Read(ctx, w.question())
	switch {
	case err != nil:
		return Answer{}, err
	case gates.Taken():
		return Answer{}, ledger.ErrBusy
	case gates.Begun():
		return notBefore(gates)
	}
	session, err := w.session(ctx)
	if err != nil {
		return Answer{}, err
	}
	exemption := w.exemptionFor(cmd, c, gates)
	again := c.State == ledger.Undoing // an attempt before this one did not live to tell how it ended
	if !again {
		note := command(cmd, c)
		c.Commands = append(c.Commands, note)
	}
	if err := w.Ledger.Undo(ctx, c, gates, w.worker, exemption); err != nil {
		return Answer{}, err
	}
	left, failed := w.undoSteps(ctx, session, c, again)
	if retryable(failed) { // it stays begun: what of it is done is not known
		return Answer{Case: c}, w.release(ctx, c, failed)
	}
	before := gates.Exemption
	if before != nil && before.Case == c.ID { // made by an attempt before this one
		exemption, before = cmp.Or(exemption, before), nil
	}
	if failed != nil {
		return w.notUndone(ctx, c, exemption, before, failed)
	}
	return w.undone(ctx, c, cmp.Or(exemption, before), left)
}

// undoable says why a case can't be undone; the answer is empty if it can.
func (w *walk) undoable(cmd Command, c *ledger.Case) (Answer, error) {
	if a, err := keepable(cmd, c); a.Verdict != "" {
		return a, err
	}
	longest := w.longestExemption()
	changed, irreversible := 0, ""
	for _, s := range c.Steps {
		if !s.Applied.IsZero() && !slices.Contains(cmd.Keep, s.Remedy) {
			changed++
			if remedy := w.rule.remedy(s.Remedy); s.Irreversible || remedy == nil || remedy.Undo == nil {
				irreversible = s.Remedy
			}
		}
	}
	show := "`snapback cases show " + c.ID + "` tells its story"
	switch {
	case c.State == ledger.Undoing:
	case c.Outcome == control.Undone:
		return misuse("case %s is undone already: %s", c.ID, show)
	case c.State != "":
		return misuse("case %s is %s: only what a closed case changed can be undone: %s", c.ID, Standing(c), show)
	case changed == 0:
		return misuse("case %s is %s and changed nothing: there is nothing to undo: %s", c.ID, Standing(c), show)
	}
	switch {
	case irreversible != "":
		return misuse("case %s can't be undone: %s is a change that AWS does not let us reverse; what was there before is in `snapback cases show %s`",
			c.ID, irreversible, c.ID)
	case cmd.For < 0 || cmd.For > longest:
		return misuse("an exemption of %s is longer than the %d days that the baseline allows (limits.exemption-days)", cmd.For, w.Baseline.Limits.ExemptionDays)
	}
	return Answer{}, nil
}

// keepable says why a change can't be kept; the answer is empty if all can that
// the command names.
func keepable(cmd Command, c *ledger.Case) (Answer, error) {
	for _, name := range cmd.Keep {
		if s := c.Step(name); s == nil || s.Applied.IsZero() {
			return misuse("case %s changed nothing by %q, so there is nothing of it to keep: `snapback cases show %s` tells its story", c.ID, name, c.ID)
		}
	}
	return Answer{}, nil
}

// exemptionFor is the exemption that an undo makes; nil if one is in force that
// lasts as long.
func (w *walk) exemptionFor(cmd Command, c *ledger.Case, gates ledger.Gates) *ledger.Exemption {
	now := time.Now().UTC()
	last := cmd.For
	if last == 0 {
		last = min(defaultExemption, w.longestExemption())
	}
	if e := gates.Exemption; e.InForce(now, w.longestExemption()) && !e.Until.Before(now.Add(last)) {
		return nil
	}
	reason := "case " + c.ID + " was undone"
	if cmd.Why != "" {
		reason += ": " + cmd.Why
	}
	return &ledger.Exemption{
		Control: c.Control, Resource: w.rule.ARN(c.Target), Reason: reason, Owner: cmd.By.ARN,
		Created: now, Until: now.Add(last), By: cmd.By, Case: c.ID,
	}
}

// undoSteps undoes the steps, the last one first, and reads each back. What no
// longer exists can't be put back: left says so, in a sentence each.
func (w *walk) undoSteps(ctx context.Context, session *cloud.Session, c *ledger.Case, again bool) (left []string, err error) {
	for i := range slices.Backward(c.Steps) {
		step := &c.Steps[i]
		if step.Applied.IsZero() || !step.Undone.IsZero() || slices.Contains(c.Begun().Keep, step.Remedy) {
			continue
		}
		remedy := w.rule.remedy(step.Remedy)
		err := remedy.Undo(ctx, session, c.Change(step))
		var moved *control.MovedError
		var lost *control.LeftError
		step.Left = nil
		switch {
		case err == nil:
			if err := w.verifyUndone(ctx, session, remedy, c.Change(step), step); err != nil {
				return left, err
			}
		case errors.As(err, &lost):
			step.Left = lost.Left
		case errors.Is(err, control.ErrGone) && w.rule.runbook != nil:
			step.Left = []string{"The resource no longer exists."}
		case (again || w.mayBeBack(c)) && errors.As(err, &moved) && equalJSON(moved.Now, step.Before):
			// The attempt before this one put it back.
		default:
			return left, err
		}
		for _, l := range step.Left {
			left = append(left, step.Remedy+": "+l)
		}
		step.Undone = time.Now().UTC()
	}
	return left, nil
}

// mayBeBack tells whether a step of a case may be as before without an undo: it was
// never made, as the resource was gone, or of several steps somebody put it back by
// hand.
func (w *walk) mayBeBack(c *ledger.Case) bool {
	return c.Outcome == control.Gone || w.rule.runbook != nil
}

// verifyUndone reads until a plan finds the state that was put back.
func (w *walk) verifyUndone(ctx context.Context, session *cloud.Session, remedy *control.Remedy, made control.Change, step *ledger.Step) error {
	var last error
	for _, wait := range verifyWaits {
		if !pause(ctx, wait) {
			break
		}
		change, err := stillToDo(ctx, session, remedy, made)
		switch {
		case errors.Is(err, control.ErrGone) && w.rule.runbook != nil:
			return nil // what was put back belongs to another resource than the target
		case err != nil:
			last = fmt.Errorf("what was there before was put back, but it can't be read back: %w", err)
		case change != nil && equalJSON(change.Before, step.Before):
			return nil
		case change == nil:
			last = fmt.Errorf("%s was put back, but reading it back shows what the change had made of it", step.Before)
		default:
			last = fmt.Errorf("%s was put back, but reading it back shows %s", step.Before, change.Before)
		}
	}
	return last
}

// undone tells the operators of an undo and writes down how it ended.
func (w *walk) undone(ctx context.Context, c *ledger.Case, exemption *ledger.Exemption, left []string) (Answer, error) {
	c.Outcome, c.Until = control.Undone, exemption.Until
	if err := w.tellCase(ctx, c); err != nil {
		return Answer{Case: c}, w.release(ctx, c, err)
	}
	c.Begun().Result = string(control.Undone)
	a, _ := done("undone: what was there before case %s is back, and %s is exempt from %s until %s",
		c.ID, c.ARN, c.Control, exemption.Until.UTC().Format(time.RFC3339))
	if len(left) > 0 {
		a.Reason = fmt.Sprintf("undone as far as that was possible, and %s is exempt from %s until %s. Not put back: %s",
			c.ARN, c.Control, exemption.Until.UTC().Format(time.RFC3339), strings.Join(left, " "))
	}
	if keep := c.Commands[len(c.Commands)-1].Keep; len(keep) > 0 {
		a.Reason += ". Left as it was changed: " + strings.Join(keep, ", ")
	}
	a.Case, a.Exemption, a.Notes = c, exemption, left
	return a, w.Ledger.Undone(ctx, c, w.worker, nil, nil)
}

// notUndone writes down why nothing could be undone. If nothing was, the
// exemption goes again, and the one before it comes back.
func (w *walk) notUndone(ctx context.Context, c *ledger.Case, exemption, before *ledger.Exemption, failed error) (Answer, error) {
	why, made := cloud.Reason(failed), "nothing was undone"
	a := Answer{Verdict: NotSo, Case: c}
	var moved *control.MovedError
	if errors.As(failed, &moved) {
		why = "the resource is no longer as the case left it. Set by hand what it should be, and exempt it (`snapback exempt add`)"
		remedy := ""
		for i := range slices.Backward(c.Steps) { // the one that was refused
			if s := &c.Steps[i]; remedy == "" && !s.Applied.IsZero() && s.Undone.IsZero() {
				remedy = s.Remedy
			}
		}
		a.Shown = &alert.Change{Remedy: remedy, Before: []byte(moved.Change.Before), After: []byte(moved.Change.After), Digest: moved.Change.Digest()}
		a.Now = &alert.Change{Remedy: remedy, Before: []byte(moved.Change.Before), After: []byte(moved.Now)}
	}
	if slices.ContainsFunc(c.Steps, func(s ledger.Step) bool { return !s.Undone.IsZero() }) {
		made = "only some of it could be undone"
		exemption, before = nil, nil
	}
	a.Reason = made + ": " + why
	c.Begun().Result = "not undone: " + cloud.Reason(failed)
	return a, w.Ledger.Undone(ctx, c, w.worker, exemption, before)
}

// equalJSON reports whether two JSON texts have the same value.
func equalJSON(a, b json.RawMessage) bool {
	decode := func(text []byte) (v any, err error) {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		err = d.Decode(&v)
		return v, err
	}
	x, errX := decode(a)
	y, errY := decode(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// plan is what planning the steps of a rule came to, side by side.
type plan struct {
	steps []found
	made  []chan struct{} // of each step, closed once it is planned
}

// found is what planning one step came to.
type found struct {
	step   *control.Step
	change *control.Change // nil: there is nothing to do
	err    error
}

// todo reports whether the step has something to change.
func (f *found) todo() bool { return f.change != nil && !f.change.Report() }

// plan begins to plan every step. Nothing of a step may be read before it is
// waited for.
func (w *walk) plan(ctx context.Context) *plan {
	p := &plan{steps: make([]found, len(w.rule.steps)), made: make([]chan struct{}, len(w.rule.steps))}
	session, err := w.session(ctx)
	for i := range p.steps {
		f := &p.steps[i]
		f.step, p.made[i] = &w.rule.steps[i], make(chan struct{})
		if err != nil {
			f.err = err
			close(p.made[i])
			continue
		}
		go func() {
			defer close(p.made[i])
			defer recovered(&f.err)
			f.change, f.err = w.planStep(ctx, session, &f.step.Remedy)
		}()
	}
	return p
}

// planStep plans one step or, in a case that was begun, tells what of the change
// that was decided is still to be made. What was not decided there, since it could
// not be planned or is held, is planned knowing that something was: its own reason
// may be gone with that.
func (w *walk) planStep(ctx context.Context, session *cloud.Session, remedy *control.Remedy) (*control.Change, error) {
	if w.begun == nil {
		return remedy.Plan(ctx, session, w.subject)
	}
	if s := w.begun.Step(remedy.Name); s != nil && len(s.After) > 0 && s.Outcome != control.Held {
		return stillToDo(ctx, session, remedy, w.begun.Change(s))
	}
	decided := slices.IndexFunc(w.begun.Steps, func(s ledger.Step) bool { return len(s.After) > 0 })
	if remedy.Resume == nil || decided < 0 {
		return remedy.Plan(ctx, session, w.subject)
	}
	return remedy.Resume(ctx, session, w.begun.Change(&w.begun.Steps[decided]))
}

// stillToDo is what of a change that was decided is still to be made; nil if
// nothing is.
func stillToDo(ctx context.Context, session *cloud.Session, remedy *control.Remedy, c control.Change) (*control.Change, error) {
	if remedy.Verify == nil {
		return remedy.Plan(ctx, session, c.Target)
	}
	return remedy.Verify(ctx, session, c)
}

// wait waits until every step is planned.
func (p *plan) wait() {
	for _, made := range p.made {
		<-made
	}
}

// waitUrgent waits until the urgent steps are planned.
func (p *plan) waitUrgent() {
	for i, made := range p.made {
		if p.steps[i].step.Urgent {
			<-made
		}
	}
}

// ready reports whether a step is planned.
func (p *plan) ready(i int) bool {
	select {
	case <-p.made[i]:
		return true
	default:
		return false
	}
}

// gone is the error that says that the resource no longer exists; nil if it does.
func (p *plan) gone() error {
	for _, f := range p.steps {
		if errors.Is(f.err, control.ErrGone) {
			return f.err
		}
	}
	return nil
}

// failed is why no step could be planned, if none could.
func (p *plan) failed() error {
	var first error
	for _, f := range p.steps {
		if f.err == nil {
			return nil
		}
		if first == nil || retryable(f.err) {
			first = f.err
		}
	}
	return first
}

// transient is an error that planning again may mend; nil if there is none.
func (p *plan) transient() error {
	for _, f := range p.steps {
		if retryable(f.err) {
			return f.err
		}
	}
	return nil
}

// urgentTodo reports whether an urgent step has something to change. It reads
// nothing of the others.
func (p *plan) urgentTodo() bool {
	for i := range p.steps {
		if f := &p.steps[i]; f.step.Urgent && f.todo() {
			return true
		}
	}
	return false
}

// nothing reports whether there is nothing to do, or nothing at all.
func (p *plan) nothing() bool {
	for _, f := range p.steps {
		if f.change != nil || f.err != nil && !errors.Is(f.err, control.ErrGone) {
			return false
		}
	}
	return true
}

// todo reports whether there is something to change.
func (p *plan) todo() bool {
	for _, f := range p.steps {
		if f.todo() {
			return true
		}
	}
	return false
}

// beyond reports whether there is something to change besides what a case could not
// make, or may not. What is urgent is always tried again, and so is what was made
// and did not hold: somebody keeps changing it back.
func (p *plan) beyond(c *ledger.Case) bool {
	for i := range p.steps {
		f := &p.steps[i]
		if !f.todo() {
			continue
		}
		s := c.Step(f.step.Remedy.Name)
		if f.step.Urgent || s == nil || half(s) || !leftOpen(s) || s.Digest != f.change.Digest() {
			return true
		}
	}
	return false
}

// leftOpen reports whether a step waits for an operator: it could not be made, or may
// not.
func leftOpen(s *ledger.Step) bool { return s.Outcome == control.Failed || s.Outcome == control.Held }

// change is the first change, for what tells of a violation in one sentence.
func (p *plan) change() *control.Change {
	for _, f := range p.steps {
		if f.change != nil {
			return f.change
		}
	}
	return nil
}

// recently is longer than a plan takes and the clocks of two workers differ.
const recently = 30 * time.Second

// look plans and reads the gates side by side, and weakens the decision by what
// the gates say. It returns as soon as the gates are read and an urgent step has
// something to change. An error says that nothing could be planned, or, as a *gateError,
// that there is a violation whose gates can't be read; without a violation the
// gates don't matter.
func (w *walk) look(ctx context.Context) (*plan, ledger.Gates, error) {
	w.worker = ledger.NewWorker(lease(ctx))
	type answer struct {
		gates ledger.Gates
		err   error
	}
	asked := make(chan answer, 1)
	go func() {
		var a answer
		defer func() { asked <- a }()
		defer recovered(&a.err)
		a.gates, a.err = w.Ledger.Read(ctx, w.question())
	}()
	p := w.plan(ctx)
	a := <-asked
	if a.err != nil {
		p.wait()
		if p.nothing() {
			return p, a.gates, nil
		}
		return p, a.gates, &gateError{p.change(), a.err}
	}
	w.weaken(a.gates)
	if w.hurries(a.gates) {
		if p.waitUrgent(); p.urgentTodo() {
			return p, a.gates, nil
		}
	}
	p.wait()
	if !p.nothing() && p.failed() == nil && time.Since(a.gates.Released) < recently {
		// Another worker left the target while this plan was made, perhaps: its
		// change may not be in it. The next plan is younger than the gates, and the
		// case opens only if nobody came and went since they were read.
		p = w.plan(ctx)
		p.wait()
	}
	if p.gone() != nil {
		return p, a.gates, nil
	}
	return p, a.gates, p.failed()
}

// hurries reports whether urgent changes are made before all is planned: where
// the walk may change at once, and is the first one on its target for a while.
func (w *walk) hurries(gates ledger.Gates) bool {
	return w.rule.urgent() && w.enforces() && !gates.Taken() && gates.Live == nil && time.Since(gates.Released) >= recently &&
		w.held(gates) == nil && w.exemption(gates) == ""
}

// steps are the steps of a new case as they were planned. What is not planned
// yet has nothing but its name.
func (w *walk) steps(p *plan) []ledger.Step {
	steps := make([]ledger.Step, len(p.steps))
	for i := range p.steps {
		if !p.ready(i) {
			steps[i] = ledger.Step{Remedy: w.rule.steps[i].Remedy.Name}
			continue
		}
		steps[i] = w.step(p.steps[i])
	}
	return steps
}

// step is a step of a case as it was planned. Where there is nothing to apply
// it has its outcome already.
func (w *walk) step(f found) ledger.Step {
	s := ledger.Step{Remedy: f.step.Remedy.Name, Irreversible: f.step.Remedy.Apply != nil && f.step.Remedy.Undo == nil}
	switch {
	case f.err != nil:
		s.Outcome, s.Error = control.Unreadable, cloud.Reason(f.err)
		return s
	case f.change == nil:
		s.Outcome, s.Reason = control.Compliant, "There is nothing to do."
		return s
	}
	c := f.change
	s.Reason, s.Before, s.After, s.Digest = c.Reason, c.Before, c.After, c.Digest()
	s.Touches, s.Left, s.Facts = c.Touches, c.Left, c.Facts
	if c.Report() {
		s.Outcome = control.Observed
	}
	for _, arn := range c.Touches {
		if p := w.Baseline.ProtectedBy(arn); p != "" {
			s.Outcome, s.Error = control.Held, arn+" is not changed: it is a "+p+"."
		}
	}
	return s
}

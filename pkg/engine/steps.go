package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// restore makes the changes of an open case, reads each back, tells the
// operators and closes the case. The alert goes out before the case is closed: a
// worker killed between the two repeats the alert rather than losing it.
func (w *walk) restore(ctx context.Context, c *ledger.Case, p *plan) error {
	session, err := w.session(ctx)
	if err != nil {
		if retryable(err) {
			return w.release(ctx, c, err)
		}
		for _, s := range c.Current() {
			s.Outcome, s.Error = control.Failed, cloud.Reason(err)
		}
		return w.settle(ctx, c)
	}
	if err := w.apply(ctx, session, c, p); err != nil {
		return w.release(ctx, c, err)
	}
	return w.settle(ctx, c)
}

// work is the steps of one case as they are made side by side.
type work struct {
	*walk
	session *cloud.Session
	mu      sync.Mutex // guards the case
	c       *ledger.Case
	written chan struct{}            // closed once every step is written down
	refused error                    // why it could not be; read after written is closed
	applied map[string]chan struct{} // by remedy, closed once it was tried to apply it
}

// apply makes the changes of an open case, each as soon as it is written down
// and those that come before it were tried, and reads each back. An error says
// that the case is to be taken up again.
func (w *walk) apply(ctx context.Context, session *cloud.Session, c *ledger.Case, p *plan) error {
	k := &work{walk: w, session: session, c: c, written: make(chan struct{}), applied: map[string]chan struct{}{}}
	for i := range w.rule.steps {
		k.applied[w.rule.steps[i].Remedy.Name] = make(chan struct{})
	}
	early := make([]bool, len(w.rule.steps)) // written down already
	for i := range early {
		early[i] = c.Step(w.rule.steps[i].Remedy.Name).Planned()
	}
	failed := make([]error, len(early))
	var side sync.WaitGroup
	for i := range failed {
		side.Go(func() {
			defer recovered(&failed[i])
			failed[i] = k.step(ctx, &w.rule.steps[i], early[i])
		})
	}
	k.extend(ctx, p)
	side.Wait()
	if k.refused != nil {
		w.result.Case, k.refused = c.ID, unwritten(c, k.refused)
	}
	return errors.Join(k.refused, p.transient(), errors.Join(failed...))
}

// extend writes down the steps that were not planned when the case was opened.
func (k *work) extend(ctx context.Context, p *plan) {
	defer close(k.written)
	k.mu.Lock()
	later := slices.ContainsFunc(k.c.Steps, func(s ledger.Step) bool { return !s.Planned() })
	k.mu.Unlock()
	if !later {
		return
	}
	p.wait()
	k.mu.Lock()
	for _, f := range p.steps {
		if s := k.c.Step(f.step.Remedy.Name); !s.Planned() {
			*s = k.walk.step(f)
		}
	}
	whole := *k.c
	whole.Steps = slices.Clone(k.c.Steps)
	k.mu.Unlock()
	k.refused = k.Ledger.Extend(ctx, &whole, k.worker)
}

// step makes one step: waits until it is written down and those before it were
// tried, applies it, and reads it back. An error says that retrying may mend
// what went wrong.
func (k *work) step(ctx context.Context, step *control.Step, early bool) error {
	name := step.Remedy.Name
	tried := sync.OnceFunc(func() { close(k.applied[name]) })
	defer tried()
	if !early {
		<-k.written
		if k.refused != nil {
			return nil
		}
	}
	for _, before := range step.After {
		<-k.applied[before]
	}
	s := k.read(name)
	if s.Outcome != "" { // there is nothing to apply
		return nil
	}
	err := step.Remedy.Apply(ctx, k.session, k.c.Change(&s))
	tried()
	switch {
	case retryable(err):
		s.Error = cloud.Reason(err)
	case errors.Is(err, control.ErrGone):
		s.Outcome, s.Error = control.Gone, "the resource was deleted before it could be changed"
	case err != nil:
		s.Outcome, s.Error = control.Failed, cloud.Reason(err)
		k.half(ctx, &step.Remedy, &s)
	default:
		s.Applied = time.Now().UTC()
		k.verify(ctx, k.session, &step.Remedy, k.c.Change(&s), &s)
	}
	k.write(name, s)
	if retryable(err) {
		return err
	}
	return nil
}

// read and write are the case's step of a remedy, as it is changed by nobody
// else.
func (k *work) read(remedy string) ledger.Step {
	k.mu.Lock()
	defer k.mu.Unlock()
	return *k.c.Step(remedy)
}

func (k *work) write(remedy string, s ledger.Step) {
	k.mu.Lock()
	defer k.mu.Unlock()
	*k.c.Step(remedy) = s
	if s.Applied.After(k.result.Contained) {
		k.result.Contained = s.Applied
	}
}

// half looks at what a change has left that failed for good: what of it was
// made can be undone.
func (k *work) half(ctx context.Context, remedy *control.Remedy, s *ledger.Step) {
	change, err := stillToDo(ctx, k.session, remedy, k.c.Change(s))
	if err == nil && (change == nil || !equalJSON(change.Before, s.Before)) {
		s.Applied = time.Now().UTC()
	}
}

// verifyWaits are the waits before each read that verifies a change: AWS's
// reads may lag behind its writes, by seconds for S3 settings and IAM. 30 s in all.
var verifyWaits = []time.Duration{
	0, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
	4 * time.Second, 7 * time.Second, 15250 * time.Millisecond,
}

// verify reads again until that finds nothing that could be done.
func (w *walk) verify(ctx context.Context, session *cloud.Session, remedy *control.Remedy, made control.Change, step *ledger.Step) {
	for _, wait := range verifyWaits {
		if !pause(ctx, wait) {
			break
		}
		change, err := stillToDo(ctx, session, remedy, made)
		switch {
		case errors.Is(err, control.ErrGone):
			step.Outcome, step.Error = control.Gone, "the resource was deleted after it was changed"
			return
		case err != nil:
			step.Error = "The change was made, but it can't be read back: " + cloud.Reason(err)
		case change == nil, change.Report():
			step.Outcome, step.Error, step.Verified, step.Left = control.Remediated, "", time.Now().UTC(), nil
			if change != nil {
				step.Left = change.Left
			}
			return
		default:
			step.Error = "The change was made, but reading it back shows: " + change.Reason
		}
	}
	step.Outcome = control.Failed
}

// overall is the outcome of a case whose steps are tried.
func overall(c *ledger.Case) control.Outcome {
	if c.Gate != "" {
		return control.Held
	}
	held, open := 0, 0
	for _, s := range c.Current() {
		switch {
		case s.Outcome == control.Gone:
			return control.Gone
		case s.Outcome == control.Remediated:
			held++
		case s.Outcome != control.Compliant && s.Outcome != control.Observed:
			open++
		}
		if len(s.Left) > 0 {
			open++
		}
	}
	switch {
	case open == 0:
		return control.Remediated
	case held > 0:
		return control.Partial
	}
	return control.Failed
}

// recovered turns a panic into an error.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	}
}

package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// The commands that an operator gives about a case.
const (
	Approve = "approve" // make the change that waits for a yes
	Deny    = "deny"    // don't
	Release = "release" // make the change that a gate held
	Retry   = "retry"   // try again what failed
	Undo    = "undo"    // put back what was there before
	Look    = "look"    // tell how what a case made stands now
)

// Command is what an operator wants done about a case.
type Command struct {
	Name string // one of the constants above
	Case string
	// Digest is that of the change that the operator was shown; needed to approve
	// and to release.
	Digest string
	// Why is the operator's reason; needed to deny.
	Why string
	// For is how long the resource is exempt after an undo; zero: a day.
	For time.Duration
	// Keep are the remedies whose changes an undo leaves as they are.
	Keep []string
	// By is who gives the command, as STS says.
	By ledger.Caller
}

// Verdict is how a command ended.
type Verdict string

// The verdicts, which are the command line's exit codes 0, 1 and 2.
const (
	Done   Verdict = "done"   // it is so
	NotSo  Verdict = "not-so" // it was tried, and is not so
	Misuse Verdict = "misuse" // it can't mean anything as it was given; nothing was tried
)

// Answer is what came of a command.
type Answer struct {
	Verdict Verdict `json:"verdict"`
	// Reason says what came of it in a sentence, and what to do instead.
	Reason string `json:"reason"`
	// Case is the case as it stands now; nil if there is none.
	Case *ledger.Case `json:"case,omitempty"`
	// Shown and Now are what the operator was shown and what would be done now,
	// where the two differ and so nothing was done.
	Shown *alert.Change `json:"shown,omitempty"`
	Now   *alert.Change `json:"now,omitempty"`
	// Exemption is the one that was made, removed, or in force.
	Exemption *ledger.Exemption `json:"exemption,omitempty"`
	// Notes are what else there is to tell, a line each.
	Notes []string `json:"notes,omitempty"`
	// Version and Baseline are the function's version and the SHA-256 of its
	// baseline file. Only a check asks for them.
	Version  string `json:"version,omitempty"`
	Baseline string `json:"baseline,omitempty"`
	// Calls are the AWS calls that were made.
	Calls []string `json:"calls"`
}

func done(format string, args ...any) (Answer, error) {
	return Answer{Verdict: Done, Reason: fmt.Sprintf(format, args...)}, nil
}

func notSo(format string, args ...any) (Answer, error) {
	return Answer{Verdict: NotSo, Reason: fmt.Sprintf(format, args...)}, nil
}

func misuse(format string, args ...any) (Answer, error) {
	return Answer{Verdict: Misuse, Reason: fmt.Sprintf(format, args...)}, nil
}

// Do carries out a command about a case. It walks the way of an event: the same
// plan, gates, ledger, verification and alert.
func (e *Engine) Do(ctx context.Context, cmd Command) Answer {
	return answer(ctx, func(ctx context.Context) (Answer, error) {
		c, err := e.Ledger.Case(ctx, cmd.Case)
		if errors.Is(err, ledger.ErrNoCase) {
			return misuse("there is no case %q: `snapback cases list` lists them", cmd.Case)
		}
		if err != nil {
			return Answer{}, err
		}
		a, err := e.about(ctx, cmd, c)
		if a.Case == nil {
			a.Case = c
		}
		return a, err
	})
}

// answer carries something out, patiently, and puts what went wrong into the
// answer.
func answer(ctx context.Context, do func(context.Context) (Answer, error)) (a Answer) {
	ctx, recorder := cloud.Record(ctx)
	defer func() {
		if p := recover(); p != nil {
			a = Answer{Verdict: NotSo, Reason: fmt.Sprintf("panic: %v\n%s", p, debug.Stack())}
		}
		a.Calls = []string{}
		for _, call := range recorder.Calls() {
			a.Calls = append(a.Calls, call.Name())
		}
	}()
	err := patiently(ctx, func() (err error) {
		a, err = do(ctx)
		return err
	})
	if err != nil {
		a.Verdict, a.Reason = NotSo, cloud.Reason(err)
		if retryable(err) {
			a.Reason += ": give the command again"
		}
	}
	return a
}

// about carries out a command about a case that was read.
func (e *Engine) about(ctx context.Context, cmd Command, c *ledger.Case) (Answer, error) {
	w := e.walkOf(c)
	if w == nil {
		return misuse("this function has no control or runbook %s, which case %s is about", c.Control, c.ID)
	}
	switch cmd.Name {
	case Approve, Release, Retry:
		return w.proceed(ctx, cmd, c)
	case Deny:
		return w.deny(ctx, cmd, c)
	case Undo:
		return w.undo(ctx, cmd, c)
	case Look:
		return w.stand(ctx, c)
	}
	return misuse("there is no command %q about a case: want %s", cmd.Name, strings.Join([]string{Approve, Deny, Release, Retry, Undo, Look}, ", "))
}

// walkOf is the walk of a case; nil if its rule is not one of the engine's.
func (e *Engine) walkOf(c *ledger.Case) *walk {
	about := e.rule(c.Control)
	if about == nil {
		return nil
	}
	w := &walk{Engine: e, rule: about, target: c.Target, subject: c.Target, origin: c.Event, actor: c.Actor, drill: c.Drill}
	if c.Threat() {
		about.severity = c.Severity
	}
	if len(c.Findings) > 0 {
		w.finding = &c.Findings[0]
	}
	return w
}

// stand tells how what a case made stands now.
func (w *walk) stand(ctx context.Context, c *ledger.Case) (Answer, error) {
	session, err := w.session(ctx)
	if err != nil {
		return Answer{}, err
	}
	a, _ := done("how what case %s made stands now", c.ID)
	for _, s := range c.Current() {
		remedy := w.rule.remedy(s.Remedy)
		if remedy == nil || remedy.Look == nil || s.Applied.IsZero() {
			continue
		}
		lines, err := remedy.Look(ctx, session, c.Change(s))
		if err != nil {
			return Answer{}, err
		}
		for _, line := range lines {
			a.Notes = append(a.Notes, s.Remedy+": "+line)
		}
	}
	if len(a.Notes) == 0 {
		a.Reason = "case " + c.ID + " made nothing that takes its time"
	}
	return a, nil
}

// waits are the commands that a case may wait for, with how it then stands.
var waits = []struct {
	command string
	state   ledger.State
	outcome control.Outcome
}{
	{Approve, ledger.State(control.AwaitingApproval), control.AwaitingApproval},
	{Deny, ledger.State(control.AwaitingApproval), control.AwaitingApproval},
	{Release, ledger.State(control.Held), control.Held},
	{Retry, "", control.Failed},
	{Retry, "", control.Partial},
}

// WaitsFor are the commands that a case waits for: of several, the first one
// makes its change.
func WaitsFor(c *ledger.Case) []string {
	var commands []string
	for _, w := range waits {
		if c.State == w.state && c.Outcome == w.outcome {
			commands = append(commands, w.command)
		}
	}
	return commands
}

// fits says why a case does not wait for a command; empty if it does.
func fits(cmd Command, c *ledger.Case) string {
	fitting := WaitsFor(c)
	if slices.Contains(fitting, cmd.Name) {
		return ""
	}
	instead := "`snapback cases show " + c.ID + "` tells its story"
	if len(fitting) > 0 {
		instead = "want `snapback cases " + fitting[0] + " " + c.ID + "`"
	}
	var wanted []string
	for _, w := range waits {
		if w.command == cmd.Name {
			wanted = append(wanted, string(w.outcome))
		}
	}
	return fmt.Sprintf("case %s is %s, and %s is for one that is %s: %s", c.ID, Standing(c), cmd.Name, strings.Join(wanted, " or "), instead)
}

// Standing is how a case stands, in a word or two.
func Standing(c *ledger.Case) string {
	switch {
	case c.State == ledger.Open, c.State == ledger.Undoing:
		return string(c.State)
	case c.State == "" && c.Ended != "":
		return string(c.Outcome) + ", ended"
	}
	return string(c.Outcome)
}

// proceed makes the change of a case that waits for a command: exactly the one
// that the operator was shown.
func (w *walk) proceed(ctx context.Context, cmd Command, c *ledger.Case) (Answer, error) {
	begun := c.State == ledger.Open && c.Begun() != nil && c.Begun().Name == cmd.Name
	if why := fits(cmd, c); why != "" && !begun {
		return misuse("%s", why)
	}
	if cmd.Name != Retry && cmd.Digest != c.Digest() {
		return misuse("case %s holds another change now: its digest is %s and not %s: look at it again with `snapback cases show %s`",
			c.ID, control.ShortDigest(c.Digest()), control.ShortDigest(cmd.Digest), c.ID)
	}
	if cmd.Name != Retry && w.Baseline.Approvals.FourEyes && samePerson(cmd.By, c.Actor) {
		return misuse("%s caused the violation of case %s, and so may not %s its change: ask someone else (the baseline's approvals.four-eyes)",
			cmd.By.ARN, c.ID, cmd.Name)
	}
	if c.Over(time.Now()) && !begun {
		err := w.expire(ctx, c)
		return Answer{Verdict: NotSo, Reason: "case " + c.ID + " waited for an answer until " + c.Until.UTC().Format(time.RFC3339) +
			" and has ended: the next event about the resource opens another one"}, err
	}
	return w.make(ctx, cmd, c)
}

// make looks once more and makes the change, if it is still the one that was
// shown and nothing forbids it.
func (w *walk) make(ctx context.Context, cmd Command, c *ledger.Case) (Answer, error) {
	if err := w.decide(ctx); err != nil {
		return Answer{}, err
	}
	if w.ended() { // off, or exempt by the baseline
		return notSo("nothing was changed: %s", w.result.Reason)
	}
	mode := w.decision
	w.goesOn(cmd, c)
	p, gates, err := w.look(ctx)
	p.wait()
	exempt := cmp.Or(w.exemption(gates), w.excused)
	switch {
	case gates.Taken():
		return Answer{}, ledger.ErrBusy
	case err != nil:
		return Answer{}, err
	case p.transient() != nil:
		return Answer{}, p.transient()
	case gates.Stop != nil:
		return notSo("nothing was changed: %s: `snapback start` lets it go on", stopped(gates.Stop))
	case exempt != "":
		return notSo("nothing was changed: the resource is %s", exempt)
	case mode.Mode != baseline.Approve && mode.Mode != baseline.Enforce:
		return notSo("nothing was changed: the mode is now %s by %s", mode.Mode, mode.Why)
	case gates.Begun() && gates.Live.Case != c.ID:
		return notBefore(gates)
	case gates.Begun():
		return w.told(ctx, c.ID, w.takeOver(ctx, gates, p))
	case p.gone() != nil || p.nothing():
		return w.nothingToDo(ctx, gates, c, cmd, p.gone())
	}
	return w.approved(ctx, cmd, c, gates, p)
}

// goesOn lets the walk go on with what was decided in a case, where some of it may
// be made already.
func (w *walk) goesOn(cmd Command, c *ledger.Case) {
	if cmd.Name == Retry || c.Gate == ledger.GateMode {
		w.begun = c
	}
}

// notBefore refuses a command while another case of the same resource and
// control is begun: its worker was killed, or gave up.
func notBefore(gates ledger.Gates) (Answer, error) {
	return notSo("nothing was changed: case %s about the same resource was begun and is not ended: the next event about the resource finishes it", gates.Live.Case)
}

// approved opens a case that waited, and makes its change.
func (w *walk) approved(ctx context.Context, cmd Command, c *ledger.Case, gates ledger.Gates, p *plan) (Answer, error) {
	again := c.Gate == ledger.GateMode || cmd.Name == Retry // some of it may be made
	fresh, same := w.steps(p), true
	for i := range fresh {
		s, was := &fresh[i], c.Step(fresh[i].Remedy)
		if was != nil && was.Digest != "" && len(s.After) > 0 && (c.Gate == ledger.GateMode || half(was)) {
			// It was begun: what was there before stays the first state.
			s.Before, s.Digest, s.Applied = was.Before, begunDigest(c.Target, was, p.steps[i].change), was.Applied
		}
		made := again && len(s.After) == 0
		same = same && (made || was != nil && was.Digest == s.Digest)
	}
	if !same && (cmd.Name != Retry || w.decision.Mode != baseline.Enforce) {
		return w.differs(ctx, cmd, c, gates, fresh)
	}
	adopt(c, fresh)
	c.Commands = append(c.Commands, command(cmd, c))
	c.Outcome, c.Closed = "", time.Time{}
	gates.Limits = nil // whoever looked at a change has decided that it is none too many
	return w.told(ctx, c.ID, w.open(ctx, gates, c, p))
}

// adopt lets a case go on with steps that were planned again. What was made of
// the former ones stays, for the undo, and so does what was tried.
func adopt(c *ledger.Case, fresh []ledger.Step) {
	for _, s := range fresh {
		was := c.Step(s.Remedy)
		switch {
		case was == nil:
			c.Steps = append(c.Steps, s)
		case was.Digest == s.Digest, half(was) && len(s.After) > 0, was.Applied.IsZero() && was.Outcome != control.Failed:
			*was = s
		case s.Digest != "" && len(s.After) > 0:
			c.Steps = append(c.Steps, s)
		case s.Outcome == control.Compliant: // nobody noted it
			was.Outcome, was.Error, was.Verified = control.Remediated, "", time.Now().UTC()
		}
	}
}

// half reports whether a step was made in part, or did not hold.
func half(s *ledger.Step) bool { return s.Outcome == control.Failed && !s.Applied.IsZero() }

func command(cmd Command, c *ledger.Case) ledger.Command {
	return ledger.Command{Name: cmd.Name, By: cmd.By, At: time.Now().UTC(), Why: cmd.Why, Digest: c.Digest(), Keep: cmd.Keep}
}

// differs refuses a change that is not the one that was shown. The case waits
// with the new one.
func (w *walk) differs(ctx context.Context, cmd Command, c *ledger.Case, gates ledger.Gates, fresh []ledger.Step) (Answer, error) {
	was := alert.FromCase(c).Changes
	note := command(cmd, c)
	note.Result = "refused: the resource has moved since, and the change would be another one"
	c.Commands = append(c.Commands, note)
	adopt(c, fresh)
	if w.finding == nil {
		c.Reason = fresh[0].Reason
	}
	c.Closed = time.Time{}
	if cmd.Name != Release {
		c.Outcome, c.Until = control.AwaitingApproval, time.Now().UTC().Add(w.Baseline.Approvals.ExpireAfter)
	}
	if err := w.Ledger.Record(ctx, c, gates, time.Time{}); err != nil {
		return Answer{}, err
	}
	now := alert.FromCase(c).Changes
	a := Answer{Verdict: NotSo, Case: c}
	for i := range now { // the first that differs
		if a.Now == nil && (i >= len(was) || was[i].Digest != now[i].Digest) {
			a.Now = &now[i]
			if i < len(was) {
				a.Shown = &was[i]
			}
		}
	}
	a.Reason = fmt.Sprintf("nothing was changed: the resource has moved since, and the change would be another one now. "+
		"Case %s waits with the new one, whose digest is %s: look at it, then give the command again", c.ID, control.ShortDigest(c.Digest()))
	return a, nil
}

// nothingToDo ends a case whose resource is as the baseline wants it by now.
func (w *walk) nothingToDo(ctx context.Context, gates ledger.Gates, c *ledger.Case, cmd Command, gone error) (Answer, error) {
	note := command(cmd, c)
	note.Result = "nothing to do"
	c.Commands = append(c.Commands, note)
	if err := w.Ledger.Note(ctx, c); err != nil {
		return Answer{}, err
	}
	if err := w.compliant(ctx, gates, gone); err != nil {
		return Answer{}, err
	}
	a, _ := done("there is nothing to do: %s is %s", c.Target, w.result.Reason)
	return a, w.reread(ctx, c.ID, &a)
}

// told is the answer for a case that was worked on.
func (w *walk) told(ctx context.Context, id string, err error) (Answer, error) {
	a := Answer{Verdict: NotSo, Reason: string(w.result.Outcome) + ": " + w.result.Reason}
	if err != nil {
		return a, err
	}
	switch w.result.Outcome {
	case control.Remediated:
		a.Verdict, a.Reason = Done, "changed, and read back as the baseline wants it"
	case control.Gone:
		a.Verdict = Done
	}
	return a, w.reread(ctx, id, &a)
}

// reread puts the case as it stands now into an answer.
func (w *walk) reread(ctx context.Context, id string, a *Answer) error {
	c, err := w.Ledger.Case(ctx, id)
	a.Case = c
	return err
}

// deny ends the waiting for a yes. It holds for exactly this change, as long
// as the change would have waited.
func (w *walk) deny(ctx context.Context, cmd Command, c *ledger.Case) (Answer, error) {
	if why := fits(cmd, c); why != "" {
		return misuse("%s", why)
	}
	if strings.TrimSpace(cmd.Why) == "" {
		return misuse("deny needs a reason: `snapback cases deny %s --why TEXT`", c.ID)
	}
	note := command(cmd, c)
	note.Result = string(control.Denied)
	c.Commands = append(c.Commands, note)
	c.Outcome, c.Until = control.Denied, time.Now().UTC().Add(w.Baseline.Approvals.ExpireAfter)
	if err := w.Ledger.Record(ctx, c, ledger.Gates{Live: &ledger.Live{Case: c.ID}}, time.Time{}); err != nil {
		return Answer{}, err
	}
	return done("denied: exactly this change is not asked for again before %s", c.Until.Format(time.RFC3339))
}

// expire ends a case that nobody answered in time, and tells the operators.
func (w *walk) expire(ctx context.Context, c *ledger.Case) error {
	c.Outcome = control.Expired
	c.Ended = "nobody answered until " + c.Until.UTC().Format(time.RFC3339) + "; nothing was changed"
	if err := w.tellCase(ctx, c); err != nil {
		return err
	}
	return w.Ledger.End(ctx, c)
}

// Expire ends the cases of the engine's controls that nobody answered in time,
// and tells the operators of each.
func (e *Engine) Expire(ctx context.Context) Answer {
	return answer(ctx, func(ctx context.Context) (Answer, error) {
		ended := 0
		query := ledger.Query{State: ledger.State(control.AwaitingApproval)}
		var failed error // one case that can't be read or ended does not keep the others from it
		for c, err := range e.Ledger.Cases(ctx, query) {
			ok := false
			if err == nil {
				ok, err = e.lapse(ctx, c)
			}
			if ok {
				ended++
			}
			failed = errors.Join(failed, err)
		}
		if failed != nil {
			return Answer{}, failed
		}
		return done("cases ended that nobody answered in time: %d", ended)
	})
}

// lapse ends a case that the index named, if nobody answered it in time.
func (e *Engine) lapse(ctx context.Context, c *ledger.Case) (ended bool, err error) {
	w := e.walkOf(c)
	late := func() bool { return c.State == ledger.State(control.AwaitingApproval) && c.Over(time.Now()) }
	if w == nil || !late() {
		return false, nil
	}
	// The index lags: somebody may have answered.
	if c, err = e.Ledger.Case(ctx, c.ID); err != nil || !late() {
		return false, err
	}
	err = w.expire(ctx, c)
	if errors.Is(err, ledger.ErrBusy) { // somebody did in this very moment
		return false, nil
	}
	return err == nil, err
}

// samePerson reports whether a command is given by whoever caused a violation:
// the same principal, or, as people who sign in through Identity Center have
// one session name in all their roles, the same person in another role.
func samePerson(by ledger.Caller, actor *event.Actor) bool {
	if actor == nil {
		return false
	}
	switch {
	case by.ARN != "" && by.ARN == actor.ARN, by.UserID != "" && by.UserID == actor.Principal:
		return true
	}
	name := identityCenterName(by.ARN)
	return name != "" && name == identityCenterName(actor.ARN)
}

// identityCenterName is the person's name in the ARN of a session that
// Identity Center opened; empty in any other ARN. Source: IAM Identity Center
// user guide, "Referencing permission sets in resource policies".
func identityCenterName(arn string) string {
	_, session, ok := strings.Cut(arn, ":assumed-role/AWSReservedSSO_")
	if !ok {
		return ""
	}
	_, name, _ := strings.Cut(session, "/")
	return name
}

package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// question is what the ledger is asked before a change. What contains a threat
// is counted apart.
func (w *walk) question() ledger.Question {
	q := ledger.Question{Control: w.rule.id, Target: w.target, ARN: w.rule.ARN(w.subject)}
	limits := w.Baseline.Limits
	if w.rule.runbook != nil {
		q.Limits = []ledger.Limit{{Scope: ledger.PerThreatAccount, Of: w.target.Account, Max: limits.ThreatChangesPerAccountPerHour}}
		return q
	}
	q.Limits = []ledger.Limit{
		{Scope: ledger.PerAccount, Of: w.target.Account, Max: limits.ChangesPerAccountPerHour},
		{Scope: ledger.PerControl, Of: w.rule.id, Max: limits.ChangesPerControlPerHour},
	}
	return q
}

// weaken lets the gates take back what the baseline allows: where the kill
// switch is on, Snapback only observes.
func (w *walk) weaken(gates ledger.Gates) {
	if s := gates.Stop; s != nil {
		w.decision.Mode = w.decision.Mode.AtMost(baseline.Observe)
		w.decision.Why = stopped(s)
	}
}

func stopped(s *ledger.Stop) string {
	where := "account " + s.Scope
	if s.Scope == ledger.Organization {
		where = "the whole organization"
	}
	return fmt.Sprintf("%s was stopped by %s at %s: %s", where, s.By.ARN, s.At.UTC().Format(time.RFC3339), s.Why)
}

// exemption says that a command exempted the target; empty if none did.
func (w *walk) exemption(gates ledger.Gates) string {
	e := gates.Exemption
	if !e.InForce(time.Now(), w.longestExemption()) {
		return ""
	}
	return fmt.Sprintf("exempt until %s: %s (%s)", e.Until.UTC().Format(time.RFC3339), e.Reason, e.Owner)
}

// excuse lets the walk of a finding change nothing. A violation that is exempt
// is nobody's business; a threat to an exempt resource still is told.
func (w *walk) excuse(why string) {
	w.decision.Mode = w.decision.Mode.AtMost(baseline.Observe)
	w.excused = why
}

func (e *Engine) longestExemption() time.Duration {
	return time.Duration(e.Baseline.Limits.ExemptionDays) * 24 * time.Hour
}

// gate is a gate that keeps a change from being made, and why.
type gate struct {
	name   ledger.Gate
	why    string
	rounds []ledger.Round // of a tug of war
	full   *ledger.Usage  // the limit that is used up
}

// held is the gate that keeps a change from being made that would be one round
// too many in a tug of war over its resource, or one change too many in this
// hour; nil if none does.
func (w *walk) held(gates ledger.Gates) *gate {
	rounds := gates.RoundsOf(w.rule.id)
	if len(rounds)+1 >= w.Baseline.Limits.RoundsPerResource {
		return &gate{name: ledger.GateTugOfWar, rounds: rounds, why: fmt.Sprintf(
			"This is round %d over the resource within 24 hours, and from round %d on the baseline does not fight.",
			len(rounds)+1, w.Baseline.Limits.RoundsPerResource)}
	}
	if full := gates.Full(); full != nil {
		return &gate{name: ledger.GateLimit, full: full, why: "The baseline allows " + full.String() + ", and they are made."}
	}
	return nil
}

// hold records a change that a gate keeps from being made.
func (w *walk) hold(ctx context.Context, gates ledger.Gates, c *ledger.Case, g *gate) error {
	c.Gate, c.Held, c.Rounds = g.name, g.why, g.rounds
	if err := w.record(ctx, gates, c, control.Held); err != nil || g.full == nil {
		return err
	}
	return w.alertLimit(ctx, g.full)
}

// alertLimit tells the operators once an hour that a limit is reached.
func (w *walk) alertLimit(ctx context.Context, u *ledger.Usage) error {
	if u.Alerted {
		return nil
	}
	mine, err := w.Ledger.ClaimLimitAlert(ctx, u, w.worker.Lease)
	switch {
	case err != nil:
		return err
	case !mine:
		return ledger.ErrBusy // someone else is about to tell them, or was killed before
	}
	_, err = w.tell(ctx, alert.FromLimit(*u, control.High))
	if noted := w.Ledger.LimitAlerted(ctx, u, err == nil); err == nil {
		err = noted
	}
	return err
}

// decided says what the gates answered, for the record.
func (w *walk) decided(gates ledger.Gates) string {
	text := fmt.Sprintf("mode %s by %s", w.decision.Mode, w.decision.Why)
	for _, u := range gates.Limits {
		text += fmt.Sprintf("; %d of %s", u.Changes, u.Limit)
	}
	return text + fmt.Sprintf("; round %d in 24 hours, of which round %d is not fought",
		len(gates.RoundsOf(w.rule.id))+1, w.Baseline.Limits.RoundsPerResource)
}

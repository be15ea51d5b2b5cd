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

// question is what the ledger is asked before a change.
func (w *walk) question() ledger.Question {
	return ledger.Question{
		Control: w.control.ID, Target: w.target, ARN: w.control.ARN(w.target),
		Limits: []ledger.Limit{
			{Scope: ledger.PerAccount, Of: w.target.Account, Max: w.Baseline.Limits.ChangesPerAccountPerHour},
			{Scope: ledger.PerControl, Of: w.control.ID, Max: w.Baseline.Limits.ChangesPerControlPerHour},
		},
	}
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

// exempt ends the walk if a command exempted the target.
func (w *walk) exempt(gates ledger.Gates) bool {
	e := gates.Exemption
	if !e.InForce(time.Now(), w.longestExemption()) {
		return false
	}
	_ = w.end(control.Exempt, fmt.Sprintf("exempt until %s: %s (%s)", e.Until.UTC().Format(time.RFC3339), e.Reason, e.Owner))
	return true
}

func (e *Engine) longestExemption() time.Duration {
	return time.Duration(e.Baseline.Limits.ExemptionDays) * 24 * time.Hour
}

// hold keeps a change from being made that would be one round too many in a
// tug of war over its resource, or one change too many in this hour.
func (w *walk) hold(ctx context.Context, gates ledger.Gates, c *ledger.Case) (held bool, err error) {
	rounds := gates.RoundsOf(w.control.ID)
	if len(rounds)+1 >= w.Baseline.Limits.RoundsPerResource {
		c.Gate, c.Rounds = ledger.GateTugOfWar, rounds
		c.Held = fmt.Sprintf("This is round %d over the resource within 24 hours, and from round %d on the baseline does not fight.",
			len(rounds)+1, w.Baseline.Limits.RoundsPerResource)
		return true, w.record(ctx, gates, c, control.Held)
	}
	full := gates.Full()
	if full == nil {
		return false, nil
	}
	c.Gate, c.Held = ledger.GateLimit, "The baseline allows "+full.String()+", and they are made."
	if err := w.record(ctx, gates, c, control.Held); err != nil {
		return true, err
	}
	return true, w.alertLimit(ctx, full)
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
		len(gates.RoundsOf(w.control.ID))+1, w.Baseline.Limits.RoundsPerResource)
}

package control

// Outcome is how the handling of an event ended for one control and target.
type Outcome string

// The outcomes. Each event ends with at least one of them or, where retrying
// may mend what went wrong, as a failed message.
const (
	// Compliant: the live state is as the baseline wants it.
	Compliant Outcome = "compliant"
	// Observed: a violation in mode observe; reported, not changed.
	Observed Outcome = "observed"
	// AwaitingApproval: a violation in mode approve; the change waits for a yes.
	AwaitingApproval Outcome = "awaiting-approval"
	// Denied: an operator said no to the change that waited for a yes.
	Denied Outcome = "denied"
	// Expired: nobody answered in the time that the baseline gives; the violation
	// stands.
	Expired Outcome = "expired"
	// Remediated: changed, and read back as compliant.
	Remediated Outcome = "remediated"
	// Partial: some of a runbook's steps hold, some do not, or something stays open
	// that could not be changed.
	Partial Outcome = "partial"
	// Undone: an operator put back what was there before the change.
	Undone Outcome = "undone"
	// Failed: the change could not be made, or was made and did not hold.
	Failed Outcome = "failed"
	// Exempt: the baseline excuses this resource from this control.
	Exempt Outcome = "exempt"
	// Held: a violation that is not changed because a gate says no or can't be
	// asked: breaker, kill switch, tug of war, exemptions that can't be read.
	Held Outcome = "held"
	// Gone: the resource no longer exists; counts as compliant.
	Gone Outcome = "gone"
	// Unreadable: the live state can't be read; never counts as compliant.
	Unreadable Outcome = "unreadable"
	// Refused: the event is malformed, or reaches for another account than its own.
	Refused Outcome = "refused"
	// Ignored: the event is no reason to look at anything.
	Ignored Outcome = "ignored"
)

// Alerts reports whether the outcome is told to the operators.
func (o Outcome) Alerts() bool {
	switch o {
	case Observed, AwaitingApproval, Expired, Remediated, Partial, Undone, Failed, Held, Unreadable, Refused:
		return true
	}
	return false
}

package alert

import (
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// FromStop is the alert that the kill switch was turned on or off.
func FromStop(s ledger.Stop) Alert {
	where, start := "in the whole organization", "snapback start"
	a := Alert{
		Schema: Schema, ID: "stop-" + s.Scope + "-" + s.At.UTC().Format("20060102T150405.000Z"),
		Outcome: Stopped, Severity: control.High, Scope: s.Scope,
		By: &s.By, Did: "stop", At: s.At, Why: s.Why, Changes: []Change{}, Docs: newsDocs + "kill-switch",
	}
	if s.Scope != ledger.Organization {
		a.Account = s.Scope
		where, start = "in account "+s.Scope, "snapback start --account "+word(s.Scope, "ACCOUNT")
	}
	a.Reason = "From its next event on, every function only observes " + where + "."
	a.Commands = []Command{{"start", start}, {"status", "snapback status"}}
	if !s.On {
		a.Outcome, a.Severity, a.Did = Started, control.Medium, "start"
		a.Reason = "From its next event on, every function does what the baseline says " + where +
			", except where another kill switch is still on."
		a.Commands = a.Commands[1:]
	}
	return a
}

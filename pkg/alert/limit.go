package alert

import (
	"fmt"
	"time"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// limitKeys are the limits' keys in the baseline file.
var limitKeys = map[ledger.Scope]string{
	ledger.PerAccount:       "changes-per-account-per-hour",
	ledger.PerControl:       "changes-per-control-per-hour",
	ledger.PerThreatAccount: "threat-changes-per-account-per-hour",
}

// FromLimit is the alert that a limit of changes is reached. It stands for all
// violations or threats that are held by it in that hour.
func FromLimit(u ledger.Usage, severity control.Severity) Alert {
	ends, found := u.Hour.UTC().Add(time.Hour), "Violations"
	if u.Scope == ledger.PerThreatAccount {
		found = "Threats"
	}
	a := Alert{
		Schema: Schema, ID: "limit-" + u.ID(), Outcome: control.Held, Severity: severity, Gate: ledger.GateLimit,
		Reason: fmt.Sprintf("Snapback may make %s, and has made them all since %s.", u.Limit, u.Hour.UTC().Format(stamp)),
		Held: fmt.Sprintf("%s found from now on until %s are recorded and not changed. "+
			"In the baseline file the limit is %s, under limits.", found, ends.Format(stamp), limitKeys[u.Scope]),
		Limit: u.String(), Until: ends, Changes: []Change{}, Docs: newsDocs + "limit-of-changes",
	}
	what := "--account " + word(u.Of, "ACCOUNT")
	if u.Scope == ledger.PerControl {
		a.Control, what = u.Of, "--control "+word(u.Of, "CONTROL")
	} else {
		a.Account = u.Of
	}
	a.Commands = []Command{
		{"list", "snapback cases list --state held " + what},
		{"release", "snapback cases release " + what},
	}
	return a
}

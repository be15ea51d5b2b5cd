package alert

import (
	"cmp"
	"slices"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// about is what an alert tells of.
type about string

const (
	violation about = ""       // a control found the baseline violated
	threat    about = "threat" // a runbook answers it
	drill     about = "drill"  // GuardDuty sent a sample
)

// news is what tells one kind of alert from another.
type news struct {
	outcome control.Outcome
	gate    ledger.Gate // empty where the outcome says all
	about   about
	told    bool // nothing could be changed: it is only told of
}

// kind is how one kind of news is told.
type kind struct {
	// headline says what happened and whether it is mended, in one line.
	headline string
	// subject begins the subject where it is not the outcome.
	subject string
	// until, final and left are said where there is a time, where the change can't
	// be undone, and where not all could be put back; %s is the time.
	until, final, left string
	// change is the heading of the changes.
	change string
	// undone says that the changes went from after to before.
	undone bool
	// advice is what to do besides the commands.
	advice string
	// raised says that it is worse than the control's severity says.
	raised bool
	// after names the commands of operators that lead to it.
	after []string
	// commands are what an operator may want to do about a case, but to see it.
	commands func(*ledger.Case) []Command
}

// resumed are the commands after which a change is made that was not made at once.
var resumed = []string{"approve", "release", "retry"}

const (
	cantUndo   = "This change can't be undone."
	notAllBack = "Some of it could not be put back: see below."
	findIt     = "Find what keeps making the change (a pipeline, a template, an attacker) and stop or fix it there."
)

var kinds = map[news]kind{
	{outcome: control.Remediated}: {
		headline: "FIXED: changed back, and read back as compliant.",
		change:   "Changed", final: cantUndo, after: resumed, commands: undo,
	},
	{outcome: control.Partial}: {
		headline: "PARTLY FIXED: some of it is still open, see below.", subject: "PARTLY FIXED:",
		change: "Tried to change", final: cantUndo, after: resumed, commands: again,
	},
	{outcome: control.Observed}: {
		headline: "SEEN, NOT CHANGED: here Snapback only observes.",
	},
	{outcome: control.Observed, told: true}: {
		headline: "SEEN, NOT CHANGED: Snapback can only tell of it.", change: "Found",
	},
	{outcome: control.AwaitingApproval}: {
		headline: "WAITING: nothing is changed until someone approves.",
		until:    "It waits for an answer until %s.", final: "Once made, this change can't be undone.", commands: answer,
	},
	{outcome: control.Expired}: {
		headline: "EXPIRED: nobody answered; the violation stands.",
	},
	{outcome: control.Failed}: {
		headline: "NOT FIXED: the change could not be made, or did not hold.",
		change:   "Tried to change", final: cantUndo, after: resumed, commands: again,
	},
	{outcome: control.Undone}: {
		headline: "UNDONE: put back by an operator; the violation is back.",
		until:    "The resource is exempt until %s.", left: notAllBack,
		change: "Put back", undone: true, after: []string{"undo"}, commands: endExemption,
	},
	{outcome: control.Held}: {
		headline: "HELD: the violation stands; nothing was changed.",
	},
	{outcome: control.Held, gate: ledger.GateLimit}: {
		headline: "HELD: the limit of changes is reached.", commands: release,
	},
	{outcome: control.Held, gate: ledger.GateMode}: {
		headline: "HELD: the change was begun, and may not go on.", commands: releaseThis,
	},
	{outcome: control.Held, gate: ledger.GateTugOfWar}: {
		headline: "TUG OF WAR: it was broken again; Snapback has stopped.", subject: "TUG OF WAR:", raised: true,
		advice: findIt + " If it may be an attacker, disable the actor's credentials.", commands: pullOut,
	},
	{outcome: control.Unreadable}: {
		headline: "CAN'T TELL: the resource could not be read.",
	},
	{outcome: control.Refused}: {
		headline: "REFUSED: the event can't be trusted; nothing was changed.",
	},
	{outcome: Stopped}: {
		headline: "STOPPED: Snapback changes nothing, it only observes.",
	},
	{outcome: Started}: {
		headline: "STARTED: Snapback changes resources again.",
	},

	{outcome: control.Remediated, about: threat}: {
		headline: "CONTAINED: every step is made, and read back.", subject: "CONTAINED:",
		change: "Changed", final: cantUndo, after: resumed, commands: undo,
	},
	{outcome: control.Partial, about: threat}: {
		headline: "PARTLY CONTAINED: some of it is still open, see below.", subject: "PARTLY CONTAINED:",
		change: "Tried to change", final: cantUndo, after: resumed, commands: again,
	},
	{outcome: control.Failed, about: threat}: {
		headline: "NOT CONTAINED: no change could be made, or none held.", subject: "NOT CONTAINED:",
		change: "Tried to change", final: cantUndo, after: resumed, commands: again,
	},
	{outcome: control.AwaitingApproval, about: threat}: {
		headline: "THREAT, WAITING: nothing is changed until someone approves.", subject: "THREAT, WAITING:",
		until: "It waits for an answer until %s.", final: "Once made, this change can't be undone.", commands: answer,
	},
	{outcome: control.Gone, about: threat}: {
		headline: "GONE: the resource no longer exists.", change: "Tried to change", commands: undo,
	},
	{outcome: control.Observed, about: threat}: {
		headline: "THREAT, NOT CONTAINED: here Snapback only observes.", subject: "THREAT, NOT CONTAINED:",
	},
	{outcome: control.Observed, about: threat, told: true}: {
		headline: "THREAT REPORTED: nothing is changed, see why below.", subject: "THREAT REPORTED:", change: "Looked at",
	},
	{outcome: control.Expired, about: threat}: {
		headline: "THREAT, EXPIRED: nobody answered; it is not contained.", subject: "THREAT, EXPIRED:",
	},
	{outcome: control.Undone, about: threat}: {
		headline: "RELEASED: put back by an operator; nothing contains it now.", subject: "RELEASED:",
		until: "Until %s it is only told of.", left: notAllBack,
		change: "Put back", undone: true, after: []string{"undo"}, commands: endExemption,
	},
	{outcome: control.Held, about: threat}: {
		headline: "THREAT, HELD: it is not contained; nothing was changed.", subject: "THREAT, HELD:",
	},
	{outcome: control.Held, gate: ledger.GateLimit, about: threat}: {
		headline: "THREAT, HELD: the limit of changes is reached.", subject: "THREAT, HELD:", commands: release,
	},
	{outcome: control.Held, gate: ledger.GateMode, about: threat}: {
		headline: "THREAT, HELD: the change was begun, and may not go on.", subject: "THREAT, HELD:",
		change: "Tried to change", commands: releaseThis,
	},
	{outcome: control.Held, gate: ledger.GateTugOfWar, about: threat}: {
		headline: "THREAT, TUG OF WAR: it is open again; Snapback has stopped.", subject: "THREAT, TUG OF WAR:", raised: true,
		advice: findIt, commands: pullOut,
	},
	{outcome: control.Unreadable, about: threat}: {
		headline: "THREAT, CAN'T TELL: the resource could not be read.", subject: "THREAT, UNREADABLE:",
	},
	{about: drill}: {
		headline: "DRILL: nothing was changed; the finding is a sample.", subject: "DRILL:",
	},
	{outcome: control.Unreadable, about: drill}: {
		headline: "DRILL: nothing was changed; the resource can't be read.", subject: "DRILL:",
	},
}

// kind is the nearest kind there is. A drill is one however it ended, and what
// is said of no threat is said as of a violation.
func (a Alert) kind() kind {
	is := violation
	switch {
	case a.Drill:
		is = drill
	case a.threat():
		is = threat
	}
	for _, n := range []news{
		{a.Outcome, a.Gate, is, a.told()}, {a.Outcome, a.Gate, is, false}, {a.Outcome, "", is, false}, {about: is},
		{a.Outcome, a.Gate, violation, false},
	} {
		if k, ok := kinds[n]; ok {
			return k
		}
	}
	return kinds[news{outcome: a.Outcome}]
}

// told reports whether nothing would be changed in any mode.
func (a Alert) told() bool {
	proposed := func(c Change) bool { return c.Outcome == "" }
	return a.Outcome == control.Observed && !a.Truncated && !slices.ContainsFunc(a.Changes, proposed)
}

// purposes introduce the commands, by their labels.
var purposes = map[string]string{
	"undo":          "To undo it:",
	"approve":       "To approve exactly this change:",
	"deny":          "To deny it:",
	"retry":         "To try again:",
	"exempt":        "If the resource should be as it is, exempt it:",
	"end exemption": "To end the exemption now:",
	"release":       "To let Snapback change what is held:",
	"list":          "To see what is held:",
	"start":         "To let it change resources again:",
	"status":        "To see what is stopped:",
	"show":          "To see everything:",
}

// threatPurposes are those that are others where the alert tells of a threat.
var threatPurposes = map[string]string{
	"undo":    "To release it:",
	"approve": "To approve exactly these changes:",
}

// purpose introduces a command.
func (a Alert) purpose(label string) string {
	if p := threatPurposes[label]; a.threat() && p != "" {
		return p
	}
	return cmp.Or(purposes[label], "To "+label+":")
}

// undo is offered for what was changed and can be put back.
func undo(c *ledger.Case) []Command {
	if !slices.ContainsFunc(c.Steps, func(s ledger.Step) bool { return !s.Irreversible && !s.Applied.IsZero() }) {
		return nil
	}
	return []Command{{"undo", "snapback cases undo " + word(c.ID, "CASE")}}
}

// again retries, and undoes what was changed before something failed.
func again(c *ledger.Case) []Command {
	return append([]Command{{"retry", "snapback cases retry " + word(c.ID, "CASE")}}, undo(c)...)
}

func answer(c *ledger.Case) []Command {
	return []Command{
		{"approve", "snapback cases approve " + word(c.ID, "CASE") + " --digest " + word(control.ShortDigest(c.Digest()), "DIGEST")},
		{"deny", "snapback cases deny " + word(c.ID, "CASE") + ` --why "…"`},
	}
}

func release(c *ledger.Case) []Command {
	return []Command{{"release", "snapback cases release --control " + word(c.Control, "CONTROL") + " --account " + word(c.Target.Account, "ACCOUNT")}}
}

func releaseThis(c *ledger.Case) []Command {
	return []Command{{"release", "snapback cases release " + word(c.ID, "CASE")}}
}

func exemption(c *ledger.Case) string {
	return "--control " + word(c.Control, "CONTROL") + " --resource " + word(c.ARN, "ARN")
}

// pullOut ends a tug of war: leave the resource to the other side, or go on.
func pullOut(c *ledger.Case) []Command {
	exempt := Command{"exempt", "snapback exempt add " + exemption(c) + ` --reason "…" --owner "…" --until YYYY-MM-DD`}
	return append([]Command{exempt}, release(c)...)
}

func endExemption(c *ledger.Case) []Command {
	return []Command{{"end exemption", "snapback exempt remove " + exemption(c)}}
}

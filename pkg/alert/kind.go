package alert

import (
	"slices"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// news is what tells one kind of alert from another. The gate is empty where
// the outcome says all.
type news struct {
	outcome control.Outcome
	gate    ledger.Gate
}

// kind is how one kind of news is told.
type kind struct {
	// headline says what happened and whether it is mended, in one line.
	headline string
	// subject begins the subject where it is not the outcome.
	subject string
	// until and final are said where there is a time, and where the change can't
	// be undone; %s is the time.
	until, final string
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

const cantUndo = "This change can't be undone."

var kinds = map[news]kind{
	{outcome: control.Remediated}: {
		headline: "FIXED: changed back, and read back as compliant.",
		change:   "Changed", final: cantUndo, after: resumed, commands: undo,
	},
	{outcome: control.Observed}: {
		headline: "SEEN, NOT CHANGED: here Snapback only observes.",
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
		until:    "The resource is exempt until %s.", change: "Put back", undone: true, after: []string{"undo"}, commands: endExemption,
	},
	{outcome: control.Held}: {
		headline: "HELD: the violation stands; nothing was changed.",
	},
	{control.Held, ledger.GateLimit}: {
		headline: "HELD: the limit of changes is reached.", commands: release,
	},
	{control.Held, ledger.GateMode}: {
		headline: "HELD: the change was begun, and may not go on.", commands: releaseThis,
	},
	{control.Held, ledger.GateTugOfWar}: {
		headline: "TUG OF WAR: it was broken again; Snapback has stopped.", subject: "TUG OF WAR:", raised: true,
		advice: "Find what keeps making the change (a pipeline, a template, an attacker) and stop or fix it there. " +
			"If it may be an attacker, disable the actor's credentials.",
		commands: pullOut,
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
}

func (a Alert) kind() kind {
	if k, ok := kinds[news{a.Outcome, a.Gate}]; ok {
		return k
	}
	return kinds[news{outcome: a.Outcome}]
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

func undo(c *ledger.Case) []Command {
	if !slices.ContainsFunc(c.Steps, func(s ledger.Step) bool { return !s.Irreversible }) {
		return nil
	}
	return []Command{{"undo", "snapback cases undo " + word(c.ID, "CASE")}}
}

// again retries, and undoes what was changed before it failed.
func again(c *ledger.Case) []Command {
	commands := []Command{{"retry", "snapback cases retry " + word(c.ID, "CASE")}}
	if slices.ContainsFunc(c.Steps, func(s ledger.Step) bool { return !s.Irreversible && !s.Applied.IsZero() }) {
		commands = append(commands, undo(c)...)
	}
	return commands
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

// Package alert tells the operators what happened: one SNS message that is an
// e-mail for people and JSON for machines.
package alert

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// Schema names the form of the JSON that machines receive. Fields may be added
// under the same number; it rises when one changes its meaning or goes.
const Schema = "snapback.alert/1"

// The outcomes of turning the kill switch, which are no outcomes of an event.
const (
	// Stopped: the kill switch is on, so that every function only observes.
	Stopped control.Outcome = "stopped"
	// Started: the kill switch is off again.
	Started control.Outcome = "started"
)

// Alert is one message to the operators. Its JSON, documented in
// docs/alerts.md, is what every subscriber but e-mail receives.
type Alert struct {
	Schema string `json:"schema"`
	// ID is the same for every delivery of the same news, so that receivers can
	// drop repeats.
	ID      string          `json:"id"`
	Outcome control.Outcome `json:"outcome"`
	// Severity is the control's or that of the worst finding, or one level above it
	// in a tug of war.
	Severity control.Severity `json:"severity"`
	// Reason is what is or was wrong with the resource, in a sentence; of a threat,
	// the title of the finding that came first.
	Reason string `json:"reason"`
	// Error is why it is not mended; empty where it is.
	Error string `json:"error,omitempty"`
	// Gate is what keeps a held change from being made, and Held says the same in
	// a sentence. Without a gate, it is one that could not be read.
	Gate ledger.Gate `json:"gate,omitempty"`
	Held string      `json:"held,omitempty"`
	// Limit is the limit that is reached, in words, in an alert that tells of no
	// case but of that.
	Limit string `json:"limit,omitempty"`
	// Scope is where the kill switch was turned: ledger.Organization or an account.
	Scope string `json:"scope,omitempty"`
	// Until is when an approval expires, an exemption or the hour of a limit ends.
	Until time.Time `json:"until,omitempty,omitzero"`
	// Irreversible says that a change, made or proposed, can't be undone.
	Irreversible bool   `json:"irreversible,omitempty"`
	Mode         string `json:"mode,omitempty"`
	// Control is the ID of the control or, of a threat, of the runbook.
	Control string `json:"control,omitempty"`
	Case    string `json:"case,omitempty"`
	// Target is, in a drill and where a finding is only told of, the finding itself.
	Target *control.Target `json:"target,omitempty"`
	ARN    string          `json:"arn,omitempty"`
	// Runbook says that it tells of a threat, which a runbook answers.
	Runbook bool `json:"runbook,omitempty"`
	// Findings are those of GuardDuty that it tells of, the one that came first
	// first; none where no finding led to it. Their texts come from outside.
	Findings []ledger.Finding `json:"findings,omitempty"`
	// Drill says that the finding is a sample: nothing is ever changed.
	Drill bool `json:"drill,omitempty"`
	// Account and Region are the target's, or the event's where it has none.
	Account string `json:"account,omitempty"`
	Region  string `json:"region,omitempty"`
	// Event and Actor are what led to the case; empty where no event did.
	Event ledger.Event `json:"event"`
	Actor *event.Actor `json:"actor,omitempty"`
	// By is the operator whose command this tells of, and Did the command:
	// "approve", "release", "retry", "undo", "stop" or "start".
	By  *ledger.Caller `json:"by,omitempty"`
	Did string         `json:"did,omitempty"`
	At  time.Time      `json:"at,omitempty,omitzero"` // when he gave it
	Why string         `json:"why,omitempty"`         // in his words
	// Rounds are the changes before this one in a tug of war, oldest first.
	Rounds  []ledger.Round `json:"rounds,omitempty"`
	Changes []Change       `json:"changes"`
	// Truncated says that something was left out to fit SNS's limit: all changes
	// and, if that was not enough, the ends of long texts and lists, the oldest
	// rounds and the first findings. The case has them.
	Truncated bool `json:"truncated,omitempty"`
	// Commands are what an operator may want to do now, exactly as he types it.
	Commands []Command `json:"commands,omitempty"`
	Docs     string    `json:"docs,omitempty"`
	// Version is that of the Snapback that tells it, and Baseline the SHA-256, in
	// hexadecimal, of the baseline file that it has; empty where it needs none.
	Version  string `json:"version,omitempty"`
	Baseline string `json:"baseline,omitempty"`
}

// Change is one change, made or proposed. Of a runbook's step it is there also
// where there was nothing to do: then without states and digest.
type Change struct {
	Remedy string `json:"remedy"`
	// Reason is what the step found wrong, where that is not the alert's reason.
	Reason string `json:"reason,omitempty"`
	Before raw    `json:"before"`
	After  raw    `json:"after"`
	Digest string `json:"digest"`
	// Outcome is empty where the change is only proposed, and undone once it was
	// put back.
	Outcome control.Outcome `json:"outcome,omitempty"`
	Error   string          `json:"error,omitempty"`
	// Left says, in a sentence each, what the change leaves open, or what of it
	// could not be put back.
	Left         []string `json:"left,omitempty"`
	Irreversible bool     `json:"irreversible,omitempty"`
}

// Command is a command of the command line.
type Command struct {
	// Label says in a word or two what it is for: "undo".
	Label string `json:"label"`
	// Run is the whole command, quoted for a POSIX shell. What only the operator
	// can know is left as "…" or YYYY-MM-DD.
	Run string `json:"run"`
}

// controlDocs and runbookDocs are where the pages of each control and runbook
// are published, newsDocs that of the alerts that concern none of them alone.
const (
	pages       = "https://github.com/snapback-aws/snapback/blob/main/docs/"
	controlDocs = pages + "controls.md#"
	runbookDocs = pages + "runbooks.md#"
	newsDocs    = pages + "alerts.md#"
)

// FromCase is the alert that tells of a case.
func FromCase(c *ledger.Case) Alert {
	a := Alert{
		Schema: Schema, ID: newsID(c),
		Outcome: c.Outcome, Severity: c.Severity, Reason: c.Reason, Gate: c.Gate, Held: c.Held, Until: c.Until, Mode: c.Mode,
		Control: c.Control, Case: c.ID, Target: &c.Target, ARN: c.ARN, Runbook: c.Runbook, Findings: c.Findings, Drill: c.Drill,
		Account: c.Target.Account, Region: c.Target.Region,
		Event: c.Event, Actor: c.Actor, Rounds: c.Rounds, Changes: []Change{},
	}
	a.Docs = a.docs()
	for _, f := range c.Findings { // one that came later may be worse
		a.Severity = worse(a.Severity, control.SeverityOf(f.Severity))
	}
	for _, s := range c.Current() {
		if s.Error != "" {
			a.Error = s.Error
		}
		a.Irreversible = a.Irreversible || s.Irreversible
		a.Changes = append(a.Changes, changeOf(c, s))
	}
	k := a.kind()
	if k.raised {
		a.Severity = raised(a.Severity)
	}
	for _, did := range slices.Backward(c.Commands) {
		if slices.Contains(k.after, did.Name) {
			a.By, a.Did, a.At, a.Why = &did.By, did.Name, did.At, did.Why
			break
		}
	}
	if k.commands != nil {
		a.Commands = k.commands(c)
	}
	a.Commands = append(a.Commands, Command{"show", "snapback cases show " + word(c.ID, "CASE")})
	return a
}

// newsID names the news that a case is: how it stands, how often operators
// stepped in, and of how many types the findings are, since another threat to
// the same resource is news.
func newsID(c *ledger.Case) string {
	id := c.ID + "-" + string(c.Outcome)
	if n := len(c.Commands); n > 0 {
		id += "-" + strconv.Itoa(n)
	}
	if n := len(findingTypes(c.Findings)); n > 1 {
		id += "-types-" + strconv.Itoa(n)
	}
	return id
}

// changeOf is the change of a step that counts. An undo puts back whatever the
// case changed, also what was tried before a retry.
func changeOf(c *ledger.Case, s *ledger.Step) Change {
	change := Change{
		Remedy: s.Remedy, Before: raw(s.Before), After: raw(s.After), Digest: s.Digest,
		Outcome: s.Outcome, Error: s.Error, Left: s.Left, Irreversible: s.Irreversible,
	}
	if s.Reason != c.Reason {
		change.Reason = s.Reason
	}
	var undone bool
	var left []string
	for _, tried := range c.Steps {
		if tried.Remedy == s.Remedy && !tried.Undone.IsZero() {
			undone, left = true, append(left, tried.Left...)
		}
	}
	if undone {
		change.Outcome, change.Error, change.Left = control.Undone, "", left
	}
	return change
}

// threat reports whether the alert tells of a threat.
func (a Alert) threat() bool { return a.Runbook || len(a.Findings) > 0 }

// worse is the worse one of two severities.
func worse(one, other control.Severity) control.Severity {
	if slices.Index(control.Severities, other) > slices.Index(control.Severities, one) {
		return other
	}
	return one
}

// raised is one level above a severity.
func raised(s control.Severity) control.Severity {
	if i := slices.Index(control.Severities, s); i >= 0 {
		return control.Severities[min(i+1, len(control.Severities)-1)]
	}
	return s
}

// maxSubject is how many characters an SNS subject may have. Source: SNS API
// reference, Publish ("less than 100 characters long").
const maxSubject = 99

// Subject is the first line an operator sees: outcome, control, resource and
// account in printable ASCII characters, as e-mail demands. A name that is too
// long is cut in its middle, so that the account is still told.
func (a Alert) Subject() string {
	head, name, tail := a.subject()
	head, name, tail = ascii("Snapback "+head), ascii(clean(orDash(name), maxName)), ascii(tail)
	if room := max(maxSubject-len(head)-len(" ")-len(tail), 10); len(name) > room {
		name = name[:room/2] + "..." + name[len(name)-(room-room/2-3):]
	}
	subject := head + " " + name + tail
	return subject[:min(len(subject), maxSubject)]
}

// subject is what the subject says, in three parts: of those, the name is cut.
func (a Alert) subject() (head, name, tail string) {
	head = strings.ToUpper(string(a.Outcome)) + ":"
	account := clean(a.Account, maxWord)
	switch {
	case a.Limit != "" && a.Account == "":
		return head + " limit of changes reached by", a.Control, ""
	case a.Limit != "":
		return head + " limit of changes reached in", account, ""
	case a.Scope == ledger.Organization:
		return head, "whole organization", ""
	case a.Scope != "":
		return head + " account", a.Scope, ""
	}
	if k := a.kind(); k.subject != "" {
		head = k.subject
	}
	if findingType := a.itself(); findingType != "" {
		return head, findingType, " in " + account
	}
	if a.Control != "" {
		head += " " + a.Control
	}
	switch {
	case a.Target != nil:
		return head, a.resourceID(), " in " + account
	case a.Event.Name != "":
		return head, a.Event.Name, " from " + account
	}
	return head, "an event", ""
}

// ascii puts a question mark for whatever is not printable ASCII.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

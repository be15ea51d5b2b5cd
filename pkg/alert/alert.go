// Package alert tells the operators what happened: one SNS message that is an
// e-mail for people and JSON for machines.
package alert

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// Schema names the form of the JSON that machines receive. Fields may be added
// under the same number; it rises when one changes its meaning or goes.
const Schema = "snapback.alert/1"

// Alert is one message to the operators. Its JSON, documented in
// docs/alerts.md, is what every subscriber but e-mail receives.
type Alert struct {
	Schema string `json:"schema"`
	// ID is the same for every delivery of the same news, so that receivers can
	// drop repeats.
	ID       string           `json:"id"`
	Outcome  control.Outcome  `json:"outcome"`
	Severity control.Severity `json:"severity"`
	// Reason is what is or was wrong with the resource.
	Reason string `json:"reason"`
	// Error is why it is not mended; empty where it is.
	Error   string          `json:"error,omitempty"`
	Mode    string          `json:"mode,omitempty"`
	Control string          `json:"control,omitempty"`
	Case    string          `json:"case,omitempty"`
	Target  *control.Target `json:"target,omitempty"`
	ARN     string          `json:"arn,omitempty"`
	// Account and Region are the target's, or the event's where it has none.
	Account string       `json:"account,omitempty"`
	Region  string       `json:"region,omitempty"`
	Event   ledger.Event `json:"event"`
	Actor   *event.Actor `json:"actor,omitempty"`
	Changes []Change     `json:"changes"`
	// Truncated says that the changes were left out to fit SNS's limit; the
	// case has them.
	Truncated bool   `json:"truncated,omitempty"`
	Docs      string `json:"docs,omitempty"`
}

// Change is one change, made or proposed.
type Change struct {
	Remedy string `json:"remedy"`
	Before raw    `json:"before"`
	After  raw    `json:"after"`
	Digest string `json:"digest"`
}

// docsURL is where the page of each control is published.
const docsURL = "https://github.com/snapback-aws/snapback/blob/main/docs/controls.md#"

// FromCase is the alert that tells of a case.
func FromCase(c *ledger.Case) Alert {
	a := Alert{
		Schema: Schema, ID: c.ID + "-" + string(c.Outcome),
		Outcome: c.Outcome, Severity: c.Severity, Reason: c.Reason, Mode: c.Mode,
		Control: c.Control, Case: c.ID, Target: &c.Target, ARN: c.ARN,
		Account: c.Target.Account, Region: c.Target.Region,
		Event: c.Event, Actor: c.Actor, Changes: []Change{}, Docs: docsURL + c.Control,
	}
	for _, s := range c.Steps {
		if s.Error != "" {
			a.Error = s.Error
		}
		a.Changes = append(a.Changes, Change{Remedy: s.Remedy, Before: raw(s.Before), After: raw(s.After), Digest: s.Digest})
	}
	return a
}

// maxSubject is how many characters an SNS subject may have. Source: SNS API
// reference, Publish ("less than 100 characters long").
const maxSubject = 99

// Subject is the first line an operator sees: outcome, control, resource and
// account in printable ASCII characters, as e-mail demands. A name that is too
// long is cut in its middle, so that the account is still told.
func (a Alert) Subject() string {
	head := "Snapback " + strings.ToUpper(string(a.Outcome)) + ":"
	if a.Control != "" {
		head += " " + a.Control
	}
	name, tail := "an event", ""
	switch {
	case a.Target != nil:
		name, tail = a.Target.ID, " in "+clean(a.Account, maxWord)
	case a.Event.Name != "":
		name, tail = a.Event.Name, " from "+clean(a.Account, maxWord)
	}
	head, name, tail = ascii(head), ascii(clean(orDash(name), maxName)), ascii(tail)
	if room := max(maxSubject-len(head)-len(" ")-len(tail), 10); len(name) > room {
		name = name[:room/2] + "..." + name[len(name)-(room-room/2-3):]
	}
	subject := head + " " + name + tail
	return subject[:min(len(subject), maxSubject)]
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

// headlines say what happened and whether it is mended, in one line.
var headlines = map[control.Outcome]string{
	control.Remediated:       "FIXED: changed back, and read back as compliant.",
	control.Observed:         "SEEN, NOT CHANGED: this control only observes.",
	control.AwaitingApproval: "WAITING: nothing is changed until someone approves.",
	control.Failed:           "NOT FIXED: the change could not be made, or did not hold.",
	control.Held:             "HELD: the violation stands; nothing was changed.",
	control.Unreadable:       "CAN'T TELL: the resource could not be read.",
	control.Refused:          "REFUSED: the event can't be trusted; nothing was changed.",
}

// Text is the e-mail's body: what happened and is it mended; which resource;
// who and when; what was changed; where to read on. Lines are wrapped for a
// phone, commands and names left whole so that they can be copied.
func (a Alert) Text() string {
	news := headlines[a.Outcome] + "\n\n" + wrap(clean(a.Reason, maxSentence), "") + "\n"
	if a.Error != "" {
		news += wrap("Why: "+clean(a.Error, maxSentence), "") + "\n"
	}
	sections := []string{news, a.where(), a.who(), a.changed()}
	if a.Case != "" {
		sections = append(sections, "The whole story, with the states before and after:\nsnapback cases show "+a.Case+"\n")
	}
	if a.Docs != "" {
		sections = append(sections, "About this control:\n"+a.Docs+"\n")
	}
	sections = slices.DeleteFunc(sections, func(s string) bool { return s == "" })
	return strings.Join(sections, "\n")
}

// where are the lines on the resource, its account and the control.
func (a Alert) where() string {
	var lines []string
	if a.Target != nil {
		lines = append(lines, "Resource  "+clean(a.Target.ID, maxName), indent+clean(a.Target.Type, maxName))
	}
	if account := strings.TrimSpace(a.Account + " " + a.Region); account != "" {
		lines = append(lines, "Account   "+clean(account, maxName))
	}
	if a.Control != "" {
		lines = append(lines, fmt.Sprintf("Control   %s (%s)", a.Control, a.Severity))
	}
	return paragraph(lines)
}

// who are the lines on the actor and the time.
func (a Alert) who() string {
	var lines []string
	if p := a.Actor; p != nil {
		lines = append(lines, fmt.Sprintf("Who       %s (%s)", clean(orDash(p.Name), maxName), clean(orDash(p.Type), maxWord)))
		if id := cmp.Or(p.ARN, p.Principal); id != "" {
			lines = append(lines, indent+clean(id, maxName))
		}
		if p.ARN == "" && p.Account != "" {
			lines = append(lines, indent+"of account "+clean(p.Account, maxName))
		}
		lines = append(lines, indent+signIn(p))
		if p.Address != "" {
			lines = append(lines, indent+"from "+clean(p.Address, maxName))
		}
		if p.UserAgent != "" {
			lines = append(lines, wrap("with "+clean(p.UserAgent, maxAgent), indent))
		}
		if p.InvokedBy != "" && p.InvokedBy != p.Name {
			lines = append(lines, indent+"through "+clean(p.InvokedBy, maxName))
		}
		if p.OnBehalfOf != nil {
			lines = append(lines, wrap("for Identity Center user "+clean(p.OnBehalfOf.UserID, maxName), indent))
		}
	}
	if !a.Event.Time.IsZero() {
		lines = append(lines, "When      "+a.Event.Time.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	label := "Event     "
	for _, name := range []string{a.Event.Name, cmp.Or(a.Event.CloudTrail, a.Event.ID)} {
		if name != "" {
			lines = append(lines, label+clean(name, maxName))
			label = indent
		}
	}
	return paragraph(lines)
}

// paragraph is lines, each with its end.
func paragraph(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

func signIn(p *event.Actor) string {
	with := "no access key"
	if p.AccessKey != "" {
		with = "key " + clean(p.AccessKey, maxName)
	}
	if p.MFA {
		return with + ", signed in with MFA"
	}
	return with + ", without MFA"
}

// changed are the lines on what was or would be changed.
func (a Alert) changed() string {
	if a.Truncated {
		return wrap("The changes are too long for this message: the case has them.", "") + "\n"
	}
	head := "Would change"
	switch a.Outcome {
	case control.Remediated:
		head = "Changed"
	case control.Failed:
		head = "Tried to change"
	}
	var changes []string
	for i, c := range a.Changes {
		if i == maxEntries {
			changes = append(changes, fmt.Sprintf("… and %d more changes\n", len(a.Changes)-i))
			break
		}
		entries := difference(c.Before, c.After, max(1, maxEntries/len(a.Changes)))
		changes = append(changes, fmt.Sprintf("%s (%s):\n%s", head, c.Remedy, paragraph(entries)))
	}
	return strings.Join(changes, "\n")
}

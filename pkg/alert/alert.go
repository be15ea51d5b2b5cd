// Package alert tells the operators what happened: one SNS message that is an
// e-mail for people and JSON for machines.
package alert

import (
	"cmp"
	"fmt"
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

// Subject is the first line an operator sees: outcome, control and resource in
// at most 100 printable ASCII characters, as SNS demands (API reference,
// Publish, Subject).
func (a Alert) Subject() string {
	parts := []string{"Snapback", strings.ToUpper(string(a.Outcome)) + ":"}
	if a.Control != "" {
		parts = append(parts, a.Control)
	}
	switch {
	case a.Target != nil:
		parts = append(parts, a.Target.ID, "in", a.Account)
	case a.Event.Name != "":
		parts = append(parts, a.Event.Name, "from", a.Account)
	default:
		parts = append(parts, "an event")
	}
	subject := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, strings.Join(parts, " "))
	if len(subject) > 100 {
		subject = subject[:97] + "..."
	}
	return subject
}

// headlines say what happened and whether it is mended, in one line.
var headlines = map[control.Outcome]string{
	control.Remediated:       "FIXED: changed back, and read back as compliant.",
	control.Observed:         "SEEN, NOT CHANGED: this control only observes.",
	control.AwaitingApproval: "WAITING: nothing is changed until someone approves.",
	control.Failed:           "NOT FIXED: the change could not be made, or did not hold.",
	control.Held:             "HELD: the violation stands; nothing was changed.",
	control.Unreadable:       "CAN'T TELL: the resource could not be read.",
	control.Refused:          "REFUSED: an event that can't be trusted; nothing was changed.",
}

// Text is the e-mail's body: what happened and is it mended; which resource;
// who and when; what was changed; where to read on. Lines are wrapped for a
// phone, commands and names left whole so that they can be copied.
func (a Alert) Text() string {
	var b strings.Builder
	write := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, format, args...) } // never fails (strings.Builder)
	write("%s\n\n%s\n", headlines[a.Outcome], wrap(clean(a.Reason, maxSentence), ""))
	if a.Error != "" {
		write("%s\n", wrap("Why: "+clean(a.Error, maxSentence), ""))
	}
	if a.Target != nil {
		write("\nResource  %s\n          %s\n", clean(a.Target.ID, maxName), a.Target.Type)
	}
	write("Account   %s %s\n", orDash(a.Account), a.Region)
	if a.Control != "" {
		write("Control   %s (%s)\n", a.Control, a.Severity)
	}
	write("%s", a.who())
	write("%s", a.changed())
	if a.Case != "" {
		write("\nThe whole story, with the states before and after:\nsnapback cases show %s\n", a.Case)
	}
	if a.Docs != "" {
		write("\nAbout this control:\n%s\n", a.Docs)
	}
	return b.String()
}

// who are the lines on the actor and the time.
func (a Alert) who() string {
	var lines []string
	if p := a.Actor; p != nil {
		lines = append(lines, fmt.Sprintf("Who       %s (%s)", clean(orDash(p.Name), maxName), clean(orDash(p.Type), maxName)))
		if p.ARN != "" {
			lines = append(lines, indent+clean(p.ARN, maxName))
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
			lines = append(lines, indent+"for Identity Center user "+clean(p.OnBehalfOf.UserID, maxName))
		}
	}
	if !a.Event.Time.IsZero() {
		lines = append(lines, "When      "+a.Event.Time.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	if a.Event.Name != "" {
		lines = append(lines, "Event     "+clean(a.Event.Name, maxName))
	}
	if id := cmp.Or(a.Event.CloudTrail, a.Event.ID); id != "" {
		lines = append(lines, indent+clean(id, maxName))
	}
	return "\n" + strings.Join(lines, "\n") + "\n"
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
	if len(a.Changes) == 0 {
		return ""
	}
	head := "Would change"
	if a.Outcome == control.Remediated {
		head = "Changed"
	}
	var b strings.Builder
	for _, c := range a.Changes {
		_, _ = fmt.Fprintf(&b, "\n%s (%s):\n", head, c.Remedy)
		for _, line := range difference(c.Before, c.After) {
			b.WriteString("  " + line + "\n")
		}
	}
	return b.String()
}

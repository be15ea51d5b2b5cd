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

// maxLines is how long an e-mail is at most, whatever it has to tell.
const maxLines = 40

const stamp = "2006-01-02 15:04:05 UTC"

// paragraph is a part of the e-mail. Its lines are rendered for as much room as
// there is. What it needs first it gets in any case; what it needs next, and then,
// it gets before any other gets more than that.
type paragraph struct {
	lines func(most int) []string
	needs []int
}

// Text is the e-mail's body: what happened and is it mended; what GuardDuty
// found; which resource; who and when; what was changed; what to do; where to
// read on; which Snapback tells it. It has at most 40 lines, wrapped for a phone, commands and names left
// whole so that they can be copied. A line that begins at its left edge is
// Snapback's own: whatever comes from outside follows a label or is indented.
func (a Alert) Text() string {
	story, who, changed := 3, 7, 5
	switch {
	case len(a.Rounds) > 0: // which take their place
		who, changed = 3, 3
	case len(a.Findings) > 0: // whose actor nobody knows
		story, who = 2, 4
	}
	open, all := a.toTell()
	return fit(
		paragraph{a.head, []int{maxLines}},
		paragraph{a.story, []int{story}},
		paragraph{a.found, []int{2, 2, 5}},
		paragraph{a.where, []int{maxLines}},
		paragraph{a.who, []int{who}},
		paragraph{a.rounds, []int{9}},
		paragraph{a.changed, []int{changed, open, all}},
		paragraph{a.commands, []int{maxLines}},
	)
}

// fit joins paragraphs: each gets what it needs, round by round, and what room is
// left goes to the upper ones, which matter most.
func fit(all ...paragraph) string {
	room := maxLines + 1 // an empty line follows each paragraph but the last
	wants, shares := make([]int, len(all)), make([]int, len(all))
	for i, p := range all {
		wants[i] = len(p.lines(maxLines))
		shares[i] = min(p.needs[0], wants[i])
		room -= shares[i] + min(wants[i], 1)
	}
	give := func(i, need int) {
		more := max(0, min(need-shares[i], wants[i]-shares[i], room))
		shares[i] += more
		room -= more
	}
	for next := 1; next < 3; next++ {
		for i, p := range all {
			if next < len(p.needs) {
				give(i, p.needs[next])
			}
		}
	}
	var text []string
	for i, p := range all {
		give(i, wants[i])
		if lines := p.lines(shares[i]); len(lines) > 0 {
			text = append(text, strings.Join(lines, "\n")+"\n")
		}
	}
	return strings.Join(text, "\n")
}

// head says what happened, and what is most urgent to know about it.
func (a Alert) head(int) []string {
	k := a.kind()
	lines := []string{cmp.Or(k.headline, strings.ToUpper(string(a.Outcome))+".")}
	if k.until != "" && !a.Until.IsZero() {
		lines = append(lines, fmt.Sprintf(k.until, a.Until.UTC().Format(stamp)))
	}
	reversible := slices.ContainsFunc(a.Changes, func(c Change) bool { return !c.Irreversible })
	switch {
	case k.final != "" && a.Irreversible && reversible:
		lines = append(lines, "A part of this can't be undone.")
	case k.final != "" && a.Irreversible:
		lines = append(lines, k.final)
	}
	if k.left != "" && slices.ContainsFunc(a.Changes, func(c Change) bool { return c.Outcome == control.Undone && len(c.Left) > 0 }) {
		lines = append(lines, k.left)
	}
	if n := len(findingTypes(a.Findings)); n > 1 {
		lines = append(lines, fmt.Sprintf("GuardDuty tells of it by findings of %d types.", n))
	}
	return lines
}

// story is the reason, and why it is not mended. Where there are steps, each
// tells that by itself.
func (a Alert) story(most int) []string {
	const each = 5
	paragraph := func(s string) []string {
		if s == "" {
			return nil
		}
		return cut(wrap(s, "  "), each)
	}
	reason, why := paragraph(clean(a.Reason, maxSentence)), paragraph(clean(a.Held, maxSentence))
	if a.Error != "" && !a.stepwise() {
		why = append(why, paragraph("Why: "+clean(a.Error, maxSentence))...)
	}
	why = cut(why, most-min(len(reason), max((most+1)/2, most-len(why))))
	return append(cut(reason, most-len(why)), why...)
}

// where are the lines on the resource, its account and the control or runbook.
func (a Alert) where(int) []string {
	lines := a.resource()
	account := strings.TrimSpace(a.Account + " " + a.Region)
	if a.Scope == ledger.Organization {
		account = "every account of the organization"
	}
	if account != "" {
		lines = append(lines, "Account   "+clean(account, maxName))
	}
	if a.Control != "" {
		rule := "Control"
		if a.threat() {
			rule = "Runbook"
		}
		lines = append(lines, fmt.Sprintf("%-10s%s (%s)", rule, clean(a.Control, maxName), a.Severity))
	}
	return lines
}

// resource are the lines on the target. One that is a finding is told in the
// finding's own words.
func (a Alert) resource() []string {
	switch {
	case a.Target == nil:
		return nil
	case a.Target.Type == control.TypeFinding && len(a.Findings) > 0 && a.Findings[0].Resource != "":
		return cut(hanging("Resource  ", indent, clean(a.Findings[0].Resource, maxName)), 2)
	}
	name, kind := "Resource  "+clean(a.Target.ID, maxName), "("+clean(a.Target.Type, maxName)+")"
	if length(name+" "+kind) <= width {
		return []string{name + " " + kind}
	}
	return []string{name, indent + kind}
}

// ranked is a line that goes, where there is no room for all, before those of a
// lower rank. Those of rank 0 stay.
type ranked struct {
	rank int
	text string
}

// who are the lines on the operator, the actor and the times.
func (a Alert) who(most int) []string {
	all := slices.Concat(a.operator(), actor(a.Actor), a.cause())
	if len(a.Findings) > 0 { // what led here is told as found
		all = a.operator()
	}
	return fewer(all, most)
}

// fewer are at most so many lines: those of the highest rank go first, and of
// one rank the last.
func fewer(all []ranked, most int) []string {
	for rank := 3; rank > 0; rank-- {
		for i := len(all) - 1; i >= 0 && len(all) > most; i-- {
			if all[i].rank == rank {
				all = slices.Delete(all, i, i+1)
			}
		}
	}
	var lines []string
	for _, l := range all[:min(len(all), most)] {
		lines = append(lines, l.text)
	}
	return lines
}

// dids are the labels of what an operator did.
var dids = map[string]string{
	"approve": "Approved", "release": "Released", "retry": "Retried", "undo": "Undone", "stop": "Stopped", "start": "Started",
}

func (a Alert) operator() []ranked {
	if a.By == nil {
		return nil
	}
	label := cmp.Or(dids[a.Did], "By")
	if a.threat() && a.Did == "undo" { // as the e-mail calls it
		label = dids["release"]
	}
	at := a.At.UTC().Format(stamp)
	if a.By.Host != "" {
		at += " on " + clean(a.By.Host, maxWord)
	}
	lines := []ranked{
		{0, fmt.Sprintf("%-10s", label) + clean(orDash(a.By.ARN), maxName)},
		{1, indent + at},
	}
	if a.Why != "" {
		const most = 4
		for i, l := range cut(wrap("because: "+clean(a.Why, maxSentence), indent), most) {
			lines = append(lines, ranked{min(2+i, 3), l})
		}
	}
	return lines
}

// actor are the lines on who made the call. What is said twice is said once:
// services are their own address and user agent.
func actor(p *event.Actor) []ranked {
	if p == nil {
		return nil
	}
	lines := []ranked{{0, fmt.Sprintf("Who       %s (%s)", clean(orDash(p.Name), maxName), clean(orDash(p.Type), maxWord))}}
	said := map[string]bool{"": true, p.Name: true}
	add := func(rank int, before, value string, most int) {
		if !said[value] {
			said[value] = true
			lines = append(lines, ranked{rank, indent + before + clean(value, most)})
		}
	}
	add(0, "", cmp.Or(p.ARN, p.Principal), maxName)
	if p.ARN == "" {
		add(1, "of account ", p.Account, maxName)
	}
	if p.Type != "AWSService" {
		lines = append(lines, ranked{1, indent + signIn(p)})
	}
	add(1, "through ", p.InvokedBy, maxName)
	add(1, "from ", p.Address, maxName)
	if p.OnBehalfOf != nil {
		lines = append(lines, ranked{2, indent + "for Identity Center user"})
		add(2, "", p.OnBehalfOf.UserID, maxName)
	}
	add(3, "with ", p.UserAgent, width-length(indent+"with …"))
	return lines
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

// cause are the lines on the event. In a tug of war, they are told by its last round.
func (a Alert) cause() []ranked {
	told := 0
	if len(a.Rounds) > 0 {
		told = 2
	}
	var lines []ranked
	if !a.Event.Time.IsZero() {
		lines = append(lines, ranked{told, "When      " + a.Event.Time.UTC().Format(stamp)})
	}
	label := "Event     "
	for rank, name := range []string{a.Event.Name, cmp.Or(a.Event.CloudTrail, a.Event.ID)} {
		if name != "" {
			lines = append(lines, ranked{max(told, 2*rank), label + clean(name, maxName)})
			label = indent
		}
	}
	return lines
}

// rounds are the lines on a tug of war: who is against whom, and each round,
// the present one last. Actors are named once and numbered.
func (a Alert) rounds(most int) []string {
	if len(a.Rounds) == 0 {
		return nil
	}
	const mostActors, mostRounds = 4, 8
	rounds := slices.Clone(a.Rounds)
	now := ledger.Round{At: a.Event.Time, Event: a.Event.Name}
	if a.Actor != nil {
		now.Actor = cmp.Or(a.Actor.ARN, a.Actor.Name) // as the ledger names those of the other rounds
	}
	var actors, turns []string
	for i, r := range append(rounds, now) {
		n := slices.Index(actors, r.Actor) + 1
		if n == 0 {
			actors, n = append(actors, r.Actor), len(actors)+1
		}
		at := ""
		if !r.At.IsZero() {
			at = r.At.UTC().Format("Jan _2 15:04:05")
		}
		turn := fmt.Sprintf("  %-15s  (%d) %s", at, n, clean(orDash(r.Event), maxName))
		if i == len(rounds) {
			turn += ", now"
		}
		turns = append(turns, turn)
	}
	for i, name := range actors {
		actors[i] = fmt.Sprintf("  (%d) ", i+1) + clean(cmp.Or(name, "someone the events do not name"), maxName)
	}
	actors = first(actors, mostActors, "actors")
	turns = last(turns, max(min(mostRounds, most-1-len(actors)), 3))
	times := "once"
	if n := len(rounds); n > 1 {
		times = fmt.Sprintf("%d times", n)
	}
	return slices.Concat([]string{"Snapback stepped in " + times + ", against:"}, actors, turns)
}

// first are the first lines, and how many are left out.
func first(lines []string, most int, what string) []string {
	if len(lines) <= most {
		return lines
	}
	return append(slices.Clone(lines[:most-1]), fmt.Sprintf("  … and %d more %s", len(lines)-most+1, what))
}

// last are the last lines, and how many are left out.
func last(lines []string, most int) []string {
	if len(lines) <= most {
		return lines
	}
	left := len(lines) - most + 1
	return append([]string{fmt.Sprintf("  … %d earlier rounds", left)}, lines[left:]...)
}

// commands are the lines on what to do, where to read on, and what tells it all.
func (a Alert) commands(int) []string {
	var lines []string
	if advice := a.kind().advice; advice != "" {
		lines = wrap(advice, "")
	}
	for _, c := range a.Commands {
		lines = append(lines, a.purpose(c.Label), c.Run)
	}
	lines = append(lines, "Docs      "+a.docs())
	if from := a.from(); from != "" {
		lines = append(lines, "Snapback  "+from)
	}
	return lines
}

// from is what tells the alert: which version, and with which baseline file.
func (a Alert) from() string {
	var parts []string
	if a.Version != "" {
		parts = append(parts, clean(a.Version, maxName))
	}
	if a.Baseline != "" {
		parts = append(parts, "baseline "+clean(control.ShortDigest(a.Baseline), maxWord))
	}
	return strings.Join(parts, ", ")
}

// docs is where to read on.
func (a Alert) docs() string {
	switch {
	case a.Docs != "":
		return a.Docs
	case a.threat():
		return runbookDocs + a.Control
	case a.Control != "":
		return controlDocs + a.Control
	}
	return newsDocs + string(a.Outcome)
}

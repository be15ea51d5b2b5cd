package alert

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/snapback-aws/snapback/pkg/control"
)

// stepwise reports whether the changes are told as steps.
func (a Alert) stepwise() bool {
	return !a.Truncated && (len(a.Changes) > 1 || a.threat() && len(a.Changes) == 1)
}

// ending is how a change ended and, a sentence each, what it leaves open.
type ending struct {
	how  []string
	open [][]string
}

// all is how many lines it takes to tell an ending, and least how many it takes
// to tell no more of how than its first line.
func (e ending) all() int { return len(e.how) + e.least() - 1 }

func (e ending) least() int { return 1 + len(slices.Concat(e.open...)) }

// lines are at most so many. What is left open comes before why, and is told
// whole or counted: nobody must think that it is less than it is.
func (e ending) lines(most int) []string {
	if most >= e.least() {
		return append(cut(e.how, most-e.least()+1), slices.Concat(e.open...)...)
	}
	lines := cut(e.how, min(most, 1))
	for i, sentence := range e.open {
		if len(lines)+len(sentence) >= most {
			more := fmt.Sprintf("    … and %d more left open: the case has them", len(e.open)-i)
			return append(lines, more)[:min(len(lines)+1, most)]
		}
		lines = append(lines, sentence...)
	}
	return lines
}

// changed are the lines on what was or would be changed.
func (a Alert) changed(most int) []string {
	switch {
	case a.Truncated:
		return wrap("The changes are too long for this message: the case has them.", "")
	case len(a.Changes) == 0 || most < 1:
		return nil
	case a.stepwise():
		return a.steps(most)
	}
	c, k := a.Changes[0], a.kind()
	lines := a.endings()[0].lines(most)
	lines = append(lines, c.states(k).lines("  ", most-len(lines))...)
	if len(lines) > 1 {
		lines[0] += ":"
	}
	return lines
}

// headed begins the lines on the changes.
func (a Alert) headed() string { return cmp.Or(a.kind().change, "Would change") }

// endings are how the changes ended. What several of them failed of is told once.
func (a Alert) endings() []ending {
	k := a.kind()
	if len(a.Changes) > 0 && !a.stepwise() {
		c := a.Changes[0]
		return []ending{{[]string{a.headed() + " (" + clean(c.Remedy, maxName) + ")"}, c.open(k, "  ")}}
	}
	said := map[string]bool{"": true, a.Held: true}
	var all []ending
	for _, c := range a.Changes {
		how, why := c.ending(k)
		line := clean(c.Remedy, maxName)
		if how != "" {
			line += ": " + how
		}
		if c.Irreversible {
			line += ", can't be undone"
		}
		switch {
		case !said[why]:
			line += ": " + clean(why, maxSentence)
		case why != "":
			line += ", as said above"
		}
		said[why] = true
		all = append(all, ending{hanging("  ", "    ", line), c.open(k, "    ")})
	}
	return all
}

// toTell is how many lines it takes to tell what the changes leave open, and to
// tell all of how they ended.
func (a Alert) toTell() (open, all int) {
	if a.stepwise() {
		open, all = 1, 1
	}
	for _, e := range a.endings() {
		open, all = open+e.least(), all+e.all()
	}
	return open, all
}

// steps are the lines on the steps, in their order: how each ended and, where
// there is room for that too, what it changed.
func (a Alert) steps(most int) []string {
	lines, rest := []string{a.headed() + ", step by step:"}, []string(nil)
	all, room := a.endings(), most-len(lines)
	if more := len(all) - room; more > 0 {
		rest = []string{fmt.Sprintf("  … and %d more changes", more+1)}[:min(room, 1)]
		room = max(room-1, 0)
		all = all[:room]
	}
	shares := make([]int, len(all))
	room = share(shares, room, func(i int) int { return all[i].least() })
	room = share(shares, room, func(i int) int { return all[i].all() })
	for i, e := range all {
		lines = append(lines, e.lines(shares[i])...)
		details := a.Changes[i].details(a.kind(), room/(len(all)-i))
		room -= len(details)
		lines = append(lines, details...)
	}
	return append(lines, rest...)
}

// share gives each in turn one line more, up to what it needs, and returns how
// many are left.
func share(shares []int, room int, need func(i int) int) (left int) {
	for gave := true; gave; {
		gave = false
		for i := range shares {
			if room > 0 && shares[i] < need(i) {
				shares[i]++
				room--
				gave = true
			}
		}
	}
	return room
}

// words are how a step's outcome is told.
var words = map[control.Outcome]string{
	control.Remediated: "done",
	control.Compliant:  "nothing to do",
	control.Observed:   "can't be changed",
	control.Failed:     "FAILED",
	control.Held:       "not changed",
	control.Unreadable: "can't be read",
	control.Gone:       "gone",
	control.Undone:     "put back",
}

// ending is how a change ended, and why it did not end well; empty where it is
// only proposed.
func (c Change) ending(k kind) (how, why string) {
	switch {
	case c.Outcome == "":
		return "", ""
	case k.undone && c.Outcome == control.Remediated:
		return "left as it was changed", ""
	case k.undone && c.Outcome != control.Undone:
		return "was not changed", ""
	case c.Outcome == control.Observed && len(c.Left) == 0:
		return "only reported", c.Reason
	case c.Outcome == control.Remediated && len(c.Left) > 0:
		return "done in part", c.Error
	}
	return cmp.Or(words[c.Outcome], string(c.Outcome)), c.Error
}

// open are the lines on what a change leaves open, a sentence each.
func (c Change) open(k kind, prefix string) [][]string {
	label := "left open: "
	switch {
	case k.undone && c.Outcome == control.Undone:
		label = "not put back: "
	case k.undone:
		return nil
	case c.Outcome == "":
		label = "would stay open: "
	}
	var all [][]string
	for _, l := range c.Left {
		all = append(all, hanging(prefix, prefix+"  ", label+clean(l, maxSentence)))
	}
	return all
}

// details are the lines on what a step changed or would, and of one that is
// only proposed on why.
func (c Change) details(k kind, most int) []string {
	const mostReason = 3 // lines
	var why []string
	switch {
	case c.Outcome == "" && c.Reason != "":
		why = cut(wrap(clean(c.Reason, maxSentence), "    "), min(mostReason, most))
	case !c.changes(k):
		return nil
	}
	if len(why) >= most {
		return why
	}
	states := c.states(k).lines("    ", most-len(why))
	if len(states) == 1 && strings.HasPrefix(states[0], "    …") {
		return why // not one field fits
	}
	return append(why, states...)
}

// changes reports whether the change changed something, would, or was tried.
func (c Change) changes(k kind) bool {
	if k.undone {
		return c.Outcome == control.Undone
	}
	return c.Outcome == "" || c.Outcome == control.Remediated || c.Outcome == control.Failed
}

// states are the fields that the change changed, or would.
func (c Change) states(k kind) *differ {
	if k.undone {
		return difference(c.After, c.Before)
	}
	return difference(c.Before, c.After)
}

package alert

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// findingTypes are the types of findings, in the order in which the first one of
// each came.
func findingTypes(findings []ledger.Finding) []string {
	var all []string
	for _, f := range findings {
		if !slices.Contains(all, f.Type) {
			all = append(all, f.Type)
		}
	}
	return all
}

// itself is the type of finding that the alert is about where its target is no
// resource but the finding, and empty elsewhere.
func (a Alert) itself() string {
	if len(a.Findings) > 0 && a.Target != nil && a.Target.Type == control.TypeFinding && a.resourceID() == a.Findings[0].ID {
		return a.Findings[0].Type
	}
	return ""
}

// resourceID is the ID of the target. In a drill that is the finding, behind whose
// ID the engine writes that of the resource.
func (a Alert) resourceID() string {
	if _, id, ok := strings.Cut(a.Target.ID, "/"); ok && a.Drill {
		return id
	}
	return a.Target.ID
}

// found are the lines on what GuardDuty found: on each type of finding, the last
// ones of which are news, then on the other side and the ports.
func (a Alert) found(most int) []string {
	const mostTypes = 3
	var all []ranked
	known := findingTypes(a.Findings)
	for _, name := range known[max(0, len(known)-mostTypes):] {
		all = append(all, a.foundOf(name)...)
	}
	var remotes, ports []string
	for _, f := range a.Findings {
		remotes = append(remotes, f.Remotes...)
		for _, p := range f.Ports {
			ports = append(ports, strconv.Itoa(p))
		}
	}
	return fewer(slices.Concat(all, listed("Remote", remotes), listed("Ports", ports)), most)
}

// foundOf are the lines on the findings of one type: on the last one, and how
// many there are.
func (a Alert) foundOf(findingType string) []ranked {
	var f ledger.Finding
	others := -1
	for _, same := range a.Findings {
		if same.Type == findingType {
			f, others = same, others+1
		}
	}
	lines := []ranked{{0, "Finding   " + clean(orDash(f.Type), maxName)}}
	add := func(rank, most int, s string) {
		for _, l := range cut(wrap(s, indent), most) {
			lines = append(lines, ranked{rank, l})
		}
	}
	add(1, 1, rated(f))
	for i, l := range seen(f) {
		add(2+i, 1, l)
	}
	switch {
	case others == 1:
		add(2, 1, "one more finding of this type")
	case others > 1:
		add(2, 1, fmt.Sprintf("%d more findings of this type", others))
	}
	if f.Title != "" && f.Title != a.Reason {
		add(2, 3, clean(f.Title, maxSentence))
	}
	if about := clean(f.Resource, maxName); about != "" && !a.names(f.Resource) {
		add(2, 2, "about "+about)
	}
	return lines
}

// names reports whether the line on the resource says as much as a finding does.
func (a Alert) names(resource string) bool {
	if a.Target == nil || a.Target.Type == control.TypeFinding {
		return resource == a.Findings[0].Resource
	}
	short := a.Target.Type[strings.LastIndex(a.Target.Type, ":")+1:]
	return resource == short+" "+a.Target.ID
}

// rated says how bad a finding is, and on which side the resource is. GuardDuty
// alone knows what it means by the role: of DNS findings, the target is at work.
func rated(f ledger.Finding) string {
	s := fmt.Sprintf("severity %.1f (%s)", f.Severity, control.SeverityOf(f.Severity))
	if f.Role != "" {
		s += ", role " + clean(f.Role, maxWord)
	}
	return s
}

// seen says how often the activity was seen, and since when until when.
func seen(f ledger.Finding) []string {
	first, last := f.First.UTC().Format(stamp), f.Last.UTC().Format(stamp)
	times := "seen once"
	if f.Count > 1 {
		times = fmt.Sprintf("seen %d times", f.Count)
	}
	switch {
	case f.First.IsZero() && f.Last.IsZero():
		return []string{times}
	case f.First.IsZero(), first == last:
		return []string{times + " at " + last}
	case f.Last.IsZero():
		return []string{times + " since " + first}
	}
	return []string{times + " since " + first, "last at " + last}
}

// listed are the lines that name a few things of a list behind a label.
func listed(label string, all []string) []ranked {
	const most, longest = 6, 45 // characters of an address, of IPv6 with an IPv4 one in it
	once := map[string]bool{}
	var named []string
	for _, name := range all {
		if !once[name] && len(named) < most {
			named = append(named, clean(name, longest))
		}
		once[name] = true
	}
	if len(named) == 0 {
		return nil
	}
	s := strings.Join(named, ", ")
	if left := len(once) - most; left > 0 {
		s += fmt.Sprintf(" and %d more", left)
	}
	var lines []ranked
	for i, l := range cut(hanging(fmt.Sprintf("%-10s", label), indent, s), 3) {
		lines = append(lines, ranked{min(i+1, 2), l})
	}
	return lines
}

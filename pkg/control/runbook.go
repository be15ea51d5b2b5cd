package control

import (
	"cmp"
	"slices"

	"github.com/snapback-aws/snapback/pkg/event"
)

// Runbook is what is done about a threat, which GuardDuty findings of some types
// or some calls tell of: remedies, in their order, on the resources that they
// name.
type Runbook struct {
	// ID is how the baseline file, alerts and cases name it: "ec2-quarantine".
	ID string
	// Title says in one short sentence what it does.
	Title string
	// Rationale says why this is the answer, for docs and explain.
	Rationale string
	// Hazard says what legitimate use it may break; empty where it changes nothing.
	Hazard string
	// Resource is the type of its targets.
	Resource
	// Findings are the finding types that it answers, as globs in which * stands
	// for any characters: "CryptoCurrency:EC2/*".
	Findings []string
	// Triggers are the CloudTrail calls that it answers, and Severity is how bad it
	// is that such a call was one that it has to answer; none if it answers findings.
	Triggers []Trigger
	Severity Severity
	// When says in words on which findings of these types it does, such as "the
	// instance is the actor"; empty: on all.
	When string
	// Targets are the resources that a finding names and that are to be answered
	// for; none if the finding is not one that When speaks of. Their Type is filled
	// in from the runbook, an empty Account or Region from the finding.
	Targets func(*event.Finding) []Target
	// Reason says why no more is done about a finding than to tell of it; nil where
	// more is.
	Reason func(*event.Finding) string
	// Steps are its remedies. A runbook without any only tells of the finding.
	Steps []Step
	// Params is a pointer to a struct of this runbook's own that holds its
	// defaults; the baseline file is decoded into it strictly. Nil: none.
	Params any
}

// Step is one remedy of a runbook. Every step works on the runbook's target.
// Steps are made side by side, as far as After lets them.
type Step struct {
	Remedy Remedy
	// After names the remedies of the same runbook that are applied before this
	// one, whether or not they succeed.
	After []string
	// Urgent says that its change is made as soon as it is planned and written
	// down, without waiting for the plans of the others.
	Urgent bool
}

// Called are the targets of a call that the runbook answers for, once each.
func (r *Runbook) Called(call *event.Call) []Target {
	c := Control{Resource: r.Resource, Triggers: r.Triggers}
	return slices.DeleteFunc(c.callTargets(call), func(t Target) bool { return !r.IDs.MatchString(t.ID) })
}

// Answers are the targets of a finding that the runbook answers for, once each;
// none if it does not answer this finding. A finding is not believed: what it
// names that can't be the ID of a resource of the type is left out.
func (r *Runbook) Answers(f *event.Finding) []Target {
	if !r.Matches(f.Type) {
		return nil
	}
	var targets []Target
	for _, t := range r.Targets(f) {
		t.Account, t.Region, t.Type = cmp.Or(t.Account, f.Account), cmp.Or(t.Region, f.Region), r.Type
		if r.IDs.MatchString(t.ID) && !slices.Contains(targets, t) {
			targets = append(targets, t)
		}
	}
	return targets
}

// Matches reports whether the runbook answers findings of a type, if they are
// as When says.
func (r *Runbook) Matches(findingType string) bool {
	return slices.ContainsFunc(r.Findings, func(glob string) bool { return MatchGlob(glob, findingType) })
}

// TypeFinding is the type of a target that is a GuardDuty finding itself: of a
// runbook that only tells of it.
const TypeFinding = "AWS::GuardDuty::Finding"

// Rating is the lowest severity of a finding that is as bad.
func (s Severity) Rating() float64 {
	return map[Severity]float64{Low: 1, Medium: 4, High: 7, Critical: 9}[s]
}

// SeverityOf is the severity in words of a finding's severity from 1.0 to 10.0.
// Source: GuardDuty user guide, "Severity levels of GuardDuty findings".
func SeverityOf(finding float64) Severity {
	switch {
	case finding >= 9:
		return Critical
	case finding >= 7:
		return High
	case finding >= 4:
		return Medium
	}
	return Low
}

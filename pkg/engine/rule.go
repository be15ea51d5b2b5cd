package engine

import (
	"cmp"
	"slices"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// rule is what a walk works for: a control, whose one remedy restores the
// baseline, or a runbook, whose remedies answer a finding.
type rule struct {
	id string
	control.Resource
	steps []control.Step
	// severity is the control's, or a runbook's own; after a finding it is that of
	// the finding.
	severity control.Severity
	cautious bool // see control.Control
	// runbook is nil for a control.
	runbook *control.Runbook
}

func ofControl(c *control.Control) *rule {
	return &rule{id: c.ID, Resource: c.Resource, severity: c.Severity, cautious: c.Cautious, steps: []control.Step{{Remedy: c.Remedy}}}
}

func ofRunbook(r *control.Runbook, severity control.Severity) *rule {
	return &rule{id: r.ID, Resource: r.Resource, severity: severity, steps: r.Steps, runbook: r}
}

// kind is what the rule is called.
func (r *rule) kind() string {
	if r.runbook != nil {
		return "runbook"
	}
	return "control"
}

// remedy is the remedy of a name; nil if the rule has it no longer.
func (r *rule) remedy(name string) *control.Remedy {
	for i := range r.steps {
		if r.steps[i].Remedy.Name == name {
			return &r.steps[i].Remedy
		}
	}
	return nil
}

// changes reports whether any of the remedies can change anything.
func (r *rule) changes() bool {
	return slices.ContainsFunc(r.steps, func(s control.Step) bool { return s.Remedy.Apply != nil })
}

// reversible reports whether all that the remedies change can be undone.
func (r *rule) reversible() bool {
	return !slices.ContainsFunc(r.steps, func(s control.Step) bool { return s.Remedy.Apply != nil && s.Remedy.Undo == nil })
}

// urgent reports whether some changes are made without waiting for the plans of
// the others.
func (r *rule) urgent() bool {
	return slices.ContainsFunc(r.steps, func(s control.Step) bool { return s.Urgent })
}

// rule finds a control or a runbook by its ID; nil if the engine has neither.
func (e *Engine) rule(id string) *rule {
	for i := range e.Controls {
		if e.Controls[i].ID == id {
			return ofControl(&e.Controls[i])
		}
	}
	for i := range e.Runbooks {
		if e.Runbooks[i].ID == id {
			return ofRunbook(&e.Runbooks[i], e.Runbooks[i].Severity)
		}
	}
	return nil
}

// from is a walk with all that is told by its event.
func (e *Engine) from(ev *event.Event) walk {
	w := walk{Engine: e, origin: source(ev), actor: actor(ev)}
	if f, ok := ev.Detail.(*event.Finding); ok {
		w.finding = finding(f)
	}
	return w
}

// walks are those of an event: one for each control, or runbook, and target.
func (e *Engine) walks(ev *event.Event) []walk {
	from := e.from(ev)
	if f, ok := ev.Detail.(*event.Finding); ok {
		return e.answers(from, ev, f)
	}
	var walks []walk
	for i := range e.Controls {
		for _, t := range e.Controls[i].Targets(ev) {
			w := from
			w.rule, w.target, w.subject, w.foreign = ofControl(&e.Controls[i]), t, t, t.Foreign(ev)
			walks = append(walks, w)
		}
	}
	if call, ok := ev.Detail.(*event.Call); ok {
		walks = append(walks, e.called(from, ev, call)...)
	}
	return walks
}

// called are the walks of a call: of the runbooks that answer it.
func (e *Engine) called(from walk, ev *event.Event, call *event.Call) []walk {
	var walks []walk
	for i := range e.Runbooks {
		r := &e.Runbooks[i]
		for _, t := range r.Called(call) {
			w := from
			w.rule, w.target, w.subject, w.foreign = ofRunbook(r, r.Severity), t, t, t.Foreign(ev)
			walks = append(walks, w)
		}
	}
	return walks
}

// answers are the walks of a finding: of the runbooks that do something about
// it or, where none does, of those that only tell of it.
func (e *Engine) answers(from walk, ev *event.Event, f *event.Finding) []walk {
	var walks []walk
	for i := range e.Runbooks {
		if r := &e.Runbooks[i]; len(r.Steps) > 0 {
			walks = append(walks, from.each(r, ev, f)...)
		}
	}
	if len(walks) == 0 {
		return e.tellers(from, ev, f, "")
	}
	return walks
}

// tellers are the walks of the runbooks that only tell of a finding; why says
// why nothing else is done, where that is not theirs to say.
func (e *Engine) tellers(from walk, ev *event.Event, f *event.Finding, why string) []walk {
	var walks []walk
	for i := range e.Runbooks {
		r := &e.Runbooks[i]
		if len(r.Steps) > 0 {
			continue
		}
		for _, w := range from.each(r, ev, f) {
			w.noMore = cmp.Or(why, r.Reason(f))
			walks = append(walks, w)
		}
	}
	return walks
}

// each are the walks of one runbook, one for each resource of the finding that
// it answers for. A drill leaves no trace on the resource that it names: its
// target is the finding.
func (w walk) each(r *control.Runbook, ev *event.Event, f *event.Finding) []walk {
	var walks []walk
	for _, t := range r.Answers(f) {
		w.rule, w.target, w.subject, w.foreign = ofRunbook(r, control.SeverityOf(f.Severity)), t, t, t.Foreign(ev)
		if f.Sample {
			w.drill = true
			w.target = control.Target{
				Account: t.Account, Region: t.Region, Type: control.TypeFinding,
				ID: f.ID + "@" + f.Updated.UTC().Format("20060102T150405Z") + "/" + t.ID,
			}
		}
		walks = append(walks, w)
	}
	return walks
}

// finding is what a case keeps of a finding.
func finding(f *event.Finding) *ledger.Finding {
	return &ledger.Finding{
		ID: f.ID, ARN: f.ARN, Type: f.Type, Title: f.Title, Severity: f.Severity, Count: f.Count, Role: f.Role,
		Resource: f.Resource(), Remotes: f.Remotes, Ports: f.LocalPorts, First: f.FirstSeen, Last: f.LastSeen,
	}
}

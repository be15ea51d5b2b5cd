package baseline

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/snapback-aws/snapback/pkg/control"
)

// Facts are what a decision depends on.
type Facts struct {
	// Control is the ID of the control or, if Runbook is set, of the runbook.
	Control string
	// Runbook says that the ID in Control names a runbook.
	Runbook bool
	// FindingSeverity is the severity of the finding, 1.0 to 10.0, that a runbook
	// answers. Below the runbook's from-severity it changes nothing.
	FindingSeverity float64
	// Account is the 12-digit number of the account that owns the resource.
	Account string
	// ARN names the resource as exemptions do.
	ARN string
	// OrganizationalUnits are the IDs of all units above the account. They are
	// needed only if Needs says so.
	OrganizationalUnits []string
	// Tags are the resource's tags. They are needed only if Needs says so.
	Tags map[string]string
	// Now is when the decision is made.
	Now time.Time
}

// Decision is how far Snapback may go.
type Decision struct {
	// Mode is the mode. It is at most Observe for an exempt or protected
	// resource, so that a caller that reads nothing else changes neither.
	Mode Mode
	// Exemption is the one that covers the resource, or nil. When Mode is Off
	// none is looked for.
	Exemption *Exemption
	// Explicit is set if the mode was given for this very control or runbook by its
	// full ID, in its own entry or in an override, and not by a default, by a glob,
	// by the severity of the finding, or by what makes the resource exempt or
	// protected.
	Explicit bool
	// Why names what decided: "baseline.yaml:14 (override)".
	Why string
}

// Decide returns the mode of a control or a runbook on a resource. The default
// mode gives way to an entry of the control or runbook, that to the last override
// that matches, and all of them to what a finding lets a runbook do, to what is
// protected and to an exemption.
func (b *Baseline) Decide(f Facts) Decision {
	d := b.everywhere(f)
	if o := b.override(f); o != nil {
		d = Decision{Mode: o.Mode, Explicit: slices.Contains(o.names(f), f.Control), Why: b.place(o.Line, "override")}
	}
	if d.Mode == Off {
		return d
	}
	if f.Runbook {
		d = b.afterFinding(f, d)
	}
	if p := b.ProtectedBy(f.ARN); p != "" {
		d = Decision{Mode: d.Mode.AtMost(Observe), Why: p}
	}
	if e := b.exemption(f); e != nil {
		d = Decision{Mode: d.Mode.AtMost(Observe), Exemption: e, Why: b.place(e.Line, "exemption")}
	}
	return d
}

// Strongest returns the strongest mode that a control or runbook may have on any
// resource: what its role must allow for. If it is Off, nothing of it need be
// deployed. Of the facts it looks at Control and Runbook.
func (b *Baseline) Strongest(f Facts) Mode {
	strongest := b.everywhere(f).Mode
	for i := range b.Overrides {
		if o := &b.Overrides[i]; o.concerns(f) && strongest.AtMost(o.Mode) == strongest {
			strongest = o.Mode
		}
	}
	return strongest
}

// everywhere is the decision where no override matches.
func (b *Baseline) everywhere(f Facts) Decision {
	if s := b.setting(f, func(s *Setting) bool { return s.Mode != "" }); s != nil {
		return Decision{Mode: s.Mode, Explicit: s.Name == f.Control, Why: b.entry(f, s)}
	}
	return b.byDefault(f)
}

// byDefault is the decision where the file says nothing of the control or
// runbook. A file that turns all off means its runbooks too.
func (b *Baseline) byDefault(f Facts) Decision {
	if f.Runbook && b.Mode != Off {
		return Decision{Mode: Approve, Why: "the default of runbooks"}
	}
	return Decision{Mode: cmp.Or(b.Mode, Observe), Why: "the default mode"}
}

// afterFinding weakens the mode of a runbook to what it may do after the finding.
func (b *Baseline) afterFinding(f Facts, d Decision) Decision {
	from, why := DefaultFromSeverity, "the default of runbooks"
	if s := b.setting(f, func(s *Setting) bool { return s.FromSeverity != 0 }); s != nil {
		from, why = s.FromSeverity, b.entry(f, s)
	}
	// A severity that is no number reaches nothing.
	reached := f.FindingSeverity >= from
	if weaker := d.Mode.AtMost(Observe); !reached && weaker != d.Mode {
		d = Decision{Mode: weaker, Why: fmt.Sprintf("the finding's severity %g is below %g: %s", f.FindingSeverity, from, why)}
	}
	if f.Account == b.Organization.Hub.Account {
		d = Decision{Mode: d.Mode.AtMost(Observe), Why: "the hub's own account"}
	}
	return d
}

func (b *Baseline) place(line int, what string) string {
	return fmt.Sprintf("%s:%d (%s)", b.File, line, what)
}

func (b *Baseline) entry(f Facts, s *Setting) string {
	kind := "control "
	if f.Runbook {
		kind = "runbook "
	}
	return b.place(s.Line, kind+s.Name)
}

// setting finds the entry that gives a control or a runbook what is asked for:
// its own one, else the last glob that matches.
func (b *Baseline) setting(f Facts, gives func(*Setting) bool) *Setting {
	all := b.Controls
	if f.Runbook {
		all = b.Runbooks
	}
	var found *Setting
	for i := range all {
		s := &all[i]
		if !gives(s) {
			continue
		}
		if s.Name == f.Control {
			return s
		}
		if control.MatchGlob(s.Name, f.Control) {
			found = s
		}
	}
	return found
}

// override finds the last override that matches.
func (b *Baseline) override(f Facts) *Override {
	for i := len(b.Overrides) - 1; i >= 0; i-- {
		o := &b.Overrides[i]
		if o.concerns(f) && o.Match.holds(f) {
			return o
		}
	}
	return nil
}

// names are those of the kind that the facts are about: "ec2-*" for controls
// must not reach a runbook of such a name, nor the other way round.
func (o *Override) names(f Facts) []string {
	if f.Runbook {
		return o.Runbooks
	}
	return o.Controls
}

func (o *Override) concerns(f Facts) bool {
	return slices.ContainsFunc(o.names(f), func(glob string) bool { return control.MatchGlob(glob, f.Control) })
}

func (m Match) holds(f Facts) bool {
	if !m.inAccount(f.Account) {
		return false
	}
	in := func(unit string) bool { return slices.Contains(f.OrganizationalUnits, unit) }
	if len(m.OrganizationalUnits) > 0 && !slices.ContainsFunc(m.OrganizationalUnits, in) {
		return false
	}
	for key, want := range m.Tags {
		if got, ok := f.Tags[key]; !ok || got != want {
			return false
		}
	}
	return true
}

func (m Match) inAccount(account string) bool {
	return len(m.Accounts) == 0 || slices.Contains(m.Accounts, account)
}

// ProtectedBy returns what of `protected` an ARN is, in the words of
// Decision.Why: "protected principal arn:aws:iam::*:role/break-glass". It is
// empty if the ARN is not protected.
func (b *Baseline) ProtectedBy(arn string) string {
	for _, p := range b.Protected.Principals {
		if control.MatchARN(p, arn) {
			return "protected principal " + p
		}
	}
	for _, r := range b.Protected.Resources {
		if control.MatchARN(r, arn) {
			return "protected resource " + r
		}
	}
	return ""
}

// exemption finds the first exemption that covers the resource.
func (b *Baseline) exemption(f Facts) *Exemption {
	for i := range b.Exemptions {
		e := &b.Exemptions[i]
		if !e.Ended(f.Now) && e.concerns(f) && control.MatchARN(e.Resource, f.ARN) {
			return e
		}
	}
	return nil
}

func (e *Exemption) concerns(f Facts) bool {
	glob := e.Control
	if f.Runbook {
		glob = e.Runbook
	}
	return control.MatchGlob(glob, f.Control)
}

// Needs reports whether a decision about this control or runbook in this account
// depends on the account's organizational units or on the resource's tags, so
// that the engine reads only what it needs. Of the facts it looks at Control,
// Runbook and Account.
func (b *Baseline) Needs(f Facts) (organizationalUnits, tags bool) {
	for i := len(b.Overrides) - 1; i >= 0; i-- {
		o := &b.Overrides[i]
		if !o.concerns(f) || !o.Match.inAccount(f.Account) {
			continue
		}
		units, byTags := len(o.Match.OrganizationalUnits) > 0, len(o.Match.Tags) > 0
		if !units && !byTags {
			break // It matches for certain: those before it can't decide.
		}
		organizationalUnits = organizationalUnits || units
		tags = tags || byTags
	}
	return organizationalUnits, tags
}

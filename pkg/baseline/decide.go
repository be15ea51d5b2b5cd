package baseline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/snapback-aws/snapback/pkg/control"
)

// Facts are what a decision depends on.
type Facts struct {
	// Control is the control's ID.
	Control string
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
	// Explicit is set if the mode was given for this very control by its full ID,
	// in its own entry or in an override, and not by a default, by a glob, or by
	// what makes the resource exempt or protected.
	Explicit bool
	// Why names what decided: "baseline.yaml:14 (override)".
	Why string
}

// Decide returns the mode of a control on a resource. The default mode gives
// way to the control's entry, that to the last override that matches, and all
// of them to a protected principal and an exemption.
func (b *Baseline) Decide(f Facts) Decision {
	d := Decision{Mode: cmp.Or(b.Mode, Observe), Why: "the default mode"}
	if s := b.setting(f.Control); s != nil {
		d = Decision{Mode: s.Mode, Explicit: s.Control == f.Control, Why: b.place(s.Line, "control "+s.Control)}
	}
	if o := b.override(f); o != nil {
		d = Decision{Mode: o.Mode, Explicit: slices.Contains(o.Controls, f.Control), Why: b.place(o.Line, "override")}
	}
	if d.Mode == Off {
		return d
	}
	if p := b.protectedBy(f.ARN); p != "" {
		d = Decision{Mode: d.Mode.AtMost(Observe), Why: "protected principal " + p}
	}
	if e := b.exemption(f); e != nil {
		d = Decision{Mode: d.Mode.AtMost(Observe), Exemption: e, Why: b.place(e.Line, "exemption")}
	}
	return d
}

func (b *Baseline) place(line int, what string) string {
	return fmt.Sprintf("%s:%d (%s)", b.File, line, what)
}

// setting finds the entry of `controls` that gives a control its mode: its own
// one, else the last glob that matches.
func (b *Baseline) setting(id string) *Setting {
	var found *Setting
	for i := range b.Controls {
		s := &b.Controls[i]
		if s.Mode == "" {
			continue
		}
		if s.Control == id {
			return s
		}
		if control.MatchGlob(s.Control, id) {
			found = s
		}
	}
	return found
}

// override finds the last override that matches.
func (b *Baseline) override(f Facts) *Override {
	for i := len(b.Overrides) - 1; i >= 0; i-- {
		o := &b.Overrides[i]
		if o.concerns(f.Control) && o.Match.holds(f) {
			return o
		}
	}
	return nil
}

func (o *Override) concerns(id string) bool {
	return slices.ContainsFunc(o.Controls, func(glob string) bool { return control.MatchGlob(glob, id) })
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

// protectedBy returns the protected principal that an ARN is, or nothing.
func (b *Baseline) protectedBy(arn string) string {
	for _, p := range b.Protected.Principals {
		if matchARN(p, arn) {
			return p
		}
	}
	return ""
}

// exemption finds the first exemption that covers the resource.
func (b *Baseline) exemption(f Facts) *Exemption {
	for i := range b.Exemptions {
		e := &b.Exemptions[i]
		if !e.Ended(f.Now) && control.MatchGlob(e.Control, f.Control) && matchARN(e.Resource, f.ARN) {
			return e
		}
	}
	return nil
}

// Needs reports whether a decision about this control in this account depends
// on the account's organizational units or on the resource's tags, so that the
// engine reads only what it needs.
func (b *Baseline) Needs(id, account string) (organizationalUnits, tags bool) {
	for i := len(b.Overrides) - 1; i >= 0; i-- {
		o := &b.Overrides[i]
		if !o.concerns(id) || !o.Match.inAccount(account) {
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

// matchARN matches an ARN field by field. A wildcard must not reach beyond its
// field: paths of IAM roles may hold colons, and whoever may name a role could
// otherwise make it look like a protected one.
func matchARN(pattern, arn string) bool {
	want, got := strings.SplitN(pattern, ":", arnFields), strings.SplitN(arn, ":", arnFields)
	if len(want) != arnFields || len(got) != arnFields {
		return false
	}
	for i := range arnResource {
		if want[i] != got[i] && (i != arnAccount || want[i] != "*") {
			return false
		}
	}
	return control.MatchGlob(want[arnResource], got[arnResource])
}

// Package baseline reads the baseline file: which controls run, in which mode,
// for which accounts and resources, and who is exempt. It parses the file,
// reports every fault of it with line and column, and decides the mode of one
// control on one resource.
//
// The package makes no AWS call and reads nothing but the bytes it is handed.
package baseline

import (
	"slices"
	"time"
)

// Mode is how far Snapback goes when a resource has left the baseline.
type Mode string

// The modes, from weakest to strongest.
const (
	// Off looks at nothing.
	Off Mode = "off"
	// Observe reports what it would have done.
	Observe Mode = "observe"
	// Approve changes the resource once an operator has approved the change.
	Approve Mode = "approve"
	// Enforce changes the resource at once.
	Enforce Mode = "enforce"
)

var modes = []Mode{Off, Observe, Approve, Enforce}

// AtMost returns the weaker of m and limit.
func (m Mode) AtMost(limit Mode) Mode {
	if slices.Index(modes, m) > slices.Index(modes, limit) {
		return limit
	}
	return m
}

// The limits of a file that gives none.
const (
	// DefaultChangesPerAccountPerHour is a judgement, no measurement: more than
	// one careless deployment breaks, few enough to look through by hand.
	DefaultChangesPerAccountPerHour = 50
	// DefaultRoundsPerResource is when a tug of war over one resource stops; a
	// judgement too.
	DefaultRoundsPerResource = 3
)

// Baseline is a baseline file that was read without errors. It must not be
// changed after that; it may then be used by any number of goroutines.
type Baseline struct {
	// File is the file's name as Parse was given it, for Decision.Why.
	File string
	// Digest is the SHA-256 of the file's bytes, in hexadecimal.
	Digest string
	// Version is the version of the file's format: 1.
	Version int
	// Reviewed is the day of the last review, at midnight UTC.
	Reviewed time.Time
	// Organization is what Snapback governs, and from where.
	Organization Organization
	// Mode applies where nothing below says otherwise. Observe if the file
	// gives none.
	Mode Mode
	// Controls are the entries of `controls`, in the order of the file.
	Controls []Setting
	// Overrides are other modes for some accounts or resources, in the order
	// of the file: of those that match, the last one decides.
	Overrides []Override
	// Exemptions are resources that a control leaves alone until a day.
	Exemptions []Exemption
	// Protected is what nothing ever changes.
	Protected Protected
	// Limits bound what Snapback changes by itself.
	Limits Limits
}

// Organization is what Snapback governs, and from where.
type Organization struct {
	// ID is the ID that AWS Organizations gave it: "o-example1234".
	ID string
	// Hub is where Snapback runs.
	Hub Hub
	// Regions are the governed Regions, in the order of the file.
	Regions []string
}

// Hub is the security account and Region where Snapback runs.
type Hub struct {
	// Account is its 12-digit number.
	Account string
	// Region is the Region of the hub's stack.
	Region string
}

// Setting is what the file says about one control, or about those that a glob
// matches.
type Setting struct {
	// Control is a control's ID, or a glob over IDs with * and ?.
	Control string
	// Mode is empty if the entry gives only params.
	Mode Mode
	// Params is the control's own Params pointer, into which the params of the
	// file were decoded; nil if the entry gives none.
	Params any
	// Line is where the entry begins, counted from 1.
	Line int
}

// Override is another mode for some controls where its match holds.
type Override struct {
	// Match says where: everything that it names must hold.
	Match Match
	// Controls are IDs of controls, or globs over IDs with * and ?.
	Controls []string
	// Mode is the mode that then applies.
	Mode Mode
	// Line is where the override begins, counted from 1.
	Line int
}

// Match says where an override applies. What is empty holds everywhere; a
// match of the file is never empty as a whole.
type Match struct {
	// Accounts holds if the resource is in one of these accounts.
	Accounts []string
	// OrganizationalUnits holds if the resource's account is in or below one
	// of these units, given by their IDs.
	OrganizationalUnits []string
	// Tags holds if the resource carries all of these tags.
	Tags map[string]string
}

// Exemption is a resource that a control leaves alone until a day.
type Exemption struct {
	// Control is a control's ID, or a glob over IDs with * and ?.
	Control string
	// Resource is an ARN whose resource part may hold the wildcards * and ?.
	Resource string
	// Reason says why the resource may differ from the baseline.
	Reason string
	// Owner is who answers for it: an e-mail address or the name of a team.
	Owner string
	// Expires is the last day that it holds, at midnight UTC.
	Expires time.Time
	// Line is where the exemption begins, counted from 1.
	Line int
}

// Ended reports whether the exemption's last day, in UTC, is over.
func (e Exemption) Ended(now time.Time) bool {
	return !now.Before(e.Expires.AddDate(0, 0, 1))
}

// Protected is what nothing ever changes.
type Protected struct {
	// Principals are ARNs of IAM principals. The account may be *, the resource
	// part may hold the wildcards * and ?.
	Principals []string
}

// Limits bound what Snapback changes by itself.
type Limits struct {
	// ChangesPerAccountPerHour is how many changes one account may see in an hour.
	ChangesPerAccountPerHour int
	// RoundsPerResource is how often one resource is put back before Snapback
	// stops and pages.
	RoundsPerResource int
}

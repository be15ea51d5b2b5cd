// Package baseline reads the baseline file: which controls and runbooks run, in
// which mode, for which accounts and resources, and who is exempt. It parses the
// file, reports every fault of it with line and column, and decides the mode of
// one control or runbook on one resource.
//
// The package makes no AWS call and reads nothing but the bytes it is handed.
package baseline

import (
	"slices"
	"time"

	"github.com/snapback-aws/snapback/pkg/control"
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
	// DefaultChangesPerControlPerHour leaves room for what breaks in four accounts
	// at once; more is likelier to be a fault of the control. A judgement too.
	DefaultChangesPerControlPerHour = 200
	// DefaultThreatChangesPerAccountPerHour is as many as posture has.
	DefaultThreatChangesPerAccountPerHour = 50
	// DefaultRoundsPerResource is when a tug of war over one resource stops; a
	// judgement too.
	DefaultRoundsPerResource = 3
	// DefaultExemptionDays is half a year, as long as a review of the file holds.
	DefaultExemptionDays = 180
)

// DefaultFromSeverity is from which severity of a finding the mode of a runbook
// applies where the file does not say: High begins there. Source: GuardDuty user
// guide, "Severity levels of GuardDuty findings".
const DefaultFromSeverity = 7.0

// DefaultConcurrency is how many invocations of one domain's function run at once
// where the file does not say: a hundred events side by side. A judgement.
const DefaultConcurrency = 10

// DefaultExpireAfter is how long a change waits for a yes where the file does
// not say: a week reaches whoever is away for some days.
const DefaultExpireAfter = 7 * 24 * time.Hour

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
	// Mode applies to controls where nothing below says otherwise. Observe if the
	// file gives none. Of runbooks it says nothing, but that Off turns them off too
	// where nothing below says otherwise.
	Mode Mode
	// Controls are the entries of `controls`, in the order of the file.
	Controls []Setting
	// Runbooks are the entries of `runbooks`, in the order of the file.
	Runbooks []Setting
	// Overrides are other modes for some accounts or resources, in the order
	// of the file: of those that match, the last one decides.
	Overrides []Override
	// Exemptions are resources that a control or a runbook leaves alone until a day.
	Exemptions []Exemption
	// Protected is what nothing ever changes.
	Protected Protected
	// Administrators are ARNs of users and roles whose business it is to give rights,
	// to themselves too. The account may be *, the resource part may hold the
	// wildcards * and ?.
	Administrators []string
	// Sensitive is what nobody may come to reach by rights that he gave himself.
	Sensitive []control.Access
	// Approvals say who may approve a change, and until when.
	Approvals Approvals
	// Limits bound what Snapback changes by itself.
	Limits Limits
	// Alerts are the entries of `alerts`, in the order of the file: the first
	// that matches decides.
	Alerts []Route
	// Deployment says how Snapback itself is deployed.
	Deployment Deployment
}

// Organization is what Snapback governs, and from where.
type Organization struct {
	// ID is the ID that AWS Organizations gave it: "o-example1234".
	ID string
	// Root is the ID of its root, "r-ab12"; empty if the file gives none. Only what
	// deploys needs it.
	Root string
	// Management is the 12-digit number of its management account; empty if the file
	// gives none. Only what deploys needs it.
	Management string
	// Hub is where Snapback runs.
	Hub Hub
	// Regions are the governed Regions, in the order of the file.
	Regions []string
	// Line is where the section begins, counted from 1.
	Line int
}

// Deployment says how Snapback itself is deployed. Functions read none of it.
type Deployment struct {
	// Subscribers are the e-mail addresses that the main topic of alerts sends to.
	Subscribers []string
	// Concurrency is how many invocations of one domain's function its queue starts
	// at once, 2 to 1000. Source: Lambda developer guide, "Configuring scaling
	// behavior for SQS event source mappings".
	Concurrency int
	// Guardrails are the service control policies; nil: none is deployed.
	Guardrails *Guardrails
	// Line is where the section begins, counted from 1; 0 if there is none.
	Line int
}

// Guardrails are service control policies that keep what Snapback needs from
// being turned off.
type Guardrails struct {
	// Targets are the IDs of the root, organizational units or accounts that they are
	// attached to.
	Targets []string
	// BreakGlass are ARNs of principals whom they do not bind; never empty. The
	// account may be *, the resource part may hold the wildcards * and ?.
	BreakGlass []string
	// Line is where the section begins, counted from 1.
	Line int
}

// Hub is the security account and Region where Snapback runs.
type Hub struct {
	// Account is its 12-digit number.
	Account string
	// Region is the Region of the hub's stack.
	Region string
}

// Setting is what the file says about one control or runbook, or about those
// that a glob matches.
type Setting struct {
	// Name is an ID, or a glob over IDs with * and ?.
	Name string
	// Mode is empty if the entry gives none.
	Mode Mode
	// FromSeverity is the severity of a finding, 1.0 to 10.0, from which a runbook's
	// mode applies; 0 if the entry gives none, and for a control.
	FromSeverity float64
	// Params is the control's or runbook's own Params pointer, into which the
	// params of the file were decoded; nil if the entry gives none.
	Params any
	// Line is where the entry begins, counted from 1.
	Line int
}

// Override is another mode for some controls and runbooks where its match
// holds. One of the two lists is never empty in an override of the file.
type Override struct {
	// Match says where: everything that it names must hold.
	Match Match
	// Controls are IDs of controls, or globs over IDs with * and ?.
	Controls []string
	// Runbooks are IDs of runbooks, or globs over IDs with * and ?. The mode of a
	// runbook applies from its severity up, as that of its entry does.
	Runbooks []string
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

// Exemption is a resource that a control or a runbook leaves alone until a day.
type Exemption struct {
	// Control is a control's ID, or a glob over IDs with * and ?; empty if Runbook
	// is not.
	Control string
	// Runbook is a runbook's ID, or a glob over IDs with * and ?; empty if Control
	// is not.
	Runbook string
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
	// Resources are ARNs of any resources. The account may be empty, or * for all
	// accounts, and the resource part may hold the wildcards * and ?.
	Resources []string
}

// Approvals say who may approve a change, and until when.
type Approvals struct {
	// FourEyes is set if whoever caused a violation may not approve its change.
	FourEyes bool
	// ExpireAfter is how long a change waits for a yes, in whole days.
	ExpireAfter time.Duration
}

// Limits bound what Snapback changes by itself, and for how long it may be told
// to change nothing.
type Limits struct {
	// ChangesPerAccountPerHour is how many changes one account may see in an hour.
	ChangesPerAccountPerHour int
	// ChangesPerControlPerHour is how many changes one control may make in an
	// hour, in the whole organization.
	ChangesPerControlPerHour int
	// ThreatChangesPerAccountPerHour is how many changes that contain a GuardDuty
	// finding one account may see in an hour. They are counted apart, so that a
	// noisy control never uses up what a real threat needs.
	ThreatChangesPerAccountPerHour int
	// RoundsPerResource is which round over one resource within 24 hours is not
	// fought: Snapback stops there and pages. At least 2.
	RoundsPerResource int
	// ExemptionDays is how many days from today an exemption may last.
	ExemptionDays int
}

// Route says where alerts of some outcomes and severities go. One of the two
// lists is never empty in a route of the file.
type Route struct {
	// Outcomes are those that it takes; empty: all.
	Outcomes []control.Outcome
	// Severities are those that it takes; empty: all.
	Severities []control.Severity
	// Topic is "main", "none", or the ARN of an SNS topic in the hub's account
	// and Region.
	Topic string
	// Line is where the entry begins, counted from 1.
	Line int
}

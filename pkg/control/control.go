// Package control holds the types that every rule of the baseline is written
// in: the control itself, the remedy that restores it, the change a remedy
// makes and the target it makes it on.
//
// A control is a value, not an interface. It lives in one file of its domain
// (pkg/controls/<domain>) and is listed there by hand. Event patterns, IAM
// permissions and the reference documentation are all derived from its fields,
// so nothing about a control is typed twice.
package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"strings"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/event"
)

// Target is one resource in one account and Region.
type Target struct {
	// Account is the 12-digit number of the account that owns the resource.
	Account string `json:"account"`
	// Region is the Region whose API answers for the resource, such as
	// "eu-west-1". Resources of a whole account carry the Region of the event.
	Region string `json:"region"`
	// Type is the resource type as AWS Config spells it: "AWS::S3::Bucket".
	Type string `json:"type"`
	// ID is what the API call needs: a bucket's name, a security group's ID.
	ID string `json:"id"`
}

// String prints a target for people: "AWS::S3::Bucket example in 222222222222 us-east-1".
func (t Target) String() string {
	return fmt.Sprintf("%s %s in %s %s", t.Type, t.ID, t.Account, t.Region)
}

// Change is the exact edit that a plan found necessary.
type Change struct {
	Target Target `json:"target"`
	// Reason is one sentence that an operator reads: what is wrong now.
	Reason string `json:"reason"`
	// Before and After are exactly what Apply replaces and with what, as JSON.
	// They are kept in the ledger for years and shown in alerts: no secrets.
	//
	// A change without After is a report: it says what is wrong, and there is
	// nothing that could be applied.
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after,omitempty"`
	// Touches are the ARNs of resources besides the target that Apply changes, so
	// that none is changed which the baseline protects.
	Touches []string `json:"touches,omitempty"`
	// Left says, in a sentence each, what stays open once the change is made,
	// because AWS does not let it be changed.
	Left []string `json:"left,omitempty"`
	// Facts is what else the plan found and the case should keep, as JSON: what an
	// investigation will want to know. It is no part of the digest, and kept for
	// years as well: no secrets, and at most MaxFacts bytes.
	Facts json.RawMessage `json:"facts,omitempty"`
	// Case and Finding are the case, and the GuardDuty finding if there is one,
	// that Apply and Undo work for; they are set by the engine, not by Plan.
	Case    string `json:"-"`
	Finding string `json:"-"`
}

// MaxFacts is how many bytes of facts a change may bring: a case is one item of
// DynamoDB, which holds 400 KB.
const MaxFacts = 64 << 10

// Report reports whether there is nothing to apply.
func (c *Change) Report() bool { return len(c.After) == 0 }

// Digest is the SHA-256 of target, before and after, in hexadecimal. Two plans
// with equal digests make the same edit from the same state; the reason is not
// part of it.
func (c Change) Digest() string {
	h := sha256.New()
	for _, part := range []string{
		c.Target.Account, c.Target.Region, c.Target.Type, c.Target.ID, string(c.Before), string(c.After),
	} {
		// Each part is preceded by its length, so that no two lists of parts
		// run together into the same bytes.
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ShortDigest is the beginning of a digest, as people are shown it: enough to
// tell a change from any other of its case.
func ShortDigest(digest string) string { return digest[:min(len(digest), 12)] }

// ErrGone is what Plan, Apply and Undo wrap when the resource no longer exists.
// A resource that is gone counts as compliant.
var ErrGone = errors.New("the resource is gone")

// MovedError is what Undo returns when the resource is no longer as Apply left
// it: someone changed it since, or it has been undone already. Nothing was
// changed.
type MovedError struct {
	// Change is the change that was to be undone.
	Change Change
	// Now is the live state, in the form of Change.Before and Change.After.
	Now json.RawMessage
}

// Error shows the three states that an operator must compare.
func (e *MovedError) Error() string {
	return fmt.Sprintf("%s is not as the change left it: before %s, after %s, now %s",
		e.Change.Target, e.Change.Before, e.Change.After, e.Now)
}

// LeftError is what Undo returns when it has put back all that it could, and
// some of what was there no longer exists.
type LeftError struct {
	// Left says, in a sentence each, what could not be put back, and why.
	Left []string
}

// Error joins the sentences.
func (e *LeftError) Error() string { return strings.Join(e.Left, " ") }

// Remedy is one reversible change to one resource.
type Remedy struct {
	// Name says what the remedy does, in the words of its service:
	// "block-public-access". Unique within its domain.
	Name string
	// Plan reads the live state and returns the smallest change that restores
	// the baseline, or nil when there is nothing to do. It never mutates.
	Plan func(context.Context, *cloud.Session, Target) (*Change, error)
	// Verify reads the live state of a change that was decided, whether or not the
	// plan would still find a reason for it: nil if it is as After says, else the
	// change from what it found to After. Nil: Plan tells. It is needed where the
	// reason for several changes is gone with the first of them, as that for
	// containing an attacker is once his grant is taken back.
	Verify func(context.Context, *cloud.Session, Change) (*Change, error)
	// Resume is Plan in a case in which a change was decided, this one or another:
	// there is a reason, although Plan may find none any more. It is given the change
	// that was decided, for its target and reason. Nil: Plan tells. Without it a step
	// that could not be planned in time would be taken for one with nothing to do.
	Resume func(context.Context, *cloud.Session, Change) (*Change, error)
	// Apply makes the change. It is idempotent: applied twice it leaves the
	// same state. Nil: the control only reports.
	Apply func(context.Context, *cloud.Session, Change) error
	// Undo restores Change.Before if the resource is still as Change.After says
	// and returns a *MovedError if it is not, or a *LeftError if it is and
	// something of Before no longer exists. Nil: the change is irreversible.
	Undo func(context.Context, *cloud.Session, Change) error
	// Look tells, in a line each, how what Apply made stands now, where that takes
	// its time: the snapshots that it began. Nil: there is nothing to tell.
	Look func(context.Context, *cloud.Session, Change) ([]string, error)
	// Permissions are the calls that each step makes, apart.
	Permissions Permissions
}

// Permissions are the permissions of a control's steps, apart, so that a
// control that only observes gets no permission to write. A test holds that
// the calls which a lifecycle really makes are exactly these.
type Permissions struct {
	List, Plan, Verify, Apply, Undo, Look []Permission
}

// Permission is one AWS API call and the IAM action that allows it. The two
// names often differ: the S3 operation GetPublicAccessBlock is allowed by
// s3:GetBucketPublicAccessBlock.
type Permission struct {
	// Call is service and operation as package cloud records them:
	// "S3.GetPublicAccessBlock".
	Call string
	// Action is the IAM action: "s3:GetBucketPublicAccessBlock".
	Action string
	// Resource is the ARN pattern the action is granted on, with ${Partition},
	// ${Region} and ${Account} to be filled in; "*" only where AWS supports no
	// narrower one.
	Resource string
}

// Severity is how bad a violation is, in the words of AWS Security Hub.
type Severity string

// The severities, from least to worst.
const (
	Low      Severity = "LOW"
	Medium   Severity = "MEDIUM"
	High     Severity = "HIGH"
	Critical Severity = "CRITICAL"
)

// Severities are all severities, from least to worst. It must not be changed.
var Severities = []Severity{Low, Medium, High, Critical}

// Standards are the published requirements that a control answers. Source:
// AWS Security Hub's list of controls and its mapping of CIS requirements.
type Standards struct {
	// SecurityHub are control IDs of AWS Foundational Security Best Practices: "S3.8".
	SecurityHub []string
	// CIS are requirements with the version of the CIS AWS Foundations
	// Benchmark: "v3.0.0/2.1.4".
	CIS []string
	// ConfigRules are identifiers of AWS Config managed rules.
	ConfigRules []string
}

// Trigger is one or more CloudTrail calls after which a resource may have left
// the baseline, and how each names the resources concerned.
type Trigger struct {
	// Source is the record's eventSource: "s3.amazonaws.com".
	Source string
	// Names are the record's eventName, as CloudTrail writes it.
	Names []string
	// Targets finds the resources that a call concerns, by their IDs and, where it
	// is not the call's, Region. Account and Type are filled in from the event and
	// the control, whatever it says.
	Targets func(*event.Call) []Target
}

// Resource is a type of resource: how its resources are named.
type Resource struct {
	// Type is the name of the type as AWS Config spells it: "AWS::S3::Bucket".
	Type string
	// ARN names a target the way the baseline's exemptions do.
	ARN func(Target) string
	// IDs is what an ID of this type looks like, so that an ARN of something else
	// (an object in a bucket) is not taken for one of it.
	IDs *regexp.Regexp
	// Sample is an ID to show the form of an ARN with; empty: "NAME".
	Sample string
	// Untagged says that AWS keeps no tags on resources of this type.
	Untagged bool
	// Unrecorded says that AWS Config does not record resources of this type by an
	// ID that names them here, or at all.
	Unrecorded bool
}

// Control is one rule of the baseline for one type of resource.
type Control struct {
	// ID is how the baseline file, alerts and cases name it: "s3-bucket-public-access".
	ID string
	// Title is the rule in one short sentence: what holds when it is kept.
	Title string
	// Rationale says why the rule exists, for docs and explain.
	Rationale string
	// Hazard says what legitimate use the change may break, for docs and explain.
	Hazard    string
	Severity  Severity
	Standards Standards
	// Resource is the type of its targets. Config events about a resource of this
	// type are triggers too.
	Resource
	// AlsoTypes are further types under which Config tells of the same resource,
	// with the same ID: rules about a whole account report on "AWS::::Account".
	AlsoTypes []string
	Triggers  []Trigger
	// List finds every target in the session's account and Region.
	List   func(context.Context, *cloud.Session) iter.Seq2[Target, error]
	Remedy Remedy
	// Params is a pointer to a struct of this control's own that holds its
	// defaults; the baseline file is decoded into it strictly. Nil: none.
	Params any
	// Cautious says that its change waits for a yes unless an entry of the baseline
	// enforces this very control by its ID, although the change can be undone.
	Cautious bool
}

// Domain is the controls that share one function and one IAM role.
type Domain struct {
	// Name is the function's name: "storage".
	Name     string
	Controls []Control
	// Runbooks are what the domain answers GuardDuty findings with.
	Runbooks []Runbook
	// Uses are controls of other domains whose remedies the runbooks use: their
	// params are read here too, but their events go to their own domain alone.
	Uses []Control
	// Identities is where the baseline's lists of principals and of what is
	// sensitive are put, for plans that have to know them. Nil: none of them does.
	Identities *Identities
}

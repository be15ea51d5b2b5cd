package principal

import (
	"context"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

// Suspect is who is to be contained, and why.
type Suspect struct {
	Actor
	// Reason is the sentence of the change: what he did, or what is said of him.
	Reason string
	// Key is the one access key that is known to be misused; empty if none is.
	Key string
}

// Finder tells who is to be contained for a target, reading live state.
type Finder struct {
	// Find returns nil if nobody is, or *control.ErrGone.
	Find func(context.Context, *cloud.Session, control.Target) (*Suspect, error)
	// Decided is who is to be contained once that is settled, although Find may find
	// no reason any more; nil if nobody is. It is nil where Find finds it again.
	Decided func(context.Context, *cloud.Session, control.Target) (*Actor, error)
	// Permissions are the calls that Find and Decided make.
	Permissions []control.Permission
}

// container plans what to do about a suspect, in a change that has its target and
// reason.
type container func(context.Context, *cloud.Session, control.Change, *Suspect) (*control.Change, error)

// of is the change about a suspect. A user or role that is gone can do nothing any
// more. That does not make the target gone: what he did to it is still to be looked
// at.
func (contain container) of(ctx context.Context, session *cloud.Session, t control.Target, s *Suspect) (*control.Change, error) {
	c, err := contain(ctx, session, control.Change{Target: t, Reason: s.Reason}, s)
	if errors.Is(err, control.ErrGone) {
		return nil, nil
	}
	return c, err
}

// plan is the Plan of a remedy.
func (f Finder) plan(contain container) func(context.Context, *cloud.Session, control.Target) (*control.Change, error) {
	return func(ctx context.Context, session *cloud.Session, t control.Target) (*control.Change, error) {
		s, err := f.Find(ctx, session, t)
		if err != nil || s == nil {
			return nil, err
		}
		return contain.of(ctx, session, t, s)
	}
}

// resume is the Resume of a remedy.
func (f Finder) resume(contain container) func(context.Context, *cloud.Session, control.Change) (*control.Change, error) {
	if f.Decided == nil {
		return nil
	}
	return func(ctx context.Context, session *cloud.Session, c control.Change) (*control.Change, error) {
		a, err := f.Decided(ctx, session, c.Target)
		if err != nil || a == nil {
			return nil, err
		}
		return contain.of(ctx, session, c.Target, &Suspect{Actor: *a, Reason: c.Reason})
	}
}

// needs are the calls of a Plan: the finder's and the remedy's own.
func (f Finder) needs(own ...control.Permission) []control.Permission {
	return append(slices.Clone(f.Permissions), own...)
}

// The calls of the remedies.
const (
	anyUser = "arn:${Partition}:iam::${Account}:user/*"
	anyRole = "arn:${Partition}:iam::${Account}:role/*"
)

var (
	getUser          = control.Permission{Call: "IAM.GetUser", Action: "iam:GetUser", Resource: anyUser}
	putBoundary      = control.Permission{Call: "IAM.PutUserPermissionsBoundary", Action: "iam:PutUserPermissionsBoundary", Resource: anyUser}
	deleteBoundary   = control.Permission{Call: "IAM.DeleteUserPermissionsBoundary", Action: "iam:DeleteUserPermissionsBoundary", Resource: anyUser}
	listKeys         = control.Permission{Call: "IAM.ListAccessKeys", Action: "iam:ListAccessKeys", Resource: anyUser}
	updateKey        = control.Permission{Call: "IAM.UpdateAccessKey", Action: "iam:UpdateAccessKey", Resource: anyUser}
	getRole          = control.Permission{Call: "IAM.GetRole", Action: "iam:GetRole", Resource: anyRole}
	getRolePolicy    = control.Permission{Call: "IAM.GetRolePolicy", Action: "iam:GetRolePolicy", Resource: anyRole}
	putRolePolicy    = control.Permission{Call: "IAM.PutRolePolicy", Action: "iam:PutRolePolicy", Resource: anyRole}
	deleteRolePolicy = control.Permission{Call: "IAM.DeleteRolePolicy", Action: "iam:DeleteRolePolicy", Resource: anyRole}
)

const noSuchEntity = "NoSuchEntity"

func client(session *cloud.Session) *iam.Client {
	return cloud.Client(session, func(cfg aws.Config) *iam.Client { return iam.NewFromConfig(cfg) })
}

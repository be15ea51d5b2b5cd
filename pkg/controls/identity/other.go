package identity

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
	"github.com/snapback-aws/snapback/pkg/remedies/grant"
)

// The runbooks that answer what can't be taken back.
const (
	computeID  = "iam-escalation-compute"
	passwordID = "iam-escalation-password"
)

// accessKey looks into an access key that somebody made for another user.
func (q *inquiry) accessKey(ctx context.Context) (*escalation, error) {
	var key *types.AccessKeyMetadata
	user, err := q.otherUser(ctx, func(name string) (err error) { key, err = q.reader.key(ctx, name, q.what); return err })
	if user == nil || err != nil || key == nil || key.Status != types.StatusTypeActive {
		return nil, err
	}
	e, err := q.actsAs(ctx, user)
	if e == nil || err != nil {
		return nil, err
	}
	e.back = edit(grant.AccessKey, user.ARN, q.what, aws.String(string(types.StatusTypeActive)), aws.String(string(types.StatusTypeInactive)))
	return e, nil
}

// key reads an access key of a user; nil if it is gone.
func (r reader) key(ctx context.Context, user, id string) (*types.AccessKeyMetadata, error) {
	list, err := all(ctx, "list the access keys of user "+user,
		iam.NewListAccessKeysPaginator(r.client(), &iam.ListAccessKeysInput{UserName: aws.String(user)}),
		func(o *iam.ListAccessKeysOutput) []types.AccessKeyMetadata { return o.AccessKeyMetadata })
	for i := range list {
		if aws.ToString(list[i].AccessKeyId) == id {
			return &list[i], err
		}
	}
	return nil, err
}

// denyAll is AWS's own policy that denies everything.
const denyAll = ":iam::aws:policy/AWSDenyAll"

// password looks into a password that somebody made or set for another user.
func (q *inquiry) password(ctx context.Context) (*escalation, error) {
	user, err := q.otherUser(ctx, func(string) error { return nil })
	if user == nil || err != nil || !user.Password {
		return nil, err
	}
	var boundary *string
	if user.Boundary != nil {
		boundary = aws.String(user.Boundary.ARN)
	}
	denied := strings.HasSuffix(aws.ToString(boundary), denyAll)
	if denied { // once somebody has looked he is not any more, and the password is still there
		user.Boundary = nil
	}
	e, err := q.actsAs(ctx, user)
	if e == nil || err != nil {
		return nil, err
	}
	e.denied = denied
	e.back = edit(grant.Boundary, user.ARN, "", boundary, aws.String("arn:"+q.actor.Partition+denyAll))
	e.back.Left = append(e.back.Left, fmt.Sprintf(
		"User %s still has the password: it can't be given back, so the runbook %s deletes it on approval.", user.Name(), passwordID))
	return e, nil
}

// otherUser reads the user that the grant is on, the actor and something more of
// the user, side by side; nil if the user is the actor himself.
func (q *inquiry) otherUser(ctx context.Context, more func(name string) error) (user *iampolicy.Principal, err error) {
	if q.isSelf() {
		return nil, nil
	}
	_, name, _ := strings.Cut(q.on, "/")
	return user, sideBySide(
		func() error { return q.readSelf(ctx) },
		func() (err error) { user, err = q.reader.user(ctx, name); return err },
		func() error { return more(name) },
	)
}

// passed looks into a role that somebody passed to what he started.
func (q *inquiry) passed(ctx context.Context) (*escalation, error) {
	kind, path, _ := strings.Cut(q.on, "/")
	if kind == "role" && strings.HasPrefix(path, "aws-service-role/") {
		return nil, nil // AWS alone acts as that one
	}
	var role *iampolicy.Principal
	err := sideBySide(
		func() error { return q.readSelf(ctx) },
		func() (err error) { role, err = q.reader.passed(ctx, kind, lastPart(path)); return err },
	)
	if role == nil || err != nil || !passable(role) {
		return nil, err
	}
	e, err := q.actsAs(ctx, role)
	if e == nil || err != nil {
		return nil, err
	}
	e.with = role.ARN
	e.back.Left = []string{fmt.Sprintf("What %s started with the role %s still runs, and the call does not name it: find it, and stop it by hand.", q.call, role.Name())}
	if q.what != "" {
		e.back.Left = []string{fmt.Sprintf("%s runs with the role %s: the runbook %s stops it on approval.", q.what, role.Name(), computeID)}
	}
	return e, nil
}

// passed reads a role that was passed, by its name or by that of its instance
// profile.
func (r reader) passed(ctx context.Context, kind, name string) (*iampolicy.Principal, error) {
	if kind == "profile" {
		role, err := r.profileRole(ctx, name)
		if role == "" || err != nil {
			return nil, err
		}
		name = role
	}
	return r.role(ctx, name)
}

// passable tells whether a role can be passed to anything: one that trusts no
// service was only named in the call.
func passable(role *iampolicy.Principal) bool {
	return role.Trust == nil || slices.ContainsFunc(role.Trust.Statements, func(s iampolicy.Statement) bool {
		return s.Effect == iampolicy.Allow && (len(s.NotPrincipals) > 0 || slices.ContainsFunc(s.Principals, func(p iampolicy.StatementPrincipal) bool {
			return p.Kind != "AWS"
		}))
	})
}

// actsAs compares what the actor may with what another may, as whom he can act
// now.
func (q *inquiry) actsAs(ctx context.Context, other *iampolicy.Principal) (*escalation, error) {
	g := &gain{with: other, given: other}
	if q.self != nil {
		g.before = []*iampolicy.Principal{q.self}
	}
	a, err := q.advantage(ctx, g)
	if a == nil || err != nil {
		return nil, err
	}
	return q.found(g, a, &bearer{Principal: other, entity: other}, other.ARN), nil
}

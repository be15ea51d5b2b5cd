package identity

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
	"github.com/snapback-aws/snapback/pkg/remedies/grant"
)

// boundary looks into a permissions boundary that was taken off, or replaced.
// What it was before, nothing tells. Whoever takes off his own is taken to have
// been limited by it: that is all that a boundary is for. Putting one on limits,
// so it counts only if it does not keep its bearer from taking it off again, as
// every boundary does that is meant to hold.
func (q *inquiry) boundary(ctx context.Context) (*escalation, error) {
	b, err := q.bearer(ctx)
	if b == nil || err != nil {
		return nil, err
	}
	put := strings.HasPrefix(q.call, "Put")
	switch {
	case put && (b.Boundary == nil || !same(b.Boundary.ARN, q.what)), !put && b.Boundary != nil:
		return nil, nil
	case put && !shedsBoundary(b.Principal):
		return nil, nil
	}
	g := &gain{with: b.Principal, given: b.Principal}
	if b.Principal != q.self && q.self != nil {
		g.before = []*iampolicy.Principal{q.self}
	}
	a, err := q.advantage(ctx, g)
	if a == nil || err != nil {
		return nil, err
	}
	e := q.found(g, a, b, b.ARN)
	e.back.Left = []string{fmt.Sprintf(
		"Which permissions boundary %s had before can't be read any more: put the right one back by hand.", entity(b.ARN))}
	return e, nil
}

// shedsBoundary tells whether a principal may take off or replace its own
// boundary.
func shedsBoundary(p *iampolicy.Principal) bool {
	kind := "User"
	if p.Type == iampolicy.Role {
		kind = "Role"
	}
	return p.May("iam:Put"+kind+"PermissionsBoundary", p.ARN, nil) != iampolicy.No ||
		p.May("iam:Delete"+kind+"PermissionsBoundary", p.ARN, nil) != iampolicy.No
}

// detached looks into a managed policy that a user took off himself: what it
// denied, he gained.
func (q *inquiry) detached(ctx context.Context) (*escalation, error) {
	if !q.isSelf() {
		return nil, nil
	}
	var versions []iampolicy.PolicyVersion
	err := sideBySide(
		func() error { return q.readSelf(ctx) },
		func() (err error) { versions, err = q.reader.versions(ctx, q.what); return err },
	)
	if err != nil || q.self == nil {
		return nil, err
	}
	had := slices.ContainsFunc(q.self.Policies, func(p iampolicy.Policy) bool { return p.Group == "" && same(p.ARN, q.what) })
	i := slices.IndexFunc(versions, func(v iampolicy.PolicyVersion) bool { return v.Default })
	switch {
	case had:
		return nil, nil
	case i < 0:
		return nil, q.gone(ctx)
	}
	policy := iampolicy.Policy{Name: lastPart(q.what), ARN: q.what, Document: versions[i].Document}
	before := having(q.self, slices.Concat(q.self.Policies, []iampolicy.Policy{policy}))
	g := &gain{with: q.self, before: []*iampolicy.Principal{before}, given: q.self}
	a, err := q.advantage(ctx, g)
	if a == nil || err != nil {
		return nil, err
	}
	e := q.found(g, a, q.himself(q.self), q.self.ARN)
	e.back = edit(grant.AttachedPolicy, q.self.ARN, q.what, nil, aws.String("attached"))
	return e, nil
}

// deleted looks into an inline policy that a user deleted from himself.
func (q *inquiry) deleted(ctx context.Context) (*escalation, error) {
	if !q.isSelf() {
		return nil, nil
	}
	if err := q.readSelf(ctx); err != nil || q.self == nil {
		return nil, err
	}
	if slices.ContainsFunc(q.self.Policies, func(p iampolicy.Policy) bool { return p.ARN == "" && p.Group == "" && same(p.Name, q.what) }) {
		return nil, nil
	}
	return nil, q.gone(ctx)
}

// gone says that it can't be told whether a policy that is gone denied what its
// user can do now; nil if that is nothing that counts. To call that an escalation
// would stop every administrator who tidies up what he has twice; to say nothing
// would hide the one who took off what held him back.
func (q *inquiry) gone(ctx context.Context) error {
	a, err := q.advantage(ctx, &gain{with: q.self, given: q.self})
	if a == nil || err != nil {
		return err
	}
	return fmt.Errorf("judge what %s did: %w", q.who(), &unknownError{fmt.Sprintf(
		"the policy %s that it took off itself is gone; if it denied something, taking it off %s", lastPart(q.what), a)})
}

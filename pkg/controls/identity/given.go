package identity

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
	"github.com/snapback-aws/snapback/pkg/remedies/grant"
)

// before are those as whom the actor could act without a grant: its bearer, as it
// would be then, and he himself.
func (q *inquiry) before(b *bearer, bare *iampolicy.Principal) []*iampolicy.Principal {
	if b.Principal == q.self || q.self == nil {
		return []*iampolicy.Principal{bare}
	}
	return []*iampolicy.Principal{bare, q.self}
}

// policy looks into a policy that somebody attached to, or wrote into, himself, a
// group that he is in or a role that he can assume.
func (q *inquiry) policy(ctx context.Context) (*escalation, error) {
	b, err := q.bearer(ctx)
	if b == nil || err != nil {
		return nil, err
	}
	attached := strings.HasPrefix(q.call, "Attach")
	group := ""
	if b.entity.Type == iampolicy.Group {
		group = b.entity.Name()
	}
	kept, given := split(b.Principal, func(p iampolicy.Policy) bool {
		name := p.Name
		if attached {
			name = p.ARN
		}
		return (p.ARN != "") == attached && same(p.Group, group) && same(name, q.what)
	})
	if len(given) == 0 {
		return nil, nil
	}
	g := &gain{with: b.Principal, before: q.before(b, having(b.Principal, kept)), given: having(b.Principal, given)}
	a, err := q.advantage(ctx, g)
	if a == nil || err != nil {
		return nil, err
	}
	e := q.found(g, a, b, b.entity.ARN)
	if attached {
		e.back = edit(grant.AttachedPolicy, b.entity.ARN, given[0].ARN, aws.String("attached"), nil)
		return e, nil
	}
	d := given[0].Document
	out, err := q.offending(ctx, g, d, func(d *iampolicy.Document) *iampolicy.Principal {
		return having(b.Principal, slices.Concat(kept, []iampolicy.Policy{{Name: given[0].Name, Group: group, Document: d}}))
	})
	var to *string
	if rest := d.Without(out...); len(rest.Statements) > 0 {
		to = aws.String(rest.String())
	}
	e.back = edit(grant.InlinePolicy, b.entity.ARN, given[0].Name, aws.String(d.String()), to)
	return e, err
}

// membership looks into a group that a user put himself into.
func (q *inquiry) membership(ctx context.Context) (*escalation, error) {
	if !q.isSelf() {
		return nil, nil
	}
	var group *iampolicy.Principal
	err := sideBySide(
		func() error { return q.readSelf(ctx) },
		func() (err error) { group, err = q.reader.group(ctx, q.what); return err },
	)
	if err != nil || q.self == nil || group == nil {
		return nil, err
	}
	kept, given := split(q.self, func(p iampolicy.Policy) bool { return same(p.Group, group.Name()) })
	g := &gain{with: q.self, before: []*iampolicy.Principal{having(q.self, kept)}, given: having(q.self, given)}
	a, err := q.advantage(ctx, g)
	if a == nil || err != nil {
		return nil, err
	}
	e := q.found(g, a, q.himself(q.self), group.ARN)
	e.back = edit(grant.Membership, q.self.ARN, group.Name(), aws.String("member"), nil)
	return e, nil
}

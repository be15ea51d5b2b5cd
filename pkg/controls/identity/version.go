package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
	"github.com/snapback-aws/snapback/pkg/remedies/grant"
)

// version looks into another default version of a managed policy that the actor,
// a group of his or a role that he can assume has. Which version was the default
// before, nothing tells: if one of the others would not give him what this one
// does, he gained it. If all of them do, he has had it for as long as can be seen.
func (q *inquiry) version(ctx context.Context) (*escalation, error) {
	var versions []iampolicy.PolicyVersion
	var holders []string
	err := sideBySide(
		func() error { return q.readSelf(ctx) },
		func() (err error) { versions, err = q.reader.versions(ctx, q.on); return err },
		func() (err error) { holders, err = q.reader.holders(ctx, q.on); return err },
	)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(versions, func(v iampolicy.PolicyVersion) bool { return v.Default })
	if i < 0 || versions[i].ID != q.what {
		return nil, nil
	}
	others := slices.Delete(slices.Clone(versions), i, i+1)
	bearers, err := q.holding(ctx, versions[i].Document, holders)
	if err != nil {
		return nil, err
	}
	var unsure error
	for _, b := range bearers {
		e, err := q.raised(ctx, b, others)
		if e != nil {
			return e, nil
		}
		var unknown *unknownError
		if err != nil && !errors.As(err, &unknown) {
			return nil, err
		}
		unsure = errors.Join(unsure, err)
	}
	return nil, unsure
}

// holding are those who have the policy, or are limited by it, as whom the actor
// can act: first himself. Roles are read if what the policy gives matters.
func (q *inquiry) holding(ctx context.Context, d *iampolicy.Document, holders []string) (bearers []*bearer, err error) {
	if q.self != nil && (q.self.Boundary != nil && same(q.self.Boundary.ARN, q.on) || slices.ContainsFunc(q.self.Policies, q.isIt)) {
		bearers = append(bearers, q.himself(q.self))
	}
	given := &iampolicy.Principal{ARN: "arn:" + q.actor.Partition + ":iam::" + q.actor.Account + ":role/", Type: iampolicy.Role}
	if given.Policies = []iampolicy.Policy{{Document: d}}; q.harmless(given) {
		return bearers, nil
	}
	var roles []string
	for _, h := range holders {
		kind, name, _ := strings.Cut(h, "/")
		if kind == "role" && (q.actor.Role == "" || !same(name, q.actor.Name())) {
			roles = append(roles, name)
		}
	}
	found, err := each(roles, func(name string) (*iampolicy.Principal, error) { return q.reader.role(ctx, name) })
	for i := range found {
		if b := q.assumed(&found[i]); b != nil {
			bearers = append(bearers, b)
		}
	}
	return bearers, err
}

// isIt tells whether a policy is the managed one that the grant is on.
func (q *inquiry) isIt(p iampolicy.Policy) bool { return p.ARN != "" && same(p.ARN, q.on) }

// raised compares what a bearer has by the default version with what he would have
// by each of the others, the newest first.
func (q *inquiry) raised(ctx context.Context, b *bearer, others []iampolicy.PolicyVersion) (*escalation, error) {
	_, given := split(b.Principal, q.isIt)
	what := having(b.Principal, given)
	if len(given) == 0 {
		what = b.Principal // it is his boundary: all that he has may come of it
	}
	if len(others) == 0 {
		others = []iampolicy.PolicyVersion{{Document: nothing}}
	}
	var unsure error
	for _, other := range others {
		g := &gain{with: b.Principal, before: q.before(b, q.revised(b.Principal, other.Document)), given: what}
		a, err := q.advantage(ctx, g)
		var unknown *unknownError
		switch {
		case errors.As(err, &unknown):
			unsure = err
			continue
		case err != nil:
			return nil, err
		case a == nil:
			continue
		}
		e := q.found(g, a, b, q.on)
		e.back = edit(grant.DefaultVersion, q.on, "", aws.String(q.what), aws.String(other.ID))
		if other.ID == "" {
			e.back = grant.Plan{Left: []string{fmt.Sprintf(
				"The policy %s has no version but %s, so none can be put back: take out what it should not give, or detach it.", lastPart(q.on), q.what)}}
		}
		return e, nil
	}
	return nil, unsure
}

// nothing is a version that gives nothing.
var nothing = &iampolicy.Document{}

// revised is a principal with another version of the policy.
func (q *inquiry) revised(p *iampolicy.Principal, d *iampolicy.Document) *iampolicy.Principal {
	next := having(p, slices.Clone(p.Policies))
	for i := range next.Policies {
		if q.isIt(next.Policies[i]) {
			next.Policies[i].Document = d
		}
	}
	if p.Boundary != nil && q.isIt(*p.Boundary) {
		boundary := *p.Boundary
		boundary.Document = d
		next.Boundary = &boundary
	}
	return next
}

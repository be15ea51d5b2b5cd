package identity

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

// gain is what is compared: what somebody can do with a grant, and without it.
type gain struct {
	// with is whom the actor can act as, with all rights that he has now.
	with *iampolicy.Principal
	// before are those as whom he could act without the grant, with the rights that
	// they would have then. None: nothing is known of what he could.
	before []*iampolicy.Principal
	// given is with, had he nothing but what was given: what it does not reach was
	// not gained by it.
	given *iampolicy.Principal
	// closed are others who would be different without the grant: a role whose trust
	// policy would not let the actor in.
	closed []*iampolicy.Principal
	// world is the account as it would be without the grant, once it was needed, and
	// open the IDs of the paths that were open before.
	world *iampolicy.Account
	open  map[string]bool
}

// advantage is what somebody gained.
type advantage struct {
	// text ends "That …": "makes it administrator".
	text string
	// unsure says that it depends on conditions that are not known.
	unsure bool
}

// advantage compares; nil if nothing was gained that counts. Whoever was
// administrator before, be it under conditions, gains nothing.
func (q *inquiry) advantage(ctx context.Context, g *gain) (*advantage, error) {
	if g.wasAdmin() {
		return q.doubled(g), nil
	}
	if why := g.unreadable(); why != "" {
		if q.harmless(g.given) {
			return nil, nil
		}
		return nil, fmt.Errorf("judge what %s did: %w", q.who(), &unknownError{why})
	}
	if is := g.with.Admin(); is != iampolicy.No {
		return &advantage{"makes it administrator", is == iampolicy.Conditional}, nil
	}
	if a := q.reached(g); a != nil {
		return a, nil
	}
	if !g.mayOpen() {
		return nil, nil
	}
	return q.opened(ctx, g)
}

// wasAdmin tells whether somebody was administrator before, be it under conditions.
func (g *gain) wasAdmin() bool {
	return slices.ContainsFunc(g.before, func(p *iampolicy.Principal) bool { return legible(p).Admin() != iampolicy.No })
}

// doubled is what an administrator gained who is one by nothing but what he could
// have given himself: by this grant, he is one. Whoever gives himself everything
// twice would otherwise be excused of each by the other. Nil if he is one anyway,
// or not by this grant.
func (q *inquiry) doubled(g *gain) *advantage {
	if q.self == nil {
		return nil
	}
	_, all := split(q.self, givesAll)
	self := legible(but(q.self, all))
	bare, with := gain{}, legible(g.with)
	for _, p := range g.before {
		_, own := split(p, func(policy iampolicy.Policy) bool { return givesAll(policy) && mayGive(self, p, policy) })
		bare.before = append(bare.before, but(p, own))
		if p.ARN == with.ARN {
			with = but(with, own)
		}
	}
	is := with.Admin()
	if bare.wasAdmin() || is == iampolicy.No {
		return nil
	}
	return &advantage{"makes it administrator", is == iampolicy.Conditional}
}

// but is a principal without some policies.
func but(p *iampolicy.Principal, policies []iampolicy.Policy) *iampolicy.Principal {
	kept, _ := split(p, func(policy iampolicy.Policy) bool {
		return slices.ContainsFunc(policies, func(out iampolicy.Policy) bool {
			return same(out.Name, policy.Name) && same(out.ARN, policy.ARN) && same(out.Group, policy.Group)
		})
	})
	return having(p, kept)
}

// givesAll tells whether a policy by itself makes its bearer administrator.
func givesAll(p iampolicy.Policy) bool {
	if p.Document == nil {
		return false
	}
	all, _ := p.Document.Admin()
	return all != iampolicy.No
}

// mayGive tells whether somebody could have given a principal a policy that it has:
// attached it or written it, to it or to its group, joined the group, or made
// another version of it.
func mayGive(by, to *iampolicy.Principal, policy iampolicy.Policy) bool {
	may := func(action, on string) bool { return by.Reaches(action, on, nil) != iampolicy.No }
	switch {
	case policy.ARN != "" && (may("iam:CreatePolicyVersion", policy.ARN) || may("iam:SetDefaultPolicyVersion", policy.ARN)):
		return true
	case policy.Group != "":
		group := to.ARN[:strings.Index(to.ARN, ":user/")] + ":group/*"
		return may("iam:AddUserToGroup", group) || may("iam:AttachGroupPolicy", group) || may("iam:PutGroupPolicy", group)
	case to.Type == iampolicy.Role:
		return may("iam:AttachRolePolicy", to.ARN) || may("iam:PutRolePolicy", to.ARN)
	}
	return may("iam:AttachUserPolicy", to.ARN) || may("iam:PutUserPolicy", to.ARN)
}

// unreadable names a policy that can't be understood of those that the verdict
// depends on; empty if there is none.
func (g *gain) unreadable() string {
	for _, p := range append([]*iampolicy.Principal{g.with}, g.before...) {
		for _, policy := range p.Policies {
			if policy.Document == nil {
				return fmt.Sprintf("the policy %s of %s can't be understood", policy.Name, p.ARN)
			}
		}
		if p.Boundary != nil && p.Boundary.Document == nil {
			return fmt.Sprintf("the permissions boundary %s of %s can't be read", p.Boundary.Name, p.ARN)
		}
	}
	return ""
}

// legible is a principal with those of its policies that can be understood. If
// its boundary can't be, that is none.
func legible(p *iampolicy.Principal) *iampolicy.Principal {
	if p.Boundary != nil && p.Boundary.Document == nil {
		return having(p, nil)
	}
	return having(p, slices.DeleteFunc(slices.Clone(p.Policies), func(p iampolicy.Policy) bool { return p.Document == nil }))
}

// having is a principal with other policies.
func having(p *iampolicy.Principal, policies []iampolicy.Policy) *iampolicy.Principal {
	next := *p
	next.Policies = policies
	return &next
}

// split parts the policies of a principal.
func split(p *iampolicy.Principal, isOut func(iampolicy.Policy) bool) (kept, out []iampolicy.Policy) {
	for _, policy := range p.Policies {
		if isOut(policy) {
			out = append(out, policy)
		} else {
			kept = append(kept, policy)
		}
	}
	return kept, out
}

// harmless tells whether what was given matters in no way, whatever else its
// bearer has.
func (q *inquiry) harmless(given *iampolicy.Principal) bool {
	return given.Admin() == iampolicy.No && q.reached(&gain{with: given}) == nil &&
		!slices.ContainsFunc(needed(), func(action string) bool { return given.Reaches(action, "*", nil) != iampolicy.No })
}

// needed are the actions that paths need. Wildcards are left out: whoever has
// iam:* has the actions of all other paths through IAM as well.
func needed() (all []string) {
	for _, p := range iampolicy.Paths() {
		for _, action := range p.Actions {
			if !strings.Contains(action, "*") && !slices.Contains(all, action) {
				all = append(all, action)
			}
		}
	}
	return all
}

// reached is what was gained of what the baseline calls sensitive.
func (q *inquiry) reached(g *gain) *advantage {
	for _, access := range q.sensitive {
		for _, action := range access.Actions {
			for _, resource := range access.Resources {
				if may := g.reach(action, resource); may != iampolicy.No {
					return &advantage{fmt.Sprintf("lets it do %s on %s", action, resource), may == iampolicy.Conditional}
				}
			}
		}
	}
	return nil
}

// reach is Reaches, and no if it was so before.
func (g *gain) reach(action, resource string) iampolicy.Answer {
	may := g.with.Reaches(action, resource, nil)
	if may == iampolicy.No || slices.ContainsFunc(g.before, func(p *iampolicy.Principal) bool {
		return p.Reaches(action, resource, nil) != iampolicy.No
	}) {
		return iampolicy.No
	}
	return may
}

// mayOpen tells whether there is a path of which the bearer has all actions, one
// of them at least by what was given. It costs no call, unlike what comes after
// it, and says no to most grants there are.
func (g *gain) mayOpen() bool {
	by := func(p *iampolicy.Principal) func(string) bool {
		return func(action string) bool { return p.Reaches(action, "*", nil) != iampolicy.No }
	}
	lacks := func(action string) bool { return !by(g.with)(action) }
	for _, p := range iampolicy.Paths() {
		wild := slices.ContainsFunc(p.Actions, func(a string) bool { return strings.Contains(a, "*") })
		if !wild && slices.ContainsFunc(p.Actions, by(g.given)) && !slices.ContainsFunc(p.Actions, lacks) {
			return true
		}
	}
	return false
}

// opened is the first path that was not open before: one that is open for
// certain, if there is one.
func (q *inquiry) opened(ctx context.Context, g *gain) (*advantage, error) {
	if err := q.without(ctx, g); err != nil {
		return nil, err
	}
	var found *advantage
	for _, e := range g.world.Escalations(g.with) {
		if g.open[e.Path.ID] || found != nil && e.Conditional {
			continue
		}
		found = &advantage{fmt.Sprintf("opens it the path %q (%s)", e.Path.Name, e.Path.ID), e.Conditional}
		if !e.Conditional {
			break
		}
	}
	return found, nil
}

// without makes the world as it would be without the grant.
func (q *inquiry) without(ctx context.Context, g *gain) (err error) {
	if g.world != nil {
		return nil
	}
	if q.all == nil {
		if q.all, err = q.reader.account(ctx); err != nil {
			return err
		}
	}
	g.world = &iampolicy.Account{
		ID: q.all.ID, Partition: q.all.Partition, Whole: q.all.Whole, Policies: q.all.Policies, Principals: slices.Clone(q.all.Principals),
	}
	for _, other := range slices.Concat(g.before, g.closed) {
		for i, p := range g.world.Principals {
			if p.ARN == other.ARN {
				g.world.Principals[i] = other
			}
		}
	}
	g.open = map[string]bool{}
	for _, p := range g.before {
		for _, e := range g.world.Escalations(p) {
			g.open[e.Path.ID] = true
		}
	}
	return nil
}

// offending are the statements of a document that have to go so that its bearer
// gains nothing, as few of them as may be: what stands first in the document is
// kept first. bears is the bearer with another document in its place.
func (q *inquiry) offending(ctx context.Context, g *gain, d *iampolicy.Document, bears func(*iampolicy.Document) *iampolicy.Principal) ([]int, error) {
	var out []int
	for i, s := range d.Statements {
		if s.Effect == iampolicy.Allow {
			out = append(out, i)
		}
	}
	for _, i := range slices.Clone(out) {
		tried := slices.DeleteFunc(slices.Clone(out), func(o int) bool { return o == i })
		probe := *g
		probe.with = bears(d.Without(tried...))
		a, err := q.advantage(ctx, &probe)
		if err != nil {
			return nil, err
		}
		g.world, g.open = probe.world, probe.open
		if a == nil {
			out = tried
		}
	}
	return out, nil
}

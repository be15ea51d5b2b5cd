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

// trust looks into a trust policy that lets the actor in, or a role that he can
// assume. What it was before, nothing tells: that he was let in before is no
// excuse.
func (q *inquiry) trust(ctx context.Context) (*escalation, error) {
	if q.isSelf() {
		return nil, nil // he has its rights already
	}
	_, name, _ := strings.Cut(q.on, "/")
	var role *iampolicy.Principal
	err := sideBySide(
		func() error { return q.readSelf(ctx) },
		func() (err error) { role, err = q.reader.role(ctx, name); return err },
	)
	if role == nil || err != nil {
		return nil, err
	}
	if role.Trust == nil {
		if q.harmless(role) {
			return nil, nil
		}
		return nil, fmt.Errorf("judge what %s did: %w", q.who(), &unknownError{"the trust policy of " + role.ARN + " can't be understood"})
	}
	agents, err := q.agents(ctx, role)
	if err != nil {
		return nil, err
	}
	entry := &entry{q: q, role: role, agents: agents}
	lets := entry.lets(role.Trust)
	if lets == iampolicy.No {
		return nil, nil
	}
	shut := entry.shut()
	closed := *role
	closed.Trust = shut
	g := &gain{with: role, before: known(agents), given: role, closed: []*iampolicy.Principal{&closed}}
	a, err := q.advantage(ctx, g)
	if a == nil || err != nil {
		return nil, err
	}
	e := q.found(g, a, &bearer{Principal: role, entity: role, unsure: lets == iampolicy.Conditional}, role.ARN)
	e.revoke = q.role(role)
	e.back = edit(grant.Trust, role.ARN, "", aws.String(role.Trust.String()), aws.String(shut.String()))
	if len(e.back.Edits) > 0 && entry.wide {
		e.back.Left = []string{fmt.Sprintf("The statement that let %s into the role %s let in others too, by naming nobody in particular: "+
			"give back to those what they need.", q.who(), role.Name())}
	}
	return e, nil
}

// agents are those as whom the actor could act anyway and whom the trust policy of
// a role may let in: himself, and roles that it names.
func (q *inquiry) agents(ctx context.Context, role *iampolicy.Principal) ([]*iampolicy.Principal, error) {
	agents := []*iampolicy.Principal{q.self}
	var names []string
	for _, s := range role.Trust.Statements {
		for _, p := range s.Principals {
			name, ok := strings.CutPrefix(p.Value, "arn:"+q.actor.Partition+":iam::"+q.actor.Account+":role/")
			if ok && s.Effect == iampolicy.Allow && p.Value != q.actor.ARN() && !slices.Contains(names, lastPart(name)) {
				names = append(names, lastPart(name))
			}
		}
	}
	found, err := each(names, func(name string) (*iampolicy.Principal, error) { return q.reader.role(ctx, name) })
	for i := range found {
		if q.lets(&found[i], found[i].Trust, q.self) != iampolicy.No {
			agents = append(agents, &found[i])
		}
	}
	return agents, err
}

// known are those of the agents who are of this account, and there.
func known(agents []*iampolicy.Principal) []*iampolicy.Principal {
	return slices.DeleteFunc(slices.Clone(agents), func(p *iampolicy.Principal) bool { return p == nil })
}

// entry is the way into a role.
type entry struct {
	q      *inquiry
	role   *iampolicy.Principal
	agents []*iampolicy.Principal // the first is the actor; nil if he is of another account, or gone
	wide   bool                   // a statement was shut that names none of them
}

// lets tells whether a trust policy would let one of them in.
func (e *entry) lets(trust *iampolicy.Document) iampolicy.Answer {
	lets := iampolicy.No
	for _, agent := range e.agents {
		lets = max(lets, e.q.lets(e.role, trust, agent))
	}
	return lets
}

// shut is the role's trust policy without what lets them in: their names or, where
// they are let in without one, the whole statement.
func (e *entry) shut() *iampolicy.Document {
	trust := e.role.Trust
	for i := len(trust.Statements) - 1; i >= 0; i-- {
		if trust.Statements[i].Effect == iampolicy.Deny || e.lets(only(trust, i)) == iampolicy.No {
			continue
		}
		named := slices.DeleteFunc(slices.Clone(trust.Statements[i].Principals), func(p iampolicy.StatementPrincipal) bool { return !e.names(p) })
		unnamed := trust
		if len(named) < len(trust.Statements[i].Principals) {
			for _, p := range named {
				unnamed = unnamed.WithoutPrincipal(i, p)
			}
			if e.lets(only(unnamed, i)) == iampolicy.No {
				trust = unnamed
				continue
			}
			e.wide = true
		}
		if len(trust.Statements) == 1 {
			return trust.WithEffect(i, iampolicy.Deny) // AWS takes no policy without a statement
		}
		trust = trust.Without(i)
	}
	return trust
}

// only is a document with one of its statements alone.
func only(d *iampolicy.Document, statement int) *iampolicy.Document {
	var others []int
	for i := range d.Statements {
		if i != statement {
			others = append(others, i)
		}
	}
	return d.Without(others...)
}

// names tells whether a principal of a trust policy is one of the agents, and
// nobody else.
func (e *entry) names(p iampolicy.StatementPrincipal) bool {
	if p.Kind != "AWS" {
		return false
	}
	if e.q.actor.Foreign != "" {
		return e.q.isForeign(p.Value)
	}
	return p.Value == e.q.session() || slices.ContainsFunc(known(e.agents), func(agent *iampolicy.Principal) bool {
		sessions := "arn:" + e.q.actor.Partition + ":sts::" + e.q.actor.Account + ":assumed-role/" + agent.Name() + "/"
		return p.Value == agent.ARN || p.Value == agent.ID || agent.Type == iampolicy.Role && strings.HasPrefix(p.Value, sessions)
	})
}

// lets tells whether a role with a trust policy can be assumed by somebody, or by
// the actor's session in his name.
func (q *inquiry) lets(role *iampolicy.Principal, trust *iampolicy.Document, by *iampolicy.Principal) iampolicy.Answer {
	next := *role
	next.Trust = trust
	if q.actor.Foreign != "" {
		return q.letsForeign(trust)
	}
	if by == nil || trust == nil {
		return iampolicy.No
	}
	if by == q.self && q.session() != "" {
		// A trust policy may name the session alone: to it, that is as good as its role.
		text := strings.ReplaceAll(trust.String(), `"`+q.session()+`"`, `"`+by.ARN+`"`)
		if d, err := iampolicy.Parse(text); err == nil {
			next.Trust = d
		}
	}
	a := iampolicy.Account{ID: q.actor.Account, Partition: q.actor.Partition, Principals: []*iampolicy.Principal{&next, by}}
	return a.Trusts(&next, by)
}

// letsForeign tells whether a trust policy lets in an actor of another account.
func (q *inquiry) letsForeign(trust *iampolicy.Document) iampolicy.Answer {
	if trust == nil {
		return iampolicy.No
	}
	lets := iampolicy.No
	for _, o := range trust.Openings(iampolicy.Organization{Account: q.actor.Account}) {
		if o.Public || slices.ContainsFunc(o.Outside, q.isForeign) {
			lets = max(lets, o.Answer)
		}
	}
	return lets
}

// isForeign tells whether a principal of a trust policy stands for an actor of
// another account: its ARN, its role's, or its whole account.
func (q *inquiry) isForeign(value string) bool {
	arn := strings.SplitN(q.actor.Foreign, ":", 6)
	if len(arn) < 6 {
		return false
	}
	account := "arn:" + arn[1] + ":iam::" + arn[4] + ":"
	role, _, _ := strings.Cut(strings.TrimPrefix(arn[5], "assumed-role/"), "/")
	return value == q.actor.Foreign || value == arn[4] || value == account+"root" ||
		strings.HasPrefix(value, account+"role/") && lastPart(value) == role
}

// session is the ARN of the actor's session; empty if he has none.
func (q *inquiry) session() string {
	in := "arn:" + q.actor.Partition + ":sts::" + q.actor.Account + ":"
	switch {
	case q.actor.Session == "":
		return ""
	case q.actor.User != "":
		return in + "federated-user/" + q.actor.Session
	}
	return in + "assumed-role/" + q.actor.Name() + "/" + q.actor.Session
}

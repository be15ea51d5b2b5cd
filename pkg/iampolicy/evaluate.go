package iampolicy

import (
	"slices"
	"strings"
)

// May tells whether the principal may do an action on a resource, both given in
// full: "s3:GetObject", "arn:aws:s3:::example/key"; the resource of an action that
// knows none is "*". Its own policies, those of its groups, its boundary and
// explicit denials count; service control policies, session policies and resource
// policies are not known here. A group may what each of its members may by it.
//
// A policy without Document is one that could not be understood: it may allow and
// deny anything. Conditions are taken one statement at a time: that two statements
// together cover every case is not seen, and Conditional.
//
// What a principal knows about itself need not be in known: aws:PrincipalArn,
// aws:PrincipalAccount, aws:PrincipalType, aws:PrincipalIsAWSService, aws:username,
// aws:userid and aws:PrincipalTag. Nil Tags are not known, an empty map is none.
// What known says goes before that.
func (p *Principal) May(action, resource string, known Context) Answer {
	f := facts{principal: p, known: known}
	allowed, denied := No, No
	for i := range p.Policies {
		f.weigh(p.Policies[i].Document, action, resource, &allowed, &denied)
		if denied == Yes {
			return No
		}
	}
	if p.Boundary != nil {
		bounded := No
		f.weigh(p.Boundary.Document, action, resource, &bounded, &denied)
		allowed = min(allowed, bounded)
	}
	return min(allowed, Yes-denied)
}

// weigh raises the answers to what a document allows and denies.
func (f *facts) weigh(d *Document, action, resource string, allowed, denied *Answer) {
	if d == nil {
		*allowed, *denied = max(*allowed, Conditional), max(*denied, Conditional)
		return
	}
	f.of(d)
	for i := range d.Statements {
		s := &d.Statements[i]
		weight := allowed
		if s.Effect == Deny {
			weight = denied
		}
		if *weight != Yes {
			*weight = max(*weight, f.applies(s, action, resource))
		}
	}
}

// applies tells whether a statement is about an action on a resource.
func (f *facts) applies(s *Statement, action, resource string) Answer {
	it := s.doing(action)
	if it != No {
		it = min(it, f.on(s, resource))
	}
	if it != No {
		it = min(it, f.conditions(s))
	}
	return it
}

// doing tells whether a statement is about an action. One without actions, which
// AWS would not have taken, can't be told.
func (s *Statement) doing(action string) Answer {
	switch {
	case len(s.Actions) > 0:
		return anyMatches(s.Actions, action)
	case len(s.NotActions) > 0:
		return Yes - anyMatches(s.NotActions, action)
	}
	return Conditional
}

// anyMatches ignores case, as IAM does with actions ("IAM JSON policy elements:
// Action").
func anyMatches(patterns []string, action string) Answer {
	for _, p := range patterns {
		if match(p, action, true) {
			return Yes
		}
	}
	return No
}

// on tells whether a statement is about a resource. The resource of a trust policy
// is the role, and in no statement.
func (f *facts) on(s *Statement, resource string) Answer {
	if len(s.Resources) > 0 {
		found := No
		for _, r := range s.Resources {
			if !begins(r, resource) {
				continue
			}
			pattern, known := f.fill(r, true)
			if known > found && match(pattern, resource, false) {
				found = known
			}
		}
		return found
	}
	if len(s.NotResources) == 0 {
		return Conditional
	}
	left := Yes
	for _, r := range s.NotResources {
		pattern, known := f.fill(r, true)
		switch {
		case known == No:
			// A variable is missing: whether the statement then holds for all resources
			// or for none is not documented.
			left = min(left, Conditional)
		case match(pattern, resource, false):
			left = min(left, Yes-known)
		}
	}
	return left
}

// begins tells whether a text may begin as a pattern does, before any wildcard or
// variable: it saves looking closer.
func begins(pattern, text string) bool {
	for i := 0; i < len(pattern) && pattern[i] != '$' && !isWild(pattern[i]); i++ {
		if i == len(text) || pattern[i] != text[i] {
			return false
		}
	}
	return true
}

// Reaches is May for any of the actions and resources that two patterns with the
// wildcards * and ? stand for: whether there is one action on one resource that it
// may do. AWS's lists of actions and resources are not known here: what no statement
// rules out counts as being there, so ask as narrowly as you can:
// "arn:aws:iam::222222222222:role/*" rather than "*".
//
// It is never less than May of any of these actions on any of these resources (names
// of IAM have no colons). It
// is more where only several denials together leave nothing, or where what a
// statement allows, what the boundary allows and what was asked for have something
// in common two by two but not all three; and it is Conditional where finding out
// would take too long, which takes policies far larger than IAM has.
func (p *Principal) Reaches(action, resource string, known Context) Answer {
	if !wild(action) && !wild(resource) {
		return p.May(action, resource, known)
	}
	r := search{facts: facts{principal: p, known: known}, budget: maxReach}
	for i := range p.Policies {
		r.read(p.Policies[i].Document, &r.allows)
	}
	limits := []rule{{Statement: &everything, holds: Yes}}
	if p.Boundary != nil {
		limits = nil
		r.read(p.Boundary.Document, &limits)
	}
	resource = withNames(resource)
	best := No
	for _, allow := range r.allows {
		asked := area{span{in: []string{action}, fold: true, sure: allow.holds}, span{in: []string{resource}, sure: allow.holds}}
		for _, part := range r.parts(asked, allow) {
			best = max(best, r.left(part, limits, best))
			if best == Yes || r.budget < 0 {
				return max(best, Conditional)
			}
		}
	}
	return best
}

// withNames keeps the wildcards of a pattern of IAM's resources from standing for
// colons, which none of their names and paths has ("IAM identifiers"): else a
// statement on "arn:aws:iam::*:user/alice" would be about a role, one by the name of
// "x:user/alice".
func withNames(resource string) string {
	if !strings.HasPrefix(resource, "arn:") || partOf(resource, 2) != "iam" {
		return resource
	}
	return strings.ReplaceAll(resource, "*", string([]byte{nameStar}))
}

// maxReach is how many steps of comparing patterns Reaches takes at most: some
// tenths of a second. The largest principal that IAM's quotas allow takes a
// hundredth of it.
const maxReach = 1 << 26

var everything = Statement{Effect: Allow, Actions: []string{"*"}, Resources: []string{"*"}}

// search is that for something that a principal may do.
type search struct {
	facts
	allows, denies []rule
	budget         int
}

// rule is a statement whose conditions may hold.
type rule struct {
	*Statement
	holds     Answer
	variables bool
}

func (r *search) read(d *Document, allows *[]rule) {
	if d == nil {
		*allows = append(*allows, rule{Statement: &everything, holds: Conditional})
		r.denies = append(r.denies, rule{Statement: &everything, holds: Conditional})
		return
	}
	r.of(d)
	for i := range d.Statements {
		s := &d.Statements[i]
		holds := r.conditions(s)
		if holds == No {
			continue
		}
		if s.Effect == Deny {
			r.denies = append(r.denies, rule{s, holds, r.variables})
		} else {
			*allows = append(*allows, rule{s, holds, r.variables})
		}
	}
}

// left is the most that limits and denials leave of an area, as far as that is
// more than what was found already.
func (r *search) left(part area, limits []rule, best Answer) Answer {
	for _, limit := range limits {
		for _, inner := range r.parts(part, limit) {
			if got := min(inner.sure(), limit.holds); got > best {
				best = max(best, min(got, Yes-r.denied(inner)))
			}
			if best == Yes || r.budget < 0 {
				return best
			}
		}
	}
	return best
}

// denied tells whether a statement denies a whole area.
func (r *search) denied(a area) Answer {
	most := No
	for _, d := range r.denies {
		if d.holds <= most {
			continue
		}
		r.variables = d.variables
		it := r.contains(a.actions, d.Actions, d.NotActions, false)
		if it > most {
			it = min(it, r.contains(a.resources, d.Resources, d.NotResources, true))
		}
		most = max(most, min(it, d.holds))
		if most == Yes || r.budget < 0 {
			break
		}
	}
	return most
}

// area is some actions on some resources.
type area struct{ actions, resources span }

func (a area) sure() Answer { return min(a.actions.sure, a.resources.sure) }

// span is the texts that all patterns in stand for, and none of the patterns out.
type span struct {
	in, out []string
	fold    bool
	// sure is Conditional if it is not known that the span is as wide as that.
	sure Answer
}

// parts are the parts of an area that a statement is about.
func (r *search) parts(a area, s rule) []area {
	r.variables = s.variables
	actions := r.narrow(a.actions, s.Actions, s.NotActions, false)
	if len(actions) == 0 {
		return nil
	}
	var all []area
	resources := r.narrow(a.resources, s.Resources, s.NotResources, true)
	for _, x := range actions {
		for _, y := range resources {
			all = append(all, area{x, y})
			r.budget--
		}
		if r.budget < 0 {
			break
		}
	}
	return all
}

// narrow are the parts of a span that a statement's patterns, or all but its
// patterns, leave.
func (r *search) narrow(s span, patterns, not []string, filled bool) []span {
	switch {
	case len(patterns) > 0:
		return r.narrowTo(s, patterns, filled)
	case len(not) > 0:
		return r.narrowBy(s, not, filled)
	}
	s.sure = min(s.sure, Conditional)
	return []span{s}
}

func (r *search) narrowTo(s span, patterns []string, filled bool) []span {
	var parts []span
	for _, p := range patterns {
		p, known := r.filled(p, filled)
		if known == No || !r.touches(s, p) {
			continue
		}
		part := s
		part.sure = min(s.sure, known)
		if !r.covers(p, s) {
			part.in = append(slices.Clip(s.in), p)
		} else if known == Yes {
			return []span{part}
		}
		parts = append(parts, part)
	}
	return parts
}

func (r *search) narrowBy(s span, not []string, filled bool) []span {
	out := slices.Clip(s.out)
	for _, p := range not {
		p, known := r.filled(p, filled)
		switch {
		case known == No:
			s.sure = min(s.sure, Conditional)
		case r.covers(p, s):
			s.sure = min(s.sure, Yes-known)
		case known == Yes && r.touches(s, p):
			out = append(out, p)
		}
	}
	if s.sure == No {
		return nil
	}
	s.out = out
	return []span{s}
}

// contains tells whether a statement is about all of a span.
func (r *search) contains(s span, patterns, not []string, filled bool) Answer {
	switch {
	case len(patterns) > 0:
		return r.within(s, patterns, filled)
	case len(not) > 0:
		return r.without(s, not, filled)
	}
	return Conditional
}

func (r *search) within(s span, patterns []string, filled bool) Answer {
	found := No
	for _, p := range patterns {
		p, known := r.filled(p, filled)
		if known > found && r.covers(p, s) {
			found = known
		}
	}
	return found
}

func (r *search) without(s span, not []string, filled bool) Answer {
	left := Yes
	for _, p := range not {
		p, known := r.filled(p, filled)
		if known == No || r.touches(s, p) && !r.excepted(p, s) {
			left = min(left, Yes-max(known, Conditional))
		}
		if r.budget < 0 {
			return No
		}
	}
	return left
}

func (r *search) filled(pattern string, filled bool) (string, Answer) {
	if !filled {
		return pattern, Yes
	}
	return r.fill(pattern, true)
}

// excepted tells whether all that a pattern stands for is out of a span.
func (r *search) excepted(p string, s span) bool {
	r.budget -= len(s.out)
	return slices.ContainsFunc(s.out, func(out string) bool { return covers(out, p, s.fold) })
}

// touches tells whether a pattern has something in common with each of a span's.
func (r *search) touches(s span, p string) bool {
	for _, in := range s.in {
		r.budget -= len(p) * len(in)
		if r.budget >= 0 && !overlap(p, in, s.fold) {
			return false
		}
	}
	return true
}

// covers tells whether a pattern stands for all of a span.
func (r *search) covers(p string, s span) bool {
	for _, in := range s.in {
		r.budget -= len(p) + len(in)
		if covers(p, in, s.fold) {
			return true
		}
	}
	return false
}

// What stands for all that is not named: nobody denies or allows it by its name.
const (
	unnamedAction  = "zz-unnamed:ZzUnnamed"
	unnamedAccount = "000000000000"
)

// grants are what an administrator can give any rights with. The resource is what
// comes after the account.
var grants = [...][2]string{
	{"iam:AttachRolePolicy", "role/zz-unnamed"},
	{"iam:AttachUserPolicy", "user/zz-unnamed"},
	{"iam:AttachGroupPolicy", "group/zz-unnamed"},
	{"iam:PutRolePolicy", "role/zz-unnamed"},
	{"iam:PutUserPolicy", "user/zz-unnamed"},
	{"iam:PutGroupPolicy", "group/zz-unnamed"},
	{"iam:CreatePolicyVersion", "policy/zz-unnamed"},
	{"iam:SetDefaultPolicyVersion", "policy/zz-unnamed"},
	{"iam:UpdateAssumeRolePolicy", "role/zz-unnamed"},
	{"iam:PassRole", "role/zz-unnamed"},
	{"iam:AddUserToGroup", "group/zz-unnamed"},
	{"iam:CreateAccessKey", "user/zz-unnamed"},
	{"iam:CreateLoginProfile", "user/zz-unnamed"},
	{"iam:UpdateLoginProfile", "user/zz-unnamed"},
}

// administrative tells whether someone has full administrative rights, by what he
// may: an action that nothing names on resources that nothing names, with an
// account and without one; and at least one of IAM's actions that give rights, on
// what nothing names.
func administrative(may func(action, resource string) Answer, partition, account string) Answer {
	all := may(unnamedAction, "arn:"+partition+":zz-unnamed:us-east-1:"+account+":zz-unnamed")
	if all != No {
		all = min(all, may(unnamedAction, "arn:"+partition+":zz-unnamed:::zz-unnamed"))
	}
	if all == No {
		return No
	}
	give := No
	for _, g := range grants {
		give = max(give, may(g[0], "arn:"+partition+":iam::"+account+":"+g[1]))
		if give == Yes {
			break
		}
	}
	return min(all, give)
}

// Admin tells whether the principal has full administrative rights: all actions,
// but for a few at most, on all resources, those of IAM that give rights among
// them, after its boundary and all denials. So Action "*", or NotAction with any
// services but IAM, on Resource "*" counts, alone or together with another
// statement; a denial of some actions, or of anything on some resources, takes
// nothing from it; a denial of "*", of "iam:*" or of each of IAM's actions that give
// rights does, and so does a boundary without them. IAM's actions alone, "iam:*" on
// "*", are not administrative in this sense: they are a way to it, see
// Account.Escalations.
func (p *Principal) Admin() Answer {
	return administrative(func(action, resource string) Answer { return p.May(action, resource, nil) }, partitionOf(p.ARN), accountOf(p.ARN))
}

// Admin tells whether the document by itself gives full administrative rights, in
// the sense of Principal.Admin, and by which of its statements: those that would
// alone; if the others would together, also those of them that allow all actions
// but some. Without these, none of it is left. It is the sense of Security Hub's
// IAM.1, Action "*" on Resource "*", with the other ways to write it.
func (d *Document) Admin() (Answer, []int) {
	answer := d.administrative()
	if answer == No {
		return No, nil
	}
	var by, others []int
	rest := Document{Version: d.Version}
	for i := range d.Statements {
		s := d.Statements[i : i+1]
		alone := Document{Version: d.Version, Statements: s}
		if s[0].Effect == Allow && alone.administrative() != No {
			by = append(by, i)
			continue
		}
		rest.Statements = append(rest.Statements, s[0])
		others = append(others, i)
	}
	if rest.administrative() == No {
		return answer, by
	}
	for i, n := range others {
		if s := &rest.Statements[i]; s.Effect == Allow && s.doing(unnamedAction) != No {
			by = append(by, n)
		}
	}
	slices.Sort(by)
	return answer, by
}

func (d *Document) administrative() Answer {
	most := No
	for _, partition := range [...]string{"aws", "aws-cn", "aws-us-gov"} {
		most = max(most, administrative(func(action, resource string) Answer {
			var f facts
			allowed, denied := No, No
			f.weigh(d, action, resource, &allowed, &denied)
			return min(allowed, Yes-denied)
		}, partition, unnamedAccount))
	}
	return most
}

// accountOf is the account of an ARN, and partitionOf its partition; empty if it is
// none.
func accountOf(arn string) string { return partOf(arn, 4) }

func partitionOf(arn string) string { return partOf(arn, 1) }

func partOf(arn string, n int) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[n]
}

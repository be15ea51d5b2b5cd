package iampolicy

import (
	"cmp"
	"iter"
	"slices"
	"strings"
)

// reach is what is worked out once for all principals of an account: who can
// become administrator.
type reach struct {
	a      *Account
	rows   []row
	arn    func(pattern string) string
	all    *field
	byName map[string]*Principal // groups
	// worth is how far a principal is administrator or can become it; privileged are
	// those with whom it is not no.
	worth      map[*Principal]Answer
	privileged *field
	views      map[*Principal]*view
	// allowed are the table's actions that a document may allow.
	allowed map[*Document]map[string]bool
	// grants is what comes of giving somebody all rights, of those whom a boundary or
	// a denial limits; it holds as long as nobody's worth changes.
	grants map[*Principal]Answer
}

// newReach finds who can become administrator. Each round looks only at those
// whose worth rose in the one before, so that a principal is looked at from
// another at most twice, whatever circles they form.
func newReach(a *Account, rows []row) *reach {
	r := &reach{
		a: a, rows: rows, arn: a.patterns(),
		byName:  map[string]*Principal{},
		worth:   map[*Principal]Answer{},
		views:   map[*Principal]*view{},
		allowed: map[*Document]map[string]bool{},
	}
	r.all = r.newField(a.Principals)
	var rose []*Principal
	for _, p := range a.Principals {
		if p.Type == Group {
			r.byName[p.Name()] = p
			continue
		}
		if r.worth[p] = p.Admin(); r.worth[p] != No {
			rose = append(rose, p)
		}
	}
	for rose = r.round(r.newField(rose)); rose != nil; {
		rose = r.round(r.newField(rose))
	}
	r.grants = map[*Principal]Answer{}
	r.privileged = r.newField(slices.DeleteFunc(slices.Clone(a.Principals), func(p *Principal) bool { return r.worth[p] == No }))
	return r
}

// round raises the worth of those who come to more through others whose worth
// rose, and returns whose rose now.
func (r *reach) round(rose *field) (now []*Principal) {
	r.grants = map[*Principal]Answer{}
	for _, p := range r.a.Principals {
		if p.Type == Group || r.worth[p] == Yes {
			continue
		}
		worth := r.view(p).among(rose).best(r.worth[p])
		if worth == r.worth[p] {
			continue
		}
		r.worth[p] = worth
		now = append(now, p)
	}
	return now
}

// field is some of the account's principals, by what one looks for.
type field struct {
	byType    map[PrincipalType][]*Principal
	byService map[string][]trusting
	// byTrustee are the roles that name a user or role in their trust policy, byAccount
	// those that name the account, and open those that may let in others, too.
	byTrustee       map[string][]*Principal
	byAccount, open []*Principal
}

// trusting is a role that trusts a service.
type trusting struct {
	role   *Principal
	answer Answer
}

func (r *reach) newField(all []*Principal) *field {
	f := &field{byType: map[PrincipalType][]*Principal{}, byService: map[string][]trusting{}, byTrustee: map[string][]*Principal{}}
	for _, p := range all {
		f.byType[p.Type] = append(f.byType[p.Type], p)
		if p.Type == Role {
			f.trust(p)
		}
	}
	for i := range r.rows {
		for _, service := range r.rows[i].services {
			if _, known := f.byService[service]; !known {
				f.byService[service] = r.trusting(f.byType[Role], service)
			}
		}
	}
	return f
}

// trust notes who may be let to assume a role.
func (f *field) trust(role *Principal) {
	names, account, others := role.trustees()
	for _, arn := range names {
		f.byTrustee[arn] = append(f.byTrustee[arn], role)
	}
	if account {
		f.byAccount = append(f.byAccount, role)
	}
	if others {
		f.open = append(f.open, role)
	}
}

// assumable are the roles of a field that may let the principal assume them. Those
// that name the account leave it to the principal's policies.
func (v *view) assumable(f *field) []*Principal {
	roles := slices.Concat(f.byTrustee[v.p.ARN], f.open)
	if v.mentions(assumeRole) {
		roles = append(roles, f.byAccount...)
	}
	return roles
}

// trusting are the roles that a service can be given. EC2 is given an instance
// profile, and with it the role in it.
func (r *reach) trusting(roles []*Principal, service string) []trusting {
	all := []trusting{}
	for _, role := range roles {
		answer := role.TrustsService(service)
		if service == "ec2.amazonaws.com" && !role.Profile {
			answer = min(answer, r.unseen())
		}
		if answer != No {
			all = append(all, trusting{role, answer})
		}
	}
	return all
}

// patterns makes patterns of ARNs with the account's own partition and number.
// There are few, and each is asked for again and again.
func (a *Account) patterns() func(pattern string) string {
	fill := strings.NewReplacer("${Partition}", cmp.Or(a.Partition, "*"), "${Account}", cmp.Or(a.ID, "*"))
	filled := map[string]string{}
	return func(pattern string) string {
		arn, known := filled[pattern]
		if !known {
			arn = fill.Replace(pattern)
			filled[pattern] = arn
		}
		return arn
	}
}

// pattern is that of the ARNs of all users, groups, roles or policies.
func (r *reach) pattern(of PrincipalType) string {
	return r.arn(allOf[of])
}

var allOf = map[PrincipalType]string{
	User:         "arn:${Partition}:iam::${Account}:user/*",
	Group:        "arn:${Partition}:iam::${Account}:group/*",
	Role:         "arn:${Partition}:iam::${Account}:role/*",
	policyItself: "arn:${Partition}:iam::${Account}:policy/*",
}

const policyItself PrincipalType = "policy"

// unseen is the answer that rests on something that the account isn't known to
// have.
func (r *reach) unseen() Answer {
	if r.a.Whole {
		return No
	}
	return Conditional
}

// view is the account as one principal sees it, as that is or as it would be
// after a step.
type view struct {
	*reach
	p     *Principal
	admin Answer
	ready []ready
	// depth is how many times more a change of the principal itself is followed: is it
	// 0, a change counts only if it makes it administrator at once.
	depth int
	// field is whose rights are worth something.
	field *field
	// about is the principal with only those policies that concern an action.
	about map[string]*Principal
	// plain is how far paths are open among these, without any change followed.
	plain map[*row]Answer
}

// ready is a path that the principal may be able to go, with the answer as far as
// that depends on nobody else.
type ready struct {
	row    *row
	answer Answer
}

func (r *reach) view(p *Principal) *view {
	v, known := r.views[p]
	if !known {
		v = r.newView(p, 1)
		if _, known := r.worth[p]; known {
			r.views[p] = v
		}
	}
	return v
}

func (r *reach) newView(p *Principal, depth int) *view {
	v := &view{reach: r, p: p, admin: p.Admin(), depth: depth, about: map[string]*Principal{}}
	told := map[asked]Answer{}
	for i := range r.rows {
		answer := Yes
		if r.rows[i].Presumes != "" {
			answer = Conditional
		}
		for _, n := range r.rows[i].needs {
			if answer != No {
				answer = v.able(&r.rows[i], n, answer, told)
			}
		}
		if answer != No {
			v.ready = append(v.ready, ready{&r.rows[i], answer})
		}
	}
	return v
}

// able lowers an answer to what a need allows. Of a need that depends on the
// principal the path goes through, it only sees that it is met nowhere.
func (v *view) able(r *row, n need, answer Answer, told map[asked]Answer) Answer {
	q := asked{need: n}
	switch n.place {
	case session:
		return answer
	case throughIt:
		q.place, q.others = v.pattern(r.through[0].of), !r.through[0].own
	case itsPolicy:
		q.place = v.pattern(policyItself)
	}
	may, known := told[q]
	if !known {
		if n.place == allOfIAM || v.mentions(n.action) {
			may = v.reaches(q, r.through[0].of)
		}
		told[q] = may
	}
	if _, depends := places[n.place]; depends && may != No {
		return answer
	}
	return min(answer, may)
}

// asked is what a principal is asked about an action: on which resources, or on
// which but itself.
type asked struct {
	need
	others bool
}

// mentions tells whether any policy allows an action on anything. Most principals
// have few of the table's actions, and most of their policies are shared.
func (v *view) mentions(action string) bool {
	return slices.ContainsFunc(v.p.Policies, func(policy Policy) bool {
		return policy.Document == nil || v.allows(policy.Document)[action]
	})
}

// doing is the principal with only those policies that can say something to an
// action: long lists of others are not gone through for each resource.
func (v *view) doing(action string) *Principal {
	p, known := v.about[action]
	if !known {
		q := *v.p
		q.Policies = nil
		for _, policy := range v.p.Policies {
			if policy.Document == nil || v.allows(policy.Document)[action] || denies(policy.Document) {
				q.Policies = append(q.Policies, policy)
			}
		}
		p = &q
		v.about[action] = p
	}
	return p
}

func (r *reach) allows(d *Document) map[string]bool {
	actions, known := r.allowed[d]
	if known {
		return actions
	}
	actions = map[string]bool{}
	for i := range r.rows {
		for _, n := range r.rows[i].needs {
			if !actions[n.action] && slices.ContainsFunc(d.Statements, func(s Statement) bool {
				return s.Effect == Allow && s.doing(n.action) != No
			}) {
				actions[n.action] = true
			}
		}
	}
	r.allowed[d] = actions
	return actions
}

// reaches tells whether an action is allowed on any resource of a pattern.
func (v *view) reaches(q asked, of PrincipalType) Answer {
	p := v.doing(q.action)
	switch {
	case q.place == "*": // AWS knows no resources of this action: only a policy for all allows it
		return p.May(q.action, "*", nil)
	case q.place == allOfIAM:
		return v.everything(q.action)
	case q.others:
		p = besides(p, q.action, of, p)
	}
	return p.Reaches(q.action, v.arn(q.place), nil)
}

// everything tells whether all of the table's actions that a pattern stands for
// are allowed on all that IAM has. What is allowed on a pattern as if that were a
// name is allowed on all that it stands for.
func (v *view) everything(pattern string) Answer {
	answer := Yes
	for i := range v.rows {
		for _, n := range v.rows[i].needs {
			if match(pattern, n.action, true) && n.place != allOfIAM && answer != No {
				answer = min(answer, v.doing(n.action).May(n.action, v.arn("arn:${Partition}:iam::${Account}:*"), nil))
			}
		}
	}
	return answer
}

// among is the view with only some of those whose rights are worth something.
func (v *view) among(f *field) *view {
	w := *v
	w.field = f
	w.plain = nil
	return &w
}

// as is the account as another principal sees it, at the same stage.
func (v *view) as(p *Principal) *view {
	w := v.view(p).among(v.field)
	w.depth = v.depth
	return w
}

// best is what the principal can come to, if that is more than it has.
func (v *view) best(has Answer) Answer {
	for _, at := range v.ready {
		if has < at.answer && at.row.Status != "ended" {
			has = max(has, v.open(at, 1).answer)
		}
	}
	return has
}

// become is what the principal gains by a change that turns it into another: how
// far that one is administrator, or has paths open that this one has not. Of one
// who is administrator under conditions already, only the former counts.
func (v *view) become(q *Principal) Answer {
	best := q.Admin()
	if best <= v.admin {
		best = No
	}
	if best == Yes || v.depth == 0 || v.admin != No {
		return best
	}
	then := v.newView(q, v.depth-1).among(v.field)
	for _, at := range then.ready {
		if best >= at.answer || at.row.Status == "ended" || v.now(at.row) >= at.answer {
			continue
		}
		if gained := then.open(at, 1).answer; gained > v.now(at.row) {
			best = max(best, gained)
		}
	}
	return best
}

// now is how far a path is open without any change followed.
func (v *view) now(r *row) Answer {
	answer, known := v.plain[r]
	if known {
		return answer
	}
	plain := *v
	plain.depth = 0
	for _, at := range v.ready {
		if at.row == r {
			answer = plain.open(at, 1).answer
		}
	}
	if v.plain == nil {
		v.plain = map[*row]Answer{}
	}
	v.plain[r] = answer
	return answer
}

// outcome is how far a path is open, and where.
type outcome struct {
	answer             Answer
	resources, through []string
	found, most        int
}

// open tells how far a path is open, with as many of the places where it is as
// asked for.
func (v *view) open(at ready, most int) outcome {
	o := outcome{most: most}
	for w := range v.ways(at.row) {
		v.try(&o, at, w)
		if o.answer == at.answer && o.found >= most {
			return o
		}
	}
	if o.answer == No && !v.a.Whole {
		return v.beyond(at)
	}
	return o
}

// ways are those that a path may go.
func (v *view) ways(r *row) iter.Seq[way] {
	return func(yield func(way) bool) {
		for _, k := range r.through {
			for _, service := range r.services {
				for _, t := range v.field.byService[service] {
					if !yield(way{row: r, kind: k, t: t.role, fits: t.answer, service: service}) {
						return
					}
				}
			}
			if len(r.services) > 0 {
				continue
			}
			for _, t := range v.those(r, k) {
				if !through(r, k, t, yield) {
					return
				}
			}
		}
	}
}

// through yields the ways through a principal: one, or one for each of its policies
// that could be changed.
func through(r *row, k kind, t *Principal, yield func(way) bool) bool {
	if !r.policy {
		return yield(way{row: r, kind: k, t: t, fits: k.fits(t)})
	}
	for i := range t.Policies {
		if customerManaged(t.Policies[i].ARN) && !yield(way{row: r, kind: k, t: t, fits: k.fits(t), policy: i}) {
			return false
		}
	}
	return true
}

// those are the principals that a path may go through.
func (v *view) those(r *row, k kind) []*Principal {
	switch {
	case k.own && k.of == Group:
		return v.groups()
	case k.own && (k.of == "" || k.of == v.p.Type || v.p.Type == ""):
		return []*Principal{v.p}
	case k.own:
		return nil
	case k.of == "":
		return []*Principal{nil}
	case k.assumed && r.gain.theirs:
		return v.assumable(v.field)
	case k.assumed:
		return v.assumable(v.all)
	case r.gain.theirs:
		return v.field.byType[k.of]
	}
	return v.all.byType[k.of]
}

// groups are the principal's own.
func (v *view) groups() (own []*Principal) {
	if v.p.Type == "" {
		return []*Principal{{Type: Group}}
	}
	for _, name := range v.p.Groups {
		own = append(own, v.group(name))
	}
	return own
}

func (v *view) group(name string) *Principal {
	if g := v.byName[name]; g != nil {
		return g
	}
	return &Principal{Type: Group, ARN: v.arn("arn:${Partition}:iam::${Account}:group/") + name}
}

// try looks whether a path is open by one of its ways.
func (v *view) try(o *outcome, at ready, w way) {
	if !w.kind.own && w.t != nil && v.same(w.t) {
		return
	}
	answer := min(at.answer, w.fits)
	var resources []string
	for _, n := range w.row.needs {
		place, depends := places[n.place]
		if !depends || answer == No || answer < o.answer {
			continue
		}
		may, resource := place(v, w, n)
		answer = min(answer, may)
		resources = append(resources, resource)
	}
	if answer != No && answer >= o.answer {
		answer = min(answer, w.row.gain.worth(v, w))
	}
	if answer == No || answer < o.answer {
		return
	}
	o.add(answer, resources)
	if w.row.gain.names && !w.kind.own {
		o.through = o.list(o.through, w.t.ARN)
	}
}

// same reports whether going through somebody leads nowhere: it is the principal
// itself, a group that it is in already, or one that it can't join, as no role
// can.
func (v *view) same(t *Principal) bool {
	if t.Type == Group {
		return v.p.Type == Role || slices.Contains(v.p.Groups, t.Name())
	}
	return t.ARN == v.p.ARN
}

// add notes a place where the path is open, and forgets those where it is less.
func (o *outcome) add(answer Answer, resources []string) {
	if answer > o.answer {
		*o = outcome{answer: answer, most: o.most}
	}
	o.found++
	for _, resource := range resources {
		o.resources = o.list(o.resources, resource)
	}
}

// list is a list with one more, unless that is there or the list is long enough.
func (o *outcome) list(all []string, one string) []string {
	if len(all) >= o.most || slices.Contains(all, one) {
		return all
	}
	return append(all, one)
}

// beyond tells how far a path is open through something that the account may have
// and that is not known: conditionally, if what is known of it is not all that is
// allowed.
func (v *view) beyond(at ready) outcome {
	o := outcome{most: named}
	of := at.row.through[len(at.row.through)-1]
	if of.own || of.of == Group && v.p.Type == Role {
		return o
	}
	var resources []string
	for _, n := range at.row.needs {
		pattern := v.pattern(of.of)
		switch n.place {
		case throughIt, session:
		case itsPolicy:
			pattern = v.pattern(policyItself)
		default:
			continue
		}
		if besides(v.p, n.action, of.of, append(slices.Clip(v.all.byType[of.of]), v.p)...).Reaches(n.action, pattern, nil) == No {
			return o
		}
		resources = append(resources, pattern)
	}
	o.add(Conditional, resources)
	return o
}

// besides is a principal with an action denied on some users, groups or roles. No
// two of a type have the same name in an account, whatever their paths.
func besides(p *Principal, action string, of PrincipalType, some ...*Principal) *Principal {
	var names []string
	for _, one := range some {
		names = append(names, "*:"+string(of)+"/"+one.Name(), "*:"+string(of)+"/*/"+one.Name())
	}
	q := *p
	q.Policies = append(slices.Clip(q.Policies), Policy{Document: &Document{
		Statements: []Statement{{Effect: Deny, Actions: []string{action}, Resources: names}},
	}})
	return &q
}

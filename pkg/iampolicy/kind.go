package iampolicy

import (
	"slices"
	"strings"
)

// kind is a kind of principals that a path goes through.
type kind struct {
	of PrincipalType // empty for the principal itself, whatever it is, and for none
	// own says that the path changes what the principal itself may do. Else those it
	// goes through are others, whom it becomes or whose rights it comes to use.
	own bool
	// assumed says that it takes a session of the role.
	assumed bool
	// fits tells whether a principal is of the kind.
	fits func(t *Principal) Answer
}

// kinds are those that the table names.
var kinds = map[string]kind{
	"self":      {own: true, fits: always},
	"own-user":  {own: true, of: User, fits: always},
	"own-role":  {own: true, of: Role, fits: always},
	"own-group": {own: true, of: Group, fits: always},

	"user-to-key":           {of: User, fits: userToKey},
	"user-with-keys":        {of: User, fits: userWithKeys},
	"user-with-password":    {of: User, fits: userWithPassword},
	"user-without-password": {of: User, fits: userWithoutPassword},
	"group":                 {of: Group, fits: always},
	"role":                  {of: Role, fits: always},
	"assumable-role":        {of: Role, assumed: true, fits: always},
	"passed-role":           {of: Role, fits: always}, // see reach.trusting
	"running-role":          {of: Role, fits: always},
	"nobody":                {fits: always},
}

func always(*Principal) Answer { return Yes }

// userToKey: IAM refuses a third access key (IAM user guide, "IAM and STS
// quotas").
func userToKey(t *Principal) Answer {
	if t.Keys >= 2 {
		return No
	}
	return Yes
}

func userWithKeys(t *Principal) Answer {
	switch {
	case t.Keys >= 2:
		return Yes
	case t.Keys < 0:
		return Conditional
	}
	return No
}

// Whether a user has a password is known if its keys are (Principal.Keys).
func userWithPassword(t *Principal) Answer {
	switch {
	case t.Password:
		return Yes
	case t.Keys < 0:
		return Conditional
	}
	return No
}

func userWithoutPassword(t *Principal) Answer {
	switch {
	case t.Password:
		return No
	case t.Keys < 0:
		return Conditional
	}
	return Yes
}

// The places of needs; what is none of them is a pattern of ARNs.
const (
	throughIt = "through"    // the principal that the path goes through
	session   = "session"    // that role, to be assumed
	itsPolicy = "policy"     // a customer managed policy of that principal
	allOfIAM  = "everything" // all of IAM's actions of the table that the need's pattern stands for, on all that is IAM's
)

const (
	passRole   = "iam:PassRole"
	assumeRole = "sts:AssumeRole"
)

// places are those that depend on the principal that the path goes through: how
// far the need is met there, and on which resource.
var places = map[string]func(v *view, w way, n need) (Answer, string){
	throughIt: onPrincipal,
	session:   asSession,
	itsPolicy: onPolicy,
}

func onPrincipal(v *view, w way, n need) (Answer, string) {
	t := w.t
	if t.protected() && w.row.changes {
		return No, ""
	}
	known := w.context(n)
	if t.ARN != "" {
		return v.doing(n.action).May(n.action, t.ARN, known), t.ARN
	}
	// It is not known who has the policies. What is allowed on a pattern as if that
	// were a name is allowed whoever it is.
	whoever := v.pattern(w.kind.of)
	if v.doing(n.action).May(n.action, whoever, known) == Yes {
		return Yes, whoever
	}
	return min(Conditional, v.doing(n.action).Reaches(n.action, whoever, known)), whoever
}

// asSession: a session of a role need not assume it once more.
func asSession(v *view, w way, _ need) (Answer, string) {
	if w.kind.own {
		return Yes, w.t.ARN
	}
	return v.a.Trusts(w.t, v.doing(assumeRole)), w.t.ARN
}

func onPolicy(v *view, w way, n need) (Answer, string) {
	arn := w.t.Policies[w.policy].ARN
	return v.doing(n.action).May(n.action, arn, nil), arn
}

// customerManaged reports whether an ARN is that of a managed policy that the
// account may change: AWS's own are in an account named aws.
func customerManaged(arn string) bool {
	return arn != "" && !strings.Contains(arn, ":iam::aws:policy/")
}

// protected reports whether only AWS may change a role: those linked to a service
// and those of Identity Center (IAM API, "UnmodifiableEntity"; re:Post, "Cannot
// perform the operation on the protected role AWSReservedSSO").
func (p *Principal) protected() bool {
	return p.Type == Role && (strings.Contains(p.ARN, ":role/aws-service-role/") || strings.Contains(p.ARN, ":role/aws-reserved/"))
}

// way is one of the ways that a path may go.
type way struct {
	row  *row
	kind kind
	t    *Principal // whom it goes through; nil for a path through nobody
	// fits tells whether that one is of the kind.
	fits    Answer
	service string // of the row's, if it has any
	policy  int    // of the principal's, if the row needs one
}

// underBoundary are the actions whose requests carry the boundary that the
// principal has which they change (Service authorization reference, "AWS Identity
// and Access Management", iam:PermissionsBoundary).
var underBoundary = []string{
	"iam:AttachRolePolicy", "iam:AttachUserPolicy", "iam:DeleteRolePermissionsBoundary",
	"iam:DeleteUserPermissionsBoundary", "iam:DeleteUserPolicy", "iam:DetachUserPolicy",
	"iam:PutRolePolicy", "iam:PutUserPolicy", "iam:UpdateAssumeRolePolicy",
}

// context is what is known of the request that does what a path needs to a
// principal.
func (w way) context(n need) Context {
	switch {
	case n.action == passRole && w.service != "":
		return Context{"iam:passedtoservice": {w.service}}
	case slices.Contains(underBoundary, n.action) && w.t.Boundary == nil:
		return Context{"iam:permissionsboundary": {}}
	case slices.Contains(underBoundary, n.action):
		return Context{"iam:permissionsboundary": {w.t.Boundary.ARN}}
	}
	return nil
}

// gain is what a path leads to, through one principal.
type gain struct {
	// worth tells how far that is worth something.
	worth func(v *view, w way) Answer
	// theirs says that it comes to the other's rights as they are, names that the
	// other is who is named.
	theirs, names bool
}

// gains are those that the table names.
var gains = map[string]gain{
	"theirs":          {worth: func(v *view, w way) Answer { return v.worth[w.t] }, theirs: true, names: true},
	"joined":          {worth: func(v *view, w way) Answer { return v.become(joined(v.p, w.t)) }, names: true},
	"unbounded":       {worth: unbounded, names: true},
	"anything":        {worth: anything},
	"version":         {worth: otherVersion},
	"without-managed": {worth: func(v *view, _ way) Answer { return v.undenied(true) }},
	"without-inline":  {worth: func(v *view, _ way) Answer { return v.undenied(false) }},
	"some":            {worth: func(*view, way) Answer { return Yes }},
}

// anything is what the principal gains if it has all rights, or if another has
// whom it can act as.
func anything(v *view, w way) Answer {
	t := w.t
	if w.kind.own {
		return v.become(granted(v.p))
	}
	if !t.limited() {
		return Yes
	}
	if v.depth == 0 {
		return granted(t).Admin()
	}
	worth, known := v.grants[t]
	if !known {
		worth = v.as(t).become(granted(t))
		v.grants[t] = worth
	}
	return worth
}

// otherVersion is what the principal gains by another version of its policy. Of
// one whose versions are not known, another may allow more.
func otherVersion(v *view, w way) (best Answer) {
	versions, known := v.a.Policies[w.t.Policies[w.policy].ARN]
	if !known {
		return Conditional
	}
	for _, version := range versions {
		q := *v.p
		q.Policies = slices.Clone(q.Policies)
		q.Policies[w.policy].Document = version.Document
		best = max(best, v.become(&q))
	}
	return best
}

func unbounded(v *view, w way) Answer {
	t := w.t
	if t.Boundary == nil {
		return No
	}
	q := *t
	q.Boundary = nil
	if w.kind.own {
		return v.become(&q)
	}
	return v.as(t).become(&q)
}

// undenied is what the principal gains without its policies that deny something:
// without one of them, or without them all. Those of its groups stay.
func (v *view) undenied(managed bool) (best Answer) {
	var kept []Policy
	for i, policy := range v.p.Policies {
		if policy.Group != "" || (policy.ARN != "") != managed || !denies(policy.Document) {
			kept = append(kept, policy)
			continue
		}
		q := *v.p
		q.Policies = slices.Delete(slices.Clone(v.p.Policies), i, i+1)
		best = max(best, v.become(&q))
	}
	if len(v.p.Policies)-len(kept) > 1 {
		q := *v.p
		q.Policies = kept
		best = max(best, v.become(&q))
	}
	return best
}

// limited reports whether more rights given to a principal may be worth nothing.
func (p *Principal) limited() bool {
	return p.Boundary != nil || slices.ContainsFunc(p.Policies, func(policy Policy) bool {
		return policy.Document == nil || denies(policy.Document)
	})
}

func denies(d *Document) bool {
	return d != nil && slices.ContainsFunc(d.Statements, func(s Statement) bool { return s.Effect == Deny })
}

// granted is a principal with AdministratorAccess: no policy gives more.
func granted(p *Principal) *Principal {
	q := *p
	q.Policies = append(slices.Clip(p.Policies), Policy{Name: "AdministratorAccess", Document: administratorAccess()})
	return &q
}

func joined(p, group *Principal) *Principal {
	q := *p
	q.Policies = append(slices.Clip(p.Policies), group.Policies...)
	q.Groups = append(slices.Clip(p.Groups), group.Name())
	return &q
}

// Package iampolicy tells what IAM policies really allow. It parses policy
// documents as AWS accepts them and prints back byte for byte what it did not
// change; it decides whether a principal may do something: yes, no, or only
// under conditions; whether a resource policy is public or open to an account
// outside the organization; and by which ways a principal could become
// administrator.
//
// It makes no AWS call and reads no clock. What it can't understand is an
// error, never a no.
package iampolicy

// Answer is whether something is allowed.
type Answer int8

// The answers, from least to most.
const (
	// No: it is not allowed, whatever the circumstances.
	No Answer = iota
	// Conditional: it is allowed or not by something that is not known here: a
	// condition on the request, a tag, an address, a time.
	Conditional
	// Yes: it is allowed.
	Yes
)

// String is "no", "conditional" or "yes".
func (a Answer) String() string { return [...]string{"no", "conditional", "yes"}[a] }

// Effect is what a statement does.
type Effect string

// The effects.
const (
	Allow Effect = "Allow"
	Deny  Effect = "Deny"
)

// Kind is what a document is attached to.
type Kind string

// The kinds of documents.
const (
	// IdentityPolicy says what the principals may do that have it. Boundaries and
	// service control policies have the same form.
	IdentityPolicy Kind = "identity"
	// ResourcePolicy says who may do what with the resource that has it.
	ResourcePolicy Kind = "resource"
	// TrustPolicy says who may assume the role that has it.
	TrustPolicy Kind = "trust"
)

// Statement is one statement of a policy document. A list that is empty was not
// there; of each of the pairs with Not one is there at most.
type Statement struct {
	Sid                       string
	Effect                    Effect
	Actions, NotActions       []string
	Resources, NotResources   []string
	Principals, NotPrincipals []StatementPrincipal
	Conditions                []Condition
	// Line is where the statement begins in its document, counted from 1.
	Line int
}

// StatementPrincipal is one of the principals that a statement of a resource or
// trust policy names. "Principal": "*" is {"*", "*"}.
type StatementPrincipal struct {
	Kind  string // "AWS", "Service", "Federated", "CanonicalUser" or "*"
	Value string // an ARN, an account number, a service's name, "*"
}

// Condition is one key of a statement's Condition block. All of them have to
// hold, each for one of its values.
type Condition struct {
	Operator string // as it is written: "ForAnyValue:StringLikeIfExists"
	Key      string // as it is written: "aws:PrincipalOrgID"
	Values   []string
}

// Context is what is known of a request, by condition key in lower case:
// "aws:principalarn". A key that is not there is not known; one with no values
// is known to be missing from the request.
type Context map[string][]string

// Policy is a policy of a principal.
type Policy struct {
	// Name is that of the inline policy or, of a managed one, the last part of its
	// ARN.
	Name string
	// ARN is that of a managed policy; empty for an inline one.
	ARN string
	// Group is the name of the group by which a user has it; empty if it is the
	// principal's own.
	Group    string
	Document *Document
}

// PrincipalType is what a principal is.
type PrincipalType string

// The types of principals, as their ARNs name them.
const (
	User  PrincipalType = "user"
	Group PrincipalType = "group"
	Role  PrincipalType = "role"
)

// Principal is a user, group or role with all that says what it may do.
type Principal struct {
	ARN  string // "arn:aws:iam::222222222222:user/team/alice"
	ID   string // the unique ID, "AIDA…", "AROA…"; empty if it is not known
	Type PrincipalType
	// Policies are its inline and managed ones, a user's with those of its groups.
	Policies []Policy
	// Boundary is its permissions boundary; nil if there is none.
	Boundary *Policy
	// Groups are the names of a user's groups.
	Groups []string
	// Trust is a role's trust policy; nil for others.
	Trust *Document
	// Tags are its tags, for conditions and policy variables.
	Tags map[string]string
	// Profile says that a role is in an instance profile.
	Profile bool
	// Keys is how many access keys a user has; Password says that it has a login
	// profile. -1 and false if that is not known.
	Keys     int
	Password bool
}

// Name is the last part of the ARN: "alice".
func (p *Principal) Name() string {
	for i := len(p.ARN) - 1; i >= 0; i-- {
		if p.ARN[i] == '/' {
			return p.ARN[i+1:]
		}
	}
	return p.ARN
}

package control

import (
	"slices"
	"strings"
)

// Identities is what the baseline says of principals, for plans that have to
// know it.
type Identities struct {
	// Administrators are ARNs of users and roles whose business it is to give rights
	// to others and to themselves. The account may be *, the resource part may hold
	// the wildcards * and ?.
	Administrators []string
	// Sensitive is what nobody may reach by rights that he gave himself, besides
	// administrative rights.
	Sensitive []Access
	// Protected are the ARNs of principals that nothing ever changes.
	Protected []string
}

// Access is some actions on some resources.
type Access struct {
	// Actions are IAM actions with the wildcards * and ?: "s3:GetObject".
	Actions []string `yaml:"actions"`
	// Resources are ARNs with the wildcards * and ?: "arn:aws:s3:::payroll/*".
	Resources []string `yaml:"resources"`
}

// Administrator reports whether a principal is on the list of administrators.
func (i *Identities) Administrator(arn string) bool {
	return slices.ContainsFunc(i.Administrators, func(pattern string) bool { return MatchARN(pattern, arn) })
}

// Untouched reports whether a principal is one that nothing ever changes.
func (i *Identities) Untouched(arn string) bool {
	return slices.ContainsFunc(i.Protected, func(pattern string) bool { return MatchARN(pattern, arn) })
}

// The fields of an ARN: arn:partition:service:region:account:resource.
const (
	arnAccount  = 4
	arnResource = 5
	arnFields   = 6
)

// MatchARN matches an ARN field by field; the account of the pattern may be *. A
// wildcard must not reach beyond its field: paths of IAM roles may hold colons,
// and whoever may name a role could otherwise make it look like another one.
func MatchARN(pattern, arn string) bool {
	want, got := strings.SplitN(pattern, ":", arnFields), strings.SplitN(arn, ":", arnFields)
	if len(want) != arnFields || len(got) != arnFields {
		return false
	}
	for i := range arnResource {
		if want[i] != got[i] && (i != arnAccount || want[i] != "*") {
			return false
		}
	}
	return MatchGlob(want[arnResource], got[arnResource])
}

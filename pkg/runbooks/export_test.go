package runbooks

import "github.com/snapback-aws/snapback/pkg/control"

// HasReason reports whether the table says why nothing is done about a type.
func HasReason(findingType string) bool { return reasonRow(findingType) >= 0 }

// UnusedReasons are the reasons of the table that are for no known type.
func UnusedReasons() []string {
	used := map[int]bool{}
	for _, t := range FindingTypes() {
		used[reasonRow(t.Name)] = true
	}
	var unused []string
	for i, row := range reasons {
		if !used[i] {
			unused = append(unused, row.why)
		}
	}
	return unused
}

// RevokeRoleSessions sets the parameter of iam-contain-session.
func RevokeRoleSessions(r control.Runbook) {
	if p, ok := r.Params.(*containSession); ok {
		p.RevokeRoleSessions = true
	}
}

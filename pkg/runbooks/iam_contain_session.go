package runbooks

import (
	"slices"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/principal"
)

// containSession is what the baseline can say about iam-contain-session.
type containSession struct {
	// RevokeRoleSessions also denies all other sessions of the role that are older
	// than the change: whoever could open this one may have opened more.
	RevokeRoleSessions bool `yaml:"revoke-role-sessions"`
}

const sessionRunbookID = "iam-contain-session"

func iamContainSession() control.Runbook {
	params := &containSession{}
	deny := forAll(ofRoles, "deny-session", principal.Deny(principal.Finder{Find: findSession}))
	return control.Runbook{
		ID:    sessionRunbookID,
		Title: "Denies everything to a role's session that is misused",
		Rationale: "The credentials of a session can't be called back: they work until they expire, wherever they are. What they allow is " +
			"asked with every request, and can be denied to this session while the role's others go on.",
		Hazard: "Whatever works in the session stops, and whoever opens another one under the same name gets nothing either: so do an " +
			"instance, a task or a function whose credentials were carried away. With revoke-role-sessions, all that works with the role " +
			"stops until it opens a new session.",
		Resource: resource("AWS::IAM::Role", "role/deploy", `role/`+nameForm+`(?::[A-Z0-9]{4,128}:`+nameForm+`)?`),
		Findings: slices.Concat(misused, exfiltrated),
		When:     "the credentials are those of a role's session; of an attack sequence, those of each actor",
		Targets:  targetsFor(sessionID),
		Steps: []control.Step{
			{Remedy: deny, Urgent: true},
			{Remedy: principal.RevokeSessions(principal.Finder{Find: findSession}, &params.RevokeRoleSessions), After: []string{deny.Name}},
		},
		Params: params,
	}
}

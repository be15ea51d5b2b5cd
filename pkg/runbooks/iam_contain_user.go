package runbooks

import (
	"slices"
	"strings"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/remedies/principal"
)

const userRunbookID = "iam-contain-user"

func iamContainUser() control.Runbook {
	deny := forAll(ofUsers, "deny-user", principal.Deny(principal.Finder{Find: findUser}))
	return control.Runbook{
		ID:    userRunbookID,
		Title: "Denies everything to an IAM user whose credentials are misused",
		Rationale: "Whoever has one of a user's credentials may have the others, or has made himself new ones: a key alone is soon " +
			"replaced. Denied everything, the user can do nothing with any of them, nor with the sessions that he opened.",
		Hazard:   "The user can do nothing until somebody releases him, and what works with his other access key stops too.",
		Resource: resource("AWS::IAM::User", "user/alice", `user/`+nameForm+`(?: `+idForm+`(?: `+keyForm+`)?)?`),
		Findings: append(slices.Clone(misused), consoleLogins),
		When: "the credentials are those of an IAM user: an access key, a session that he opened himself, or his password; of an " +
			"attack sequence, those of each actor",
		Targets: suspectedUsers,
		Steps: []control.Step{
			{Remedy: deny, Urgent: true},
			// But for the key that the finding names: that is left to iam-deactivate-key.
			{Remedy: principal.DeactivateKeys(principal.Finder{Find: findUser}), After: []string{deny.Name}},
		},
	}
}

// suspectedUsers are the targets of a finding, once for each user, of whom an
// attack sequence may name several credentials.
func suspectedUsers(f *event.Finding) []control.Target {
	known := map[string]bool{}
	return slices.DeleteFunc(targetsFor(userID)(f), func(t control.Target) bool {
		user, _, _ := strings.Cut(t.ID, " ")
		again := known[user]
		known[user] = true
		return again
	})
}

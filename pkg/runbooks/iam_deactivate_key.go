package runbooks

import (
	"slices"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/remedies/principal"
)

const keyID = "iam-deactivate-key"

// iamDeactivateKey is apart from iam-contain-user, so that the baseline can let a
// key go from a lower severity than that from which its user can do nothing any
// more.
func iamDeactivateKey() control.Runbook {
	return control.Runbook{
		ID:    keyID,
		Title: "Makes an access key inactive that somebody misuses",
		Rationale: "A key that was leaked works for whoever has it, from anywhere and for ever. Inactive, it works for nobody, and " +
			"can be made active again if it turns out that nothing was wrong.",
		Hazard: "Whatever works with the key stops: programs and pipelines often share one. What the key's user opened with it before, " +
			"sessions of roles among them, goes on: iam-contain-user ends the user's own.",
		Resource: resource("AWS::IAM::AccessKey", "user/alice", `user/`+nameForm+`(?: `+idForm+` `+keyForm+`)?`),
		Findings: slices.Clone(misused),
		When:     "the credentials are an access key of an IAM user; of an attack sequence, those of each actor",
		Targets: targetsFor(func(c event.Credentials) string {
			if !longTerm(c) {
				return ""
			}
			return userID(c)
		}),
		Steps: []control.Step{{Remedy: principal.DeactivateKey(principal.Finder{Find: findUser})}},
	}
}

package identity

import (
	"fmt"
	"strings"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

// String is what was gained: "makes it administrator under conditions".
func (a *advantage) String() string {
	if a.unsure {
		return a.text + " under conditions"
	}
	return a.text
}

// found is the escalation that a gain is. on is the ARN of what the call needed a
// right on.
func (q *inquiry) found(g *gain, a *advantage, b *bearer, on string) *escalation {
	a.unsure = a.unsure || b.unsure
	could, closes := q.because(g, on)
	return &escalation{act: q.act, reason: fmt.Sprintf("%s %s%s. That %s.%s", q.who(), q.did(b), could, a, closes)}
}

// who is the actor as people know him: a session with its role and its own name.
func (q *inquiry) who() string {
	switch {
	case q.actor.Foreign != "":
		return q.actor.Foreign
	case q.actor.Session != "":
		return q.actor.Name() + " (session " + q.actor.Session + ")"
	}
	return q.actor.Name()
}

// deeds are what calls do. They can name whom it gave rights [1], what [2], what
// the call was on [3] and, if that is a policy, with who has it [4].
var deeds = map[string]string{
	"AddUserToGroup":                "put itself into the group %[2]s",
	"AttachGroupPolicy":             "attached %[2]s to %[1]s",
	"AttachRolePolicy":              "attached %[2]s to %[1]s",
	"AttachUserPolicy":              "attached %[2]s to %[1]s",
	"CreateAccessKey":               "made an access key for the user %[3]s",
	"CreateLoginProfile":            "gave the user %[3]s a password",
	"CreatePolicyVersion":           "made %[2]s the default version of %[4]s",
	"DeleteRolePermissionsBoundary": "took the permissions boundary off %[1]s",
	"DeleteUserPermissionsBoundary": "took the permissions boundary off %[1]s",
	"DetachUserPolicy":              "took %[2]s, which denied it something, off %[1]s",
	"PutGroupPolicy":                "wrote the inline policy %[2]s into %[1]s",
	"PutRolePermissionsBoundary":    "put %[2]s, which does not hold, in the place of the permissions boundary of %[1]s",
	"PutRolePolicy":                 "wrote the inline policy %[2]s into %[1]s",
	"PutUserPermissionsBoundary":    "put %[2]s, which does not hold, in the place of the permissions boundary of %[1]s",
	"PutUserPolicy":                 "wrote the inline policy %[2]s into %[1]s",
	"SetDefaultPolicyVersion":       "made %[2]s the default version of %[4]s",
	"UpdateAssumeRolePolicy":        "let itself into the role %[3]s by its trust policy",
	"UpdateLoginProfile":            "gave the user %[3]s another password",
}

// did is what the actor did, with a grant on an entity.
func (q *inquiry) did(b *bearer) string {
	deed := deeds[q.call]
	if deed == "" {
		return fmt.Sprintf("passed the role %s to what it started with %s", b.Name(), q.call)
	}
	on := lastPart(q.on)
	whom, whose := "itself", "its policy "+on
	if b.Principal != q.self {
		whom = "the role " + b.Name() + ", which it can assume"
		whose = "the policy " + on + " of " + whom
	} else if b.entity.Type == iampolicy.Group {
		whom = "its group " + b.entity.Name()
	} else if b.Type == iampolicy.Role {
		whom = "its own role"
	}
	return fmt.Sprintf(deed, whom, lastPart(q.what), on, whose)
}

// right is what somebody holds: an action and a resource, as his policy has them.
type right struct {
	policy           iampolicy.Policy
	action, resource string
}

// because says by which right the actor could do it, and how that hole is closed;
// both are empty if it is not known.
func (q *inquiry) because(g *gain, on string) (could, closes string) {
	action := "iam:" + q.call
	if deeds[q.call] == "" {
		action = "iam:PassRole"
	}
	r := q.holds(g, action, on)
	if r == nil {
		return "", ""
	}
	its := "its policy " + r.policy.Name
	if r.policy.Group != "" {
		its = "the policy " + r.policy.Name + " of its group " + r.policy.Group
	}
	otherwise := "only on what has no more rights than it has itself"
	if boundable[q.call] {
		otherwise = "only with a permissions boundary"
	}
	return fmt.Sprintf("; it could because it holds %s on %s", r.action, r.resource),
		fmt.Sprintf(" Take %s out of %s, or allow it %s.", action, its, otherwise)
}

// boundable are the calls that a policy can allow on entities with a certain
// permissions boundary alone. Source: service authorization reference, AWS
// Identity and Access Management, condition key iam:PermissionsBoundary.
var boundable = map[string]bool{
	"AttachRolePolicy": true, "AttachUserPolicy": true, "PutRolePolicy": true, "PutUserPolicy": true,
	"DetachUserPolicy": true, "DeleteRolePermissionsBoundary": true, "DeleteUserPermissionsBoundary": true,
	"PutRolePermissionsBoundary": true, "PutUserPermissionsBoundary": true,
}

// holds finds the first right of the actor to do an action on a resource, among
// those that he had before; nil if there is none.
func (q *inquiry) holds(g *gain, action, resource string) *right {
	if q.self == nil {
		return nil
	}
	self := q.self
	for _, p := range g.before {
		if p.ARN == self.ARN {
			self = p
		}
	}
	for _, policy := range self.Policies {
		if policy.Document == nil {
			continue
		}
		for i, s := range policy.Document.Statements {
			alone := policy
			alone.Document = only(policy.Document, i)
			p := having(self, []iampolicy.Policy{alone})
			p.Boundary = nil
			if p.May(action, resource, nil) != iampolicy.No {
				return &right{policy, written(s.Actions, action, strings.ToLower), written(s.Resources, resource, strings.TrimSpace)}
			}
		}
	}
	return nil
}

// written is the pattern of a list that stands for a text; the text itself if none
// does as it is written, as in a list of exceptions or with variables.
func written(patterns []string, text string, spelled func(string) string) string {
	for _, p := range patterns {
		if control.MatchGlob(spelled(p), spelled(text)) {
			return p
		}
	}
	return text
}

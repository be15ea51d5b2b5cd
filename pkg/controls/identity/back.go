package identity

import (
	"fmt"
	"strings"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
	"github.com/snapback-aws/snapback/pkg/remedies/grant"
	"github.com/snapback-aws/snapback/pkg/remedies/principal"
)

// edit is the plan of one edit, of something that is on an entity or, if that is a
// managed policy, on the policy.
func edit(kind grant.Kind, arn, name string, now, to *string) grant.Plan {
	if why := untouchable(arn); why != "" {
		return grant.Plan{Left: []string{fmt.Sprintf("%s is not changed: %s.", arn, why)}}
	}
	s := grant.Setting{Kind: kind, Entity: entity(arn), Name: name, Value: now}
	if kind == grant.DefaultVersion {
		s.Entity = arn
	}
	return grant.Plan{Edits: []grant.Edit{{Setting: s, To: to}}, Touches: []string{arn}}
}

// entity is what an ARN names, with its path: "user/team/alice".
func entity(arn string) string { return strings.SplitN(arn, ":", 6)[5] }

// untouchable says why nobody, or nobody but somebody else, changes an entity;
// empty if it can be changed.
func untouchable(arn string) string {
	switch name := lastPart(arn); {
	case strings.Contains(arn, "/aws-service-role/"):
		return "AWS alone changes the roles of its services"
	case strings.Contains(arn, "/aws-reserved/"), strings.HasPrefix(name, "AWSReservedSSO_"):
		return "change its permission set in IAM Identity Center"
	case strings.HasPrefix(name, "snapback-"):
		return "it is Snapback's own"
	}
	return ""
}

// role is a role as somebody who may hold sessions of it.
func (a *act) role(p *iampolicy.Principal) *principal.Actor {
	return &principal.Actor{
		Account: a.actor.Account, Partition: a.actor.Partition, Role: strings.TrimPrefix(entity(p.ARN), "role/"), RoleID: p.ID,
	}
}

package identity

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/iampolicy"
	"github.com/snapback-aws/snapback/pkg/remedies/grant"
	"github.com/snapback-aws/snapback/pkg/remedies/principal"
)

// escalationParams is what the baseline can say about iam-privilege-escalation.
type escalationParams struct {
	// RevokeRoleSessions also denies all sessions of an actor's role that were issued
	// before the change, and not only the one that acted.
	RevokeRoleSessions bool `yaml:"revoke-role-sessions"`
}

const escalationID = "iam-privilege-escalation"

func privilegeEscalation(j *judge) control.Runbook {
	params := &escalationParams{}
	back, deny := j.takeBack(), principal.Deny(j.actor())
	always := true
	return control.Runbook{
		ID:    escalationID,
		Title: "Takes back rights that somebody gave himself, and stops him",
		Rationale: "Whoever may give rights can give them to himself: one call turns a narrow permission, or a stolen key that has " +
			"it, into the whole account. What he gained has to go before it is used, and he has to be stopped, since he can do it again.",
		Hazard: "Whoever is denied everything can't work until somebody releases him, and what runs with his access keys stops. Rights " +
			"that a platform team gives itself on purpose are taken back too: name its roles in the baseline's administrators.",
		Resource: grantResource(),
		Triggers: triggers(),
		Severity: control.Critical,
		When: "the actor gave himself, or a principal that he can act as, rights that he did not have, and that make it administrator, " +
			"open a way to become one, or reach what the baseline calls sensitive",
		Steps: []control.Step{
			{Remedy: back},
			// Side by side: what is given back to him by another call is worth nothing then.
			{Remedy: deny},
			{Remedy: principal.DeactivateKeys(j.actor()), After: []string{deny.Name}},
			{Remedy: principal.RevokeSessions(j.letIn(params), &always), After: []string{back.Name}},
		},
		Params: params,
	}
}

// unanswered is the escalation that the grant of a target is; nil if it is none, or
// if what is left of it is another runbook's.
func (j *judge) unanswered(ctx context.Context, session *cloud.Session, t control.Target) (*escalation, error) {
	e, err := j.escalation(ctx, session, t)
	if e == nil || e.denied {
		return nil, err
	}
	return e, err
}

// takeBack takes back the grant of an escalation, exactly.
func (j *judge) takeBack() control.Remedy {
	return grant.Remedy("take-back-grant", grant.Planner{
		Plan: func(ctx context.Context, session *cloud.Session, t control.Target) (*grant.Plan, error) {
			e, err := j.unanswered(ctx, session, t)
			if e == nil || err != nil {
				return nil, err
			}
			plan := e.back
			plan.Reason = e.reason
			return &plan, nil
		},
		Permissions: judgePermissions,
		Kinds: []grant.Kind{
			grant.AttachedPolicy, grant.InlinePolicy, grant.DefaultVersion, grant.Membership, grant.Trust, grant.AccessKey, grant.Boundary,
		},
	})
}

// actor finds who raised his rights.
func (j *judge) actor() principal.Finder {
	return principal.Finder{
		Find: func(ctx context.Context, session *cloud.Session, t control.Target) (*principal.Suspect, error) {
			e, err := j.unanswered(ctx, session, t)
			if e == nil || err != nil {
				return nil, err
			}
			return &principal.Suspect{Actor: e.actor, Reason: e.reason}, nil
		},
		Decided: func(_ context.Context, _ *cloud.Session, t control.Target) (*principal.Actor, error) {
			a, _ := parseAct(t)
			return &a.actor, nil
		},
		Permissions: judgePermissions,
	}
}

// letIn finds the role whose sessions may be in the wrong hands: the one whose
// trust policy let the actor in or, if the baseline wants that, his own.
func (j *judge) letIn(params *escalationParams) principal.Finder {
	return principal.Finder{
		Find: func(ctx context.Context, session *cloud.Session, t control.Target) (*principal.Suspect, error) {
			e, err := j.unanswered(ctx, session, t)
			switch {
			case e == nil || err != nil:
				return nil, err
			case e.revoke != nil:
				return &principal.Suspect{Actor: *e.revoke, Reason: e.reason}, nil
			case params.RevokeRoleSessions && e.actor.Role != "":
				return &principal.Suspect{Actor: e.actor, Reason: e.reason}, nil
			}
			return nil, nil
		},
		Decided: func(ctx context.Context, session *cloud.Session, t control.Target) (*principal.Actor, error) {
			a, _ := parseAct(t)
			switch {
			case a.call == "UpdateAssumeRolePolicy":
				return a.entered(ctx, reader{session})
			case params.RevokeRoleSessions && a.actor.Role != "":
				return &a.actor, nil
			}
			return nil, nil
		},
		Permissions: judgePermissions,
	}
}

// entered is the role whose trust policy let the actor in; nil if it is gone.
func (a *act) entered(ctx context.Context, r reader) (*principal.Actor, error) {
	role, _, err := r.getRole(ctx, lastPart(a.on))
	if role == nil || err != nil {
		return nil, err
	}
	return a.role(&iampolicy.Principal{ARN: aws.ToString(role.Arn), ID: aws.ToString(role.RoleId)}), nil
}

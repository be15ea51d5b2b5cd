package identity

import (
	"context"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/grant"
)

// JudgePermissions are the calls that a judge makes.
var JudgePermissions = judgePermissions

// Escalation is what a judge finds.
type Escalation struct {
	Reason string
	Back   grant.Plan
	Revoke string // the role, as an actor without a session; empty if there is none
	With   string
}

// NewJudge is a judge with a baseline's lists; it returns nil where there is no
// escalation.
func NewJudge(identities *control.Identities) func(context.Context, *cloud.Session, control.Target) (*Escalation, error) {
	j := &judge{identities: identities}
	return func(ctx context.Context, session *cloud.Session, t control.Target) (*Escalation, error) {
		e, err := j.escalation(ctx, session, t)
		if e == nil || err != nil {
			return nil, err
		}
		found := &Escalation{Reason: e.reason, Back: e.back, With: e.with}
		if e.revoke != nil {
			found.Revoke = e.revoke.String()
		}
		return found, nil
	}
}

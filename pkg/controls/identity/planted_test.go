package identity

import (
	"context"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

// AdminPolicy is the control with a baseline of the test's own.
var AdminPolicy = adminPolicy

// StopCompute is the remedy with a planted judge: every grant is an escalation for
// the reason given, and none is while that is empty.
func StopCompute(reason *string) control.Remedy { return stopCompute(planted(reason), nil) }

// DeletePassword is the remedy with a planted judge, as StopCompute is.
func DeletePassword(reason *string) control.Remedy { return deletePassword(planted(reason), nil) }

func planted(reason *string) finder {
	return func(_ context.Context, _ *cloud.Session, t control.Target) (*escalation, error) {
		a, ok := parseAct(t)
		if !ok || *reason == "" {
			return nil, nil
		}
		return &escalation{act: a, reason: *reason}, nil
	}
}

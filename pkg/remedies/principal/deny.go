package principal

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

// Deny denies a user, or a role's session, everything, with one call. Whom nobody
// can contain here (root, an actor of another account, a role that AWS lets
// nobody edit) is a report that says what to do instead.
//
// Its states are {"UserName","PermissionsBoundary"} of a user, and
// {"RoleName","Session","PolicyName","PolicyDocument"} of a session, under IAM's
// names; Session is the session's aws:userid.
func Deny(f Finder) control.Remedy {
	return control.Remedy{
		Name:   "deny-principal",
		Plan:   f.plan(deny),
		Resume: f.resume(deny),
		Verify: verifyDenial,
		Apply:  applyDenial,
		Undo:   undoDenial,
		Permissions: control.Permissions{
			Plan:   f.needs(getUser, getRole, getRolePolicy),
			Verify: []control.Permission{getUser, getRole, getRolePolicy},
			Apply:  []control.Permission{putBoundary, putRolePolicy},
			Undo:   []control.Permission{getUser, putBoundary, deleteBoundary, getRole, getRolePolicy, putRolePolicy, deleteRolePolicy},
		},
	}
}

func deny(ctx context.Context, session *cloud.Session, c control.Change, s *Suspect) (*control.Change, error) {
	if left := outOfReach(s.Actor); left != nil {
		return report(c, left), nil
	}
	if s.User != "" {
		return boundaries.compare(ctx, session, c, denied(s.Actor))
	}
	found, err := denials.compare(ctx, session, c, denialOf(s.Actor))
	if found == nil || found.Report() {
		return found, err
	}
	if left := locked(s.Actor, found.Touches[0]); left != nil {
		return report(c, left), err
	}
	return found, err
}

func verifyDenial(ctx context.Context, session *cloud.Session, c control.Change) (*control.Change, error) {
	ofUser, err := aboutUser(c)
	switch {
	case err != nil:
		return nil, err
	case ofUser:
		return boundaries.verify(ctx, session, c)
	}
	return denials.verify(ctx, session, c)
}

func applyDenial(ctx context.Context, session *cloud.Session, c control.Change) error {
	ofUser, err := aboutUser(c)
	switch {
	case err != nil:
		return err
	case ofUser:
		return boundaries.apply(ctx, session, c)
	}
	return denials.apply(ctx, session, c)
}

func undoDenial(ctx context.Context, session *cloud.Session, c control.Change) error {
	ofUser, err := aboutUser(c)
	switch {
	case err != nil:
		return err
	case ofUser:
		return undoBoundary(ctx, session, c)
	}
	return denials.undo(ctx, session, c)
}

// aboutUser tells a change of a user from that of a role's session.
func aboutUser(c control.Change) (bool, error) {
	var state struct{ UserName, RoleName string }
	if err := json.Unmarshal(c.After, &state); err != nil {
		return false, fmt.Errorf("read the recorded denial of %s: %w", c.Target.ID, err)
	}
	return state.UserName != "", nil
}

package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

func escalationPassword(j *judge) control.Runbook {
	return control.Runbook{
		ID:    "iam-escalation-password",
		Title: "Deletes the password that somebody gave another user to act as him",
		Rationale: "Whoever may set another user's password can sign in to the console as him, with all that he may do, and leaves that " +
			"user's name in the logs. Denying the one who set it does not take the password from him.",
		Hazard: "The user can't sign in to the console until he is given a new password; his access keys still work. The password can't " +
			"be given back, so the change waits for approval: it is no loss where the user had none, and where his own was overwritten " +
			"it is lost already. Whoever has signed in with it stays signed in, for up to 12 hours.",
		Resource: grantResource(),
		Triggers: []control.Trigger{{Source: iamSource, Names: []string{"CreateLoginProfile", "UpdateLoginProfile"}, Targets: grants}},
		Severity: control.Critical,
		When:     "the user whose password was set has rights that make the call an escalation, as " + escalationID + " has it",
		Steps:    []control.Step{{Remedy: deletePassword(j.escalation, judgePermissions)}},
	}
}

// deletePassword deletes the login profile that was made or changed in an
// escalation.
func deletePassword(find finder, permissions []control.Permission) control.Remedy {
	return control.Remedy{
		Name: "delete-login-profile",
		Plan: func(ctx context.Context, session *cloud.Session, t control.Target) (*control.Change, error) {
			e, err := find(ctx, session, t)
			if e == nil || err != nil {
				return nil, err
			}
			return planPassword(ctx, session, t, e)
		},
		Verify: verifyPassword,
		Apply:  applyPassword,
		Permissions: control.Permissions{
			Plan:   slices.Concat(permissions, readPermission("user/*", "GetUser", "GetLoginProfile")),
			Verify: readPermission("user/*", "GetLoginProfile"),
			Apply: []control.Permission{{
				Call: "IAM.DeleteLoginProfile", Action: "iam:DeleteLoginProfile", Resource: "arn:${Partition}:iam::${Account}:user/*",
			}},
		},
	}
}

// password is a user's login profile, under IAM's names.
type password struct {
	UserName     string
	LoginProfile *loginProfile // nil: he has no password
}

type loginProfile struct {
	CreateDate            time.Time
	PasswordResetRequired bool
}

// passwordOf is the name of the user whose password a target is about.
func passwordOf(t control.Target) (string, error) {
	a, ok := parseAct(t)
	name, isUser := strings.CutPrefix(a.on, "user/")
	if !ok || !isUser {
		return "", fmt.Errorf("read whose password %s is about: it names no user", t)
	}
	return lastPart(name), nil
}

func planPassword(ctx context.Context, session *cloud.Session, t control.Target, e *escalation) (*control.Change, error) {
	name, err := passwordOf(t)
	if err != nil {
		return nil, err
	}
	var user *iam.GetUserOutput
	var before password
	err = sideBySide(
		func() (err error) {
			user, err = there(reader{session}.client().GetUser(ctx, &iam.GetUserInput{UserName: aws.String(name)}))
			return attempted("get user "+name, err)
		},
		func() (err error) { before, err = readPassword(ctx, session, name); return err },
	)
	switch {
	case err != nil:
		return nil, err
	case user == nil:
		return nil, fmt.Errorf("get user %s: %w", name, control.ErrGone)
	case before.LoginProfile == nil:
		return nil, nil
	}
	c := &control.Change{Target: t, Reason: e.reason, Touches: []string{aws.ToString(user.User.Arn)}}
	if used := user.User.PasswordLastUsed; used != nil {
		c.Reason += fmt.Sprintf(" Somebody signed in as user %s last at %s.", name, used.UTC().Format(time.RFC3339))
	}
	if c.Before, err = json.Marshal(before); err != nil {
		return nil, err
	}
	c.After, err = json.Marshal(password{UserName: name})
	return c, err
}

// verifyPassword tells whether the user has no password, whoever may have which
// rights by now.
func verifyPassword(ctx context.Context, session *cloud.Session, c control.Change) (*control.Change, error) {
	name, err := passwordOf(c.Target)
	if err != nil {
		return nil, err
	}
	now, err := readPassword(ctx, session, name)
	if err != nil || now.LoginProfile == nil {
		return nil, err
	}
	c.Before, err = json.Marshal(now)
	return &c, err
}

func applyPassword(ctx context.Context, session *cloud.Session, c control.Change) error {
	name, err := passwordOf(c.Target)
	if err != nil {
		return err
	}
	// There may be none any more: a first attempt may have lost its answer.
	_, err = there(reader{session}.client().DeleteLoginProfile(ctx, &iam.DeleteLoginProfileInput{UserName: aws.String(name)}))
	return attempted("delete the login profile of user "+name, err)
}

func readPassword(ctx context.Context, session *cloud.Session, name string) (password, error) {
	p := password{UserName: name}
	out, err := there(reader{session}.client().GetLoginProfile(ctx, &iam.GetLoginProfileInput{UserName: aws.String(name)}))
	if err != nil || out == nil {
		return p, attempted("get the login profile of user "+name, err)
	}
	p.LoginProfile = &loginProfile{aws.ToTime(out.LoginProfile.CreateDate).UTC(), out.LoginProfile.PasswordResetRequired}
	return p, nil
}

package identity_test

import (
	"context"
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/identity"
)

const passwordSet = "User alice set the password of user bob, who is administrator."

func TestDeletePasswordLifecycle(t *testing.T) {
	lifecycle.Remedy(t, "identity", typeGrant, identity.DeletePassword(new(passwordSet)), lifecycle.Test{
		// There is no Gone: Apply can't tell a user who is gone from a password that is.
		Violations: []lifecycle.Violation{
			{
				Name: "a new password",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					passwords{ctx, t, iam.NewFromConfig(cfg)}.user("bob", "/team/")
					return "user/alice CreateLoginProfile user/bob"
				},
				State: passwordState,
			},
			{
				Name: "a changed password",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					passwords{ctx, t, iam.NewFromConfig(cfg)}.user("carol", "/")
					return "role/ci:AROAEXAMPLE:build-7 UpdateLoginProfile user/carol"
				},
				State: passwordState,
			},
		},
	})
}

func TestDeletedPasswordCannotBeUndone(t *testing.T) {
	s := newPasswordStage(t, passwordSet)
	if s.Remedy.Undo != nil {
		t.Error("the remedy has an Undo")
	}
}

func TestChangeNamesTheUserWithHisPath(t *testing.T) {
	s := newPasswordStage(t, passwordSet)
	s.user("bob", "/team/")
	c := s.Plan("user/alice CreateLoginProfile user/bob")
	lifecycle.Same(t, "Reason", c.Reason, passwordSet)
	lifecycle.Same(t, "Touches", c.Touches, []string{"arn:aws:iam::222222222222:user/team/bob"})
	lifecycle.Same(t, "After", string(c.After), `{"UserName":"bob","LoginProfile":null}`)
	other := s.Plan("user/alice UpdateLoginProfile user/bob")
	lifecycle.Same(t, "Before, read again", string(other.Before), string(c.Before))
}

// Moto knows no last use of a password: its answer is rewritten.
func TestLastSignInIsTold(t *testing.T) {
	s := newPasswordStage(t, passwordSet)
	s.user("bob", "/")
	s.Rewrite("IAM.GetUser", "<UserName>bob</UserName>", "<UserName>bob</UserName><PasswordLastUsed>2026-11-22T01:02:03Z</PasswordLastUsed>")
	c := s.Plan("user/alice UpdateLoginProfile user/bob")
	lifecycle.Same(t, "Reason", c.Reason, passwordSet+" Somebody signed in as user bob last at 2026-11-22T01:02:03Z.")
}

func TestNoPasswordIsDeletedWithoutAnEscalation(t *testing.T) {
	s := newPasswordStage(t, "")
	s.user("bob", "/")
	if c := s.Plan("user/alice CreateLoginProfile user/bob"); c != nil {
		t.Errorf("Plan finds: %s", c.Reason)
	}
	*s.reason = passwordSet
	_, err := s.iam.DeleteLoginProfile(s.Ctx, &iam.DeleteLoginProfileInput{UserName: aws.String("bob")})
	lifecycle.Must(t, err)
	if c := s.Plan("user/alice CreateLoginProfile user/bob"); c != nil {
		t.Errorf("Plan finds of a user without a password: %s", c.Reason)
	}
	if _, err := s.Remedy.Plan(s.Ctx, s.Session, s.Target("user/alice CreateLoginProfile user/nobody")); !errors.Is(err, control.ErrGone) {
		t.Errorf("Plan of a user who is gone: want control.ErrGone, got %v", err)
	}
}

func TestDeletedPasswordIsVerifiedWithoutItsReason(t *testing.T) {
	s := newPasswordStage(t, passwordSet)
	s.user("bob", "/")
	c := s.Plan("user/alice CreateLoginProfile user/bob")
	s.Apply(c)
	*s.reason = ""
	open, err := s.Remedy.Verify(s.Ctx, s.Session, *c)
	lifecycle.Must(t, err)
	if open != nil {
		t.Errorf("Verify finds %s open", open.Before)
	}
	s.password("bob")
	open, err = s.Remedy.Verify(s.Ctx, s.Session, *c)
	lifecycle.Must(t, err)
	if open == nil || open.Report() {
		t.Errorf("Verify of a password that is there again finds %+v", open)
	}
}

// passwords makes users who have one, as the member itself.
type passwords struct {
	ctx context.Context
	t   *testing.T
	iam *iam.Client
}

func (p passwords) user(name, path string) {
	p.t.Helper()
	_, err := p.iam.CreateUser(p.ctx, &iam.CreateUserInput{UserName: aws.String(name), Path: aws.String(path)})
	lifecycle.Must(p.t, err)
	p.password(name)
}

func (p passwords) password(user string) {
	p.t.Helper()
	_, err := p.iam.CreateLoginProfile(p.ctx, &iam.CreateLoginProfileInput{UserName: aws.String(user), Password: aws.String("Example-1234567890")})
	lifecycle.Must(p.t, err)
}

// passwordState are all users with whether each has a password.
func passwordState(ctx context.Context, t *testing.T, cfg aws.Config, _ string) any {
	t.Helper()
	client := iam.NewFromConfig(cfg)
	users, err := client.ListUsers(ctx, &iam.ListUsersInput{})
	lifecycle.Must(t, err)
	has := map[string]bool{}
	for _, u := range users.Users {
		_, err := client.GetLoginProfile(ctx, &iam.GetLoginProfileInput{UserName: u.UserName})
		if err != nil && !cloud.Is(err, "NoSuchEntity") {
			t.Fatal(err)
		}
		has[aws.ToString(u.UserName)] = err == nil
	}
	return lifecycle.Comparable(has)
}

type passwordStage struct {
	*lifecycle.Stage
	passwords
	reason *string
}

func newPasswordStage(t *testing.T, reason string) *passwordStage {
	t.Helper()
	lifecycle.Must(t, lifecycle.AWS(t).Reset(t.Context()))
	s := lifecycle.NewStage(t, "identity", typeGrant, identity.DeletePassword(&reason))
	return &passwordStage{s, passwords{s.Ctx, t, iam.NewFromConfig(s.Member)}, &reason}
}

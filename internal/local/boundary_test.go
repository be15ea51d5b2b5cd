package local

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
)

const (
	denyAll  = "arn:aws:iam::aws:policy/AWSDenyAll"
	readOnly = "arn:aws:iam::aws:policy/ReadOnlyAccess"
)

func TestUserHasThePermissionsBoundaryThatWasPutLast(t *testing.T) {
	ctx, c := t.Context(), iam.NewFromConfig(startAWS(t).Config(MemberAccount))
	created, err := c.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("alice"), PermissionsBoundary: aws.String(readOnly)})
	if err != nil {
		t.Fatal(err)
	}
	wantBoundary(t, "CreateUser", created.User.PermissionsBoundary, readOnly)
	wantBoundary(t, "GetUser", user(t, c).PermissionsBoundary, readOnly)

	own, err := c.CreatePolicy(ctx, &iam.CreatePolicyInput{
		PolicyName: aws.String("own"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, arn := range []string{denyAll, aws.ToString(own.Policy.Arn)} {
		if _, err := c.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: aws.String("alice"), PermissionsBoundary: aws.String(arn)}); err != nil {
			t.Fatal(err)
		}
		wantBoundary(t, "GetUser", user(t, c).PermissionsBoundary, arn)
		details, err := c.GetAccountAuthorizationDetails(ctx, &iam.GetAccountAuthorizationDetailsInput{Filter: []types.EntityType{types.EntityTypeUser}})
		if err != nil {
			t.Fatal(err)
		}
		wantBoundary(t, "GetAccountAuthorizationDetails", details.UserDetailList[0].PermissionsBoundary, arn)
	}
	list, err := c.ListUsers(ctx, &iam.ListUsersInput{})
	if err != nil {
		t.Fatal(err)
	}
	if b := list.Users[0].PermissionsBoundary; b != nil {
		t.Errorf("ListUsers tells of boundary %s; IAM does not", aws.ToString(b.PermissionsBoundaryArn))
	}
	for range 2 {
		if _, err := c.DeleteUserPermissionsBoundary(ctx, &iam.DeleteUserPermissionsBoundaryInput{UserName: aws.String("alice")}); err != nil {
			t.Fatal(err)
		}
		if b := user(t, c).PermissionsBoundary; b != nil {
			t.Errorf("got boundary %s after it was deleted", aws.ToString(b.PermissionsBoundaryArn))
		}
	}
}

func TestPermissionsBoundaryNeedsItsUserAndItsPolicy(t *testing.T) {
	ctx, c := t.Context(), iam.NewFromConfig(startAWS(t).Config(MemberAccount))
	if _, err := c.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("alice")}); err != nil {
		t.Fatal(err)
	}
	if b := user(t, c).PermissionsBoundary; b != nil {
		t.Errorf("got boundary %s of a new user", aws.ToString(b.PermissionsBoundaryArn))
	}
	for _, tt := range []struct{ user, arn string }{
		{"bob", denyAll},
		{"alice", "arn:aws:iam::aws:policy/NoSuchPolicy"},
		{"alice", "arn:aws:iam::" + MemberAccount + ":policy/AWSDenyAll"},
	} {
		_, err := c.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: aws.String(tt.user), PermissionsBoundary: aws.String(tt.arn)})
		if !cloud.Is(err, "NoSuchEntity") {
			t.Errorf("put %s on user %s: got error %v, want NoSuchEntity", tt.arn, tt.user, err)
		}
	}
	_, err := c.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("carol"), PermissionsBoundary: aws.String("arn:aws:iam::aws:policy/NoSuchPolicy")})
	if !cloud.Is(err, "NoSuchEntity") {
		t.Errorf("create a user with a boundary that does not exist: got error %v, want NoSuchEntity", err)
	}
	_, err = c.DeleteUserPermissionsBoundary(ctx, &iam.DeleteUserPermissionsBoundaryInput{UserName: aws.String("bob")})
	if !cloud.Is(err, "NoSuchEntity") {
		t.Errorf("delete the boundary of no user: got error %v, want NoSuchEntity", err)
	}
}

func user(t *testing.T, c *iam.Client) *types.User {
	t.Helper()
	out, err := c.GetUser(t.Context(), &iam.GetUserInput{UserName: aws.String("alice")})
	if err != nil {
		t.Fatal(err)
	}
	return out.User
}

func wantBoundary(t *testing.T, call string, got *types.AttachedPermissionsBoundary, want string) {
	t.Helper()
	if got == nil || aws.ToString(got.PermissionsBoundaryArn) != want {
		t.Errorf("%s: got boundary %+v, want %s", call, got, want)
	}
}

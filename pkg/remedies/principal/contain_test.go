package principal_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/principal"
)

const (
	denyAll = "arn:aws:iam::aws:policy/AWSDenyAll"
	trust   = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"%s"},"Action":"sts:AssumeRole"}}`
	allow   = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`
	denial  = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:userid":"%s"}}}}`
	// forged has the right name and denies nothing; its blanks must come back.
	forged = "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": {\"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": \"*\", \"Sid\": \"a100%\"}\n}\n"
)

func TestMain(m *testing.M) { lifecycle.Main(m) }

// finder finds whom the target names, and the key that it names after him.
var finder = principal.Finder{
	Find: func(_ context.Context, _ *cloud.Session, t control.Target) (*principal.Suspect, error) {
		a, ok := principal.ParseActor(t)
		switch {
		case t.ID == "gone":
			return nil, fmt.Errorf("find the grant: %w", control.ErrGone)
		case !ok:
			return nil, nil
		}
		_, key, _ := strings.Cut(t.ID, " ")
		return &principal.Suspect{Actor: a, Reason: a.Name() + " raised his own rights.", Key: key}, nil
	},
}

func TestNobodyToContain(t *testing.T) {
	enabled := true
	for _, remedy := range []control.Remedy{
		principal.Deny(finder), principal.DeactivateKeys(finder), principal.DeactivateKey(finder), principal.RevokeSessions(finder, &enabled),
	} {
		s := newStage(t, remedy)
		for _, id := range []string{"nobody", "user/no-such-user AKIAIOSFODNN7EXAMPLE", "role/no-such-role:AROAEXAMPLE:s"} {
			if c := s.Plan(id); c != nil {
				t.Errorf("%s: Plan of %s finds %s", remedy.Name, id, c.Before)
			}
		}
		if _, err := remedy.Plan(s.Ctx, s.Session, s.Target("gone")); !errors.Is(err, control.ErrGone) {
			t.Errorf("%s: the finder's error becomes %v", remedy.Name, err)
		}
	}
}

func TestDeniedReadIsAnError(t *testing.T) {
	enabled := true
	for _, tt := range []struct {
		remedy control.Remedy
		role   bool
		calls  []string
	}{
		{principal.Deny(finder), false, []string{"IAM.GetUser"}},
		{principal.Deny(finder), true, []string{"IAM.GetRole", "IAM.GetRolePolicy"}},
		{principal.DeactivateKeys(finder), false, []string{"IAM.GetUser", "IAM.ListAccessKeys"}},
		{principal.RevokeSessions(finder, &enabled), true, []string{"IAM.GetRole", "IAM.GetRolePolicy"}},
	} {
		for _, call := range tt.calls {
			t.Run(tt.remedy.Name+" "+call, func(t *testing.T) {
				s := newStage(t, tt.remedy)
				id, _ := s.role("/", "ec2.amazonaws.com", "s")
				if !tt.role {
					id = s.user("/")
				}
				s.Proxy.Inject(call, 1, local.Denied())
				if _, err := s.Remedy.Plan(s.Ctx, s.Session, s.Target(id)); !cloud.Is(err, "AccessDenied") {
					t.Errorf("Plan returns %v", err)
				}
			})
		}
	}
}

// wantReport wants a plan that changes nothing and says what to do instead, in
// sentences that hold these words.
func (s *stage) wantReport(id string, words ...string) {
	s.T.Helper()
	c := s.Plan(id)
	if c == nil || !c.Report() || c.Reason == "" || string(c.Before) != "null" {
		s.T.Fatalf("%s: Plan returns %+v, want a report", id, c)
	}
	left := strings.Join(c.Left, " ")
	for _, word := range words {
		if !strings.Contains(left, word) {
			s.T.Errorf("%s: %q is missing in: %s", id, word, left)
		}
	}
}

// wantMoved wants an Undo to be refused, and nothing changed.
func (s *stage) wantMoved(c *control.Change) *control.MovedError {
	s.T.Helper()
	before := s.state(*s.name())
	var moved *control.MovedError
	if err := s.Remedy.Undo(s.Ctx, s.Session, *c); !errors.As(err, &moved) {
		s.T.Fatalf("want a *control.MovedError, got %v", err)
	}
	lifecycle.Same(s.T, "the actor", s.state(*s.name()), before)
	return moved
}

// full answers as IAM does, with status 409, where a limit is reached: moto counts
// nothing.
func (s *stage) full(call string) {
	s.Proxy.Inject(call, 1, local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
		x.Answer(local.Answer{Status: http.StatusConflict, Header: http.Header{"Content-Type": {"text/xml"}}, Body: []byte(
			`<ErrorResponse><Error><Type>Sender</Type><Code>LimitExceeded</Code><Message>Maximum policy size of 10240 bytes exceeded</Message></Error></ErrorResponse>`)})
	}})
}

// wantFull wants the error of a role that has no room for one more policy.
func wantFull(t *testing.T, err error) {
	t.Helper()
	if !cloud.Is(err, "LimitExceeded") || !cloud.Permanent(err) || !strings.Contains(err.Error(), "10240 characters together") || !strings.Contains(err.Error(), "deny the whole role by hand") {
		t.Errorf("want LimitExceeded for good and what to do, got %v", err)
	}
}

// world makes what the tests work on, as the member itself.
type world struct {
	ctx context.Context
	t   *testing.T
	iam *iam.Client
}

func newWorld(ctx context.Context, t *testing.T, cfg aws.Config) world {
	return world{ctx, t, iam.NewFromConfig(cfg)}
}

// name is the name of an actor of this test.
func (w world) name() *string {
	sum := sha256.Sum256([]byte(w.t.Name()))
	return aws.String("actor-" + hex.EncodeToString(sum[:4]))
}

// user makes the user of this test, and returns his text.
func (w world) user(path string) string {
	w.t.Helper()
	_, err := w.iam.CreateUser(w.ctx, &iam.CreateUserInput{UserName: w.name(), Path: aws.String(path)})
	lifecycle.Must(w.t, err)
	return "user" + path + *w.name()
}

// role makes the role of this test, with one inline policy, and returns the text
// of a session and its aws:userid.
func (w world) role(path, service, session string) (actor, userID string) {
	w.t.Helper()
	out, err := w.iam.CreateRole(w.ctx, &iam.CreateRoleInput{
		RoleName: w.name(), Path: aws.String(path), AssumeRolePolicyDocument: aws.String(fmt.Sprintf(trust, service)),
	})
	lifecycle.Must(w.t, err)
	w.put("app", allow)
	userID = aws.ToString(out.Role.RoleId) + ":" + session
	return "role" + path + *w.name() + ":" + userID, userID
}

// put gives the role of this test an inline policy.
func (w world) put(policy, document string) {
	w.t.Helper()
	_, err := w.iam.PutRolePolicy(w.ctx, &iam.PutRolePolicyInput{RoleName: w.name(), PolicyName: aws.String(policy), PolicyDocument: aws.String(document)})
	lifecycle.Must(w.t, err)
}

// remove takes an inline policy from the role of this test.
func (w world) remove(policy string) {
	w.t.Helper()
	_, err := w.iam.DeleteRolePolicy(w.ctx, &iam.DeleteRolePolicyInput{RoleName: w.name(), PolicyName: aws.String(policy)})
	lifecycle.Must(w.t, err)
}

// deleteRole deletes the role of this test.
func (w world) deleteRole() {
	w.t.Helper()
	for policy := range w.policies(*w.name()) {
		w.remove(policy)
	}
	_, err := w.iam.DeleteRole(w.ctx, &iam.DeleteRoleInput{RoleName: w.name()})
	lifecycle.Must(w.t, err)
}

// boundary gives the user of this test a boundary.
func (w world) boundary(arn string) {
	w.t.Helper()
	_, err := w.iam.PutUserPermissionsBoundary(w.ctx, &iam.PutUserPermissionsBoundaryInput{UserName: w.name(), PermissionsBoundary: aws.String(arn)})
	lifecycle.Must(w.t, err)
}

// policy makes a managed policy of this test, and returns its ARN.
func (w world) policy(suffix string) string {
	w.t.Helper()
	out, err := w.iam.CreatePolicy(w.ctx, &iam.CreatePolicyInput{PolicyName: aws.String(*w.name() + suffix), PolicyDocument: aws.String(allow)})
	lifecycle.Must(w.t, err)
	return aws.ToString(out.Policy.Arn)
}

// key makes an access key of the user of this test.
func (w world) key(status types.StatusType) string {
	w.t.Helper()
	out, err := w.iam.CreateAccessKey(w.ctx, &iam.CreateAccessKeyInput{UserName: w.name()})
	lifecycle.Must(w.t, err)
	w.turn(aws.ToString(out.AccessKey.AccessKeyId), status)
	return aws.ToString(out.AccessKey.AccessKeyId)
}

func (w world) turn(key string, status types.StatusType) {
	w.t.Helper()
	_, err := w.iam.UpdateAccessKey(w.ctx, &iam.UpdateAccessKeyInput{UserName: w.name(), AccessKeyId: aws.String(key), Status: status})
	lifecycle.Must(w.t, err)
}

func (w world) deleteKey(key string) {
	w.t.Helper()
	_, err := w.iam.DeleteAccessKey(w.ctx, &iam.DeleteAccessKeyInput{UserName: w.name(), AccessKeyId: aws.String(key)})
	lifecycle.Must(w.t, err)
}

func (w world) deleteUser() {
	w.t.Helper()
	for key := range w.keys(*w.name()) {
		w.deleteKey(key)
	}
	_, err := w.iam.DeleteUser(w.ctx, &iam.DeleteUserInput{UserName: w.name()})
	lifecycle.Must(w.t, err)
}

// boundaryOf is the ARN of a user's boundary.
func (w world) boundaryOf(user string) string {
	w.t.Helper()
	out, err := w.iam.GetUser(w.ctx, &iam.GetUserInput{UserName: aws.String(user)})
	lifecycle.Must(w.t, err)
	if out.User.PermissionsBoundary == nil {
		return ""
	}
	return aws.ToString(out.User.PermissionsBoundary.PermissionsBoundaryArn)
}

// keys are the access keys of a user, with their status.
func (w world) keys(user string) map[string]types.StatusType {
	w.t.Helper()
	out, err := w.iam.ListAccessKeys(w.ctx, &iam.ListAccessKeysInput{UserName: aws.String(user)})
	lifecycle.Must(w.t, err)
	keys := map[string]types.StatusType{}
	for _, k := range out.AccessKeyMetadata {
		keys[aws.ToString(k.AccessKeyId)] = k.Status
	}
	return keys
}

// policies are the inline policies of a role, by name.
func (w world) policies(role string) map[string]string {
	w.t.Helper()
	names, err := w.iam.ListRolePolicies(w.ctx, &iam.ListRolePoliciesInput{RoleName: aws.String(role)})
	lifecycle.Must(w.t, err)
	policies := map[string]string{}
	for _, name := range names.PolicyNames {
		out, err := w.iam.GetRolePolicy(w.ctx, &iam.GetRolePolicyInput{RoleName: aws.String(role), PolicyName: aws.String(name)})
		lifecycle.Must(w.t, err)
		policies[name], err = url.PathUnescape(aws.ToString(out.PolicyDocument))
		lifecycle.Must(w.t, err)
	}
	return policies
}

// state is all of the users and roles of some name that the remedies could touch;
// with no name, of all.
func (w world) state(name string) any {
	w.t.Helper()
	users, err := w.iam.ListUsers(w.ctx, &iam.ListUsersInput{})
	lifecycle.Must(w.t, err)
	roles, err := w.iam.ListRoles(w.ctx, &iam.ListRolesInput{})
	lifecycle.Must(w.t, err)
	all := map[string]any{}
	for _, u := range users.Users {
		if user := aws.ToString(u.UserName); name == "" || user == name {
			all["user "+user] = map[string]any{"boundary": w.boundaryOf(user), "keys": w.keys(user)}
		}
	}
	for _, r := range roles.Roles {
		if role := aws.ToString(r.RoleName); name == "" || role == name {
			all["role "+role] = w.policies(role)
		}
	}
	return lifecycle.Comparable(all)
}

func stateOf(ctx context.Context, t *testing.T, cfg aws.Config, _ string) any {
	t.Helper()
	return newWorld(ctx, t, cfg).state("")
}

// denyName and revokeName are the policies' names of a session.
func denyName(userID string) string   { return policyName("snapback-deny-", userID) }
func revokeName(userID string) string { return policyName("snapback-revoke-", userID) }

func policyName(prefix, userID string) string {
	sum := sha256.Sum256([]byte(userID))
	return prefix + hex.EncodeToString(sum[:8])
}

// stage is the shared one, with a world in its member account.
type stage struct {
	*lifecycle.Stage
	world
}

func newStage(t *testing.T, remedy control.Remedy) *stage {
	t.Helper()
	s := lifecycle.NewStage(t, "identity", "AWS::IAM::User", remedy)
	return &stage{s, newWorld(s.Ctx, t, s.Member)}
}

// again plans as the next worker does: the engine keeps the first Before.
func (s *stage) again(id string, first *control.Change) *control.Change {
	s.T.Helper()
	c := s.Plan(id)
	if c == nil {
		return first
	}
	c.Before = first.Before
	s.Apply(c)
	if open := s.Plan(id); open != nil {
		s.T.Errorf("Plan still finds %s", open.Before)
	}
	return c
}

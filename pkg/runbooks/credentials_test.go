package runbooks_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/runbooks"
)

const (
	goneUser = "user/nobody AIDAEXAMPLENOBODY0001 AKIAIOSFODNN7EXAMPLE"
	goneRole = "role/nothing:AROAEXAMPLENOTHING001:session"
)

// account makes users and roles in the member account.
type account struct {
	ctx context.Context
	t   *testing.T
	iam *iam.Client
	cfg aws.Config
}

func newAccount(ctx context.Context, t *testing.T, cfg aws.Config) *account {
	t.Helper()
	return &account{ctx, t, iam.NewFromConfig(cfg), cfg}
}

// user makes a user below a path with so many keys, and returns the ID of the
// target that a finding about him has, and the keys.
func (a *account) user(keys int) (id string, ids []string) {
	a.t.Helper()
	name := "alice" + strings.ToLower(a.t.Name()[strings.LastIndexAny(a.t.Name(), "/_")+1:])
	made, err := a.iam.CreateUser(a.ctx, &iam.CreateUserInput{UserName: &name, Path: aws.String("/team/")})
	check(a.t, err)
	for range keys {
		key, err := a.iam.CreateAccessKey(a.ctx, &iam.CreateAccessKeyInput{UserName: &name})
		check(a.t, err)
		ids = append(ids, *key.AccessKey.AccessKeyId)
	}
	return "user/" + name + " " + *made.User.UserId, ids
}

// role makes a role below a path, and returns the ID of the target of a session.
func (a *account) role(name, path, service, session string) string {
	a.t.Helper()
	made, err := a.iam.CreateRole(a.ctx, &iam.CreateRoleInput{
		RoleName: &name, Path: &path,
		AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + service + `"},"Action":"sts:AssumeRole"}]}`),
	})
	check(a.t, err)
	return "role/" + name + ":" + *made.Role.RoleId + ":" + session
}

// userState is all of a user that could be touched.
func userState(ctx context.Context, t *testing.T, cfg aws.Config, id string) any {
	t.Helper()
	name, _, _ := strings.Cut(strings.TrimPrefix(id, "user/"), " ")
	c := iam.NewFromConfig(cfg)
	user, err := c.GetUser(ctx, &iam.GetUserInput{UserName: &name})
	check(t, err)
	keys, err := c.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: &name})
	check(t, err)
	policies, err := c.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: &name})
	check(t, err)
	return lifecycle.Comparable(map[string]any{"user": user.User, "keys": keys.AccessKeyMetadata, "policies": policies.PolicyNames})
}

// roleState is every inline policy of a role.
func roleState(ctx context.Context, t *testing.T, cfg aws.Config, id string) any {
	t.Helper()
	return policiesOf(ctx, t, cfg, strings.Split(strings.TrimPrefix(id, "role/"), ":")[0])
}

func policiesOf(ctx context.Context, t *testing.T, cfg aws.Config, role string) map[string]string {
	t.Helper()
	c := iam.NewFromConfig(cfg)
	names, err := c.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: &role})
	check(t, err)
	all := map[string]string{}
	for _, name := range names.PolicyNames {
		p, err := c.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &role, PolicyName: &name})
		check(t, err)
		all[name], err = url.PathUnescape(*p.PolicyDocument)
		check(t, err)
	}
	return all
}

// step is a remedy of a runbook, with the sessions of roles revoked where that is
// up to the baseline.
func step(t *testing.T, runbookID, name string) (typ string, remedy control.Remedy) {
	t.Helper()
	for _, r := range runbooks.All() {
		if r.ID != runbookID {
			continue
		}
		if r.Params != nil {
			runbooks.RevokeRoleSessions(r)
		}
		for _, s := range r.Steps {
			if s.Remedy.Name == name {
				return r.Type, s.Remedy
			}
		}
	}
	t.Fatalf("runbook %s has no step %s", runbookID, name)
	return "", control.Remedy{}
}

func TestLifecycleOfWhatContainsUsers(t *testing.T) {
	made := func(keys int, withKey bool) func(context.Context, *testing.T, aws.Config) string {
		return func(ctx context.Context, t *testing.T, cfg aws.Config) string {
			id, ids := newAccount(ctx, t, cfg).user(keys)
			if withKey {
				id += " " + ids[0]
			}
			return id
		}
	}
	for _, tt := range []struct {
		runbook, remedy string
		violations      []lifecycle.Violation
	}{
		{"iam-deactivate-key", "deactivate-access-key", []lifecycle.Violation{
			{Name: "onekey", Make: made(1, true), State: userState}, {Name: "twokeys", Make: made(2, true), State: userState},
		}},
		{"iam-contain-user", "deny-user", []lifecycle.Violation{
			{Name: "free", Make: made(1, true), State: userState},
			{Name: "bound", Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
				a := newAccount(ctx, t, cfg)
				id, _ := a.user(0)
				_, err := a.iam.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{
					UserName: aws.String(strings.Fields(strings.TrimPrefix(id, "user/"))[0]), PermissionsBoundary: aws.String("arn:aws:iam::aws:policy/ReadOnlyAccess"),
				})
				check(t, err)
				return id
			}, State: userState},
		}},
		{"iam-contain-user", "deactivate-access-keys", []lifecycle.Violation{
			{Name: "nokeynamed", Make: made(2, false), State: userState}, {Name: "keynamed", Make: made(2, true), State: userState},
		}},
	} {
		t.Run(tt.remedy, func(t *testing.T) {
			typ, remedy := step(t, tt.runbook, tt.remedy)
			lifecycle.Remedy(t, "response", typ, remedy, lifecycle.Test{Violations: tt.violations})
		})
	}
}

func TestLifecycleOfWhatContainsSessions(t *testing.T) {
	made := func(policies ...string) func(context.Context, *testing.T, aws.Config) string {
		return func(ctx context.Context, t *testing.T, cfg aws.Config) string {
			a := newAccount(ctx, t, cfg)
			name := fmt.Sprintf("deploy-%d", len(policies))
			id := a.role(name, "/ci/", "ec2.amazonaws.com", "build-7")
			_, user, _ := strings.Cut(id, ":")
			sum := sha256.Sum256([]byte(user))
			for i := 0; i < len(policies); i += 2 {
				_, err := a.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
					RoleName: &name, PolicyName: aws.String(policies[i] + hex.EncodeToString(sum[:8])),
					PolicyDocument: aws.String(strings.ReplaceAll(policies[i+1], "USER", user)),
				})
				check(t, err)
			}
			return id
		}
	}
	const (
		deny, revoke = "snapback-deny-", "snapback-revoke-" // the names of the policies begin so
		denied       = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:userid":"USER"}}}}`
		forged       = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	)
	for _, tt := range []struct {
		remedy     string
		violations []lifecycle.Violation
	}{
		{"deny-session", []lifecycle.Violation{
			{Name: "a role below a path", Make: made(), State: roleState},
			{Name: "a policy of that name that denies nothing", Make: made(deny, forged), State: roleState},
		}},
		// The session is denied before the others are.
		{"revoke-role-sessions", []lifecycle.Violation{
			{Name: "a role below a path", Make: made(deny, denied), State: roleState},
			{Name: "a policy of that name that denies nothing", Make: made(deny, denied, revoke, forged), State: roleState},
		}},
	} {
		t.Run(tt.remedy, func(t *testing.T) {
			typ, remedy := step(t, "iam-contain-session", tt.remedy)
			lifecycle.Remedy(t, "response", typ, remedy, lifecycle.Test{Violations: tt.violations})
		})
	}
}

// plan plans a step on the shared AWS.
func (a *account) plan(runbookID, name, id string) (*control.Change, error) {
	a.t.Helper()
	typ, remedy := step(a.t, runbookID, name)
	session, err := cloud.NewSessions(server.Config(local.HubAccount), "snapback-response", "response").
		For(a.ctx, local.MemberAccount, local.Region, "test")
	check(a.t, err)
	return remedy.Plan(a.ctx, session, control.Target{Account: local.MemberAccount, Region: local.Region, Type: typ, ID: id})
}

// everyStep are the steps of the runbooks on credentials, each with the ID of a
// target that does not exist.
var everyStep = []struct{ runbook, step, gone string }{
	{"iam-deactivate-key", "deactivate-access-key", goneUser},
	{"iam-contain-user", "deny-user", goneUser},
	{"iam-contain-user", "deactivate-access-keys", goneUser},
	{"iam-contain-session", "deny-session", goneRole},
	{"iam-contain-session", "revoke-role-sessions", goneRole},
}

// A name is given again, and another account's principals may have the same.
func TestWhoIsGoneOrAnotherOneIsToldApart(t *testing.T) {
	a := newAccount(t.Context(), t, member(t))
	user, keys := a.user(2)
	name, _, _ := strings.Cut(user, " ")
	role := a.role("anew", "/", "ec2.amazonaws.com", "session")
	for _, tt := range everyStep {
		other := name + " AIDAEXAMPLEOTHER00001 " + keys[0]
		if strings.HasPrefix(tt.gone, "role/") {
			other = "role/anew:AROAEXAMPLEOTHER00001:session"
		}
		for _, id := range []string{tt.gone, other} {
			if _, err := a.plan(tt.runbook, tt.step, id); !errors.Is(err, control.ErrGone) {
				t.Errorf("%s on %s: want control.ErrGone, got %v", tt.step, id, err)
			}
		}
		id := user + " " + keys[0]
		if strings.HasPrefix(tt.gone, "role/") {
			id = role
		}
		if c, err := a.plan(tt.runbook, tt.step, id); err != nil || c == nil || c.Report() {
			t.Errorf("%s finds nothing to do on %s: %v %v", tt.step, id, c, err)
		}
	}
}

// An ID of an exemption is no target.
func TestTargetThatNamesNobodyIsRefused(t *testing.T) {
	a := newAccount(t.Context(), t, member(t))
	for _, tt := range everyStep {
		short := strings.Fields(strings.SplitN(tt.gone, ":", 2)[0])[0]
		if c, err := a.plan(tt.runbook, tt.step, short); err == nil || errors.Is(err, control.ErrGone) {
			t.Errorf("%s on %s: %v, %v", tt.step, short, c, err)
		}
	}
}

// Findings don't tell paths, by which the baseline may protect a principal.
func TestChangesTouchPrincipalsByTheirWholeARNs(t *testing.T) {
	a := newAccount(t.Context(), t, member(t))
	user, keys := a.user(2)
	name, _, _ := strings.Cut(strings.TrimPrefix(user, "user/"), " ")
	role := a.role("touched", "/ci/", "ec2.amazonaws.com", "session")
	for _, tt := range everyStep {
		id, want := user+" "+keys[0], "user/team/"+name
		if strings.HasPrefix(tt.gone, "role/") {
			id, want = role, "role/ci/touched"
		}
		c, err := a.plan(tt.runbook, tt.step, id)
		check(t, err)
		if diff := cmp.Diff([]string{"arn:aws:iam::" + local.MemberAccount + ":" + want}, c.Touches); diff != "" {
			t.Errorf("%s touches something else (-want +got):\n%s", tt.step, diff)
		}
		if !strings.HasPrefix(c.Reason, "GuardDuty found that ") {
			t.Errorf("%s says: %s", tt.step, c.Reason)
		}
	}
}

// Each of the two cases of a finding can be undone whatever becomes of the other:
// no key is in both.
func TestEachAccessKeyBelongsToOneRunbook(t *testing.T) {
	a := newAccount(t.Context(), t, member(t))
	user, keys := a.user(2)
	changed := func(runbookID, name, id string) (found []string) {
		c, err := a.plan(runbookID, name, id)
		check(t, err)
		for _, key := range keys {
			if c != nil && strings.Contains(string(c.After), key) {
				found = append(found, key)
			}
		}
		return found
	}
	for i, key := range keys {
		if diff := cmp.Diff([]string{key}, changed("iam-deactivate-key", "deactivate-access-key", user+" "+key)); diff != "" {
			t.Errorf("of the key (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{keys[1-i]}, changed("iam-contain-user", "deactivate-access-keys", user+" "+key)); diff != "" {
			t.Errorf("of its user (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff(keys, changed("iam-contain-user", "deactivate-access-keys", user)); diff != "" {
		t.Errorf("of a user without a key that is named (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(keys, changed("iam-contain-user", "deactivate-access-keys", user+" AKIAIOSFODNN7DELETED")); diff != "" {
		t.Errorf("of a user whose named key is gone (-want +got):\n%s", diff)
	}
	one, key := a.bob()
	if c, err := a.plan("iam-contain-user", "deactivate-access-keys", one+" "+key); err != nil || c != nil {
		t.Errorf("a user with one key has another one: %v, %v", c, err)
	}
}

// bob is a second user of a test, who has one key.
func (a *account) bob() (id, key string) {
	a.t.Helper()
	made, err := a.iam.CreateUser(a.ctx, &iam.CreateUserInput{UserName: aws.String("bob")})
	check(a.t, err)
	created, err := a.iam.CreateAccessKey(a.ctx, &iam.CreateAccessKeyInput{UserName: made.User.UserName})
	check(a.t, err)
	return fmt.Sprintf("user/bob %s", *made.User.UserId), *created.AccessKey.AccessKeyId
}

func TestSessionsThatCantBeCutAreReports(t *testing.T) {
	a := newAccount(t.Context(), t, member(t))
	for _, tt := range []struct {
		name, path, left string
	}{
		{"AWSReservedSSO_Administrator_0123456789abcdef", "/aws-reserved/sso.amazonaws.com/eu-west-1/", "Identity Center"},
		{"AWSServiceRoleForExample", "/aws-service-role/example.amazonaws.com/", "linked to an AWS service"},
		{"snapback-storage", "/", "Snapback does not change its own role"},
	} {
		id := a.role(tt.name, tt.path, "ec2.amazonaws.com", "alice@example.com")
		c, err := a.plan("iam-contain-session", "deny-session", id)
		check(t, err)
		if c == nil || !c.Report() || !strings.Contains(strings.Join(c.Left, " "), tt.left) {
			t.Errorf("%s: the plan is %+v", tt.name, c)
		}
		if c, err := a.plan("iam-contain-session", "revoke-role-sessions", id); err != nil || c != nil && !c.Report() {
			t.Errorf("%s: its sessions are revoked: %+v, %v", tt.name, c, err)
		}
	}
}

// A certificate opens sessions as long as it is not revoked.
func TestSessionOfRolesAnywhereIsDeniedAndItsCertificateTold(t *testing.T) {
	a := newAccount(t.Context(), t, member(t))
	id := a.role("print-server", "/", "rolesanywhere.amazonaws.com", "3f9a0c5e17b2d846")
	c, err := a.plan("iam-contain-session", "deny-session", id)
	check(t, err)
	if c == nil || c.Report() || !strings.Contains(strings.Join(c.Left, " "), "certificate") {
		t.Errorf("the plan is %+v", c)
	}
}

// All sessions of a role are cut only where the baseline says so.
func TestSessionsOfARoleAreNotRevokedByDefault(t *testing.T) {
	a := newAccount(t.Context(), t, member(t))
	id := a.role("unrevoked", "/", "ec2.amazonaws.com", "session")
	r := runbook(t, "iam-contain-session")
	i := slices.IndexFunc(r.Steps, func(s control.Step) bool { return s.Remedy.Name == "revoke-role-sessions" })
	session, err := cloud.NewSessions(server.Config(local.HubAccount), "snapback-response", "response").
		For(a.ctx, local.MemberAccount, local.Region, "test")
	check(t, err)
	c, err := r.Steps[i].Remedy.Plan(a.ctx, session, control.Target{Account: local.MemberAccount, Region: local.Region, Type: r.Type, ID: id})
	if err != nil || c != nil {
		t.Errorf("the plan is %+v, %v", c, err)
	}
}

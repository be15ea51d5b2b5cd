package identity_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/identity"
)

const (
	typePolicy = "AWS::IAM::Policy"

	fullRights  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	someRights  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`
	withMFA     = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}}]}`
	mixedRights = "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n    {\"Sid\": \"Logs\", \"Effect\": \"Allow\", \"Action\": \"logs:*\", \"Resource\": \"*\"},\n" +
		"    {\"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": \"*\"}\n  ]\n}\n"
)

func TestAdminPolicyLifecycle(t *testing.T) {
	violation := func(name string, do func(entities) string) lifecycle.Violation {
		return lifecycle.Violation{
			Name: name,
			Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
				return do(entities{ctx, t, iam.NewFromConfig(cfg)})
			},
			State: rightsState,
		}
	}
	lifecycle.Run(t, lifecycle.Case{
		Domain: control.Domain{Name: "identity", Controls: []control.Control{identity.AdminPolicy(&control.Identities{})}},
		ID:     "iam-admin-policy",
		Test: lifecycle.Test{Violations: []lifecycle.Violation{
			violation("a managed policy that a user, a group and a role have", func(e entities) string {
				arn := e.policy("deploy", fullRights)
				for _, kind := range []string{"user", "group", "role"} {
					e.make(kind, "has-"+kind, "/team/")
					e.attach(kind, "has-"+kind, arn)
				}
				return arn
			}),
			violation("a managed policy under a condition", func(e entities) string {
				arn := e.policy("mfa", withMFA)
				e.make("user", "mfa", "/")
				e.attach("user", "mfa", arn)
				return arn
			}),
			violation("a managed policy by its newest version", func(e entities) string {
				arn := e.policy("grown", someRights)
				e.version(arn, fullRights)
				e.make("user", "grown", "/")
				e.attach("user", "grown", arn)
				return arn
			}),
			violation("an inline policy of a user, which is nothing else", inlineViolation("user", fullRights)),
			violation("an inline policy of a group, which is nothing else", inlineViolation("group", fullRights)),
			violation("an inline policy of a role, which is nothing else", inlineViolation("role", withMFA)),
			violation("one statement of an inline policy of a user", inlineViolation("user", mixedRights)),
			violation("one statement of an inline policy of a group", inlineViolation("group", mixedRights)),
			violation("one statement of an inline policy of a role", inlineViolation("role", mixedRights)),
		}},
	})
}

func inlineViolation(kind, document string) func(entities) string {
	return func(e entities) string {
		name := fmt.Sprintf("inline-%s-%d", kind, len(document))
		e.make(kind, name, "/team/")
		e.put(kind, name, "admin", document)
		e.put(kind, name, "other", someRights)
		return kind + "/" + name + " admin"
	}
}

func TestInnocentPoliciesAreLeftAlone(t *testing.T) {
	s := newPolicyStage(t, control.Identities{Administrators: []string{"arn:aws:iam::*:user/ops/*", "arn:aws:iam::222222222222:role/admin"}})
	s.make("user", "alice", "/")
	s.make("user", "root2", "/ops/")
	s.make("role", "admin", "/")
	s.make("group", "admins", "/")
	s.join("root2", "admins")

	reads := s.policy("reads", someRights)
	s.attach("user", "alice", reads)
	s.version(reads, fullRights)
	s.setDefault(reads, "v1")
	s.compliant("a version that is not the default one", reads)

	admin := s.policy("admin", fullRights)
	for kind, name := range map[string]string{"user": "root2", "role": "admin", "group": "admins"} {
		s.attach(kind, name, admin)
		s.put(kind, name, "all", fullRights)
		s.compliant("an administrator's inline policy", kind+"/"+name+" all")
	}
	s.compliant("a policy that only administrators have", admin)

	s.put("user", "alice", "some", someRights)
	s.compliant("few rights", "user/alice some")
	s.put("user", "alice", "denied", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`)
	s.compliant("a denial", "user/alice denied")
}

// Moto counts no boundaries of a policy: its answer is rewritten.
func TestPermissionsBoundaryGivesNothing(t *testing.T) {
	s := newPolicyStage(t, control.Identities{})
	arn := s.policy("boundary", fullRights)
	s.Rewrite("IAM.GetPolicy", "<AttachmentCount>", "<PermissionsBoundaryUsageCount>3</PermissionsBoundaryUsageCount><AttachmentCount>",
		"<PermissionsBoundaryUsageCount>0</PermissionsBoundaryUsageCount>", "")
	s.compliant("a boundary", arn)
	s.make("user", "alice", "/")
	s.attach("user", "alice", arn)
	if c := s.Plan(arn); c == nil || c.Report() {
		t.Errorf("Plan of a boundary that somebody has as a policy returns %+v", c)
	}
}

func TestPolicyThatNobodyHasIsReported(t *testing.T) {
	s := newPolicyStage(t, control.Identities{})
	arn := s.policy("spare", fullRights)
	c := s.report(arn)
	lifecycle.Same(t, "Reason", c.Reason, "Policy "+arn+" gives full administrative rights by 1 of its 1 statements. Nobody has it: delete it before somebody gets it.")
	lifecycle.Same(t, "Left", c.Left, []string(nil))
}

func TestThoseWhoMustNotBeChangedKeepIt(t *testing.T) {
	s := newPolicyStage(t, control.Identities{
		Administrators: []string{"arn:aws:iam::*:user/chief"},
		Protected:      []string{"arn:aws:iam::*:role/break-glass", "arn:aws:iam::*:user/pager"},
	})
	const sso = "AWSReservedSSO_Admin_0123456789abcdef"
	arn := s.policy("everything", fullRights)
	for _, who := range []struct{ kind, name, path string }{
		{"role", "break-glass", "/"}, {"role", sso, "/aws-reserved/sso.amazonaws.com/eu-west-1/"}, {"role", "snapback-identity", "/"},
		{"role", "deploy", "/ci/"}, {"user", "chief", "/"}, {"user", "pager", "/"}, {"user", "alice", "/team/"}, {"user", "pat", "/"},
		{"group", "on-call", "/"}, {"group", "leads", "/"}, {"group", "everybody", "/"},
	} {
		s.make(who.kind, who.name, who.path)
		s.put(who.kind, who.name, "own", fullRights)
		s.attach(who.kind, who.name, arn)
	}
	s.join("pager", "on-call")
	s.join("chief", "leads")
	s.join("pat", "leads")
	s.join("pat", "everybody")
	linked, err := s.iam.CreateServiceLinkedRole(s.Ctx, &iam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("autoscaling.amazonaws.com")})
	lifecycle.Must(t, err)
	service := aws.ToString(linked.Role.RoleName)
	s.attach("role", service, arn)

	why := map[string]string{
		"role/break-glass":                  "the baseline protects it",
		"role/snapback-identity":            "it is Snapback's own",
		"user/pager":                        "the baseline protects it",
		"group/leads":                       "user/chief is in it, and the baseline lists him as an administrator",
		"group/on-call":                     "user/pager is in it, and the baseline protects him",
		"role/" + resource(linked.Role.Arn): "it belongs to an AWS service, which alone can edit it",
		"role/aws-reserved/sso.amazonaws.com/eu-west-1/" + sso: "AWS lets nobody edit it: change its permission set in IAM Identity Center",
	}
	c := s.Plan(arn)
	var left []string
	for who, reason := range why {
		left = append(left, who+" keeps it: "+reason+".")
	}
	slices.Sort(left)
	lifecycle.Same(t, "Left", c.Left, left)
	lifecycle.Same(t, "Touches", c.Touches, []string{
		"arn:aws:iam::222222222222:group/everybody", "arn:aws:iam::222222222222:role/ci/deploy",
		"arn:aws:iam::222222222222:user/pat", "arn:aws:iam::222222222222:user/team/alice",
	})
	if !strings.HasPrefix(c.Reason, "Policy "+arn+" gives full administrative rights by 1 of its 1 statements, to 12 in all: group/everybody, group/leads, ") ||
		!strings.HasSuffix(c.Reason, ", user/pager, user/pat, user/team/alice; 1 of them may have it, as administrators by the baseline.") {
		t.Errorf("Reason: %s", c.Reason)
	}
	s.Apply(c)
	after := s.report(arn)
	lifecycle.Same(t, "Left, once it is made", after.Left, left)

	for who, reason := range why {
		if who == "role/"+resource(linked.Role.Arn) {
			continue // nobody can give it an inline policy
		}
		kind, path, _ := strings.Cut(who, "/")
		entity := kind + "/" + path[strings.LastIndexByte(path, '/')+1:]
		c := s.report(entity + " own")
		lifecycle.Same(t, "Left of "+who, c.Left, []string{"Inline policy own of " + entity + " stays: " + reason + "."})
	}
	s.compliant("an administrator", "user/chief own")
}

func TestInlineChangeTakesOutTheOffendingStatementAlone(t *testing.T) {
	s := newPolicyStage(t, control.Identities{})
	s.make("role", "deploy", "/ci/")
	s.put("role", "deploy", "mixed", mixedRights)
	s.put("role", "deploy", "other", someRights)
	c := s.Plan("role/deploy mixed")
	lifecycle.Same(t, "Reason", c.Reason, "Inline policy mixed of role/deploy gives full administrative rights by 1 of its 2 statements.")
	lifecycle.Same(t, "Touches", c.Touches, []string{"arn:aws:iam::222222222222:role/ci/deploy"})
	s.Apply(c)
	left := s.inline("deploy")
	if text := left["mixed"]; !strings.Contains(text, `{"Sid": "Logs", "Effect": "Allow", "Action": "logs:*", "Resource": "*"}`) || strings.Contains(text, `"Action": "*"`) {
		t.Errorf("the policy is now %s", text)
	}
	lifecycle.Same(t, "the other policy", left["other"], someRights)
	s.compliant("what is left", "role/deploy mixed")
	s.Undo(c)
	lifecycle.Same(t, "policies after undo", s.inline("deploy"), map[string]string{"mixed": mixedRights, "other": someRights})
}

func TestConditionIsTold(t *testing.T) {
	s := newPolicyStage(t, control.Identities{})
	s.make("user", "alice", "/")
	s.put("user", "alice", "mfa", withMFA)
	lifecycle.Same(t, "Reason", s.Plan("user/alice mfa").Reason,
		"Inline policy mfa of user/alice gives full administrative rights by 1 of its 1 statements, under conditions.")
}

// Moto takes no document that can't be understood: its answer is rewritten.
func TestDocumentThatCannotBeUnderstoodIsReported(t *testing.T) {
	s := newPolicyStage(t, control.Identities{})
	s.make("user", "alice", "/")
	s.put("user", "alice", "odd", someRights)
	arn := s.policy("odd", someRights)
	for call, id := range map[string]string{"IAM.GetUserPolicy": "user/alice odd", "IAM.GetPolicyVersion": arn} {
		s.Rewrite(call, "Allow", "Perhaps")
		c := s.report(id)
		if !strings.HasPrefix(c.Reason, "Whether ") || !strings.Contains(c.Reason, " gives full administrative rights can't be told: ") {
			t.Errorf("Reason: %s", c.Reason)
		}
	}
}

func TestManyHoldersAreAllFoundAndSomeNamed(t *testing.T) {
	s := newPolicyStage(t, control.Identities{})
	arn := s.policy("popular", fullRights)
	for i := range 25 {
		name := fmt.Sprintf("user-%02d", i)
		s.make("user", name, "/")
		s.attach("user", name, arn)
	}
	c := s.Plan(arn)
	if !strings.Contains(c.Reason, ", to 25 in all: user/user-00, ") || !strings.HasSuffix(c.Reason, ", user/user-19 and 5 more.") {
		t.Errorf("Reason: %s", c.Reason)
	}
	if len(c.Touches) != 25 {
		t.Errorf("%d are changed, want 25", len(c.Touches))
	}
	s.Apply(c)
	if c := s.report(arn); !strings.HasSuffix(c.Reason, "Nobody has it: delete it before somebody gets it.") {
		t.Errorf("after Apply: %s", c.Reason)
	}
}

func TestPolicyThatIsGone(t *testing.T) {
	s := newPolicyStage(t, control.Identities{})
	s.make("user", "alice", "/")
	s.compliant("a policy that its user no longer has", "user/alice gone")
	for _, id := range []string{
		"arn:aws:iam::222222222222:policy/gone", "user/gone gone", "group/gone gone", "role/gone gone",
	} {
		if c, err := s.Remedy.Plan(s.Ctx, s.Session, s.Target(id)); !errors.Is(err, control.ErrGone) {
			t.Errorf("Plan of %s: want control.ErrGone, got %+v, %v", id, c, err)
		}
	}
}

func TestOnlyPoliciesWithFullRightsAreListedAndInOneRegion(t *testing.T) {
	s := newPolicyStage(t, control.Identities{})
	list := identity.AdminPolicy(&control.Identities{}).List
	s.make("user", "alice", "/team/")
	s.make("group", "admins", "/")
	s.join("alice", "admins")
	s.put("user", "alice", "own", fullRights)
	s.put("user", "alice", "some", someRights)
	s.put("group", "admins", "all", mixedRights)
	spare, some := s.policy("spare", withMFA), s.policy("some", someRights)
	s.attach("user", "alice", some)
	s.version(some, fullRights)
	s.setDefault(some, "v1")
	lifecycle.Same(t, "listed", listed(s, list, s.Session), []string{spare, "group/admins all", "user/alice own"})

	hub := lifecycle.AWS(t).Config(local.HubAccount)
	elsewhere, err := cloud.NewSessions(hub, "snapback-identity", "identity").For(s.Ctx, local.MemberAccount, "eu-west-1", "test")
	lifecycle.Must(t, err)
	lifecycle.Same(t, "listed elsewhere", listed(s, list, elsewhere), []string(nil))
}

func TestIDsOfPoliciesAndTheirARNs(t *testing.T) {
	c := identity.AdminPolicy(&control.Identities{})
	for id, arn := range map[string]string{
		"arn:aws:iam::222222222222:policy/team/deploy": "arn:aws:iam::222222222222:policy/team/deploy",
		"user/alice everything":                        "arn:aws:iam::222222222222:user/alice",
		"group/admins a.b@c":                           "arn:aws:iam::222222222222:group/admins",
		"role/ci everything":                           "arn:aws:iam::222222222222:role/ci",
	} {
		target := control.Target{Account: local.MemberAccount, Region: local.Region, Type: typePolicy, ID: id}
		if got := c.ARN(target); got != arn || !c.IDs.MatchString(id) {
			t.Errorf("%q has ARN %s, want %s, and is an ID: %t", id, got, arn, c.IDs.MatchString(id))
		}
		if !c.Names(arn) {
			t.Errorf("%s is not known", arn)
		}
	}
	for _, arn := range []string{
		"arn:aws:iam::222222222222:root", "arn:aws:iam::222222222222:policy/",
		"arn:aws:iam::222222222222:instance-profile/x", "arn:aws:sts::222222222222:assumed-role/x/y",
		"arn:aws:iam::222222222222:user/team/alice", // an inline policy's has no path
	} {
		if c.Names(arn) {
			t.Errorf("%s is known", arn)
		}
	}
}

// entities makes principals and policies, as the member itself.
type entities struct {
	ctx context.Context
	t   *testing.T
	iam *iam.Client
}

func (e entities) must(_ any, err error) {
	e.t.Helper()
	lifecycle.Must(e.t, err)
}

func (e entities) make(kind, name, path string) {
	e.t.Helper()
	switch kind {
	case "user":
		e.must(e.iam.CreateUser(e.ctx, &iam.CreateUserInput{UserName: &name, Path: &path}))
	case "group":
		e.must(e.iam.CreateGroup(e.ctx, &iam.CreateGroupInput{GroupName: &name, Path: &path}))
	case "role":
		e.must(e.iam.CreateRole(e.ctx, &iam.CreateRoleInput{RoleName: &name, Path: &path, AssumeRolePolicyDocument: aws.String(passedRole)}))
	}
}

func (e entities) put(kind, name, policy, document string) {
	e.t.Helper()
	switch kind {
	case "user":
		e.must(e.iam.PutUserPolicy(e.ctx, &iam.PutUserPolicyInput{UserName: &name, PolicyName: &policy, PolicyDocument: &document}))
	case "group":
		e.must(e.iam.PutGroupPolicy(e.ctx, &iam.PutGroupPolicyInput{GroupName: &name, PolicyName: &policy, PolicyDocument: &document}))
	case "role":
		e.must(e.iam.PutRolePolicy(e.ctx, &iam.PutRolePolicyInput{RoleName: &name, PolicyName: &policy, PolicyDocument: &document}))
	}
}

func (e entities) attach(kind, name, arn string) {
	e.t.Helper()
	switch kind {
	case "user":
		e.must(e.iam.AttachUserPolicy(e.ctx, &iam.AttachUserPolicyInput{UserName: &name, PolicyArn: &arn}))
	case "group":
		e.must(e.iam.AttachGroupPolicy(e.ctx, &iam.AttachGroupPolicyInput{GroupName: &name, PolicyArn: &arn}))
	case "role":
		e.must(e.iam.AttachRolePolicy(e.ctx, &iam.AttachRolePolicyInput{RoleName: &name, PolicyArn: &arn}))
	}
}

func (e entities) join(user, group string) {
	e.t.Helper()
	e.must(e.iam.AddUserToGroup(e.ctx, &iam.AddUserToGroupInput{UserName: &user, GroupName: &group}))
}

// policy makes a managed policy, and returns its ARN.
func (e entities) policy(name, document string) string {
	e.t.Helper()
	out, err := e.iam.CreatePolicy(e.ctx, &iam.CreatePolicyInput{PolicyName: &name, Path: aws.String("/own/"), PolicyDocument: &document})
	lifecycle.Must(e.t, err)
	return aws.ToString(out.Policy.Arn)
}

// version gives a managed policy a new default version.
func (e entities) version(arn, document string) {
	e.t.Helper()
	e.must(e.iam.CreatePolicyVersion(e.ctx, &iam.CreatePolicyVersionInput{PolicyArn: &arn, PolicyDocument: &document, SetAsDefault: true}))
}

func (e entities) setDefault(arn, version string) {
	e.t.Helper()
	e.must(e.iam.SetDefaultPolicyVersion(e.ctx, &iam.SetDefaultPolicyVersionInput{PolicyArn: &arn, VersionId: &version}))
}

// inline are the inline policies of a role by name, decoded.
func (e entities) inline(role string) map[string]string {
	e.t.Helper()
	names, err := e.iam.ListRolePolicies(e.ctx, &iam.ListRolePoliciesInput{RoleName: &role})
	lifecycle.Must(e.t, err)
	texts := map[string]string{}
	for _, name := range names.PolicyNames {
		out, err := e.iam.GetRolePolicy(e.ctx, &iam.GetRolePolicyInput{RoleName: &role, PolicyName: &name})
		lifecycle.Must(e.t, err)
		texts[name], err = url.PathUnescape(aws.ToString(out.PolicyDocument))
		lifecycle.Must(e.t, err)
	}
	return texts
}

// rightsState is all of the account that has to do with rights, in an order of
// its own: IAM's lists have none.
func rightsState(ctx context.Context, t *testing.T, cfg aws.Config, _ string) any {
	t.Helper()
	out, err := iam.NewFromConfig(cfg).GetAccountAuthorizationDetails(ctx, &iam.GetAccountAuthorizationDetailsInput{Filter: []types.EntityType{
		types.EntityTypeUser, types.EntityTypeGroup, types.EntityTypeRole, types.EntityTypeLocalManagedPolicy,
	}})
	lifecycle.Must(t, err)
	for _, u := range out.UserDetailList {
		inOrder(u.UserPolicyList, u.AttachedManagedPolicies)
	}
	for _, g := range out.GroupDetailList {
		inOrder(g.GroupPolicyList, g.AttachedManagedPolicies)
	}
	for _, r := range out.RoleDetailList {
		inOrder(r.RolePolicyList, r.AttachedManagedPolicies)
	}
	return lifecycle.Comparable([]any{out.UserDetailList, out.GroupDetailList, out.RoleDetailList, out.Policies})
}

func inOrder(inline []types.PolicyDetail, attached []types.AttachedPolicy) {
	slices.SortFunc(inline, func(a, b types.PolicyDetail) int { return strings.Compare(*a.PolicyName, *b.PolicyName) })
	slices.SortFunc(attached, func(a, b types.AttachedPolicy) int { return strings.Compare(*a.PolicyArn, *b.PolicyArn) })
}

// resource is an ARN's last field without its kind: "aws-service-role/…/name".
func resource(arn *string) string {
	_, path, _ := strings.Cut(aws.ToString(arn), ":role/")
	return path
}

// listed are the IDs that a control lists.
func listed(s *policyStage, list func(context.Context, *cloud.Session) iter.Seq2[control.Target, error], session *cloud.Session) (ids []string) {
	s.T.Helper()
	for target, err := range list(s.Ctx, session) {
		lifecycle.Must(s.T, err)
		ids = append(ids, target.ID)
	}
	return ids
}

// policyStage is the shared stage with what the member makes.
type policyStage struct {
	*lifecycle.Stage
	entities
}

func newPolicyStage(t *testing.T, identities control.Identities) *policyStage {
	t.Helper()
	lifecycle.Must(t, lifecycle.AWS(t).Reset(t.Context()))
	s := lifecycle.NewStage(t, "identity", typePolicy, identity.AdminPolicy(&identities).Remedy)
	return &policyStage{s, entities{s.Ctx, t, iam.NewFromConfig(s.Member)}}
}

func (s *policyStage) compliant(what, id string) {
	s.T.Helper()
	if c := s.Plan(id); c != nil {
		s.T.Errorf("%s: Plan of %s finds: %s", what, id, c.Reason)
	}
}

// report is the plan, which must have nothing to apply.
func (s *policyStage) report(id string) *control.Change {
	s.T.Helper()
	c := s.Plan(id)
	if c == nil || !c.Report() {
		s.T.Fatalf("Plan of %s returns %+v, want a report", id, c)
	}
	return c
}

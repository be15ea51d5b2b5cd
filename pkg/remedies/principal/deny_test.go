package principal_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/principal"
)

func TestDenyLifecycle(t *testing.T) {
	lifecycle.Remedy(t, "identity", "AWS::IAM::User", principal.Deny(finder), lifecycle.Test{
		Violations: []lifecycle.Violation{
			{
				Name: "a user without a boundary",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					return newWorld(ctx, t, cfg).user("/team/")
				},
				State: stateOf,
			},
			{
				Name: "a user with a boundary",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					w := newWorld(ctx, t, cfg)
					id := w.user("/")
					w.boundary(w.policy("-boundary"))
					return id
				},
				State: stateOf,
			},
			{
				Name: "a session of a role",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					id, _ := newWorld(ctx, t, cfg).role("/ci/", "ec2.amazonaws.com", "deploy-4711")
					return id
				},
				State: stateOf,
			},
			{
				Name: "a session whose denial was replaced",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					w := newWorld(ctx, t, cfg)
					id, userID := w.role("/", "ec2.amazonaws.com", "i-0123456789abcdef0")
					w.put(denyName(userID), forged)
					return id
				},
				State: stateOf,
			},
		},
	})
}

// One call denies a user who has all that IAM lets a user have: 10 groups, 20
// managed policies and 2,048 characters of inline policies (IAM user guide, "IAM
// and AWS STS quotas").
func TestUserAtAllLimitsIsDeniedByOneCall(t *testing.T) {
	s := newStage(t, principal.Deny(finder))
	id := s.user("/team/")
	name := s.name()
	for i := range 10 {
		group := aws.String(fmt.Sprintf("%s-%d", *name, i))
		_, err := s.iam.CreateGroup(s.Ctx, &iam.CreateGroupInput{GroupName: group})
		lifecycle.Must(t, err)
		_, err = s.iam.AddUserToGroup(s.Ctx, &iam.AddUserToGroupInput{GroupName: group, UserName: name})
		lifecycle.Must(t, err)
	}
	for i := range 20 {
		_, err := s.iam.AttachUserPolicy(s.Ctx, &iam.AttachUserPolicyInput{UserName: name, PolicyArn: aws.String(s.policy(fmt.Sprint("-", i)))})
		lifecycle.Must(t, err)
	}
	document := strings.Replace(allow, "s3:*", "s3:"+strings.Repeat("x", 2048-len(allow)+1), 1)
	_, err := s.iam.PutUserPolicy(s.Ctx, &iam.PutUserPolicyInput{UserName: name, PolicyName: aws.String("inline"), PolicyDocument: aws.String(document)})
	lifecycle.Must(t, err)

	c := s.Plan(id)
	lifecycle.Same(t, "Before", string(c.Before), `{"UserName":"`+*name+`","PermissionsBoundary":null}`)
	lifecycle.Same(t, "After", string(c.After), `{"UserName":"`+*name+`","PermissionsBoundary":"`+denyAll+`"}`)
	lifecycle.Same(t, "Touches", c.Touches, []string{"arn:aws:iam::" + local.MemberAccount + ":" + id})
	ctx, recorder := cloud.Record(s.Ctx)
	lifecycle.Must(t, s.Remedy.Apply(ctx, s.Session, *c))
	if calls := recorder.Calls(); len(calls) != 1 || calls[0].Name() != "IAM.PutUserPermissionsBoundary" {
		t.Errorf("Apply makes the calls %v, want one", calls)
	}
	lifecycle.Same(t, "boundary", s.boundaryOf(*s.name()), denyAll)
}

func TestFederatedSessionIsDeniedWithItsUser(t *testing.T) {
	s := newStage(t, principal.Deny(finder))
	s.user("/")
	s.Apply(s.Plan("federated/" + *s.name() + ":carol"))
	lifecycle.Same(t, "boundary", s.boundaryOf(*s.name()), denyAll)
}

// GuardDuty tells of no paths, by which the baseline may protect somebody.
func TestWholeARNIsTouched(t *testing.T) {
	s := newStage(t, principal.Deny(finder))
	s.user("/break-glass/")
	lifecycle.Same(t, "Touches", s.Plan("user/"+*s.name()).Touches, []string{"arn:aws:iam::" + local.MemberAccount + ":user/break-glass/" + *s.name()})
	_, userID := s.role("/break-glass/", "ec2.amazonaws.com", "s")
	lifecycle.Same(t, "Touches", s.Plan("role/"+*s.name()+":"+userID).Touches, []string{"arn:aws:iam::" + local.MemberAccount + ":role/break-glass/" + *s.name()})
}

func TestSessionIsDeniedAndNoOtherOne(t *testing.T) {
	s := newStage(t, principal.Deny(finder))
	id, userID := s.role("/ci/", "ec2.amazonaws.com", "deploy-4711")
	c := s.Plan(id)
	lifecycle.Same(t, "Before", string(c.Before), fmt.Sprintf(`{"RoleName":%q,"Session":%q,"PolicyName":%q,"PolicyDocument":null}`, *s.name(), userID, denyName(userID)))
	s.Apply(c)
	lifecycle.Same(t, "policies of the role", s.policies(*s.name()), map[string]string{"app": allow, denyName(userID): fmt.Sprintf(denial, userID)})

	second := strings.Replace(id, "deploy-4711", "deploy-4712", 1)
	s.Apply(s.Plan(second))
	s.Undo(c)
	userID = strings.Replace(userID, "deploy-4711", "deploy-4712", 1)
	lifecycle.Same(t, "policies of the role", s.policies(*s.name()), map[string]string{"app": allow, denyName(userID): fmt.Sprintf(denial, userID)})
}

func TestSessionOfARoleThatWasMadeAnewIsGone(t *testing.T) {
	s := newStage(t, principal.Deny(finder))
	id, _ := s.role("/", "ec2.amazonaws.com", "s")
	c := s.Plan(id)
	s.Apply(c)
	s.deleteRole()
	s.role("/", "ec2.amazonaws.com", "s")
	if c := s.Plan(id); c != nil {
		t.Errorf("Plan finds %s", c.Before)
	}
	lifecycle.Left(t, s.Remedy.Undo(s.Ctx, s.Session, *c), "Role "+*s.name()+" no longer exists.")
	lifecycle.Same(t, "policies of the role", s.policies(*s.name()), map[string]string{"app": allow})
}

func TestWhoeverCannotBeDeniedIsReported(t *testing.T) {
	s := newStage(t, principal.Deny(finder))
	s.wantReport("root", "sign in as root", "arn:aws:iam::"+local.MemberAccount+":root", "service control policy")
	s.wantReport("foreign/arn:aws:sts::999999999999:assumed-role/admin/mallory", "assumed-role/admin/mallory", "account 999999999999, in which nothing was changed")

	linked, err := s.iam.CreateServiceLinkedRole(s.Ctx, &iam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("autoscaling.amazonaws.com")})
	lifecycle.Must(t, err)
	s.wantReport("role/"+aws.ToString(linked.Role.RoleName)+":"+aws.ToString(linked.Role.RoleId)+":AutoScaling", "linked to an AWS service", "session AutoScaling")

	// A permission set's role has its path, whatever path the actor was given.
	_, userID := s.role("/aws-reserved/sso.amazonaws.com/eu-west-1/", "sso.amazonaws.com", "bob@example.com")
	s.wantReport("role/"+*s.name()+":"+userID, "disable user bob@example.com", "assignment to account "+local.MemberAccount, "aws:userid is "+userID, "*:bob@example.com")

	s.wantReport("role/snapback-identity:AROAEXAMPLE:snapback-identity-1", "own role snapback-identity")
}

// A role that only looks like a permission set's is denied: the path is what AWS
// gives to nobody else.
func TestRoleNamedLikeAPermissionSetsIsDenied(t *testing.T) {
	s := newStage(t, principal.Deny(finder))
	out, err := s.iam.CreateRole(s.Ctx, &iam.CreateRoleInput{
		RoleName: aws.String("AWSReservedSSO_Evil_0123456789abcdef"), AssumeRolePolicyDocument: aws.String(fmt.Sprintf(trust, "ec2.amazonaws.com")),
	})
	lifecycle.Must(t, err)
	if c := s.Plan("role/AWSReservedSSO_Evil_0123456789abcdef:" + aws.ToString(out.Role.RoleId) + ":s"); c == nil || c.Report() {
		t.Errorf("Plan returns %+v, want a change", c)
	}
}

func TestCertificateStaysOpen(t *testing.T) {
	s := newStage(t, principal.Deny(finder))
	const serial = "00b3f5a1c2d4e6f708192a3b4c5d6e7f80"
	id, userID := s.role("/", "rolesanywhere.amazonaws.com", serial)
	c := s.Plan(id)
	if c.Report() || len(c.Left) != 1 || !strings.Contains(c.Left[0], "certificate with serial number "+serial) {
		t.Fatalf("Plan returns %+v, want a change that leaves the certificate open", c)
	}
	s.Apply(c)
	lifecycle.Same(t, "policies of the role", s.policies(*s.name()), map[string]string{"app": allow, denyName(userID): fmt.Sprintf(denial, userID)})
	open, err := s.Remedy.Verify(s.Ctx, s.Session, *c)
	lifecycle.Must(t, err)
	if open == nil || !open.Report() {
		t.Fatalf("Verify returns %+v, want a report", open)
	}
	lifecycle.Same(t, "what Verify leaves", open.Left, c.Left)
	lifecycle.Same(t, "what Plan leaves", s.Plan(id).Left, c.Left)

	id = strings.Replace(id, serial, "named-by-the-caller", 1)
	if c := s.Plan(id); len(c.Left) != 0 {
		t.Errorf("a session that is not named after a certificate leaves open: %s", c.Left)
	}
}

func TestDenialThatAKilledWorkerBeganIsFinished(t *testing.T) {
	for name, fault := range lifecycle.Kills {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, principal.Deny(finder))
			user := s.user("/")
			former := s.policy("-former")
			s.boundary(former)
			c := s.Plan(user)
			s.Killed(s.Remedy.Apply, c, "IAM.PutUserPermissionsBoundary", 1, fault)
			c = s.again(user, c)
			lifecycle.Same(t, "boundary", s.boundaryOf(*s.name()), denyAll)
			s.Undo(c)
			lifecycle.Same(t, "boundary", s.boundaryOf(*s.name()), former)

			role, userID := s.role("/", "ec2.amazonaws.com", "s")
			c = s.Plan(role)
			s.Killed(s.Remedy.Apply, c, "IAM.PutRolePolicy", 1, fault)
			c = s.again(role, c)
			lifecycle.Same(t, "denial", s.policies(*s.name())[denyName(userID)], fmt.Sprintf(denial, userID))
			s.Undo(c)
			lifecycle.Same(t, "policies of the role", s.policies(*s.name()), map[string]string{"app": allow})
		})
	}
}

// both denies the user of this test, and a session of its role.
func (s *stage) both() (user, session *control.Change) {
	s.T.Helper()
	user = s.Plan(s.user("/"))
	role, _ := s.role("/", "ec2.amazonaws.com", "s")
	session = s.Plan(role)
	s.Apply(user)
	s.Apply(session)
	return user, session
}

func TestReleaseWhoseAnswerIsLostSucceeds(t *testing.T) {
	s := newStage(t, principal.Deny(finder))
	user, session := s.both()
	// Moto has no error for a user without a boundary; IAM may have one.
	s.Proxy.Inject("IAM.DeleteUserPermissionsBoundary", 1, local.AnswerLost())
	s.Proxy.Inject("IAM.DeleteRolePolicy", 1, local.AnswerLost())
	s.Undo(user)
	s.Undo(session)
	lifecycle.Same(t, "boundary", s.boundaryOf(*s.name()), "")
	lifecycle.Same(t, "policies of the role", s.policies(*s.name()), map[string]string{"app": allow})
}

func TestReleaseIsRefusedWhereSomebodyChangedTheDenial(t *testing.T) {
	s := newStage(t, principal.Deny(finder))
	user, session := s.both()
	changed := s.policy("-changed")
	s.boundary(changed)
	for name := range s.policies(*s.name()) {
		s.put(name, forged)
	}
	lifecycle.Same(t, "the user now", string(s.wantMoved(user).Now), `{"UserName":"`+*s.name()+`","PermissionsBoundary":"`+changed+`"}`)
	if now := string(s.wantMoved(session).Now); !strings.Contains(now, `a100%`) {
		t.Errorf("the session now is shown as %s", now)
	}
}

func TestReleaseNamesWhatIsGone(t *testing.T) {
	s := newStage(t, principal.Deny(finder))
	user, session := s.both()
	s.deleteUser()
	s.deleteRole()
	lifecycle.Left(t, s.Remedy.Undo(s.Ctx, s.Session, *user), "User "+*s.name()+" no longer exists.")
	lifecycle.Left(t, s.Remedy.Undo(s.Ctx, s.Session, *session), "Role "+*s.name()+" no longer exists.")
	for _, c := range []*control.Change{user, session} {
		if open, err := s.Remedy.Verify(s.Ctx, s.Session, *c); open != nil || err != nil {
			t.Errorf("Verify returns %+v and %v for whoever is gone", open, err)
		}
	}
}

// Whoever was bounded must not be set free because his boundary was deleted while
// he was denied everything.
func TestUserWhoseFormerBoundaryIsGoneStaysDenied(t *testing.T) {
	s := newStage(t, principal.Deny(finder))
	id := s.user("/")
	former := s.policy("-former")
	s.boundary(former)
	c := s.Plan(id)
	s.Apply(c)
	_, err := s.iam.DeletePolicy(s.Ctx, &iam.DeletePolicyInput{PolicyArn: aws.String(former)})
	lifecycle.Must(t, err)
	lifecycle.Left(t, s.Remedy.Undo(s.Ctx, s.Session, *c), "Policy "+former+", which was the permissions boundary of user "+*s.name()+
		", no longer exists: he stays denied everything until he is given another one or his boundary is deleted.")
	lifecycle.Same(t, "boundary", s.boundaryOf(*s.name()), denyAll)
}

func TestFullRoleIsToldOnceAndForAll(t *testing.T) {
	s := newStage(t, principal.Deny(finder))
	id, _ := s.role("/", "ec2.amazonaws.com", "s")
	c := s.Plan(id)
	s.full("IAM.PutRolePolicy")
	wantFull(t, s.Remedy.Apply(s.Ctx, s.Session, *c))
}

func TestRoundTripsOfDenial(t *testing.T) {
	s := newStage(t, principal.Deny(finder))
	s.RoundTrips(s.user("/"), lifecycle.RoundTrips{Plan: 1, Apply: 1, Again: 1, Undo: 2})
	role, _ := s.role("/", "ec2.amazonaws.com", "s")
	s.RoundTrips(role, lifecycle.RoundTrips{Plan: 1, Apply: 1, Again: 1, Undo: 2})
}

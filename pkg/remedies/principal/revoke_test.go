package principal_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/principal"
)

const (
	revocation = `{"Version":"2012-10-17","Statement":{"Sid":"%s","Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:TokenIssueTime":"%s"}}}}`
	ofCase     = "Case20261122example0" // of the case that the tests act for
	ofEarlier  = "Case20251122example9"
	longAgo    = "2025-11-22T01:02:03Z"
)

func revoke() control.Remedy {
	enabled := true
	return principal.RevokeSessions(finder, &enabled)
}

func TestRevokeSessionsLifecycle(t *testing.T) {
	lifecycle.Remedy(t, "identity", "AWS::IAM::User", revoke(), lifecycle.Test{
		Violations: []lifecycle.Violation{
			{
				Name: "a session that is denied",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					w := newWorld(ctx, t, cfg)
					id, userID := w.role("/ci/", "ec2.amazonaws.com", "deploy-4711")
					w.put(denyName(userID), fmt.Sprintf(denial, userID))
					return id
				},
				State: stateOf,
			},
			{
				Name: "a session whose revocation was replaced",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					w := newWorld(ctx, t, cfg)
					id, userID := w.role("/", "ec2.amazonaws.com", "s")
					w.put(denyName(userID), fmt.Sprintf(denial, userID))
					w.put(revokeName(userID), forged)
					return id
				},
				State: stateOf,
			},
		},
	})
}

func TestSessionsAreRevokedUpToTheMoment(t *testing.T) {
	s := newStage(t, revoke())
	id, userID := s.role("/", "ec2.amazonaws.com", "s")
	c := s.Plan(id)
	name := revokeName(userID)
	lifecycle.Same(t, "Before", string(c.Before), fmt.Sprintf(`{"RoleName":%q,"PolicyName":%q,"Sessions":"allowed"}`, *s.name(), name))
	lifecycle.Same(t, "After", string(c.After), fmt.Sprintf(`{"RoleName":%q,"PolicyName":%q,"Sessions":"those issued before the change are denied"}`, *s.name(), name))
	start := time.Now()
	s.Apply(c)
	found := regexp.MustCompile(`"aws:TokenIssueTime":"([^"]*)"`).FindStringSubmatch(s.policies(*s.name())[name])
	if found == nil {
		t.Fatalf("the role has the policies %v", s.policies(*s.name()))
	}
	lifecycle.Same(t, "policy", s.policies(*s.name())[name], fmt.Sprintf(revocation, ofCase, found[1]))
	until, err := time.Parse(time.RFC3339, found[1])
	lifecycle.Must(t, err)
	if until.Before(start) || until.After(time.Now().Add(time.Second)) {
		t.Errorf("sessions are denied that were issued before %s; the change was made between %s and now", until, start)
	}
}

func TestSessionsAreNotRevoked(t *testing.T) {
	enabled := false
	s := newStage(t, principal.RevokeSessions(finder, &enabled))
	role, _ := s.role("/", "ec2.amazonaws.com", "s")
	wantNothing := func(id string) {
		t.Helper()
		if c := s.Plan(id); c != nil {
			t.Errorf("Plan of %s finds %s", id, c.Before)
		}
	}
	wantNothing(role)
	enabled = true
	if c := s.Plan(role); c == nil {
		t.Error("Plan finds nothing once it is enabled")
	}
	linked, err := s.iam.CreateServiceLinkedRole(s.Ctx, &iam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("es.amazonaws.com")})
	lifecycle.Must(t, err)
	for _, id := range []string{
		s.user("/"), "root", "foreign/arn:aws:iam::999999999999:user/mallory", "role/snapback-identity:AROAEXAMPLE:s",
		"role/" + aws.ToString(linked.Role.RoleName) + ":" + aws.ToString(linked.Role.RoleId) + ":s",
	} {
		wantNothing(id)
	}
}

// Sessions that were opened after an earlier case are not covered by it. They need
// not be as long as the session is denied that this is about: it did nothing since.
func TestSessionsAreRevokedAgainOnceTheirCulpritCouldAct(t *testing.T) {
	s := newStage(t, revoke())
	id, userID := s.role("/", "ec2.amazonaws.com", "s")
	earlier := fmt.Sprintf(revocation, ofEarlier, longAgo)
	s.put(revokeName(userID), earlier)
	s.put(denyName(userID), fmt.Sprintf(denial, userID))
	if c := s.Plan(id); c != nil {
		t.Errorf("the session is denied, and Plan finds %s", c.Before)
	}
	s.remove(denyName(userID))
	c := s.Plan(id)
	if c == nil {
		t.Fatal("the session's denial is gone, and Plan finds nothing")
	}
	if open, err := s.Remedy.Verify(s.Ctx, s.Session, *c); err != nil || open == nil || open.Digest() != c.Digest() {
		t.Errorf("Verify takes the earlier case's policy for this one's: %+v, %v", open, err)
	}
	s.Apply(c)
	if now := s.policies(*s.name())[revokeName(userID)]; !strings.Contains(now, ofCase) || strings.Contains(now, longAgo) {
		t.Errorf("the policy is still %s", now)
	}
	if open, err := s.Remedy.Verify(s.Ctx, s.Session, *c); open != nil || err != nil {
		t.Errorf("Verify returns %+v and %v", open, err)
	}
	s.Undo(c)
	lifecycle.Same(t, "policy", s.policies(*s.name())[revokeName(userID)], earlier)
}

func TestRevocationThatALaterCaseRenewedIsNotTakenBack(t *testing.T) {
	s := newStage(t, revoke())
	id, _ := s.role("/", "ec2.amazonaws.com", "s")
	first := s.Plan(id)
	s.Apply(first)
	second := s.Plan(id)
	second.Case = "20261123-example1"
	s.Apply(second)
	if now := string(s.wantMoved(first).Now); !strings.Contains(now, "Case20261123example1") {
		t.Errorf("the sessions now are shown as %s", now)
	}
	s.Undo(second)
	s.Undo(first)
	lifecycle.Same(t, "policies of the role", s.policies(*s.name()), map[string]string{"app": allow})
}

func TestApplyingAgainKeepsTheTime(t *testing.T) {
	s := newStage(t, revoke())
	id, userID := s.role("/", "ec2.amazonaws.com", "s")
	c := s.Plan(id)
	own := fmt.Sprintf(revocation, ofCase, longAgo)
	s.put(revokeName(userID), own)
	s.Apply(c)
	lifecycle.Same(t, "policy", s.policies(*s.name())[revokeName(userID)], own)
}

func TestSessionsOfOneRoleAreRevokedEachForItself(t *testing.T) {
	s := newStage(t, revoke())
	a, userID := s.role("/", "ec2.amazonaws.com", "a")
	b := strings.TrimSuffix(a, "a") + "b"
	first, second := s.Plan(a), s.Plan(b)
	s.Apply(first)
	s.Apply(second)
	s.Undo(second)
	policies := s.policies(*s.name())
	if len(policies) != 2 || policies[revokeName(userID)] == "" {
		t.Errorf("the role has the policies %v", policies)
	}
	s.Undo(first)
	lifecycle.Same(t, "policies of the role", s.policies(*s.name()), map[string]string{"app": allow})
}

func TestRevocationThatAKilledWorkerBeganIsFinished(t *testing.T) {
	for name, fault := range lifecycle.Kills {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, revoke())
			id, userID := s.role("/", "ec2.amazonaws.com", "s")
			s.put(denyName(userID), fmt.Sprintf(denial, userID))
			c := s.Plan(id)
			s.Killed(s.Remedy.Apply, c, "IAM.PutRolePolicy", 1, fault)
			c = s.again(id, c)
			if !strings.Contains(s.policies(*s.name())[revokeName(userID)], ofCase) {
				t.Errorf("the role has the policies %v", s.policies(*s.name()))
			}
			s.Undo(c)
			lifecycle.Same(t, "policies of the role", s.policies(*s.name()), map[string]string{"app": allow, denyName(userID): fmt.Sprintf(denial, userID)})
		})
	}
}

func TestRevocationOfARoleThatIsGone(t *testing.T) {
	s := newStage(t, revoke())
	id, _ := s.role("/", "ec2.amazonaws.com", "s")
	c := s.Plan(id)
	s.Apply(c)
	s.deleteRole()
	lifecycle.Left(t, s.Remedy.Undo(s.Ctx, s.Session, *c), "Role "+*s.name()+" no longer exists.")
	if open, err := s.Remedy.Verify(s.Ctx, s.Session, *c); open != nil || err != nil {
		t.Errorf("Verify returns %+v and %v", open, err)
	}
}

func TestRoleWithoutRoomForARevocation(t *testing.T) {
	s := newStage(t, revoke())
	id, _ := s.role("/", "ec2.amazonaws.com", "s")
	c := s.Plan(id)
	s.full("IAM.PutRolePolicy")
	wantFull(t, s.Remedy.Apply(s.Ctx, s.Session, *c))
}

func TestRoundTripsOfRevocation(t *testing.T) {
	s := newStage(t, revoke())
	id, userID := s.role("/", "ec2.amazonaws.com", "s")
	s.put(denyName(userID), fmt.Sprintf(denial, userID))
	s.RoundTrips(id, lifecycle.RoundTrips{Plan: 1, Apply: 2, Again: 1, Undo: 2})
}

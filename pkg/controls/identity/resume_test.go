package identity_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/identity"
)

// What he let himself into is shut, and so nothing is to be found any more that
// his containing could be planned for.
func TestContainingGoesOnWhenTheGrantIsTakenBack(t *testing.T) {
	c := newCourt(t)
	c.user("alice")
	c.do(c.iam.CreateAccessKey(c.Ctx, &iam.CreateAccessKeyInput{UserName: aws.String("alice")}))
	roleID := c.role("admin", lets(byLambda), everything)
	decided := control.Change{Target: c.Target("user/team/alice UpdateAssumeRolePolicy role/admin"), Reason: "She let herself in."}
	touched := map[string]string{
		"deny-principal": here + "user/team/alice", "deactivate-access-keys": here + "user/team/alice", "revoke-role-sessions": here + "role/admin",
	}
	for _, step := range identity.Domain().Runbooks[0].Steps {
		r := step.Remedy
		if r.Resume == nil {
			continue
		}
		planned, err := r.Plan(c.Ctx, c.Session, decided.Target)
		lifecycle.Must(t, err)
		resumed, err := r.Resume(c.Ctx, c.Session, decided)
		lifecycle.Must(t, err)
		if planned != nil || resumed == nil || resumed.Report() || resumed.Reason != decided.Reason || strings.Join(resumed.Touches, " ") != touched[r.Name] {
			t.Errorf("%s: Plan finds %+v, Resume %+v; want nothing, and a change of %s", r.Name, planned, resumed, touched[r.Name])
		}
		delete(touched, r.Name)
	}
	if len(touched) > 0 {
		t.Errorf("without Resume: %v", touched)
	}
	c.do(c.iam.DeleteRolePolicy(c.Ctx, &iam.DeleteRolePolicyInput{RoleName: aws.String("admin"), PolicyName: aws.String("own-1")}))
	c.do(c.iam.DeleteRole(c.Ctx, &iam.DeleteRoleInput{RoleName: aws.String("admin")}))
	last := identity.Domain().Runbooks[0].Steps[3].Remedy
	if resumed, err := last.Resume(c.Ctx, c.Session, decided); resumed != nil || err != nil {
		t.Errorf("role %s is gone, and Resume finds %+v (%v)", roleID, resumed, err)
	}
}

// He gave himself the policy before the denial held: it would be his once he is
// released.
func TestGrantOfOneWhoIsContainedIsOneStill(t *testing.T) {
	c := newCourt(t)
	c.user("alice", everything)
	c.do(c.iam.PutUserPermissionsBoundary(c.Ctx, &iam.PutUserPermissionsBoundaryInput{
		UserName: aws.String("alice"), PermissionsBoundary: aws.String("arn:aws:iam::aws:policy/AWSDenyAll"),
	}))
	e, err := c.judge("user/team/alice PutUserPolicy user/team/alice own-1")
	lifecycle.Must(t, err)
	if e == nil || len(e.Back.Edits) != 1 {
		t.Errorf("got %+v, want an escalation that can be taken back", e)
	}
}

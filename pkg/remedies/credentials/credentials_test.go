package credentials_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/credentials"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
)

const (
	trust  = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}`
	allow  = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`
	denial = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:userid":"%s:%s"}}}}`
	// forged has the right name and denies nothing; its blanks must come back.
	forged = "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": {\"Effect\": \"Allow\", \"Action\": \"*\", \"Resource\": \"*\", \"Sid\": \"a100%\"}\n}\n"
)

func TestMain(m *testing.M) { lifecycle.Main(m) }

func TestLifecycle(t *testing.T) {
	lifecycle.Remedy(t, "response", instance.Resource().Type, credentials.Remedy(), lifecycle.Test{
		// Nothing is gone for Apply: the credentials of an instance outlive it, and so
		// does its role. TestInstanceThatIsGone has Plan's side.
		Violations: []lifecycle.Violation{
			{
				Name: "an instance with a role",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					w := world{ctx, t, cfg}
					w.role("web", "/")
					return w.launch(w.profile("web", "web"))
				},
				State: policiesOf,
			},
			{
				Name: "an instance whose denial was replaced",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					w := world{ctx, t, cfg}
					w.role("batch", "/")
					id := w.launch(w.profile("batch", "batch"))
					w.put("batch", "snapback-quarantine-"+id, forged)
					return id
				},
				State: policiesOf,
			},
		},
	})
}

func TestPolicyDeniesEverythingToThisInstanceAlone(t *testing.T) {
	s := newStage(t)
	arn, roleID := s.role("alone", "/app/")
	id := s.launch(s.profile("alone", "alone"))
	c := s.Plan(id)
	lifecycle.Same(t, "Touches", c.Touches, []string{arn})
	lifecycle.Same(t, "Reason", c.Reason, "Instance "+id+" may do what its role alone allows.")
	lifecycle.Same(t, "Before", string(c.Before), fmt.Sprintf(`{"RoleName":"alone","PolicyName":"snapback-quarantine-%s","PolicyDocument":null}`, id))
	s.Apply(c)
	lifecycle.Same(t, "policies of the role", s.policies("alone"), map[string]string{
		"app": allow, "snapback-quarantine-" + id: fmt.Sprintf(denial, roleID, id),
	})
}

func TestInstancesOfOneRoleDoNotTouchEachOther(t *testing.T) {
	s := newStage(t)
	_, roleID := s.role("shared", "/")
	arn := s.profile("shared", "shared")
	a, b := s.launch(arn), s.launch(arn)
	changes := []*control.Change{s.Plan(a), s.Plan(b)}
	var side sync.WaitGroup
	for _, c := range changes {
		side.Go(func() {
			if err := s.Remedy.Apply(s.Ctx, s.Session, *c); err != nil {
				t.Error(err)
			}
		})
	}
	side.Wait()
	for _, id := range []string{a, b} {
		if c := s.Plan(id); c != nil {
			t.Errorf("Plan still finds: %s", c.Reason)
		}
	}
	lifecycle.Must(t, s.Remedy.Undo(s.Ctx, s.Session, *changes[0]))
	lifecycle.Same(t, "policies of the role", s.policies("shared"), map[string]string{
		"app": allow, "snapback-quarantine-" + b: fmt.Sprintf(denial, roleID, b),
	})
}

func TestInstanceWithoutARoleHasNothingToCut(t *testing.T) {
	s := newStage(t)
	for name, id := range map[string]string{
		"no instance profile":               s.launch(""),
		"an instance profile without roles": s.launch(s.profile("empty")),
	} {
		if c := s.Plan(id); c != nil {
			t.Errorf("%s: Plan finds: %s", name, c.Reason)
		}
	}
}

func TestRoleThatNobodyMayEditIsReported(t *testing.T) {
	s := newStage(t)
	linked, err := s.iam.CreateServiceLinkedRole(s.Ctx, &iam.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("autoscaling.amazonaws.com")})
	lifecycle.Must(t, err)
	const permissionSet = "AWSReservedSSO_Admin_0123456789abcdef"
	sso, _ := s.role(permissionSet, "/aws-reserved/sso.amazonaws.com/eu-west-1/")
	for name, arn := range map[string]string{aws.ToString(linked.Role.RoleName): aws.ToString(linked.Role.Arn), permissionSet: sso} {
		id := s.launch(s.profile("of-"+name, name))
		before := s.policies(name)
		c := s.Plan(id)
		if c == nil || !c.Report() {
			t.Fatalf("%s: Plan returns %+v, want a report", name, c)
		}
		lifecycle.Same(t, "Left", c.Left, []string{"The credentials of instance " + id + " still hold: AWS lets nobody edit its role " + arn + "."})
		lifecycle.Same(t, "policies of "+name, s.policies(name), before)
	}
}

func TestInstanceProfileThatWasDeletedIsReported(t *testing.T) {
	s := newStage(t)
	arn := s.profile("deleted")
	id := s.launch(arn)
	_, err := s.iam.DeleteInstanceProfile(s.Ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: aws.String("deleted")})
	lifecycle.Must(t, err)
	c := s.Plan(id)
	if c == nil || !c.Report() || len(c.Left) != 1 || !strings.Contains(c.Left[0], arn) {
		t.Errorf("Plan returns %+v, want a report that names %s", c, arn)
	}
}

func TestInstanceThatIsGone(t *testing.T) {
	s := newStage(t)
	s.role("gone", "/")
	id := s.launch(s.profile("gone", "gone"))
	c := s.Plan(id)
	s.Apply(c)
	_, err := s.ec2.TerminateInstances(s.Ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	lifecycle.Must(t, err)
	for _, gone := range []string{id, "i-0123456789abcdef0"} {
		if _, err := s.Remedy.Plan(s.Ctx, s.Session, s.Target(gone)); !errors.Is(err, control.ErrGone) {
			t.Errorf("Plan of %s: want control.ErrGone, got %v", gone, err)
		}
	}
	s.Undo(c)
	lifecycle.Same(t, "policies of the role", s.policies("gone"), map[string]string{"app": allow})
}

func TestKilledWorkerIsFinished(t *testing.T) {
	for name, fault := range lifecycle.Kills {
		t.Run(name+" the only call", func(t *testing.T) {
			s := newStage(t)
			role := "killed-" + name
			s.role(role, "/")
			id := s.launch(s.profile(role, role))
			c := s.Plan(id)
			s.Killed(s.Remedy.Apply, c, "IAM.PutRolePolicy", 1, fault)
			if again := s.Plan(id); again != nil {
				lifecycle.Same(t, "the plan that finishes it", again, c)
				s.Apply(c)
			}
			if last := s.Plan(id); last != nil {
				t.Errorf("Plan still finds: %s", last.Reason)
			}
			s.Undo(c)
			lifecycle.Same(t, "policies of the role", s.policies(role), map[string]string{"app": allow})
		})
	}
}

func TestUndoWhoseAnswerIsLostSucceeds(t *testing.T) {
	s := newStage(t)
	s.role("lost", "/")
	id := s.launch(s.profile("lost", "lost"))
	c := s.Plan(id)
	s.Apply(c)
	s.Proxy.Inject("IAM.DeleteRolePolicy", 1, local.AnswerLost())
	s.Undo(c)
	lifecycle.Same(t, "policies of the role", s.policies("lost"), map[string]string{"app": allow})
}

func TestUndoNamesARoleThatIsGone(t *testing.T) {
	s := newStage(t)
	s.role("removed", "/")
	id := s.launch(s.profile("removed", "removed"))
	c := s.Plan(id)
	s.Apply(c)
	_, err := s.iam.RemoveRoleFromInstanceProfile(s.Ctx, &iam.RemoveRoleFromInstanceProfileInput{
		InstanceProfileName: aws.String("removed"), RoleName: aws.String("removed"),
	})
	lifecycle.Must(t, err)
	for name := range s.policies("removed") {
		_, err := s.iam.DeleteRolePolicy(s.Ctx, &iam.DeleteRolePolicyInput{RoleName: aws.String("removed"), PolicyName: aws.String(name)})
		lifecycle.Must(t, err)
	}
	_, err = s.iam.DeleteRole(s.Ctx, &iam.DeleteRoleInput{RoleName: aws.String("removed")})
	lifecycle.Must(t, err)
	lifecycle.Left(t, s.Remedy.Undo(s.Ctx, s.Session, *c), "Role removed no longer exists, and its policy snapback-quarantine-"+id+" neither.")
}

// The engine keeps the first Before and the newest After: a worker that was
// killed may have planned for a role that the instance no longer has.
func TestUndoNamesTheRoleThatAKilledWorkerMayHaveChanged(t *testing.T) {
	s := newStage(t)
	s.role("first", "/")
	s.role("second", "/")
	id := s.launch(s.profile("swapped", "first"))
	first := s.Plan(id)
	_, err := s.iam.RemoveRoleFromInstanceProfile(s.Ctx, &iam.RemoveRoleFromInstanceProfileInput{
		InstanceProfileName: aws.String("swapped"), RoleName: aws.String("first"),
	})
	lifecycle.Must(t, err)
	_, err = s.iam.AddRoleToInstanceProfile(s.Ctx, &iam.AddRoleToInstanceProfileInput{
		InstanceProfileName: aws.String("swapped"), RoleName: aws.String("second"),
	})
	lifecycle.Must(t, err)
	c := s.Plan(id)
	c.Before = first.Before
	s.Apply(c)
	lifecycle.Left(t, s.Remedy.Undo(s.Ctx, s.Session, *c), "Role first may still have policy snapback-quarantine-"+id+
		": instance "+id+" was given another role while its credentials were cut.")
	lifecycle.Same(t, "policies of the role", s.policies("second"), map[string]string{"app": allow})
}

func TestUndoIsRefusedWhereThePolicyWasChanged(t *testing.T) {
	s := newStage(t)
	s.role("changed", "/")
	id := s.launch(s.profile("changed", "changed"))
	c := s.Plan(id)
	s.Apply(c)
	s.put("changed", "snapback-quarantine-"+id, forged)
	var moved *control.MovedError
	if err := s.Remedy.Undo(s.Ctx, s.Session, *c); !errors.As(err, &moved) {
		t.Fatalf("want a *control.MovedError, got %v", err)
	}
	text, err := json.Marshal(forged)
	lifecycle.Must(t, err)
	if !strings.Contains(string(moved.Now), string(text)) {
		t.Errorf("the state now is shown as %s, want the policy %s", moved.Now, text)
	}
	lifecycle.Same(t, "policies of the role", s.policies("changed"), map[string]string{"app": allow, "snapback-quarantine-" + id: forged})
}

// Moto counts no characters; the stand-in answers as IAM does, with status 409.
func TestFullRoleIsToldOnceAndForAll(t *testing.T) {
	s := newStage(t)
	s.role("full", "/")
	id := s.launch(s.profile("full", "full"))
	c := s.Plan(id)
	s.Proxy.Inject("IAM.PutRolePolicy", 1, local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
		x.Answer(local.Answer{Status: http.StatusConflict, Header: http.Header{"Content-Type": {"text/xml"}}, Body: []byte(
			`<ErrorResponse><Error><Type>Sender</Type><Code>LimitExceeded</Code><Message>Maximum policy size of 10240 bytes exceeded for role full</Message></Error></ErrorResponse>`)})
	}})
	err := s.Remedy.Apply(s.Ctx, s.Session, *c)
	if !cloud.Is(err, "LimitExceeded") || !cloud.Permanent(err) {
		t.Fatalf("want LimitExceeded for good, got %v", err)
	}
	for _, want := range []string{"role full", "10240", "room for 60", "deny the whole role by hand"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

func TestDeniedReadIsAnError(t *testing.T) {
	s := newStage(t)
	s.role("denied", "/")
	id := s.launch(s.profile("denied", "denied"))
	for _, call := range []string{"IAM.GetInstanceProfile", "IAM.GetRolePolicy"} {
		s.Proxy.Clear()
		s.Proxy.Inject(call, 1, local.Denied())
		if _, err := s.Remedy.Plan(s.Ctx, s.Session, s.Target(id)); !cloud.Is(err, "AccessDenied") {
			t.Errorf("%s denied: Plan returns %v", call, err)
		}
	}
}

func TestRoundTrips(t *testing.T) {
	s := newStage(t)
	s.role("counted", "/")
	id := s.launch(s.profile("counted", "counted"))
	s.RoundTrips(id, lifecycle.RoundTrips{Plan: 3, Apply: 1, Again: 3, Undo: 2})
}

// world makes what the tests work on, as the member itself.
type world struct {
	ctx context.Context
	t   *testing.T
	cfg aws.Config
}

// role makes a role with one inline policy, and returns its ARN and ID.
func (w world) role(name, path string) (arn, id string) {
	w.t.Helper()
	out, err := iam.NewFromConfig(w.cfg).CreateRole(w.ctx, &iam.CreateRoleInput{
		RoleName: aws.String(name), Path: aws.String(path), AssumeRolePolicyDocument: aws.String(trust),
	})
	lifecycle.Must(w.t, err)
	w.put(name, "app", allow)
	return aws.ToString(out.Role.Arn), aws.ToString(out.Role.RoleId)
}

func (w world) put(role, name, document string) {
	w.t.Helper()
	_, err := iam.NewFromConfig(w.cfg).PutRolePolicy(w.ctx, &iam.PutRolePolicyInput{
		RoleName: aws.String(role), PolicyName: aws.String(name), PolicyDocument: aws.String(document),
	})
	lifecycle.Must(w.t, err)
}

// profile makes an instance profile, and returns its ARN.
func (w world) profile(name string, roles ...string) string {
	w.t.Helper()
	client := iam.NewFromConfig(w.cfg)
	out, err := client.CreateInstanceProfile(w.ctx, &iam.CreateInstanceProfileInput{
		InstanceProfileName: aws.String(name), Path: aws.String("/fleet/"),
	})
	lifecycle.Must(w.t, err)
	for _, role := range roles {
		_, err := client.AddRoleToInstanceProfile(w.ctx, &iam.AddRoleToInstanceProfileInput{
			InstanceProfileName: aws.String(name), RoleName: aws.String(role),
		})
		lifecycle.Must(w.t, err)
	}
	return aws.ToString(out.InstanceProfile.Arn)
}

// launch starts an instance; an empty profile is none.
func (w world) launch(profile string) string {
	w.t.Helper()
	in := &ec2.RunInstancesInput{ImageId: aws.String("ami-12c6146b"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}
	if profile != "" {
		in.IamInstanceProfile = &ec2types.IamInstanceProfileSpecification{Arn: aws.String(profile)}
	}
	out, err := ec2.NewFromConfig(w.cfg).RunInstances(w.ctx, in)
	lifecycle.Must(w.t, err)
	return aws.ToString(out.Instances[0].InstanceId)
}

// policies are the inline policies of a role, by name.
func (w world) policies(role string) map[string]string {
	w.t.Helper()
	client := iam.NewFromConfig(w.cfg)
	names, err := client.ListRolePolicies(w.ctx, &iam.ListRolePoliciesInput{RoleName: aws.String(role)})
	lifecycle.Must(w.t, err)
	policies := map[string]string{}
	for _, name := range names.PolicyNames {
		out, err := client.GetRolePolicy(w.ctx, &iam.GetRolePolicyInput{RoleName: aws.String(role), PolicyName: aws.String(name)})
		lifecycle.Must(w.t, err)
		policies[name], err = url.PathUnescape(aws.ToString(out.PolicyDocument))
		lifecycle.Must(w.t, err)
	}
	return policies
}

// policiesOf are the inline policies of all roles.
func policiesOf(ctx context.Context, t *testing.T, cfg aws.Config, _ string) any {
	t.Helper()
	roles, err := iam.NewFromConfig(cfg).ListRoles(ctx, &iam.ListRolesInput{})
	lifecycle.Must(t, err)
	all := map[string]any{}
	for _, r := range roles.Roles {
		all[aws.ToString(r.RoleName)] = world{ctx, t, cfg}.policies(aws.ToString(r.RoleName))
	}
	return lifecycle.Comparable(all)
}

// stage is the shared one, with a world in its member account and the member's
// own clients.
type stage struct {
	*lifecycle.Stage
	world
	iam *iam.Client
	ec2 *ec2.Client
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := lifecycle.NewStage(t, "response", instance.Resource().Type, credentials.Remedy())
	return &stage{s, world{s.Ctx, t, s.Member}, iam.NewFromConfig(s.Member), ec2.NewFromConfig(s.Member)}
}

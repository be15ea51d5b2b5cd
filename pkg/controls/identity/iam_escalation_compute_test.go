package identity_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/identity"
)

const (
	typeGrant  = "AWS::IAM::Grant"
	escalated  = "User alice started something with a role that is administrator."
	passedRole = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":["ec2.amazonaws.com","lambda.amazonaws.com"]},"Action":"sts:AssumeRole"}}`
)

func TestStopComputeLifecycle(t *testing.T) {
	lifecycle.Remedy(t, "identity", typeGrant, identity.StopCompute(new(escalated)), lifecycle.Test{
		Gone: createOf("gone"),
		Violations: []lifecycle.Violation{
			{
				Name: "an instance",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					return runOf(starter{ctx, t, cfg}.launch("admin"))
				},
				State: startedState,
			},
			{
				Name: "a function without reserved concurrency",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					return createOf(starter{ctx, t, cfg}.function("free", "lambda-free"))
				},
				State: startedState,
			},
			{
				Name: "a function with reserved concurrency",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					s := starter{ctx, t, cfg}
					name := s.function("reserved", "lambda-reserved")
					s.reserve(name, 5)
					return createOf(name)
				},
				State: startedState,
			},
		},
	})
}

// runOf and createOf are the IDs of grants: who called what, with what passed, and
// what that started.
func runOf(instance string) string { return "user/alice RunInstances profile/fleet/admin " + instance }

func createOf(function string) string {
	return "user/alice CreateFunction20150331 role/app/lambda-" + function + " " + function
}

func TestChangeSaysWhatRunsWithWhichRole(t *testing.T) {
	s := newComputeStage(t, escalated)
	id := s.launch("told")
	grant := "user/alice RunInstances profile/told " + id // the call named the profile without its path
	c := s.Plan(grant)
	lifecycle.Same(t, "Reason", c.Reason, escalated+" Instance "+id+" runs with profile/told.")
	lifecycle.Same(t, "Before", string(c.Before), `{"InstanceState":"running"}`)
	lifecycle.Same(t, "After", string(c.After), `{"InstanceState":"stopped"}`)
	lifecycle.Same(t, "Touches", c.Touches, []string{"arn:aws:ec2:us-east-1:222222222222:instance/" + id})

	c = s.Plan(createOf(s.function("says", "lambda-says")))
	lifecycle.Same(t, "Reason", c.Reason, escalated+" Function says runs with role/app/lambda-says.")
	lifecycle.Same(t, "Before", string(c.Before), `{"ReservedConcurrentExecutions":null}`)
	lifecycle.Same(t, "After", string(c.After), `{"ReservedConcurrentExecutions":0}`)
	lifecycle.Same(t, "Touches", c.Touches, []string{"arn:aws:lambda:us-east-1:222222222222:function:says"})
}

func TestNothingIsStoppedThatIsNoEscalation(t *testing.T) {
	s := newComputeStage(t, "")
	id, name := s.launch("innocent"), s.function("innocent", "lambda-innocent")
	s.finds("the judge finds nothing", nil, runOf(id), createOf(name))
	*s.reason = escalated
	s.finds("it runs with another role", nil, "user/alice RunInstances profile/other "+id,
		"user/alice CreateFunction20150331 role/other "+name)
	bare := s.launch("")
	s.finds("it runs without a role", nil, runOf(bare))
	s.reserve(name, 0)
	_, err := s.ec2.StopInstances(s.Ctx, &ec2.StopInstancesInput{InstanceIds: []string{id}})
	lifecycle.Must(t, err)
	s.finds("it is stopped already", nil, "user/alice RunInstances profile/fleet/innocent "+id, createOf(name))
}

// Moto's instances are never on their way: the answer is rewritten.
func TestInstanceOnItsWayCountsAsThere(t *testing.T) {
	s := newComputeStage(t, escalated)
	id := s.launch("on-its-way")
	grant := "user/alice RunInstances profile/on-its-way " + id
	s.Rewrite("EC2.DescribeInstances", "<name>running</name>", "<name>pending</name>")
	c := s.Plan(grant)
	lifecycle.Same(t, "Before of a pending instance", string(c.Before), `{"InstanceState":"running"}`)
	s.Proxy.Clear()
	s.Rewrite("EC2.DescribeInstances", "<name>running</name>", "<name>stopping</name>")
	s.finds("it is stopping", nil, grant)
	open, err := s.Remedy.Verify(s.Ctx, s.Session, *c)
	lifecycle.Must(t, err)
	if open != nil {
		t.Errorf("Verify finds %s open of a stopping instance", open.Before)
	}
}

// EC2 refuses to stop an instance that has never run; moto has none.
func TestInstanceThatCannotBeStoppedYetIsTriedAgain(t *testing.T) {
	s := newComputeStage(t, escalated)
	id := s.launch("early")
	c := s.Plan("user/alice RunInstances profile/early " + id)
	s.Refuse("EC2.StopInstances", 1, http.StatusBadRequest, "IncorrectInstanceState")
	err := s.Remedy.Apply(s.Ctx, s.Session, *c)
	if err == nil || cloud.Permanent(err) {
		t.Fatalf("want an error that is worth a retry, got %v", err)
	}
	s.Apply(c)
	lifecycle.Same(t, "state", s.state(id), ec2types.InstanceStateNameStopped)
}

func TestProtectedInstanceIsToldInAWSsWords(t *testing.T) {
	s := newComputeStage(t, escalated)
	id := s.launch("guarded")
	_, err := s.ec2.ModifyInstanceAttribute(s.Ctx, &ec2.ModifyInstanceAttributeInput{
		InstanceId: aws.String(id), DisableApiStop: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)},
	})
	lifecycle.Must(t, err)
	err = s.Remedy.Apply(s.Ctx, s.Session, *s.Plan("user/alice RunInstances profile/guarded " + id))
	if !cloud.Is(err, "OperationNotPermitted") || !cloud.Permanent(err) || !strings.Contains(err.Error(), "disableApiStop") {
		t.Errorf("want that stop protection is on, got %v", err)
	}
}

func TestStoppedIsVerifiedWithoutItsReason(t *testing.T) {
	s := newComputeStage(t, escalated)
	id := s.launch("verified")
	c := s.Plan("user/alice RunInstances profile/verified " + id)
	s.Apply(c)
	*s.reason = "" // the actor has been contained
	open, err := s.Remedy.Verify(s.Ctx, s.Session, *c)
	lifecycle.Must(t, err)
	if open != nil {
		t.Errorf("Verify finds %s open", open.Before)
	}
	_, err = s.ec2.StartInstances(s.Ctx, &ec2.StartInstancesInput{InstanceIds: []string{id}})
	lifecycle.Must(t, err)
	open, err = s.Remedy.Verify(s.Ctx, s.Session, *c)
	lifecycle.Must(t, err)
	if open == nil || open.Digest() != c.Digest() {
		t.Errorf("Verify of an instance that was started again finds %+v, want %+v", open, c)
	}
}

func TestUndoIsRefusedWhereTheConcurrencyWasChanged(t *testing.T) {
	s := newComputeStage(t, escalated)
	name := s.function("moved", "lambda-moved")
	c := s.Plan(createOf(name))
	s.Apply(c)
	s.reserve(name, 7)
	var moved *control.MovedError
	if err := s.Remedy.Undo(s.Ctx, s.Session, *c); !errors.As(err, &moved) || string(moved.Now) != `{"ReservedConcurrentExecutions":7}` {
		t.Errorf("want a *control.MovedError with concurrency 7, got %v", err)
	}
}

func TestWhatWasStartedIsGone(t *testing.T) {
	s := newComputeStage(t, escalated)
	id, name := s.launch("ended"), s.function("ended", "lambda-ended")
	grants := []string{"user/alice RunInstances profile/ended " + id, createOf(name)}
	changes := []*control.Change{s.Plan(grants[0]), s.Plan(grants[1])}
	_, err := s.ec2.TerminateInstances(s.Ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	lifecycle.Must(t, err)
	_, err = s.lambda.DeleteFunction(s.Ctx, &awslambda.DeleteFunctionInput{FunctionName: aws.String(name)})
	lifecycle.Must(t, err)
	for i, grant := range grants {
		if _, err := s.Remedy.Plan(s.Ctx, s.Session, s.Target(grant)); !errors.Is(err, control.ErrGone) {
			t.Errorf("Plan of %s: want control.ErrGone, got %v", grant, err)
		}
		if _, err := s.Remedy.Verify(s.Ctx, s.Session, *changes[i]); !errors.Is(err, control.ErrGone) {
			t.Errorf("Verify of %s: want control.ErrGone, got %v", grant, err)
		}
		if err := s.Remedy.Undo(s.Ctx, s.Session, *changes[i]); !errors.Is(err, control.ErrGone) {
			t.Errorf("Undo of %s: want control.ErrGone, got %v", grant, err)
		}
	}
	if err := s.Remedy.Apply(s.Ctx, s.Session, *changes[1]); !errors.Is(err, control.ErrGone) {
		t.Errorf("Apply: want control.ErrGone, got %v", err)
	}
}

func TestOtherComputeIsReported(t *testing.T) {
	s := newComputeStage(t, escalated)
	const stack = "arn:aws:cloudformation:us-east-1:222222222222:stack/s/5e1f"
	s.finds("a stack", []string{
		"What CreateStack started with role/admin still runs (" + stack + "), and Snapback stops instances and functions alone: stop or delete it by hand.",
	}, "user/alice CreateStack role/admin "+stack)
	s.finds("a job whose name the call does not tell", []string{
		"What CreateJob started with role/admin still runs (the record of the call tells what it is), and Snapback stops instances and functions alone: stop or delete it by hand.",
	}, "user/alice CreateJob role/admin")
}

func TestComputeRunbookAnswersNoCallOfIAM(t *testing.T) {
	d := identity.Domain()
	for _, r := range d.Runbooks {
		if r.ID != "iam-escalation-compute" {
			continue
		}
		if len(r.Triggers) == 0 {
			t.Error("it answers no call")
		}
		for _, trigger := range r.Triggers {
			if trigger.Source == "iam.amazonaws.com" {
				t.Errorf("it answers %v of IAM", trigger.Names)
			}
		}
	}
}

func TestStopComputeRoundTrips(t *testing.T) {
	s := newComputeStage(t, escalated)
	s.RoundTrips(createOf(s.function("counted", "lambda-counted")), lifecycle.RoundTrips{Plan: 1, Apply: 1, Again: 1, Undo: 2})
}

// starter starts what the tests work on, as the member itself.
type starter struct {
	ctx context.Context
	t   *testing.T
	cfg aws.Config
}

func (s starter) role(name string) string {
	s.t.Helper()
	out, err := iam.NewFromConfig(s.cfg).CreateRole(s.ctx, &iam.CreateRoleInput{
		RoleName: aws.String(name), Path: aws.String("/app/"), AssumeRolePolicyDocument: aws.String(passedRole),
	})
	lifecycle.Must(s.t, err)
	return aws.ToString(out.Role.Arn)
}

// launch starts an instance with an instance profile of that name; an empty one
// is none.
func (s starter) launch(profile string) string {
	s.t.Helper()
	in := &ec2.RunInstancesInput{ImageId: aws.String("ami-12c6146b"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}
	if profile != "" {
		s.role(profile)
		client := iam.NewFromConfig(s.cfg)
		out, err := client.CreateInstanceProfile(s.ctx, &iam.CreateInstanceProfileInput{
			InstanceProfileName: aws.String(profile), Path: aws.String("/fleet/"),
		})
		lifecycle.Must(s.t, err)
		_, err = client.AddRoleToInstanceProfile(s.ctx, &iam.AddRoleToInstanceProfileInput{
			InstanceProfileName: aws.String(profile), RoleName: aws.String(profile),
		})
		lifecycle.Must(s.t, err)
		in.IamInstanceProfile = &ec2types.IamInstanceProfileSpecification{Arn: out.InstanceProfile.Arn}
	}
	out, err := ec2.NewFromConfig(s.cfg).RunInstances(s.ctx, in)
	lifecycle.Must(s.t, err)
	return aws.ToString(out.Instances[0].InstanceId)
}

func (s starter) state(instance string) ec2types.InstanceStateName {
	s.t.Helper()
	out, err := ec2.NewFromConfig(s.cfg).DescribeInstances(s.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{instance}})
	lifecycle.Must(s.t, err)
	return out.Reservations[0].Instances[0].State.Name
}

// function creates a function with a new role, and returns its name.
func (s starter) function(name, role string) string {
	s.t.Helper()
	var code bytes.Buffer
	w := zip.NewWriter(&code)
	f, err := w.Create("index.py")
	lifecycle.Must(s.t, err)
	_, err = f.Write([]byte("def handler(event, context): pass\n"))
	lifecycle.Must(s.t, err)
	lifecycle.Must(s.t, w.Close())
	_, err = awslambda.NewFromConfig(s.cfg).CreateFunction(s.ctx, &awslambda.CreateFunctionInput{
		FunctionName: aws.String(name), Role: aws.String(s.role(role)), Handler: aws.String("index.handler"),
		Runtime: lambdatypes.RuntimePython313, Code: &lambdatypes.FunctionCode{ZipFile: code.Bytes()},
	})
	// Moto's first one may take longer than the SDK waits, which then asks again.
	if err != nil && !cloud.Is(err, "ResourceConflictException") {
		s.t.Fatal(err)
	}
	return name
}

func (s starter) reserve(function string, concurrency int32) {
	s.t.Helper()
	_, err := awslambda.NewFromConfig(s.cfg).PutFunctionConcurrency(s.ctx, &awslambda.PutFunctionConcurrencyInput{
		FunctionName: aws.String(function), ReservedConcurrentExecutions: aws.Int32(concurrency),
	})
	lifecycle.Must(s.t, err)
}

// startedState is what the remedy could touch of what a grant started.
func startedState(ctx context.Context, t *testing.T, cfg aws.Config, grant string) any {
	t.Helper()
	id := grant[strings.LastIndexByte(grant, ' ')+1:]
	if strings.HasPrefix(id, "i-") {
		out, err := ec2.NewFromConfig(cfg).DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
		lifecycle.Must(t, err)
		in := out.Reservations[0].Instances[0]
		return lifecycle.Comparable([]any{in.State, in.IamInstanceProfile, in.SecurityGroups, in.BlockDeviceMappings, in.Tags})
	}
	client := awslambda.NewFromConfig(cfg)
	function, err := client.GetFunctionConfiguration(ctx, &awslambda.GetFunctionConfigurationInput{FunctionName: aws.String(id)})
	lifecycle.Must(t, err)
	reserved, err := client.GetFunctionConcurrency(ctx, &awslambda.GetFunctionConcurrencyInput{FunctionName: aws.String(id)})
	lifecycle.Must(t, err)
	return lifecycle.Comparable([]any{function.Role, function.CodeSha256, function.Runtime, function.Timeout, reserved.ReservedConcurrentExecutions})
}

// computeStage is the shared stage with the member's own clients and the reason
// that the planted judge gives.
type computeStage struct {
	*lifecycle.Stage
	starter
	ec2    *ec2.Client
	lambda *awslambda.Client
	reason *string
}

func newComputeStage(t *testing.T, reason string) *computeStage {
	t.Helper()
	lifecycle.Must(t, lifecycle.AWS(t).Reset(t.Context()))
	s := lifecycle.NewStage(t, "identity", typeGrant, identity.StopCompute(&reason))
	return &computeStage{
		s, starter{s.Ctx, t, s.Member}, ec2.NewFromConfig(s.Member), awslambda.NewFromConfig(s.Member), &reason,
	}
}

// finds wants Plan to find nothing on any of the grants or, if sentences are
// given, a report that leaves these.
func (s *computeStage) finds(what string, left []string, grants ...string) {
	s.T.Helper()
	for _, grant := range grants {
		c := s.Plan(grant)
		switch {
		case c == nil && left != nil, c != nil && (left == nil || !c.Report()):
			s.T.Errorf("%s: Plan of %s returns %+v", what, grant, c)
		case c != nil:
			lifecycle.Same(s.T, what+": Left", c.Left, left)
			lifecycle.Same(s.T, what+": Reason", c.Reason, escalated)
		}
	}
}

package preserve_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
	"github.com/snapback-aws/snapback/pkg/remedies/preserve"
)

const modify = "EC2.ModifyInstanceAttribute"

// server is the AWS of all tests but the lifecycle's, each of which works on
// instances of its own.
var server *local.AWS

func TestMain(m *testing.M) {
	var err error
	if server, err = local.StartAWS(context.Background()); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	code := m.Run()
	server.Close()
	os.Exit(code)
}

func TestLifecycle(t *testing.T) {
	remedy := preserve.Remedy()
	lifecycle.Remedy(t, "response", instance.Resource().Type, remedy, lifecycle.Test{
		Gone: "i-0123456789abcdef0",
		Violations: []lifecycle.Violation{
			{Name: "an instance that nothing protects", Make: unprotected, State: whole},
			{
				Name: "an instance with one volume that goes with it",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					return protected(ctx, t, cfg, disk("/dev/sda1", false), disk("/dev/sdf", true))
				},
				State: whole,
			},
			{Name: "a Spot Instance", Make: spot, State: whole},
		},
	})
}

// The world after Apply: the instance can't be terminated, and its volumes
// would outlive it.
func TestPreservedInstanceCannotBeTerminated(t *testing.T) {
	s := newStage(t)
	id := unprotected(s.ctx, t, s.member)
	s.apply(s.plan(id))
	_, err := s.ec2.TerminateInstances(s.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	if !cloud.Is(err, "OperationNotPermitted") {
		t.Errorf("terminating it: want OperationNotPermitted, got %v", err)
	}
	for _, m := range s.describe(id).BlockDeviceMappings {
		if aws.ToBool(m.Ebs.DeleteOnTermination) {
			t.Errorf("volume %s is still deleted on termination", aws.ToString(m.Ebs.VolumeId))
		}
	}
}

func TestPlanTellsWhatIsWrong(t *testing.T) {
	s := newStage(t)
	id := unprotected(s.ctx, t, s.member)
	c := s.plan(id)
	a, b := s.volumeAt(id, "/dev/sda1"), s.volumeAt(id, "/dev/sdf")
	first, second := min(a, b), max(a, b)
	want := fmt.Sprintf("Instance %s can be terminated by a call, is terminated by a shutdown from within, "+
		"takes its volumes with it when it is terminated: %s and %s.", id, first, second)
	if c.Reason != want {
		t.Errorf("reason\n%s\nwant\n%s", c.Reason, want)
	}
	same(t, "Before", string(c.Before), fmt.Sprintf(
		`{"Attributes":{"disableApiTermination":"false","instanceInitiatedShutdownBehavior":"terminate"},"DeleteOnTermination":{"/dev/sda1":%q,"/dev/sdf":%q}}`, a, b))
	same(t, "After", string(c.After),
		`{"Attributes":{"disableApiTermination":"true","instanceInitiatedShutdownBehavior":"stop"},"DeleteOnTermination":{}}`)
}

func TestWhatAWSDoesNotLetBeSetIsLeft(t *testing.T) {
	s := newStage(t)
	id := spot(s.ctx, t, s.member)
	c := s.plan(id)
	want := []string{
		"Instance " + id + " can be terminated by a call: AWS does not let that be changed on a Spot Instance.",
		"Instance " + id + " is terminated by a shutdown from within: AWS does not let that be changed on a Spot Instance.",
	}
	same(t, "Left", c.Left, want)
	same(t, "After", string(c.After), `{"Attributes":{},"DeleteOnTermination":{}}`)
	s.apply(c)
	again := s.plan(id)
	if again == nil || !again.Report() {
		t.Fatalf("after Apply, Plan returns %+v, want a report", again)
	}
	same(t, "Left of the report", again.Left, want)
	if !strings.Contains(again.Reason, "AWS does not let that be changed") {
		t.Errorf("the report's reason is %q", again.Reason)
	}
}

// Moto knows no managed instances and no instance stores: what it answers to
// DescribeInstances is changed on its way.
func TestWhatAWSManagesIsReported(t *testing.T) {
	for _, tt := range []struct {
		name, from, to string
		want           func(id, volume string) []string
		report         bool
	}{
		{
			"a managed instance",
			"<rootDeviceName>", "<operator><managed>true</managed><principal>eks.amazonaws.com</principal></operator><rootDeviceName>",
			func(id, volume string) []string {
				const why = ": it is managed by eks.amazonaws.com, and nobody else may change that."
				return []string{
					"Instance " + id + " can be terminated by a call" + why,
					"Instance " + id + " is terminated by a shutdown from within" + why,
					"Volume " + volume + " is deleted with instance " + id + why,
				}
			},
			true,
		},
		{
			"a managed volume",
			"<deleteOnTermination>", "<operator><managed>true</managed></operator><deleteOnTermination>",
			func(id, volume string) []string {
				return []string{"Volume " + volume + " is deleted with instance " + id + ": it is managed by AWS, and nobody else may change that."}
			},
			false,
		},
		{
			"an instance store as the root device",
			"<rootDeviceType>ebs<", "<rootDeviceType>instance-store<",
			func(id, _ string) []string {
				return []string{"Instance " + id + " is terminated by a shutdown from within: an instance whose root device is an instance store can't be stopped."}
			},
			false,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			id := launch(s.ctx, t, s.member, func(in *ec2.RunInstancesInput) {
				in.InstanceInitiatedShutdownBehavior = types.ShutdownBehaviorTerminate
				in.BlockDeviceMappings = []types.BlockDeviceMapping{disk("/dev/sda1", true)}
			})
			volume := s.volumeAt(id, "/dev/sda1")
			s.proxy.Inject("EC2.DescribeInstances", 1, local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
				a := x.Forward()
				a.Body = bytes.ReplaceAll(a.Body, []byte(tt.from), []byte(tt.to))
				a.Header.Del("Content-Length")
				x.Answer(a)
			}})
			c := s.plan(id)
			same(t, "Left", c.Left, tt.want(id, volume))
			if c.Report() != tt.report {
				t.Errorf("it is a report: %t, want %t", c.Report(), tt.report)
			}
			if !c.Report() {
				s.apply(c)
				if again := s.plan(id); again == nil || !again.Report() {
					t.Errorf("after Apply, Plan returns %+v, want a report", again)
				}
			}
		})
	}
}

func TestKilledWorkerIsFinished(t *testing.T) {
	for nth := 1; nth <= 3; nth++ {
		for name, fault := range map[string]func(func()) local.Fault{"before": local.KilledBefore, "after": local.KilledAfter} {
			t.Run(fmt.Sprintf("%s call %d", name, nth), func(t *testing.T) {
				s := newStage(t)
				id := unprotected(s.ctx, t, s.member)
				asBefore := whole(s.ctx, t, s.member, id)
				c := s.plan(id)
				ctx, kill := context.WithCancel(s.ctx)
				s.proxy.Inject(modify, nth, fault(kill))
				if err := s.remedy.Apply(ctx, s.session, *c); err == nil {
					t.Fatal("the killed Apply succeeded")
				}
				s.proxy.Clear()
				if again := s.plan(id); again != nil {
					same(t, "After of the plan that finishes it", string(again.After), string(c.After))
					c.After = again.After // the engine keeps the first Before
					s.apply(c)
				}
				if last := s.plan(id); last != nil {
					t.Errorf("Plan still finds: %s", last.Reason)
				}
				must(t, s.remedy.Undo(s.ctx, s.session, *c))
				same(t, "after Undo", whole(s.ctx, t, s.member, id), asBefore)
			})
		}
	}
}

func TestHalfMadeUndoIsFinished(t *testing.T) {
	s := newStage(t)
	id := unprotected(s.ctx, t, s.member)
	asBefore := whole(s.ctx, t, s.member, id)
	c := s.plan(id)
	s.apply(c)
	ctx, kill := context.WithCancel(s.ctx)
	s.proxy.Inject(modify, 2, local.KilledBefore(kill))
	if err := s.remedy.Undo(ctx, s.session, *c); err == nil {
		t.Fatal("the killed Undo succeeded")
	}
	s.proxy.Clear()
	must(t, s.remedy.Undo(s.ctx, s.session, *c))
	same(t, "after Undo", whole(s.ctx, t, s.member, id), asBefore)
}

func TestUndoNamesVolumesThatAreDetached(t *testing.T) {
	s := newStage(t)
	id := unprotected(s.ctx, t, s.member)
	c := s.plan(id)
	s.apply(c)
	volume := s.detach(id, "/dev/sdf")
	err := s.remedy.Undo(s.ctx, s.session, *c)
	var left *control.LeftError
	if !errors.As(err, &left) {
		t.Fatalf("want a *control.LeftError, got %v", err)
	}
	same(t, "Left", left.Left, []string{"Volume " + volume + " is no longer attached to instance " + id + ", which it was to be deleted with."})
	again := s.plan(id)
	same(t, "what is left", string(again.Before), fmt.Sprintf(
		`{"Attributes":{"disableApiTermination":"false","instanceInitiatedShutdownBehavior":"terminate"},"DeleteOnTermination":{"/dev/sda1":%q}}`,
		s.volumeAt(id, "/dev/sda1")))
	var moved *control.MovedError
	if err := s.remedy.Undo(s.ctx, s.session, *c); !errors.As(err, &moved) {
		t.Errorf("undoing again: want a *control.MovedError, got %v", err)
	}
}

func TestUndoOfVolumesThatAreAllDetachedNamesThem(t *testing.T) {
	s := newStage(t)
	id := protected(s.ctx, t, s.member, disk("/dev/sda1", false), disk("/dev/sdf", true))
	c := s.plan(id)
	s.apply(c)
	s.detach(id, "/dev/sdf")
	var left *control.LeftError
	if err := s.remedy.Undo(s.ctx, s.session, *c); !errors.As(err, &left) {
		t.Errorf("want a *control.LeftError, got %v", err)
	}
}

// Moto fails with an error of its own where no volume is attached to a device;
// EC2 answers InvalidInstanceAttributeValue, and so does the stand-in.
func TestVolumeDetachedSinceThePlanDoesNotKeepTheOthers(t *testing.T) {
	s := newStage(t)
	id := protected(s.ctx, t, s.member, disk("/dev/sda1", true), disk("/dev/sdf", true))
	c := s.plan(id)
	s.detach(id, "/dev/sdf")
	s.proxy.Inject(modify, 1, local.Fault{Times: 1, Disturb: func(x *local.Exchange) {
		x.Answer(refusal("InvalidInstanceAttributeValue", "No device is currently mapped at /dev/sdf"))
	}})
	s.apply(c)
	if again := s.plan(id); again != nil {
		t.Errorf("Plan still finds: %s", again.Reason)
	}
}

func TestRefusedCallFails(t *testing.T) {
	s := newStage(t)
	id := unprotected(s.ctx, t, s.member)
	c := s.plan(id)
	s.proxy.Inject(modify, 1, local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
		x.Answer(refusal("UnauthorizedOperation", "You are not authorized to perform this operation."))
	}})
	if err := s.remedy.Apply(s.ctx, s.session, *c); !cloud.Is(err, "UnauthorizedOperation") || !cloud.Permanent(err) {
		t.Errorf("want UnauthorizedOperation for good, got %v", err)
	}
}

// EC2 answers IncorrectInstanceState for an instance that was terminated in the
// meantime; moto changes its attributes.
func TestInstanceTerminatedSinceThePlanIsGone(t *testing.T) {
	s := newStage(t)
	id := unprotected(s.ctx, t, s.member)
	c := s.plan(id)
	_, err := s.ec2.TerminateInstances(s.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	must(t, err)
	s.proxy.Inject(modify, 1, local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
		x.Answer(refusal("IncorrectInstanceState", "The instance is not in a valid state."))
	}})
	if err := s.remedy.Apply(s.ctx, s.session, *c); !errors.Is(err, control.ErrGone) {
		t.Errorf("Apply: want control.ErrGone, got %v", err)
	}
	if err := s.remedy.Undo(s.ctx, s.session, *c); !errors.Is(err, control.ErrGone) {
		t.Errorf("Undo: want control.ErrGone, got %v", err)
	}
}

func TestUndoIsRefusedWhereSomethingElseHasChanged(t *testing.T) {
	s := newStage(t)
	id := unprotected(s.ctx, t, s.member)
	c := s.plan(id)
	s.apply(c)
	v, err := s.ec2.CreateVolume(s.ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String(local.Region + "a"), Size: aws.Int32(1)})
	must(t, err)
	_, err = s.ec2.AttachVolume(s.ctx, &ec2.AttachVolumeInput{InstanceId: aws.String(id), VolumeId: v.VolumeId, Device: aws.String("/dev/sdg")})
	must(t, err)
	_, err = s.ec2.ModifyInstanceAttribute(s.ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: aws.String(id),
		BlockDeviceMappings: []types.InstanceBlockDeviceMappingSpecification{{
			DeviceName: aws.String("/dev/sdg"), Ebs: &types.EbsInstanceBlockDeviceSpecification{DeleteOnTermination: aws.Bool(true)},
		}}})
	must(t, err)
	now := whole(s.ctx, t, s.member, id)
	var moved *control.MovedError
	if err := s.remedy.Undo(s.ctx, s.session, *c); !errors.As(err, &moved) {
		t.Fatalf("want a *control.MovedError, got %v", err)
	}
	if !strings.Contains(string(moved.Now), aws.ToString(v.VolumeId)) {
		t.Errorf("the state now is shown as %s, without volume %s", moved.Now, aws.ToString(v.VolumeId))
	}
	same(t, "after the refused Undo", whole(s.ctx, t, s.member, id), now)
}

func TestRoundTrips(t *testing.T) {
	s := newStage(t)
	id := unprotected(s.ctx, t, s.member)
	s.late.delay = 100 * time.Millisecond
	var c *control.Change
	for _, step := range []struct {
		name string
		want int
		do   func(context.Context) error
	}{
		{"Plan", 1, func(ctx context.Context) (err error) {
			c, err = s.remedy.Plan(ctx, s.session, s.target(id))
			return err
		}},
		{"Apply", 1, func(ctx context.Context) error { return s.remedy.Apply(ctx, s.session, *c) }},
		{"Undo", 2, func(ctx context.Context) error { return s.remedy.Undo(ctx, s.session, *c) }},
	} {
		ctx, recorder := cloud.Record(s.ctx)
		must(t, step.do(ctx))
		if got := cloud.RoundTrips(recorder.Calls()); got != step.want {
			t.Errorf("%s takes %d serial round trips, want %d: %v", step.name, got, step.want, recorder.Calls())
		}
	}
}

// stage is a member account behind a proxy, entered as Snapback does.
type stage struct {
	t       *testing.T
	ctx     context.Context
	remedy  control.Remedy
	member  aws.Config
	ec2     *ec2.Client
	session *cloud.Session
	proxy   *local.Proxy
	late    *late
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, ctx: t.Context(), remedy: preserve.Remedy(), member: server.Config(local.MemberAccount)}
	s.ec2 = ec2.NewFromConfig(s.member)
	var err error
	s.proxy, err = local.StartProxy(s.ctx, server, nil)
	must(t, err)
	t.Cleanup(s.proxy.Close)
	hub := server.Config(local.HubAccount)
	hub.BaseEndpoint = aws.String(s.proxy.Endpoint())
	s.late = &late{HTTPClient: hub.HTTPClient}
	hub.HTTPClient = s.late
	s.session, err = cloud.NewSessions(hub, "snapback-response", "response").For(s.ctx, local.MemberAccount, local.Region, "test")
	must(t, err)
	return s
}

// late delays every request, so that calls made side by side overlap for certain.
type late struct {
	aws.HTTPClient
	delay time.Duration
}

func (l *late) Do(r *http.Request) (*http.Response, error) {
	<-time.After(l.delay)
	return l.HTTPClient.Do(r)
}

func (s *stage) target(id string) control.Target {
	return control.Target{Account: local.MemberAccount, Region: local.Region, Type: instance.Resource().Type, ID: id}
}

func (s *stage) plan(id string) *control.Change {
	s.t.Helper()
	c, err := s.remedy.Plan(s.ctx, s.session, s.target(id))
	must(s.t, err)
	return c
}

func (s *stage) apply(c *control.Change) {
	s.t.Helper()
	must(s.t, s.remedy.Apply(s.ctx, s.session, *c))
}

func (s *stage) describe(id string) types.Instance { return describe(s.ctx, s.t, s.ec2, id) }

func (s *stage) volumeAt(id, device string) string {
	s.t.Helper()
	for _, m := range s.describe(id).BlockDeviceMappings {
		if aws.ToString(m.DeviceName) == device {
			return aws.ToString(m.Ebs.VolumeId)
		}
	}
	s.t.Fatalf("instance %s has no volume at %s", id, device)
	return ""
}

func (s *stage) detach(id, device string) string {
	s.t.Helper()
	volume := s.volumeAt(id, device)
	_, err := s.ec2.DetachVolume(s.ctx, &ec2.DetachVolumeInput{VolumeId: aws.String(volume), InstanceId: aws.String(id)})
	must(s.t, err)
	return volume
}

// refusal is an error in the form of EC2's protocol.
func refusal(code, message string) local.Answer {
	return local.Answer{
		Status: http.StatusBadRequest, Header: http.Header{"Content-Type": {"text/xml"}},
		Body: fmt.Appendf(nil, `<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>local</RequestID></Response>`, code, message),
	}
}

func unprotected(ctx context.Context, t *testing.T, cfg aws.Config) string {
	t.Helper()
	return launch(ctx, t, cfg, func(in *ec2.RunInstancesInput) {
		in.InstanceInitiatedShutdownBehavior = types.ShutdownBehaviorTerminate
		in.BlockDeviceMappings = []types.BlockDeviceMapping{disk("/dev/sda1", true), disk("/dev/sdf", true), disk("/dev/sdg", false)}
	})
}

// protected is an instance of which the volumes alone can be lost.
func protected(ctx context.Context, t *testing.T, cfg aws.Config, disks ...types.BlockDeviceMapping) string {
	t.Helper()
	id := launch(ctx, t, cfg, func(in *ec2.RunInstancesInput) { in.BlockDeviceMappings = disks })
	_, err := ec2.NewFromConfig(cfg).ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{
		InstanceId: aws.String(id), DisableApiTermination: &types.AttributeBooleanValue{Value: aws.Bool(true)},
	})
	must(t, err)
	return id
}

func spot(ctx context.Context, t *testing.T, cfg aws.Config) string {
	t.Helper()
	return launch(ctx, t, cfg, func(in *ec2.RunInstancesInput) {
		in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot}
		in.InstanceInitiatedShutdownBehavior = types.ShutdownBehaviorTerminate
		in.BlockDeviceMappings = []types.BlockDeviceMapping{disk("/dev/sda1", true)}
	})
}

func launch(ctx context.Context, t *testing.T, cfg aws.Config, with func(*ec2.RunInstancesInput)) string {
	t.Helper()
	in := &ec2.RunInstancesInput{ImageId: aws.String("ami-12c6146b"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}
	with(in)
	out, err := ec2.NewFromConfig(cfg).RunInstances(ctx, in)
	must(t, err)
	return aws.ToString(out.Instances[0].InstanceId)
}

func disk(device string, deleted bool) types.BlockDeviceMapping {
	return types.BlockDeviceMapping{
		DeviceName: aws.String(device), Ebs: &types.EbsBlockDevice{VolumeSize: aws.Int32(8), DeleteOnTermination: aws.Bool(deleted)},
	}
}

func describe(ctx context.Context, t *testing.T, client *ec2.Client, id string) types.Instance {
	t.Helper()
	out, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	must(t, err)
	return out.Reservations[0].Instances[0]
}

// whole is the instance with the attributes that DescribeInstances does not tell.
func whole(ctx context.Context, t *testing.T, cfg aws.Config, id string) any {
	t.Helper()
	client := ec2.NewFromConfig(cfg)
	state := []any{describe(ctx, t, client, id)}
	for _, name := range []types.InstanceAttributeName{
		types.InstanceAttributeNameDisableApiTermination, types.InstanceAttributeNameInstanceInitiatedShutdownBehavior,
		types.InstanceAttributeNameDisableApiStop, types.InstanceAttributeNameGroupSet,
	} {
		out, err := client.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{InstanceId: aws.String(id), Attribute: name})
		must(t, err)
		state = append(state, out.DisableApiTermination, out.InstanceInitiatedShutdownBehavior, out.DisableApiStop, out.Groups)
	}
	return lifecycle.Comparable(state)
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", what, diff)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package preserve_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
	"github.com/snapback-aws/snapback/pkg/remedies/preserve"
)

const modify = "EC2.ModifyInstanceAttribute"

func TestMain(m *testing.M) { lifecycle.Main(m) }

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
	id := unprotected(s.Ctx, t, s.Member)
	s.Apply(s.Plan(id))
	_, err := s.ec2.TerminateInstances(s.Ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
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
	id := unprotected(s.Ctx, t, s.Member)
	c := s.Plan(id)
	a, b := s.volumeAt(id, "/dev/sda1"), s.volumeAt(id, "/dev/sdf")
	first, second := min(a, b), max(a, b)
	want := fmt.Sprintf("Instance %s can be terminated by a call, is terminated by a shutdown from within, "+
		"takes its volumes with it when it is terminated: %s and %s.", id, first, second)
	if c.Reason != want {
		t.Errorf("reason\n%s\nwant\n%s", c.Reason, want)
	}
	lifecycle.Same(t, "Before", string(c.Before), fmt.Sprintf(
		`{"Attributes":{"disableApiTermination":"false","instanceInitiatedShutdownBehavior":"terminate"},"DeleteOnTermination":{"/dev/sda1":%q,"/dev/sdf":%q}}`, a, b))
	lifecycle.Same(t, "After", string(c.After),
		`{"Attributes":{"disableApiTermination":"true","instanceInitiatedShutdownBehavior":"stop"},"DeleteOnTermination":{}}`)
}

func TestWhatAWSDoesNotLetBeSetIsLeft(t *testing.T) {
	s := newStage(t)
	id := spot(s.Ctx, t, s.Member)
	c := s.Plan(id)
	want := []string{
		"Instance " + id + " can be terminated by a call: AWS does not let that be changed on a Spot Instance.",
		"Instance " + id + " is terminated by a shutdown from within: AWS does not let that be changed on a Spot Instance.",
	}
	lifecycle.Same(t, "Left", c.Left, want)
	lifecycle.Same(t, "After", string(c.After), `{"Attributes":{},"DeleteOnTermination":{}}`)
	s.Apply(c)
	again := s.Plan(id)
	if again == nil || !again.Report() {
		t.Fatalf("after Apply, Plan returns %+v, want a report", again)
	}
	lifecycle.Same(t, "Left of the report", again.Left, want)
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
			id := launch(s.Ctx, t, s.Member, func(in *ec2.RunInstancesInput) {
				in.InstanceInitiatedShutdownBehavior = types.ShutdownBehaviorTerminate
				in.BlockDeviceMappings = []types.BlockDeviceMapping{disk("/dev/sda1", true)}
			})
			volume := s.volumeAt(id, "/dev/sda1")
			s.Rewrite("EC2.DescribeInstances", tt.from, tt.to)
			c := s.Plan(id)
			lifecycle.Same(t, "Left", c.Left, tt.want(id, volume))
			if c.Report() != tt.report {
				t.Errorf("it is a report: %t, want %t", c.Report(), tt.report)
			}
			if !c.Report() {
				s.Apply(c)
				if again := s.Plan(id); again == nil || !again.Report() {
					t.Errorf("after Apply, Plan returns %+v, want a report", again)
				}
			}
		})
	}
}

func TestKilledWorkerIsFinished(t *testing.T) {
	for nth := 1; nth <= 3; nth++ {
		for name, fault := range lifecycle.Kills {
			t.Run(fmt.Sprintf("%s call %d", name, nth), func(t *testing.T) {
				s := newStage(t)
				id := unprotected(s.Ctx, t, s.Member)
				asBefore := whole(s.Ctx, t, s.Member, id)
				c := s.Plan(id)
				s.Killed(s.Remedy.Apply, c, modify, nth, fault)
				if again := s.Plan(id); again != nil {
					lifecycle.Same(t, "After of the plan that finishes it", string(again.After), string(c.After))
					c.After = again.After // the engine keeps the first Before
					s.Apply(c)
				}
				if last := s.Plan(id); last != nil {
					t.Errorf("Plan still finds: %s", last.Reason)
				}
				s.Undo(c)
				lifecycle.Same(t, "after Undo", whole(s.Ctx, t, s.Member, id), asBefore)
			})
		}
	}
}

func TestHalfMadeUndoIsFinished(t *testing.T) {
	s := newStage(t)
	id := unprotected(s.Ctx, t, s.Member)
	asBefore := whole(s.Ctx, t, s.Member, id)
	c := s.Plan(id)
	s.Apply(c)
	s.Killed(s.Remedy.Undo, c, modify, 2, local.KilledBefore)
	s.Undo(c)
	lifecycle.Same(t, "after Undo", whole(s.Ctx, t, s.Member, id), asBefore)
}

func TestUndoNamesVolumesThatAreDetached(t *testing.T) {
	s := newStage(t)
	id := unprotected(s.Ctx, t, s.Member)
	c := s.Plan(id)
	s.Apply(c)
	volume := s.detach(id, "/dev/sdf")
	lifecycle.Left(t, s.Remedy.Undo(s.Ctx, s.Session, *c), "Volume "+volume+" is no longer attached to instance "+id+", which it was to be deleted with.")
	again := s.Plan(id)
	lifecycle.Same(t, "what is left", string(again.Before), fmt.Sprintf(
		`{"Attributes":{"disableApiTermination":"false","instanceInitiatedShutdownBehavior":"terminate"},"DeleteOnTermination":{"/dev/sda1":%q}}`,
		s.volumeAt(id, "/dev/sda1")))
	var moved *control.MovedError
	if err := s.Remedy.Undo(s.Ctx, s.Session, *c); !errors.As(err, &moved) {
		t.Errorf("undoing again: want a *control.MovedError, got %v", err)
	}
}

func TestUndoOfVolumesThatAreAllDetachedNamesThem(t *testing.T) {
	s := newStage(t)
	id := protected(s.Ctx, t, s.Member, disk("/dev/sda1", false), disk("/dev/sdf", true))
	c := s.Plan(id)
	s.Apply(c)
	volume := s.detach(id, "/dev/sdf")
	lifecycle.Left(t, s.Remedy.Undo(s.Ctx, s.Session, *c), "Volume "+volume+" is no longer attached to instance "+id+", which it was to be deleted with.")
}

// Moto fails with an error of its own where no volume is attached to a device;
// EC2 answers InvalidInstanceAttributeValue, and so does the stand-in.
func TestVolumeDetachedSinceThePlanDoesNotKeepTheOthers(t *testing.T) {
	s := newStage(t)
	id := protected(s.Ctx, t, s.Member, disk("/dev/sda1", true), disk("/dev/sdf", true))
	c := s.Plan(id)
	s.detach(id, "/dev/sdf")
	s.Refuse(modify, 1, http.StatusBadRequest, "InvalidInstanceAttributeValue")
	s.Apply(c)
	if again := s.Plan(id); again != nil {
		t.Errorf("Plan still finds: %s", again.Reason)
	}
}

func TestRefusedCallFails(t *testing.T) {
	s := newStage(t)
	id := unprotected(s.Ctx, t, s.Member)
	c := s.Plan(id)
	s.Refuse(modify, -1, http.StatusBadRequest, "UnauthorizedOperation")
	if err := s.Remedy.Apply(s.Ctx, s.Session, *c); !cloud.Is(err, "UnauthorizedOperation") || !cloud.Permanent(err) {
		t.Errorf("want UnauthorizedOperation for good, got %v", err)
	}
}

// EC2 answers IncorrectInstanceState for an instance that was terminated in the
// meantime; moto changes its attributes.
func TestInstanceTerminatedSinceThePlanIsGone(t *testing.T) {
	s := newStage(t)
	id := unprotected(s.Ctx, t, s.Member)
	c := s.Plan(id)
	_, err := s.ec2.TerminateInstances(s.Ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	lifecycle.Must(t, err)
	s.Refuse(modify, -1, http.StatusBadRequest, "IncorrectInstanceState")
	if err := s.Remedy.Apply(s.Ctx, s.Session, *c); !errors.Is(err, control.ErrGone) {
		t.Errorf("Apply: want control.ErrGone, got %v", err)
	}
	if err := s.Remedy.Undo(s.Ctx, s.Session, *c); !errors.Is(err, control.ErrGone) {
		t.Errorf("Undo: want control.ErrGone, got %v", err)
	}
}

func TestUndoIsRefusedWhereSomethingElseHasChanged(t *testing.T) {
	s := newStage(t)
	id := unprotected(s.Ctx, t, s.Member)
	c := s.Plan(id)
	s.Apply(c)
	v, err := s.ec2.CreateVolume(s.Ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String(local.Region + "a"), Size: aws.Int32(1)})
	lifecycle.Must(t, err)
	_, err = s.ec2.AttachVolume(s.Ctx, &ec2.AttachVolumeInput{InstanceId: aws.String(id), VolumeId: v.VolumeId, Device: aws.String("/dev/sdg")})
	lifecycle.Must(t, err)
	_, err = s.ec2.ModifyInstanceAttribute(s.Ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: aws.String(id),
		BlockDeviceMappings: []types.InstanceBlockDeviceMappingSpecification{{
			DeviceName: aws.String("/dev/sdg"), Ebs: &types.EbsInstanceBlockDeviceSpecification{DeleteOnTermination: aws.Bool(true)},
		}}})
	lifecycle.Must(t, err)
	now := whole(s.Ctx, t, s.Member, id)
	var moved *control.MovedError
	if err := s.Remedy.Undo(s.Ctx, s.Session, *c); !errors.As(err, &moved) {
		t.Fatalf("want a *control.MovedError, got %v", err)
	}
	if !strings.Contains(string(moved.Now), aws.ToString(v.VolumeId)) {
		t.Errorf("the state now is shown as %s, without volume %s", moved.Now, aws.ToString(v.VolumeId))
	}
	lifecycle.Same(t, "after the refused Undo", whole(s.Ctx, t, s.Member, id), now)
}

func TestRoundTrips(t *testing.T) {
	s := newStage(t)
	id := unprotected(s.Ctx, t, s.Member)
	s.RoundTrips(id, lifecycle.RoundTrips{Plan: 1, Apply: 1, Again: 1, Undo: 2})
}

// stage is the shared one, with the member's own client of EC2.
type stage struct {
	*lifecycle.Stage
	ec2 *ec2.Client
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := lifecycle.NewStage(t, "response", instance.Resource().Type, preserve.Remedy())
	return &stage{s, ec2.NewFromConfig(s.Member)}
}

func (s *stage) describe(id string) types.Instance { return describe(s.Ctx, s.T, s.ec2, id) }

func (s *stage) volumeAt(id, device string) string {
	s.T.Helper()
	for _, m := range s.describe(id).BlockDeviceMappings {
		if aws.ToString(m.DeviceName) == device {
			return aws.ToString(m.Ebs.VolumeId)
		}
	}
	s.T.Fatalf("instance %s has no volume at %s", id, device)
	return ""
}

func (s *stage) detach(id, device string) string {
	s.T.Helper()
	volume := s.volumeAt(id, device)
	_, err := s.ec2.DetachVolume(s.Ctx, &ec2.DetachVolumeInput{VolumeId: aws.String(volume), InstanceId: aws.String(id)})
	lifecycle.Must(s.T, err)
	return volume
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
	lifecycle.Must(t, err)
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
	lifecycle.Must(t, err)
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
	lifecycle.Must(t, err)
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
		lifecycle.Must(t, err)
		state = append(state, out.DisableApiTermination, out.InstanceInitiatedShutdownBehavior, out.DisableApiStop, out.Groups)
	}
	return lifecycle.Comparable(state)
}

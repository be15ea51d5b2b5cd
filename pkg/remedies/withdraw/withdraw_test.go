package withdraw_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
	"github.com/snapback-aws/snapback/pkg/remedies/withdraw"
)

// The state leaves out the group's size, which an undo does not restore: see
// TestGroupReplacesWhatIsTakenOutAndGrowsByWhatComesBack.
func TestLifecycle(t *testing.T) {
	state := func(ctx context.Context, t *testing.T, cfg aws.Config, id string) any {
		return worldOf(ctx, t, cfg).service(id)
	}
	lifecycle.Remedy(t, "response", instance.Resource().Type, withdraw.Remedy(), lifecycle.Test{
		Gone: "i-0123456789abcdef0",
		Violations: []lifecycle.Violation{
			{
				Name: "an instance of an Auto Scaling group, behind an ALB and a classic load balancer",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					w := worldOf(ctx, t, cfg)
					return w.crowded("web")
				},
				State: state,
			},
			{
				Name: "an instance in service by its addresses alone",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					w := worldOf(ctx, t, cfg)
					in := w.instance()
					w.register(w.targetGroup("pods", types.TargetTypeEnumIp), aws.ToString(in.PrivateIpAddress), 9000)
					return aws.ToString(in.InstanceId)
				},
				State: state,
			},
		},
	})
}

// crowded makes an instance that is in service everywhere: in a group, in which
// it is protected from scale-in while others are not, and on two ports behind an
// ALB and two classic load balancers, by what is attached to its group and by
// hand. moto keeps one port of a target, so there are two target groups: see
// TestEveryPortZoneAndServerIDOfATargetIsKept for two ports in one.
func (w *world) crowded(name string) (id string) {
	w.t.Helper()
	attached := w.targetGroup(name+"-attached", types.TargetTypeEnumInstance)
	id = w.group(name, 5, []string{attached}, []string{w.classicBalancer(name + "-attached")})
	w.protect(name, id, true)
	w.register(w.targetGroup(name+"-admin", types.TargetTypeEnumInstance), id, 8443)
	w.classicBalancer(name+"-old", id)
	// Others that stay.
	other := w.instance()
	w.register(attached, aws.ToString(other.InstanceId), 80)
	return id
}

func TestInstanceInServiceNowhereIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	id := aws.ToString(w.instance().InstanceId)
	w.crowded("others")
	if c := w.plan(w.session(), id); c != nil {
		t.Errorf("Plan finds: %s", c.Reason)
	}
}

func TestChangeNamesEverywhereTheInstanceServes(t *testing.T) {
	w := newWorld(t)
	id := w.crowded("all")
	c := w.plan(w.session(), id)
	admin, attached := w.arn("all-admin"), w.arn("all-attached")
	want := `{"autoScalingGroup":{"name":"all","protectedFromScaleIn":true},"targetGroups":[` +
		`{"arn":"` + admin + `","id":"` + id + `","port":8443},{"arn":"` + attached + `","id":"` + id + `","port":80}],` +
		`"classicLoadBalancers":["all-attached","all-old"]}`
	if diff := cmp.Diff(want, string(c.Before)); diff != "" {
		t.Errorf("Before differs (-want +got):\n%s", diff)
	}
	if string(c.After) != nowhere {
		t.Errorf("After is %s, want %s", c.After, nowhere)
	}
	classic := "arn:aws:elasticloadbalancing:us-east-1:222222222222:loadbalancer/all-"
	touches := []string{aws.ToString(w.describe("all").AutoScalingGroupARN), admin, attached, classic + "attached", classic + "old"}
	if diff := cmp.Diff(touches, c.Touches); diff != "" {
		t.Errorf("Touches differ (-want +got):\n%s", diff)
	}
	reason := "Instance " + id + " is in service: Auto Scaling group all, target group all-admin (" + id + " port 8443), " +
		"target group all-attached (" + id + " port 80), classic load balancer all-attached, classic load balancer all-old. " +
		"An undo attaches it to the group again, by which AWS raises the desired capacity by one."
	if diff := cmp.Diff(reason, c.Reason); diff != "" {
		t.Errorf("Reason differs (-want +got):\n%s", diff)
	}
	if again := w.plan(w.session(), id); again.Digest() != c.Digest() {
		t.Error("planning again gives another digest")
	}
}

func TestGroupReplacesWhatIsTakenOutAndGrowsByWhatComesBack(t *testing.T) {
	w := newWorld(t)
	id := w.crowded("replaced")
	before := w.service(id)
	c := w.withdrawn(w.session(), id)
	group := w.describe("replaced")
	if len(group.Instances) != 1 || aws.ToString(group.Instances[0].InstanceId) == id || aws.ToInt32(group.DesiredCapacity) != 1 {
		t.Fatalf("after Apply the group has %d instances and wants %d; want one other, and 1", len(group.Instances), aws.ToInt32(group.DesiredCapacity))
	}
	replacement := aws.ToString(group.Instances[0].InstanceId)
	lifecycle.Must(t, withdraw.Remedy().Undo(w.ctx, w.session(), c))
	w.wantService(id, before)
	if desired := aws.ToInt32(w.describe("replaced").DesiredCapacity); desired != 2 {
		t.Errorf("after Undo the group wants %d instances, want 2", desired)
	}
	if !slices.Contains(w.service(replacement), "group replaced InService protected=false") {
		t.Errorf("after Undo the replacement is in service in %v, want in the group still", w.service(replacement))
	}
}

func TestReasonTellsThatNoReplacementStarts(t *testing.T) {
	w := newWorld(t)
	id := w.group("suspended", 2, nil, nil)
	_, err := w.scaling.SuspendProcesses(w.ctx, &autoscaling.SuspendProcessesInput{
		AutoScalingGroupName: aws.String("suspended"), ScalingProcesses: []string{"Launch"},
	})
	lifecycle.Must(t, err)
	c := w.plan(w.session(), id)
	if want := "No replacement starts as long as the group's process Launch is suspended."; !strings.Contains(c.Reason, want) {
		t.Errorf("Reason is %q, want %q in it", c.Reason, want)
	}
}

// nowhere is the After of every change that takes out all.
const nowhere = `{"autoScalingGroup":null,"targetGroups":[],"classicLoadBalancers":[]}`

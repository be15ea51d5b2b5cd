package withdraw_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/withdraw"
)

// without are the lines of where an instance was in service, but those about
// something.
func without(lines []string, what string) []string {
	var rest []string
	for _, line := range lines {
		if !strings.Contains(line, what) {
			rest = append(rest, line)
		}
	}
	return rest
}

func TestWhatNoLongerExistsIsNamedAfterTheRestIsBack(t *testing.T) {
	for _, tt := range []struct {
		what, lacks string
		remove      func(*world, string)
		standIn     standIn
		want        func(*world, control.Change) string
	}{
		{
			"target group", "target target-group-admin",
			func(w *world, name string) {
				_, err := w.elb.DeleteTargetGroup(w.ctx, &elasticloadbalancingv2.DeleteTargetGroupInput{TargetGroupArn: aws.String(w.arn(name + "-admin"))})
				lifecycle.Must(w.t, err)
			}, nil,
			func(_ *world, c control.Change) string { return "Target group " + c.Touches[1] + " no longer exists." },
		},
		{
			"classic load balancer", "classic classic-load-balancer-old",
			func(w *world, name string) {
				_, err := w.classic.DeleteLoadBalancer(w.ctx, &elasticloadbalancing.DeleteLoadBalancerInput{LoadBalancerName: aws.String(name + "-old")})
				lifecycle.Must(w.t, err)
			},
			// moto breaks on a name that it does not know.
			func(call string, form url.Values, moto func() string) *answer {
				if form.Get("LoadBalancerName") != "classic-load-balancer-old" {
					return nil
				}
				return refused("RegisterInstancesWithLoadBalancer", "LoadBalancerNotFound", "There is no ACTIVE Load Balancer")(call, form, moto)
			},
			func(*world, control.Change) string {
				return "Classic load balancer classic-load-balancer-old no longer exists."
			},
		},
		{
			"group", "group group",
			func(w *world, name string) {
				_, err := w.scaling.DeleteAutoScalingGroup(w.ctx, &autoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: aws.String(name), ForceDelete: aws.Bool(true)})
				lifecycle.Must(w.t, err)
			}, nil,
			func(*world, control.Change) string {
				return "Auto Scaling group group no longer exists: the instance is in none."
			},
		},
		{
			"room", "group room",
			func(w *world, name string) {
				_, err := w.scaling.UpdateAutoScalingGroup(w.ctx, &autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: aws.String(name), MaxSize: aws.Int32(1)})
				lifecycle.Must(w.t, err)
			}, nil,
			func(*world, control.Change) string {
				return "Auto Scaling group room is at its maximum of 1, and the instance would be one more: " +
					"raise its maximum, then attach the instance with `aws autoscaling attach-instances`."
			},
		},
		{
			"place", "group place",
			func(*world, string) {},
			refused("AttachInstances", "ValidationError", "The instance is not in an enabled Availability Zone."),
			func(*world, control.Change) string {
				return "Auto Scaling group place does not take the instance back " +
					"(Auto Scaling AttachInstances: ValidationError: The instance is not in an enabled Availability Zone.): " +
					"mend that, then attach it with `aws autoscaling attach-instances`."
			},
		},
	} {
		t.Run(tt.what, func(t *testing.T) {
			w := newWorld(t)
			name := strings.ReplaceAll(tt.what, " ", "-")
			id := w.crowded(name)
			before := w.service(id)
			c := w.withdrawn(w.session(), id)
			tt.remove(w, name)
			session := w.session()
			if tt.standIn != nil {
				session = w.session(tt.standIn)
			}
			lifecycle.Left(t, withdraw.Remedy().Undo(w.ctx, session, c), tt.want(w, c))
			w.wantService(id, without(before, tt.lacks))
		})
	}
}

func TestGroupAtItsMaximumKeepsItsReplacementAndItsSize(t *testing.T) {
	w := newWorld(t)
	id := w.group("full", 1, nil, nil)
	c := w.withdrawn(w.session(), id)
	replacement := aws.ToString(w.describe("full").Instances[0].InstanceId)
	var left *control.LeftError
	if err := withdraw.Remedy().Undo(w.ctx, w.session(), c); !errors.As(err, &left) {
		t.Fatalf("Undo returns %v, want a *control.LeftError", err)
	}
	group := w.describe("full")
	if aws.ToInt32(group.DesiredCapacity) != 1 || aws.ToInt32(group.MaxSize) != 1 {
		t.Errorf("the group wants %d of at most %d, want 1 of 1", aws.ToInt32(group.DesiredCapacity), aws.ToInt32(group.MaxSize))
	}
	w.wantService(replacement, []string{"group full InService protected=false"})
}

func TestStoppedInstanceIsNotTakenBackByATargetGroup(t *testing.T) {
	w := newWorld(t)
	id := aws.ToString(w.instance().InstanceId)
	w.register(w.targetGroup("stopped", types.TargetTypeEnumInstance), id, 80)
	w.classicBalancer("stopped", id)
	c := w.withdrawn(w.session(), id)
	_, err := w.ec2.StopInstances(w.ctx, &ec2.StopInstancesInput{InstanceIds: []string{id}})
	lifecycle.Must(t, err)
	lifecycle.Left(t, withdraw.Remedy().Undo(w.ctx, w.session(), c), "Target group "+w.arn("stopped")+" does not take the instance back "+
		"(Elastic Load Balancing v2 RegisterTargets: InvalidTarget: The following targets are not in a running state and cannot be registered: '"+id+"').")
	w.wantService(id, []string{"classic stopped"})
}

func TestInstanceInServiceElsewhereIsNotUndone(t *testing.T) {
	for _, tt := range []struct {
		name string
		move func(w *world, id string)
	}{
		{"in another group", func(w *world, id string) { w.attach("another", id) }},
		{"in another target group", func(w *world, id string) { w.register(w.arn("another"), id, 80) }},
		{"on another port", func(w *world, id string) { w.register(w.arn("web-admin"), id, 9443) }},
		{"in another classic load balancer", func(w *world, id string) { w.registerClassic("another", id) }},
		{"on standby in its group", func(w *world, id string) { w.attach("web", id); w.standby("web", id) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.group("another", 9, nil, nil)
			w.targetGroup("another", types.TargetTypeEnumInstance)
			w.classicBalancer("another")
			id := w.crowded("web")
			c := w.withdrawn(w.session(), id)
			tt.move(w, id)
			now := w.service(id)
			session := w.session()
			if tt.name == "in another group" { // moto tells the one that it was in first
				session = w.session(rewritten("DescribeAutoScalingInstances", ">web<", ">another<"))
			}
			var moved *control.MovedError
			if err := withdraw.Remedy().Undo(w.ctx, session, c); !errors.As(err, &moved) {
				t.Fatalf("Undo returns %v, want a *control.MovedError", err)
			}
			if is := w.plan(session, id); string(moved.Now) != string(is.Before) {
				t.Errorf("the error shows %s as the state now, want %s", moved.Now, is.Before)
			}
			w.wantService(id, now)
		})
	}
}

func (w *world) attach(group, id string) {
	w.t.Helper()
	_, err := w.scaling.AttachInstances(w.ctx, &autoscaling.AttachInstancesInput{AutoScalingGroupName: aws.String(group), InstanceIds: []string{id}})
	lifecycle.Must(w.t, err)
}

func (w *world) standby(group, id string) {
	w.t.Helper()
	_, err := w.scaling.EnterStandby(w.ctx, &autoscaling.EnterStandbyInput{
		AutoScalingGroupName: aws.String(group), InstanceIds: []string{id}, ShouldDecrementDesiredCapacity: aws.Bool(false),
	})
	lifecycle.Must(w.t, err)
}

func TestUndoWaitsForTheDetachingToEnd(t *testing.T) {
	w := newWorld(t)
	id := w.crowded("draining")
	before := w.service(id)
	c := w.withdrawn(w.session(), id)
	// moto detaches at once.
	still := func(call string, _ url.Values, _ func() string) *answer {
		if call != "DescribeAutoScalingInstances" {
			return nil
		}
		return &answer{http.StatusOK, "<R><DescribeAutoScalingInstancesResult><AutoScalingInstances><member><AutoScalingGroupName>draining</AutoScalingGroupName>" +
			"<InstanceId>" + id + "</InstanceId><LifecycleState>Detaching</LifecycleState></member></AutoScalingInstances></DescribeAutoScalingInstancesResult></R>"}
	}
	err := withdraw.Remedy().Undo(w.ctx, w.session(still), c)
	want := "instance " + id + " is still being detached from Auto Scaling group draining, which waits for its connections to drain: undo again once it is out"
	if err == nil || err.Error() != want {
		t.Errorf("Undo returns %v, want %s", err, want)
	}
	w.wantService(id, []string{})
	lifecycle.Must(t, withdraw.Remedy().Undo(w.ctx, w.session(), c))
	w.wantService(id, before)
}

// pending has an instance Pending for so many looks after it was attached: moto
// has it in service at once.
func pending(looks int) standIn {
	attached := false
	return func(call string, form url.Values, moto func() string) *answer {
		attached = attached || call == "AttachInstances"
		if !attached || looks == 0 || call != "DescribeAutoScalingInstances" {
			return nil
		}
		looks--
		return inState("Pending")(call, form, moto)
	}
}

func TestScaleInProtectionIsSetOnceTheInstanceIsInService(t *testing.T) {
	t.Cleanup(withdraw.Hurry(4))
	w := newWorld(t)
	id := w.crowded("attaching")
	before := w.service(id)
	c := w.withdrawn(w.session(), id)
	lifecycle.Must(t, withdraw.Remedy().Undo(w.ctx, w.session(pending(3)), c))
	w.wantService(id, before)
}

func TestInstanceThatStaysPendingIsLeftUnprotected(t *testing.T) {
	t.Cleanup(withdraw.Hurry(4))
	w := newWorld(t)
	id := w.crowded("pending")
	before := w.service(id)
	c := w.withdrawn(w.session(), id)
	lifecycle.Left(t, withdraw.Remedy().Undo(w.ctx, w.session(pending(4)), c),
		"The instance is not in service in Auto Scaling group pending yet: once it is, set its scale-in protection to true again "+
			"with `aws autoscaling set-instance-protection`.")
	w.wantService(id, append([]string{before[0], before[1], "group pending InService protected=false"}, before[3:]...))
}

func TestWhatCannotBePutBackStopsNothingElseAndIsPutBackByTheNextUndo(t *testing.T) {
	for _, call := range []string{"AttachInstances", "SetInstanceProtection", "RegisterTargets", "RegisterInstancesWithLoadBalancer"} {
		t.Run(call, func(t *testing.T) {
			w := newWorld(t)
			id := w.crowded("web")
			before := w.service(id)
			c := w.withdrawn(w.session(), id)
			err := withdraw.Remedy().Undo(w.ctx, w.session(refused(call, "AccessDenied", "no")), c)
			if !cloud.Is(err, "AccessDenied") {
				t.Errorf("Undo returns %v, want what AWS said", err)
			}
			// It is in service in two places at least.
			if now := w.service(id); len(now) < 2 || cmp.Equal(now, before) {
				t.Errorf("the instance is in service in %q, want all but one kind of %q", now, before)
			}
			lifecycle.Must(t, withdraw.Remedy().Undo(w.ctx, w.session(), c))
			w.wantService(id, before)
		})
	}
}

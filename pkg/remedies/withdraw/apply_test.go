package withdraw_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/withdraw"
)

// doomed is a session whose worker is killed at a call, before or after AWS has
// carried it out.
func (w *world) doomed(call string, kill func(func()) local.Fault) (context.Context, *cloud.Session) {
	w.t.Helper()
	server := lifecycle.AWS(w.t)
	proxy, err := local.StartProxy(w.ctx, server, nil)
	lifecycle.Must(w.t, err)
	w.t.Cleanup(proxy.Close)
	hub := server.Config(local.HubAccount)
	hub.BaseEndpoint = aws.String(proxy.Endpoint())
	ctx, cancel := context.WithCancel(w.ctx)
	w.t.Cleanup(cancel)
	proxy.Inject(call, 1, kill(cancel))
	return ctx, w.enter(hub)
}

// killedAt tries a step whose worker is killed at each of its calls, before and
// after AWS has carried it out.
func killedAt(t *testing.T, calls []string, test func(t *testing.T, call string, kill func(func()) local.Fault)) {
	t.Helper()
	for _, call := range calls {
		for when, kill := range lifecycle.Kills {
			t.Run(when+" "+call, func(t *testing.T) { test(t, call, kill) })
		}
	}
}

func TestApplyThatIsKilledIsFinishedByTheNext(t *testing.T) {
	killedAt(t, []string{
		"AutoScaling.DetachInstances", "ElasticLoadBalancingv2.DeregisterTargets", "ElasticLoadBalancing.DeregisterInstancesFromLoadBalancer",
	}, func(t *testing.T, call string, kill func(func()) local.Fault) {
		w := newWorld(t)
		id := w.crowded("web")
		before, session := w.service(id), w.session()
		first := w.plan(session, id)
		ctx, doomed := w.doomed(call, kill)
		if err := withdraw.Remedy().Apply(ctx, doomed, *first); err == nil {
			t.Fatal("Apply was not killed")
		}
		if second := w.plan(session, id); second != nil {
			// As the engine does: what was there when the case began stays.
			second.Before = first.Before
			lifecycle.Must(t, withdraw.Remedy().Apply(w.ctx, session, *second))
		}
		w.wantService(id, []string{})
		if group := w.describe("web"); aws.ToInt32(group.DesiredCapacity) != 1 || len(group.Instances) != 1 {
			t.Errorf("the group has %d instances and wants %d; want 1 and 1", len(group.Instances), aws.ToInt32(group.DesiredCapacity))
		}
		lifecycle.Must(t, withdraw.Remedy().Undo(w.ctx, session, *first))
		w.wantService(id, before)
	})
}

func TestUndoThatIsKilledIsFinishedByTheNext(t *testing.T) {
	killedAt(t, []string{
		"AutoScaling.AttachInstances", "AutoScaling.SetInstanceProtection",
		"ElasticLoadBalancingv2.RegisterTargets", "ElasticLoadBalancing.RegisterInstancesWithLoadBalancer",
	}, func(t *testing.T, call string, kill func(func()) local.Fault) {
		w := newWorld(t)
		id := w.crowded("web")
		before, session := w.service(id), w.session()
		c := w.withdrawn(session, id)
		ctx, doomed := w.doomed(call, kill)
		if err := withdraw.Remedy().Undo(ctx, doomed, c); err == nil {
			t.Fatal("Undo was not killed")
		}
		err := withdraw.Remedy().Undo(w.ctx, session, c)
		if moved := (*control.MovedError)(nil); errors.As(err, &moved) && string(moved.Now) == string(c.Before) {
			err = nil // the first had done it all
		}
		lifecycle.Must(t, err)
		w.wantService(id, before)
		if desired := aws.ToInt32(w.describe("web").DesiredCapacity); desired != 2 {
			t.Errorf("the group wants %d instances, want 2: one was attached", desired)
		}
	})
}

func TestDetachingWhatIsOutAlreadySucceeds(t *testing.T) {
	w := newWorld(t)
	// moto says nothing to it.
	not := refused("DetachInstances", "ValidationError", "The instance is not part of Auto Scaling group out.")
	id := w.group("out", 2, nil, nil)
	c := w.plan(w.session(), id)
	for _, tt := range []struct {
		name    string
		session *cloud.Session
	}{
		{"it is on its way out", w.session(inState("Detaching"), not)},
		{"it is in another group", w.session(rewritten("DescribeAutoScalingInstances", ">out<", ">another<"), not)},
		{"it is in none", w.session(rewritten("DescribeAutoScalingInstances", "member>", "none>"), not)},
	} {
		t.Run(tt.name, func(t *testing.T) { lifecycle.Must(t, withdraw.Remedy().Apply(w.ctx, tt.session, *c)) })
	}
}

func TestWhatCannotBeTakenOutStopsNothingElse(t *testing.T) {
	for call, left := range map[string][]string{
		// moto keeps an instance of a group in the classic load balancers attached to it.
		"DetachInstances":                     {"classic web-attached", "group web InService protected=true"},
		"DeregisterTargets":                   {"target web-admin ID 8443", "target web-attached ID 80"},
		"DeregisterInstancesFromLoadBalancer": {"classic web-old"},
	} {
		t.Run(call, func(t *testing.T) {
			w := newWorld(t)
			id := w.crowded("web")
			c := w.plan(w.session(), id)
			err := withdraw.Remedy().Apply(w.ctx, w.session(refused(call, "AccessDenied", "no")), *c)
			if !cloud.Is(err, "AccessDenied") {
				t.Errorf("Apply returns %v, want what AWS said", err)
			}
			for i := range left {
				left[i] = strings.ReplaceAll(left[i], "ID", id)
			}
			w.wantService(id, left)
		})
	}
}

func TestMemberThatAWSRefusesToDetachIsAnError(t *testing.T) {
	w := newWorld(t)
	id := w.group("refused", 2, nil, nil)
	c := w.plan(w.session(), id)
	err := withdraw.Remedy().Apply(w.ctx, w.session(refused("DetachInstances", "ValidationError", "not today")), *c)
	want := "detach instance " + id + ", which is InService, from Auto Scaling group refused: Auto Scaling DetachInstances: ValidationError: not today"
	if err == nil || cloud.Reason(err) != want {
		t.Errorf("Apply returns %v, want %s", err, want)
	}
}

func TestClassicLoadBalancerThatDoesNotKnowTheInstanceIsNoFault(t *testing.T) {
	w := newWorld(t)
	id := aws.ToString(w.instance().InstanceId)
	w.classicBalancer("forgetful", id)
	c := w.plan(w.session(), id)
	for _, code := range []string{"InvalidInstance", "LoadBalancerNotFound"} {
		lifecycle.Must(t, withdraw.Remedy().Apply(w.ctx, w.session(refused("DeregisterInstancesFromLoadBalancer", code, "no")), *c))
	}
}

func TestTargetGroupThatIsDeletedMeanwhileIsNoFault(t *testing.T) {
	w := newWorld(t)
	id := w.crowded("web")
	c := w.plan(w.session(), id)
	_, err := w.elb.DeleteTargetGroup(w.ctx, &elasticloadbalancingv2.DeleteTargetGroupInput{TargetGroupArn: aws.String(w.arn("web-admin"))})
	lifecycle.Must(t, err)
	lifecycle.Must(t, withdraw.Remedy().Apply(w.ctx, w.session(), *c))
	w.wantService(id, []string{})
}

func TestInstanceOnStandbyIsDetached(t *testing.T) {
	w := newWorld(t)
	id := w.group("standby", 3, nil, nil)
	w.standby("standby", id)
	c := w.withdrawn(w.session(), id)
	w.wantService(id, []string{})
	lifecycle.Left(t, withdraw.Remedy().Undo(w.ctx, w.session(), c),
		"The instance was Standby in Auto Scaling group standby, and AWS attaches an instance only into service: "+
			"attach it with `aws autoscaling attach-instances`, and put it on standby with `aws autoscaling enter-standby`.")
	w.wantService(id, []string{})
}

func TestInstanceThatIsTerminatedMeanwhileIsGone(t *testing.T) {
	w := newWorld(t)
	id := w.crowded("ended")
	c := w.plan(w.session(), id)
	_, err := w.ec2.TerminateInstances(w.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	lifecycle.Must(t, err)
	for name, step := range map[string]func() error{
		"Plan":  func() error { _, err := withdraw.Remedy().Plan(w.ctx, w.session(), target(id)); return err },
		"Apply": func() error { return withdraw.Remedy().Apply(w.ctx, w.session(), *c) },
		"Undo":  func() error { return withdraw.Remedy().Undo(w.ctx, w.session(), *c) },
	} {
		if err := step(); !errors.Is(err, control.ErrGone) {
			t.Errorf("%s returns %v, want control.ErrGone", name, err)
		}
	}
}

func TestInstanceIsDetachedBeforeItLosesItsLoadBalancers(t *testing.T) {
	w := newWorld(t)
	id := w.crowded("first")
	c := w.plan(w.session(), id)
	early := ""
	watch := func(call string, _ url.Values, _ func() string) *answer {
		if call != "DeregisterTargets" && call != "DeregisterInstancesFromLoadBalancer" {
			return nil
		}
		for _, m := range w.describe("first").Instances {
			if aws.ToString(m.InstanceId) == id {
				early = call
			}
		}
		return nil
	}
	lifecycle.Must(t, withdraw.Remedy().Apply(w.ctx, w.session(watch), *c))
	if early != "" {
		t.Errorf("%s is called while the instance is in its group still, where a health check may end it", early)
	}
}

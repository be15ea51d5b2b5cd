package withdraw

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	classictypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
)

// apply detaches first: a member of a group that is taken from its load
// balancers may be found unhealthy, and what Auto Scaling finds unhealthy it
// terminates, termination protection or not (EC2 user guide, "Change instance
// termination protection"). A member that can't be detached is taken from them
// nevertheless. The detaching takes it from those that are attached to its group
// too (EC2 Auto Scaling API reference, DetachInstances), but in AWS's own time.
func apply(ctx context.Context, session *cloud.Session, c control.Change) error {
	before, after, err := decode(c)
	if err != nil {
		return err
	}
	var kept error
	if before.Group != nil && after.Group == nil {
		kept = detach(ctx, session, before.Group.Name, c.Target.ID)
	}
	all := []func() error{
		func() error { _, err := instance.Describe(ctx, session, c.Target); return err }, // is it gone?
	}
	for _, targets := range before.byGroup() {
		all = append(all, func() error { return deregister(ctx, session, targets) })
	}
	for _, name := range before.ClassicLoadBalancers {
		all = append(all, func() error { return deregisterClassic(ctx, session, name, c.Target.ID) })
	}
	return errors.Join(kept, sideBySide(all...))
}

// detach takes an instance out of its group. AWS says ValidationError to
// everything that it can't do, so the instance's state, asked for at the same
// time, tells whether it is out already.
func detach(ctx context.Context, session *cloud.Session, group, id string) error {
	var (
		member       *scalingtypes.AutoScalingInstanceDetails
		asked, tried error
	)
	_ = sideBySide(
		func() error { member, asked = membership(ctx, session, id); return nil },
		func() error {
			_, tried = scaling(session).DetachInstances(ctx, &autoscaling.DetachInstancesInput{
				AutoScalingGroupName: aws.String(group), InstanceIds: []string{id}, ShouldDecrementDesiredCapacity: aws.Bool(false),
			})
			return nil
		},
	)
	switch {
	case tried == nil:
		return nil
	case !cloud.Is(tried, "ValidationError"):
		return fmt.Errorf("detach instance %s from Auto Scaling group %s: %w", id, group, tried)
	case asked != nil:
		return asked
	case member == nil || aws.ToString(member.AutoScalingGroupName) != group || leaving(stateOf(member)):
		return nil
	}
	return fmt.Errorf("detach instance %s, which is %s, from Auto Scaling group %s: %w", id, stateOf(member), group, tried)
}

// deregister takes targets out of their group. AWS takes a target that is not
// there for deregistered (ELB API reference, DeregisterTargets).
func deregister(ctx context.Context, session *cloud.Session, targets []target) error {
	_, err := balancing(session).DeregisterTargets(ctx, &elasticloadbalancingv2.DeregisterTargetsInput{
		TargetGroupArn: aws.String(targets[0].ARN), Targets: descriptions(targets),
	})
	if err == nil || cloud.Is(err, "TargetGroupNotFound", "InvalidTarget") {
		return nil
	}
	return fmt.Errorf("deregister targets of %s: %w", targets[0].ARN, err)
}

// deregisterClassic takes an instance out of a classic load balancer. Of an
// instance that is not registered there, AWS may say that it is invalid.
func deregisterClassic(ctx context.Context, session *cloud.Session, name, id string) error {
	_, err := classicBalancing(session).DeregisterInstancesFromLoadBalancer(ctx, &elasticloadbalancing.DeregisterInstancesFromLoadBalancerInput{
		LoadBalancerName: aws.String(name), Instances: []classictypes.Instance{{InstanceId: aws.String(id)}},
	})
	if err == nil || cloud.Is(err, "LoadBalancerNotFound", "InvalidInstance") {
		return nil
	}
	return fmt.Errorf("deregister instance %s from classic load balancer %s: %w", id, name, err)
}

func descriptions(targets []target) []types.TargetDescription {
	all := make([]types.TargetDescription, len(targets))
	for i, t := range targets {
		all[i] = t.description()
	}
	return all
}

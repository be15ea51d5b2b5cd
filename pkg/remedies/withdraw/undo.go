package withdraw

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	classictypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

// undo puts an instance back into service where it was. It also goes on from
// where an undo was broken off: some of it may be back already, as long as not
// all is, and the instance is in service nowhere else.
func undo(ctx context.Context, session *cloud.Session, c control.Change) error {
	before, _, err := decode(c)
	if err != nil {
		return err
	}
	now, err := read(ctx, session, c.Target)
	if err != nil {
		return err
	}
	if now.equal(before) || !now.within(before) {
		state, err := json.Marshal(now.service)
		if err != nil {
			return err
		}
		return &control.MovedError{Change: c, Now: state}
	}
	if now.member != nil && leaving(stateOf(now.member)) {
		return fmt.Errorf("instance %s is still being detached from Auto Scaling group %s, which waits for its connections to drain: undo again once it is out",
			c.Target.ID, aws.ToString(now.member.AutoScalingGroupName))
	}
	return restore(ctx, session, c.Target.ID, now.Group, before)
}

// part puts something back, or says in a sentence why that can't be.
type part func() (left string, err error)

// restore puts an instance back where it was. The group comes first: attaching
// also registers the instance with what is attached to the group, on ports of
// AWS's choice.
func restore(ctx context.Context, session *cloud.Session, id string, now *group, before service) error {
	var (
		kept  string
		out   error
		parts []part
	)
	if g := before.Group; g != nil {
		if now == nil {
			now, kept, out = attach(ctx, session, *g, id)
		}
		if now != nil && now.Protected != g.Protected {
			parts = append(parts, func() (string, error) { return protect(ctx, session, *g, id) })
		}
	}
	for _, targets := range before.byGroup() {
		parts = append(parts, func() (string, error) { return register(ctx, session, targets) })
	}
	for _, name := range before.ClassicLoadBalancers {
		parts = append(parts, func() (string, error) { return registerClassic(ctx, session, name, id) })
	}
	left, err := together(parts)
	if kept != "" {
		left = append([]string{kept}, left...)
	}
	if err := errors.Join(out, err); err != nil {
		return err
	}
	if len(left) > 0 {
		return &control.LeftError{Left: left}
	}
	return nil
}

// together does all parts side by side.
func together(parts []part) (left []string, err error) {
	said := make([]string, len(parts))
	all := make([]func() error, len(parts))
	for i, do := range parts {
		all[i] = func() (err error) { said[i], err = do(); return err }
	}
	err = sideBySide(all...)
	for _, s := range said {
		if s != "" {
			left = append(left, s)
		}
	}
	return left, err
}

// attach puts an instance into its group again, and returns its place there as
// AWS makes it; nil if it is left out. AWS refuses where the group would pass
// its maximum (EC2 Auto Scaling API reference, AttachInstances), and where the
// instance does not run, is in another group or out of the group's zones (user
// guide, "Detach or attach instances").
func attach(ctx context.Context, session *cloud.Session, g group, id string) (now *group, left string, err error) {
	found, err := describeGroup(ctx, session, g.Name)
	switch {
	case err != nil:
		return nil, "", err
	case found == nil:
		return nil, fmt.Sprintf("Auto Scaling group %s no longer exists: the instance is in none.", g.Name), nil
	case g.Standby:
		return nil, fmt.Sprintf("The instance was Standby in Auto Scaling group %s, and AWS attaches an instance only into service: "+
			"attach it with `aws autoscaling attach-instances`, and put it on standby with `aws autoscaling enter-standby`.", g.Name), nil
	case aws.ToInt32(found.DesiredCapacity) >= aws.ToInt32(found.MaxSize):
		return nil, fmt.Sprintf("Auto Scaling group %s is at its maximum of %d, and the instance would be one more: "+
			"raise its maximum, then attach the instance with `aws autoscaling attach-instances`.", g.Name, aws.ToInt32(found.MaxSize)), nil
	}
	_, err = scaling(session).AttachInstances(ctx, &autoscaling.AttachInstancesInput{
		AutoScalingGroupName: aws.String(g.Name), InstanceIds: []string{id},
	})
	switch {
	case cloud.Is(err, "ValidationError"):
		return nil, fmt.Sprintf("Auto Scaling group %s does not take the instance back (%s): "+
			"mend that, then attach it with `aws autoscaling attach-instances`.", g.Name, cloud.Reason(err)), nil
	case err != nil:
		return nil, "", fmt.Errorf("attach instance %s to Auto Scaling group %s: %w", id, g.Name, err)
	}
	return &group{Name: g.Name, Protected: aws.ToBool(found.NewInstancesProtectedFromScaleIn)}, "", nil
}

// settleWaits are the waits before each look whether an attached instance is in
// service: 15 s in all.
var settleWaits = []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}

// protect turns scale-in protection to what it was. AWS takes that only of an
// instance that is in service, which an attached one, Pending at first, is after
// a while; a lifecycle hook may hold it for hours.
func protect(ctx context.Context, session *cloud.Session, g group, id string) (left string, err error) {
	for _, wait := range settleWaits {
		if err := pause(ctx, wait); err != nil {
			return "", err
		}
		member, err := membership(ctx, session, id)
		if err != nil {
			return "", err
		}
		if member == nil || stateOf(member) != scalingtypes.LifecycleStateInService {
			continue
		}
		_, err = scaling(session).SetInstanceProtection(ctx, &autoscaling.SetInstanceProtectionInput{
			AutoScalingGroupName: aws.String(g.Name), InstanceIds: []string{id}, ProtectedFromScaleIn: aws.Bool(g.Protected),
		})
		if err != nil {
			return "", fmt.Errorf("set scale-in protection of instance %s in Auto Scaling group %s: %w", id, g.Name, err)
		}
		return "", nil
	}
	return fmt.Sprintf("The instance is not in service in Auto Scaling group %s yet: once it is, set its scale-in protection to %t again "+
		"with `aws autoscaling set-instance-protection`.", g.Name, g.Protected), nil
}

func pause(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// register puts targets of one group back into it, each on its port.
func register(ctx context.Context, session *cloud.Session, targets []target) (left string, err error) {
	arn := targets[0].ARN
	_, err = balancing(session).RegisterTargets(ctx, &elasticloadbalancingv2.RegisterTargetsInput{
		TargetGroupArn: aws.String(arn), Targets: descriptions(targets),
	})
	switch {
	case cloud.Is(err, "TargetGroupNotFound"):
		return fmt.Sprintf("Target group %s no longer exists.", arn), nil
	case cloud.Is(err, "InvalidTarget", "TooManyTargets", "TooManyRegistrationsForTargetId"):
		return fmt.Sprintf("Target group %s does not take the instance back (%s).", arn, cloud.Reason(err)), nil
	case err != nil:
		return "", fmt.Errorf("register targets with %s: %w", arn, err)
	}
	return "", nil
}

func registerClassic(ctx context.Context, session *cloud.Session, name, id string) (left string, err error) {
	_, err = classicBalancing(session).RegisterInstancesWithLoadBalancer(ctx, &elasticloadbalancing.RegisterInstancesWithLoadBalancerInput{
		LoadBalancerName: aws.String(name), Instances: []classictypes.Instance{{InstanceId: aws.String(id)}},
	})
	switch {
	case cloud.Is(err, "LoadBalancerNotFound"):
		return fmt.Sprintf("Classic load balancer %s no longer exists.", name), nil
	case cloud.Is(err, "InvalidInstance"):
		return fmt.Sprintf("Classic load balancer %s does not take the instance back (%s).", name, cloud.Reason(err)), nil
	case err != nil:
		return "", fmt.Errorf("register instance %s with classic load balancer %s: %w", id, name, err)
	}
	return "", nil
}

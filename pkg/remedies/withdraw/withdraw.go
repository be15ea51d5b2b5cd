// Package withdraw takes an EC2 instance out of service: out of its Auto
// Scaling group, of every target group and of every classic load balancer. The
// group then launches a replacement, and nobody's health check ends an instance
// that is evidence.
package withdraw

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
)

// Remedy takes an instance out of service, and puts it back.
//
// It detaches without lowering the desired capacity, so that a replacement
// starts. Undo attaches the instance again, by which AWS raises the desired
// capacity by one; it never lowers it again, since Auto Scaling would terminate
// an instance of its own choice then.
//
// Two ways into service are not looked at: the target groups of VPC Lattice,
// and those of another VPC that name an address of this one through a peering,
// where the same address may be another machine's.
func Remedy() control.Remedy {
	const (
		group   = "arn:${Partition}:autoscaling:${Region}:${Account}:autoScalingGroup:*:autoScalingGroupName/*"
		targets = "arn:${Partition}:elasticloadbalancing:${Region}:${Account}:targetgroup/*/*"
		classic = "arn:${Partition}:elasticloadbalancing:${Region}:${Account}:loadbalancer/*"
	)
	// IAM knows no resource for the reads (service authorization reference, Amazon
	// EC2 Auto Scaling, Elastic Load Balancing, Elastic Load Balancing V2).
	member := control.Permission{Call: "AutoScaling.DescribeAutoScalingInstances", Action: "autoscaling:DescribeAutoScalingInstances", Resource: "*"}
	reads := []control.Permission{
		instance.Read, member,
		{Call: "AutoScaling.DescribeAutoScalingGroups", Action: "autoscaling:DescribeAutoScalingGroups", Resource: "*"},
		{Call: "ElasticLoadBalancingv2.DescribeTargetGroups", Action: "elasticloadbalancing:DescribeTargetGroups", Resource: "*"},
		{Call: "ElasticLoadBalancingv2.DescribeTargetHealth", Action: "elasticloadbalancing:DescribeTargetHealth", Resource: "*"},
		{Call: "ElasticLoadBalancing.DescribeLoadBalancers", Action: "elasticloadbalancing:DescribeLoadBalancers", Resource: "*"},
	}
	return control.Remedy{
		Name:  "take-out-of-service",
		Plan:  plan,
		Apply: apply,
		Undo:  undo,
		Permissions: control.Permissions{
			Plan: reads,
			Apply: []control.Permission{
				instance.Read, member,
				{Call: "AutoScaling.DetachInstances", Action: "autoscaling:DetachInstances", Resource: group},
				{Call: "ElasticLoadBalancingv2.DeregisterTargets", Action: "elasticloadbalancing:DeregisterTargets", Resource: targets},
				{
					Call:   "ElasticLoadBalancing.DeregisterInstancesFromLoadBalancer",
					Action: "elasticloadbalancing:DeregisterInstancesFromLoadBalancer", Resource: classic,
				},
			},
			Undo: append(slices.Clone(reads),
				control.Permission{Call: "AutoScaling.AttachInstances", Action: "autoscaling:AttachInstances", Resource: group},
				control.Permission{Call: "AutoScaling.SetInstanceProtection", Action: "autoscaling:SetInstanceProtection", Resource: group},
				control.Permission{Call: "ElasticLoadBalancingv2.RegisterTargets", Action: "elasticloadbalancing:RegisterTargets", Resource: targets},
				control.Permission{
					Call:   "ElasticLoadBalancing.RegisterInstancesWithLoadBalancer",
					Action: "elasticloadbalancing:RegisterInstancesWithLoadBalancer", Resource: classic,
				}),
		},
	}
}

func plan(ctx context.Context, session *cloud.Session, t control.Target) (*control.Change, error) {
	now, err := read(ctx, session, t)
	if err != nil {
		return nil, err
	}
	after := service{TargetGroups: []target{}, ClassicLoadBalancers: []string{}}
	c := &control.Change{Target: t, Reason: now.reason(t.ID)}
	if now.Group != nil && !now.detachable() {
		after.Group = now.Group
		c.Left = []string{fmt.Sprintf("Auto Scaling group %s keeps the instance: it is %s there, AWS detaches only an instance that is InService or Standby, "+
			"and Auto Scaling can still terminate it, termination protection or not.", now.Group.Name, stateOf(now.member))}
	}
	if now.equal(after) && c.Left == nil {
		return nil, nil
	}
	if c.Before, err = json.Marshal(now.service); err != nil {
		return nil, err
	}
	if now.equal(after) {
		return c, nil
	}
	c.Touches = now.touches(t, after)
	c.After, err = json.Marshal(after)
	return c, err
}

// reason is what an operator reads.
func (n *standing) reason(id string) string {
	var in []string
	if n.Group != nil {
		in = append(in, "Auto Scaling group "+n.Group.Name)
	}
	for _, g := range n.TargetGroups {
		in = append(in, fmt.Sprintf("target group %s (%s port %d)", g.name(), g.ID, g.Port))
	}
	for _, name := range n.ClassicLoadBalancers {
		in = append(in, "classic load balancer "+name)
	}
	reason := fmt.Sprintf("Instance %s is in service: %s.", id, strings.Join(in, ", "))
	if !n.detachable() || n.Group.Standby { // what is on standby counts in no capacity
		return reason
	}
	if n.launchSuspended() {
		reason += " No replacement starts as long as the group's process Launch is suspended."
	}
	return reason + " An undo attaches it to the group again, by which AWS raises the desired capacity by one."
}

// touches are the ARNs of what the instance is taken out of.
func (n *standing) touches(t control.Target, after service) []string {
	var arns []string
	if n.group != nil && after.Group == nil {
		arns = append(arns, aws.ToString(n.group.AutoScalingGroupARN))
	}
	for _, g := range n.TargetGroups {
		arns = append(arns, g.ARN)
	}
	for _, name := range n.ClassicLoadBalancers {
		arns = append(arns, "arn:"+cloud.Partition(t.Region)+":elasticloadbalancing:"+t.Region+":"+t.Account+":loadbalancer/"+name)
	}
	return slices.Compact(arns)
}

// decode reads what a change recorded.
func decode(c control.Change) (before, after service, err error) {
	if err = json.Unmarshal(c.Before, &before); err == nil {
		err = json.Unmarshal(c.After, &after)
	}
	if err != nil {
		return before, after, fmt.Errorf("read where instance %s was recorded to be in service: %w", c.Target.ID, err)
	}
	return before, after, nil
}

// sideBySide does all at once and joins what went wrong.
func sideBySide(all ...func() error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, do := range all {
		wg.Go(func() { errs[i] = do() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func scaling(session *cloud.Session) *autoscaling.Client {
	return cloud.Client(session, func(cfg aws.Config) *autoscaling.Client { return autoscaling.NewFromConfig(cfg) })
}

func balancing(session *cloud.Session) *elasticloadbalancingv2.Client {
	return cloud.Client(session, func(cfg aws.Config) *elasticloadbalancingv2.Client { return elasticloadbalancingv2.NewFromConfig(cfg) })
}

func classicBalancing(session *cloud.Session) *elasticloadbalancing.Client {
	return cloud.Client(session, func(cfg aws.Config) *elasticloadbalancing.Client { return elasticloadbalancing.NewFromConfig(cfg) })
}

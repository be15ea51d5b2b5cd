package withdraw

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
)

// service is where an instance is in service, sorted: the form of Before and
// After.
type service struct {
	Group                *group   `json:"autoScalingGroup"`
	TargetGroups         []target `json:"targetGroups"`
	ClassicLoadBalancers []string `json:"classicLoadBalancers"`
}

// group is an instance's place in an Auto Scaling group. Of its lifecycle state
// only Standby is kept: the others are passing, and an undo that is read back
// while the instance is still Pending has put back what was there.
type group struct {
	Name      string `json:"name"`
	Protected bool   `json:"protectedFromScaleIn"`
	Standby   bool   `json:"standby,omitempty"`
}

// target is one registration in a target group: an instance or an address may
// be there on several ports.
type target struct {
	ARN  string `json:"arn"`
	ID   string `json:"id"` // the instance's, or one of its addresses
	Port int32  `json:"port"`
	// Zone is known of addresses alone; ELB takes none for an instance.
	Zone string `json:"zone,omitempty"`
	// QUIC is the target's server ID in a group of that protocol, without which it
	// can't be registered again.
	QUIC string `json:"quicServerId,omitempty"`
}

// name is the target group's, out of arn:…:targetgroup/NAME/ID.
func (g target) name() string {
	if fields := strings.Split(g.ARN, "/"); len(fields) == 3 {
		return fields[1]
	}
	return g.ARN
}

func (g target) description() types.TargetDescription {
	d := types.TargetDescription{Id: aws.String(g.ID), Port: aws.Int32(g.Port)}
	if g.Zone != "" {
		d.AvailabilityZone = aws.String(g.Zone)
	}
	if g.QUIC != "" {
		d.QuicServerId = aws.String(g.QUIC)
	}
	return d
}

// byGroup are the targets of each target group, in their order.
func (s service) byGroup() [][]target {
	var groups [][]target
	for i, g := range s.TargetGroups {
		if i == 0 || g.ARN != s.TargetGroups[i-1].ARN {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], g)
	}
	return groups
}

func (s service) equal(o service) bool { return reflect.DeepEqual(s, o) }

// within reports whether the instance is in service nowhere but where it was.
func (s service) within(o service) bool {
	return (s.Group == nil || o.Group != nil && s.Group.Name == o.Group.Name && s.Group.Standby == o.Group.Standby) &&
		!slices.ContainsFunc(s.TargetGroups, func(g target) bool { return !slices.Contains(o.TargetGroups, g) }) &&
		!slices.ContainsFunc(s.ClassicLoadBalancers, func(name string) bool { return !slices.Contains(o.ClassicLoadBalancers, name) })
}

// standing is where an instance is in service, with what else Auto Scaling says
// of it.
type standing struct {
	service
	// member is the instance in its Auto Scaling group, also when it is on its way
	// out and service.Group is nil already; nil if it is in none.
	member *scalingtypes.AutoScalingInstanceDetails
	// group is what service.Group names; nil if that is nil.
	group *scalingtypes.AutoScalingGroup
}

// detachable reports whether the instance is in a group, and in a state in which
// AWS detaches it. The user guide ("Detach or attach instances") knows InService
// alone, the API's own refusal says "InService or Standby". What is pending,
// terminating or in a warm pool stays.
func (n *standing) detachable() bool {
	return n.Group != nil && (n.Group.Standby || stateOf(n.member) == scalingtypes.LifecycleStateInService)
}

func (n *standing) launchSuspended() bool {
	return n.group != nil && slices.ContainsFunc(n.group.SuspendedProcesses, func(p scalingtypes.SuspendedProcess) bool {
		return aws.ToString(p.ProcessName) == "Launch"
	})
}

// leaving reports whether an instance is as good as out of its group. It stays
// Detaching until connections to it have drained, five minutes by default (EC2
// Auto Scaling user guide, "Instance lifecycle"), and there is no way back.
func leaving(state scalingtypes.LifecycleState) bool {
	return state == scalingtypes.LifecycleStateDetaching || state == scalingtypes.LifecycleStateDetached
}

func stateOf(member *scalingtypes.AutoScalingInstanceDetails) scalingtypes.LifecycleState {
	return scalingtypes.LifecycleState(aws.ToString(member.LifecycleState))
}

// read finds where an instance is in service, in two round trips.
func read(ctx context.Context, session *cloud.Session, t control.Target) (*standing, error) {
	var (
		n      standing
		in     *ec2types.Instance
		groups []types.TargetGroup
	)
	err := sideBySide(
		func() (err error) { in, err = instance.Describe(ctx, session, t); return err },
		func() (err error) { n.member, err = membership(ctx, session, t.ID); return err },
		func() (err error) { groups, err = targetGroups(ctx, session); return err },
		func() (err error) { n.ClassicLoadBalancers, err = classicOf(ctx, session, t.ID); return err },
	)
	if err != nil {
		return nil, err
	}
	if n.member != nil && !leaving(stateOf(n.member)) {
		n.Group = &group{
			Name:      aws.ToString(n.member.AutoScalingGroupName),
			Protected: aws.ToBool(n.member.ProtectedFromScaleIn),
			Standby:   stateOf(n.member) == scalingtypes.LifecycleStateStandby,
		}
	}
	return &n, sideBySide(
		func() (err error) {
			if n.Group != nil {
				n.group, err = describeGroup(ctx, session, n.Group.Name)
			}
			return err
		},
		func() (err error) { n.TargetGroups, err = targetsOf(ctx, session, in, groups); return err },
	)
}

// membership is an instance's place in an Auto Scaling group; nil if it is in
// none.
func membership(ctx context.Context, session *cloud.Session, id string) (*scalingtypes.AutoScalingInstanceDetails, error) {
	out, err := scaling(session).DescribeAutoScalingInstances(ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		return nil, fmt.Errorf("find the Auto Scaling group of instance %s: %w", id, err)
	}
	if len(out.AutoScalingInstances) == 0 {
		return nil, nil
	}
	return &out.AutoScalingInstances[0], nil
}

// describeGroup reads an Auto Scaling group; nil if there is none of the name.
func describeGroup(ctx context.Context, session *cloud.Session, name string) (*scalingtypes.AutoScalingGroup, error) {
	out, err := scaling(session).DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{name}})
	if err != nil {
		return nil, fmt.Errorf("describe Auto Scaling group %s: %w", name, err)
	}
	if len(out.AutoScalingGroups) == 0 {
		return nil, nil
	}
	return &out.AutoScalingGroups[0], nil
}

// targetGroups are all target groups of the account and Region: ELB does not
// find them by their targets.
func targetGroups(ctx context.Context, session *cloud.Session) ([]types.TargetGroup, error) {
	var groups []types.TargetGroup
	pages := elasticloadbalancingv2.NewDescribeTargetGroupsPaginator(balancing(session), &elasticloadbalancingv2.DescribeTargetGroupsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list target groups of %s in %s: %w", session.Account, session.Region, err)
		}
		groups = append(groups, page.TargetGroups...)
	}
	return groups, nil
}

// classicOf are the classic load balancers that an instance is registered with.
// One that is only draining there is no longer among them.
func classicOf(ctx context.Context, session *cloud.Session, id string) ([]string, error) {
	names := []string{}
	pages := elasticloadbalancing.NewDescribeLoadBalancersPaginator(classicBalancing(session), &elasticloadbalancing.DescribeLoadBalancersInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list classic load balancers of %s in %s: %w", session.Account, session.Region, err)
		}
		for _, b := range page.LoadBalancerDescriptions {
			for _, in := range b.Instances {
				if aws.ToString(in.InstanceId) == id {
					names = append(names, aws.ToString(b.LoadBalancerName))
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// widest is how many target groups are read at a time: an account may have
// 3,000 in a Region (Elastic Load Balancing, "Quotas"), and ELB throttles.
const widest = 10

// targetsOf are an instance's registrations in those of the target groups that
// can hold it.
func targetsOf(ctx context.Context, session *cloud.Session, in *ec2types.Instance, groups []types.TargetGroup) ([]target, error) {
	where := networksOf(in)
	turns := make(chan struct{}, widest)
	found := make([][]target, len(groups))
	var reads []func() error
	for i, g := range groups {
		if where[aws.ToString(g.VpcId)] == nil || g.TargetType != types.TargetTypeEnumInstance && g.TargetType != types.TargetTypeEnumIp {
			continue
		}
		reads = append(reads, func() (err error) {
			turns <- struct{}{}
			defer func() { <-turns }()
			found[i], err = registered(ctx, session, g, func(id string) bool {
				return id == aws.ToString(in.InstanceId) || where.hold(aws.ToString(g.VpcId), id)
			})
			return err
		})
	}
	if err := sideBySide(reads...); err != nil {
		return nil, err
	}
	all := append([]target{}, slices.Concat(found...)...)
	slices.SortFunc(all, func(a, b target) int {
		return cmp.Or(cmp.Compare(a.ARN, b.ARN), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Port, b.Port))
	})
	return all, nil
}

// registered are the targets of a group that are meant. One that is draining
// is on its way out already: it gets no new requests.
func registered(ctx context.Context, session *cloud.Session, g types.TargetGroup, meant func(id string) bool) ([]target, error) {
	out, err := balancing(session).DescribeTargetHealth(ctx, &elasticloadbalancingv2.DescribeTargetHealthInput{TargetGroupArn: g.TargetGroupArn})
	switch {
	case cloud.Is(err, "TargetGroupNotFound"): // deleted since it was listed
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read the targets of %s: %w", aws.ToString(g.TargetGroupArn), err)
	}
	var targets []target
	for _, d := range out.TargetHealthDescriptions {
		if d.Target == nil || !meant(aws.ToString(d.Target.Id)) || deregistered(d.TargetHealth) {
			continue
		}
		r := target{
			ARN: aws.ToString(g.TargetGroupArn), ID: aws.ToString(d.Target.Id), Port: aws.ToInt32(d.Target.Port),
			QUIC: aws.ToString(d.Target.QuicServerId),
		}
		if g.TargetType == types.TargetTypeEnumIp {
			r.Zone = aws.ToString(d.Target.AvailabilityZone)
		}
		targets = append(targets, r)
	}
	return targets, nil
}

// deregistered tells a target that was taken out from one that is registered
// and gets no requests for another reason. "unhealthy.draining" is such a one.
func deregistered(h *types.TargetHealth) bool {
	return h != nil && (h.State == types.TargetHealthStateEnumDraining || h.Reason == types.TargetHealthReasonEnumNotRegistered)
}

// networks are the addresses of an instance's interfaces, by their VPC: those
// of its own, and of the prefixes delegated to it, out of which its containers
// have theirs. An interface may be in another VPC than the instance.
type networks map[string][]netip.Prefix

func networksOf(in *ec2types.Instance) networks {
	where := networks{aws.ToString(in.VpcId): {}}
	for _, i := range in.NetworkInterfaces {
		var texts []string
		for _, a := range i.PrivateIpAddresses {
			texts = append(texts, aws.ToString(a.PrivateIpAddress)+"/32")
		}
		for _, a := range i.Ipv6Addresses {
			texts = append(texts, aws.ToString(a.Ipv6Address)+"/128")
		}
		for _, p := range i.Ipv4Prefixes {
			texts = append(texts, aws.ToString(p.Ipv4Prefix))
		}
		for _, p := range i.Ipv6Prefixes {
			texts = append(texts, aws.ToString(p.Ipv6Prefix))
		}
		vpc := aws.ToString(i.VpcId)
		for _, text := range texts {
			if p, err := netip.ParsePrefix(text); err == nil {
				where[vpc] = append(where[vpc], p)
			}
		}
	}
	return where
}

// hold reports whether a target's ID is an address of the instance in a VPC.
func (n networks) hold(vpc, id string) bool {
	address, err := netip.ParseAddr(id)
	return err == nil && slices.ContainsFunc(n[vpc], func(p netip.Prefix) bool { return p.Contains(address) })
}

package scene

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// World is all of an account that the quarantine of an instance could touch, by
// what it is about, each as one line: to be compared as a whole.
type World map[string]string

// World reads the world of the scene's account. Left out is what a quarantine
// leaves by intention: the quarantine group, as long as it is empty, snapshots
// that are no longer held as evidence, the desired capacity of the Auto Scaling
// group, and what that group started in the instance's place.
func (s *Scene) World(ctx context.Context) (World, error) {
	w := World{}
	for _, read := range []func(context.Context, World) error{
		s.instances, s.interfaces, s.groups, s.snapshots, s.scaling, s.targets, s.classic, s.roles,
	} {
		if err := read(ctx, w); err != nil {
			return nil, fmt.Errorf("read the world: %w", err)
		}
	}
	return w, nil
}

// replaces reports whether Auto Scaling started an instance in this one's place.
func (s *Scene) replaces(in *types.Instance) bool {
	return aws.ToString(in.InstanceId) != s.Instance &&
		slices.ContainsFunc(in.Tags, func(t types.Tag) bool { return aws.ToString(t.Key) == "aws:autoscaling:groupName" })
}

func (s *Scene) instances(ctx context.Context, w World) error {
	out, err := s.ec2().DescribeInstances(ctx, &ec2.DescribeInstancesInput{})
	if err != nil {
		return err
	}
	for _, r := range out.Reservations {
		for _, in := range r.Instances {
			if s.replaces(&in) {
				continue
			}
			if err := s.one(ctx, w, &in); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Scene) one(ctx context.Context, w World, in *types.Instance) error {
	id := aws.ToString(in.InstanceId)
	w["instance "+id] = string(in.State.Name)
	if in.IamInstanceProfile != nil {
		w["profile of "+id] = aws.ToString(in.IamInstanceProfile.Arn)
	}
	for _, t := range in.Tags {
		w["tag of "+id+" "+aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	for _, d := range in.BlockDeviceMappings {
		w["volume "+aws.ToString(d.DeviceName)+" of "+id] = fmt.Sprintf("%s, deleted on termination: %t",
			aws.ToString(d.Ebs.VolumeId), aws.ToBool(d.Ebs.DeleteOnTermination))
	}
	protection, err := s.attribute(ctx, id, types.InstanceAttributeNameDisableApiTermination)
	if err != nil {
		return err
	}
	w["termination protection of "+id] = fmt.Sprint(aws.ToBool(protection.DisableApiTermination.Value))
	shutdown, err := s.attribute(ctx, id, types.InstanceAttributeNameInstanceInitiatedShutdownBehavior)
	if err != nil {
		return err
	}
	w["shutdown behavior of "+id] = aws.ToString(shutdown.InstanceInitiatedShutdownBehavior.Value)
	return nil
}

func (s *Scene) attribute(ctx context.Context, id string, name types.InstanceAttributeName) (*ec2.DescribeInstanceAttributeOutput, error) {
	return s.ec2().DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{InstanceId: &id, Attribute: name})
}

func (s *Scene) interfaces(ctx context.Context, w World) error {
	out, err := s.ec2().DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{
		Filters: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{s.VPC}}}, // replacements are in the default VPC
	})
	if err != nil {
		return err
	}
	for _, i := range out.NetworkInterfaces {
		id := aws.ToString(i.NetworkInterfaceId)
		groups := []string{}
		for _, g := range i.Groups {
			groups = append(groups, aws.ToString(g.GroupId))
		}
		slices.Sort(groups)
		w["groups of "+id] = strings.Join(groups, " ")
		addresses := []string{}
		for _, a := range i.PrivateIpAddresses {
			addresses = append(addresses, aws.ToString(a.PrivateIpAddress))
		}
		for _, a := range i.Ipv6Addresses {
			addresses = append(addresses, aws.ToString(a.Ipv6Address))
		}
		w["addresses of "+id] = strings.Join(addresses, " ")
		if a := i.Attachment; a != nil {
			w["attachment of "+id] = fmt.Sprintf("%s %d", aws.ToString(a.InstanceId), aws.ToInt32(a.DeviceIndex))
		}
	}
	return nil
}

// quarantine is the group that stays.
const quarantine = "snapback-quarantine"

func (s *Scene) groups(ctx context.Context, w World) error {
	out, err := s.ec2().DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{
		Filters: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{s.VPC}}},
	})
	if err != nil {
		return err
	}
	for _, g := range out.SecurityGroups {
		rules := append(rulesOf("in from", g.IpPermissions), rulesOf("out to", g.IpPermissionsEgress)...)
		slices.Sort(rules)
		if aws.ToString(g.GroupName) == quarantine && len(rules) == 0 {
			continue
		}
		w["group "+aws.ToString(g.GroupId)] = aws.ToString(g.GroupName)
		w["rules of "+aws.ToString(g.GroupId)] = strings.Join(rules, ", ")
	}
	return nil
}

// rulesOf are rules one by one, for people: "tcp 22-22 in from 0.0.0.0/0 (admins)".
func rulesOf(direction string, permissions []types.IpPermission) []string {
	var rules []string
	for _, p := range permissions {
		add := func(peer, description *string) {
			rules = append(rules, fmt.Sprintf("%s %d-%d %s %s (%s)", aws.ToString(p.IpProtocol), aws.ToInt32(p.FromPort), aws.ToInt32(p.ToPort),
				direction, aws.ToString(peer), aws.ToString(description)))
		}
		for _, r := range p.IpRanges {
			add(r.CidrIp, r.Description)
		}
		for _, r := range p.Ipv6Ranges {
			add(r.CidrIpv6, r.Description)
		}
		for _, r := range p.PrefixListIds {
			add(r.PrefixListId, r.Description)
		}
		for _, r := range p.UserIdGroupPairs {
			add(r.GroupId, r.Description)
		}
	}
	return rules
}

func (s *Scene) snapshots(ctx context.Context, w World) error {
	// moto takes no notice of OwnerIds: without the filter it answers with the
	// snapshots of all public images, for seconds.
	out, err := s.ec2().DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"}, Filters: []types.Filter{{Name: aws.String("tag:snapback:evidence"), Values: []string{"held"}}},
	})
	if err != nil {
		return err
	}
	for _, snap := range out.Snapshots {
		tags := map[string]string{}
		for _, t := range snap.Tags {
			tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
		text, err := json.Marshal(tags)
		if err != nil {
			return err
		}
		w["evidence of "+aws.ToString(snap.VolumeId)] += aws.ToString(snap.SnapshotId) + " " + string(text)
	}
	return nil
}

func (s *Scene) scaling(ctx context.Context, w World) error {
	out, err := autoscaling.NewFromConfig(s.cfg).DescribeAutoScalingInstances(ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{s.Instance}})
	if err != nil {
		return err
	}
	for _, i := range out.AutoScalingInstances {
		w["auto scaling group"] = fmt.Sprintf("%s %s, protected from scale-in: %t",
			aws.ToString(i.AutoScalingGroupName), aws.ToString(i.LifecycleState), aws.ToBool(i.ProtectedFromScaleIn))
	}
	return nil
}

func (s *Scene) targets(ctx context.Context, w World) error {
	client := elbv2.NewFromConfig(s.cfg)
	groups, err := client.DescribeTargetGroups(ctx, &elbv2.DescribeTargetGroupsInput{})
	if err != nil {
		return err
	}
	for _, g := range groups.TargetGroups {
		health, err := client.DescribeTargetHealth(ctx, &elbv2.DescribeTargetHealthInput{TargetGroupArn: g.TargetGroupArn})
		if err != nil {
			return err
		}
		var targets []string
		for _, t := range health.TargetHealthDescriptions {
			targets = append(targets, fmt.Sprintf("%s port %d", aws.ToString(t.Target.Id), aws.ToInt32(t.Target.Port)))
		}
		slices.Sort(targets)
		w["target group "+aws.ToString(g.TargetGroupName)] = strings.Join(targets, ", ")
	}
	return nil
}

func (s *Scene) classic(ctx context.Context, w World) error {
	out, err := elb.NewFromConfig(s.cfg).DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{})
	if err != nil {
		return err
	}
	for _, b := range out.LoadBalancerDescriptions {
		var instances []string
		for _, i := range b.Instances {
			instances = append(instances, aws.ToString(i.InstanceId))
		}
		slices.Sort(instances)
		w["classic load balancer "+aws.ToString(b.LoadBalancerName)] = strings.Join(instances, " ")
	}
	return nil
}

func (s *Scene) roles(ctx context.Context, w World) error {
	client := iam.NewFromConfig(s.cfg)
	out, err := client.ListRoles(ctx, &iam.ListRolesInput{})
	if err != nil {
		return err
	}
	for _, r := range out.Roles {
		policies, err := client.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: r.RoleName})
		if err != nil {
			return err
		}
		w["trust of role "+aws.ToString(r.RoleName)] = aws.ToString(r.AssumeRolePolicyDocument)
		for _, name := range policies.PolicyNames {
			policy, err := client.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: r.RoleName, PolicyName: &name})
			if err != nil {
				return err
			}
			text, err := url.PathUnescape(aws.ToString(policy.PolicyDocument))
			if err != nil {
				return err
			}
			w["policy "+name+" of role "+aws.ToString(r.RoleName)] = text
		}
	}
	return nil
}

// Open names every rule that lets a packet to or from the instance, and every
// interface that has no group at all: nothing if its network is isolated.
func (s *Scene) Open(ctx context.Context) ([]string, error) {
	interfaces, err := s.ec2().DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{
		Filters: []types.Filter{{Name: aws.String("attachment.instance-id"), Values: []string{s.Instance}}},
	})
	if err != nil {
		return nil, fmt.Errorf("read what is open: %w", err)
	}
	if len(interfaces.NetworkInterfaces) == 0 {
		return nil, fmt.Errorf("read what is open: instance %s has no interfaces", s.Instance)
	}
	var open []string
	for _, i := range interfaces.NetworkInterfaces {
		name := aws.ToString(i.NetworkInterfaceId)
		if len(i.Groups) == 0 {
			open = append(open, name+" has no group")
		}
		for _, g := range i.Groups {
			out, err := s.ec2().DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{aws.ToString(g.GroupId)}})
			if err != nil {
				return nil, fmt.Errorf("read what is open: %w", err)
			}
			group := out.SecurityGroups[0]
			for _, rule := range append(rulesOf("in from", group.IpPermissions), rulesOf("out to", group.IpPermissionsEgress)...) {
				open = append(open, name+" "+aws.ToString(g.GroupName)+": "+rule)
			}
		}
	}
	return open, nil
}

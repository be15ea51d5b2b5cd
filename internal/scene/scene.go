// Package scene makes what a threat is about on the local AWS, for
// tests, demo and bench: an instance in service, with everything that has to be
// contained and put back. And it tells what is left of it.
package scene

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbv2types "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// The names of what is made in a scene.
const (
	Group   = "web"        // the Auto Scaling group
	Target  = "web"        // the target group of the Application Load Balancer
	Classic = "web-old"    // the classic load balancer
	Role    = "web-server" // the instance's role and instance profile
)

// Scene is an instance of an account, with all that it stands in.
type Scene struct {
	Account    string   // "222222222222"
	Instance   string   // "i-…"
	Interfaces []string // "eni-…", the primary one first
	Groups     []string // the security groups of its interfaces: "sg-…"
	Volumes    []string // "vol-…"
	TargetARN  string   // of the target group; empty if there is none
	VPC        string
	RoleID     string // "AROA…"; empty if it has no role

	cfg     aws.Config
	subnets []string
}

// Options say what the instance has besides its primary interface.
type Options struct {
	// Bare leaves out all that follows but the profile.
	Bare bool
	// NoProfile leaves out the instance profile and its role.
	NoProfile bool
}

// Make makes a scene in the account and Region of cfg: an instance with three
// interfaces in two subnets, one of them with an IPv6 address, and two volumes, in an
// Auto Scaling group, behind an Application Load Balancer and a classic one.
func Make(ctx context.Context, cfg aws.Config, o Options) (*Scene, error) {
	s := &Scene{cfg: cfg}
	return s, s.do(ctx, []step{
		{!o.NoProfile, s.role},
		{true, s.network},
		{true, s.instance},
		{!o.Bare, s.moreInterfaces},
		{!o.Bare, s.volume},
		{!o.Bare, s.autoScaling},
		{!o.Bare, s.loadBalancer},
		{!o.Bare, s.classicLoadBalancer},
	})
}

// Beside makes a bare instance more, which has the VPC, the first security group
// and the role of this one.
func (s *Scene) Beside(ctx context.Context) (*Scene, error) {
	b := &Scene{VPC: s.VPC, RoleID: s.RoleID, Groups: slices.Clone(s.Groups), cfg: s.cfg, subnets: s.subnets}
	return b, b.do(ctx, []step{{true, b.instance}})
}

// step makes a part of a scene, if that is wanted.
type step struct {
	wanted bool
	make   func(context.Context) error
}

func (s *Scene) do(ctx context.Context, steps []step) error {
	for _, step := range steps {
		if !step.wanted {
			continue
		}
		if err := step.make(ctx); err != nil {
			return fmt.Errorf("make the scene: %w", err)
		}
	}
	if err := s.read(ctx); err != nil {
		return fmt.Errorf("read the scene: %w", err)
	}
	return nil
}

// Finding is one of the findings in events/guardduty as if it were about the
// scene: its instance, its account, and what belongs to the instance.
func (s *Scene) Finding(envelope []byte) []byte {
	edits := []string{"222222222222", s.Account, "vpc-0123456789abcdef0", s.VPC}
	for i, id := range s.Interfaces {
		edits = append(edits, fmt.Sprintf("eni-0123456789abcdef%d", i), id)
	}
	for i, id := range s.Groups {
		edits = append(edits, fmt.Sprintf("sg-0123456789abcdef%d", i), id)
	}
	edits = append(edits, "i-0123456789abcdef0", s.Instance) // last: an interface's ID holds it
	return []byte(strings.NewReplacer(edits...).Replace(string(envelope)))
}

func (s *Scene) ec2() *ec2.Client { return ec2.NewFromConfig(s.cfg) }

const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// grant is the role's own policy, which a quarantine lets be.
const grant = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::example-reports/*"}]}`

func (s *Scene) role(ctx context.Context) error {
	client := iam.NewFromConfig(s.cfg)
	out, err := client.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String(Role), AssumeRolePolicyDocument: aws.String(trust)})
	if err != nil {
		return err
	}
	s.RoleID = aws.ToString(out.Role.RoleId)
	if _, err = client.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
		RoleName: aws.String(Role), PolicyName: aws.String("reports"), PolicyDocument: aws.String(grant),
	}); err != nil {
		return err
	}
	if _, err = client.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String(Role)}); err != nil {
		return err
	}
	_, err = client.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{
		InstanceProfileName: aws.String(Role), RoleName: aws.String(Role),
	})
	return err
}

// network makes a VPC with two subnets and two security groups.
func (s *Scene) network(ctx context.Context) error {
	client := s.ec2()
	vpc, err := client.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.7.0.0/16"), AmazonProvidedIpv6CidrBlock: aws.Bool(true)})
	if err != nil {
		return err
	}
	s.VPC = aws.ToString(vpc.Vpc.VpcId)
	ipv6, _, _ := strings.Cut(aws.ToString(vpc.Vpc.Ipv6CidrBlockAssociationSet[0].Ipv6CidrBlock), "00::/56")
	for i, zone := range []string{"a", "b"} {
		out, err := client.CreateSubnet(ctx, &ec2.CreateSubnetInput{
			VpcId: &s.VPC, CidrBlock: aws.String(fmt.Sprintf("10.7.%d.0/24", i)), AvailabilityZone: aws.String(s.cfg.Region + zone),
			Ipv6CidrBlock: aws.String(fmt.Sprintf("%s%02x::/64", ipv6, i)),
		})
		if err != nil {
			return err
		}
		s.subnets = append(s.subnets, aws.ToString(out.Subnet.SubnetId))
	}
	// SSH is open to the world, beside rules that may stay.
	if err := s.group(ctx, "web", from(80, "0.0.0.0/0", "everybody"), from(22, "0.0.0.0/0", "admins"), from(22, "10.0.0.0/8", "bastion")); err != nil {
		return err
	}
	return s.group(ctx, "database", from(5432, "10.7.0.0/16", "servers"))
}

// from is a rule that lets a range in on a TCP port.
func from(port int32, cidr, description string) ec2types.IpPermission {
	return ec2types.IpPermission{
		IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port,
		IpRanges: []ec2types.IpRange{{CidrIp: &cidr, Description: &description}},
	}
}

func (s *Scene) group(ctx context.Context, name string, rules ...ec2types.IpPermission) error {
	client := s.ec2()
	out, err := client.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		GroupName: aws.String(name), Description: aws.String(name), VpcId: &s.VPC,
	})
	if err != nil {
		return err
	}
	s.Groups = append(s.Groups, aws.ToString(out.GroupId))
	_, err = client.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: out.GroupId, IpPermissions: rules})
	return err
}

func (s *Scene) instance(ctx context.Context) error {
	in := &ec2.RunInstancesInput{
		ImageId: aws.String("ami-12c6146b"), InstanceType: ec2types.InstanceTypeM5Large, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		// moto lets no interface of an instance leave the groups of the instance: so
		// it has none, and the interface has its own.
		NetworkInterfaces: []ec2types.InstanceNetworkInterfaceSpecification{{
			DeviceIndex: aws.Int32(0), SubnetId: &s.subnets[0], Groups: s.Groups[:1],
		}},
	}
	if s.RoleID != "" {
		in.IamInstanceProfile = &ec2types.IamInstanceProfileSpecification{Name: aws.String(Role)}
	}
	out, err := s.ec2().RunInstances(ctx, in)
	if err != nil {
		return err
	}
	s.Account, s.Instance = aws.ToString(out.OwnerId), aws.ToString(out.Instances[0].InstanceId)
	return nil
}

func (s *Scene) moreInterfaces(ctx context.Context) error {
	if err := s.attach(ctx, s.subnets[0], 1, s.Groups, 0); err != nil {
		return err
	}
	return s.attach(ctx, s.subnets[1], 2, s.Groups[1:], 1)
}

// attach gives the instance one more interface.
func (s *Scene) attach(ctx context.Context, subnet string, index int32, groups []string, ipv6 int32) error {
	client := s.ec2()
	in := &ec2.CreateNetworkInterfaceInput{SubnetId: &subnet, Groups: groups}
	if ipv6 > 0 {
		in.Ipv6AddressCount = &ipv6
	}
	out, err := client.CreateNetworkInterface(ctx, in)
	if err != nil {
		return err
	}
	_, err = client.AttachNetworkInterface(ctx, &ec2.AttachNetworkInterfaceInput{
		NetworkInterfaceId: out.NetworkInterface.NetworkInterfaceId, InstanceId: &s.Instance, DeviceIndex: &index,
	})
	return err
}

// read fills in what AWS has named.
func (s *Scene) read(ctx context.Context) error {
	out, err := s.ec2().DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{s.Instance}})
	if err != nil {
		return err
	}
	in := out.Reservations[0].Instances[0]
	slices.SortFunc(in.NetworkInterfaces, func(a, b ec2types.InstanceNetworkInterface) int {
		return cmp.Compare(aws.ToInt32(a.Attachment.DeviceIndex), aws.ToInt32(b.Attachment.DeviceIndex))
	})
	for _, i := range in.NetworkInterfaces {
		s.Interfaces = append(s.Interfaces, aws.ToString(i.NetworkInterfaceId))
	}
	for _, d := range in.BlockDeviceMappings {
		s.Volumes = append(s.Volumes, aws.ToString(d.Ebs.VolumeId))
	}
	return nil
}

// volume gives the instance a second volume, and lets both be deleted with it.
func (s *Scene) volume(ctx context.Context) error {
	client := s.ec2()
	out, err := client.CreateVolume(ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String(s.cfg.Region + "a"), Size: aws.Int32(8)})
	if err != nil {
		return err
	}
	_, err = client.AttachVolume(ctx, &ec2.AttachVolumeInput{
		VolumeId: out.VolumeId, InstanceId: &s.Instance, Device: aws.String("/dev/sdf"),
	})
	return err
}

func (s *Scene) autoScaling(ctx context.Context) error {
	client := autoscaling.NewFromConfig(s.cfg)
	_, err := client.CreateLaunchConfiguration(ctx, &autoscaling.CreateLaunchConfigurationInput{
		LaunchConfigurationName: aws.String(Group), ImageId: aws.String("ami-12c6146b"), InstanceType: aws.String("m5.large"),
	})
	if err != nil {
		return err
	}
	_, err = client.CreateAutoScalingGroup(ctx, &autoscaling.CreateAutoScalingGroupInput{
		AutoScalingGroupName: aws.String(Group), LaunchConfigurationName: aws.String(Group), MinSize: aws.Int32(0), MaxSize: aws.Int32(5),
		DesiredCapacity: aws.Int32(0), AvailabilityZones: []string{s.cfg.Region + "a"},
	})
	if err != nil {
		return err
	}
	_, err = client.AttachInstances(ctx, &autoscaling.AttachInstancesInput{
		AutoScalingGroupName: aws.String(Group), InstanceIds: []string{s.Instance},
	})
	return err
}

// loadBalancer makes an Application Load Balancer that sends what comes to port
// 80 to the instance.
func (s *Scene) loadBalancer(ctx context.Context) error {
	client := elbv2.NewFromConfig(s.cfg)
	out, err := client.CreateTargetGroup(ctx, &elbv2.CreateTargetGroupInput{
		Name: aws.String(Target), Protocol: elbv2types.ProtocolEnumHttp, Port: aws.Int32(80), VpcId: &s.VPC,
		TargetType: elbv2types.TargetTypeEnumInstance,
	})
	if err != nil {
		return err
	}
	s.TargetARN = aws.ToString(out.TargetGroups[0].TargetGroupArn)
	balancer, err := client.CreateLoadBalancer(ctx, &elbv2.CreateLoadBalancerInput{Name: aws.String("web"), Subnets: s.subnets, SecurityGroups: s.Groups[:1]})
	if err != nil {
		return err
	}
	_, listen := client.CreateListener(ctx, &elbv2.CreateListenerInput{
		LoadBalancerArn: balancer.LoadBalancers[0].LoadBalancerArn, Protocol: elbv2types.ProtocolEnumHttp, Port: aws.Int32(80),
		DefaultActions: []elbv2types.Action{{Type: elbv2types.ActionTypeEnumForward, TargetGroupArn: &s.TargetARN}},
	})
	_, err = client.RegisterTargets(ctx, &elbv2.RegisterTargetsInput{
		TargetGroupArn: &s.TargetARN, Targets: []elbv2types.TargetDescription{{Id: &s.Instance, Port: aws.Int32(8080)}},
	})
	return errors.Join(listen, err)
}

func (s *Scene) classicLoadBalancer(ctx context.Context) error {
	client := elb.NewFromConfig(s.cfg)
	_, err := client.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{
		LoadBalancerName: aws.String(Classic), AvailabilityZones: []string{s.cfg.Region + "a"},
		Listeners: []elbtypes.Listener{{
			Protocol: aws.String("http"), LoadBalancerPort: 80, InstanceProtocol: aws.String("http"), InstancePort: aws.Int32(8080),
		}},
	})
	if err != nil {
		return err
	}
	_, err = client.RegisterInstancesWithLoadBalancer(ctx, &elb.RegisterInstancesWithLoadBalancerInput{
		LoadBalancerName: aws.String(Classic), Instances: []elbtypes.Instance{{InstanceId: &s.Instance}},
	})
	return err
}

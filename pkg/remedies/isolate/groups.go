package isolate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
)

// quarantineName is the group without any rule. Each VPC has one, which all its
// instances in quarantine share and which stays when they are released.
const quarantineName = "snapback-quarantine"

// untrackName is the wide-open group, which each instance has its own of, so that
// no two are let talk to each other by it for longer than one needs it.
func untrackName(t control.Target) string { return "snapback-untrack-" + t.ID }

// key names a group of Snapback's, whether or not it exists: AWS lets a VPC have
// one group of a name (EC2 API reference, CreateSecurityGroup).
func key(vpc, name string) string { return vpc + "/" + name }

// group is a security group of Snapback's.
type group struct {
	id, vpc, name string
	rules         []rule // those that are there, as far as is known
	fresh         bool   // just made: see defaults
}

func (g *group) key() string { return key(g.vpc, g.name) }

func newGroup(found *types.SecurityGroup) *group {
	g := &group{id: aws.ToString(found.GroupId), vpc: aws.ToString(found.VpcId), name: aws.ToString(found.GroupName)}
	g.rules = append(rules(found.IpPermissions, false), rules(found.IpPermissionsEgress, true)...)
	return g
}

// rule is one rule of a group: one direction, protocol, range of ports and peer.
type rule struct {
	egress     bool
	permission types.IpPermission
}

// everything are the rules that allow all traffic from and to everywhere.
var everything = func() []rule {
	v4 := types.IpPermission{IpProtocol: aws.String("-1"), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}
	v6 := types.IpPermission{IpProtocol: aws.String("-1"), Ipv6Ranges: []types.Ipv6Range{{CidrIpv6: aws.String("::/0")}}}
	return []rule{{true, v4}, {true, v6}, {false, v4}, {false, v6}}
}()

// AWS makes a group with a rule that allows all IPv4 traffic out, and one for
// IPv6 if the VPC has an IPv6 range (VPC user guide, "Control traffic to your AWS
// resources using security groups").
var (
	always   = everything[:1]
	defaults = everything[:2]
)

// rules parts permissions into single rules, so that each can be revoked for
// itself: of several in one call EC2 revokes none if one is gone already.
func rules(permissions []types.IpPermission, egress bool) []rule {
	var all []rule
	for _, p := range permissions {
		add := func(peer func(*types.IpPermission)) {
			r := rule{egress, types.IpPermission{IpProtocol: p.IpProtocol, FromPort: p.FromPort, ToPort: p.ToPort}}
			peer(&r.permission)
			all = append(all, r)
		}
		for _, x := range p.IpRanges {
			add(func(one *types.IpPermission) { one.IpRanges = []types.IpRange{{CidrIp: x.CidrIp}} })
		}
		for _, x := range p.Ipv6Ranges {
			add(func(one *types.IpPermission) { one.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: x.CidrIpv6}} })
		}
		for _, x := range p.PrefixListIds {
			add(func(one *types.IpPermission) {
				one.PrefixListIds = []types.PrefixListId{{PrefixListId: x.PrefixListId}}
			})
		}
		for _, x := range p.UserIdGroupPairs {
			add(func(one *types.IpPermission) {
				one.UserIdGroupPairs = []types.UserIdGroupPair{{GroupId: x.GroupId, UserId: x.UserId}}
			})
		}
	}
	return all
}

// String prints a rule for people, the same for the same rule: "tcp 22-22 in from 0.0.0.0/0".
func (r rule) String() string {
	p, text, peer := r.permission, "all traffic", ""
	if protocol := aws.ToString(p.IpProtocol); protocol != "-1" {
		text = protocol
	}
	if p.FromPort != nil && p.ToPort != nil && *p.FromPort >= 0 {
		text += " " + strconv.Itoa(int(*p.FromPort)) + "-" + strconv.Itoa(int(*p.ToPort))
	}
	switch {
	case len(p.IpRanges) > 0:
		peer = aws.ToString(p.IpRanges[0].CidrIp)
	case len(p.Ipv6Ranges) > 0:
		peer = aws.ToString(p.Ipv6Ranges[0].CidrIpv6)
	case len(p.PrefixListIds) > 0:
		peer = aws.ToString(p.PrefixListIds[0].PrefixListId)
	case len(p.UserIdGroupPairs) > 0:
		peer = aws.ToString(p.UserIdGroupPairs[0].GroupId)
	}
	if r.egress {
		return text + " out to " + peer
	}
	return text + " in from " + peer
}

// patient lets a call be tried again where EC2 may not know everywhere yet what
// it has just been told (EC2 developer guide, "Eventual consistency in the Amazon
// EC2 API").
func patient(codes ...string) func(*ec2.Options) {
	return func(o *ec2.Options) { o.Retryer = retry.AddWithErrorCodes(o.Retryer, codes...) }
}

// made waits until a group that was just made is known.
var made = patient("InvalidGroup.NotFound")

// create makes a group.
func create(ctx context.Context, session *cloud.Session, vpc, name, description string, c control.Change) (*group, error) {
	tags := []types.Tag{{Key: aws.String("snapback:managed"), Value: aws.String("true")}}
	if name != quarantineName { // which belongs to no case more than to another
		tags = append(tags, types.Tag{Key: aws.String("snapback:case"), Value: aws.String(c.Case)})
	}
	out, err := instance.Client(session).CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		VpcId: aws.String(vpc), GroupName: aws.String(name), Description: aws.String(description),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSecurityGroup, Tags: tags}},
	})
	if err != nil {
		return nil, fmt.Errorf("create security group %s: %w", key(vpc, name), err)
	}
	return &group{id: aws.ToString(out.GroupId), vpc: vpc, name: name, rules: always, fresh: true}, nil
}

// revoke takes rules out of a group. One that is gone already counts as taken.
func revoke(ctx context.Context, session *cloud.Session, g *group, rules []rule) error {
	return each(rules, func(r rule) (err error) {
		permissions := []types.IpPermission{r.permission}
		if r.egress {
			_, err = instance.Client(session).RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{
				GroupId: aws.String(g.id), IpPermissions: permissions,
			}, made)
		} else {
			_, err = instance.Client(session).RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{
				GroupId: aws.String(g.id), IpPermissions: permissions,
			}, made)
		}
		if err != nil && !cloud.Is(err, "InvalidPermission.NotFound") {
			return fmt.Errorf("revoke %s of security group %s: %w", r, g.key(), err)
		}
		return nil
	})
}

// authorize puts rules into a group. One that is there already counts as put.
func authorize(ctx context.Context, session *cloud.Session, g *group, rules []rule) error {
	return each(rules, func(r rule) (err error) {
		permissions := []types.IpPermission{r.permission}
		if r.egress {
			_, err = instance.Client(session).AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{
				GroupId: aws.String(g.id), IpPermissions: permissions,
			}, made)
		} else {
			_, err = instance.Client(session).AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
				GroupId: aws.String(g.id), IpPermissions: permissions,
			}, made)
		}
		if err != nil && !cloud.Is(err, "InvalidPermission.Duplicate") {
			return fmt.Errorf("authorize %s of security group %s: %w", r, g.key(), err)
		}
		return nil
	})
}

// put puts an interface into groups, and out of all others.
func put(ctx context.Context, session *cloud.Session, id string, groups ...string) error {
	_, err := instance.Client(session).ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: aws.String(id), Groups: groups,
	}, made)
	if err != nil {
		return fmt.Errorf("put network interface %s into security groups %v: %w", id, groups, err)
	}
	return nil
}

// without are the rules of all that are not in some.
func without(all, some []rule) []rule {
	return slices.DeleteFunc(slices.Clone(all), func(r rule) bool {
		return slices.ContainsFunc(some, func(s rule) bool { return s.String() == r.String() })
	})
}

// each does something for every item, side by side, and joins the errors.
func each[T any](items []T, do func(T) error) error {
	failed := make([]error, len(items))
	var side sync.WaitGroup
	for i, item := range items {
		side.Go(func() { failed[i] = do(item) })
	}
	side.Wait()
	return errors.Join(failed...)
}

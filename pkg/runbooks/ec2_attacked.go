package runbooks

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/network"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
)

func ec2Attacked() control.Runbook {
	return control.Runbook{
		ID:    "ec2-attacked",
		Title: "Tells how an EC2 instance that is attacked can be reached",
		Rationale: "Cutting off the victim would do the attacker's work. Who has to decide needs to know what the whole internet " +
			"reaches on it, and on which addresses: where nothing is open, the attack comes from inside.",
		Resource: instance.Resource(),
		Findings: attackedTypes,
		When:     whenAttacked,
		Targets:  func(f *event.Finding) []control.Target { return targets(attackedInstance(f)) },
		Steps: []control.Step{{Remedy: control.Remedy{
			Name: "report-exposure",
			Plan: planExposure,
			Permissions: control.Permissions{Plan: []control.Permission{
				instance.Read,
				// IAM knows no resource for it (service authorization reference, Amazon EC2).
				{Call: "EC2.DescribeSecurityGroupRules", Action: "ec2:DescribeSecurityGroupRules", Resource: "*"},
			}},
		}}},
	}
}

const whenAttacked = "the finding's resource is an instance and, but for port probes, its role is TARGET"

// portProbes are the types that say by themselves that the instance is attacked.
var portProbes = []string{"Recon:EC2/PortProbeEMRUnprotectedPort", "Recon:EC2/PortProbeUnprotectedPort"}

var attackedTypes = slices.Concat(portProbes, eitherSide)

// attackedInstance is the instance that somebody else attacks.
func attackedInstance(f *event.Finding) []event.Instance {
	if f.Role != event.RoleTarget && !slices.Contains(portProbes, f.Type) {
		return nil
	}
	return resourceInstance(f)
}

// exposure is what the internet can reach of an instance, as it is kept in the
// case.
type exposure struct {
	// Addresses are the public addresses of the instance's interfaces.
	Addresses []string `json:"addresses"`
	Open      []opened `json:"open"`
}

// opened is a rule of one of the instance's security groups that is open to the
// world.
type opened struct {
	Group string `json:"group"`
	Rule  string `json:"rule"`
	// Traffic is protocol and ports, for people: "tcp 22".
	Traffic string `json:"traffic"`
	Range   string `json:"range"`
}

// planExposure always reports: that nothing is open is as much worth knowing.
func planExposure(ctx context.Context, session *cloud.Session, t control.Target) (*control.Change, error) {
	in, err := instance.Describe(ctx, session, t)
	if err != nil {
		return nil, err
	}
	groups := groupsOf(in)
	open, err := openRules(ctx, session, t, groups)
	if err != nil {
		return nil, err
	}
	e := exposure{Addresses: addressesOf(in), Open: open}
	before, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return &control.Change{Target: t, Reason: e.reason(t, len(groups)), Before: before}, nil
}

func groupsOf(in *types.Instance) []string {
	groups := []string{}
	for _, i := range in.NetworkInterfaces {
		for _, g := range i.Groups {
			groups = append(groups, aws.ToString(g.GroupId))
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups)
}

// addressesOf are the addresses that the internet may know the instance by. All
// IPv6 addresses outside of private space are public (VPC user guide, "IP
// addressing for your VPCs and subnets").
func addressesOf(in *types.Instance) []string {
	addresses := []string{}
	for _, i := range in.NetworkInterfaces {
		for _, p := range i.PrivateIpAddresses {
			if p.Association != nil && p.Association.PublicIp != nil {
				addresses = append(addresses, *p.Association.PublicIp)
			}
		}
		for _, a := range i.Ipv6Addresses {
			address, err := netip.ParseAddr(aws.ToString(a.Ipv6Address))
			if err == nil && !address.IsPrivate() {
				addresses = append(addresses, address.String())
			}
		}
	}
	slices.Sort(addresses)
	return slices.Compact(addresses)
}

// filterValues is how many values a filter of EC2 may have (EC2 user guide,
// "List and filter your resources").
const filterValues = 200

// openRules are the ingress rules of the groups that are open to the world.
func openRules(ctx context.Context, session *cloud.Session, t control.Target, groups []string) ([]opened, error) {
	open := []opened{}
	for some := range slices.Chunk(groups, filterValues) {
		pages := ec2.NewDescribeSecurityGroupRulesPaginator(instance.Client(session), &ec2.DescribeSecurityGroupRulesInput{
			Filters:    []types.Filter{{Name: aws.String("group-id"), Values: some}},
			MaxResults: aws.Int32(1000),
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, fmt.Errorf("describe the security group rules of instance %s: %w", t.ID, err)
			}
			for _, r := range page.SecurityGroupRules {
				if from := cmp.Or(aws.ToString(r.CidrIpv4), aws.ToString(r.CidrIpv6)); !aws.ToBool(r.IsEgress) && wide(from) {
					open = append(open, opened{aws.ToString(r.GroupId), aws.ToString(r.SecurityGroupRuleId), traffic(&r), from})
				}
			}
		}
	}
	slices.SortFunc(open, func(a, b opened) int { return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Rule, b.Rule)) })
	return open, nil
}

// wide reports whether a range is as good as the whole internet, as halves of it
// are, too.
func wide(cidr string) bool {
	p, err := netip.ParsePrefix(cidr)
	if err != nil || p.Addr().IsPrivate() || p.Addr().IsLinkLocalUnicast() || p.Addr().IsMulticast() {
		return false
	}
	if p.Addr().Is4() {
		return p.Bits() < network.WidestIPv4
	}
	return p.Bits() < network.WidestIPv6
}

// traffic is protocol and ports. EC2 has -1 for all protocols, and for all ports
// or none (EC2 API reference, SecurityGroupRule).
func traffic(r *types.SecurityGroupRule) string {
	protocol, from, to := aws.ToString(r.IpProtocol), aws.ToInt32(r.FromPort), aws.ToInt32(r.ToPort)
	switch {
	case protocol == "-1":
		return "all traffic"
	case r.FromPort == nil || from == -1:
		return "all of " + protocol
	case from == to:
		return fmt.Sprintf("%s %d", protocol, from)
	}
	return fmt.Sprintf("%s %d-%d", protocol, from, to)
}

// shownRules is how many rules a reason names.
const shownRules = 5

func (e exposure) reason(t control.Target, groups int) string {
	var ways []string
	for _, o := range e.Open[:min(len(e.Open), shownRules)] {
		ways = append(ways, fmt.Sprintf("%s from %s (%s)", o.Traffic, o.Range, o.Group))
	}
	reached := "it has no public address"
	if len(e.Addresses) > 0 {
		reached = "its public addresses are " + strings.Join(e.Addresses, ", ")
	}
	if len(ways) == 0 {
		return fmt.Sprintf("Instance %s is attacked, and none of its %d security groups lets in the whole internet: the attack comes from inside, "+
			"or through what stands before the instance (%s).", t.ID, groups, reached)
	}
	if more := len(e.Open) - len(ways); more > 0 {
		ways = append(ways, fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("Instance %s is attacked; its security groups let in the whole internet: %s; %s.", t.ID, strings.Join(ways, ", "), reached)
}

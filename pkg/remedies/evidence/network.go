package evidence

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
)

type networkInterface struct {
	ID              string   `json:"id"`
	Type            string   `json:"type,omitempty"`
	VPC             string   `json:"vpc"`
	Subnet          string   `json:"subnet"`
	MAC             string   `json:"mac"`
	SourceDestCheck bool     `json:"sourceDestCheck"`
	Private         []string `json:"privateAddresses"`
	Public          []string `json:"publicAddresses,omitempty"`
	IPv6            []string `json:"ipv6Addresses,omitempty"`
	Groups          []string `json:"securityGroups"`
}

type group struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Ingress []rule `json:"ingress"`
	Egress  []rule `json:"egress"`
}

// rule is one peer of a security group's rule.
type rule struct {
	Protocol    string `json:"protocol"` // "-1": all
	From        *int32 `json:"from,omitempty"`
	To          *int32 `json:"to,omitempty"`
	Peer        string `json:"peer"` // addresses, a prefix list or a group
	Description string `json:"description,omitempty"`
}

type routeTable struct {
	ID      string   `json:"id"`
	Main    bool     `json:"main"`
	Subnets []string `json:"subnets"` // of the instance; those without a table of their own have the main one
	Routes  []route  `json:"routes"`
}

type route struct {
	Destination string `json:"destination"`
	Target      string `json:"target"`
	State       string `json:"state"`
}

type elasticAddress struct {
	Address    string `json:"address"`
	Allocation string `json:"allocation"`
	Interface  string `json:"interface"`
	Private    string `json:"privateAddress"`
}

func interfacesOf(in *types.Instance) []networkInterface {
	var interfaces []networkInterface
	for _, i := range in.NetworkInterfaces {
		n := networkInterface{
			ID: aws.ToString(i.NetworkInterfaceId), Type: aws.ToString(i.InterfaceType), VPC: aws.ToString(i.VpcId),
			Subnet: aws.ToString(i.SubnetId), MAC: aws.ToString(i.MacAddress), SourceDestCheck: aws.ToBool(i.SourceDestCheck),
		}
		for _, a := range i.PrivateIpAddresses {
			n.Private = append(n.Private, aws.ToString(a.PrivateIpAddress))
			if a.Association != nil {
				n.Public = append(n.Public, aws.ToString(a.Association.PublicIp))
			}
		}
		for _, a := range i.Ipv6Addresses {
			n.IPv6 = append(n.IPv6, aws.ToString(a.Ipv6Address))
		}
		for _, g := range i.Groups {
			n.Groups = append(n.Groups, aws.ToString(g.GroupId))
		}
		slices.Sort(n.Groups)
		interfaces = append(interfaces, n)
	}
	slices.SortFunc(interfaces, func(a, b networkInterface) int { return cmp.Compare(a.ID, b.ID) })
	return interfaces
}

// of are the different values that interfaces have.
func of(interfaces []networkInterface, values func(networkInterface) []string) []string {
	var all []string
	for _, n := range interfaces {
		all = append(all, values(n)...)
	}
	return sorted(all)
}

func groups(ctx context.Context, session *cloud.Session, interfaces []networkInterface) ([]group, error) {
	// A filter, since a group that was deleted in the meantime is no error then.
	ids := of(interfaces, func(n networkInterface) []string { return n.Groups })
	out, err := instance.Client(session).DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{
		Filters: []types.Filter{{Name: aws.String("group-id"), Values: ids}},
	})
	if err != nil {
		return nil, fmt.Errorf("describe security groups: %w", err)
	}
	var groups []group
	for _, g := range out.SecurityGroups {
		groups = append(groups, group{aws.ToString(g.GroupId), aws.ToString(g.GroupName), rules(g.IpPermissions), rules(g.IpPermissionsEgress)})
	}
	slices.SortFunc(groups, func(a, b group) int { return cmp.Compare(a.ID, b.ID) })
	return groups, nil
}

func rules(permissions []types.IpPermission) []rule {
	var rules []rule
	for _, p := range permissions {
		add := func(peer, description *string) {
			rules = append(rules, rule{aws.ToString(p.IpProtocol), p.FromPort, p.ToPort, aws.ToString(peer), aws.ToString(description)})
		}
		for _, r := range p.IpRanges {
			add(r.CidrIp, r.Description)
		}
		for _, r := range p.Ipv6Ranges {
			add(r.CidrIpv6, r.Description)
		}
		for _, l := range p.PrefixListIds {
			add(l.PrefixListId, l.Description)
		}
		for _, g := range p.UserIdGroupPairs {
			add(g.GroupId, g.Description)
		}
	}
	slices.SortStableFunc(rules, func(a, b rule) int {
		return cmp.Or(
			cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(aws.ToInt32(a.From), aws.ToInt32(b.From)),
			cmp.Compare(aws.ToInt32(a.To), aws.ToInt32(b.To)), cmp.Compare(a.Peer, b.Peer),
		)
	})
	return rules
}

// tables are the route tables that the instance's subnets use: their own or, if
// they have none, the main one of their VPC.
func tables(ctx context.Context, session *cloud.Session, interfaces []networkInterface) ([]routeTable, error) {
	vpcs := of(interfaces, func(n networkInterface) []string { return []string{n.VPC} })
	pages := ec2.NewDescribeRouteTablesPaginator(instance.Client(session), &ec2.DescribeRouteTablesInput{
		Filters: []types.Filter{{Name: aws.String("vpc-id"), Values: vpcs}},
	})
	var all []types.RouteTable
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe route tables: %w", err)
		}
		all = append(all, page.RouteTables...)
	}
	var tables []routeTable
	for _, vpc := range vpcs {
		subnets := of(interfaces, func(n networkInterface) []string {
			if n.VPC != vpc {
				return nil
			}
			return []string{n.Subnet}
		})
		tables = append(tables, tablesOf(all, vpc, subnets)...)
	}
	slices.SortFunc(tables, func(a, b routeTable) int { return cmp.Compare(a.ID, b.ID) })
	return tables, nil
}

// tablesOf are the tables that some subnets of one VPC use.
func tablesOf(all []types.RouteTable, vpc string, subnets []string) []routeTable {
	var tables []routeTable
	var main *routeTable
	for _, t := range all {
		if aws.ToString(t.VpcId) != vpc {
			continue
		}
		table := routeTable{ID: aws.ToString(t.RouteTableId), Subnets: []string{}, Routes: routes(t.Routes)}
		for _, a := range t.Associations {
			table.Main = table.Main || aws.ToBool(a.Main)
			if slices.Contains(subnets, aws.ToString(a.SubnetId)) {
				table.Subnets = append(table.Subnets, aws.ToString(a.SubnetId))
			}
		}
		slices.Sort(table.Subnets)
		switch {
		case table.Main:
			main = &table
		case len(table.Subnets) > 0:
			tables = append(tables, table)
		}
		subnets = without(subnets, table.Subnets)
	}
	if main != nil {
		main.Subnets = sorted(slices.Concat(main.Subnets, subnets))
		if len(main.Subnets) > 0 {
			tables = append(tables, *main)
		}
	}
	return tables
}

func routes(all []types.Route) []route {
	var routes []route
	for _, r := range all {
		routes = append(routes, route{
			Destination: cmp.Or(aws.ToString(r.DestinationCidrBlock), aws.ToString(r.DestinationIpv6CidrBlock), aws.ToString(r.DestinationPrefixListId)),
			// A route has one of them, but that to an instance names its interface too.
			Target: cmp.Or(aws.ToString(r.GatewayId), aws.ToString(r.NatGatewayId), aws.ToString(r.TransitGatewayId),
				aws.ToString(r.VpcPeeringConnectionId), aws.ToString(r.NetworkInterfaceId), aws.ToString(r.InstanceId),
				aws.ToString(r.EgressOnlyInternetGatewayId), aws.ToString(r.LocalGatewayId), aws.ToString(r.CarrierGatewayId),
				aws.ToString(r.CoreNetworkArn)),
			State: string(r.State),
		})
	}
	slices.SortStableFunc(routes, func(a, b route) int { return cmp.Compare(a.Destination, b.Destination) })
	return routes
}

func addresses(ctx context.Context, session *cloud.Session, interfaces []networkInterface) ([]elasticAddress, error) {
	ids := of(interfaces, func(n networkInterface) []string { return []string{n.ID} })
	out, err := instance.Client(session).DescribeAddresses(ctx, &ec2.DescribeAddressesInput{
		Filters: []types.Filter{{Name: aws.String("network-interface-id"), Values: ids}},
	})
	if err != nil {
		return nil, fmt.Errorf("describe Elastic addresses: %w", err)
	}
	var addresses []elasticAddress
	for _, a := range out.Addresses {
		addresses = append(addresses, elasticAddress{
			aws.ToString(a.PublicIp), aws.ToString(a.AllocationId), aws.ToString(a.NetworkInterfaceId), aws.ToString(a.PrivateIpAddress),
		})
	}
	slices.SortFunc(addresses, func(a, b elasticAddress) int { return cmp.Compare(a.Address, b.Address) })
	return addresses, nil
}

package isolate

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/snapback-aws/snapback/pkg/control"
)

// facts are what a case keeps of the network that an instance was on.
type facts struct {
	Interfaces []face `json:"interfaces"`
	// Groups are the groups of Snapback's that existed for it, by VPC and name.
	Groups []string `json:"groups,omitempty"`
	// Open is what the quarantine group allowed, and what was left over.
	Open []string `json:"open,omitempty"`
}

// face is one network interface.
type face struct {
	ID      string            `json:"id"`
	VPC     string            `json:"vpc"`
	Subnet  string            `json:"subnet"`
	Private []string          `json:"private,omitempty"` // IPv4, secondary ones and prefixes too
	IPv6    []string          `json:"ipv6,omitempty"`    // prefixes too
	Public  []string          `json:"public,omitempty"`  // IPv4 that AWS gave until the instance stops
	Elastic map[string]string `json:"elastic,omitempty"` // allocation IDs by address; they stay
	Groups  map[string]string `json:"groups"`            // names by ID
}

// facts tells of all interfaces, changed or not.
func (v *view) facts(open []string) ([]byte, error) {
	f := facts{Open: open}
	for _, key := range slices.Sorted(maps.Keys(v.groups)) {
		if g := v.groups[key]; g.name == v.untrack || v.uses(g.vpc) {
			f.Groups = append(f.Groups, key)
		}
	}
	for i := range v.interfaces {
		f.Interfaces = append(f.Interfaces, newFace(&v.interfaces[i]))
	}
	text, err := json.Marshal(f)
	if err != nil || len(text) <= control.MaxFacts {
		return text, err
	}
	// A node of a cluster can have thousands of addresses, and the isolation must
	// not fail for them.
	for i := range f.Interfaces {
		f.Interfaces[i].Private, f.Interfaces[i].IPv6 = nil, nil
	}
	return json.Marshal(f)
}

func newFace(n *types.NetworkInterface) face {
	f := face{
		ID: aws.ToString(n.NetworkInterfaceId), VPC: aws.ToString(n.VpcId), Subnet: aws.ToString(n.SubnetId),
		Elastic: map[string]string{}, Groups: map[string]string{},
	}
	f.public(n.Association) // of the primary address, which may tell it again
	for _, a := range n.PrivateIpAddresses {
		f.Private = append(f.Private, aws.ToString(a.PrivateIpAddress))
		f.public(a.Association)
	}
	for _, p := range n.Ipv4Prefixes {
		f.Private = append(f.Private, aws.ToString(p.Ipv4Prefix))
	}
	for _, a := range n.Ipv6Addresses {
		f.IPv6 = append(f.IPv6, aws.ToString(a.Ipv6Address))
	}
	for _, p := range n.Ipv6Prefixes {
		f.IPv6 = append(f.IPv6, aws.ToString(p.Ipv6Prefix))
	}
	for _, g := range n.Groups {
		f.Groups[aws.ToString(g.GroupId)] = aws.ToString(g.GroupName)
	}
	return f
}

// public adds a public IPv4 address; one that has an allocation is Elastic.
func (f *face) public(a *types.NetworkInterfaceAssociation) {
	if a == nil {
		return
	}
	address := aws.ToString(a.PublicIp)
	switch {
	case a.AllocationId != nil:
		f.Elastic[address] = *a.AllocationId
	case !slices.Contains(f.Public, address):
		f.Public = append(f.Public, address)
	}
}

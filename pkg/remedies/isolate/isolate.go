// Package isolate cuts an EC2 instance off the network: each of its network
// interfaces gets the quarantine group of its VPC alone, a security group without
// any rule. Nothing else is changed; Elastic addresses stay with the instance.
//
// # Connections that are open already
//
// Security groups track connections: a change of rules or groups does not end one
// that is tracked, packets pass until it times out, which an idle TCP connection
// does after five days by default (350 seconds on the newest instance types). A
// TCP or UDP flow is not tracked where one rule allows it from or to everywhere,
// 0.0.0.0/0 or ::/0, and another one in the other direction allows the answers on
// all ports from or to everywhere; an untracked flow ends at once when the rule
// that lets it through is gone (EC2 user guide, "Amazon EC2 security group
// connection tracking"). So each interface is first put, alone, into a group of
// this instance that allows everything from and to everywhere, and then into the
// quarantine group. The wide-open group is deleted at once.
//
// AWS goes the same way in its runbook AWSSupport-ContainEC2Instance (Systems
// Manager Automation runbook reference) and in its Automated Forensics
// Orchestrator, which does not wait between the two calls. No page of AWS says in
// so many words that a flow which is tracked already ceases to be when the groups
// of its interface change, and two still warn that it goes on (Security Incident
// Response user guide, "EC2 Containment"; GuardDuty user guide, "Remediating a
// potentially compromised Amazon EC2 instance"): whoever must be sure looks at the
// VPC flow logs.
//
// What this does not cut:
//   - connections that AWS tracks whatever the rules say, until they end or time
//     out: through egress-only internet gateways, Global Accelerator, NAT gateways,
//     Network Firewall endpoints, Network Load Balancers, interface endpoints
//     (PrivateLink), Lambda's Hyperplane interfaces and DynamoDB gateway endpoints;
//     and ICMP, which is always tracked (the same page). Only a network ACL, which
//     holds for the whole subnet, cuts those;
//   - what security groups never filter: Amazon DNS (the VPC resolver), DHCP,
//     instance metadata, ECS task metadata, license activation for Windows, the
//     Amazon Time Sync Service, and the addresses of the default VPC router (VPC
//     user guide, "Control traffic to your AWS resources using security groups").
//     DNS can carry data out; Route 53 Resolver DNS Firewall filters it;
//   - interfaces that AWS lets nobody change; those are named in Change.Left.
//
// # Why one might leave the wide-open step out
//
// Between the two calls, for a fraction of a second, or until the next attempt if
// the worker is killed right there, whatever the instance listens on can be
// reached from wherever its routes and network ACLs lead to, the internet if it
// has a public address; and whatever on it was shut in can get out. Whoever
// forbids groups that are open to the world by a service control policy, or has
// them reported (Security Hub, Firewall Manager), sees one appear. Without the
// step, connections that are open already go on as long as somebody uses them.
package isolate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
)

// Remedy cuts an EC2 instance off the network. Untrack says whether interfaces
// pass through a wide-open group first, so that connections which are open
// already end; it is read each time a change is applied.
func Remedy(untrack *bool) control.Remedy {
	return control.Remedy{
		Name: "isolate-network",
		Plan: plan,
		Apply: func(ctx context.Context, session *cloud.Session, c control.Change) error {
			return apply(ctx, session, c, *untrack)
		},
		Undo:        undo,
		Permissions: permissions(),
	}
}

// permissions are as the service authorization reference of Amazon EC2 has them.
// The VPC may be another account's that shares its subnets, and so may a group
// that an interface was in.
func permissions() control.Permissions {
	ec2 := func(operation, resource string) control.Permission {
		return control.Permission{Call: "EC2." + operation, Action: "ec2:" + operation, Resource: resource}
	}
	const region = "arn:${Partition}:ec2:${Region}:"
	const group, face = region + "${Account}:security-group/*", region + "${Account}:network-interface/*"
	reads := []control.Permission{instance.Read, ec2("DescribeNetworkInterfaces", "*"), ec2("DescribeSecurityGroups", "*")}
	tags := ec2("CreateSecurityGroup", group)
	tags.Action = "ec2:CreateTags"
	return control.Permissions{
		Plan: reads,
		Apply: append(slices.Clone(reads),
			ec2("CreateSecurityGroup", group), ec2("CreateSecurityGroup", region+"*:vpc/*"), tags,
			ec2("AuthorizeSecurityGroupIngress", group), ec2("AuthorizeSecurityGroupEgress", group),
			ec2("RevokeSecurityGroupIngress", group), ec2("RevokeSecurityGroupEgress", group),
			ec2("ModifyNetworkInterfaceAttribute", face), ec2("ModifyNetworkInterfaceAttribute", group),
			ec2("DeleteSecurityGroup", group)),
		Undo: append(slices.Clone(reads),
			ec2("ModifyNetworkInterfaceAttribute", face),
			ec2("ModifyNetworkInterfaceAttribute", region+"*:security-group/*")),
	}
}

// state is what Before and After hold.
type state struct {
	// Interfaces are the groups that each interface is in, sorted. The two groups
	// that Snapback makes go by VPC and name: "vpc-0abc/snapback-quarantine".
	Interfaces map[string][]string `json:"interfaces"`
	// Open is what else there is to close where every interface is in quarantine
	// already, or what stays open. Where interfaces are to be put into quarantine it
	// is empty, and told in the facts: an undo does not bring it back, and has to
	// find Before again.
	Open []string `json:"open,omitempty"`
}

func plan(ctx context.Context, session *cloud.Session, t control.Target) (*control.Change, error) {
	v, err := read(ctx, session, t, attachedTo(t))
	if err != nil {
		return nil, err
	}
	before, after := state{Interfaces: map[string][]string{}}, state{Interfaces: map[string][]string{}}
	var outside []string
	for _, n := range v.interfaces {
		if v.fixed(&n) != "" {
			continue
		}
		id := aws.ToString(n.NetworkInterfaceId)
		before.Interfaces[id], after.Interfaces[id] = v.groupsOf(&n), isolated(&n)
		if !slices.Equal(before.Interfaces[id], after.Interfaces[id]) {
			outside = append(outside, id)
		}
	}
	open, left := v.open(), v.left()
	c := &control.Change{Target: t, Left: left, Touches: v.touches(outside)}
	wide := strings.Join(open, ", ")
	switch {
	case len(outside) > 0:
		c.Reason = fmt.Sprintf("Instance %s is on the network with %d of its %d interfaces: %s",
			t.ID, len(outside), len(v.interfaces), strings.Join(outside, " and "))
		if wide != "" {
			c.Reason += "; and its quarantine is open: " + wide
		}
		c.Reason += "."
	case len(open) > 0:
		before.Open = open
		c.Reason = fmt.Sprintf("The quarantine of instance %s is open: %s.", t.ID, wide)
	case len(left) > 0:
		before.Open = left
		c.Reason = fmt.Sprintf("Instance %s is not cut off the network in full, and AWS does not let that be changed.", t.ID)
	default:
		return nil, nil
	}
	var failed [3]error
	c.Before, failed[0] = json.Marshal(before)
	if len(outside)+len(open) > 0 { // else it is a report
		c.After, failed[1] = json.Marshal(after)
	}
	c.Facts, failed[2] = v.facts(open)
	return c, errors.Join(failed[:]...)
}

// states reads what a change recorded.
func states(c control.Change) (before, after state, err error) {
	if err := errors.Join(json.Unmarshal(c.Before, &before), json.Unmarshal(c.After, &after)); err != nil {
		return before, after, fmt.Errorf("read the recorded interfaces of instance %s: %w", c.Target.ID, err)
	}
	return before, after, nil
}

// open is what lets packets through, or may, although every interface is in
// quarantine. A wide-open group that could not be deleted is closed, and does no
// harm until the next quarantine of the instance deletes it.
func (v *view) open() []string {
	var open []string
	for key, g := range v.groups {
		switch {
		case g.name == v.untrack:
			if len(g.rules) > 0 {
				open = append(open, key+" is left over")
			}
		case v.uses(g.vpc):
			for _, r := range g.rules {
				open = append(open, key+" allows "+r.String())
			}
		}
	}
	slices.Sort(open)
	return open
}

// uses reports whether the instance has an interface in a VPC that can be put
// into quarantine.
func (v *view) uses(vpc string) bool {
	return slices.ContainsFunc(v.interfaces, func(n types.NetworkInterface) bool {
		return aws.ToString(n.VpcId) == vpc && v.fixed(&n) == ""
	})
}

// touches are the ARNs of what is changed besides the instance.
func (v *view) touches(interfaces []string) []string {
	prefix := "arn:" + cloud.Partition(v.target.Region) + ":ec2:" + v.target.Region + ":" + v.target.Account + ":"
	var arns []string
	for _, id := range interfaces {
		arns = append(arns, prefix+"network-interface/"+id)
	}
	for _, key := range slices.Sorted(maps.Keys(v.groups)) {
		if g := v.groups[key]; g.name == v.untrack || v.uses(g.vpc) && len(g.rules) > 0 {
			arns = append(arns, prefix+"security-group/"+g.id)
		}
	}
	return arns
}

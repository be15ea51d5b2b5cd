package isolate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
)

// view is an instance's network as it was read.
type view struct {
	target     control.Target
	untrack    string // the name of this instance's wide-open group
	instance   *types.Instance
	interfaces []types.NetworkInterface // by ID
	groups     map[string]*group        // those of Snapback's that there are, by VPC and name
}

// read reads, in one round trip, the instance, the interfaces that a filter
// chooses, and the groups that Snapback makes, in every VPC.
func read(ctx context.Context, session *cloud.Session, t control.Target, which types.Filter) (*view, error) {
	v := &view{target: t, untrack: untrackName(t)}
	var failed [3]error
	var side sync.WaitGroup
	side.Go(func() { v.instance, failed[0] = instance.Describe(ctx, session, t) })
	side.Go(func() { v.interfaces, failed[1] = describeInterfaces(ctx, session, t, which) })
	side.Go(func() { v.groups, failed[2] = describeOwn(ctx, session, t) })
	side.Wait()
	if failed[0] != nil { // of an instance that is gone the rest does not matter
		return nil, failed[0]
	}
	return v, errors.Join(failed[1:]...)
}

func attachedTo(t control.Target) types.Filter { return filter("attachment.instance-id", t.ID) }

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: aws.String(name), Values: values}
}

// describeInterfaces reads interfaces, those too that an account may have hidden
// because an AWS service manages them.
func describeInterfaces(ctx context.Context, session *cloud.Session, t control.Target, which types.Filter) ([]types.NetworkInterface, error) {
	pages := ec2.NewDescribeNetworkInterfacesPaginator(instance.Client(session), &ec2.DescribeNetworkInterfacesInput{
		Filters: []types.Filter{which}, IncludeManagedResources: aws.Bool(true),
	})
	var all []types.NetworkInterface
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe network interfaces of instance %s: %w", t.ID, err)
		}
		all = append(all, page.NetworkInterfaces...)
	}
	slices.SortFunc(all, func(a, b types.NetworkInterface) int {
		return cmp.Compare(aws.ToString(a.NetworkInterfaceId), aws.ToString(b.NetworkInterfaceId))
	})
	return all, nil
}

func describeGroups(ctx context.Context, session *cloud.Session, filters ...types.Filter) ([]types.SecurityGroup, error) {
	pages := ec2.NewDescribeSecurityGroupsPaginator(instance.Client(session), &ec2.DescribeSecurityGroupsInput{Filters: filters})
	var all []types.SecurityGroup
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe security groups: %w", err)
		}
		all = append(all, page.SecurityGroups...)
	}
	return all, nil
}

// describeOwn reads the groups that Snapback makes. Another account may share
// one of the same name; that is not ours.
func describeOwn(ctx context.Context, session *cloud.Session, t control.Target) (map[string]*group, error) {
	found, err := describeGroups(ctx, session, filter("group-name", quarantineName, untrackName(t)), filter("owner-id", t.Account))
	if err != nil {
		return nil, err
	}
	own := map[string]*group{}
	for i := range found {
		g := newGroup(&found[i])
		own[g.key()] = g
	}
	return own, nil
}

// groupsOf are the groups that an interface is in, sorted, as a state has them.
func (v *view) groupsOf(n *types.NetworkInterface) []string {
	names := []string{}
	for _, member := range n.Groups {
		name := aws.ToString(member.GroupId)
		for key, g := range v.groups {
			if g.id == name {
				name = key
				break
			}
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// isolated are the groups of an interface in quarantine.
func isolated(n *types.NetworkInterface) []string {
	return []string{key(aws.ToString(n.VpcId), quarantineName)}
}

// fixed says why the groups of an interface can't be changed; empty if they can.
//
// Sources: EC2 user guide, "Requester-managed network interfaces" and "Amazon EC2
// managed instances".
func (v *view) fixed(n *types.NetworkInterface) string {
	switch owner := aws.ToString(n.OwnerId); {
	case n.Operator != nil && aws.ToBool(n.Operator.Managed):
		return "only " + cmp.Or(aws.ToString(n.Operator.Principal), "an AWS service") + ", which manages it, may change that"
	case aws.ToBool(n.RequesterManaged):
		return "only " + cmp.Or(aws.ToString(n.RequesterId), "an AWS service") + ", which manages it, may change that"
	case owner != v.target.Account:
		return "it belongs to account " + owner
	}
	return ""
}

// left says which interfaces stay on the network.
func (v *view) left() []string {
	read := map[string]bool{}
	var left []string
	for _, n := range v.interfaces {
		id := aws.ToString(n.NetworkInterfaceId)
		read[id] = true
		if why := v.fixed(&n); why != "" {
			left = append(left, fmt.Sprintf("Network interface %s keeps its security groups: %s.", id, why))
		} else if n.InterfaceType == types.NetworkInterfaceTypeTrunk {
			// EKS user guide, "Assign security groups to individual Pods". Which branches a
			// trunk has is told to EKS alone.
			left = append(left, fmt.Sprintf("Pods whose branch interfaces go through network interface %s have security groups of their own, which stay.", id))
		}
	}
	for _, n := range v.instance.NetworkInterfaces { // an interface of another account may be attached
		if id := aws.ToString(n.NetworkInterfaceId); !read[id] {
			left = append(left, fmt.Sprintf("Network interface %s of account %s is attached, and account %s can't read it.", id, aws.ToString(n.OwnerId), v.target.Account))
		}
	}
	slices.Sort(left)
	return left
}

package network

import (
	"context"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

// securityGroupType is the type of security groups, as AWS Config spells it.
const securityGroupType = "AWS::EC2::SecurityGroup"

// securityGroup is how security groups are named.
func securityGroup() control.Resource {
	return control.Resource{
		Type: securityGroupType,
		ARN: func(t control.Target) string {
			return "arn:" + cloud.Partition(t.Region) + ":ec2:" + t.Region + ":" + t.Account + ":security-group/" + t.ID
		},
		IDs:    regexp.MustCompile(`^sg-[0-9a-f]{8,17}$`),
		Sample: "sg-0123456789abcdef0",
	}
}

// The calls that both controls make. IAM knows no resource for the calls that
// only read (service authorization reference, Amazon EC2).
var (
	describeGroups = control.Permission{Call: "EC2.DescribeSecurityGroups", Action: "ec2:DescribeSecurityGroups", Resource: "*"}
	describeRules  = control.Permission{Call: "EC2.DescribeSecurityGroupRules", Action: "ec2:DescribeSecurityGroupRules", Resource: "*"}
)

const (
	anyGroup = "arn:${Partition}:ec2:${Region}:${Account}:security-group/*"
	anyRule  = "arn:${Partition}:ec2:${Region}:${Account}:security-group-rule/*"
)

// revokes is the permission to take rules out of a group: "Ingress" or "Egress".
func revokes(direction string) control.Permission {
	return control.Permission{Call: "EC2.RevokeSecurityGroup" + direction, Action: "ec2:RevokeSecurityGroup" + direction, Resource: anyGroup}
}

// authorizes are the permissions to put rules into a group: "Ingress" or
// "Egress". IAM asks for those on the rules where the call gives them tags
// (service authorization reference, Amazon EC2).
func authorizes(direction string) []control.Permission {
	call := "EC2.AuthorizeSecurityGroup" + direction
	action := "ec2:AuthorizeSecurityGroup" + direction
	return []control.Permission{
		{Call: call, Action: action, Resource: anyGroup},
		{Call: call, Action: action, Resource: anyRule},
		{Call: call, Action: "ec2:CreateTags", Resource: anyRule},
	}
}

// changedGroup is the Targets of every call that makes a security group or
// changes its rules. A call may name a group of the default VPC by its name
// alone; the rules in its answer carry the ID (EC2 API reference,
// AuthorizeSecurityGroupIngress). ModifySecurityGroupRules is recorded with its
// whole request under one key, in the API's own spelling (CloudTrail Lake sample
// queries of AWS, "security group changes").
func changedGroup(call *event.Call) []control.Target {
	for _, path := range []string{
		"requestParameters.groupId",
		"requestParameters.ModifySecurityGroupRulesRequest.GroupId",
		"responseElements.securityGroupRuleSet.items.0.groupId",
		"responseElements.groupId",
	} {
		if targets := control.Named(path)(call); targets != nil {
			return targets
		}
	}
	return nil
}

// listGroups finds the security groups that the account owns: one that another
// account shares with it is that account's to change.
func listGroups(filters ...types.Filter) func(context.Context, *cloud.Session) iter.Seq2[control.Target, error] {
	return func(ctx context.Context, session *cloud.Session) iter.Seq2[control.Target, error] {
		return func(yield func(control.Target, error) bool) {
			pages := ec2.NewDescribeSecurityGroupsPaginator(client(session), &ec2.DescribeSecurityGroupsInput{
				Filters: append(filters, filter("owner-id", session.Account)), MaxResults: aws.Int32(1000),
			})
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					yield(control.Target{}, fmt.Errorf("list security groups of %s in %s: %w", session.Account, session.Region, err))
					return
				}
				for _, g := range page.SecurityGroups {
					if !yield(control.Target{
						Account: session.Account, Region: session.Region, Type: securityGroupType, ID: aws.ToString(g.GroupId),
					}, nil) {
						return
					}
				}
			}
		}
	}
}

func filter(name, value string) types.Filter {
	return types.Filter{Name: aws.String(name), Values: []string{value}}
}

func client(session *cloud.Session) *ec2.Client {
	return cloud.Client(session, func(cfg aws.Config) *ec2.Client { return ec2.NewFromConfig(cfg) })
}

// group is a security group as it is now.
type group struct {
	name, vpc string
	rules     []rule // sorted
}

// readGroup reads the target. The rules are asked for by themselves, as only
// there each has an ID and tags; a group that does not exist has none, so that
// the group is asked for too.
func readGroup(ctx context.Context, session *cloud.Session, t control.Target) (*group, error) {
	var described *ec2.DescribeSecurityGroupsOutput
	var rules []rule
	var groupErr, rulesErr error
	var side sync.WaitGroup
	side.Go(func() {
		described, groupErr = client(session).DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{t.ID}})
	})
	side.Go(func() { rules, rulesErr = readRules(ctx, session, t) })
	side.Wait()
	switch {
	case groupErr != nil:
		return nil, groupError("describe", t, groupErr)
	case rulesErr != nil:
		return nil, groupError("describe the rules of", t, rulesErr)
	case len(described.SecurityGroups) == 0:
		return nil, fmt.Errorf("describe security group %s: %w", t.ID, control.ErrGone)
	}
	g := described.SecurityGroups[0]
	return &group{name: aws.ToString(g.GroupName), vpc: aws.ToString(g.VpcId), rules: rules}, nil
}

func readRules(ctx context.Context, session *cloud.Session, t control.Target) ([]rule, error) {
	pages := ec2.NewDescribeSecurityGroupRulesPaginator(client(session), &ec2.DescribeSecurityGroupRulesInput{
		Filters: []types.Filter{filter("group-id", t.ID)}, MaxResults: aws.Int32(1000),
	})
	var rules []rule
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for i := range page.SecurityGroupRules {
			rules = append(rules, newRule(&page.SecurityGroupRules[i]))
		}
	}
	slices.SortFunc(rules, func(a, b rule) int { return strings.Compare(a.text(), b.text()) })
	return rules, nil
}

// groupError says what was attempted; a group that does not exist is gone.
func groupError(attempt string, t control.Target, err error) error {
	switch {
	case err == nil:
		return nil
	case cloud.Is(err, "InvalidGroup.NotFound", "InvalidGroupId.Malformed"):
		return fmt.Errorf("%s security group %s: %w", attempt, t.ID, control.ErrGone)
	}
	return fmt.Errorf("%s security group %s: %w", attempt, t.ID, err)
}

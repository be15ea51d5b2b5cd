package network

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

// defaultGroup is the name of every VPC's default group, which no other group
// can be given (VPC user guide, "Default security groups for your VPCs"; EC2
// developer guide, error codes, InvalidGroup.Reserved).
const defaultGroup = "default"

func ec2DefaultSecurityGroupClosed() control.Control {
	params := &defaultClosed{}
	describeInterfaces := control.Permission{Call: "EC2.DescribeNetworkInterfaces", Action: "ec2:DescribeNetworkInterfaces", Resource: "*"}
	return control.Control{
		ID:    "ec2-default-security-group-closed",
		Title: "The default security groups of VPCs have no rules",
		Rationale: "What is launched without a security group gets the VPC's default one, and with its first rules " +
			"reaches all that got it too, and the internet.",
		Hazard: "What is launched without a security group from then on can't be reached and reaches nothing. Where a network " +
			"interface has the group, the control only reports, unless close-used is set: then the interface is cut off, but for " +
			"connections that are established.",
		Severity: control.High,
		Standards: control.Standards{
			SecurityHub: []string{"EC2.2"},
			CIS:         []string{"v5.0.0/5.5", "v3.0.0/5.4", "v1.4.0/5.3"},
			ConfigRules: []string{"vpc-default-security-group-closed"},
		},
		Resource: securityGroup(),
		// The records of CreateVpc and CreateDefaultVpc don't name the group that comes
		// with the VPC: the group of a new VPC is found by AWS Config's item of it, or
		// by the sweep. So is one that nothing uses any more.
		Triggers: []control.Trigger{{
			Source:  "ec2.amazonaws.com",
			Names:   []string{"AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress", "ModifySecurityGroupRules"},
			Targets: changedGroup,
		}},
		List: listGroups(filter("group-name", defaultGroup)),
		Remedy: control.Remedy{
			Name:  "close-default-group",
			Plan:  params.plan,
			Apply: revoke,
			Undo:  undoDefaultClosed,
			Permissions: control.Permissions{
				List:  []control.Permission{describeGroups},
				Plan:  []control.Permission{describeGroups, describeRules, describeInterfaces},
				Apply: []control.Permission{describeGroups, describeRules, revokes("Ingress"), revokes("Egress")},
				Undo: slices.Concat([]control.Permission{describeGroups, describeRules},
					authorizes("Ingress"), authorizes("Egress")),
			},
		},
		Params: params,
	}
}

// defaultClosed is what the baseline can say about default groups.
type defaultClosed struct {
	// CloseUsed closes a group that a network interface has, too.
	CloseUsed bool `yaml:"close-used"`
}

func (p *defaultClosed) plan(ctx context.Context, session *cloud.Session, t control.Target) (*control.Change, error) {
	g, err := readGroup(ctx, session, t)
	if err != nil || g.name != defaultGroup || len(g.rules) == 0 {
		return nil, err
	}
	// Only an interface is cut off: another group's rule that refers to this one lets
	// in who has it, whatever its own rules are.
	users, err := usersOf(ctx, session, t)
	if err != nil {
		return nil, err
	}
	facts := map[string][]string{}
	if len(users) > 0 {
		facts["NetworkInterfaceIds"] = users[:min(len(users), known)]
	}
	c, err := newChange(t, closedReason(t, g, len(users)), g.rules, facts)
	if err != nil || len(users) == 0 || p.CloseUsed {
		return c, err
	}
	c.After = nil // a report
	c.Left = []string{fmt.Sprintf("The rules stay, since network interfaces have the group (%s): give them another one.",
		strings.Join(users[:min(len(users), shown)], ", "))}
	return c, nil
}

func undoDefaultClosed(ctx context.Context, session *cloud.Session, c control.Change) error {
	g, err := readGroup(ctx, session, c.Target)
	if err != nil {
		return err
	}
	return putBack(ctx, session, c, g.rules)
}

// known is how many interfaces a case keeps, of what may be thousands.
const known = 1000

func closedReason(t control.Target, g *group, users int) string {
	out := 0
	for _, r := range g.rules {
		if r.IsEgress {
			out++
		}
	}
	text := fmt.Sprintf("The default security group %s of %s has rules: %d in, %d out", t.ID, g.vpc, len(g.rules)-out, out)
	switch users {
	case 0:
		return text + "; nothing uses it."
	case 1:
		return text + "; 1 network interface has it."
	}
	return fmt.Sprintf("%s; %d network interfaces have it.", text, users)
}

// usersOf are the network interfaces that have the group, sorted by their IDs:
// all that is in a VPC is there by an interface.
func usersOf(ctx context.Context, session *cloud.Session, t control.Target) ([]string, error) {
	pages := ec2.NewDescribeNetworkInterfacesPaginator(client(session), &ec2.DescribeNetworkInterfacesInput{
		Filters: []types.Filter{filter("group-id", t.ID)}, MaxResults: aws.Int32(1000),
	})
	var users []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe the network interfaces of security group %s: %w", t.ID, err)
		}
		for _, i := range page.NetworkInterfaces {
			users = append(users, aws.ToString(i.NetworkInterfaceId))
		}
	}
	slices.Sort(users)
	return users, nil
}

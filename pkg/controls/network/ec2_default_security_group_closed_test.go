package network_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	diff "github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/network"
)

func TestDefaultClosedLifecycle(t *testing.T) {
	lifecycle.Run(t, lifecycle.Case{
		Domain: network.Domain(),
		ID:     "ec2-default-security-group-closed",
		Test: lifecycle.Test{
			Gone: "sg-0123456789abcdef0",
			Violations: []lifecycle.Violation{
				{
					Name: "the default group of a new VPC",
					Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
						client := ec2.NewFromConfig(cfg)
						vpc := makeVPC(ctx, t, client)
						return withSelf(ctx, t, client, vpc)
					},
					State: groupState,
				},
				{Name: "rules of every kind, in and out", Make: makeUsual, State: groupState},
			},
		},
	})
}

// withSelf is the default group of a VPC with the rule in that AWS gives it,
// which moto does not.
func withSelf(ctx context.Context, t *testing.T, client *ec2.Client, vpc string) string {
	t.Helper()
	id := defaultGroupOf(ctx, t, client, vpc)
	letIn(ctx, t, client, id, ofGroup(id))
	return id
}

// makeUsual makes a default group that somebody put to use.
func makeUsual(ctx context.Context, t *testing.T, cfg aws.Config) string {
	t.Helper()
	client := ec2.NewFromConfig(cfg)
	vpc := makeVPC(ctx, t, client)
	id := withSelf(ctx, t, client, vpc)
	other := makeGroup(ctx, t, client, vpc, "other")
	list := makePrefixList(ctx, t, client)
	letIn(ctx, t, client, id, ip4("tcp", 22, 22, "0.0.0.0/0", "for now"), "owner", "ops@example.com")
	letIn(ctx, t, client, id, ip6("udp", 53, 53, "2001:db8::/32", "names"))
	letIn(ctx, t, client, id, ip4("icmp", 8, 0, "0.0.0.0/0", "ping"), "kind", "icmp")
	letIn(ctx, t, client, id, ofGroup(other))
	letIn(ctx, t, client, id, ofList(list), "kind", "list")
	letOut(ctx, t, client, id, ip4("tcp", 443, 443, "203.0.113.0/24", "a partner"), "owner", "web@example.com", "kind", "out")
	letOut(ctx, t, client, id, ofGroup(id))
	return id
}

func TestOtherGroupsAndClosedOnesAreLeftAlone(t *testing.T) {
	w := newWorld(t, nil)
	closed := byID(t, "ec2-default-security-group-closed")
	group := makeGroup(t.Context(), t, w.ec2, w.vpc, "default-web")
	letIn(t.Context(), t, w.ec2, group, ip4("tcp", 22, 22, "0.0.0.0/0", ""))
	w.compliant(closed, group)

	id := defaultGroupOf(t.Context(), t, w.ec2, w.vpc)
	w.apply(closed, w.plan(closed, id))
	w.compliant(closed, id)
	var listed []string
	for target, err := range closed.List(t.Context(), w.session) {
		must(t, err)
		listed = append(listed, target.ID)
	}
	if slices.Contains(listed, group) || !slices.Contains(listed, id) {
		t.Errorf("List yields %v, want %s and not %s", listed, id, group)
	}
}

// use gives a group to a new network interface.
func (w *world) use(group string) string {
	w.Helper()
	subnet, err := w.ec2.CreateSubnet(w.Context(), &ec2.CreateSubnetInput{VpcId: aws.String(w.vpc), CidrBlock: aws.String("10.0.1.0/24")})
	must(w.T, err)
	out, err := w.ec2.CreateNetworkInterface(w.Context(), &ec2.CreateNetworkInterfaceInput{
		SubnetId: subnet.Subnet.SubnetId, Groups: []string{group},
	})
	must(w.T, err)
	return *out.NetworkInterface.NetworkInterfaceId
}

func TestUsedGroupIsOnlyReported(t *testing.T) {
	w := newWorld(t, nil)
	closed := byID(t, "ec2-default-security-group-closed")
	id := withSelf(t.Context(), t, w.ec2, w.vpc)
	before := w.plan(closed, id)
	if before.Report() || !strings.HasSuffix(before.Reason, " has rules: 1 in, 2 out; nothing uses it.") {
		t.Errorf("of a group that nothing uses: a report %t, reason %q", before.Report(), before.Reason)
	}
	user := w.use(id)
	report := w.plan(closed, id)
	if !report.Report() {
		t.Errorf("a used group would be closed: %s", report.After)
	}
	if want := "The default security group " + id + " of " + w.vpc + " has rules: 1 in, 2 out; 1 network interface has it."; report.Reason != want {
		t.Errorf("got  %s\nwant %s", report.Reason, want)
	}
	if want := []string{"The rules stay, since network interfaces have the group (" + user + "): give them another one."}; !slices.Equal(report.Left, want) {
		t.Errorf("got  %q\nwant %q", report.Left, want)
	}
	var facts struct{ NetworkInterfaceIds, SecurityGroupRuleIds []string } //nolint:revive // the names are those of the JSON
	must(t, json.Unmarshal(report.Facts, &facts))
	if !slices.Equal(facts.NetworkInterfaceIds, []string{user}) || len(facts.SecurityGroupRuleIds) != 3 {
		t.Errorf("the facts are %s", report.Facts)
	}
	// Another interface is no other report: the operators know already.
	if string(before.Before) != string(report.Before) {
		t.Errorf("the state differs with who uses the group:\n%s\n%s", before.Before, report.Before)
	}
}

func TestUsedGroupIsClosedWhereTheBaselineSaysSo(t *testing.T) {
	w := newWorld(t, nil)
	closed := byID(t, "ec2-default-security-group-closed")
	network.SetCloseUsed(closed.Params, true)
	id := withSelf(t.Context(), t, w.ec2, w.vpc)
	w.use(id)
	change := w.plan(closed, id)
	w.apply(closed, change)
	w.compliant(closed, id)
	if left := rules(t.Context(), t, w.ec2, id); len(left) > 0 {
		t.Errorf("the group still has the rules %v", ids(left))
	}
	must(t, closed.Remedy.Undo(t.Context(), w.session, change))
	w.refused(closed, change, string(change.Before))
}

// A worker killed between the two directions leaves one of them closed.
func TestHalfClosedGroupIsFinishedAndUndone(t *testing.T) {
	w := newWorld(t, nil)
	closed := byID(t, "ec2-default-security-group-closed")
	id := withSelf(t.Context(), t, w.ec2, w.vpc)
	change := w.plan(closed, id)
	for _, r := range rules(t.Context(), t, w.ec2, id) {
		if !*r.IsEgress {
			_, err := w.ec2.RevokeSecurityGroupIngress(t.Context(), &ec2.RevokeSecurityGroupIngressInput{
				GroupId: aws.String(id), SecurityGroupRuleIds: []string{*r.SecurityGroupRuleId},
			})
			must(t, err)
		}
	}
	change.After = w.plan(closed, id).After
	w.apply(closed, change)
	w.compliant(closed, id)
	must(t, closed.Remedy.Undo(t.Context(), w.session, change))
	w.refused(closed, change, string(change.Before))
}

func TestNewRuleKeepsAnUndoFromTheDefaultGroup(t *testing.T) {
	w := newWorld(t, nil)
	closed := byID(t, "ec2-default-security-group-closed")
	id := withSelf(t.Context(), t, w.ec2, w.vpc)
	change := w.plan(closed, id)
	w.apply(closed, change)
	letIn(t.Context(), t, w.ec2, id, ip4("tcp", 443, 443, "203.0.113.0/24", ""))
	w.refused(closed, change, `[{"IpProtocol":"tcp","FromPort":443,"ToPort":443,"CidrIpv4":"203.0.113.0/24"}]`)
}

// What a rule refers to may be deleted while the rule is away: all else is put
// back, and the rule is named.
func TestUndoNamesRulesWhoseSourceIsGone(t *testing.T) {
	w := newWorld(t, nil)
	closed := byID(t, "ec2-default-security-group-closed")
	id := withSelf(t.Context(), t, w.ec2, w.vpc)
	other := makeGroup(t.Context(), t, w.ec2, w.vpc, "short-lived")
	// It comes after the rule of the group itself, which moto puts in before it
	// refuses this one: AWS may put in none then, or some.
	doomed := ofGroup(other)
	doomed.IpProtocol, doomed.FromPort, doomed.ToPort = aws.String("tcp"), aws.Int32(22), aws.Int32(22)
	letIn(t.Context(), t, w.ec2, id, doomed)
	letIn(t.Context(), t, w.ec2, id, ip4("tcp", 443, 443, "203.0.113.0/24", "the office"))
	change := w.plan(closed, id)
	w.apply(closed, change)
	_, err := w.ec2.DeleteSecurityGroup(t.Context(), &ec2.DeleteSecurityGroupInput{GroupId: aws.String(other)})
	must(t, err)
	err = closed.Remedy.Undo(t.Context(), w.session, change)
	var left *control.LeftError
	if !errors.As(err, &left) {
		t.Fatalf("undo: want a *control.LeftError, got %v", err)
	}
	want := []string{"The rule for tcp 22 with " + other + " can't be put back: " + other + " no longer exists."}
	if d := diff.Diff(want, left.Left); d != "" {
		t.Errorf("what is left differs (-want +got):\n%s", d)
	}
	var sources []string
	for _, r := range rules(t.Context(), t, w.ec2, id) {
		switch {
		case r.ReferencedGroupInfo != nil:
			sources = append(sources, *r.ReferencedGroupInfo.GroupId)
		case r.CidrIpv4 != nil:
			sources = append(sources, *r.CidrIpv4)
		}
	}
	slices.Sort(sources)
	if d := diff.Diff([]string{"0.0.0.0/0", "203.0.113.0/24", id}, sources); d != "" {
		t.Errorf("the rules with IPv4 and groups differ (-want +got):\n%s", d)
	}
}

// The rules that both controls would take out are taken out once, by whoever
// comes first, and each puts back its own.
func TestBothControlsWorkOnOneGroup(t *testing.T) {
	w := newWorld(t, nil)
	open, closed := network.OpenIngress(), byID(t, "ec2-default-security-group-closed")
	id := withSelf(t.Context(), t, w.ec2, w.vpc)
	letIn(t.Context(), t, w.ec2, id, ip4("tcp", 22, 22, "0.0.0.0/0", "for now"))
	first, second := w.plan(open, id), w.plan(closed, id)
	w.apply(open, first)
	w.apply(closed, second)
	w.compliant(open, id)
	w.compliant(closed, id)
}

func TestRulesArePutBackAsAWSTakesThem(t *testing.T) {
	for _, tt := range []struct {
		name string
		rule types.SecurityGroupRule
		want types.IpPermission
	}{
		{
			"all protocols have no ports",
			types.SecurityGroupRule{IpProtocol: aws.String("-1"), FromPort: aws.Int32(-1), ToPort: aws.Int32(-1), CidrIpv6: aws.String("::/0"), Description: aws.String("d")},
			types.IpPermission{IpProtocol: aws.String("-1"), Ipv6Ranges: []types.Ipv6Range{{CidrIpv6: aws.String("::/0"), Description: aws.String("d")}}},
		},
		{
			"a protocol without ports",
			types.SecurityGroupRule{IpProtocol: aws.String("50"), CidrIpv4: aws.String("0.0.0.0/0")},
			types.IpPermission{IpProtocol: aws.String("50"), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}},
		},
		{
			"all types of ICMP",
			types.SecurityGroupRule{IpProtocol: aws.String("icmpv6"), FromPort: aws.Int32(-1), ToPort: aws.Int32(-1), PrefixListId: aws.String("pl-1"), Description: aws.String("d")},
			types.IpPermission{
				IpProtocol: aws.String("icmpv6"), FromPort: aws.Int32(-1), ToPort: aws.Int32(-1),
				PrefixListIds: []types.PrefixListId{{PrefixListId: aws.String("pl-1"), Description: aws.String("d")}},
			},
		},
		{
			"one type of ICMP, all its codes",
			types.SecurityGroupRule{IpProtocol: aws.String("icmp"), FromPort: aws.Int32(3), ToPort: aws.Int32(-1), CidrIpv4: aws.String("0.0.0.0/0")},
			types.IpPermission{IpProtocol: aws.String("icmp"), FromPort: aws.Int32(3), ToPort: aws.Int32(-1), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}},
		},
		{
			"another account's group",
			types.SecurityGroupRule{
				IpProtocol: aws.String("tcp"), FromPort: aws.Int32(0), ToPort: aws.Int32(65535), Description: aws.String("d"),
				ReferencedGroupInfo: &types.ReferencedSecurityGroup{
					GroupId: aws.String("sg-1"), UserId: aws.String("333333333333"), VpcPeeringConnectionId: aws.String("pcx-1"), PeeringStatus: aws.String("active"),
				},
			},
			types.IpPermission{
				IpProtocol: aws.String("tcp"), FromPort: aws.Int32(0), ToPort: aws.Int32(65535),
				UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: aws.String("sg-1"), UserId: aws.String("333333333333"), Description: aws.String("d")}},
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) { same(t, "putting it back", tt.want, network.Permission(tt.rule)) })
	}
}

// Tags of AWS's own can't be put back by anyone, so a change does not hold them.
func TestTagsOfAWSAreNotKept(t *testing.T) {
	got := network.Tags(types.SecurityGroupRule{Tags: tags("aws:cloudformation:stack-name", "s", "team", "reports", "empty", "")})
	if d := diff.Diff(map[string]string{"team": "reports", "empty": ""}, got); d != "" {
		t.Errorf("tags differ (-want +got):\n%s", d)
	}
}

func byID(t *testing.T, id string) control.Control {
	t.Helper()
	for _, c := range network.Domain().Controls {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("the domain has no control %s", id)
	return control.Control{}
}

package isolate_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/isolate"
)

func TestIsolationLifecycle(t *testing.T) {
	untrack := true
	lifecycle.Remedy(t, "response", instanceType, isolate.Remedy(&untrack), lifecycle.Test{
		Gone: "i-0123456789abcdef0",
		Violations: []lifecycle.Violation{
			{
				Name: "an instance with three interfaces",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					return boxIn(ctx, t, cfg, nil).instance
				},
				State: networkState,
			},
			{
				Name: "the quarantine group is there and someone opened it",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					b := boxIn(ctx, t, cfg, nil)
					b.letIn(ctx, b.group(ctx, b.vpc, quarantineName))
					return b.instance
				},
				State: networkState,
			},
			{
				Name: "without the wide-open group",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					untrack = false
					return boxIn(ctx, t, cfg, nil).instance
				},
				State: networkState,
			},
		},
	})
}

// networkState is the instance's interfaces with their addresses, and all groups
// of their VPC with their rules but the quarantine group, which stays.
func networkState(ctx context.Context, t *testing.T, cfg aws.Config, id string) any {
	t.Helper()
	b := &box{t: t, member: ec2.NewFromConfig(cfg), instance: id}
	network := b.network(ctx)
	vpc := ""
	for _, n := range network {
		vpc = aws.ToString(n.VpcId)
		slices.SortFunc(n.Groups, func(a, b types.GroupIdentifier) int {
			return strings.Compare(aws.ToString(a.GroupId), aws.ToString(b.GroupId))
		})
	}
	out, err := b.member.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{
		Filters: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{vpc}}},
	})
	lifecycle.Must(t, err)
	return lifecycle.Comparable([]any{network, slices.DeleteFunc(out.SecurityGroups, func(g types.SecurityGroup) bool {
		return aws.ToString(g.GroupName) == quarantineName
	})})
}

func TestIsolatedInstanceIsCutOffAndReleased(t *testing.T) {
	ctx := t.Context()
	b := newBox(t)
	before := b.memberships(ctx)
	change := b.isolate(ctx)
	b.cutOff(ctx)
	quarantine := b.named(ctx, quarantineName)
	if len(quarantine) != 1 || len(quarantine[0].Tags) == 0 || aws.ToString(quarantine[0].Description) == "" {
		t.Errorf("want one quarantine group, with tags and a description, got %s", text(quarantine))
	}
	lifecycle.Must(t, remedy(true).Undo(ctx, b.session(wire{}), *change))
	same(t, "groups before and after release", before, b.memberships(ctx))
	b.isolate(ctx)
	b.cutOff(ctx)
}

func TestEveryInterfaceGetsTheGroupOfItsOwnVPC(t *testing.T) {
	ctx := t.Context()
	b, other := newBox(t), newBox(t)
	b.attach(ctx, b.subnet(ctx, other.vpc, "10.0.9.0/24"), nil, other.web)
	before := b.memberships(ctx)
	change := b.isolate(ctx)
	b.cutOff(ctx)
	for id, n := range b.network(ctx) {
		out, err := b.member.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{aws.ToString(n.Groups[0].GroupId)}})
		lifecycle.Must(t, err)
		if got := out.SecurityGroups[0].VpcId; aws.ToString(got) != aws.ToString(n.VpcId) {
			t.Errorf("interface %s of %s is in a group of %s", id, aws.ToString(n.VpcId), aws.ToString(got))
		}
	}
	lifecycle.Must(t, remedy(true).Undo(ctx, b.session(wire{}), *change))
	same(t, "groups before and after release", before, b.memberships(ctx))
}

func TestPlanNamesGroupsAndTellsAddresses(t *testing.T) {
	ctx := t.Context()
	b := newBox(t)
	c := b.plan(ctx)
	type state struct{ Interfaces map[string][]string }
	var before, after state
	lifecycle.Must(t, json.Unmarshal(c.Before, &before))
	lifecycle.Must(t, json.Unmarshal(c.After, &after))
	same(t, "groups in Before and in AWS", b.memberships(ctx), before.Interfaces)
	for id, groups := range after.Interfaces {
		same(t, "groups in After", []string{b.vpc + "/snapback-quarantine"}, groups)
		if !slices.Contains(c.Touches, "arn:aws:ec2:us-east-1:222222222222:network-interface/"+id) {
			t.Errorf("interface %s is changed and not in %v", id, c.Touches)
		}
	}
	if again := b.plan(ctx); again.Digest() != c.Digest() {
		t.Errorf("two plans of the same state differ:\n%s\n%s", text(c), text(again))
	}
	network := b.network(ctx)
	elastic := network[b.interfaces[2]].Association
	for _, want := range []string{
		`"2001:db8::5"`, `"` + aws.ToString(elastic.PublicIp) + `":"` + aws.ToString(elastic.AllocationId) + `"`,
		`"public":["` + aws.ToString(network[b.interfaces[0]].Association.PublicIp) + `"]`,
		`"` + aws.ToString(network[b.interfaces[1]].PrivateIpAddress) + `"`, `"` + b.db + `":"db"`,
	} {
		if !strings.Contains(string(c.Facts), want) {
			t.Errorf("the facts lack %s: %s", want, c.Facts)
		}
	}
	lifecycle.Must(t, remedy(true).Apply(ctx, b.session(wire{}), *c))
	if now := b.network(ctx)[b.interfaces[2]].Association; now == nil || *now.AllocationId != *elastic.AllocationId {
		t.Error("the Elastic address is lost")
	}
}

func TestThousandsOfAddressesDoNotOverflowTheCase(t *testing.T) {
	ctx := t.Context()
	b := newBox(t)
	// Moto takes minutes to give so many addresses.
	session := b.session(rewrite(b.interfaces[0], replaced("<privateIpAddressesSet>",
		"<privateIpAddressesSet>"+strings.Repeat("<item><privateIpAddress>10.0.100.100</privateIpAddress></item>", 6000))))
	c, err := remedy(true).Plan(ctx, session, b.target())
	lifecycle.Must(t, err)
	if len(c.Facts) > control.MaxFacts || !strings.Contains(string(c.Facts), "eipalloc-") {
		t.Errorf("the facts have %d bytes: %.200s", len(c.Facts), c.Facts)
	}
}

// TestIsolationTakesFourRoundTrips delays every answer, so that calls made side
// by side overlap for certain.
func TestIsolationTakesFourRoundTrips(t *testing.T) {
	for _, tt := range []struct {
		name    string
		untrack bool
		before  func(context.Context, *box)
		trips   int
		refused bool // whether AWS refuses any call
	}{
		{"both groups are missing", true, func(context.Context, *box) {}, 4, true},
		{"the quarantine group is there", true, closedQuarantine, 4, true},
		{"the quarantine group is missing, without the wide-open one", false, func(context.Context, *box) {}, 3, false},
		{"the quarantine group is there, without the wide-open one", false, closedQuarantine, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := t.Context()
			b := newBox(t)
			tt.before(ctx, b)
			session := b.session(wire{meet: func(_ call, send func() (*http.Response, error)) (*http.Response, error) {
				<-time.After(40 * time.Millisecond)
				return send()
			}})
			planning, planned := cloud.Record(ctx)
			c, err := remedy(tt.untrack).Plan(planning, session, b.target())
			lifecycle.Must(t, err)
			if got := cloud.RoundTrips(planned.Calls()); got != 1 {
				t.Errorf("Plan took %d round trips: %v", got, planned.Calls())
			}
			applying, applied := cloud.Record(ctx)
			lifecycle.Must(t, remedy(tt.untrack).Apply(applying, session, *c))
			b.cutOff(ctx)
			calls := slices.DeleteFunc(applied.Calls(), func(c cloud.Call) bool { return c.Operation == "DeleteSecurityGroup" })
			if got := cloud.RoundTrips(calls); got != tt.trips {
				t.Errorf("Apply took %d round trips, want %d: %v", got, tt.trips, calls)
			}
			for _, c := range calls {
				// Whether the VPC has IPv6, and so the rule is there, is not read before.
				if c.Outcome != "ok" && (!tt.refused || c.Name() != "EC2.AuthorizeSecurityGroupEgress") {
					t.Errorf("%s was refused: %s", c.Name(), c.Outcome)
				}
				if c.Operation == "CreateSecurityGroup" && tt.trips == 2 {
					t.Error("a group was made that is there")
				}
			}
		})
	}
}

// closedQuarantine makes a quarantine group without any rule.
func closedQuarantine(ctx context.Context, b *box) {
	b.t.Helper()
	group := b.group(ctx, b.vpc, quarantineName)
	for _, p := range []types.IpPermission{
		{IpProtocol: aws.String("-1"), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}},
		{IpProtocol: aws.String("-1"), Ipv6Ranges: []types.Ipv6Range{{CidrIpv6: aws.String("::/0")}}},
	} {
		_, err := b.member.RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{
			GroupId: aws.String(group), IpPermissions: []types.IpPermission{p},
		})
		lifecycle.Must(b.t, err)
	}
}

func TestQuarantineThatSomeoneOpenedIsClosedAgain(t *testing.T) {
	ctx := t.Context()
	b := newBox(t)
	b.isolate(ctx)
	quarantine := aws.ToString(b.named(ctx, quarantineName)[0].GroupId)
	b.letIn(ctx, quarantine)
	_, err := b.member.AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{
		GroupId: aws.String(quarantine), IpPermissions: []types.IpPermission{
			{IpProtocol: aws.String("udp"), FromPort: aws.Int32(53), ToPort: aws.Int32(53), Ipv6Ranges: []types.Ipv6Range{{CidrIpv6: aws.String("::/0")}}},
			{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(443), ToPort: aws.Int32(443), PrefixListIds: []types.PrefixListId{{PrefixListId: aws.String("pl-0123456789abcdef0")}}},
			{IpProtocol: aws.String("-1"), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: aws.String(b.db)}}},
		},
	})
	lifecycle.Must(t, err)
	c := b.plan(ctx)
	for _, want := range []string{
		"tcp 22-22 in from 0.0.0.0/0", "udp 53-53 out to ::/0", "tcp 443-443 out to pl-0123456789abcdef0", "all traffic out to " + b.db,
	} {
		if !strings.Contains(c.Reason, want) || !strings.Contains(string(c.Before), want) || strings.Contains(string(c.After), want) {
			t.Errorf("the change does not tell that %s: %s, %s, %s", want, c.Reason, c.Before, c.After)
		}
	}
	if want := "arn:aws:ec2:us-east-1:222222222222:security-group/" + quarantine; !slices.Contains(c.Touches, want) {
		t.Errorf("the group is changed and not in %v", c.Touches)
	}
	lifecycle.Must(t, remedy(true).Apply(ctx, b.session(wire{}), *c))
	b.cutOff(ctx)
	b.done(ctx)
	var left *control.LeftError
	if err := remedy(true).Undo(ctx, b.session(wire{}), *c); !errors.As(err, &left) {
		t.Errorf("undo: want a *control.LeftError, got %v", err)
	}
	b.cutOff(ctx)
}

// done wants Plan to find nothing.
func (b *box) done(ctx context.Context) {
	b.t.Helper()
	c, err := remedy(true).Plan(ctx, b.session(wire{}), b.target())
	lifecycle.Must(b.t, err)
	if c != nil {
		b.t.Errorf("Plan still finds: %s", c.Reason)
	}
}

func TestWideOpenGroupThatWasLeftIsFoundAndDeleted(t *testing.T) {
	ctx := t.Context()
	b, other := newBox(t), newBox(t)
	b.isolate(ctx)
	// Where an interface was that is not attached any more.
	b.letIn(ctx, b.group(ctx, other.vpc, b.untrackName()))
	c := b.plan(ctx)
	if !strings.Contains(c.Reason, b.untrackName()+" is left over") {
		t.Errorf("the reason is %s", c.Reason)
	}
	lifecycle.Must(t, remedy(true).Apply(ctx, b.session(wire{}), *c))
	b.cutOff(ctx)
	b.done(ctx)
}

func TestInterfacesThatCannotBeChangedAreNamed(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		edit       func(string) string
	}{
		{
			"requester-managed", "keeps its security groups: only amazon-elb, which manages it, may change that.",
			replaced("<requesterManaged>false<", "<requesterManaged>true<", "AIDAIT2UOQQY3AUEMOTO", "amazon-elb"),
		},
		{
			"managed by a service", "keeps its security groups: only eks.amazonaws.com, which manages it, may change that.",
			replaced("<sourceDestCheck>", "<operator><managed>true</managed><principal>eks.amazonaws.com</principal></operator><sourceDestCheck>"),
		},
		{
			"another account's", "keeps its security groups: it belongs to account 333333333333.",
			replaced("<ownerId>222222222222<", "<ownerId>333333333333<"),
		},
		{
			"not to be read", "of account 222222222222 is attached, and account 222222222222 can't read it.",
			func(string) string { return "" },
		},
		{
			"a trunk", "have security groups of their own, which stay.",
			replaced("<interfaceType>interface<", "<interfaceType>trunk<"),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := t.Context()
			b := newBox(t)
			before := b.memberships(ctx)
			session := b.session(rewrite(b.interfaces[1], tt.edit))
			c, err := remedy(true).Plan(ctx, session, b.target())
			lifecycle.Must(t, err)
			if len(c.Left) != 1 || !strings.Contains(c.Left[0], b.interfaces[1]) || !strings.HasSuffix(c.Left[0], tt.want) {
				t.Errorf("left is %q, want %q of %s", c.Left, tt.want, b.interfaces[1])
			}
			lifecycle.Must(t, remedy(true).Apply(ctx, session, *c))
			now := b.memberships(ctx)
			for _, id := range []string{b.interfaces[0], b.interfaces[2]} {
				if slices.Equal(now[id], before[id]) {
					t.Errorf("interface %s was not changed", id)
				}
			}
			if tt.name != "a trunk" {
				same(t, "groups of the interface that can't be changed", before[b.interfaces[1]], now[b.interfaces[1]])
			}
			report, err := remedy(true).Plan(ctx, session, b.target())
			lifecycle.Must(t, err)
			if report == nil || !report.Report() || !slices.Equal(report.Left, c.Left) || report.Reason == "" {
				t.Errorf("want a report of what is left, got %s", text(report))
			}
			if report != nil && !strings.Contains(string(report.Before), b.interfaces[1]) {
				t.Errorf("the report does not tell of what: %s", report.Before)
			}
		})
	}
}

func TestUndoNamesWhatNoLongerExists(t *testing.T) {
	ctx := t.Context()
	b := newBox(t)
	both := b.attach(ctx, b.subnet(ctx, b.vpc, "10.0.3.0/24"), nil, b.web, b.db)
	change := b.isolate(ctx)
	b.remove(ctx, b.interfaces[1])
	b.delete(ctx, b.web)
	want := sorted(
		"Network interface "+b.interfaces[0]+" stays isolated: no group that it was in exists any more.",
		"Network interface "+b.interfaces[1]+" no longer exists.",
		"Security group "+b.web+", which network interface "+both+" was in, no longer exists.",
	)
	same(t, "sentences", want, sorted(b.undoLeaves(ctx, change)...))
	now := map[string][]string{
		b.interfaces[0]: {aws.ToString(b.named(ctx, quarantineName)[0].GroupId)}, b.interfaces[2]: {b.db}, both: {b.db},
	}
	same(t, "groups", now, b.memberships(ctx))
	// A worker that was killed before it could tell finds the same once more.
	same(t, "sentences, told again", want, sorted(b.undoLeaves(ctx, change)...))
	same(t, "groups, after undoing again", now, b.memberships(ctx))
}

func sorted(texts ...string) []string { return slices.Sorted(slices.Values(texts)) }

// undoLeaves undoes and wants to be told what can't be put back.
func (b *box) undoLeaves(ctx context.Context, c *control.Change) []string {
	b.t.Helper()
	var left *control.LeftError
	if err := remedy(true).Undo(ctx, b.session(wire{}), *c); !errors.As(err, &left) {
		b.t.Fatalf("want a *control.LeftError, got %v", err)
	}
	return left.Left
}

func (b *box) delete(ctx context.Context, group string) {
	b.t.Helper()
	_, err := b.member.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: aws.String(group)})
	lifecycle.Must(b.t, err)
}

func TestUndoRefusesWhereSomeoneChangedAnInterface(t *testing.T) {
	ctx := t.Context()
	b := newBox(t)
	change := b.isolate(ctx)
	b.put(ctx, b.interfaces[0], b.db)
	before := b.memberships(ctx)
	var moved *control.MovedError
	if err := remedy(true).Undo(ctx, b.session(wire{}), *change); !errors.As(err, &moved) || !strings.Contains(string(moved.Now), b.db) {
		t.Errorf("want a *control.MovedError that shows group %s, got %v", b.db, err)
	}
	same(t, "groups before and after the refused undo", before, b.memberships(ctx))
}

func TestUndoOfAnInstanceThatIsGoneSaysSo(t *testing.T) {
	ctx := t.Context()
	b := newBox(t)
	change := b.isolate(ctx)
	_, err := b.member.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{b.instance}})
	lifecycle.Must(t, err)
	if err := remedy(true).Undo(ctx, b.session(wire{}), *change); !errors.Is(err, control.ErrGone) {
		t.Errorf("want control.ErrGone, got %v", err)
	}
}

// TestInterfaceAttachedSincePlanIsFoundByTheNext is what an attacker with rights
// to EC2 might do.
func TestInterfaceAttachedSincePlanIsFoundByTheNext(t *testing.T) {
	ctx := t.Context()
	b := newBox(t)
	first := b.plan(ctx)
	late := b.attach(ctx, b.subnet(ctx, b.vpc, "10.0.3.0/24"), nil, b.web)
	lifecycle.Must(t, remedy(true).Apply(ctx, b.session(wire{}), *first))
	if now := b.memberships(ctx); !slices.Equal(now[late], []string{b.web}) {
		t.Errorf("an interface was changed that nobody planned to change: %v", now[late])
	}
	second := b.plan(ctx)
	second.Before = first.Before // the engine keeps the first
	lifecycle.Must(t, remedy(true).Apply(ctx, b.session(wire{}), *second))
	b.cutOff(ctx)
	same(t, "sentences", []string{
		"Network interface " + late + " was attached when the case was open; its former groups are not known, and it stays isolated.",
	}, b.undoLeaves(ctx, second))
	now := b.memberships(ctx)
	delete(now, late)
	var before struct{ Interfaces map[string][]string }
	lifecycle.Must(t, json.Unmarshal(first.Before, &before))
	same(t, "groups", before.Interfaces, now)
}

func TestInterfaceThatWasInQuarantineBeforeStaysThere(t *testing.T) {
	ctx := t.Context()
	b := newBox(t)
	closedQuarantine(ctx, b)
	quarantine := aws.ToString(b.named(ctx, quarantineName)[0].GroupId)
	b.put(ctx, b.interfaces[0], quarantine)
	b.put(ctx, b.interfaces[1], quarantine, b.web)
	before := b.memberships(ctx)
	change := b.isolate(ctx)
	b.cutOff(ctx)
	lifecycle.Must(t, remedy(true).Undo(ctx, b.session(wire{}), *change))
	same(t, "groups before and after release", before, b.memberships(ctx))
	var moved *control.MovedError
	if err := remedy(true).Undo(ctx, b.session(wire{}), *change); !errors.As(err, &moved) || string(moved.Now) != string(change.Before) {
		t.Errorf("undoing again: want a *control.MovedError that shows %s, got %v", change.Before, err)
	}
	if got := slices.Sorted(maps.Keys(b.memberships(ctx))); len(got) != 3 {
		t.Errorf("the instance has interfaces %v", got)
	}
}

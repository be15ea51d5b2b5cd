package runbooks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/runbooks"
)

// server is the AWS of all tests but the lifecycle's. Only those that need one
// start it: the fuzzer's workers don't.
var server *local.AWS

func member(t *testing.T) aws.Config {
	t.Helper()
	if server == nil {
		var err error
		server, err = local.StartAWS(context.Background())
		check(t, err)
	}
	return server.Config(local.MemberAccount)
}

func TestMain(m *testing.M) {
	code := m.Run()
	if server != nil {
		server.Close()
	}
	os.Exit(code)
}

func TestLifecycleOfTheReportOnAVictim(t *testing.T) {
	attacked := runbook(t, "ec2-attacked")
	lifecycle.Remedy(t, "response", attacked.Type, attacked.Steps[0].Remedy, lifecycle.Test{
		Gone: "i-0123456789abcdef0",
		Violations: []lifecycle.Violation{{
			Name: "a victim that the internet reaches",
			Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
				v := newVictim(ctx, t, cfg)
				return v.launch(v.group(tcp(22, "0.0.0.0/0")))
			},
			State: func(ctx context.Context, t *testing.T, cfg aws.Config, id string) any {
				out, err := ec2.NewFromConfig(cfg).DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
				check(t, err)
				return lifecycle.Comparable(out.Reservations)
			},
		}},
	})
}

// exposure is what the report keeps.
type exposure struct {
	Addresses []string `json:"addresses"`
	Open      []opened `json:"open"`
}

type opened struct{ Group, Traffic, Range string }

func TestReportNamesWhatTheInternetReaches(t *testing.T) {
	v := newVictim(t.Context(), t, member(t))
	all := types.IpPermission{IpProtocol: aws.String("-1"), Ipv6Ranges: []types.Ipv6Range{{CidrIpv6: aws.String("::/0")}}}
	ping := types.IpPermission{
		IpProtocol: aws.String("icmp"), FromPort: aws.Int32(-1), ToPort: aws.Int32(-1), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}},
	}
	web := v.group(tcp(22, "0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "203.0.113.0/24", "10.0.0.0/8"), all, ping)
	data := v.group(types.IpPermission{
		IpProtocol: aws.String("udp"), FromPort: aws.Int32(9000), ToPort: aws.Int32(9009),
		IpRanges: []types.IpRange{{CidrIp: aws.String("4.0.0.0/6")}, {CidrIp: aws.String("4.0.0.0/8")}},
		Ipv6Ranges: []types.Ipv6Range{
			{CidrIpv6: aws.String("2000::/3")}, {CidrIpv6: aws.String("2001:db8::/32")}, {CidrIpv6: aws.String("fc00::/7")},
		},
	})
	change := v.plan(v.launch(web, data))

	var got exposure
	if err := json.Unmarshal(change.Before, &got); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got.Open, func(a, b opened) int { return strings.Compare(a.Traffic+a.Range, b.Traffic+b.Range) })
	want := []opened{
		{web, "all of icmp", "0.0.0.0/0"}, {web, "all traffic", "::/0"},
		{web, "tcp 22", "0.0.0.0/0"}, {web, "tcp 22", "0.0.0.0/1"}, {web, "tcp 22", "128.0.0.0/1"},
		{data, "udp 9000-9009", "2000::/3"}, {data, "udp 9000-9009", "4.0.0.0/6"},
	}
	if diff := cmp.Diff(want, got.Open); diff != "" {
		t.Errorf("open rules differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{v.public, "2001:db8::5"}, got.Addresses); diff != "" {
		t.Errorf("addresses differ (-want +got):\n%s", diff)
	}
	for _, part := range []string{"let in the whole internet", ", 2 more;", "its public addresses are " + v.public} {
		if !strings.Contains(change.Reason, part) {
			t.Errorf("the reason lacks %q: %s", part, change.Reason)
		}
	}
	if !change.Report() {
		t.Error("there is something to apply")
	}
	if again := v.plan(change.Target.ID); again.Digest() != change.Digest() || again.Reason != change.Reason {
		t.Errorf("the same state is planned as another change:\n%s\n%s", change.Before, again.Before)
	}
}

func TestReportSaysThatNothingIsOpen(t *testing.T) {
	v := newVictim(t.Context(), t, member(t))
	change := v.plan(v.launch(v.group(tcp(22, "203.0.113.0/24"))))
	if want := "none of its 1 security groups lets in the whole internet: the attack comes from inside"; !strings.Contains(change.Reason, want) {
		t.Errorf("the reason is %s", change.Reason)
	}
	if !strings.Contains(string(change.Before), `"open":[]`) {
		t.Errorf("the case keeps %s", change.Before)
	}
}

// The parameters of the network domain's control, as the baseline has them, are
// those of the runbook that uses its remedy.
func TestAttackedIngressFollowsTheControlsParameters(t *testing.T) {
	v := newVictim(t.Context(), t, member(t))
	domain := runbooks.Domain()
	i := slices.IndexFunc(domain.Runbooks, func(r control.Runbook) bool { return r.ID == "ec2-attacked-ingress" })
	remedy := domain.Runbooks[i].Steps[0].Remedy
	target := control.Target{
		Account: local.MemberAccount, Region: local.Region, Type: domain.Runbooks[i].Type, ID: v.group(tcp(8443, "0.0.0.0/0")),
	}
	plan := func() *control.Change {
		change, err := remedy.Plan(v.ctx, v.session(), target)
		check(t, err)
		return change
	}
	if change := plan(); change != nil {
		t.Fatalf("8443 is closed by default: %s", change.Reason)
	}
	reflect.ValueOf(domain.Uses[0].Params).Elem().FieldByName("Ports").Set(reflect.ValueOf([]int{8443}))
	if change := plan(); change == nil || change.Report() {
		t.Errorf("with 8443 among the ports, the plan is %v", change)
	}
}

// victim makes instances to be attacked, in a VPC of its own.
type victim struct {
	ctx         context.Context
	t           *testing.T
	ec2         *ec2.Client
	vpc, subnet string
	public      string // the address of the instance that was launched last
	groups      int
}

func newVictim(ctx context.Context, t *testing.T, cfg aws.Config) *victim {
	t.Helper()
	v := &victim{ctx: ctx, t: t, ec2: ec2.NewFromConfig(cfg)}
	vpc, err := v.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	check(t, err)
	v.vpc = *vpc.Vpc.VpcId
	subnet, err := v.ec2.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: &v.vpc, CidrBlock: aws.String("10.0.0.0/24")})
	check(t, err)
	v.subnet = *subnet.Subnet.SubnetId
	return v
}

// group makes a security group with ingress rules.
func (v *victim) group(ingress ...types.IpPermission) string {
	v.t.Helper()
	v.groups++
	group, err := v.ec2.CreateSecurityGroup(v.ctx, &ec2.CreateSecurityGroupInput{
		GroupName: aws.String(fmt.Sprintf("group-%d", v.groups)), Description: aws.String("of a victim"), VpcId: &v.vpc,
	})
	check(v.t, err)
	_, err = v.ec2.AuthorizeSecurityGroupIngress(v.ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: group.GroupId, IpPermissions: ingress})
	check(v.t, err)
	return *group.GroupId
}

// launch starts an instance in the groups, with an Elastic address and two IPv6
// addresses, of which one is private. (moto's Elastic addresses begin with 127.)
func (v *victim) launch(groups ...string) string {
	v.t.Helper()
	run, err := v.ec2.RunInstances(v.ctx, &ec2.RunInstancesInput{
		ImageId: aws.String("ami-12345678"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), SubnetId: &v.subnet, SecurityGroupIds: groups,
	})
	check(v.t, err)
	address, err := v.ec2.AllocateAddress(v.ctx, &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc})
	check(v.t, err)
	v.public = *address.PublicIp
	in := run.Instances[0]
	_, err = v.ec2.AssociateAddress(v.ctx, &ec2.AssociateAddressInput{
		AllocationId: address.AllocationId, NetworkInterfaceId: in.NetworkInterfaces[0].NetworkInterfaceId,
	})
	check(v.t, err)
	_, err = v.ec2.AssignIpv6Addresses(v.ctx, &ec2.AssignIpv6AddressesInput{
		NetworkInterfaceId: in.NetworkInterfaces[0].NetworkInterfaceId, Ipv6Addresses: []string{"2001:db8::5", "fd00::5"},
	})
	check(v.t, err)
	return *in.InstanceId
}

func (v *victim) session() *cloud.Session {
	v.t.Helper()
	session, err := cloud.NewSessions(server.Config(local.HubAccount), "snapback-response", "response").
		For(v.ctx, local.MemberAccount, local.Region, "test")
	check(v.t, err)
	return session
}

// plan is what ec2-attacked tells of an instance.
func (v *victim) plan(id string) *control.Change {
	v.t.Helper()
	r := runbook(v.t, "ec2-attacked")
	change, err := r.Steps[0].Remedy.Plan(v.ctx, v.session(), control.Target{
		Account: local.MemberAccount, Region: local.Region, Type: r.Type, ID: id,
	})
	check(v.t, err)
	if change == nil {
		v.t.Fatal("the plan tells nothing")
	}
	return change
}

func tcp(port int32, ranges ...string) types.IpPermission {
	p := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: &port, ToPort: &port}
	for _, r := range ranges {
		p.IpRanges = append(p.IpRanges, types.IpRange{CidrIp: aws.String(r)})
	}
	return p
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package isolate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/isolate"
)

const (
	instanceType   = "AWS::EC2::Instance"
	quarantineName = "snapback-quarantine"
)

func TestMain(m *testing.M) { lifecycle.Main(m) }

// box is an instance with three network interfaces in two subnets of a VPC with
// IPv6, the last of which has an IPv6 and an Elastic address.
type box struct {
	t          *testing.T
	server     *local.AWS
	member     *ec2.Client
	vpc        string
	web, db    string // security groups
	instance   string
	interfaces []string
}

func newBox(t *testing.T) *box {
	t.Helper()
	server := lifecycle.AWS(t)
	return boxIn(t.Context(), t, server.Config(local.MemberAccount), server)
}

func boxIn(ctx context.Context, t *testing.T, cfg aws.Config, server *local.AWS) *box {
	t.Helper()
	b := &box{t: t, server: server, member: ec2.NewFromConfig(cfg)}
	vpc, err := b.member.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), AmazonProvidedIpv6CidrBlock: aws.Bool(true)})
	lifecycle.Must(t, err)
	b.vpc = aws.ToString(vpc.Vpc.VpcId)
	b.web, b.db = b.group(ctx, b.vpc, "web"), b.group(ctx, b.vpc, "db")
	b.launch(ctx, "10.0.1.0/24", "10.0.2.0/24")
	return b
}

// neighbour is another box in the same VPC.
func (b *box) neighbour(ctx context.Context) *box {
	n := &box{t: b.t, server: b.server, member: b.member, vpc: b.vpc, web: b.web, db: b.db}
	n.launch(ctx, "10.0.11.0/24", "10.0.12.0/24")
	return n
}

// launch starts the box's instance, in new subnets.
func (b *box) launch(ctx context.Context, one, another string) {
	b.t.Helper()
	first, second := b.subnet(ctx, b.vpc, one), b.subnet(ctx, b.vpc, another)
	b.start(ctx, first)
	b.attach(ctx, second, nil, b.web, b.db)
	b.attach(ctx, first, []types.InstanceIpv6Address{{Ipv6Address: aws.String("2001:db8::5")}}, b.db)
	address, err := b.member.AllocateAddress(ctx, &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc})
	lifecycle.Must(b.t, err)
	_, err = b.member.AssociateAddress(ctx, &ec2.AssociateAddressInput{
		AllocationId: address.AllocationId, NetworkInterfaceId: aws.String(b.interfaces[2]),
	})
	lifecycle.Must(b.t, err)
}

// start starts an instance with one interface. Moto takes the groups of an
// interface for its own only if the instance is not given any.
func (b *box) start(ctx context.Context, subnet string) {
	b.t.Helper()
	run, err := b.member.RunInstances(ctx, &ec2.RunInstancesInput{
		ImageId: aws.String("ami-12c6146b"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		NetworkInterfaces: []types.InstanceNetworkInterfaceSpecification{{
			DeviceIndex: aws.Int32(0), SubnetId: aws.String(subnet), Groups: []string{b.web}, AssociatePublicIpAddress: aws.Bool(true),
		}},
	})
	lifecycle.Must(b.t, err)
	in := run.Instances[0]
	b.instance, b.interfaces = aws.ToString(in.InstanceId), []string{aws.ToString(in.NetworkInterfaces[0].NetworkInterfaceId)}
}

func (b *box) subnet(ctx context.Context, vpc, cidr string) string {
	b.t.Helper()
	s, err := b.member.CreateSubnet(ctx, &ec2.CreateSubnetInput{VpcId: aws.String(vpc), CidrBlock: aws.String(cidr)})
	lifecycle.Must(b.t, err)
	return aws.ToString(s.Subnet.SubnetId)
}

func (b *box) group(ctx context.Context, vpc, name string) string {
	b.t.Helper()
	g, err := b.member.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		VpcId: aws.String(vpc), GroupName: aws.String(name), Description: aws.String(name),
	})
	lifecycle.Must(b.t, err)
	return aws.ToString(g.GroupId)
}

func (b *box) attach(ctx context.Context, subnet string, v6 []types.InstanceIpv6Address, groups ...string) string {
	b.t.Helper()
	n, err := b.member.CreateNetworkInterface(ctx, &ec2.CreateNetworkInterfaceInput{
		SubnetId: aws.String(subnet), Groups: groups, Ipv6Addresses: v6,
	})
	lifecycle.Must(b.t, err)
	id := aws.ToString(n.NetworkInterface.NetworkInterfaceId)
	_, err = b.member.AttachNetworkInterface(ctx, &ec2.AttachNetworkInterfaceInput{
		NetworkInterfaceId: aws.String(id), InstanceId: aws.String(b.instance), DeviceIndex: aws.Int32(int32(len(b.interfaces))),
	})
	lifecycle.Must(b.t, err)
	b.interfaces = append(b.interfaces, id)
	return id
}

// remove detaches an interface and deletes it.
func (b *box) remove(ctx context.Context, id string) {
	b.t.Helper()
	_, err := b.member.DetachNetworkInterface(ctx, &ec2.DetachNetworkInterfaceInput{
		AttachmentId: b.network(ctx)[id].Attachment.AttachmentId,
	})
	lifecycle.Must(b.t, err)
	_, err = b.member.DeleteNetworkInterface(ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: aws.String(id)})
	lifecycle.Must(b.t, err)
}

// put puts an interface into groups.
func (b *box) put(ctx context.Context, id string, groups ...string) {
	b.t.Helper()
	_, err := b.member.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: aws.String(id), Groups: groups,
	})
	lifecycle.Must(b.t, err)
}

// letIn lets SSH from everywhere into a group.
func (b *box) letIn(ctx context.Context, group string) {
	b.t.Helper()
	_, err := b.member.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: aws.String(group), IpPermissions: []types.IpPermission{{
			IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22),
			IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0"), Description: aws.String("debugging")}},
		}},
	})
	lifecycle.Must(b.t, err)
}

func (b *box) target() control.Target {
	return control.Target{Account: local.MemberAccount, Region: local.Region, Type: instanceType, ID: b.instance}
}

func (b *box) untrackName() string { return "snapback-untrack-" + b.instance }

// session enters the member account, with calls to EC2 going through a wire, and
// none of them sent again but those that the remedy itself asks for.
func (b *box) session(w wire) *cloud.Session {
	b.t.Helper()
	cfg := b.server.Config(local.HubAccount)
	w.HTTPClient = cfg.HTTPClient
	cfg.HTTPClient = w
	cfg.Retryer = func() aws.Retryer { return once{} }
	session, err := cloud.NewSessions(cfg, "snapback-response", "response").For(b.t.Context(), local.MemberAccount, local.Region, "test")
	lifecycle.Must(b.t, err)
	return session
}

// once sends a call once, unless the remedy itself asks for more; then at once.
type once struct{ aws.NopRetryer }

func (once) MaxAttempts() int                             { return 4 }
func (once) RetryDelay(int, error) (time.Duration, error) { return 0, nil }

// plan plans with a session of its own, and wants a change.
func (b *box) plan(ctx context.Context) *control.Change {
	b.t.Helper()
	c, err := remedy(true).Plan(ctx, b.session(wire{}), b.target())
	lifecycle.Must(b.t, err)
	if c == nil {
		b.t.Fatal("Plan finds nothing to do")
	}
	c.Case = "20261122-example0" // as the engine does
	return c
}

// isolate plans and applies without a fault.
func (b *box) isolate(ctx context.Context) *control.Change {
	b.t.Helper()
	c := b.plan(ctx)
	lifecycle.Must(b.t, remedy(true).Apply(ctx, b.session(wire{}), *c))
	return c
}

func remedy(untrack bool) control.Remedy { return isolate.Remedy(&untrack) }

// network are the interfaces of the instance by ID.
func (b *box) network(ctx context.Context) map[string]types.NetworkInterface {
	b.t.Helper()
	out, err := b.member.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{
		Filters: []types.Filter{{Name: aws.String("attachment.instance-id"), Values: []string{b.instance}}},
	})
	lifecycle.Must(b.t, err)
	network := map[string]types.NetworkInterface{}
	for _, n := range out.NetworkInterfaces {
		network[aws.ToString(n.NetworkInterfaceId)] = n
	}
	return network
}

// memberships are the groups of each interface, sorted.
func (b *box) memberships(ctx context.Context) map[string][]string {
	b.t.Helper()
	all := map[string][]string{}
	for id, n := range b.network(ctx) {
		for _, g := range n.Groups {
			all[id] = append(all[id], aws.ToString(g.GroupId))
		}
		slices.Sort(all[id])
	}
	return all
}

// named are the groups of a name in all VPCs of this box's instance.
func (b *box) named(ctx context.Context, name string) []types.SecurityGroup {
	b.t.Helper()
	out, err := b.member.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{
		Filters: []types.Filter{{Name: aws.String("group-name"), Values: []string{name}}},
	})
	lifecycle.Must(b.t, err)
	return slices.DeleteFunc(out.SecurityGroups, func(g types.SecurityGroup) bool {
		return name == quarantineName && aws.ToString(g.VpcId) != b.vpc
	})
}

// cutOff wants every interface in one group, the one of its VPC that is meant for
// that, without any rule; and nothing wide open to be left.
func (b *box) cutOff(ctx context.Context) {
	b.t.Helper()
	b.quarantined(ctx)
	if left := b.named(ctx, b.untrackName()); len(left) > 0 {
		b.t.Errorf("the wide-open group is still there: %s", text(left))
	}
}

// quarantined wants every interface in the quarantine group alone, without any
// rule.
func (b *box) quarantined(ctx context.Context) {
	b.t.Helper()
	b.silent(ctx)
	for id, n := range b.network(ctx) {
		if len(n.Groups) != 1 || aws.ToString(n.Groups[0].GroupName) != quarantineName {
			b.t.Errorf("interface %s is in groups %s", id, text(n.Groups))
		}
	}
}

// silent wants no interface to be in a group that has a rule.
func (b *box) silent(ctx context.Context) {
	b.t.Helper()
	for id, groups := range b.memberships(ctx) {
		out, err := b.member.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: groups})
		lifecycle.Must(b.t, err)
		for _, g := range out.SecurityGroups {
			if len(g.IpPermissions)+len(g.IpPermissionsEgress) > 0 {
				b.t.Errorf("interface %s is in group %s, which lets packets through: %s", id, aws.ToString(g.GroupName), text(g))
			}
		}
	}
}

// wire stands between the SDK and AWS.
type wire struct {
	aws.HTTPClient
	// meet stands in for sending a call to EC2; nil: every call is sent.
	meet func(c call, send func() (*http.Response, error)) (*http.Response, error)
}

// call is one call to EC2.
type call struct {
	name string // "CreateSecurityGroup"
	form url.Values
}

func (w wire) Do(r *http.Request) (*http.Response, error) {
	if w.meet == nil || !strings.Contains(r.Header.Get("Authorization"), "/ec2/aws4_request") {
		return w.HTTPClient.Do(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	return w.meet(call{form.Get("Action"), form}, func() (*http.Response, error) {
		r := r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
		return w.HTTPClient.Do(r)
	})
}

// refuse answers the calls that match with an error of EC2.
func refuse(code string, matches func(call) bool) wire {
	return wire{meet: func(c call, send func() (*http.Response, error)) (*http.Response, error) {
		if matches(c) {
			return refusal(code), nil
		}
		return send()
	}}
}

func refusal(code string) *http.Response {
	return &http.Response{
		StatusCode: http.StatusBadRequest, Header: http.Header{"Content-Type": {"text/xml"}},
		Body: io.NopCloser(strings.NewReader(`<Response><Errors><Error><Code>` + code + `</Code><Message>no</Message></Error></Errors><RequestID>local</RequestID></Response>`)),
	}
}

// rewrite edits what the answers to DescribeNetworkInterfaces tell of one
// interface, for what moto does not know.
func rewrite(id string, edit func(item string) string) wire {
	return wire{meet: func(c call, send func() (*http.Response, error)) (*http.Response, error) {
		answer, err := send()
		if err != nil || c.name != "DescribeNetworkInterfaces" {
			return answer, err
		}
		return edited(answer, func(body string) string {
			const begin, end = "<networkInterfaceSet>", "</vpcId></item>" // as moto orders it
			head, rest, _ := strings.Cut(body, begin)
			items := strings.SplitAfter(rest, end)
			for i := range items {
				if strings.Contains(items[i], "<networkInterfaceId>"+id+"<") {
					items[i] = edit(items[i])
				}
			}
			return head + begin + strings.Join(items, "")
		})
	}}
}

// replaced is the edit that puts the second text in place of the first, and so on.
func replaced(edits ...string) func(string) string { return strings.NewReplacer(edits...).Replace }

// edited is an answer with another body.
func edited(answer *http.Response, edit func(string) string) (*http.Response, error) {
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	answer.Body, answer.ContentLength = io.NopCloser(strings.NewReader(edit(string(body)))), -1
	return answer, nil
}

func text(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s differ (-want +got):\n%s", what, diff)
	}
}

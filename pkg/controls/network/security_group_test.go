package network_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	diff "github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/network"
	"github.com/snapback-aws/snapback/pkg/event"
)

// world is a VPC of the member account in the local AWS, and the session in
// which Snapback enters the account.
type world struct {
	*testing.T
	ec2     *ec2.Client // of the member account itself
	session *cloud.Session
	vpc     string
}

// shared is one local AWS for all tests but the lifecycles: each has a VPC of its
// own. It ends with the test binary.
var shared = sync.OnceValues(func() (*local.AWS, error) { return local.StartAWS(context.Background()) })

// newWorld makes a world. Every request of Snapback's goes through look, if
// there is one.
func newWorld(t *testing.T, look func(*http.Request)) *world {
	t.Helper()
	server, err := shared()
	must(t, err)
	hub := server.Config(local.HubAccount)
	if look != nil {
		hub.HTTPClient = watched{hub.HTTPClient, look}
	}
	session, err := cloud.NewSessions(hub, "snapback-network", "network").For(t.Context(), local.MemberAccount, local.Region, "test")
	must(t, err)
	w := &world{T: t, ec2: ec2.NewFromConfig(server.Config(local.MemberAccount)), session: session}
	w.vpc = makeVPC(t.Context(), t, w.ec2)
	return w
}

// watched looks at requests on their way.
type watched struct {
	aws.HTTPClient
	look func(*http.Request)
}

func (w watched) Do(r *http.Request) (*http.Response, error) {
	w.look(r)
	return w.HTTPClient.Do(r)
}

func (w *world) target(id string) control.Target {
	return control.Target{Account: local.MemberAccount, Region: local.Region, Type: "AWS::EC2::SecurityGroup", ID: id}
}

// plan plans and wants a change.
func (w *world) plan(c control.Control, id string) control.Change {
	w.Helper()
	change, err := c.Remedy.Plan(w.Context(), w.session, w.target(id))
	must(w.T, err)
	if change == nil {
		w.Fatalf("%s finds nothing to do on %s", c.ID, id)
	}
	return *change
}

// compliant wants a plan that finds nothing.
func (w *world) compliant(c control.Control, id string) {
	w.Helper()
	change, err := c.Remedy.Plan(w.Context(), w.session, w.target(id))
	must(w.T, err)
	if change != nil {
		w.Errorf("%s finds something to do on %s: %s", c.ID, id, change.Reason)
	}
}

func (w *world) apply(c control.Control, change control.Change) {
	w.Helper()
	must(w.T, c.Remedy.Apply(w.Context(), w.session, change))
}

// refused wants an undo that is refused, changes nothing, and shows the state now.
func (w *world) refused(c control.Control, change control.Change, now string) {
	w.Helper()
	before := rules(w.Context(), w.T, w.ec2, change.Target.ID)
	err := c.Remedy.Undo(w.Context(), w.session, change)
	var moved *control.MovedError
	if !errors.As(err, &moved) {
		w.Fatalf("undo: want a *control.MovedError, got %v", err)
	}
	if string(moved.Now) != now {
		w.Errorf("the refused undo shows\n%s\nas the state now, want\n%s", moved.Now, now)
	}
	same(w.T, "the refused undo", before, rules(w.Context(), w.T, w.ec2, change.Target.ID))
}

func makeVPC(ctx context.Context, t *testing.T, client *ec2.Client) string {
	t.Helper()
	out, err := client.CreateVpc(ctx, &ec2.CreateVpcInput{
		CidrBlock: aws.String("10.0.0.0/16"), AmazonProvidedIpv6CidrBlock: aws.Bool(true),
	})
	must(t, err)
	return aws.ToString(out.Vpc.VpcId)
}

func makeGroup(ctx context.Context, t *testing.T, client *ec2.Client, vpc, name string) string {
	t.Helper()
	out, err := client.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		VpcId: aws.String(vpc), GroupName: aws.String(name), Description: aws.String("of a test"),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSecurityGroup, Tags: tags("team", "reports")}},
	})
	must(t, err)
	return aws.ToString(out.GroupId)
}

// defaultGroupOf is the default group of a VPC.
func defaultGroupOf(ctx context.Context, t *testing.T, client *ec2.Client, vpc string) string {
	t.Helper()
	out, err := client.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{
		{Name: aws.String("vpc-id"), Values: []string{vpc}}, {Name: aws.String("group-name"), Values: []string{"default"}},
	}})
	must(t, err)
	if len(out.SecurityGroups) != 1 {
		t.Fatalf("%s has %d default groups", vpc, len(out.SecurityGroups))
	}
	return aws.ToString(out.SecurityGroups[0].GroupId)
}

func tags(of ...string) []types.Tag {
	var all []types.Tag
	for i := 0; i < len(of); i += 2 {
		all = append(all, types.Tag{Key: aws.String(of[i]), Value: aws.String(of[i+1])})
	}
	return all
}

// ip4 and ip6 are permissions for one range.
func ip4(protocol string, from, to int32, cidr, description string) types.IpPermission {
	r := types.IpRange{CidrIp: aws.String(cidr)}
	if description != "" {
		r.Description = aws.String(description)
	}
	return types.IpPermission{IpProtocol: aws.String(protocol), FromPort: aws.Int32(from), ToPort: aws.Int32(to), IpRanges: []types.IpRange{r}}
}

func ip6(protocol string, from, to int32, cidr, description string) types.IpPermission {
	r := types.Ipv6Range{CidrIpv6: aws.String(cidr)}
	if description != "" {
		r.Description = aws.String(description)
	}
	return types.IpPermission{IpProtocol: aws.String(protocol), FromPort: aws.Int32(from), ToPort: aws.Int32(to), Ipv6Ranges: []types.Ipv6Range{r}}
}

// ofGroup and ofList are permissions for all traffic of a group or a prefix
// list. moto keeps no description of these.
func ofGroup(id string) types.IpPermission {
	return types.IpPermission{IpProtocol: aws.String("-1"), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: aws.String(id)}}}
}

func ofList(id string) types.IpPermission {
	return types.IpPermission{
		IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22),
		PrefixListIds: []types.PrefixListId{{PrefixListId: aws.String(id)}},
	}
}

// letIn adds one rule in, with tags.
func letIn(ctx context.Context, t *testing.T, client *ec2.Client, group string, p types.IpPermission, tagged ...string) string {
	t.Helper()
	in := &ec2.AuthorizeSecurityGroupIngressInput{GroupId: aws.String(group), IpPermissions: []types.IpPermission{p}}
	if len(tagged) > 0 {
		in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeSecurityGroupRule, Tags: tags(tagged...)}}
	}
	out, err := client.AuthorizeSecurityGroupIngress(ctx, in)
	must(t, err)
	return aws.ToString(out.SecurityGroupRules[0].SecurityGroupRuleId)
}

// letOut adds one rule out, with tags.
func letOut(ctx context.Context, t *testing.T, client *ec2.Client, group string, p types.IpPermission, tagged ...string) {
	t.Helper()
	in := &ec2.AuthorizeSecurityGroupEgressInput{GroupId: aws.String(group), IpPermissions: []types.IpPermission{p}}
	if len(tagged) > 0 {
		in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeSecurityGroupRule, Tags: tags(tagged...)}}
	}
	_, err := client.AuthorizeSecurityGroupEgress(ctx, in)
	must(t, err)
}

func makePrefixList(ctx context.Context, t *testing.T, client *ec2.Client) string {
	t.Helper()
	out, err := client.CreateManagedPrefixList(ctx, &ec2.CreateManagedPrefixListInput{
		AddressFamily: aws.String("IPv4"), MaxEntries: aws.Int32(5), PrefixListName: aws.String("offices"),
		Entries: []types.AddPrefixListEntry{{Cidr: aws.String("203.0.113.0/24")}},
	})
	must(t, err)
	return aws.ToString(out.PrefixList.PrefixListId)
}

// rules are all rules of a group, with their IDs, in an order of their own.
func rules(ctx context.Context, t *testing.T, client *ec2.Client, id string) []types.SecurityGroupRule {
	t.Helper()
	out, err := client.DescribeSecurityGroupRules(ctx, &ec2.DescribeSecurityGroupRulesInput{
		Filters: []types.Filter{{Name: aws.String("group-id"), Values: []string{id}}},
	})
	must(t, err)
	for i := range out.SecurityGroupRules {
		slices.SortFunc(out.SecurityGroupRules[i].Tags, func(a, b types.Tag) int { return cmp.Compare(*a.Key, *b.Key) })
	}
	slices.SortFunc(out.SecurityGroupRules, func(a, b types.SecurityGroupRule) int {
		return cmp.Compare(*a.SecurityGroupRuleId, *b.SecurityGroupRuleId)
	})
	return out.SecurityGroupRules
}

// groupState is all of a group that a remedy could touch, but for the IDs of its
// rules: AWS gives one that is put back a new one.
func groupState(ctx context.Context, t *testing.T, cfg aws.Config, id string) any {
	t.Helper()
	client := ec2.NewFromConfig(cfg)
	out, err := client.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{id}})
	must(t, err)
	g := out.SecurityGroups[0]
	texts := []string{*g.GroupName, *g.Description, *g.VpcId}
	for _, tag := range g.Tags {
		texts = append(texts, *tag.Key+"="+*tag.Value)
	}
	for _, r := range rules(ctx, t, client, id) {
		r.SecurityGroupRuleId, r.SecurityGroupRuleArn = nil, nil
		text, err := json.Marshal(r)
		must(t, err)
		texts = append(texts, string(text))
	}
	slices.Sort(texts)
	return lifecycle.Comparable(texts)
}

// ids are the IDs of rules.
func ids(of []types.SecurityGroupRule) []string {
	var all []string
	for _, r := range of {
		all = append(all, *r.SecurityGroupRuleId)
	}
	return all
}

func same(t *testing.T, by string, want, got any) {
	t.Helper()
	if d := diff.Diff(lifecycle.Comparable(want), lifecycle.Comparable(got)); d != "" {
		t.Errorf("%s changed more than it should (-want +got):\n%s", by, d)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Whoever reads a record must find the group in every form in which CloudTrail
// writes the calls.
func TestRecordsNameTheirGroup(t *testing.T) {
	const group = "sg-0123456789abcdef0"
	for _, tt := range []struct {
		name, call, request, response, want string
	}{
		{
			"permissions in a list", "AuthorizeSecurityGroupIngress",
			`{"groupId":"sg-0123456789abcdef0","ipPermissions":{"items":[{"ipProtocol":"tcp","fromPort":22,"toPort":22,"groups":{},"ipRanges":{"items":[{"cidrIp":"0.0.0.0/0"}]},"ipv6Ranges":{},"prefixListIds":{}}]}}`,
			`{"_return":true,"securityGroupRuleSet":{"items":[{"groupId":"sg-0123456789abcdef0","securityGroupRuleId":"sgr-0123456789abcdef0"}]}}`, group,
		},
		{
			"one permission, flat", "AuthorizeSecurityGroupIngress",
			`{"groupId":"sg-0123456789abcdef0","ipPermissions":{},"ipProtocol":"tcp","fromPort":22,"toPort":22,"cidrIp":"0.0.0.0/0"}`, `null`, group,
		},
		{
			"a group of the default VPC by its name", "AuthorizeSecurityGroupIngress",
			`{"groupName":"web","ipPermissions":{},"ipProtocol":"tcp","fromPort":22,"toPort":22,"cidrIp":"0.0.0.0/0"}`,
			`{"_return":true,"securityGroupRuleSet":{"items":[{"groupId":"sg-0123456789abcdef0","securityGroupRuleId":"sgr-0123456789abcdef0"}]}}`, group,
		},
		{
			"a name, and no answer", "AuthorizeSecurityGroupIngress",
			`{"groupName":"web","ipPermissions":{},"ipProtocol":"tcp","fromPort":22,"toPort":22,"cidrIp":"0.0.0.0/0"}`, `null`, "",
		},
		{
			"one rule modified", "ModifySecurityGroupRules",
			`{"ModifySecurityGroupRulesRequest":{"GroupId":"sg-0123456789abcdef0","SecurityGroupRule":{"SecurityGroupRuleId":"sgr-0123456789abcdef0","tag":1}}}`,
			`{"ModifySecurityGroupRulesResponse":{"return":true}}`, group,
		},
		{
			"several rules modified", "ModifySecurityGroupRules",
			`{"ModifySecurityGroupRulesRequest":{"GroupId":"sg-0123456789abcdef0","SecurityGroupRule":[{"tag":1},{"tag":2}]}}`, `null`, group,
		},
		{
			"a new group", "CreateSecurityGroup",
			`{"groupName":"web","groupDescription":"web","vpcId":"vpc-0123456789abcdef0"}`,
			`{"requestId":"r","_return":true,"groupId":"sg-0123456789abcdef0"}`, group,
		},
		{"nothing of a group", "AuthorizeSecurityGroupIngress", `null`, `null`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := event.Decode([]byte(`{"version":"0","id":"e","detail-type":"AWS API Call via CloudTrail","source":"aws.ec2","account":"222222222222",` +
				`"time":"2026-11-22T01:00:00Z","region":"eu-west-1","detail":{"eventVersion":"1.11","eventSource":"ec2.amazonaws.com","eventName":"` + tt.call +
				`","awsRegion":"eu-west-1","recipientAccountId":"222222222222","eventTime":"2026-11-22T01:00:00Z","eventID":"r","eventType":"AwsApiCall",` +
				`"requestParameters":` + tt.request + `,"responseElements":` + tt.response + `}}`))
			must(t, err)
			var want []control.Target
			if tt.want != "" {
				want = []control.Target{{Account: "222222222222", Region: "eu-west-1", Type: "AWS::EC2::SecurityGroup", ID: tt.want}}
			}
			open := network.OpenIngress()
			if d := diff.Diff(want, open.Targets(e)); d != "" {
				t.Errorf("targets differ (-want +got):\n%s", d)
			}
		})
	}
}

// once makes a thing happen just before the first request of Snapback's for an
// action.
func once(action string, do func()) func(*http.Request) {
	var first sync.Once
	return func(r *http.Request) {
		if r.Body == nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the request fails by itself
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if bytes.Contains(body, []byte("Action="+action+"&")) {
			first.Do(do)
		}
	}
}

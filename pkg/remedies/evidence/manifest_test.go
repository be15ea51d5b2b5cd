package evidence_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

const secret = "#!/bin/sh\nexport PASSWORD=hunter2\n"

// site is an instance with two interfaces in subnets with and without a route
// table of their own, and all that the manifest tells of it.
type site struct {
	id, vpc, web, db, profile string
	subnets                   [2]string // the first has a table of its own
	interfaces                [2]string // in them
	own, main, gateway        string
	address, allocation       string
}

func TestManifestTellsWhatTheInstanceWasLike(t *testing.T) {
	s := newStage(t)
	w := s.build()
	m := facts(t, s.Plan(w.id))
	sum := sha256.Sum256([]byte(secret))
	want := map[string]any{
		"instance": map[string]any{
			"id": w.id, "type": "t3.small", "state": "running", "image": "ami-12c6146b", "availabilityZone": "us-east-1a",
			"vpc": w.vpc, "subnet": w.subnets[0], "instanceProfile": w.profile, "keyName": "operators-" + w.vpc,
			"metadataOptions": map[string]any{"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 2.0, "instanceMetadataTags": "disabled"},
			"blockDevices": []any{
				map[string]any{"device": "/dev/sda1", "volume": s.volumeAt(w.id, "/dev/sda1"), "deleteOnTermination": true},
				map[string]any{"device": "/dev/sdf", "volume": s.volumeAt(w.id, "/dev/sdf"), "deleteOnTermination": true},
			},
			"tags": []any{map[string]any{"key": "Name", "value": "web"}, map[string]any{"key": "team", "value": "shop"}},
		},
		"securityGroups": []any{
			map[string]any{
				"id": min(w.web, w.db), "name": map[string]string{w.web: "web", w.db: "db"}[min(w.web, w.db)],
				"ingress": ingress(w, min(w.web, w.db)), "egress": anywhere,
			},
			map[string]any{
				"id": max(w.web, w.db), "name": map[string]string{w.web: "web", w.db: "db"}[max(w.web, w.db)],
				"ingress": ingress(w, max(w.web, w.db)), "egress": anywhere,
			},
		},
		"elasticAddresses": []any{map[string]any{
			"address": w.address, "allocation": w.allocation, "interface": w.interfaces[0], "privateAddress": "10.0.0.10",
		}},
		"userData": map[string]any{"bytes": float64(len(secret)), "sha256": hex.EncodeToString(sum[:])},
	}
	for part, want := range want {
		if diff := cmp.Diff(want, m[part], cmpopts.IgnoreMapEntries(func(key string, _ any) bool { return key == "launched" || key == "attached" })); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", part, diff)
		}
	}
	w.checkNetwork(t, m)
	if output, _ := m["consoleOutput"].(string); !strings.HasPrefix(output, "Linux version") || !strings.HasSuffix(output, "restore... done.\n") {
		t.Errorf("console output is %q", output)
	}
	if m["unread"] != nil || m["truncated"] != nil {
		t.Errorf("unread %v, truncated %v", m["unread"], m["truncated"])
	}
}

// checkNetwork looks at what is not in the same order every time.
func (w *site) checkNetwork(t *testing.T, m map[string]any) {
	t.Helper()
	interfaces := byID(t, m["interfaces"])
	for i, id := range w.interfaces {
		n := interfaces[id]
		lifecycle.Same(t, "subnet of interface "+id, n["subnet"], any(w.subnets[i]))
		lifecycle.Same(t, "VPC of interface "+id, n["vpc"], any(w.vpc))
		lifecycle.Same(t, "security groups of interface "+id, n["securityGroups"], any([]any{[]string{w.web, w.db}[i]}))
		lifecycle.Same(t, "addresses of interface "+id, n["privateAddresses"], any([]any{fmt.Sprintf("10.0.%d.10", i)}))
		if n["mac"] == "" {
			t.Errorf("interface %s has no MAC address", id)
		}
	}
	lifecycle.Same(t, "public addresses", interfaces[w.interfaces[0]]["publicAddresses"], any([]any{w.address}))
	inside := map[string]any{"destination": "10.0.0.0/16", "target": "local", "state": "active"}
	out := map[string]any{"destination": "0.0.0.0/0", "target": w.gateway, "state": "active"}
	tables := byID(t, m["routeTables"])
	lifecycle.Same(t, "route tables", tables, map[string]map[string]any{
		w.own:  {"id": w.own, "main": false, "subnets": []any{w.subnets[0]}, "routes": []any{out, inside}},
		w.main: {"id": w.main, "main": true, "subnets": []any{w.subnets[1]}, "routes": []any{inside}},
	})
}

var anywhere = []any{map[string]any{"protocol": "-1", "peer": "0.0.0.0/0"}}

func ingress(w *site, id string) []any {
	if id == w.db {
		return []any{map[string]any{"protocol": "tcp", "from": 5432.0, "to": 5432.0, "peer": w.web}}
	}
	return []any{
		map[string]any{"protocol": "tcp", "from": 22.0, "to": 22.0, "peer": "0.0.0.0/0", "description": "for a moment"},
		map[string]any{"protocol": "tcp", "from": 22.0, "to": 22.0, "peer": "::/0"},
	}
}

func TestUserDataIsNotKept(t *testing.T) {
	s := newStage(t)
	w := s.build()
	c := s.Plan(w.id)
	for _, form := range []string{"hunter2", base64.StdEncoding.EncodeToString([]byte(secret))} {
		if strings.Contains(string(c.Facts), form) {
			t.Errorf("the manifest holds the user data: %s", c.Facts)
		}
	}
}

func TestInstanceWithoutUserDataHasNone(t *testing.T) {
	s := newStage(t)
	if m := facts(t, s.Plan(s.launch())); m["userData"] != nil {
		t.Errorf("user data is %v", m["userData"])
	}
}

func TestConsoleOutputIsCleanAndCutToItsEnd(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	for name, tt := range map[string]struct{ output, want string }{
		"control characters": {"a\x1b[31mred\x1b[0m\x07\r\nb\tc\x00\u202e\xff", "ared\nb\tc?"},
		"long":               {strings.Repeat("x", 5000) + "end", strings.Repeat("x", 4093) + "end"},
		"cut in a character": {strings.Repeat("é", 3000) + "e", strings.Repeat("é", 2047) + "e"},
		"none":               {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s.Proxy.Clear()
			s.answerConsole(tt.output)
			lifecycle.Same(t, "console output", facts(t, s.Plan(id))["consoleOutput"], any(tt.want))
		})
	}
}

// answerConsole has AWS answer with another output: moto knows one alone.
func (s *stage) answerConsole(output string) {
	element := regexp.MustCompile(`(?s)<output>.*</output>`)
	s.Proxy.Inject("EC2.GetConsoleOutput", 1, local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
		a := x.Forward()
		a.Body = element.ReplaceAllLiteral(a.Body, []byte("<output>"+base64.StdEncoding.EncodeToString([]byte(output))+"</output>"))
		a.Header.Del("Content-Length")
		x.Answer(a)
	}})
}

// EC2 has the latest output of Nitro instances alone; moto has the same of all.
func TestConsoleOutputOfAnOldInstanceIsTheOneAfterItsStart(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	s.Refuse("EC2.GetConsoleOutput", 1, http.StatusBadRequest, "UnsupportedOperation")
	m := facts(t, s.Plan(id))
	if output, _ := m["consoleOutput"].(string); !strings.HasPrefix(output, "Linux version") || m["unread"] != nil {
		t.Errorf("console output is %q, unread %v", output, m["unread"])
	}
	if !s.sent("Action=GetConsoleOutput", "Latest=true") {
		t.Error("the latest output was not asked for")
	}
}

func TestPartThatMayNotBeReadIsNamed(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	parts := map[string]string{
		"EC2.DescribeSecurityGroups": "securityGroups", "EC2.DescribeRouteTables": "routeTables", "EC2.DescribeAddresses": "elasticAddresses",
		"EC2.GetConsoleOutput": "consoleOutput", "EC2.DescribeInstanceAttribute": "userData",
	}
	want := map[string]any{}
	for call, part := range parts {
		s.Refuse(call, -1, http.StatusForbidden, "UnauthorizedOperation")
		want[part] = "UnauthorizedOperation"
	}
	c := s.Plan(id)
	m := facts(t, c)
	lifecycle.Same(t, "unread", m["unread"], any(want))
	if m["interfaces"] == nil {
		t.Error("what could be read is not there")
	}
	s.Apply(c)
	lifecycle.Same(t, "held", s.marked(id, "held"), s.volumes(id))
}

func TestPartThatCannotBeReadForAMomentFailsThePlan(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	s.Refuse("EC2.GetConsoleOutput", -1, http.StatusServiceUnavailable, "RequestLimitExceeded")
	_, err := s.Remedy.Plan(s.Ctx, s.Session, s.Target(id))
	if !cloud.Is(err, "RequestLimitExceeded") || cloud.Permanent(err) {
		t.Errorf("want RequestLimitExceeded, worth retrying, got %v", err)
	}
}

// Moto keeps to AWS's limits of rules and routes, which together may be larger
// than what it lets one group have: what it answers is made longer on its way.
func TestManifestIsCutToItsLimit(t *testing.T) {
	s := newStage(t)
	w := s.build()
	const route = "<item><destinationCidrBlock>192.0.2.%d/32</destinationCidrBlock><gatewayId>igw-0123456789abcdef0</gatewayId><state>active</state></item>"
	var routes strings.Builder
	for i := range 600 {
		fmt.Fprintf(&routes, route, i%256)
	}
	s.Rewrite("EC2.DescribeRouteTables", "<routeSet>", "<routeSet>"+routes.String())
	c := s.Plan(w.id)
	if n := len(c.Facts); n > control.MaxFacts || n < control.MaxFacts/3 {
		t.Errorf("the manifest has %d bytes, want at most %d, and not much less", n, control.MaxFacts)
	}
	m := facts(t, c)
	lifecycle.Same(t, "truncated", m["truncated"], any(true))
	for id, table := range byID(t, m["routeTables"]) {
		if n := len(table["routes"].([]any)); n == 0 || n >= 600 {
			t.Errorf("route table %s has %d routes left", id, n)
		}
	}
	for i, g := range m["securityGroups"].([]any) { // shorter lists are whole
		if len(g.(map[string]any)["ingress"].([]any)) == 0 {
			t.Errorf("security group %d lost its rules", i)
		}
	}
	again := s.Plan(w.id)
	lifecycle.Same(t, "the same manifest planned again", string(again.Facts), string(c.Facts))
}

func TestManifestIsNoPartOfTheDigest(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	first := s.Plan(id)
	_, err := s.ec2.CreateTags(s.Ctx, &ec2.CreateTagsInput{Resources: []string{id}, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	lifecycle.Must(t, err)
	second := s.Plan(id)
	if string(first.Facts) == string(second.Facts) || first.Digest() != second.Digest() {
		t.Errorf("facts differ: %t; digests %s and %s", string(first.Facts) != string(second.Facts), first.Digest(), second.Digest())
	}
}

func facts(t *testing.T, c *control.Change) map[string]any {
	t.Helper()
	var m map[string]any
	lifecycle.Must(t, json.Unmarshal(c.Facts, &m))
	return m
}

func byID(t *testing.T, list any) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	items, ok := list.([]any)
	if !ok {
		t.Fatalf("want a list, got %v", list)
	}
	for _, item := range items {
		m := item.(map[string]any)
		all[m["id"].(string)] = m
	}
	return all
}

func (s *stage) build() *site {
	s.T.Helper()
	w := &site{}
	vpc, err := s.ec2.CreateVpc(s.Ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	lifecycle.Must(s.T, err)
	w.vpc = aws.ToString(vpc.Vpc.VpcId)
	for i := range w.subnets {
		subnet, err := s.ec2.CreateSubnet(s.Ctx, &ec2.CreateSubnetInput{
			VpcId: vpc.Vpc.VpcId, CidrBlock: aws.String(fmt.Sprintf("10.0.%d.0/24", i)), AvailabilityZone: aws.String(local.Region + "a"),
		})
		lifecycle.Must(s.T, err)
		w.subnets[i] = aws.ToString(subnet.Subnet.SubnetId)
	}
	s.buildRoutes(w)
	s.buildGroups(w)
	s.buildInstance(w)
	return w
}

func (s *stage) buildRoutes(w *site) {
	s.T.Helper()
	gateway, err := s.ec2.CreateInternetGateway(s.Ctx, &ec2.CreateInternetGatewayInput{})
	lifecycle.Must(s.T, err)
	w.gateway = aws.ToString(gateway.InternetGateway.InternetGatewayId)
	_, err = s.ec2.AttachInternetGateway(s.Ctx, &ec2.AttachInternetGatewayInput{InternetGatewayId: aws.String(w.gateway), VpcId: aws.String(w.vpc)})
	lifecycle.Must(s.T, err)
	table, err := s.ec2.CreateRouteTable(s.Ctx, &ec2.CreateRouteTableInput{VpcId: aws.String(w.vpc)})
	lifecycle.Must(s.T, err)
	w.own = aws.ToString(table.RouteTable.RouteTableId)
	_, err = s.ec2.CreateRoute(s.Ctx, &ec2.CreateRouteInput{
		RouteTableId: aws.String(w.own), DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: aws.String(w.gateway),
	})
	lifecycle.Must(s.T, err)
	_, err = s.ec2.AssociateRouteTable(s.Ctx, &ec2.AssociateRouteTableInput{RouteTableId: aws.String(w.own), SubnetId: aws.String(w.subnets[0])})
	lifecycle.Must(s.T, err)
	// One that no subnet of the instance uses.
	_, err = s.ec2.CreateRouteTable(s.Ctx, &ec2.CreateRouteTableInput{VpcId: aws.String(w.vpc)})
	lifecycle.Must(s.T, err)
	tables, err := s.ec2.DescribeRouteTables(s.Ctx, &ec2.DescribeRouteTablesInput{Filters: []types.Filter{
		{Name: aws.String("vpc-id"), Values: []string{w.vpc}}, {Name: aws.String("association.main"), Values: []string{"true"}},
	}})
	lifecycle.Must(s.T, err)
	w.main = aws.ToString(tables.RouteTables[0].RouteTableId)
}

func (s *stage) buildGroups(w *site) {
	s.T.Helper()
	for name, id := range map[string]*string{"web": &w.web, "db": &w.db} {
		group, err := s.ec2.CreateSecurityGroup(s.Ctx, &ec2.CreateSecurityGroupInput{
			GroupName: aws.String(name), Description: aws.String(name), VpcId: aws.String(w.vpc),
		})
		lifecycle.Must(s.T, err)
		*id = aws.ToString(group.GroupId)
	}
	for id, rule := range map[string]types.IpPermission{
		w.web: {
			IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22),
			IpRanges:   []types.IpRange{{CidrIp: aws.String("0.0.0.0/0"), Description: aws.String("for a moment")}},
			Ipv6Ranges: []types.Ipv6Range{{CidrIpv6: aws.String("::/0")}},
		},
		w.db: {
			IpProtocol: aws.String("tcp"), FromPort: aws.Int32(5432), ToPort: aws.Int32(5432),
			UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: aws.String(w.web)}},
		},
	} {
		_, err := s.ec2.AuthorizeSecurityGroupIngress(s.Ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: aws.String(id), IpPermissions: []types.IpPermission{rule}})
		lifecycle.Must(s.T, err)
	}
}

func (s *stage) buildInstance(w *site) {
	s.T.Helper()
	_, err := s.ec2.CreateKeyPair(s.Ctx, &ec2.CreateKeyPairInput{KeyName: aws.String("operators-" + w.vpc)})
	lifecycle.Must(s.T, err)
	profile, err := iam.NewFromConfig(s.Member).CreateInstanceProfile(s.Ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("of-" + w.vpc)})
	lifecycle.Must(s.T, err)
	w.profile = aws.ToString(profile.InstanceProfile.Arn)
	for i, groups := range [][]string{{w.web}, {w.db}} {
		n, err := s.ec2.CreateNetworkInterface(s.Ctx, &ec2.CreateNetworkInterfaceInput{
			SubnetId: aws.String(w.subnets[i]), Groups: groups, PrivateIpAddress: aws.String(fmt.Sprintf("10.0.%d.10", i)),
		})
		lifecycle.Must(s.T, err)
		w.interfaces[i] = aws.ToString(n.NetworkInterface.NetworkInterfaceId)
	}
	w.id = launch(s.Ctx, s.T, s.Member, func(in *ec2.RunInstancesInput) {
		in.InstanceType, in.KeyName = types.InstanceTypeT3Small, aws.String("operators-"+w.vpc)
		in.UserData = aws.String(base64.StdEncoding.EncodeToString([]byte(secret)))
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Arn: profile.InstanceProfile.Arn}
		in.MetadataOptions = &types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateRequired, HttpPutResponseHopLimit: aws.Int32(2)}
		in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{
			{Key: aws.String("team"), Value: aws.String("shop")}, {Key: aws.String("Name"), Value: aws.String("web")},
		}}}
		for i, id := range w.interfaces {
			in.NetworkInterfaces = append(in.NetworkInterfaces, types.InstanceNetworkInterfaceSpecification{
				DeviceIndex: aws.Int32(int32(i)), NetworkInterfaceId: aws.String(id),
			})
		}
	})
	address, err := s.ec2.AllocateAddress(s.Ctx, &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc})
	lifecycle.Must(s.T, err)
	w.address, w.allocation = aws.ToString(address.PublicIp), aws.ToString(address.AllocationId)
	_, err = s.ec2.AssociateAddress(s.Ctx, &ec2.AssociateAddressInput{AllocationId: address.AllocationId, NetworkInterfaceId: aws.String(w.interfaces[0])})
	lifecycle.Must(s.T, err)
}

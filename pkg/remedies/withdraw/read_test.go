package withdraw_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/pkg/remedies/withdraw"
)

// ports stand in for the targets of a target group, of which moto keeps one port
// an ID, and neither zone nor QUIC server ID.
type ports struct {
	arn        string
	registered []string // id:port:zone:quic
}

func (p *ports) answer(call string, form url.Values, _ func() string) *answer {
	if form.Get("TargetGroupArn") != p.arn {
		return nil
	}
	switch call {
	case "DescribeTargetHealth":
		var list strings.Builder
		for _, r := range p.registered {
			f := strings.Split(r, ":")
			fmt.Fprintf(&list, "<member><Target><Id>%s</Id><Port>%s</Port>%s%s</Target><TargetHealth><State>healthy</State></TargetHealth></member>",
				f[0], f[1], element("AvailabilityZone", f[2]), element("QuicServerId", f[3]))
		}
		return &answer{http.StatusOK, "<R><DescribeTargetHealthResult><TargetHealthDescriptions>" + list.String() + "</TargetHealthDescriptions></DescribeTargetHealthResult></R>"}
	case "RegisterTargets", "DeregisterTargets":
		for i := 1; form.Has(fmt.Sprintf("Targets.member.%d.Id", i)); i++ {
			of := func(field string) string { return form.Get(fmt.Sprintf("Targets.member.%d.%s", i, field)) }
			r := strings.Join([]string{of("Id"), of("Port"), of("AvailabilityZone"), of("QuicServerId")}, ":")
			p.registered = slices.DeleteFunc(p.registered, func(s string) bool { return s == r })
			if call == "RegisterTargets" {
				p.registered = append(p.registered, r)
			}
		}
		return &answer{http.StatusOK, "<R><" + call + "Result/></R>"}
	}
	return nil
}

func element(name, text string) string {
	if text == "" {
		return ""
	}
	return "<" + name + ">" + text + "</" + name + ">"
}

func TestEveryPortZoneAndServerIDOfATargetIsKept(t *testing.T) {
	w := newWorld(t)
	in := w.instance()
	id, address := aws.ToString(in.InstanceId), aws.ToString(in.PrivateIpAddress)
	byID := &ports{arn: w.targetGroup("ports", types.TargetTypeEnumInstance), registered: []string{id + ":443::", id + ":80::", "i-00000000000000001:80::"}}
	byAddress := &ports{arn: w.targetGroup("zones", types.TargetTypeEnumIp), registered: []string{address + ":53:us-east-1a:0x0123456789abcdef", "10.9.9.9:53:all:"}}
	session := w.session(byID.answer, byAddress.answer)

	c := w.withdrawn(session, id)
	want := `{"autoScalingGroup":null,"targetGroups":[` +
		`{"arn":"` + byID.arn + `","id":"` + id + `","port":80},{"arn":"` + byID.arn + `","id":"` + id + `","port":443},` +
		`{"arn":"` + byAddress.arn + `","id":"` + address + `","port":53,"zone":"us-east-1a","quicServerId":"0x0123456789abcdef"}],"classicLoadBalancers":[]}`
	if diff := cmp.Diff(want, string(c.Before)); diff != "" {
		t.Errorf("Before differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"i-00000000000000001:80::", "10.9.9.9:53:all:"}, append(slices.Clone(byID.registered), byAddress.registered...)); diff != "" {
		t.Errorf("after Apply the targets differ (-want +got):\n%s", diff)
	}
	lifecycle.Must(t, withdraw.Remedy().Undo(w.ctx, session, c))
	if diff := cmp.Diff([]string{
		"i-00000000000000001:80::", id + ":80::", id + ":443::", "10.9.9.9:53:all:", address + ":53:us-east-1a:0x0123456789abcdef",
	}, append(byID.registered, byAddress.registered...)); diff != "" {
		t.Errorf("after Undo the targets differ (-want +got):\n%s", diff)
	}
}

// ELB takes no zone for an instance.
func TestZoneOfAnInstanceIsNotKept(t *testing.T) {
	w := newWorld(t)
	id := aws.ToString(w.instance().InstanceId)
	w.register(w.targetGroup("zone", types.TargetTypeEnumInstance), id, 80)
	zone := rewritten("DescribeTargetHealth", "<Port>80</Port>", "<Port>80</Port><AvailabilityZone>us-east-1a</AvailabilityZone>")
	if c := w.plan(w.session(zone), id); strings.Contains(string(c.Before), "us-east-1a") {
		t.Errorf("Before is %s", c.Before)
	}
}

func TestTargetIsInServiceUntilItIsDeregistered(t *testing.T) {
	w := newWorld(t)
	id := aws.ToString(w.instance().InstanceId)
	w.register(w.targetGroup("health", types.TargetTypeEnumInstance), id, 80)
	for _, tt := range []struct {
		state, reason string
		in            bool
	}{
		{"initial", "Elb.RegistrationInProgress", true},
		{"unhealthy", "Target.Timeout", true},
		{"unhealthy.draining", "Target.FailedHealthChecks", true},
		{"unused", "Target.NotInUse", true},
		{"unused", "Target.InvalidState", true},
		{"unavailable", "Target.HealthCheckDisabled", true},
		{"draining", "Target.DeregistrationInProgress", false},
		{"unused", "Target.NotRegistered", false},
	} {
		t.Run(tt.state+" "+tt.reason, func(t *testing.T) {
			is := rewritten("DescribeTargetHealth", "<State>healthy</State>", "<State>"+tt.state+"</State><Reason>"+tt.reason+"</Reason>")
			if c := w.plan(w.session(is), id); (c != nil) != tt.in {
				t.Errorf("Plan finds %v; want something: %t", c, tt.in)
			}
		})
	}
}

func TestEveryAddressOfTheInstanceIsFoundInItsOwnVPCAlone(t *testing.T) {
	w := newWorld(t)
	in := w.instance()
	id, card := aws.ToString(in.InstanceId), aws.ToString(in.NetworkInterfaces[0].NetworkInterfaceId)
	_, err := w.ec2.AssignPrivateIpAddresses(w.ctx, &ec2.AssignPrivateIpAddressesInput{
		NetworkInterfaceId: aws.String(card), SecondaryPrivateIpAddressCount: aws.Int32(1),
	})
	lifecycle.Must(t, err)
	_, err = w.ec2.AssignIpv6Addresses(w.ctx, &ec2.AssignIpv6AddressesInput{
		NetworkInterfaceId: aws.String(card), Ipv6Addresses: []string{"2001:db8::1"},
	})
	lifecycle.Must(t, err)
	var secondary string
	for _, a := range w.addresses(id)[1:] {
		if !strings.Contains(a, ":") && a != aws.ToString(in.PrivateIpAddress) {
			secondary = a
		}
	}
	own := w.targetGroup("addresses", types.TargetTypeEnumIp)
	for _, a := range []string{aws.ToString(in.PrivateIpAddress), secondary, "2001:0db8:0:0::1", "10.77.0.9", "2001:db8:77::9", "10.77.0.16"} {
		w.register(own, a, 80)
	}
	// Another machine of the same address in another VPC.
	vpc, err := w.ec2.CreateVpc(w.ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("172.31.0.0/16")})
	lifecycle.Must(t, err)
	elsewhere := *w
	elsewhere.vpc = aws.ToString(vpc.Vpc.VpcId)
	w.register(elsewhere.targetGroup("elsewhere", types.TargetTypeEnumIp), aws.ToString(in.PrivateIpAddress), 80)
	// Targets that are no machines.
	_, err = w.elb.CreateTargetGroup(w.ctx, &elasticloadbalancingv2.CreateTargetGroupInput{Name: aws.String("function"), TargetType: types.TargetTypeEnumLambda})
	lifecycle.Must(t, err)

	// moto delegates no prefixes.
	prefixes := rewritten("DescribeInstances", "<privateIpAddressesSet>",
		"<ipv4PrefixSet><item><ipv4Prefix>10.77.0.0/28</ipv4Prefix></item></ipv4PrefixSet>"+
			"<ipv6PrefixSet><item><ipv6Prefix>2001:db8:77::/80</ipv6Prefix></item></ipv6PrefixSet><privateIpAddressesSet>")
	session := w.session(prefixes)
	w.withdrawn(session, id)
	if diff := cmp.Diff([]string{"10.77.0.16"}, w.targets(own)); diff != "" {
		t.Errorf("targets after Apply differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{aws.ToString(in.PrivateIpAddress)}, w.targets(w.arn("elsewhere"))); diff != "" {
		t.Errorf("targets of the other VPC differ (-want +got):\n%s", diff)
	}
}

// targets are the IDs of a target group's targets.
func (w *world) targets(arn string) []string {
	w.t.Helper()
	out, err := w.elb.DescribeTargetHealth(w.ctx, &elasticloadbalancingv2.DescribeTargetHealthInput{TargetGroupArn: aws.String(arn)})
	lifecycle.Must(w.t, err)
	var ids []string
	for _, d := range out.TargetHealthDescriptions {
		ids = append(ids, aws.ToString(d.Target.Id))
	}
	return ids
}

func TestAllPagesAreRead(t *testing.T) {
	w := newWorld(t)
	id := aws.ToString(w.instance().InstanceId)
	w.register(w.targetGroup("paged", types.TargetTypeEnumInstance), id, 80)
	for i := range 51 { // moto gives 50 a page
		w.classicBalancer(fmt.Sprintf("paged-%02d", i))
	}
	w.classicBalancer("paged-zz", id)
	// moto gives all target groups at once: here the first page is empty.
	second := func(call string, form url.Values, _ func() string) *answer {
		if call != "DescribeTargetGroups" || form.Has("Marker") {
			return nil
		}
		return &answer{http.StatusOK, "<R><DescribeTargetGroupsResult><TargetGroups/><NextMarker>2</NextMarker></DescribeTargetGroupsResult></R>"}
	}
	w.withdrawn(w.session(second), id)
	w.wantService(id, []string{})
}

func TestTargetGroupThatIsDeletedMeanwhileIsPassedOver(t *testing.T) {
	w := newWorld(t)
	id := aws.ToString(w.instance().InstanceId)
	w.targetGroup("meanwhile", types.TargetTypeEnumInstance)
	if c := w.plan(w.session(refused("DescribeTargetHealth", "TargetGroupNotFound", "One or more target groups not found")), id); c != nil {
		t.Errorf("Plan finds: %s", c.Reason)
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	w := newWorld(t)
	id := w.crowded("unreadable")
	for _, call := range []string{
		"DescribeInstances", "DescribeAutoScalingInstances", "DescribeAutoScalingGroups", "DescribeTargetGroups", "DescribeTargetHealth", "DescribeLoadBalancers",
	} {
		t.Run(call, func(t *testing.T) {
			if c, err := withdraw.Remedy().Plan(w.ctx, w.session(refused(call, "AccessDenied", "no")), target(id)); err == nil {
				t.Errorf("Plan finds %v and no error", c)
			}
		})
	}
}

func TestInstanceThatIsLeavingItsGroupIsOutOfIt(t *testing.T) {
	w := newWorld(t)
	id := w.group("leaving", 2, nil, nil)
	for _, state := range []string{"Detaching", "Detached"} {
		if c := w.plan(w.session(inState(state)), id); c != nil {
			t.Errorf("%s: Plan finds: %s", state, c.Reason)
		}
	}
}

func TestInstanceThatCannotBeDetachedIsReported(t *testing.T) {
	w := newWorld(t)
	id := w.group("kept", 2, nil, nil)
	for _, state := range []string{"Pending", "Pending:Wait", "EnteringStandby", "Terminating:Wait", "Warmed:Running", "Warmed:Stopped"} {
		c := w.plan(w.session(inState(state)), id)
		want := []string{"Auto Scaling group kept keeps the instance: it is " + state + " there, AWS detaches only an instance that is InService or Standby, " +
			"and Auto Scaling can still terminate it, termination protection or not."}
		if c == nil || !c.Report() || !cmp.Equal(want, c.Left) {
			t.Errorf("%s: Plan finds %+v; want a report of what is left", state, c)
		}
	}
}

func TestInstanceThatCannotBeDetachedIsTakenOutOfTheRest(t *testing.T) {
	w := newWorld(t)
	id := w.crowded("rest")
	session := w.session(inState("Pending:Wait"))
	c := w.plan(session, id)
	if want := strings.Replace(nowhere, "null", `{"name":"rest","protectedFromScaleIn":true}`, 1); string(c.After) != want || len(c.Left) != 1 {
		t.Fatalf("After is %s and Left %q; want %s, and the group left", c.After, c.Left, want)
	}
	if slices.Contains(c.Touches, aws.ToString(w.describe("rest").AutoScalingGroupARN)) {
		t.Error("the group is among what the change touches")
	}
	before := w.service(id)
	lifecycle.Must(t, withdraw.Remedy().Apply(w.ctx, session, *c))
	// moto keeps an instance of the group in what is attached to it.
	w.wantService(id, []string{"classic rest-attached", "group rest InService protected=true"})
	lifecycle.Must(t, withdraw.Remedy().Undo(w.ctx, session, *c))
	w.wantService(id, before)
}

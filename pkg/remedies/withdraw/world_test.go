package withdraw_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	scalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	classictypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
	"github.com/snapback-aws/snapback/pkg/remedies/withdraw"
)

// world is the member account, seen with its own clients.
type world struct {
	t       *testing.T
	ctx     context.Context
	ec2     *ec2.Client
	scaling *autoscaling.Client
	elb     *elasticloadbalancingv2.Client
	classic *elasticloadbalancing.Client
	subnet  string
	vpc     string
}

// image is one that moto knows.
const image = "ami-12c6146b"

func TestMain(m *testing.M) { lifecycle.Main(m) }

// newWorld is an empty account.
func newWorld(t *testing.T) *world {
	t.Helper()
	server := lifecycle.AWS(t)
	lifecycle.Must(t, server.Reset(t.Context()))
	return worldOf(t.Context(), t, server.Config(local.MemberAccount))
}

// worldOf is the member account that a configuration acts in.
func worldOf(ctx context.Context, t *testing.T, cfg aws.Config) *world {
	t.Helper()
	w := &world{
		t: t, ctx: ctx,
		ec2: ec2.NewFromConfig(cfg), scaling: autoscaling.NewFromConfig(cfg),
		elb: elasticloadbalancingv2.NewFromConfig(cfg), classic: elasticloadbalancing.NewFromConfig(cfg),
	}
	subnets, err := w.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{
		Filters: []ec2types.Filter{{Name: aws.String("availability-zone"), Values: []string{local.Region + "a"}}},
	})
	lifecycle.Must(t, err)
	w.subnet, w.vpc = aws.ToString(subnets.Subnets[0].SubnetId), aws.ToString(subnets.Subnets[0].VpcId)
	return w
}

// instance launches an instance that is in service nowhere.
func (w *world) instance() *ec2types.Instance {
	w.t.Helper()
	out, err := w.ec2.RunInstances(w.ctx, &ec2.RunInstancesInput{
		ImageId: aws.String(image), InstanceType: ec2types.InstanceTypeT3Micro, SubnetId: aws.String(w.subnet),
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
	})
	lifecycle.Must(w.t, err)
	return &out.Instances[0]
}

// group makes an Auto Scaling group of one instance, attached to target groups
// and classic load balancers, and returns the instance.
func (w *world) group(name string, most int32, targetGroups, classic []string) string {
	w.t.Helper()
	_, err := w.ec2.CreateLaunchTemplate(w.ctx, &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String(name),
		LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: aws.String(image), InstanceType: ec2types.InstanceTypeT3Micro},
	})
	lifecycle.Must(w.t, err)
	_, err = w.scaling.CreateAutoScalingGroup(w.ctx, &autoscaling.CreateAutoScalingGroupInput{
		AutoScalingGroupName: aws.String(name), MinSize: aws.Int32(1), MaxSize: aws.Int32(most), DesiredCapacity: aws.Int32(1),
		LaunchTemplate:    &scalingtypes.LaunchTemplateSpecification{LaunchTemplateName: aws.String(name)},
		VPCZoneIdentifier: aws.String(w.subnet), TargetGroupARNs: targetGroups, LoadBalancerNames: classic,
	})
	lifecycle.Must(w.t, err)
	return aws.ToString(w.describe(name).Instances[0].InstanceId)
}

func (w *world) describe(group string) scalingtypes.AutoScalingGroup {
	w.t.Helper()
	out, err := w.scaling.DescribeAutoScalingGroups(w.ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{group}})
	lifecycle.Must(w.t, err)
	return out.AutoScalingGroups[0]
}

func (w *world) protect(group, id string, on bool) {
	w.t.Helper()
	_, err := w.scaling.SetInstanceProtection(w.ctx, &autoscaling.SetInstanceProtectionInput{
		AutoScalingGroupName: aws.String(group), InstanceIds: []string{id}, ProtectedFromScaleIn: aws.Bool(on),
	})
	lifecycle.Must(w.t, err)
}

// targetGroup makes a target group on port 80, and returns its ARN.
func (w *world) targetGroup(name string, typ types.TargetTypeEnum) string {
	w.t.Helper()
	out, err := w.elb.CreateTargetGroup(w.ctx, &elasticloadbalancingv2.CreateTargetGroupInput{
		Name: aws.String(name), TargetType: typ, VpcId: aws.String(w.vpc), Protocol: types.ProtocolEnumHttp, Port: aws.Int32(80),
	})
	lifecycle.Must(w.t, err)
	return aws.ToString(out.TargetGroups[0].TargetGroupArn)
}

func (w *world) register(arn, id string, port int32) {
	w.t.Helper()
	_, err := w.elb.RegisterTargets(w.ctx, &elasticloadbalancingv2.RegisterTargetsInput{
		TargetGroupArn: aws.String(arn), Targets: []types.TargetDescription{{Id: aws.String(id), Port: aws.Int32(port)}},
	})
	lifecycle.Must(w.t, err)
}

// classicBalancer makes a classic load balancer with instances.
func (w *world) classicBalancer(name string, ids ...string) string {
	w.t.Helper()
	_, err := w.classic.CreateLoadBalancer(w.ctx, &elasticloadbalancing.CreateLoadBalancerInput{
		LoadBalancerName: aws.String(name), Subnets: []string{w.subnet},
		Listeners: []classictypes.Listener{{Protocol: aws.String("HTTP"), LoadBalancerPort: 80, InstancePort: aws.Int32(80)}},
	})
	lifecycle.Must(w.t, err)
	for _, id := range ids {
		w.registerClassic(name, id)
	}
	return name
}

func (w *world) registerClassic(name, id string) {
	w.t.Helper()
	_, err := w.classic.RegisterInstancesWithLoadBalancer(w.ctx, &elasticloadbalancing.RegisterInstancesWithLoadBalancerInput{
		LoadBalancerName: aws.String(name), Instances: []classictypes.Instance{{InstanceId: aws.String(id)}},
	})
	lifecycle.Must(w.t, err)
}

// service is where an instance is in service: lines as "group web InService
// protected", "target web 80", "classic old".
func (w *world) service(id string) []string {
	w.t.Helper()
	lines := []string{}
	members, err := w.scaling.DescribeAutoScalingInstances(w.ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{id}})
	lifecycle.Must(w.t, err)
	for _, m := range members.AutoScalingInstances {
		lines = append(lines, fmt.Sprintf("group %s %s protected=%t", aws.ToString(m.AutoScalingGroupName), aws.ToString(m.LifecycleState), aws.ToBool(m.ProtectedFromScaleIn)))
	}
	groups, err := w.elb.DescribeTargetGroups(w.ctx, &elasticloadbalancingv2.DescribeTargetGroupsInput{})
	lifecycle.Must(w.t, err)
	addresses := w.addresses(id)
	for _, g := range groups.TargetGroups {
		health, err := w.elb.DescribeTargetHealth(w.ctx, &elasticloadbalancingv2.DescribeTargetHealthInput{TargetGroupArn: g.TargetGroupArn})
		lifecycle.Must(w.t, err)
		for _, d := range health.TargetHealthDescriptions {
			if at := aws.ToString(d.Target.Id); slices.Contains(addresses, at) {
				lines = append(lines, fmt.Sprintf("target %s %s %d", aws.ToString(g.TargetGroupName), at, aws.ToInt32(d.Target.Port)))
			}
		}
	}
	classic := elasticloadbalancing.NewDescribeLoadBalancersPaginator(w.classic, &elasticloadbalancing.DescribeLoadBalancersInput{})
	for classic.HasMorePages() {
		page, err := classic.NextPage(w.ctx)
		lifecycle.Must(w.t, err)
		for _, b := range page.LoadBalancerDescriptions {
			if slices.ContainsFunc(b.Instances, func(in classictypes.Instance) bool { return aws.ToString(in.InstanceId) == id }) {
				lines = append(lines, "classic "+aws.ToString(b.LoadBalancerName))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// addresses are an instance's ID and all its addresses.
func (w *world) addresses(id string) []string {
	w.t.Helper()
	out, err := w.ec2.DescribeInstances(w.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	lifecycle.Must(w.t, err)
	all := []string{id}
	for _, i := range out.Reservations[0].Instances[0].NetworkInterfaces {
		for _, a := range i.PrivateIpAddresses {
			all = append(all, aws.ToString(a.PrivateIpAddress))
		}
		for _, a := range i.Ipv6Addresses {
			all = append(all, aws.ToString(a.Ipv6Address))
		}
	}
	return all
}

// session enters the member account as Snapback does. Of the requests on their
// way, those that a stand-in takes are answered by it.
func (w *world) session(standIns ...standIn) *cloud.Session {
	w.t.Helper()
	hub := lifecycle.AWS(w.t).Config(local.HubAccount)
	hub.HTTPClient = &interceptor{HTTPClient: hub.HTTPClient, standIns: standIns}
	return w.enter(hub)
}

func (w *world) enter(hub aws.Config) *cloud.Session {
	w.t.Helper()
	session, err := cloud.NewSessions(hub, "snapback-response", "response").For(w.ctx, local.MemberAccount, local.Region, "test")
	lifecycle.Must(w.t, err)
	return session
}

func (w *world) plan(session *cloud.Session, id string) *control.Change {
	w.t.Helper()
	c, err := withdraw.Remedy().Plan(w.ctx, session, target(id))
	lifecycle.Must(w.t, err)
	return c
}

// withdrawn plans and applies, and checks that nothing is left to do.
func (w *world) withdrawn(session *cloud.Session, id string) control.Change {
	w.t.Helper()
	c := w.plan(session, id)
	if c == nil {
		w.t.Fatal("Plan finds nothing to do")
	}
	lifecycle.Must(w.t, withdraw.Remedy().Apply(w.ctx, session, *c))
	if again := w.plan(session, id); again != nil {
		w.t.Fatalf("after Apply, Plan still finds: %s", again.Reason)
	}
	return *c
}

func target(id string) control.Target {
	return control.Target{Account: local.MemberAccount, Region: local.Region, Type: instance.Resource().Type, ID: id}
}

// standIn answers a call in AWS's place, where moto lacks what AWS does. It may
// ask moto first. It returns nil where it leaves the call to moto.
type standIn func(call string, form url.Values, moto func() string) *answer

type answer struct {
	status int
	body   string
}

// interceptor asks the stand-ins about one request at a time.
type interceptor struct {
	aws.HTTPClient
	mu       sync.Mutex
	standIns []standIn
}

func (i *interceptor) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		return i.HTTPClient.Do(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	forward := func() (*http.Response, error) {
		r.Body = io.NopCloser(bytes.NewReader(body))
		return i.HTTPClient.Do(r)
	}
	moto := func() string {
		response, err := forward()
		if err != nil {
			return err.Error()
		}
		text, _ := io.ReadAll(response.Body)
		return string(text)
	}
	if a := i.ask(form, moto); a != nil {
		return &http.Response{
			StatusCode: a.status, Request: r, Header: http.Header{"Content-Type": {"text/xml"}},
			Body: io.NopCloser(strings.NewReader(a.body)),
		}, nil
	}
	return forward()
}

func (i *interceptor) ask(form url.Values, moto func() string) *answer {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, s := range i.standIns {
		if a := s(form.Get("Action"), form, moto); a != nil {
			return a
		}
	}
	return nil
}

// refused answers a call with an error.
func refused(call, code, message string) standIn {
	return func(asked string, _ url.Values, _ func() string) *answer {
		if asked != call {
			return nil
		}
		return &answer{http.StatusBadRequest, "<ErrorResponse><Error><Type>Sender</Type><Code>" + code + "</Code><Message>" + message +
			"</Message></Error><RequestId>local</RequestId></ErrorResponse>"}
	}
}

// rewritten answers a call as moto does, with one text for another.
func rewritten(call, old, text string) standIn {
	return func(asked string, _ url.Values, moto func() string) *answer {
		if asked != call {
			return nil
		}
		return &answer{http.StatusOK, strings.ReplaceAll(moto(), old, text)}
	}
}

// inState has the instance in a lifecycle state that moto does not know.
func inState(state string) standIn {
	return rewritten("DescribeAutoScalingInstances", "<LifecycleState>InService<", "<LifecycleState>"+state+"<")
}

// arn is a target group's.
func (w *world) arn(name string) string {
	w.t.Helper()
	out, err := w.elb.DescribeTargetGroups(w.ctx, &elasticloadbalancingv2.DescribeTargetGroupsInput{Names: []string{name}})
	lifecycle.Must(w.t, err)
	return aws.ToString(out.TargetGroups[0].TargetGroupArn)
}

func (w *world) wantService(id string, want []string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.service(id)); diff != "" {
		w.t.Errorf("where %s is in service differs (-want +got):\n%s", id, diff)
	}
}

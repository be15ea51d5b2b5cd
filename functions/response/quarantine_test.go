package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/internal/site"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// The steps of a quarantine in which everything is to be done, and is.
const allDone = "preserve-instance remediated, take-out-of-service remediated, isolate-network remediated, " +
	"cut-instance-credentials remediated, take-snapshots remediated"

// wantContained says what holds of an instance in quarantine, whatever it had.
func wantContained(t *testing.T, s *scene.Scene) {
	t.Helper()
	open, err := s.Open(t.Context())
	site.Must(t, err)
	if len(open) > 0 {
		t.Errorf("packets are let through: %q", open)
	}
	w := worldOf(t, s)
	wantLines(t, w, scene.World{
		"termination protection of " + s.Instance: "true",
		"shutdown behavior of " + s.Instance:      "stop",
		"auto scaling group":                      "",
	})
	for name, line := range w {
		switch {
		case strings.HasPrefix(name, "volume ") && strings.HasSuffix(name, s.Instance) && !strings.HasSuffix(line, "deleted on termination: false"):
			t.Errorf("%s is %s", name, line)
		case strings.HasPrefix(name, "target group "), strings.HasPrefix(name, "classic load balancer "):
			if strings.Contains(line, s.Instance) {
				t.Errorf("%s still holds the instance: %s", name, line)
			}
		}
	}
	if s.RoleID != "" {
		wantCut(t, s, w)
	}
}

// wantCut says that the role's policies deny everything to this instance, and
// nothing to any other session.
func wantCut(t *testing.T, s *scene.Scene, w scene.World) {
	t.Helper()
	var policy struct {
		Statement struct {
			Effect, Action, Resource string
			Condition                map[string]map[string]string
		}
	}
	text := w[fmt.Sprintf("policy snapback-quarantine-%s of role %s", s.Instance, scene.Role)]
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		t.Fatalf("the policy of the instance is %q: %v", text, err)
	}
	p := policy.Statement
	if p.Effect != "Deny" || p.Action != "*" || p.Resource != "*" || len(p.Condition) != 1 || len(p.Condition["StringEquals"]) != 1 ||
		p.Condition["StringEquals"]["aws:userid"] != s.RoleID+":"+s.Instance {
		t.Errorf("the policy does not cut off %s:%s alone: %s", s.RoleID, s.Instance, text)
	}
}

// wantEvidence says that each volume has one snapshot that is held, and names
// case and finding.
func wantEvidence(t *testing.T, s *scene.Scene, caseID, finding string) {
	t.Helper()
	w := worldOf(t, s)
	for _, volume := range s.Volumes {
		snapshot, tags, _ := strings.Cut(w["evidence of "+volume], " ")
		want := fmt.Sprintf(`{"snapback:case":%q,"snapback:evidence":"held","snapback:finding":%q,"snapback:instance":%q}`, caseID, finding, s.Instance)
		if !strings.HasPrefix(snapshot, "snap-") || tags != want {
			t.Errorf("the evidence of %s is %q %s, want %s", volume, snapshot, tags, want)
		}
	}
}

func TestInstanceInServiceIsContainedAndReleased(t *testing.T) {
	s := newMember(t, enforced)
	web := s.scene(scene.Options{})
	before := worldOf(t, web)

	s.Handle(web.Finding(sample(t, mining)))
	wantContained(t, web)
	s.replaced(web)
	c := s.OneCase(quarantine)
	site.WantCase(t, c, control.Remediated, allDone)
	wantEvidence(t, web, c.ID, miningID)
	wantManifest(t, c, before, web)
	a := s.Told("CONTAINED")
	if a.Case != c.ID || a.Severity != control.High || a.Target.ID != web.Instance || len(a.Changes) != 5 {
		t.Errorf("the alert: %+v", a)
	}
	for _, change := range a.Changes {
		if change.Outcome != control.Remediated {
			t.Errorf("the alert says of %s: %s %s", change.Remedy, change.Outcome, change.Error)
		}
	}
	if looked := s.Done(engine.Look, c); len(looked.Notes) != 2 || !strings.Contains(looked.Notes[0], "completed") {
		t.Errorf("how the snapshots stand: %q", looked.Notes)
	}
	s.release(web, c, before)
}

// release undoes a case, once, after which the world is as before and findings
// are only told.
func (s *member) release(of *scene.Scene, c *ledger.Case, before scene.World) {
	s.T.Helper()
	a := s.Done(engine.Undo, c)
	wantWorld(s.T, of, before)
	if len(a.Notes) > 0 || a.Case.Outcome != control.Undone {
		s.T.Errorf("the undo left %q, and the case is %s", a.Notes, a.Case.Outcome)
	}
	if e := s.exemption(of); e == nil || e.Case != c.ID {
		s.T.Errorf("the exemption: %+v", e)
	}
	s.Told("RELEASED")
	if again := s.Command(engine.Undo, c); again.Verdict != engine.Misuse || !strings.Contains(again.Reason, "undone already") {
		s.T.Errorf("the second undo: %s: %s", again.Verdict, again.Reason)
	}
	s.Handle(of.Finding(sample(s.T, "ec2-cryptomining-repeat")))
	wantWorld(s.T, of, before)
	if a := s.Told("THREAT, NOT CONTAINED"); !strings.Contains(a.Held, "exempt until") {
		s.T.Errorf("the alert does not say why: %s", a.Held)
	}
}

// replaced says that Auto Scaling has started another instance for the one that
// was taken out.
func (s *member) replaced(of *scene.Scene) {
	s.T.Helper()
	out, err := autoscaling.NewFromConfig(s.Config()).DescribeAutoScalingGroups(s.T.Context(), &autoscaling.DescribeAutoScalingGroupsInput{})
	site.Must(s.T, err)
	g := out.AutoScalingGroups[0]
	if aws.ToInt32(g.DesiredCapacity) != 1 || len(g.Instances) != 1 || aws.ToString(g.Instances[0].InstanceId) == of.Instance {
		s.T.Errorf("the group wants %d instances, and has %+v", aws.ToInt32(g.DesiredCapacity), g.Instances)
	}
}

// wantManifest says that the case keeps what the instance was like before it was
// contained.
func wantManifest(t *testing.T, c *ledger.Case, before scene.World, s *scene.Scene) {
	t.Helper()
	manifest := string(c.Step("take-snapshots").Facts)
	want := []string{"0.0.0.0/0", s.VPC, before["profile of "+s.Instance]}
	for _, ids := range [][]string{s.Groups, s.Interfaces, s.Volumes} {
		want = append(want, ids...)
	}
	for _, text := range want {
		if !strings.Contains(manifest, text) {
			t.Errorf("the manifest does not tell of %s: %s", text, manifest)
		}
	}
}

func TestBareInstanceIsContainedAndReleased(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options scene.Options
		steps   string
	}{
		{"with a role", scene.Options{Bare: true}, strings.Replace(allDone, "take-out-of-service remediated", "take-out-of-service compliant", 1)},
		{"without a profile", scene.Options{Bare: true, NoProfile: true}, strings.NewReplacer(
			"take-out-of-service remediated", "take-out-of-service compliant",
			"cut-instance-credentials remediated", "cut-instance-credentials compliant").Replace(allDone)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newMember(t, enforced)
			box := s.scene(tt.options)
			before := worldOf(t, box)
			s.Handle(box.Finding(sample(t, mining)))
			wantContained(t, box)
			c := s.OneCase(quarantine)
			wantEvidence(t, box, c.ID, miningID)
			site.WantCase(t, c, control.Remediated, tt.steps)
			s.Told("CONTAINED")
			s.release(box, c, before)
		})
	}
}

// What came later is another finding, of another type, the same one again, and
// the administrator's copy of it.
func TestFindingsAboutAContainedInstanceAddToItsCase(t *testing.T) {
	s := newMember(t, enforced)
	box := s.scene(scene.Options{Bare: true})
	s.Handle(box.Finding(sample(t, mining)))
	s.Told("CONTAINED")
	contained := worldOf(t, box)

	for _, later := range []string{tunnel, "ec2-cryptomining-repeat", "ec2-cryptomining-administrator"} {
		s.Handle(box.Finding(sample(t, later)))
		if o := s.Last(quarantine); o.Outcome != control.Compliant {
			t.Errorf("%s ends as %s: %s", later, o.Outcome, o.Reason)
		}
	}
	wantWorld(t, box, contained)
	s.NotTold()
	c := s.OneCase(quarantine)
	var findings []string
	for _, f := range c.Findings {
		findings = append(findings, fmt.Sprintf("%s %s %d", f.ID, f.Type, f.Count))
	}
	if diff := cmp.Diff([]string{
		miningID + " CryptoCurrency:EC2/BitcoinTool.B 12",
		"5eed0000000000000000000000002006 Trojan:EC2/DNSDataExfiltration 1",
	}, findings); diff != "" {
		t.Errorf("the case's findings (-want +got):\n%s", diff)
	}
	if n := len(s.Cases()); n != 1 {
		t.Errorf("%d cases", n)
	}
}

func TestFindingsAtOnceAboutOneInstanceAreOneCase(t *testing.T) {
	s := newMember(t, enforced)
	web := s.scene(scene.Options{})
	before := worldOf(t, web)
	first := web.Finding(sample(t, mining))
	var batches [][]byte // each for a function of its own, with two findings in it
	for i := range 2 {
		batches = append(batches, site.Batch(t, site.Edited(t, first, miningID, fmt.Sprintf("5eed000000000000000000000000%04d", i)), web.Finding(sample(t, tunnel))))
	}
	other := s.Start()
	answers := make([]string, len(batches))
	failed := make([]error, len(batches))
	var side sync.WaitGroup
	for i, f := range []*local.Function{s.Function, other} {
		side.Go(func() {
			answer, err := f.Invoke(t.Context(), batches[i])
			answers[i], failed[i] = string(answer), err
		})
	}
	side.Wait()
	for i := range answers {
		site.Must(t, failed[i])
		s.Again(answers[i], batches[i])
	}
	wantContained(t, web)
	c := s.OneCase(quarantine)
	site.WantCase(t, c, control.Remediated, allDone)
	if len(c.Findings) != 3 {
		t.Errorf("the case's findings: %+v", c.Findings)
	}
	wantEvidence(t, web, c.ID, c.Findings[0].ID)
	s.Told("CONTAINED")
	s.Done(engine.Undo, c)
	wantWorld(t, web, before)
}

// The attack sequence names a third instance, which does not exist, and as a node
// of a cluster a fourth one.
func TestEachInstanceOfAnAttackSequenceIsContained(t *testing.T) {
	s := newMember(t, enforced)
	// AWS makes one group of a name; moto may make two that are asked for at once.
	var making sync.Mutex
	s.Proxy.Inject("EC2.CreateSecurityGroup", 1, local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
		making.Lock()
		defer making.Unlock()
		x.Answer(x.Forward())
	}})
	web := s.scene(scene.Options{})
	beside, err := web.Beside(t.Context())
	site.Must(t, err)
	node, err := web.Beside(t.Context())
	site.Must(t, err)
	before := worldOf(t, web)
	s.Handle(site.Edited(t, web.Finding(sample(t, "attack-sequence-ec2")),
		"i-0123456789abcdef1", beside.Instance, "i-0123456789abcdef9", node.Instance))
	for _, contained := range []*scene.Scene{web, beside} {
		wantContained(t, contained)
	}
	if open, err := node.Open(t.Context()); err != nil || len(open) == 0 {
		t.Errorf("the node is cut off: %v", err)
	}
	wantLines(t, worldOf(t, web), scene.World{"policy snapback-quarantine-" + node.Instance + " of role " + scene.Role: ""})
	cases := s.Cases()
	if len(cases) != 2 || cases[0].Outcome != control.Remediated || cases[1].Outcome != control.Remediated {
		t.Fatalf("cases: %+v", cases)
	}
	if n := len(s.Alerts()); n != 2 {
		t.Errorf("%d alerts", n)
	}
	slices.SortFunc(cases, func(a, b *ledger.Case) int { return strings.Compare(a.Target.ID, b.Target.ID) })
	two := []*scene.Scene{web, beside}
	slices.SortFunc(two, func(a, b *scene.Scene) int { return strings.Compare(a.Instance, b.Instance) })
	s.Done(engine.Undo, cases[0])
	wantContained(t, two[1]) // still
	s.Done(engine.Undo, cases[1])
	wantWorld(t, web, before)
}

// Whatever is denied for good, the other steps are made, and a retry makes the
// one that is missing.
func TestStepThatIsDeniedLeavesItPartlyContained(t *testing.T) {
	for _, tt := range []struct {
		call    string
		fault   local.Fault
		step    string
		outcome control.Outcome
	}{
		{"EC2.ModifyInstanceAttribute", refusedByEC2("UnauthorizedOperation"), "preserve-instance", control.Failed},
		{"AutoScaling.DetachInstances", local.Denied(), "take-out-of-service", control.Failed},
		{"EC2.CreateSecurityGroup", refusedByEC2("UnauthorizedOperation"), "isolate-network", control.Failed},
		{"EC2.DescribeNetworkInterfaces", refusedByEC2("UnauthorizedOperation"), "isolate-network", control.Unreadable},
		{"IAM.PutRolePolicy", local.Denied(), "cut-instance-credentials", control.Failed},
		{"EC2.CreateSnapshots", refusedByEC2("UnauthorizedOperation"), "take-snapshots", control.Failed},
	} {
		t.Run(tt.call, func(t *testing.T) {
			s := newMember(t, enforced)
			web := s.scene(scene.Options{})
			before := worldOf(t, web)
			s.Proxy.Inject(tt.call, 1, tt.fault)
			s.Handle(web.Finding(sample(t, mining)))
			c := s.OneCase(quarantine)
			site.WantCase(t, c, control.Partial, strings.Replace(allDone, tt.step+" remediated", tt.step+" "+string(tt.outcome), 1))
			a := s.Told("PARTLY CONTAINED")
			for _, change := range a.Changes {
				if open := change.Outcome != control.Remediated; open != (change.Remedy == tt.step) || open && change.Error == "" {
					t.Errorf("the alert says of %s: %s %s", change.Remedy, change.Outcome, change.Error)
				}
			}
			if first := a.Commands[0]; first.Label != "retry" {
				t.Errorf("the alert's first command is %s", first.Run)
			}

			s.Proxy.Clear()
			s.Done(engine.Retry, c)
			wantContained(t, web)
			wantEvidence(t, web, c.ID, miningID)
			c = s.OneCase(quarantine)
			site.WantCase(t, c, control.Remediated, allDone)
			s.Told("CONTAINED")
			s.release(web, c, before)
		})
	}
}

// refusedByEC2 answers, for good, with an error of EC2's. Source: EC2 API
// reference, "Error codes", for the form.
func refusedByEC2(code string) local.Fault {
	return local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
		x.Answer(local.Answer{
			Status: http.StatusForbidden, Header: http.Header{"Content-Type": {"text/xml"}},
			Body: fmt.Appendf(nil, "<Response><Errors><Error><Code>%s</Code><Message>You are not authorized to perform this operation.</Message>"+
				"</Error></Errors><RequestID>local</RequestID></Response>", code),
		})
	}}
}

// GuardDuty tells of a threat every few hours for as long as it lasts. The
// instance is cut off, and one step stays denied: that is no other case, no
// threat that is not contained, and nobody's tug of war.
func TestRepeatsAfterADeniedStepAddToTheCaseThatIsPartlyContained(t *testing.T) {
	s := newMember(t, enforced)
	box := s.scene(scene.Options{Bare: true})
	s.Proxy.Inject("EC2.CreateSnapshots", 1, refusedByEC2("UnauthorizedOperation"))
	s.Handle(box.Finding(sample(t, mining)))
	first := s.OneCase(quarantine)
	s.Told("PARTLY CONTAINED")
	for n := 2; n < 5; n++ {
		s.Handle(site.Edited(t, box.Finding(sample(t, mining)), `"count": 1`, fmt.Sprintf(`"count": %d`, n)))
		for _, a := range s.Alerts() {
			if !strings.HasPrefix(a.Subject, "Snapback PARTLY CONTAINED:") {
				t.Errorf("repeat %d is told as %s", n, a.Subject)
			}
		}
	}
	cases := s.Cases()
	if len(cases) != 1 || cases[0].ID != first.ID || cases[0].Findings[0].Count != 4 {
		t.Errorf("there are %d cases, and the first one's finding was seen %d times", len(cases), cases[0].Findings[0].Count)
	}
}

func TestQuarantineThatSomebodyOpenedIsRepaired(t *testing.T) {
	s := newMember(t, enforced)
	box := s.scene(scene.Options{Bare: true})
	before := worldOf(t, box)
	s.Handle(box.Finding(sample(t, mining)))
	first := s.OneCase(quarantine)
	s.Told("CONTAINED")
	groups, err := s.ec2().DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{
		Filters: []types.Filter{{Name: aws.String("group-name"), Values: []string{"snapback-quarantine"}}},
	})
	site.Must(t, err)
	_, err = s.ec2().AuthorizeSecurityGroupIngress(t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: groups.SecurityGroups[0].GroupId, IpPermissions: []types.IpPermission{{
			IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []types.IpRange{{CidrIp: aws.String("203.0.113.9/32")}},
		}},
	})
	site.Must(t, err)

	s.Handle(box.Finding(sample(t, tunnel)))
	wantContained(t, box)
	if a := s.Told("CONTAINED"); !strings.Contains(string(a.Changes[2].Before), "tcp 22-22 in from 203.0.113.9/32") {
		t.Errorf("the alert does not tell what was open: %+v", a.Changes[2])
	}
	cases := s.Cases()
	if len(cases) != 2 || cases[1].Previous != first.ID || cases[1].Step("isolate-network").Outcome != control.Remediated {
		t.Fatalf("cases: %+v", cases)
	}
	// Released is what the first case contained. The second has nothing to put back.
	if a := s.Done(engine.Undo, cases[1]); len(a.Notes) != 1 || !strings.Contains(a.Notes[0], "is not opened again") {
		t.Errorf("the undo of the repair: %q", a.Notes)
	}
	wantContained(t, box)
	s.Done(engine.Undo, first)
	wantWorld(t, box, before)
}

func TestReleaseNamesWhatNoLongerExists(t *testing.T) {
	s := newMember(t, enforced)
	web := s.scene(scene.Options{})
	before := worldOf(t, web)
	s.Handle(web.Finding(sample(t, mining)))
	s.Told("CONTAINED")
	_, err := s.ec2().DeleteSecurityGroup(t.Context(), &ec2.DeleteSecurityGroupInput{GroupId: &web.Groups[1]})
	site.Must(t, err)
	s.deleteTargetGroup(web)

	a := s.Done(engine.Undo, s.OneCase(quarantine))
	for _, want := range []string{
		"Target group " + web.TargetARN + " no longer exists",
		"Security group " + web.Groups[1] + ", which network interface " + web.Interfaces[1] + " was in, no longer exists",
		"Network interface " + web.Interfaces[2] + " stays isolated: no group that it was in exists any more",
	} {
		if !strings.Contains(a.Reason, want) {
			t.Errorf("the answer does not say %q: %s", want, a.Reason)
		}
	}
	s.Told("RELEASED")
	now := worldOf(t, web)
	for _, gone := range []string{"target group web", "group " + web.Groups[1], "rules of " + web.Groups[1]} {
		delete(before, gone)
	}
	before["groups of "+web.Interfaces[1]] = web.Groups[0]
	before["groups of "+web.Interfaces[2]] = now["groups of "+web.Interfaces[2]] // the quarantine group
	if diff := cmp.Diff(before, now); diff != "" {
		t.Errorf("the world (-want +got):\n%s", diff)
	}
}

// deleteTargetGroup deletes the target group of a scene, and the load balancer
// that uses it.
func (s *member) deleteTargetGroup(of *scene.Scene) {
	s.T.Helper()
	client := elbv2.NewFromConfig(s.Config())
	found, err := client.DescribeLoadBalancers(s.T.Context(), &elbv2.DescribeLoadBalancersInput{})
	site.Must(s.T, err)
	for _, b := range found.LoadBalancers {
		_, err := client.DeleteLoadBalancer(s.T.Context(), &elbv2.DeleteLoadBalancerInput{LoadBalancerArn: b.LoadBalancerArn})
		site.Must(s.T, err)
	}
	_, err = client.DeleteTargetGroup(s.T.Context(), &elbv2.DeleteTargetGroupInput{TargetGroupArn: &of.TargetARN})
	site.Must(s.T, err)
}

// Somebody has put an interface into another group: what that is for is not
// known, so the release stops there and shows both. Once it is as the case left it,
// the release goes on.
func TestReleaseOfAnInterfaceThatMovedIsRefused(t *testing.T) {
	s := newMember(t, enforced)
	box := s.scene(scene.Options{Bare: true})
	before := worldOf(t, box)
	s.Handle(box.Finding(sample(t, mining)))
	s.Told("CONTAINED")
	c := s.OneCase(quarantine)
	isolated := worldOf(t, box)["groups of "+box.Interfaces[0]]
	s.put(box.Interfaces[0], box.Groups[1])

	a := s.Command(engine.Undo, c)
	if a.Verdict != engine.NotSo || a.Now == nil || !strings.Contains(string(a.Now.After), box.Groups[1]) {
		t.Errorf("the undo: %s: %s, now %+v", a.Verdict, a.Reason, a.Now)
	}
	if !strings.Contains(a.Reason, "only some of it could be undone: ") || strings.Contains(a.Reason, "nothing was undone") {
		t.Errorf("the answer contradicts itself: %s", a.Reason)
	}
	if got := worldOf(t, box)["groups of "+box.Interfaces[0]]; got != box.Groups[1] {
		t.Errorf("the interface was put into %s", got)
	}
	s.put(box.Interfaces[0], isolated)
	s.Done(engine.Undo, c)
	wantWorld(t, box, before)
	s.Told("RELEASED")
}

// put puts a network interface into a group, and out of all others.
func (s *member) put(id, group string) {
	s.T.Helper()
	_, err := s.ec2().ModifyNetworkInterfaceAttribute(s.T.Context(), &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: &id, Groups: []string{group},
	})
	site.Must(s.T, err)
}

func TestInstanceThatIsGoneIsReleasedAsFarAsThereIsSomething(t *testing.T) {
	s := newMember(t, enforced)
	web := s.scene(scene.Options{})
	s.Handle(web.Finding(sample(t, mining)))
	s.Told("CONTAINED")
	s.terminate(web)

	a := s.Done(engine.Undo, s.OneCase(quarantine))
	for _, want := range []string{"preserve-instance: The resource no longer exists.", "take-out-of-service: The resource no longer exists."} {
		if !slices.Contains(a.Notes, want) {
			t.Errorf("the answer does not say %q: %q", want, a.Notes)
		}
	}
	s.Told("RELEASED")
	for name, line := range worldOf(t, web) {
		if strings.HasPrefix(name, "policy snapback-quarantine") || strings.HasPrefix(name, "evidence ") {
			t.Errorf("there is still %s: %s", name, line)
		}
	}
}

// terminate ends an instance in spite of its protection.
func (s *member) terminate(of *scene.Scene) {
	s.T.Helper()
	_, err := s.ec2().ModifyInstanceAttribute(s.T.Context(), &ec2.ModifyInstanceAttributeInput{
		InstanceId: &of.Instance, DisableApiTermination: &types.AttributeBooleanValue{Value: aws.Bool(false)},
	})
	site.Must(s.T, err)
	_, err = s.ec2().TerminateInstances(s.T.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{of.Instance}})
	site.Must(s.T, err)
}

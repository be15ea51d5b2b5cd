package reliability_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

const (
	quarantineID = "ec2-quarantine"
	contains     = `version: 1
reviewed: 2026-11-01
organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1]}
runbooks: {ec2-quarantine: {mode: enforce}}
`
)

// quarantineSteps are the steps of the runbook, in its order.
var quarantineSteps = []string{"preserve-instance", "take-out-of-service", "isolate-network", "cut-instance-credentials", "take-snapshots"}

// threat is a member account with an instance in service, which GuardDuty has a
// finding about.
type threat struct {
	*member
	*scene.Scene
	before scene.World
	// first are the states before the steps, by case and remedy, as the case held
	// them first.
	first map[string]string
	// met counts the calls before the proxy was last cleared.
	met map[string]int
}

func (w *world) newThreat(t *testing.T) *threat {
	t.Helper()
	s := &threat{member: w.newMember(t, 4, "response", time.Minute), first: map[string]string{}, met: map[string]int{}}
	var err error
	s.Scene, err = scene.Make(t.Context(), w.aws.Config(s.account), scene.Options{})
	must(t, err)
	s.before = s.now()
	return s
}

// disturbed lets a function be disturbed no more than it would be by AWS. Faults
// at the same calls that were injected before go before.
func (s *threat) disturbed() {
	s.proxy.Inject("ElasticLoadBalancingv2.DescribeTargetHealth", 1, s.late())
	s.proxy.Inject(deleteGroup, 1, s.inUse())
}

// clear takes all faults out, and keeps in mind how many calls there were.
func (s *threat) clear() {
	for _, name := range s.proxy.Calls() {
		s.met[name]++
	}
	s.proxy.Clear()
	s.proxy.Inject(deleteGroup, 1, s.inUse())
}

// count is how often a call was made.
func (s *threat) count(call string) int { return s.met[call] + s.proxy.Count(call) }

// inUse answers that a group can't be deleted as long as an interface is in it,
// where moto deletes it. Source: EC2 API reference, DeleteSecurityGroup. Only the
// wide-open group is ever deleted.
func (s *threat) inUse() local.Fault {
	violated := refused(http.StatusBadRequest, "DependencyViolation")
	client := ec2.NewFromConfig(s.aws.Config(s.account))
	return local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
		in, err := client.DescribeNetworkInterfaces(s.t.Context(), &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: s.Interfaces})
		if err != nil || slices.ContainsFunc(in.NetworkInterfaces, wideOpen) {
			violated.Disturb(x)
			return
		}
		x.Answer(x.Forward())
	}}
}

// wideOpen reports whether an interface is in the group that ends connections.
func wideOpen(i ec2types.NetworkInterface) bool {
	return slices.ContainsFunc(i.Groups, func(g ec2types.GroupIdentifier) bool {
		return strings.HasPrefix(aws.ToString(g.GroupName), "snapback-untrack-")
	})
}

// late holds the answer to a read that the steps which are not urgent wait for,
// until the case was opened: so these are always written down after the urgent
// ones, and the calls of each walk are the same. Where the case is not opened
// without it, it comes late.
func (s *threat) late() local.Fault {
	return local.Fault{Times: 1, Disturb: func(x *local.Exchange) {
		a := x.Forward()
		tick, end := time.NewTicker(5*time.Millisecond), time.After(2*time.Second)
		defer tick.Stop()
		for s.proxy.Count(transact) == 0 {
			select {
			case <-tick.C:
				continue
			case <-end:
			}
			break
		}
		x.Answer(a)
	}}
}

// now is the world of the account, whatever the proxy says.
func (s *threat) now() scene.World {
	s.t.Helper()
	w, err := s.World(s.t.Context())
	must(s.t, err)
	// moto registers an instance with a classic load balancer again that is there.
	classic := "classic load balancer " + scene.Classic
	w[classic] = strings.Join(slices.Compact(strings.Fields(w[classic])), " ")
	return w
}

// send puts the finding on the queue.
func (s *threat) send() {
	s.t.Helper()
	must(s.t, s.queue.Send(s.t.Context(), s.finding("ec2-cryptomining")))
}

// settle ends the lease of a worker that was killed, before each time.
func (s *threat) settle() fate {
	s.t.Helper()
	return s.member.settle(func() {
		s.remember()
		s.endLease()
	})
}

// remember keeps what the cases held first.
func (s *threat) remember() {
	s.t.Helper()
	for _, c := range s.cases() {
		for _, step := range c.Steps {
			key := c.ID + " " + step.Remedy
			if _, known := s.first[key]; !known && len(step.Before) > 0 {
				s.first[key] = string(step.Before)
			}
		}
	}
}

func (s *threat) target() control.Target {
	return control.Target{Account: s.account, Region: local.Region, Type: "AWS::EC2::Instance", ID: s.Instance}
}

// endLease ends the lease that a killed worker left, as time does: the function
// may take a minute.
func (s *threat) endLease() {
	s.t.Helper()
	t := s.target()
	cfg := s.aws.Config(local.HubAccount)
	cfg.BaseEndpoint = aws.String(s.db.Endpoint())
	_, err := dynamodb.NewFromConfig(cfg).UpdateItem(s.t.Context(), &dynamodb.UpdateItemInput{
		TableName: &s.hub.Table, Key: map[string]types.AttributeValue{
			"pk": &types.AttributeValueMemberS{Value: strings.Join([]string{"target#" + t.Account, t.Region, t.Type, t.ID}, "/")},
			"sk": &types.AttributeValueMemberS{Value: "lock"},
		},
		UpdateExpression: aws.String("SET lease = :now"), ConditionExpression: aws.String("attribute_exists(lease)"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":now": &types.AttributeValueMemberN{Value: fmt.Sprint(time.Now().UnixMilli())},
		},
	})
	if none := (*types.ConditionalCheckFailedException)(nil); !errors.As(err, &none) {
		must(s.t, err)
	}
}

// cases are those of the account, oldest first.
func (s *threat) cases() (cases []*ledger.Case) {
	s.t.Helper()
	for c, err := range s.hub.Ledger().Cases(s.t.Context(), ledger.Query{Account: s.account}) {
		must(s.t, err)
		cases = append(cases, c)
	}
	slices.Reverse(cases)
	return cases
}

// contained checks the end that every fault that passes must come to.
func (s *threat) contained(end fate) {
	s.t.Helper()
	if end.dead {
		s.t.Errorf("the message is dead after %d tries\n%s", end.tries, s.function.Logs())
	}
	cases := s.cases()
	if len(cases) != 1 {
		s.t.Fatalf("%d cases, want 1: %+v\n%s", len(cases), cases, s.function.Logs())
	}
	s.quarantined()
	s.closed(cases[0], control.Remediated, nil)
	s.oneStory(s.told(), control.Remediated, cases[0].ID)
	if n := s.used(s.t, ledger.PerThreatAccount, s.account); n != 1 {
		s.t.Errorf("%d changes are counted against threats in the account, want 1", n)
	}
}

// quarantined says what holds of an instance that is contained.
func (s *threat) quarantined() {
	s.t.Helper()
	if open := s.open(); len(open) > 0 {
		s.t.Errorf("packets are let through: %q\n%s", open, s.function.Logs())
	}
	w := s.now()
	s.noWideOpen(w)
	for name, want := range map[string]string{
		"termination protection of " + s.Instance: "true", "shutdown behavior of " + s.Instance: "stop",
		"auto scaling group": "", "target group " + scene.Target: "", "classic load balancer " + scene.Classic: "",
	} {
		if w[name] != want {
			s.t.Errorf("%s is %q, want %q", name, w[name], want)
		}
	}
	for name, line := range w {
		if strings.HasPrefix(name, "volume ") && strings.HasSuffix(name, s.Instance) && !strings.HasSuffix(line, "deleted on termination: false") {
			s.t.Errorf("%s: %s", name, line)
		}
	}
	if cut := w["policy snapback-quarantine-"+s.Instance+" of role "+scene.Role]; !strings.Contains(cut, s.RoleID+":"+s.Instance) {
		s.t.Errorf("the policy that cuts off the instance is %q", cut)
	}
	for _, volume := range s.Volumes {
		if n := strings.Count(w["evidence of "+volume], "snap-"); n != 1 {
			s.t.Errorf("%d snapshots of %s are held, want 1", n, volume)
		}
	}
}

func (s *threat) open() []string {
	s.t.Helper()
	open, err := s.Open(s.t.Context())
	must(s.t, err)
	return open
}

// noWideOpen says that the group which ends connections is gone, or has no rule.
func (s *threat) noWideOpen(w scene.World) {
	s.t.Helper()
	for name, line := range w {
		group, ok := strings.CutPrefix(name, "group ")
		if ok && strings.HasPrefix(line, "snapback-untrack") && w["rules of "+group] != "" {
			s.t.Errorf("group %s is left wide open: %s", line, w["rules of "+group])
		}
	}
}

// closed checks a case that has ended: what its steps came to, where that is not
// that they were made, and that each holds its first state.
func (s *threat) closed(c *ledger.Case, outcome control.Outcome, but map[string]control.Outcome) {
	s.t.Helper()
	if c.Outcome != outcome || c.State != "" || c.Closed.IsZero() || len(c.Alerts) == 0 {
		s.t.Errorf("case %s is %s %s, closed %v, told %v: want it %s, closed and told\n%s",
			c.ID, c.State, c.Outcome, c.Closed, c.Alerts, outcome, s.function.Logs())
	}
	got, want := map[string]control.Outcome{}, map[string]control.Outcome{}
	for _, step := range c.Current() {
		got[step.Remedy] = step.Outcome
		if was, known := s.first[c.ID+" "+step.Remedy]; known && was != string(step.Before) && outcome == control.Remediated {
			s.t.Errorf("the state before %s is %s now, and was first %s", step.Remedy, step.Before, was)
		}
	}
	for _, name := range quarantineSteps {
		want[name] = control.Remediated
	}
	maps.Copy(want, but)
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("the steps of case %s (-want +got):\n%s\n%s", c.ID, diff, s.function.Logs())
	}
}

// released undoes the cases that changed something, the last one first: the
// world is as it was before the finding, but for the wide-open group, closed, if
// that could not be deleted. The undo has no other note than the one that is given.
func (s *threat) released(closedGroup bool) {
	s.t.Helper()
	s.clear()
	for _, c := range slices.Backward(s.cases()) {
		if !slices.ContainsFunc(c.Steps, func(step ledger.Step) bool { return !step.Applied.IsZero() }) {
			continue
		}
		a, err := s.command(engine.Undo, c.ID)
		if err != nil || a.Verdict != engine.Done {
			s.t.Errorf("undo: %s: %s (%v)", a.Verdict, a.Reason, err)
		}
		for _, n := range a.Notes {
			s.t.Errorf("the undo notes: %s", n)
		}
	}
	now := s.now()
	if closedGroup {
		s.forgetGroup(now)
	}
	if diff := cmp.Diff(s.before, now); diff != "" {
		s.t.Errorf("after the release the world is another one (-want +got):\n%s\n%s", diff, s.function.Logs())
	}
}

// forgetGroup takes the wide-open group out of a world, where it must be, without
// rules.
func (s *threat) forgetGroup(w scene.World) {
	s.t.Helper()
	s.noWideOpen(w)
	for name, line := range w {
		if group, ok := strings.CutPrefix(name, "group "); ok && line == "snapback-untrack-"+s.Instance {
			delete(w, name)
			delete(w, "rules of "+group)
			return
		}
	}
	s.t.Error("the group that could not be deleted is not there")
}

// words say how instance, message and operators stand.
func (s *threat) words(end fate) string {
	s.t.Helper()
	told := s.told()
	text := "no alert"
	if len(told) > 0 {
		text = called(told[0].Outcome)
	}
	return text + end.words() + times(len(told))
}

// called is what an alert calls a threat's outcome.
func called(o control.Outcome) string {
	switch o {
	case control.Remediated:
		return "contained"
	case control.Partial:
		return "partly contained"
	case control.Failed:
		return "not contained"
	}
	return string(o)
}

// refused is an error of EC2's, which has a form of its own. Source: EC2 API
// reference, "Error codes".
func refused(status int, code string) local.Fault {
	return local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
		x.Answer(local.Answer{
			Status: status, Header: http.Header{"Content-Type": {"text/xml"}},
			Body: fmt.Appendf(nil, "<Response><Errors><Error><Code>%s</Code><Message>No.</Message></Error></Errors><RequestID>local</RequestID></Response>", code),
		})
	}}
}

// throttling and denying are for good, until they are lifted.
func throttling(call string) local.Fault {
	if strings.HasPrefix(call, "EC2.") {
		return refused(http.StatusServiceUnavailable, "RequestLimitExceeded")
	}
	return local.Throttled(-1)
}

func denying(call string) local.Fault {
	if strings.HasPrefix(call, "EC2.") {
		return refused(http.StatusForbidden, "UnauthorizedOperation")
	}
	return local.Denied()
}

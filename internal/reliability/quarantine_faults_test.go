package reliability_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
)

const transact = "DynamoDB.TransactWriteItems"

// threatCalls are the rows of the table, in the order of the way: every call that
// writes or tells, and one row for all reads of a name. A call that is new in
// the path fails the test until it is put here.
var threatCalls = []threatCall{
	{call: call{"STS.AssumeRole", 1, true}},
	{call: call{"DynamoDB.BatchGetItem", 1, true}},
	{call: call{"EC2.DescribeInstances", 1, true}},
	{call: call{"EC2.DescribeNetworkInterfaces", 1, true}},
	{call: call{"EC2.DescribeSecurityGroups", 1, true}},
	{call: call{"EC2.DescribeInstanceAttribute", 1, true}},
	{call: call{"AutoScaling.DescribeAutoScalingInstances", 1, true}},
	{call: call{"AutoScaling.DescribeAutoScalingGroups", 1, true}},
	{call: call{"ElasticLoadBalancingv2.DescribeTargetGroups", 1, true}},
	{call: call{"ElasticLoadBalancingv2.DescribeTargetHealth", 1, true}},
	{call: call{"ElasticLoadBalancing.DescribeLoadBalancers", 1, true}},
	{call: call{"IAM.GetInstanceProfile", 1, true}},
	{call: call{"IAM.GetRolePolicy", 1, true}},
	{call: call{"EC2.DescribeSnapshots", 1, true}},
	{call: call{"EC2.DescribeAddresses", 1, true}},
	{call: call{"EC2.DescribeRouteTables", 1, true}},
	{call: call{"EC2.GetConsoleOutput", 1, true}},
	{call: call{transact, 1, false}},
	{call: call{"EC2.CreateSecurityGroup", 1, false}},
	{call: call{"EC2.CreateSecurityGroup", 2, false}},
	{call: call{transact, 2, false}},
	{call: call{"EC2.RevokeSecurityGroupEgress", 1, false}},
	{call: call{"EC2.RevokeSecurityGroupEgress", 2, false}},
	{call: call{"EC2.AuthorizeSecurityGroupIngress", 1, false}},
	{call: call{"EC2.AuthorizeSecurityGroupIngress", 2, false}},
	{call: call{"EC2.AuthorizeSecurityGroupEgress", 1, true}},
	{call: call{"EC2.ModifyNetworkInterfaceAttribute", 1, false}},
	{call: call{"EC2.ModifyNetworkInterfaceAttribute", 2, false}},
	{call: call{"EC2.ModifyNetworkInterfaceAttribute", 3, false}},
	{call: call{"EC2.ModifyNetworkInterfaceAttribute", 4, false}},
	{call: call{"EC2.ModifyNetworkInterfaceAttribute", 5, false}},
	{call: call{"EC2.ModifyNetworkInterfaceAttribute", 6, false}},
	{call: call{"EC2.DeleteSecurityGroup", 1, true}},
	{call: call{"IAM.PutRolePolicy", 1, true}},
	{call: call{"EC2.ModifyInstanceAttribute", 1, false}},
	{call: call{"EC2.ModifyInstanceAttribute", 2, false}},
	{call: call{"AutoScaling.DetachInstances", 1, true}},
	{call: call{"ElasticLoadBalancingv2.DeregisterTargets", 1, true}},
	{call: call{"ElasticLoadBalancing.DeregisterInstancesFromLoadBalancer", 1, true}},
	{call: call{"EC2.CreateSnapshots", 1, true}},
	{call: call{"SNS.Publish", 1, true}},
	{call: call{transact, 3, false}},
}

type threatCall struct {
	call
}

// read reports whether a call changes nothing, so that it makes no difference
// whether a worker is killed before or after it.
func (c threatCall) read() bool {
	_, operation, _ := strings.Cut(c.name, ".")
	return strings.HasPrefix(operation, "Describe") || strings.HasPrefix(operation, "Get")
}

var threatFaults = []string{"throttled", "killed before", "killed after", "denied for good"}

func (s *threat) inject(c threatCall, fault string) {
	f := map[string]func() local.Fault{
		"throttled":       func() local.Fault { return throttling(c.name) },
		"killed before":   func() local.Fault { return local.KilledBefore(s.kill) },
		"killed after":    func() local.Fault { return local.KilledAfter(s.kill) },
		"denied for good": func() local.Fault { return denying(c.name) },
	}[fault]
	s.proxy.Inject(c.name, c.nth, f())
}

// TestQuarantineFaults makes the table of the response function.
func TestQuarantineFaults(t *testing.T) {
	w := newWorld(t, contains)
	w.pathIsKnown(t)
	var jobs []job
	var rows []string
	for _, c := range threatCalls {
		rows = append(rows, c.String())
	}
	for _, f := range slices.Backward(threatFaults) {
		for _, c := range threatCalls {
			jobs = append(jobs, job{c.String(), f, func(t *testing.T) string { return w.drillThreat(t, c, f) }})
		}
	}
	results := sideBySide(t, jobs)
	if len(results) < len(jobs) {
		t.Logf("%d of %d drills came to an end: no table", len(results), len(jobs))
		return
	}
	compare(t, "quarantine", faultTable(rows, threatFaults, results))
}

// pathIsKnown compares the calls of an undisturbed function with the rows.
func (w *world) pathIsKnown(t *testing.T) {
	t.Helper()
	s := w.newThreat(t)
	s.send()
	s.contained(s.settle())
	var made, rows []string
	n := map[string]int{}
	for _, name := range s.proxy.Calls() {
		if n[name]++; n[name] == 1 || !(threatCall{call{name: name}}).read() {
			made = append(made, fmt.Sprintf("%s #%d", name, n[name]))
		}
	}
	for _, c := range threatCalls {
		rows = append(rows, fmt.Sprintf("%s #%d", c.name, c.nth))
	}
	slices.Sort(made)
	slices.Sort(rows)
	if diff := cmp.Diff(rows, made); diff != "" {
		t.Fatalf("the calls of the path are others than the rows (-rows +made):\n%s", diff)
	}
	s.released()
}

func (w *world) drillThreat(t *testing.T, c threatCall, fault string) string {
	if fault == "killed after" && c.read() {
		return "as before"
	}
	s := w.newThreat(t)
	s.inject(c, fault)
	s.send()
	if fault == "throttled" {
		return s.throttled(c)
	}
	end := s.settle()
	if n := s.proxy.Count(c.name); n < c.nth {
		t.Fatalf("the fault met nothing: %d calls %s", n, c.name)
	}
	words := s.words(end)
	if fault == "denied for good" {
		words += s.denied(c, end)
	} else {
		s.contained(end)
	}
	s.released()
	return words
}

// throttled works a message off whose first delivery meets nothing but
// throttling at a call.
func (s *threat) throttled(c threatCall) string {
	first := s.poll()
	if n := s.proxy.Count(c.name); n < c.nth {
		s.t.Fatalf("the fault met nothing: %d calls %s", n, c.name)
	}
	s.proxy.Clear()
	end := fate{tries: 1}
	if len(first.Failed) > 0 {
		end = s.settle()
		end.tries++
	}
	words := s.words(end)
	s.contained(end)
	s.released()
	return words
}

func (s *threat) denied(c threatCall, end fate) string {
	s.t.Helper()
	var text []string
	for _, k := range s.cases() {
		text = append(text, fmt.Sprintf("case %s %s %q:", k.State, k.Outcome, k.Held))
		for _, st := range k.Current() {
			text = append(text, fmt.Sprintf("  %s %s %s", st.Remedy, st.Outcome, st.Error))
		}
	}
	for _, a := range s.told() {
		text = append(text, fmt.Sprintf("  told %s case %q: %s %s", a.Subject, a.Case, a.Reason, a.Error))
	}
	open := s.open()
	s.t.Logf("DENIED %s: open %d used %d dead %t tries %d\n%s", c, len(open), s.used(s.t, "threat-account", s.account), end.dead, end.tries, strings.Join(text, "\n"))
	s.proxy.Clear()
	if end.dead {
		must(s.t, s.queue.Redrive(s.t.Context()))
		e := s.settle()
		s.t.Logf("LIFTED redriven %+v", e)
	} else {
		k := s.cases()
		a, err := s.command(engine.Retry, k[len(k)-1].ID)
		s.t.Logf("LIFTED retry %s %s %v", a.Verdict, a.Reason, err)
	}
	for _, k := range s.cases() {
		s.t.Logf("LIFTED case %s %s used %d", k.State, k.Outcome, s.used(s.t, "threat-account", s.account))
	}
	s.quarantined()
	_ = control.Remediated
	return ""
}

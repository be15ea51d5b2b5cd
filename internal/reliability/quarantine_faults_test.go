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
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// Calls of the path.
const (
	transact    = "DynamoDB.TransactWriteItems"
	regroup     = "EC2.ModifyNetworkInterfaceAttribute" // 1 to 3 into the wide-open group, 4 to 6 into quarantine
	deleteGroup = "EC2.DeleteSecurityGroup"
)

// threatCall is a row of the table, and what is right where it is denied for good.
type threatCall struct {
	call
	denied threatDenial
}

// threatDenial is what is right where a call is denied for good.
type threatDenial struct {
	told control.Outcome // empty: nothing can be told
	says string          // in the alert
	but  map[string]control.Outcome
	open bool // packets are let through to the instance
	dead bool
	// way is how it goes on once the denial is lifted, and again how it ends then;
	// empty if nothing is left to do.
	way   string
	again control.Outcome
	// asFirst says that IAM knows no nth call: it is denied with the first one.
	asFirst bool
}

const (
	redriven = "redriven"
	retried  = "retried"
	anew     = "next finding"
)

var (
	// Nothing is known of the instance, and nothing changed.
	unreadable = threatDenial{told: control.Unreadable, open: true, way: anew, again: control.Remediated}
	// It can't be asked, or not be written down, what is changed: so it is not.
	unwritten = threatDenial{told: control.Held, says: "not authorized", open: true, dead: true, way: redriven, again: control.Remediated}
	// The manifest of the evidence lacks a part.
	less    = threatDenial{told: control.Remediated}
	asFirst = threatDenial{asFirst: true}
)

// part is the denial of a call without which one step can't be made; all the
// others are.
func part(step string, outcome control.Outcome) threatDenial {
	return threatDenial{
		told: control.Partial, but: map[string]control.Outcome{step: outcome}, open: step == "isolate-network",
		way: retried, again: control.Remediated,
	}
}

// tracked is the denial of a call without which connections that are open
// already can't be ended. The interfaces are isolated without that; a retry finds
// them so, and does not open them to everywhere again.
func tracked() threatDenial {
	d := part("isolate-network", control.Failed)
	d.open, d.says, d.again = false, "connections that were open may go on", control.Partial
	return d
}

// stuck is the denial of a call without which all interfaces don't get out of
// the wide-open group: so that is closed.
func stuck() threatDenial {
	d := part("isolate-network", control.Failed)
	d.open = false
	return d
}

// threatCalls are the rows of the table, in the order of the way: every call that
// writes or tells, and one row for all reads of a name. A call that is new in
// the path fails the test until it is put here.
var threatCalls = []threatCall{
	{only("STS.AssumeRole"), unreadable},
	{only("DynamoDB.BatchGetItem"), unwritten},
	{only("EC2.DescribeInstances"), unreadable},
	{only("EC2.DescribeNetworkInterfaces"), part("isolate-network", control.Unreadable)},
	{only("EC2.DescribeSecurityGroups"), part("isolate-network", control.Unreadable)},
	{only("EC2.DescribeInstanceAttribute"), part("preserve-instance", control.Unreadable)},
	{only("AutoScaling.DescribeAutoScalingInstances"), part("take-out-of-service", control.Unreadable)},
	{only("AutoScaling.DescribeAutoScalingGroups"), part("take-out-of-service", control.Unreadable)},
	{only("ElasticLoadBalancingv2.DescribeTargetGroups"), part("take-out-of-service", control.Unreadable)},
	{only("ElasticLoadBalancingv2.DescribeTargetHealth"), part("take-out-of-service", control.Unreadable)},
	{only("ElasticLoadBalancing.DescribeLoadBalancers"), part("take-out-of-service", control.Unreadable)},
	{only("IAM.GetInstanceProfile"), part("cut-instance-credentials", control.Unreadable)},
	{only("IAM.GetRolePolicy"), part("cut-instance-credentials", control.Unreadable)},
	{only("EC2.DescribeSnapshots"), part("take-snapshots", control.Unreadable)},
	{only("EC2.DescribeAddresses"), less},
	{only("EC2.DescribeRouteTables"), less},
	{only("EC2.GetConsoleOutput"), less},
	{call{name: transact, nth: 1}, unwritten},
	{call{name: "EC2.CreateSecurityGroup", nth: 1}, part("isolate-network", control.Failed)},
	{call{name: "EC2.CreateSecurityGroup", nth: 2}, asFirst},
	// What is urgent is made, and the rest can't be written down.
	{call{name: transact, nth: 2}, threatDenial{told: control.Held, says: "not authorized", dead: true, way: redriven, again: control.Remediated}},
	{call{name: "EC2.RevokeSecurityGroupEgress", nth: 1}, part("isolate-network", control.Failed)},
	{call{name: "EC2.RevokeSecurityGroupEgress", nth: 2}, asFirst},
	{call{name: "EC2.AuthorizeSecurityGroupIngress", nth: 1}, tracked()},
	{call{name: "EC2.AuthorizeSecurityGroupIngress", nth: 2}, asFirst},
	{only("EC2.AuthorizeSecurityGroupEgress"), tracked()},
	{call{name: regroup, nth: 1}, part("isolate-network", control.Failed)},
	{call{name: regroup, nth: 2}, part("isolate-network", control.Failed)},
	{call{name: regroup, nth: 3}, part("isolate-network", control.Failed)},
	{call{name: regroup, nth: 4}, stuck()},
	{call{name: regroup, nth: 5}, stuck()},
	{call{name: regroup, nth: 6}, stuck()},
	// A wide-open group that can't be deleted is closed, and stays.
	{only(deleteGroup), threatDenial{told: control.Remediated}},
	{only("IAM.PutRolePolicy"), part("cut-instance-credentials", control.Failed)},
	{call{name: "EC2.ModifyInstanceAttribute", nth: 1}, part("preserve-instance", control.Failed)},
	{call{name: "EC2.ModifyInstanceAttribute", nth: 2}, asFirst},
	{only("AutoScaling.DetachInstances"), part("take-out-of-service", control.Failed)},
	{only("ElasticLoadBalancingv2.DeregisterTargets"), part("take-out-of-service", control.Failed)},
	{only("ElasticLoadBalancing.DeregisterInstancesFromLoadBalancer"), part("take-out-of-service", control.Failed)},
	{only("EC2.CreateSnapshots"), part("take-snapshots", control.Failed)},
	// It is contained and must be told: the message stays until it is.
	{only(publish), threatDenial{dead: true, way: redriven, again: control.Remediated}},
	// It is contained and told, but the case stays open: the next one closes it.
	{call{name: transact, nth: 3}, threatDenial{told: control.Remediated, dead: true, way: redriven, again: control.Remediated}},
}

func only(name string) call { return call{name, 1, true} }

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
	s.disturbed()
}

// TestQuarantineFaults makes the table of the response function.
func TestQuarantineFaults(t *testing.T) {
	// moto answers one request at a time: two of them share the drills.
	worlds := []*world{newWorld(t, contains), newWorld(t, contains)}
	worlds[0].pathIsKnown(t)
	var jobs []job
	var rows []string
	for _, c := range threatCalls {
		rows = append(rows, c.String())
	}
	for _, f := range slices.Backward(threatFaults) {
		for _, c := range threatCalls {
			w := worlds[len(jobs)%len(worlds)]
			jobs = append(jobs, job{c.String(), f, func(t *testing.T) string { return w.drillThreat(t, c, f) }})
		}
	}
	var names []string
	for _, s := range threatStories {
		names = append(names, s.name)
		jobs = append(jobs, job{"stories", s.name, func(t *testing.T) string { return s.run(worlds[0], t) }})
	}
	results := sideBySide(t, jobs)
	if len(results) < len(jobs) {
		t.Logf("%d of %d drills came to an end: no table", len(results), len(jobs))
		return
	}
	compare(t, "quarantine", faultTable(rows, threatFaults, results))
	compare(t, "quarantine stories", storyTable(names, results))
}

// pathIsKnown compares the calls of an undisturbed function with the rows.
func (w *world) pathIsKnown(t *testing.T) {
	t.Helper()
	s := w.newThreat(t)
	s.disturbed()
	s.send()
	s.contained(s.settle())
	var made, rows []string
	n := map[string]int{}
	for _, name := range s.proxy.Calls() {
		if n[name]++; n[name] == 1 || !(threatCall{call: call{name: name}}).read() {
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
	s.released(false)
}

// drillThreat puts a fault in the way of one finding, follows it to its end and
// releases the instance. It returns what came of it, in words.
func (w *world) drillThreat(t *testing.T, c threatCall, fault string) string {
	if fault == "killed after" && c.read() {
		return "as before"
	}
	lasts := fault == "denied for good"
	if lasts && c.denied.asFirst {
		return "as #1"
	}
	s := w.newThreat(t)
	s.inject(c, fault)
	s.send()
	settle := s.settle
	if fault == "throttled" {
		settle = s.throttled
	}
	end := settle()
	if n := s.count(c.name); n < c.nth {
		t.Fatalf("the fault met nothing: %d calls %s", n, c.name)
	}
	words := s.words(end)
	if lasts {
		s.denied(c.denied, end)
		words += s.lift(c.denied)
	} else {
		s.contained(end)
	}
	s.released(c.name == deleteGroup && (lasts || fault == "throttled"))
	return words
}

// throttled works a message off that meets nothing but throttling at a call, all
// the time that it is handed out first.
func (s *threat) throttled() fate {
	first := s.poll()
	s.clear()
	if len(first.Failed) == 0 {
		return fate{tries: 1}
	}
	end := s.settle()
	end.tries++
	return end
}

// denied checks how things stand while a denial lasts.
func (s *threat) denied(right threatDenial, end fate) {
	s.t.Helper()
	if end.dead != right.dead || !right.dead && end.tries != 1 {
		s.t.Errorf("the message is dead: %t after %d tries, want %t\n%s", end.dead, end.tries, right.dead, s.function.Logs())
	}
	open := s.open()
	if (len(open) > 0) != right.open {
		s.t.Errorf("open: %q, want open %t", open, right.open)
	}
	s.noWideOpen(s.now())
	told, id := s.told(), ""
	if cases := s.cases(); len(cases) > 0 {
		id = cases[0].ID
		if right.told == control.Remediated && right.way == "" || right.told == control.Partial {
			s.closed(cases[0], right.told, right.but)
		}
	}
	if right.told == "" {
		if len(told) > 0 {
			s.t.Errorf("the operators were told %+v", told)
		}
		return
	}
	s.oneStory(told, right.told, id)
	for _, a := range told {
		if !strings.Contains(fmt.Sprintf("%s %s %+v", a.Error, a.Reason, a.Changes), right.says) {
			s.t.Errorf("the alert does not say %q: %+v", right.says, a)
		}
	}
}

// lift ends a denial, has the work go on in the way that is right for it, and
// checks that all is well then. It returns what came of it, in words.
func (s *threat) lift(right threatDenial) string {
	s.t.Helper()
	s.clear()
	before := len(s.told())
	s.goOn(right.way)
	s.quarantined()
	if right.way == "" {
		return ""
	}
	if n := s.used(s.t, ledger.PerThreatAccount, s.account); n != 1 {
		s.t.Errorf("%d changes are counted against threats in the account, want 1", n)
	}
	cases := s.cases()
	if n := len(cases); n > 2 || n == 2 && (right.way != anew || cases[0].State != "") {
		s.t.Errorf("%d cases: %+v", n, cases)
	}
	last := cases[len(cases)-1]
	if right.again != control.Remediated { // nothing was left to do
		s.closed(last, right.again, right.but)
		return fmt.Sprintf("; %s: nothing more", right.way)
	}
	s.closed(last, right.again, nil)
	told := s.told()
	if right.told != control.Remediated { // else it was told of before
		told = told[before:]
	}
	s.oneStory(told, control.Remediated, last.ID)
	return fmt.Sprintf("; %s: %s", right.way, called(right.again))
}

// goOn has the dead message redriven, another finding come, or an operator retry
// the case.
func (s *threat) goOn(way string) {
	s.t.Helper()
	switch way {
	case "":
		return
	case retried:
		if a, err := s.command(engine.Retry, s.cases()[0].ID); err != nil || a.Verdict != engine.Done {
			s.t.Errorf("retry: %s: %s (%v)", a.Verdict, a.Reason, err)
		}
		return
	case redriven:
		must(s.t, s.queue.Redrive(s.t.Context()))
	case anew:
		s.send()
	}
	if end := s.settle(); end.dead || end.tries != 1 {
		s.t.Errorf("without the denial the message is dead: %t after %d tries\n%s", end.dead, end.tries, s.function.Logs())
	}
}

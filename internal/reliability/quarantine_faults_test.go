package reliability_test

import (
	"testing"

	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/pkg/control"
)

// Calls of the path.
const (
	transact    = "DynamoDB.TransactWriteItems"
	regroup     = "EC2.ModifyNetworkInterfaceAttribute" // 1 to 3 into the wide-open group, 4 to 6 into quarantine
	deleteGroup = "EC2.DeleteSecurityGroup"
)

// isolate is the step that cuts off the network.
const isolate = "isolate-network"

// connected is the denial of a call without which the network is not cut off.
func connected(outcome control.Outcome) threatDenial {
	d := part(outcome, isolate)
	d.open = true
	return d
}

// tracked is the denial of a call without which connections that are open
// already can't be ended. The interfaces are isolated without that; a retry finds
// them so, and does not open them to everywhere again.
func tracked() threatDenial {
	d := part(control.Failed, isolate)
	d.says, d.again = "connections that were open may go on", control.Partial
	return d
}

// stuck is the denial of a call without which all interfaces don't get out of
// the wide-open group: so that is closed.
func stuck() threatDenial { return part(control.Failed, isolate) }

// quarantine is the table of the response function: every call that writes or
// tells in the order of the way, and one row for all reads of a name. A call that
// is new in the path fails the test until it is put here.
var quarantine = threatTable{
	name: "quarantine", baseline: contains, stories: quarantineStories,
	make: func(w *world, t *testing.T) *threat { return w.newInstance(t).threat },
	calls: []threatCall{
		{call: only("STS.AssumeRole"), denied: unreadable},
		{call: only("DynamoDB.BatchGetItem"), denied: unwritten},
		{call: only("EC2.DescribeInstances"), denied: unreadable},
		{call: only("EC2.DescribeNetworkInterfaces"), denied: connected(control.Unreadable)},
		{call: only("EC2.DescribeSecurityGroups"), denied: connected(control.Unreadable)},
		{call: only("EC2.DescribeInstanceAttribute"), denied: part(control.Unreadable, "preserve-instance")},
		{call: only("AutoScaling.DescribeAutoScalingInstances"), denied: part(control.Unreadable, "take-out-of-service")},
		{call: only("AutoScaling.DescribeAutoScalingGroups"), denied: part(control.Unreadable, "take-out-of-service")},
		{call: only("ElasticLoadBalancingv2.DescribeTargetGroups"), denied: part(control.Unreadable, "take-out-of-service")},
		{call: only("ElasticLoadBalancingv2.DescribeTargetHealth"), denied: part(control.Unreadable, "take-out-of-service")},
		{call: only("ElasticLoadBalancing.DescribeLoadBalancers"), denied: part(control.Unreadable, "take-out-of-service")},
		{call: only("IAM.GetInstanceProfile"), denied: part(control.Unreadable, "cut-instance-credentials")},
		{call: only("IAM.GetRolePolicy"), denied: part(control.Unreadable, "cut-instance-credentials")},
		{call: only("EC2.DescribeSnapshots"), denied: part(control.Unreadable, "take-snapshots")},
		// The manifest of the evidence lacks a part.
		{call: only("EC2.DescribeAddresses"), denied: threatDenial{told: control.Remediated}},
		{call: only("EC2.DescribeRouteTables"), denied: threatDenial{told: control.Remediated}},
		{call: only("EC2.GetConsoleOutput"), denied: threatDenial{told: control.Remediated}},
		{call: nth(transact, 1), denied: unwritten},
		{call: nth("EC2.CreateSecurityGroup", 1), denied: connected(control.Failed)},
		{call: nth("EC2.CreateSecurityGroup", 2), denied: asFirst},
		// What is urgent is made, and the rest can't be written down.
		{call: nth(transact, 2), denied: threatDenial{told: control.Held, says: "not authorized", dead: true, way: redriven, again: control.Remediated}},
		{call: nth("EC2.RevokeSecurityGroupEgress", 1), denied: connected(control.Failed)},
		{call: nth("EC2.RevokeSecurityGroupEgress", 2), denied: asFirst},
		{call: nth("EC2.AuthorizeSecurityGroupIngress", 1), denied: tracked()},
		{call: nth("EC2.AuthorizeSecurityGroupIngress", 2), denied: asFirst},
		{call: only("EC2.AuthorizeSecurityGroupEgress"), denied: tracked()},
		{call: nth(regroup, 1), denied: connected(control.Failed)},
		{call: nth(regroup, 2), denied: connected(control.Failed)},
		{call: nth(regroup, 3), denied: connected(control.Failed)},
		{call: nth(regroup, 4), denied: stuck()},
		{call: nth(regroup, 5), denied: stuck()},
		{call: nth(regroup, 6), denied: stuck()},
		// A wide-open group that can't be deleted is closed, and stays.
		{call: only(deleteGroup), denied: threatDenial{told: control.Remediated}, stays: func(s *threat, w scene.World) { s.attack.(*instance).forgetGroup(w) }},
		{call: only("IAM.PutRolePolicy"), denied: part(control.Failed, "cut-instance-credentials")},
		{call: nth("EC2.ModifyInstanceAttribute", 1), denied: part(control.Failed, "preserve-instance")},
		{call: nth("EC2.ModifyInstanceAttribute", 2), denied: asFirst},
		{call: only("AutoScaling.DetachInstances"), denied: part(control.Failed, "take-out-of-service")},
		{call: only("ElasticLoadBalancingv2.DeregisterTargets"), denied: part(control.Failed, "take-out-of-service")},
		{call: only("ElasticLoadBalancing.DeregisterInstancesFromLoadBalancer"), denied: part(control.Failed, "take-out-of-service")},
		{call: only("EC2.CreateSnapshots"), denied: part(control.Failed, "take-snapshots")},
		{call: only(publish), denied: untold},
		{call: nth(transact, 3), denied: unclosed},
	},
}

func TestQuarantineFaults(t *testing.T) { quarantine.run(t) }

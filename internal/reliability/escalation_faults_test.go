package reliability_test

import (
	"testing"

	"github.com/snapback-aws/snapback/pkg/control"
)

// Calls of the path.
const (
	getUser  = "IAM.GetUser"                    // 1 to judge, 2 and 3 to plan, 4 to verify
	listKeys = "IAM.ListAccessKeys"             // 1 to judge, 2 to plan, 3 to verify
	attached = "IAM.ListAttachedUserPolicies"   // 1 to judge, 2 to verify
	detach   = "IAM.DetachUserPolicy"           // takes back
	bound    = "IAM.PutUserPermissionsBoundary" // denies
	setKey   = "IAM.UpdateAccessKey"            // makes inactive
)

// unverified is the denial of a call that reads back what a step has made. Nobody
// saw it hold, so the case stays as it ended; a retry finds nothing to do.
func unverified(step string) threatDenial {
	d := part(control.Failed, step)
	d.made, d.says, d.again = true, "can't be read back", control.Partial
	return d
}

// escalations is the table of the identity function: every call, in the order of
// the way. A call that is new in the path fails the test until it is put here.
var escalations = threatTable{
	name: "escalation", baseline: stops, allReads: true, stories: escalationStories,
	make: func(w *world, t *testing.T) *threat { return w.newEscalation(t).threat },
	calls: []threatCall{
		{call: only("STS.AssumeRole"), denied: unreadable},
		{call: only("DynamoDB.BatchGetItem"), denied: unwritten},
		{call: nth(getUser, 1), denied: unreadable},
		{call: nth(attached, 1), denied: unreadable},
		{call: only("IAM.ListUserPolicies"), denied: unreadable},
		{call: only("IAM.ListGroupsForUser"), denied: unreadable},
		{call: nth(listKeys, 1), denied: unreadable},
		{call: only("IAM.GetLoginProfile"), denied: unreadable},
		{call: only("IAM.GetPolicy"), denied: unreadable},
		{call: only("IAM.GetPolicyVersion"), denied: unreadable},
		{call: only("IAM.GetUserPolicy"), denied: unreadable},
		{call: only("IAM.ListAttachedGroupPolicies"), denied: unreadable},
		{call: only("IAM.ListGroupPolicies"), denied: unreadable},
		{call: only("IAM.GetGroupPolicy"), denied: unreadable},
		{call: nth(getUser, 2), denied: part(control.Unreadable, deny, keysOff)},
		{call: nth(getUser, 3), denied: threatDenial{as: 2}},
		{call: nth(listKeys, 2), denied: part(control.Unreadable, keysOff)},
		{call: nth(transact, 1), denied: unwritten},
		{call: only(detach), denied: part(control.Failed, takeBack)},
		{call: nth(attached, 2), denied: unverified(takeBack), verifies: true},
		{call: only(bound), denied: part(control.Failed, deny)},
		{call: nth(getUser, 4), denied: unverified(deny), verifies: true},
		{call: only(setKey), denied: part(control.Failed, keysOff)},
		{call: nth(listKeys, 3), denied: unverified(keysOff), verifies: true},
		{call: only(publish), denied: untold},
		{call: nth(transact, 2), denied: unclosed},
	},
}

func TestEscalationFaults(t *testing.T) { escalations.run(t) }

package control_test

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

// decode returns the event with the detail, from the bus of 222222222222 in
// eu-west-1.
func decode(t *testing.T, source, detailType, detail string) *event.Event {
	t.Helper()
	e, err := event.Decode(fmt.Appendf(nil, `{"id":"x","source":%q,"detail-type":%q,"account":"222222222222",`+
		`"time":"2026-11-22T01:00:00Z","region":"eu-west-1","detail":%s}`, source, detailType, detail))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// call returns a CloudTrail call with further fields.
func call(t *testing.T, source, name, more string) *event.Event {
	t.Helper()
	return decode(t, "aws.sqs", event.CallViaCloudTrail, fmt.Sprintf(`{"eventSource":%q,"eventName":%q,"awsRegion":"eu-west-2",`+
		`"eventTime":"2026-11-22T01:00:00Z","recipientAccountId":"222222222222"%s}`, source, name, more))
}

const orders = `,"requestParameters":{"queueUrl":"orders"}`

// owned is the record's list of resources with one queue.
func owned(owner, arn string) string {
	return fmt.Sprintf(`,"resources":[{"accountId":"999999999999","ARN":"arn:aws:iam::999999999999:role/x"},{"accountId":%q,"ARN":%q}]`, owner, arn)
}

func TestCallConcernsTheTargetsItNames(t *testing.T) {
	queue := control.Target{Account: "222222222222", Region: "eu-west-2", Type: "AWS::SQS::Queue", ID: "orders"}
	another := queue
	another.Account = "333333333333"
	for _, tt := range []struct {
		name string
		e    *event.Event
		want []control.Target
	}{
		{"a trigger", call(t, "sqs.amazonaws.com", "SetQueueAttributes", orders), []control.Target{queue}},
		{"another trigger", call(t, "sqs.amazonaws.com", "AddPermission", orders), []control.Target{queue}},
		{"a call that is no trigger", call(t, "sqs.amazonaws.com", "SendMessage", orders), nil},
		{"a call of the name at another service", call(t, "sns.amazonaws.com", "AddPermission", orders), nil},
		{"a failed call", call(t, "sqs.amazonaws.com", "AddPermission", orders+`,"errorCode":"AccessDenied"`), nil},
		{"a call that only reads", call(t, "sqs.amazonaws.com", "AddPermission", orders+`,"readOnly":true`), nil},
		{"a call that names nothing", call(t, "sqs.amazonaws.com", "AddPermission", ""), nil},
		{"a call that names nothing by an empty text", call(t, "sqs.amazonaws.com", "AddPermission", `,"requestParameters":{"queueUrl":""}`), nil},
		{
			"a resource of the account itself",
			call(t, "sqs.amazonaws.com", "AddPermission", orders+owned("222222222222", "arn:aws:sqs:eu-west-2:222222222222:orders")),
			[]control.Target{queue},
		},
		{
			"a resource of another account",
			call(t, "sqs.amazonaws.com", "AddPermission", orders+owned("333333333333", "arn:aws:sqs:eu-west-2:333333333333:orders")),
			[]control.Target{another},
		},
		{
			"another resource of another account",
			call(t, "sqs.amazonaws.com", "AddPermission", orders+owned("333333333333", "arn:aws:sqs:eu-west-2:333333333333:orders2")),
			[]control.Target{queue},
		},
		{
			"a resource without an owner",
			call(t, "sqs.amazonaws.com", "AddPermission", orders+owned("", "arn:aws:sqs:eu-west-2::orders")),
			[]control.Target{queue},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := queuePolicy()
			if diff := cmp.Diff(tt.want, c.Targets(tt.e)); diff != "" {
				t.Errorf("targets differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTargetOfAnotherAccountIsForeign(t *testing.T) {
	c := queuePolicy()
	e := call(t, "sqs.amazonaws.com", "AddPermission", orders+owned("333333333333", "arn:aws:sqs:eu-west-2:333333333333:orders"))
	want := "The event came from the bus of account 222222222222 but names AWS::SQS::Queue orders in 333333333333 eu-west-2."
	for _, target := range c.Targets(e) {
		if got := target.Foreign(e); got != want {
			t.Errorf("foreign because %q, want %q", got, want)
		}
	}
	own := control.Target{Account: "222222222222"}
	if why := own.Foreign(e); why != "" {
		t.Errorf("a target of the event's own account is foreign: %s", why)
	}
}

func TestTriggerMayNameManyTargets(t *testing.T) {
	c := queuePolicy()
	c.Triggers = append(c.Triggers, control.Trigger{
		Source: "sqs.amazonaws.com", Names: []string{"AddPermission"},
		Targets: func(*event.Call) []control.Target {
			return []control.Target{
				{ID: "orders"}, // as the other trigger found already
				{ID: "bills", Region: "us-east-1", Account: "999999999999", Type: "AWS::SNS::Topic"},
			}
		},
	})
	want := []control.Target{
		{Account: "222222222222", Region: "eu-west-2", Type: "AWS::SQS::Queue", ID: "orders"},
		// Account and type are not the trigger's to choose.
		{Account: "222222222222", Region: "us-east-1", Type: "AWS::SQS::Queue", ID: "bills"},
	}
	if diff := cmp.Diff(want, c.Targets(call(t, "sqs.amazonaws.com", "AddPermission", orders))); diff != "" {
		t.Errorf("targets differ (-want +got):\n%s", diff)
	}
}

func TestConfigEventConcernsResourcesOfTheControlsTypes(t *testing.T) {
	item := func(typ, region string) *event.Event {
		return decode(t, "aws.config", event.ConfigItemChange, fmt.Sprintf(`{"configurationItem":{"awsAccountId":"222222222222",`+
			`"awsRegion":%q,"resourceType":%q,"resourceId":"orders"}}`, region, typ))
	}
	oversized := decode(t, "aws.config", event.ConfigItemChange, `{"configurationItemSummary":{"awsAccountId":"222222222222",`+
		`"awsRegion":"eu-west-2","resourceType":"AWS::SQS::Queue","resourceId":"orders"}}`)
	verdict := func(typ, complianceType string) *event.Event {
		return decode(t, "aws.config", event.ConfigComplianceChange, fmt.Sprintf(`{"awsAccountId":"222222222222","awsRegion":"eu-west-2",`+
			`"resourceType":%q,"resourceId":"orders","newEvaluationResult":{"complianceType":%q}}`, typ, complianceType))
	}
	queue := control.Target{Account: "222222222222", Region: "eu-west-2", Type: "AWS::SQS::Queue", ID: "orders"}
	here := queue
	here.Region = "eu-west-1"
	for _, tt := range []struct {
		name string
		e    *event.Event
		want []control.Target
	}{
		{"its type changed", item("AWS::SQS::Queue", "eu-west-2"), []control.Target{queue}},
		{"its type changed, too large to tell", oversized, []control.Target{queue}},
		{"a further type of the same resource changed", item("AWS::::Account", "eu-west-2"), []control.Target{queue}},
		{"a global resource changed", item("AWS::SQS::Queue", "global"), []control.Target{here}},
		{"another type changed", item("AWS::SNS::Topic", "eu-west-2"), nil},
		{"its type is not compliant", verdict("AWS::SQS::Queue", "NON_COMPLIANT"), []control.Target{queue}},
		{"a further type is not compliant", verdict("AWS::::Account", "NON_COMPLIANT"), []control.Target{queue}},
		{"its type is compliant", verdict("AWS::SQS::Queue", "COMPLIANT"), nil},
		{"another type is not compliant", verdict("AWS::SNS::Topic", "NON_COMPLIANT"), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := queuePolicy()
			c.AlsoTypes = []string{"AWS::::Account"}
			if diff := cmp.Diff(tt.want, c.Targets(tt.e)); diff != "" {
				t.Errorf("targets differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFindingsAndUnknownEventsConcernNoControl(t *testing.T) {
	c := queuePolicy()
	for _, e := range []*event.Event{
		decode(t, "aws.guardduty", event.GuardDutyFinding, `{"accountId":"222222222222","id":"f","type":"Policy:S3/X","region":"eu-west-1"}`),
		decode(t, "com.example.shop", "Order Paid", `{}`),
	} {
		if targets := c.Targets(e); targets != nil {
			t.Errorf("%s concerns %v", e.DetailType, targets)
		}
	}
}

func TestControlKnowsTheARNsOfItsType(t *testing.T) {
	queue := queuePolicy()
	bucket := control.Resource{
		IDs:  regexp.MustCompile(`^[a-z]+$`),
		Type: "AWS::S3::Bucket",
		ARN:  func(t control.Target) string { return "arn:" + cloud.Partition(t.Region) + ":s3:::" + t.ID },
	}
	setting := control.Resource{IDs: regexp.MustCompile(`^$`), ARN: func(t control.Target) string { return "arn:aws:s3::" + t.Account + ":setting" }}
	for _, tt := range []struct {
		c    control.Resource
		arn  string
		want bool
	}{
		{queue.Resource, "arn:aws:sqs:eu-west-1:222222222222:orders", true},
		{queue.Resource, "arn:aws-cn:sqs:cn-north-1:222222222222:orders", true},
		{queue.Resource, "arn:aws:sqs:cn-north-1:222222222222:orders", false},
		{queue.Resource, "arn:aws:sqs:eu-west-1:222222222222:", false},
		{queue.Resource, "arn:aws:sqs:eu-west-1:222222222222:orders*", false},
		{queue.Resource, "arn:aws:sns:eu-west-1:222222222222:orders", false},
		{queue.Resource, "orders", false},
		{queue.Resource, "", false},
		{bucket, "arn:aws:s3:::example", true},
		{bucket, "arn:aws-us-gov:s3:::example", true},
		{bucket, "arn:aws-moon:s3:::example", false},
		{bucket, "arn:aws:s3::222222222222:example", false},
		{setting, "arn:aws:s3::222222222222:setting", true},
		{setting, "arn:aws:s3::222222222222:other", false},
	} {
		if got := tt.c.Names(tt.arn); got != tt.want {
			t.Errorf("%s: known %t, want %t", tt.arn, got, tt.want)
		}
	}
}

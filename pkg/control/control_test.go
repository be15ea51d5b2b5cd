package control_test

import (
	"context"
	"iter"
	"regexp"
	"testing"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

// queuePolicy is a control without a fault. Its functions do nothing.
func queuePolicy() control.Control {
	return control.Control{
		ID:        "sqs-queue-policy",
		Title:     "Queues take messages of their own account alone",
		Rationale: "Whoever may send to a queue starts what reads it.",
		Hazard:    "Another account's sender is refused.",
		Severity:  control.High,
		Resource: control.Resource{
			Type: "AWS::SQS::Queue",
			ARN: func(t control.Target) string {
				return "arn:" + cloud.Partition(t.Region) + ":sqs:" + t.Region + ":" + t.Account + ":" + t.ID
			},
			IDs: regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`),
		},
		Triggers: []control.Trigger{{
			Source: "sqs.amazonaws.com", Names: []string{"SetQueueAttributes", "AddPermission"},
			Targets: control.Named("requestParameters.queueUrl"),
		}},
		List: func(context.Context, *cloud.Session) iter.Seq2[control.Target, error] {
			return func(func(control.Target, error) bool) {}
		},
		Remedy: control.Remedy{
			Name:  "restrict-queue-policy",
			Plan:  func(context.Context, *cloud.Session, control.Target) (*control.Change, error) { return nil, nil },
			Apply: func(context.Context, *cloud.Session, control.Change) error { return nil },
			Undo:  func(context.Context, *cloud.Session, control.Change) error { return nil },
			Permissions: control.Permissions{
				List:  []control.Permission{{Call: "SQS.ListQueues", Action: "sqs:ListQueues", Resource: "*"}},
				Plan:  []control.Permission{{Call: "SQS.GetQueueAttributes", Action: "sqs:GetQueueAttributes", Resource: "*"}},
				Apply: []control.Permission{{Call: "SQS.SetQueueAttributes", Action: "sqs:SetQueueAttributes", Resource: "*"}},
				Undo:  []control.Permission{{Call: "SQS.SetQueueAttributes", Action: "sqs:SetQueueAttributes", Resource: "*"}},
			},
		},
	}
}

func TestDigestTellsChangesApart(t *testing.T) {
	base := control.Change{
		Target: control.Target{Account: "222222222222", Region: "eu-west-1", Type: "AWS::S3::Bucket", ID: "example"},
		Reason: "It is public.", Before: []byte(`{"a":1}`), After: []byte(`{"a":2}`),
	}
	with := func(edit func(*control.Change)) control.Change {
		c := base
		edit(&c)
		return c
	}
	for _, tt := range []struct {
		name   string
		change control.Change
		same   bool
	}{
		{"another reason", with(func(c *control.Change) { c.Reason = "" }), true},
		{"another account", with(func(c *control.Change) { c.Target.Account = "333333333333" }), false},
		{"another Region", with(func(c *control.Change) { c.Target.Region = "eu-west-2" }), false},
		{"another type", with(func(c *control.Change) { c.Target.Type = "AWS::S3::AccessPoint" }), false},
		{"another ID", with(func(c *control.Change) { c.Target.ID = "example2" }), false},
		{"another state before", with(func(c *control.Change) { c.Before = []byte(`{"a":3}`) }), false},
		{"another state after", with(func(c *control.Change) { c.After = []byte(`{"a":3}`) }), false},
		{"the same texts, cut elsewhere", with(func(c *control.Change) {
			c.Before, c.After = []byte(`{"a":1}{`), []byte(`"a":2}`)
		}), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if same := tt.change.Digest() == base.Digest(); same != tt.same {
				t.Errorf("equal digests: %t, want %t", same, tt.same)
			}
		})
	}
	// A digest that was shown for approval must still be that of the change
	// after Snapback was updated.
	if got, want := base.Digest(), "80e9bb83dcaad1bd72dbc7f3e4b5b3c0947c7cebfe6a23ed4db4932bb2b54a24"; got != want {
		t.Errorf("digest is %s, want %s", got, want)
	}
}

func TestMovedErrorShowsAllThreeStates(t *testing.T) {
	err := &control.MovedError{
		Change: control.Change{
			Target: control.Target{Account: "222222222222", Region: "eu-west-1", Type: "AWS::S3::Bucket", ID: "example"},
			Before: []byte("1"), After: []byte("2"),
		},
		Now: []byte("3"),
	}
	want := "AWS::S3::Bucket example in 222222222222 eu-west-1 is not as the change left it: before 1, after 2, now 3"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

func TestOnlyNewsAlerts(t *testing.T) {
	for outcome, want := range map[control.Outcome]bool{
		control.Compliant: false, control.Exempt: false, control.Gone: false, control.Ignored: false,
		control.Denied: false, control.Expired: true, control.Undone: true,
		control.Observed: true, control.AwaitingApproval: true, control.Remediated: true, control.Failed: true,
		control.Held: true, control.Unreadable: true, control.Refused: true,
	} {
		if got := outcome.Alerts(); got != want {
			t.Errorf("%s alerts: %t, want %t", outcome, got, want)
		}
	}
}

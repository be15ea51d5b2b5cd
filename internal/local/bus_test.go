package local

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

const (
	anything = `{"source":["aws.s3"]}`
	hubBus   = "arn:aws:events:us-east-1:" + HubAccount + ":event-bus/snapback"
	farBus   = "arn:aws:events:us-east-1:333333333333:event-bus/default"
)

// rule puts a rule with one target on a bus.
func rule(t *testing.T, c *eventbridge.Client, bus, name, target string) {
	t.Helper()
	if _, err := c.PutRule(t.Context(), &eventbridge.PutRuleInput{Name: &name, EventBusName: &bus, EventPattern: aws.String(anything)}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: &name, EventBusName: &bus, Targets: []types.Target{{Id: aws.String("1"), Arn: &target}}}); err != nil {
		t.Fatal(err)
	}
}

// eventQueue is a queue that rules send to, and what arrived there.
func eventQueue(t *testing.T, c *sqs.Client) (arn string, arrived func() []map[string]any) {
	t.Helper()
	q, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("events")})
	if err != nil {
		t.Fatal(err)
	}
	return "arn:aws:sqs:us-east-1:" + HubAccount + ":events", func() (all []map[string]any) {
		out, err := c.ReceiveMessage(context.Background(), &sqs.ReceiveMessageInput{QueueUrl: q.QueueUrl, MaxNumberOfMessages: 10})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range out.Messages {
			var e map[string]any
			if err := json.Unmarshal([]byte(aws.ToString(m.Body)), &e); err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
		}
		return all
	}
}

func TestAnEventArrivesOnAnotherBusAsItWasSent(t *testing.T) {
	a := startAWS(t)
	far := a.Config(MemberAccount)
	far.Region = "eu-west-1"
	member, hub := eventbridge.NewFromConfig(far), eventbridge.NewFromConfig(a.Config(HubAccount))
	if _, err := hub.CreateEventBus(t.Context(), &eventbridge.CreateEventBusInput{Name: aws.String("snapback")}); err != nil {
		t.Fatal(err)
	}
	queue, arrived := eventQueue(t, sqs.NewFromConfig(a.Config(HubAccount)))
	rule(t, member, "default", "forward", hubBus)
	rule(t, hub, "snapback", "queue", queue)
	rule(t, hub, "snapback", "forward-again", farBus)

	send := func() string {
		out, err := member.PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{
			{Source: aws.String("aws.s3"), DetailType: aws.String("test"), Detail: aws.String(`{"a":1}`)},
		}})
		if err != nil || out.FailedEntryCount > 0 {
			t.Fatal(err, out)
		}
		return aws.ToString(out.Entries[0].EventId)
	}
	id := send()
	got := arrived()
	if len(got) != 1 || got[0]["id"] != id || got[0]["account"] != MemberAccount || got[0]["region"] != "eu-west-1" {
		t.Errorf("arrived: %v, want event %s of account %s and Region eu-west-1", got, id, MemberAccount)
	}

	if _, err := member.DisableRule(t.Context(), &eventbridge.DisableRuleInput{Name: aws.String("forward")}); err != nil {
		t.Fatal(err)
	}
	send()
	if got := arrived(); len(got) != 0 {
		t.Errorf("a rule that is disabled let through: %v", got)
	}
}

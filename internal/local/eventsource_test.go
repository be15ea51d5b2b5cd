package local

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// startQueue returns an event source whose queue holds the bodies, and the
// queue of the messages that failed three times.
func startQueue(t *testing.T, a *AWS, bodies ...string) (s *EventSource, dead string) {
	t.Helper()
	client := sqs.NewFromConfig(a.Config(HubAccount))
	create := func(name string, attributes map[string]string) string {
		q, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
		if err != nil {
			t.Fatal(err)
		}
		return aws.ToString(q.QueueUrl)
	}
	dead = create("dead", nil)
	s = &EventSource{SQS: client, QueueURL: create("storage", map[string]string{
		"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:` + HubAccount + `:dead","maxReceiveCount":"3"}`,
	})}
	for _, body := range bodies {
		_, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{
			QueueUrl: &s.QueueURL, MessageBody: aws.String(body),
			MessageAttributes: map[string]types.MessageAttributeValue{"a": {DataType: aws.String("String"), StringValue: aws.String("b")}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s, dead
}

// failing answers that the messages of the given bodies have failed, and keeps
// what it was asked.
func failing(asked *[]events.SQSMessage, bodies ...string) func(context.Context, []byte) ([]byte, error) {
	return func(_ context.Context, payload []byte) ([]byte, error) {
		var event events.SQSEvent
		if err := json.Unmarshal(payload, &event); err != nil {
			return nil, err
		}
		*asked = append(*asked, event.Records...)
		var response events.SQSEventResponse
		for _, r := range event.Records {
			for _, body := range bodies {
				if r.Body == body {
					response.BatchItemFailures = append(response.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: r.MessageId})
				}
			}
		}
		return json.Marshal(response)
	}
}

func poll(t *testing.T, s *EventSource) Delivery {
	t.Helper()
	d, err := s.Poll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestPollLeavesFailedMessagesUntilTheyAreDead(t *testing.T) {
	s, dead := startQueue(t, startAWS(t), "good", "bad")
	var asked []events.SQSMessage
	s.Invoke = failing(&asked, "bad")

	if d := poll(t, s); len(d.Delivered) != 1 || len(d.Failed) != 1 || d.Err != nil {
		t.Errorf("got %+v, want one message delivered and one failed", d)
	}
	for _, failed := range []int{1, 1, 0} {
		if d := poll(t, s); len(d.Delivered) != 0 || len(d.Failed) != failed {
			t.Errorf("got %+v, want %d failed messages alone", d, failed)
		}
	}
	out, err := s.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &dead})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Messages) != 1 || aws.ToString(out.Messages[0].Body) != "bad" {
		t.Errorf("got %v in the dead-letter queue, want the failed message", out.Messages)
	}

	last := asked[len(asked)-1]
	got := []string{
		last.Attributes["ApproximateReceiveCount"], last.AWSRegion, last.EventSource, last.EventSourceARN,
		aws.ToString(last.MessageAttributes["a"].StringValue),
	}
	if want := []string{"3", Region, "aws:sqs", "arn:aws:sqs:us-east-1:" + HubAccount + ":storage", "b"}; !slices.Equal(got, want) {
		t.Errorf("the function was handed %q, want %q", got, want)
	}
}

func TestPollFailsTheBatchAsAWSWould(t *testing.T) {
	a := startAWS(t)
	for name, c := range map[string]struct {
		result string
		err    error
		want   string // empty: the batch is worked off
	}{
		"nothing":       {result: ``},
		"null":          {result: `null`},
		"no failures":   {result: `{"batchItemFailures":[]}`},
		"other result":  {result: `{"ok":true}`},
		"error":         {err: errors.New("it failed"), want: "it failed"},
		"no object":     {result: `"ok"`, want: "read the function's result"},
		"empty ID":      {result: `{"batchItemFailures":[{"itemIdentifier":""}]}`, want: "not in the batch"},
		"other name":    {result: `{"batchItemFailures":[{"id":"x"}]}`, want: "not in the batch"},
		"other message": {result: `{"batchItemFailures":[{"itemIdentifier":"x"}]}`, want: "not in the batch"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := a.Reset(t.Context()); err != nil {
				t.Fatal(err)
			}
			s, _ := startQueue(t, a, "one", "two")
			s.Invoke = func(context.Context, []byte) ([]byte, error) { return []byte(c.result), c.err }
			d := poll(t, s)
			if c.want == "" {
				if d.Err != nil || len(d.Delivered) != 2 {
					t.Errorf("got %+v, want both messages delivered", d)
				}
				return
			}
			if d.Err == nil || !strings.Contains(d.Err.Error(), c.want) || len(d.Failed) != 2 {
				t.Errorf("got %+v, want both messages failed: %s", d, c.want)
			}
		})
	}
}

func TestPollHandsOverTenAtMost(t *testing.T) {
	s, _ := startQueue(t, startAWS(t), strings.Split("a b c d e f g h i j k l", " ")...)
	var asked []events.SQSMessage
	s.Invoke = failing(&asked)
	for _, want := range []int{10, 2, 0} {
		if d := poll(t, s); len(d.Delivered) != want {
			t.Errorf("got %d messages, want %d", len(d.Delivered), want)
		}
	}
}

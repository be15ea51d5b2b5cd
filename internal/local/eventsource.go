package local

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// EventSource plays the part that AWS's event source mapping has between a
// queue and a function with ReportBatchItemFailures: it hands messages over in
// batches of ten, deletes those that the function worked off and leaves those
// that it reported as failed, or all if the function itself failed. Source:
// Lambda developer guide, "Handling errors for an SQS event source".
//
// A failed message is visible again at once, where AWS waits for the queue's
// visibility timeout; the queue counts the receives and moves a message to its
// dead-letter queue all the same.
type EventSource struct {
	SQS      *sqs.Client
	QueueURL string
	Invoke   func(ctx context.Context, payload []byte) ([]byte, error) // Function.Invoke
}

// Delivery is what came of one batch.
type Delivery struct {
	// Delivered and Failed are IDs of messages; together they are the batch.
	Delivered, Failed []string
	// Err is why the batch failed as a whole.
	Err error
}

// Poll hands over one batch. Without messages the delivery is empty. An error
// is a fault of the queue; the function's own is in the delivery.
func (s *EventSource) Poll(ctx context.Context) (Delivery, error) {
	queue, err := s.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &s.QueueURL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn},
	})
	if err != nil {
		return Delivery{}, fmt.Errorf("read queue %s: %w", s.QueueURL, err)
	}
	received, err := s.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &s.QueueURL, MaxNumberOfMessages: 10,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		MessageAttributeNames:       []string{"All"},
	})
	if err != nil {
		return Delivery{}, fmt.Errorf("receive from queue %s: %w", s.QueueURL, err)
	}
	if len(received.Messages) == 0 {
		return Delivery{}, nil
	}
	failed, invokeErr := s.hand(ctx, received.Messages, queue.Attributes["QueueArn"])
	d := Delivery{Err: invokeErr}
	for _, m := range received.Messages {
		id := aws.ToString(m.MessageId)
		if invokeErr != nil || failed[id] {
			d.Failed = append(d.Failed, id)
			_, err = s.SQS.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
				QueueUrl: &s.QueueURL, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 0,
			})
		} else {
			d.Delivered = append(d.Delivered, id)
			_, err = s.SQS.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &s.QueueURL, ReceiptHandle: m.ReceiptHandle})
		}
		if err != nil {
			return d, fmt.Errorf("give message %s back to queue %s: %w", id, s.QueueURL, err)
		}
	}
	return d, nil
}

// hand invokes the function and returns the IDs that it reported as failed.
func (s *EventSource) hand(ctx context.Context, messages []types.Message, arn string) (map[string]bool, error) {
	var event events.SQSEvent
	batch := map[string]bool{}
	for _, m := range messages {
		event.Records = append(event.Records, record(m, arn))
		batch[aws.ToString(m.MessageId)] = true
	}
	payload, err := json.Marshal(event)
	if err != nil {
		return nil, fmt.Errorf("write the event: %w", err)
	}
	result, err := s.Invoke(ctx, payload)
	if err != nil {
		return nil, err
	}
	// As AWS has it, nothing, null and an empty list are a success, and anything
	// that names no message of the batch fails all of it.
	if len(result) == 0 || string(result) == "null" {
		return nil, nil
	}
	var response events.SQSEventResponse
	if err := json.Unmarshal(result, &response); err != nil {
		return nil, fmt.Errorf("read the function's result %.200s: %w", result, err)
	}
	failed := map[string]bool{}
	for _, f := range response.BatchItemFailures {
		if !batch[f.ItemIdentifier] {
			return nil, fmt.Errorf("the function reported message %q, which is not in the batch", f.ItemIdentifier)
		}
		failed[f.ItemIdentifier] = true
	}
	return failed, nil
}

func record(m types.Message, arn string) events.SQSMessage {
	attributes := map[string]events.SQSMessageAttribute{}
	for name, a := range m.MessageAttributes {
		attributes[name] = events.SQSMessageAttribute{
			StringValue: a.StringValue, BinaryValue: a.BinaryValue, DataType: aws.ToString(a.DataType),
			StringListValues: []string{}, BinaryListValues: [][]byte{},
		}
	}
	r := events.SQSMessage{
		MessageId:         aws.ToString(m.MessageId),
		ReceiptHandle:     aws.ToString(m.ReceiptHandle),
		Body:              aws.ToString(m.Body),
		Md5OfBody:         aws.ToString(m.MD5OfBody),
		Attributes:        m.Attributes,
		MessageAttributes: attributes,
		EventSourceARN:    arn,
		EventSource:       "aws:sqs",
	}
	// arn:aws:sqs:us-east-1:111111111111:queue
	if parts := strings.Split(arn, ":"); len(parts) > 3 {
		r.AWSRegion = parts[3]
	}
	return r
}

package local

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// The accounts of the sample events.
const (
	HubAccount    = "111111111111"
	MemberAccount = "222222222222"
)

// The names of the storage domain's queues, as they are deployed.
const (
	queueName = "snapback-storage"
	deadName  = queueName + "-dead"
)

// Hub is what the deployed hub account holds: the ledger, the topic, the queue
// of the storage domain with its dead-letter queue, and an operator's queue that
// is subscribed to the topic.
type Hub struct {
	Table, Topic string
	QueueURL     string // of the domain's events
	DeadURL      string // of its dead-letter queue

	aws      *AWS
	database aws.Config // the account and endpoint of the ledger
	inbox    string
}

// maxReceives is how often a message is handed out before the queue moves it
// to the dead-letter queue.
const maxReceives = 3

// NewHub makes the hub's resources. The ledger is in moto's DynamoDB, or in db
// if that is given.
func NewHub(ctx context.Context, a *AWS, db *DynamoDB) (*Hub, error) {
	h := &Hub{Table: "snapback", aws: a, database: a.Config(HubAccount)}
	if db != nil {
		h.database.BaseEndpoint = aws.String(db.Endpoint())
	}
	if _, err := dynamodb.NewFromConfig(h.database).CreateTable(ctx, ledger.Schema(h.Table)); err != nil {
		return nil, fmt.Errorf("make the ledger: %w", err)
	}
	topic, err := sns.NewFromConfig(a.Config(HubAccount)).CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("snapback-alerts")})
	if err != nil {
		return nil, fmt.Errorf("make the topic: %w", err)
	}
	h.Topic = aws.ToString(topic.TopicArn)
	if h.DeadURL, err = h.newQueue(ctx, deadName, nil); err != nil {
		return nil, err
	}
	dead, err := h.queueARN(ctx, h.DeadURL)
	if err != nil {
		return nil, err
	}
	redrive := fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"%d"}`, dead, maxReceives)
	if h.QueueURL, err = h.newQueue(ctx, queueName, map[string]string{"RedrivePolicy": redrive}); err != nil {
		return nil, err
	}
	// An alert whose delivery is lost on its way is received again at once, not
	// after the half minute that a queue hides it by default.
	if h.inbox, err = h.newQueue(ctx, "operator", map[string]string{"VisibilityTimeout": "0"}); err != nil {
		return nil, err
	}
	return h, h.subscribe(ctx)
}

func (h *Hub) sqs() *sqs.Client { return sqs.NewFromConfig(h.aws.Config(HubAccount)) }

func (h *Hub) newQueue(ctx context.Context, name string, attributes map[string]string) (string, error) {
	q, err := h.sqs().CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String(name), Attributes: attributes})
	if err != nil {
		return "", fmt.Errorf("make queue %s: %w", name, err)
	}
	return aws.ToString(q.QueueUrl), nil
}

func (h *Hub) queueARN(ctx context.Context, url string) (string, error) {
	out, err := h.sqs().GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: aws.String(url), AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameQueueArn},
	})
	if err != nil {
		return "", fmt.Errorf("read queue %s: %w", url, err)
	}
	return out.Attributes["QueueArn"], nil
}

func (h *Hub) subscribe(ctx context.Context) error {
	arn, err := h.queueARN(ctx, h.inbox)
	if err != nil {
		return err
	}
	if _, err := sns.NewFromConfig(h.aws.Config(HubAccount)).Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: aws.String(h.Topic), Protocol: aws.String("sqs"), Endpoint: aws.String(arn),
	}); err != nil {
		return fmt.Errorf("subscribe the operator's queue: %w", err)
	}
	return nil
}

// Env is the environment of a domain's function in this hub, and with Env of
// the account that of the command line. The baseline is a file's path.
func (h *Hub) Env(ctx context.Context, role, baseline string) ([]string, error) {
	env, err := h.aws.Env(ctx, HubAccount)
	if err != nil {
		return nil, err
	}
	if h.database.BaseEndpoint != nil {
		env = append(env, "AWS_ENDPOINT_URL_DYNAMODB="+aws.ToString(h.database.BaseEndpoint))
	}
	return append(env, "SNAPBACK_TABLE="+h.Table, "SNAPBACK_TOPIC="+h.Topic,
		"SNAPBACK_ROLE="+role, "SNAPBACK_BASELINE="+baseline), nil
}

// EnvVia is Env with every call, those of the ledger too, going to another
// endpoint: that of a Proxy to the hub's AWS and DynamoDB.
func (h *Hub) EnvVia(ctx context.Context, role, baseline, endpoint string) ([]string, error) {
	env, err := h.Env(ctx, role, baseline)
	if err != nil {
		return nil, err
	}
	env = slices.DeleteFunc(env, func(variable string) bool { return strings.HasPrefix(variable, "AWS_ENDPOINT_URL") })
	return append(env, "AWS_ENDPOINT_URL="+endpoint), nil
}

// Ledger opens the hub's ledger.
func (h *Hub) Ledger() *ledger.Ledger { return ledger.New(h.database, h.Table) }

// LedgerVia opens the hub's ledger with requests that go through a client of
// the test's own.
func (h *Hub) LedgerVia(client aws.HTTPClient) *ledger.Ledger {
	cfg := h.database.Copy()
	cfg.HTTPClient = client
	return ledger.New(cfg, h.Table)
}

// Send puts events on the domain's queue, as its EventBridge rule does.
func (h *Hub) Send(ctx context.Context, events ...[]byte) error {
	for _, e := range events {
		if _, err := h.sqs().SendMessage(ctx, &sqs.SendMessageInput{
			QueueUrl: aws.String(h.QueueURL), MessageBody: aws.String(string(e)),
		}); err != nil {
			return fmt.Errorf("send an event: %w", err)
		}
	}
	return nil
}

// Source is the mapping from the domain's queue to a function.
func (h *Hub) Source(f *Function) *EventSource {
	return &EventSource{SQS: h.sqs(), QueueURL: h.QueueURL, Invoke: f.Invoke}
}

// Dead counts the messages in the dead-letter queue.
func (h *Hub) Dead(ctx context.Context) (string, error) {
	out, err := h.sqs().GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl:       aws.String(h.DeadURL),
		AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameApproximateNumberOfMessages},
	})
	if err != nil {
		return "", fmt.Errorf("read the dead-letter queue: %w", err)
	}
	return out.Attributes["ApproximateNumberOfMessages"], nil
}

// Redrive moves all messages of the dead-letter queue back to the domain's
// queue, as SQS's StartMessageMoveTask does, which moto lacks. A message counts
// as one that was never received.
func (h *Hub) Redrive(ctx context.Context) error {
	for {
		out, err := h.sqs().ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: aws.String(h.DeadURL), MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"},
		})
		if err != nil {
			return fmt.Errorf("redrive: receive from the dead-letter queue: %w", err)
		}
		if len(out.Messages) == 0 {
			return nil
		}
		for _, m := range out.Messages {
			if _, err := h.sqs().SendMessage(ctx, &sqs.SendMessageInput{
				QueueUrl: aws.String(h.QueueURL), MessageBody: m.Body, MessageAttributes: m.MessageAttributes,
			}); err != nil {
				return fmt.Errorf("redrive: send a message again: %w", err)
			}
			if _, err := h.sqs().DeleteMessage(ctx, &sqs.DeleteMessageInput{
				QueueUrl: aws.String(h.DeadURL), ReceiptHandle: m.ReceiptHandle,
			}); err != nil {
				return fmt.Errorf("redrive: take a message out of the dead-letter queue: %w", err)
			}
		}
	}
}

// Alert is an alert as it arrived at the operator's queue.
type Alert struct {
	alert.Alert
	Subject    string
	Attributes map[string]string
}

// Alerts takes all alerts out of the operator's queue.
func (h *Hub) Alerts(ctx context.Context) ([]Alert, error) {
	var alerts []Alert
	for {
		out, err := h.sqs().ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String(h.inbox), MaxNumberOfMessages: 10})
		if err != nil {
			return nil, fmt.Errorf("receive alerts: %w", err)
		}
		if len(out.Messages) == 0 {
			return alerts, nil
		}
		for _, m := range out.Messages {
			a, err := readAlert(aws.ToString(m.Body))
			if err != nil {
				return nil, err
			}
			alerts = append(alerts, a)
			if _, err := h.sqs().DeleteMessage(ctx, &sqs.DeleteMessageInput{
				QueueUrl: aws.String(h.inbox), ReceiptHandle: m.ReceiptHandle,
			}); err != nil {
				return nil, fmt.Errorf("take an alert: %w", err)
			}
		}
	}
}

// readAlert unwraps the notification that SNS puts around a message.
func readAlert(body string) (Alert, error) {
	var n struct {
		Subject           string
		Message           string
		MessageAttributes map[string]struct{ Value string }
	}
	a := Alert{Attributes: map[string]string{}}
	if err := json.Unmarshal([]byte(body), &n); err != nil {
		return a, fmt.Errorf("read a notification: %w", err)
	}
	if err := json.Unmarshal([]byte(n.Message), &a.Alert); err != nil {
		return a, fmt.Errorf("read an alert: %w", err)
	}
	a.Subject = n.Subject
	for name, v := range n.MessageAttributes {
		a.Attributes[name] = v.Value
	}
	return a, nil
}

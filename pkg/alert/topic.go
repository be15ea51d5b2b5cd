package alert

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
)

// maxMessage is how many bytes SNS takes in one Publish, attributes included;
// the rest to 256 KiB is room for those. Source: SNS API reference, Publish.
const maxMessage = 250 << 10

// Topic is the SNS topic that operators subscribe to.
type Topic struct {
	sns *sns.Client
	arn string
}

// NewTopic returns the topic of the given ARN.
func NewTopic(cfg aws.Config, arn string) *Topic {
	return &Topic{sns: sns.NewFromConfig(cfg), arn: arn}
}

// Publish sends the alert: as text to e-mail subscribers, as JSON to all
// others, with attributes that filter policies can use.
func (t *Topic) Publish(ctx context.Context, a Alert) error {
	message, err := a.message()
	if err != nil {
		return fmt.Errorf("write alert %s: %w", a.ID, err)
	}
	attributes := map[string]types.MessageAttributeValue{}
	for name, value := range map[string]string{
		"outcome": string(a.Outcome), "severity": string(a.Severity),
		"account": a.Account, "region": a.Region, "control": a.Control,
	} {
		if value != "" { // SNS refuses an empty attribute
			attributes[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(value)}
		}
	}
	if _, err := t.sns.Publish(ctx, &sns.PublishInput{
		TopicArn: aws.String(t.arn), Subject: aws.String(a.Subject()),
		MessageStructure: aws.String("json"), Message: aws.String(message), MessageAttributes: attributes,
	}); err != nil {
		return fmt.Errorf("publish alert %s to %s: %w", a.ID, t.arn, err)
	}
	return nil
}

// message is the SNS message with a body for each kind of subscriber. Where it
// would be too long for SNS, its JSON leaves the changes to the case; the
// e-mail shows them cut in any case.
func (a Alert) message() (string, error) {
	text := a.Text()
	message, err := a.bodies(text)
	if err == nil && len(message) > maxMessage {
		a.Truncated, a.Changes = true, []Change{}
		message, err = a.bodies(text)
	}
	return message, err
}

func (a Alert) bodies(text string) (string, error) {
	body, err := json.Marshal(a)
	if err != nil {
		return "", err
	}
	message, err := json.Marshal(map[string]string{"default": string(body), "email": text})
	return string(message), err
}

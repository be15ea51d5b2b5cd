package alert

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
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

// ARN names the topic.
func (t *Topic) ARN() string { return t.arn }

// Publish sends the alert to a topic, given by its ARN, or to the main one if
// that is empty: as text to e-mail subscribers, as JSON to all others, with
// attributes that filter policies can use.
func (t *Topic) Publish(ctx context.Context, to string, a Alert) error {
	to = cmp.Or(to, t.arn)
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
		TopicArn: aws.String(to), Subject: aws.String(a.Subject()),
		MessageStructure: aws.String("json"), Message: aws.String(message), MessageAttributes: attributes,
	}, InRegion(to)); err != nil {
		return fmt.Errorf("publish alert %s to %s: %w", a.ID, to, err)
	}
	return nil
}

// InRegion lets a client ask the Region of a topic, given by its ARN, which alone
// knows it.
func InRegion(topic string) func(*sns.Options) {
	return func(o *sns.Options) {
		if a, err := arn.Parse(topic); err == nil {
			o.Region = cmp.Or(a.Region, o.Region)
		}
	}
}

// message is the SNS message with a body for each kind of subscriber. Where it
// would be too long for SNS, its JSON leaves the changes to the case and, if
// that is not enough, the ends of its texts; the e-mail is never too long.
func (a Alert) message() (string, error) {
	a.Docs = a.docs()
	text := a.Text()
	body, err := json.Marshal(a)
	if err != nil {
		return "", err
	}
	for _, shorter := range []func(Alert) ([]byte, error){withoutChanges, withoutEnds} {
		message, err := bodies(body, text)
		if err != nil || len(message) <= maxMessage {
			return message, err
		}
		if body, err = shorter(a); err != nil {
			return "", err
		}
	}
	return bodies(body, text)
}

func bodies(body []byte, text string) (string, error) {
	message, err := json.Marshal(map[string]string{"default": string(body), "email": text})
	return string(message), err
}

func withoutChanges(a Alert) ([]byte, error) {
	a.Truncated, a.Changes = true, []Change{}
	return json.Marshal(a)
}

// withoutEnds cuts all texts but the commands, and leaves out the oldest rounds,
// the first findings and most of their addresses and ports: what is left fits
// SNS's limit even if each character is escaped twice.
func withoutEnds(a Alert) ([]byte, error) {
	const rounds, findings, named = 10, 3, 10
	a.Rounds = a.Rounds[max(0, len(a.Rounds)-rounds):]
	a.Findings = slices.Clone(a.Findings[max(0, len(a.Findings)-findings):])
	for i := range a.Findings {
		f := &a.Findings[i]
		f.Remotes, f.Ports = f.Remotes[:min(len(f.Remotes), named)], f.Ports[:min(len(f.Ports), named)]
	}
	commands := a.Commands
	a.Commands = nil
	body, err := withoutChanges(a)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, err
	}
	fields = shortened(fields).(map[string]any)
	fields["commands"] = commands
	return json.Marshal(fields)
}

func shortened(v any) any {
	const longest = 300 // bytes
	switch v := v.(type) {
	case string:
		if len(v) > longest {
			return strings.ToValidUTF8(v[:longest], "") + "…"
		}
	case []any:
		for i := range v {
			v[i] = shortened(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = shortened(v[k])
		}
	}
	return v
}

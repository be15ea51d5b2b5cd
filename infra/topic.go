package main

import (
	"strconv"

	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/jsii-runtime-go"

	"github.com/snapback-aws/snapback/pkg/deployment"
)

// makeTopic makes the main topic of alerts. Alone of all it has a key of our own:
// alerts tell of open doors, and CloudWatch can't publish to a topic that is
// encrypted with the key that AWS manages, whose policy nobody can edit. Source: SNS
// developer guide, "Managing Amazon SNS encryption keys and costs".
func (h *hub) makeTopic() {
	h.makeKey()
	h.topic = awssns.NewCfnTopic(h.stack, jsii.String("Topic"), &awssns.CfnTopicProps{
		TopicName: jsii.String(deployment.Topic), DisplayName: jsii.String("Snapback"), KmsMasterKeyId: h.key.AttrArn(),
	})
	// Functions publish by their roles' policies, which are of the same account.
	awssns.NewCfnTopicPolicy(h.stack, jsii.String("TopicPolicy"), &awssns.CfnTopicPolicyProps{
		Topics: &[]*string{h.topic.Ref()},
		PolicyDocument: policy(
			deployment.Statement{
				Sid: "Alarms", Effect: "Allow", Principal: cloudWatch, Action: []string{"sns:Publish"}, Resource: []string{*h.topic.Ref()},
				Condition: map[string]map[string][]string{
					"StringEquals": {"aws:SourceAccount": {h.place.Account}},
					"ArnLike":      {"aws:SourceArn": {h.arn("cloudwatch", "alarm:"+deployment.Prefix+"-*")}},
				},
			},
			deployment.Statement{
				Sid: "TLS", Effect: "Deny", Principal: "*", Action: []string{"sns:Publish"}, Resource: []string{*h.topic.Ref()},
				Condition: map[string]map[string][]string{"Bool": {"aws:SecureTransport": {"false"}}},
			},
		),
	})
	for i, address := range h.in.baseline.Deployment.Subscribers {
		awssns.NewCfnSubscription(h.stack, jsii.String("Subscriber"+strconv.Itoa(i+1)), &awssns.CfnSubscriptionProps{
			TopicArn: h.topic.Ref(), Protocol: jsii.String("email"), Endpoint: jsii.String(address),
		})
	}
	h.output("TopicArn", "ARN of the main topic of alerts", h.topic.Ref())
}

// cloudWatch is who publishes alarms.
var cloudWatch = map[string]string{"Service": "cloudwatch.amazonaws.com"}

// makeKey makes the topic's key. Functions use it by their roles' policies.
func (h *hub) makeKey() {
	h.key = awskms.NewCfnKey(h.stack, jsii.String("TopicKey"), &awskms.CfnKeyProps{
		Description:       jsii.String("Snapback: alerts on their way through the topic " + deployment.Topic),
		EnableKeyRotation: jsii.Bool(true),
		KeyPolicy: policy(
			deployment.Statement{
				Sid: "Account", Effect: "Allow", Principal: map[string]string{"AWS": "arn:${Partition}:iam::${Account}:root"},
				Action: []string{"kms:*"}, Resource: []string{"*"}, // in a key's policy, that key
			},
			deployment.Statement{
				// Without a condition, as AWS has it (re:Post knowledge center, "How do I configure
				// a CloudWatch alarm with an encrypted SNS topic"): were it one that CloudWatch does
				// not meet, alarms would be lost silently. Who may publish, the topic's policy says.
				Sid: "Alarms", Effect: "Allow", Principal: cloudWatch, Action: []string{"kms:Decrypt", "kms:GenerateDataKey*"},
				Resource: []string{"*"},
			},
		),
	})
	awskms.NewCfnAlias(h.stack, jsii.String("TopicKeyAlias"), &awskms.CfnAliasProps{
		AliasName: jsii.String("alias/" + deployment.Topic), TargetKeyId: h.key.Ref(),
	})
}

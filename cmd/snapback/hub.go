package main

import (
	"cmp"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/deployment"
)

// tableFlag is the flag that names the ledger. With a deployment as it comes
// nobody needs it.
func tableFlag(f *pflag.FlagSet, table *string) {
	f.StringVar(table, "table", cmp.Or(os.Getenv("SNAPBACK_TABLE"), deployment.Table),
		"the ledger's DynamoDB table; SNAPBACK_TABLE sets another default")
}

// topicFlag is the flag that names the topic for alerts; mainTopic is its
// default where it stays empty.
func topicFlag(f *pflag.FlagSet, topic *string) {
	f.StringVar(topic, "topic", os.Getenv("SNAPBACK_TOPIC"),
		"ARN of the SNS topic for alerts (default $SNAPBACK_TOPIC, else "+deployment.Topic+" of the caller's account and Region)")
}

func checkTopic(cmd *cobra.Command, topic string) error {
	if topic != "" && !arn.IsARN(topic) {
		return misuse("%s: --topic %q: want an ARN such as arn:aws:sns:us-east-1:111111111111:%s", name(cmd), topic, deployment.Topic)
	}
	return nil
}

// mainTopic is the ARN of the deployed topic in the caller's account and Region.
func mainTopic(cfg aws.Config, account string) string {
	return arn.ARN{
		Partition: cloud.Partition(cfg.Region), Service: "sns", Region: cfg.Region, AccountID: account, Resource: deployment.Topic,
	}.String()
}

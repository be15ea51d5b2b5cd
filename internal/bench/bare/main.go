// Command bare is a Lambda function that does nothing but hold the AWS clients
// which the storage function holds: what Snapback's own code is measured
// against.
package main

import (
	"context"
	"errors"
	"os"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func main() {
	cfg, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		os.Exit(1)
	}
	lambda.Start(handler{
		s3.NewFromConfig(cfg), s3control.NewFromConfig(cfg), dynamodb.NewFromConfig(cfg), sns.NewFromConfig(cfg),
		organizations.NewFromConfig(cfg), resourcegroupstaggingapi.NewFromConfig(cfg),
		aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), os.Getenv("ROLE"))),
	}.handle)
}

type handler struct {
	s3      *s3.Client
	control *s3control.Client
	db      *dynamodb.Client
	sns     *sns.Client
	org     *organizations.Client
	tags    *resourcegroupstaggingapi.Client
	role    *aws.CredentialsCache
}

// handle makes each call that the storage function can make, so that the
// linker keeps the same code.
func (h handler) handle(ctx context.Context, _ events.SQSEvent) error {
	_, e1 := h.s3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{})
	_, e2 := h.s3.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{})
	_, e3 := h.s3.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{})
	_, e4 := h.s3.ListBuckets(ctx, &s3.ListBucketsInput{})
	_, e5 := h.control.GetPublicAccessBlock(ctx, &s3control.GetPublicAccessBlockInput{})
	_, e6 := h.control.PutPublicAccessBlock(ctx, &s3control.PutPublicAccessBlockInput{})
	_, e7 := h.control.DeletePublicAccessBlock(ctx, &s3control.DeletePublicAccessBlockInput{})
	_, e8 := h.db.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{})
	_, e9 := h.db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{})
	_, e10 := h.db.GetItem(ctx, &dynamodb.GetItemInput{})
	_, e11 := h.sns.Publish(ctx, &sns.PublishInput{})
	_, e12 := h.org.ListParents(ctx, &organizations.ListParentsInput{})
	_, e13 := h.tags.GetResources(ctx, &resourcegroupstaggingapi.GetResourcesInput{})
	_, e14 := h.role.Retrieve(ctx)
	return errors.Join(e1, e2, e3, e4, e5, e6, e7, e8, e9, e10, e11, e12, e13, e14)
}

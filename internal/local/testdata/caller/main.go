// Command caller is a function that makes one call of AWS: it closes the bucket
// that the event names.
package main

import (
	"context"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
)

func main() { lambda.Start(closeBucket) }

func closeBucket(ctx context.Context, bucket string) error {
	cfg, err := cloud.Load(ctx)
	if err != nil {
		return err
	}
	_, err = s3.NewFromConfig(cfg).PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
		Bucket:                         &bucket,
		PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{BlockPublicAcls: aws.Bool(true)},
	})
	return err
}

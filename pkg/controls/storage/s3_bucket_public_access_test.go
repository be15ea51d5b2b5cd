package storage_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/controls/storage"
)

func TestBucketPublicAccessLifecycle(t *testing.T) {
	lifecycle.Run(t, lifecycle.Case{
		Domain: storage.Domain(),
		ID:     "s3-bucket-public-access",
		Test: lifecycle.Test{
			Gone: "example-gone",
			Violations: []lifecycle.Violation{
				{
					Name: "a bucket without a configuration",
					Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
						return makeBucket(ctx, t, cfg, "example-bare", nil)
					},
					State: bucketState,
				},
				{
					Name: "a bucket with two settings off",
					Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
						return makeBucket(ctx, t, cfg, "example-half", &types.PublicAccessBlockConfiguration{
							BlockPublicAcls: aws.Bool(true), IgnorePublicAcls: aws.Bool(true),
							BlockPublicPolicy: aws.Bool(false), RestrictPublicBuckets: aws.Bool(false),
						})
					},
					State: bucketState,
				},
			},
			Request: func(t *testing.T, r *http.Request) {
				if !strings.HasPrefix(r.URL.Path, "/example-") {
					return // ListBuckets names no bucket
				}
				if owner := r.Header.Get("X-Amz-Expected-Bucket-Owner"); owner != local.MemberAccount {
					t.Errorf("%s %s names the expected owner %q, want %s", r.Method, r.URL, owner, local.MemberAccount)
				}
			},
		},
	})
}

// bucket is what a remedy could touch of a bucket.
type bucket struct {
	Block  *types.PublicAccessBlockConfiguration
	Policy string
	Grants int
	Tags   []types.Tag
}

const publicPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::%s/*"}]}`

func makeBucket(ctx context.Context, t *testing.T, cfg aws.Config, name string, block *types.PublicAccessBlockConfiguration) string {
	t.Helper()
	client := s3.NewFromConfig(cfg)
	_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(name)})
	must(t, err)
	_, err = client.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{
		Bucket: aws.String(name), Policy: aws.String(strings.ReplaceAll(publicPolicy, "%s", name)),
	})
	must(t, err)
	_, err = client.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: aws.String(name), Tagging: &types.Tagging{
		TagSet: []types.Tag{{Key: aws.String("team"), Value: aws.String("reports")}},
	}})
	must(t, err)
	if block != nil {
		_, err = client.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{Bucket: aws.String(name), PublicAccessBlockConfiguration: block})
		must(t, err)
	}
	return name
}

func bucketState(ctx context.Context, t *testing.T, cfg aws.Config, name string) any {
	t.Helper()
	client := s3.NewFromConfig(cfg)
	var b bucket
	block, err := client.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: aws.String(name)})
	if err == nil {
		b.Block = block.PublicAccessBlockConfiguration
	} else if !cloud.Is(err, "NoSuchPublicAccessBlockConfiguration") {
		t.Fatal(err)
	}
	policy, err := client.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: aws.String(name)})
	must(t, err)
	b.Policy = aws.ToString(policy.Policy)
	acl, err := client.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: aws.String(name)})
	must(t, err)
	b.Grants = len(acl.Grants)
	tags, err := client.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: aws.String(name)})
	must(t, err)
	b.Tags = tags.TagSet
	return lifecycle.Comparable(b)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

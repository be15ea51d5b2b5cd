package storage_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/controls/storage"
)

func TestAccountPublicAccessLifecycle(t *testing.T) {
	lifecycle.Run(t, lifecycle.Case{
		Domain: storage.Domain(),
		ID:     "s3-account-public-access",
		Test: lifecycle.Test{Violations: []lifecycle.Violation{
			{
				Name:  "an account without a configuration",
				Make:  func(context.Context, *testing.T, aws.Config) string { return local.MemberAccount },
				State: accountState,
			},
			{
				Name: "an account with one setting off",
				Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
					_, err := s3control.NewFromConfig(cfg).PutPublicAccessBlock(ctx, &s3control.PutPublicAccessBlockInput{
						AccountId: aws.String(local.MemberAccount),
						PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
							BlockPublicAcls: aws.Bool(true), IgnorePublicAcls: aws.Bool(true),
							BlockPublicPolicy: aws.Bool(true), RestrictPublicBuckets: aws.Bool(false),
						},
					})
					must(t, err)
					return local.MemberAccount
				},
				State: accountState,
			},
		}},
	})
}

func accountState(ctx context.Context, t *testing.T, cfg aws.Config, _ string) any {
	t.Helper()
	out, err := s3control.NewFromConfig(cfg).GetPublicAccessBlock(ctx, &s3control.GetPublicAccessBlockInput{
		AccountId: aws.String(local.MemberAccount),
	})
	if cloud.Is(err, "NoSuchPublicAccessBlockConfiguration") {
		return nil
	}
	must(t, err)
	return lifecycle.Comparable(out.PublicAccessBlockConfiguration)
}

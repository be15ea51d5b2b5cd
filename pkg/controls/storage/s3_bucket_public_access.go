package storage

import (
	"context"
	"fmt"
	"iter"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

func s3BucketPublicAccess() control.Control {
	bucket := "arn:${Partition}:s3:::*"
	read := control.Permission{Call: "S3.GetPublicAccessBlock", Action: "s3:GetBucketPublicAccessBlock", Resource: bucket}
	put := control.Permission{Call: "S3.PutPublicAccessBlock", Action: "s3:PutBucketPublicAccessBlock", Resource: bucket}
	// There is no IAM action of its own for the deletion (S3 API reference, DeletePublicAccessBlock).
	remove := control.Permission{Call: "S3.DeletePublicAccessBlock", Action: "s3:PutBucketPublicAccessBlock", Resource: bucket}
	named := control.Named("requestParameters.bucketName")
	return control.Control{
		ID:    "s3-bucket-public-access",
		Title: "S3 buckets block all public access",
		Rationale: "A bucket whose Block Public Access is off is one policy or ACL away from being read, or written, " +
			"by anyone on the internet.",
		Hazard: "A website or download served straight from the bucket stops, and so does access by other accounts " +
			"that a policy with a wildcard principal gives.",
		Severity: control.High,
		Standards: control.Standards{
			SecurityHub: []string{"S3.8", "S3.2", "S3.3"},
			CIS:         []string{"v5.0.0/2.1.4", "v3.0.0/2.1.4", "v1.4.0/2.1.5"},
			ConfigRules: []string{
				"s3-bucket-level-public-access-prohibited", "s3-bucket-public-read-prohibited", "s3-bucket-public-write-prohibited",
			},
		},
		Resource: control.Resource{
			Type: "AWS::S3::Bucket",
			ARN: func(t control.Target) string {
				return "arn:" + cloud.Partition(t.Region) + ":s3:::" + t.ID
			},
			IDs: bucketName,
		},
		// Besides the calls that switch the block itself: those that make a bucket
		// public where the block is off, since it may have been off before
		// Snapback came. Deleting a policy can, too: it may have held the denial.
		// CloudTrail's names for the block's calls have "Bucket" in them, the API's
		// have not; both are listed, since a name that never comes costs nothing.
		Triggers: []control.Trigger{
			{Source: "s3.amazonaws.com", Names: []string{"CreateBucket"}, Targets: createdBucket},
			{Source: "s3.amazonaws.com", Targets: named, Names: []string{
				"PutBucketPublicAccessBlock", "DeleteBucketPublicAccessBlock", "PutPublicAccessBlock", "DeletePublicAccessBlock",
				"PutBucketPolicy", "DeleteBucketPolicy", "PutBucketAcl",
				"PutBucketOwnershipControls", "DeleteBucketOwnershipControls", "PutBucketWebsite",
			}},
		},
		List: listBuckets,
		Remedy: control.Remedy{
			Name:  "block-bucket-public-access",
			Plan:  planBucket,
			Apply: applyBucket,
			Undo:  undoBucket,
			Permissions: control.Permissions{
				List:  []control.Permission{{Call: "S3.ListBuckets", Action: "s3:ListAllMyBuckets", Resource: "*"}},
				Plan:  []control.Permission{read},
				Apply: []control.Permission{put},
				Undo:  []control.Permission{read, put, remove},
			},
		},
	}
}

// bucketName is looser than today's rule: buckets of us-east-1 from before
// March 2018 may have capitals, underscores and 255 characters (S3 user guide,
// "General purpose bucket naming rules").
var bucketName = regexp.MustCompile(`^[A-Za-z0-9._-]{3,255}$`)

// createdBucket names the bucket in the Region it was created in, which need
// not be the Region that the request went to. "EU" is the old name of eu-west-1
// (S3 API reference, CreateBucketConfiguration).
func createdBucket(call *event.Call) []control.Target {
	targets := control.Named("requestParameters.bucketName")(call)
	region := call.Get("requestParameters.CreateBucketConfiguration.LocationConstraint").String()
	if region == "EU" {
		region = "eu-west-1"
	}
	for i := range targets {
		targets[i].Region = region
	}
	return targets
}

func listBuckets(ctx context.Context, session *cloud.Session) iter.Seq2[control.Target, error] {
	return func(yield func(control.Target, error) bool) {
		pages := s3.NewListBucketsPaginator(s3Client(session), &s3.ListBucketsInput{
			BucketRegion: aws.String(session.Region), MaxBuckets: aws.Int32(1000),
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(control.Target{}, fmt.Errorf("list buckets of %s in %s: %w", session.Account, session.Region, err))
				return
			}
			for _, b := range page.Buckets {
				if !yield(control.Target{
					Account: session.Account, Region: session.Region, Type: "AWS::S3::Bucket", ID: aws.ToString(b.Name),
				}, nil) {
					return
				}
			}
		}
	}
}

func planBucket(ctx context.Context, session *cloud.Session, t control.Target) (*control.Change, error) {
	now, err := readBucket(ctx, session, t)
	if err != nil {
		return nil, err
	}
	return now.plan(t, "bucket "+t.ID)
}

func applyBucket(ctx context.Context, session *cloud.Session, c control.Change) error {
	return restore(c.After, bucketWriter(ctx, session, c.Target))
}

func undoBucket(ctx context.Context, session *cloud.Session, c control.Change) error {
	now, err := readBucket(ctx, session, c.Target)
	if err != nil {
		return err
	}
	return undo(c, now, bucketWriter(ctx, session, c.Target))
}

func s3Client(session *cloud.Session) *s3.Client {
	return cloud.Client(session, func(cfg aws.Config) *s3.Client { return s3.NewFromConfig(cfg) })
}

// readBucket reads the bucket's block; nil if it has none. Every call names the
// expected owner, so that S3 itself refuses a bucket of another account.
func readBucket(ctx context.Context, session *cloud.Session, t control.Target) (*publicAccessBlock, error) {
	out, err := s3Client(session).GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{
		Bucket: aws.String(t.ID), ExpectedBucketOwner: aws.String(t.Account),
	})
	switch {
	case cloud.Is(err, "NoSuchPublicAccessBlockConfiguration"):
		return nil, nil
	case err != nil:
		return nil, bucketError("get public access block of", t, err)
	}
	c := out.PublicAccessBlockConfiguration
	if c == nil {
		return nil, nil
	}
	return &publicAccessBlock{
		BlockPublicAcls:       aws.ToBool(c.BlockPublicAcls),
		IgnorePublicAcls:      aws.ToBool(c.IgnorePublicAcls),
		BlockPublicPolicy:     aws.ToBool(c.BlockPublicPolicy),
		RestrictPublicBuckets: aws.ToBool(c.RestrictPublicBuckets),
	}, nil
}

func bucketWriter(ctx context.Context, session *cloud.Session, t control.Target) writer {
	return writer{
		put: func(b publicAccessBlock) error {
			_, err := s3Client(session).PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
				Bucket: aws.String(t.ID), ExpectedBucketOwner: aws.String(t.Account),
				PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
					BlockPublicAcls:       aws.Bool(b.BlockPublicAcls),
					IgnorePublicAcls:      aws.Bool(b.IgnorePublicAcls),
					BlockPublicPolicy:     aws.Bool(b.BlockPublicPolicy),
					RestrictPublicBuckets: aws.Bool(b.RestrictPublicBuckets),
				},
			})
			return bucketError("put public access block of", t, err)
		},
		remove: func() error {
			_, err := s3Client(session).DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{
				Bucket: aws.String(t.ID), ExpectedBucketOwner: aws.String(t.Account),
			})
			return bucketError("delete public access block of", t, err)
		},
	}
}

// bucketError says what was attempted; a bucket that does not exist is gone.
func bucketError(attempt string, t control.Target, err error) error {
	switch {
	case err == nil:
		return nil
	case cloud.Is(err, "NoSuchBucket"):
		return fmt.Errorf("%s bucket %s: %w", attempt, t.ID, control.ErrGone)
	}
	return fmt.Errorf("%s bucket %s: %w", attempt, t.ID, err)
}

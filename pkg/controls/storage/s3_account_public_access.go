package storage

import (
	"context"
	"fmt"
	"iter"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

// accountPublicAccessBlock is the type under which AWS Config records the
// setting; its ID is the account number.
const accountPublicAccessBlock = "AWS::S3::AccountPublicAccessBlock"

func s3AccountPublicAccess() control.Control {
	// IAM knows no resource for these actions (service authorization reference, Amazon S3).
	read := control.Permission{Call: "S3Control.GetPublicAccessBlock", Action: "s3:GetAccountPublicAccessBlock", Resource: "*"}
	put := control.Permission{Call: "S3Control.PutPublicAccessBlock", Action: "s3:PutAccountPublicAccessBlock", Resource: "*"}
	remove := control.Permission{Call: "S3Control.DeletePublicAccessBlock", Action: "s3:PutAccountPublicAccessBlock", Resource: "*"}
	return control.Control{
		ID:    "s3-account-public-access",
		Title: "Accounts block all public access to their S3 buckets",
		Rationale: "The account's Block Public Access holds for every bucket in it, in every Region, whatever a single " +
			"bucket's own settings say.",
		Hazard: "Every website and download served straight from any bucket of the account stops. If an S3 policy of " +
			"AWS Organizations manages the setting, S3 refuses the change: then change the policy.",
		Severity: control.High,
		Standards: control.Standards{
			SecurityHub: []string{"S3.1"},
			CIS:         []string{"v5.0.0/2.1.4", "v3.0.0/2.1.4", "v1.4.0/2.1.5"},
			ConfigRules: []string{"s3-account-level-public-access-blocks-periodic", "s3-account-level-public-access-blocks"},
		},
		Resource: control.Resource{
			Type: accountPublicAccessBlock,
			ARN: func(t control.Target) string {
				return "arn:" + cloud.Partition(t.Region) + ":s3::" + t.ID + ":account"
			},
			Sample:   "111122223333",
			IDs:      regexp.MustCompile(`^[0-9]{12}$`),
			Untagged: true,
		},
		// The periodic rule, which is Security Hub's S3.1, reports on the account.
		AlsoTypes: []string{"AWS::::Account"},
		Triggers: []control.Trigger{{
			Source: "s3.amazonaws.com",
			Names:  []string{"PutAccountPublicAccessBlock", "DeleteAccountPublicAccessBlock"},
			Targets: func(call *event.Call) []control.Target {
				return []control.Target{{ID: call.Account}}
			},
		}},
		List: func(_ context.Context, session *cloud.Session) iter.Seq2[control.Target, error] {
			return func(yield func(control.Target, error) bool) {
				yield(control.Target{
					Account: session.Account, Region: session.Region, Type: accountPublicAccessBlock, ID: session.Account,
				}, nil)
			}
		},
		Remedy: control.Remedy{
			Name:  "block-account-public-access",
			Plan:  planAccount,
			Apply: applyAccount,
			Undo:  undoAccount,
			Permissions: control.Permissions{
				Plan:  []control.Permission{read},
				Apply: []control.Permission{put},
				Undo:  []control.Permission{read, put, remove},
			},
		},
	}
}

func planAccount(ctx context.Context, session *cloud.Session, t control.Target) (*control.Change, error) {
	now, err := readAccount(ctx, session, t)
	if err != nil {
		return nil, err
	}
	return now.plan(t, "account "+t.ID)
}

func applyAccount(ctx context.Context, session *cloud.Session, c control.Change) error {
	return restore(c.After, accountWriter(ctx, session, c.Target))
}

func undoAccount(ctx context.Context, session *cloud.Session, c control.Change) error {
	now, err := readAccount(ctx, session, c.Target)
	if err != nil {
		return err
	}
	return undo(c, now, accountWriter(ctx, session, c.Target))
}

func s3ControlClient(session *cloud.Session) *s3control.Client {
	return cloud.Client(session, func(cfg aws.Config) *s3control.Client { return s3control.NewFromConfig(cfg) })
}

// readAccount reads the account's block; nil if it has none.
func readAccount(ctx context.Context, session *cloud.Session, t control.Target) (*publicAccessBlock, error) {
	out, err := s3ControlClient(session).GetPublicAccessBlock(ctx, &s3control.GetPublicAccessBlockInput{
		AccountId: aws.String(t.ID),
	})
	switch {
	case cloud.Is(err, "NoSuchPublicAccessBlockConfiguration"):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("get public access block of account %s: %w", t.ID, err)
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

func accountWriter(ctx context.Context, session *cloud.Session, t control.Target) writer {
	return writer{
		put: func(b publicAccessBlock) error {
			_, err := s3ControlClient(session).PutPublicAccessBlock(ctx, &s3control.PutPublicAccessBlockInput{
				AccountId: aws.String(t.ID),
				PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
					BlockPublicAcls:       aws.Bool(b.BlockPublicAcls),
					IgnorePublicAcls:      aws.Bool(b.IgnorePublicAcls),
					BlockPublicPolicy:     aws.Bool(b.BlockPublicPolicy),
					RestrictPublicBuckets: aws.Bool(b.RestrictPublicBuckets),
				},
			})
			if err != nil {
				return fmt.Errorf("put public access block of account %s: %w", t.ID, err)
			}
			return nil
		},
		remove: func() error {
			_, err := s3ControlClient(session).DeletePublicAccessBlock(ctx, &s3control.DeletePublicAccessBlockInput{
				AccountId: aws.String(t.ID),
			})
			if err != nil {
				return fmt.Errorf("delete public access block of account %s: %w", t.ID, err)
			}
			return nil
		},
	}
}

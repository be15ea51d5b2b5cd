package local

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/s3control/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/snapback-aws/snapback/pkg/cloud"
)

func startAWS(t *testing.T) *AWS {
	t.Helper()
	a, err := StartAWS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func TestConfigActsInItsAccountEvenAfterReset(t *testing.T) {
	a := startAWS(t)
	hubBuckets, memberBuckets := s3.NewFromConfig(a.Config(HubAccount)), s3.NewFromConfig(a.Config(MemberAccount))
	for range 2 {
		for _, account := range []string{HubAccount, MemberAccount} {
			who, err := sts.NewFromConfig(a.Config(account)).GetCallerIdentity(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if aws.ToString(who.Account) != account {
				t.Errorf("got account %s, want %s", aws.ToString(who.Account), account)
			}
		}
		if _, err := memberBuckets.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("example")}); err != nil {
			t.Fatal(err)
		}
		if n := buckets(t, memberBuckets); n != 1 {
			t.Errorf("got %d buckets in the member account, want 1", n)
		}
		if n := buckets(t, hubBuckets); n != 0 {
			t.Errorf("got %d buckets in the hub account, want none", n)
		}
		if err := a.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := buckets(t, memberBuckets); n != 0 {
			t.Errorf("got %d buckets after the reset, want none", n)
		}
	}
}

func buckets(t *testing.T, c *s3.Client) int {
	t.Helper()
	out, err := c.ListBuckets(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return len(out.Buckets)
}

// TestS3ControlWorks: its client puts the account's number before the host.
func TestS3ControlWorks(t *testing.T) {
	a := startAWS(t)
	c := s3control.NewFromConfig(a.Config(MemberAccount))
	_, err := c.GetPublicAccessBlock(t.Context(), &s3control.GetPublicAccessBlockInput{AccountId: aws.String(MemberAccount)})
	if !cloud.Is(err, "NoSuchPublicAccessBlockConfiguration") {
		t.Fatalf("got error %v, want that there is no configuration", err)
	}
	_, err = c.PutPublicAccessBlock(t.Context(), &s3control.PutPublicAccessBlockInput{
		AccountId:                      aws.String(MemberAccount),
		PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{BlockPublicAcls: aws.Bool(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.GetPublicAccessBlock(t.Context(), &s3control.GetPublicAccessBlockInput{AccountId: aws.String(MemberAccount)})
	if err != nil {
		t.Fatal(err)
	}
	if !aws.ToBool(got.PublicAccessBlockConfiguration.BlockPublicAcls) {
		t.Error("the configuration that was put is not there")
	}
}

func TestCloseEndsTheServer(t *testing.T) {
	a := startAWS(t)
	pids := append(descendants(a.process.pid), a.process.pid)
	a.Close()
	waitGone(t, pids...)
	a.Close() // again
}

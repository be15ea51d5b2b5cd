package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/controls/storage"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/facts"
)

// late delays every answer, so that calls made side by side overlap for certain
// and serial round trips can be counted.
type late struct{ aws.HTTPClient }

func (l late) Do(r *http.Request) (*http.Response, error) {
	<-time.After(40 * time.Millisecond)
	return l.HTTPClient.Do(r)
}

const enforced = `version: 1
reviewed: %s
organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1]}
mode: enforce
`

// trips counts the AWS calls and serial round trips of the way of an event.
func trips(ctx context.Context, _ string) error {
	server, err := local.StartAWS(ctx)
	if err != nil {
		return err
	}
	defer server.Close()
	hub, err := local.NewHub(ctx, server, nil)
	if err != nil {
		return err
	}
	e, err := newEngine(server, hub)
	if err != nil {
		return err
	}
	member := s3.NewFromConfig(server.Config(local.MemberAccount))
	for _, bucket := range []string{"example-reports", "example-others"} {
		if _, err := member.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
			return err
		}
	}
	fmt.Println("way of an event: AWS calls and serial round trips")
	fmt.Printf("  %-22s %-12s %6s %11s %12s\n", "event", "outcome", "calls", "contained", "to the end")
	const deleted = "cloudtrail/s3-delete-bucket-public-access-block"
	for _, scene := range []struct{ name, event, bucket string }{
		{"violation, cold", deleted, "example-reports"},
		{"violation, warm", deleted, "example-others"},
		{"compliant, warm", deleted, "example-others"},
		{"failed call", "cloudtrail/s3-put-bucket-public-access-block-failed", ""},
		{"read-only call", "cloudtrail/s3-get-bucket-acl", ""},
		{"unknown source", "other/unknown-source", ""},
	} {
		if err := play(ctx, e, scene.name, scene.event, scene.bucket); err != nil {
			return err
		}
	}
	fmt.Println("  goals: contained in 4 cold and 3 warm (read, open, change); compliant: the reads alone; the rest: none")
	fmt.Println()
	return nil
}

// play handles a sample event, as if it were of the bucket.
func play(ctx context.Context, e *engine.Engine, name, sample, bucket string) error {
	data, err := os.ReadFile(filepath.Join(local.Root(), "events", sample+".json"))
	if err != nil {
		return err
	}
	if bucket != "" {
		data = bytes.ReplaceAll(data, []byte("example-reports"), []byte(bucket))
	}
	ev, err := event.Decode(data)
	if err != nil {
		return err
	}
	for _, r := range e.Handle(ctx, ev) {
		contained := "-"
		if !r.Contained.IsZero() {
			contained = fmt.Sprint(r.ContainedTrips())
		}
		fmt.Printf("  %-22s %-12s %6d %11s %12d   %s\n", name, r.Outcome, len(r.Calls), contained, cloud.RoundTrips(r.Trace), strings.Join(r.Calls, " "))
	}
	return nil
}

func newEngine(server *local.AWS, hub *local.Hub) (*engine.Engine, error) {
	domain := storage.Domain()
	text := fmt.Sprintf(enforced, time.Now().UTC().Format(time.DateOnly))
	b, problems := baseline.Parse("baseline.yaml", []byte(text), domain.Controls, time.Now())
	if b == nil {
		return nil, problems
	}
	cfg := server.Config(local.HubAccount)
	cfg.HTTPClient = late{cfg.HTTPClient}
	return &engine.Engine{
		Controls: domain.Controls, Baseline: b, Sessions: cloud.NewSessions(cfg, "snapback-storage", "storage"),
		Facts: facts.New(cfg), Ledger: hub.LedgerVia(cfg.HTTPClient), Alerts: alert.NewTopic(cfg, hub.Topic),
	}, nil
}

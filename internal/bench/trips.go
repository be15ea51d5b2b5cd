package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/storage"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/facts"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// late delays every answer, so that calls made side by side overlap for certain
// and serial round trips can be counted. It keeps the times of all requests.
type late struct {
	aws.HTTPClient
	delay time.Duration

	mu   sync.Mutex
	sent []cloud.Call
}

// Do sends a request.
func (l *late) Do(r *http.Request) (*http.Response, error) {
	call := cloud.Call{Attempts: 1, Start: time.Now()}
	<-time.After(l.delay)
	response, err := l.HTTPClient.Do(r)
	call.End = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, call)
	return response, err
}

const (
	enforced = `version: 1
reviewed: %s
organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1]}
mode: enforce
`
	deleted = "cloudtrail/s3-delete-bucket-public-access-block"
)

// stage is an engine in a hub on moto, with a member account.
type stage struct {
	hub    *local.Hub
	member *s3.Client
	late   *late
	engine *engine.Engine
}

// turn is one row of the table: an event, or a command about the latest case
// of the bucket, after something else was done.
type turn struct {
	name   string
	before func(context.Context, *stage, string) error // nil: nothing
	sample string                                      // the event; empty: the command approve
	bucket string
}

// turns build on each other: the first one is cold, the limit is used up by
// those before.
var turns = []turn{
	{"violation, cold", open, deleted, "example-reports"},
	{"violation, warm", open, deleted, "example-others"},
	{"violation, at once again", reopen, deleted, "example-others"},
	{"tug of war", reopen, deleted, "example-others"},
	{"tug of war, goes on", nil, deleted, "example-others"},
	{"compliant", nil, deleted, "example-reports"},
	{"awaiting approval", with("mode: approve", open), deleted, "example-approved"},
	{"the same again", nil, deleted, "example-approved"},
	{"approved", nil, "", "example-approved"},
	{"exempt by command", with("mode: enforce", exempt), deleted, "example-exempt"},
	{"stopped", stop(true), deleted, "example-stopped"},
	{"stopped, the same again", nil, deleted, "example-stopped"},
	{"held by a limit", with("limits: {changes-per-account-per-hour: 1}", stop(false)), deleted, "example-stopped"},
	{"held, the same again", nil, deleted, "example-stopped"},
	{"held, another bucket", open, deleted, "example-held"},
	{"failed call", nil, "cloudtrail/s3-put-bucket-public-access-block-failed", ""},
	{"read-only call", nil, "cloudtrail/s3-get-bucket-acl", ""},
	{"unknown source", nil, "other/unknown-source", ""},
}

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
	s, err := newStage(server, hub)
	if err != nil {
		return err
	}
	fmt.Println("way of an event: AWS calls and serial round trips, to where the violation is contained and to the end")
	fmt.Printf("  %-26s %-18s %6s %11s %12s\n", "event", "outcome", "calls", "contained", "to the end")
	for _, turn := range turns {
		if turn.before != nil {
			if err := turn.before(ctx, s, turn.bucket); err != nil {
				return fmt.Errorf("%s: %w", turn.name, err)
			}
		}
		play := s.event
		if turn.sample == "" {
			play = s.approve
		}
		if err := play(ctx, turn); err != nil {
			return fmt.Errorf("%s: %w", turn.name, err)
		}
	}
	fmt.Println("  goals: contained in 4 cold and 3 warm (read, open, change), one more where another worker was there in the")
	fmt.Println("  last 30 s (plan anew) and for a command (read the case); nothing to do or known already: the reads alone; the")
	fmt.Println("  rest: none. Besides, a command costs one call to STS that proves who gives it.")
	fmt.Println()
	return nil
}

// open makes a bucket without a public access block.
func open(ctx context.Context, s *stage, bucket string) error {
	_, err := s.member.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)})
	return err
}

// reopen takes the block away that was put on the bucket.
func reopen(ctx context.Context, s *stage, bucket string) error {
	_, err := s.member.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: aws.String(bucket)})
	return err
}

func exempt(ctx context.Context, s *stage, bucket string) error {
	_, err := s.hub.Ledger().Exempt(ctx, &ledger.Exemption{
		Control: "s3-bucket-public-access", Resource: "arn:aws:s3:::" + bucket, Reason: "website", Owner: "web@example.com",
		Created: time.Now(), Until: time.Now().Add(time.Hour), By: operator,
	})
	return errors.Join(err, open(ctx, s, bucket))
}

// stop turns the organization's kill switch, and makes the bucket that is to be
// left alone.
func stop(on bool) func(context.Context, *stage, string) error {
	return func(ctx context.Context, s *stage, bucket string) error {
		err := s.hub.Ledger().Switch(ctx, ledger.Stop{Scope: ledger.Organization, On: on, Why: "bench", By: operator, At: time.Now()})
		if on {
			err = errors.Join(err, open(ctx, s, bucket))
		}
		return err
	}
}

// with does something under another baseline; the sessions stay warm.
func with(line string, do func(context.Context, *stage, string) error) func(context.Context, *stage, string) error {
	return func(ctx context.Context, s *stage, bucket string) error {
		b, err := parse(line)
		if err != nil {
			return err
		}
		s.engine.Baseline = b
		return do(ctx, s, bucket)
	}
}

// operator gives the commands.
var operator = ledger.Caller{ARN: "arn:aws:sts::111111111111:assumed-role/operators/bob", Account: local.HubAccount}

// event handles a sample event, as if it were of the turn's bucket.
func (s *stage) event(ctx context.Context, of turn) error {
	data, err := os.ReadFile(filepath.Join(local.Root(), "events", of.sample+".json"))
	if err != nil {
		return err
	}
	if of.bucket != "" {
		data = bytes.ReplaceAll(data, []byte("example-reports"), []byte(of.bucket))
	}
	ev, err := event.Decode(data)
	if err != nil {
		return err
	}
	for _, r := range s.engine.Handle(ctx, ev) {
		if r.Retry != nil {
			return r.Retry
		}
		row(of.name, string(r.Outcome), r)
	}
	return nil
}

// approve approves the change that waits for the turn's bucket. Its answer
// lists the calls; their times are those of the requests.
func (s *stage) approve(ctx context.Context, of turn) error {
	for c, err := range s.hub.Ledger().Cases(ctx, ledger.Query{State: ledger.State(control.AwaitingApproval)}) {
		if err != nil {
			return err
		}
		if c.Target.ID != of.bucket {
			continue
		}
		s.late.sent = nil
		a := s.engine.Do(ctx, engine.Command{Name: engine.Approve, Case: c.ID, Digest: c.Digest(), By: operator})
		if a.Verdict != engine.Done {
			return errors.New(a.Reason)
		}
		applied := a.Case.Current()[0].Applied.Add(time.Millisecond) // the ledger cuts off what is finer
		row(of.name, string(a.Case.Outcome), engine.Result{Calls: a.Calls, Trace: s.late.sent, Contained: applied})
		return nil
	}
	return errors.New("nothing waits for a yes")
}

func row(name, outcome string, r engine.Result) {
	contained := "-"
	if !r.Contained.IsZero() {
		contained = fmt.Sprint(r.ContainedTrips())
	}
	fmt.Printf("  %-26s %-18s %6d %11s %12d   %s\n", name, outcome, len(r.Calls), contained, cloud.RoundTrips(r.Trace), strings.Join(r.Calls, " "))
}

// parse reads a baseline that enforces everything, but for one line of its own.
func parse(line string) (*baseline.Baseline, error) {
	text := fmt.Sprintf(enforced, time.Now().UTC().Format(time.DateOnly))
	if strings.HasPrefix(line, "mode:") {
		text = strings.Replace(text, "mode: enforce", line, 1)
	} else {
		text += line + "\n"
	}
	b, problems := baseline.Parse("baseline.yaml", []byte(text), []control.Domain{storage.Domain()}, time.Now())
	if b == nil {
		return nil, problems
	}
	return b, nil
}

func newStage(server *local.AWS, hub *local.Hub) (*stage, error) {
	b, err := parse("")
	if err != nil {
		return nil, err
	}
	cfg := server.Config(local.HubAccount)
	s := &stage{hub: hub, member: s3.NewFromConfig(server.Config(local.MemberAccount)), late: &late{HTTPClient: cfg.HTTPClient, delay: 40 * time.Millisecond}}
	cfg.HTTPClient = s.late
	s.engine = &engine.Engine{
		Controls: storage.Domain().Controls, Baseline: b, Sessions: cloud.NewSessions(cfg, "snapback-storage", "storage"),
		Facts: facts.New(cfg), Ledger: hub.LedgerVia(s.late), Alerts: alert.NewTopic(cfg, hub.Topic),
	}
	return s, nil
}

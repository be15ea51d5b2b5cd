package local_test

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
)

// TestFaultIsTheServicesOwnError asks the real clients what they make of it.
func TestFaultIsTheServicesOwnError(t *testing.T) {
	w := newWorld(t, nil)
	cfg := via(w.aws, w.proxy, local.HubAccount)
	for _, tt := range []struct {
		call                      string
		make                      func(context.Context) error
		throttled, broken, denied string
	}{
		{"DynamoDB.DescribeTable", func(ctx context.Context) error {
			_, err := w.tables.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: aws.String("ledger")})
			return err
		}, "ThrottlingException", "InternalServerError", "AccessDeniedException"},
		{"S3.PutPublicAccessBlock", func(ctx context.Context) error { return w.closeBucket(ctx, w.buckets) },
			"SlowDown", "InternalError", "AccessDenied"},
		{"S3Control.DeletePublicAccessBlock", func(ctx context.Context) error {
			_, err := s3control.NewFromConfig(cfg).DeletePublicAccessBlock(ctx, &s3control.DeletePublicAccessBlockInput{AccountId: aws.String(local.HubAccount)})
			return err
		}, "SlowDown", "InternalError", "AccessDenied"},
		{"STS.GetCallerIdentity", func(ctx context.Context) error {
			_, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
			return err
		}, "Throttling", "InternalFailure", "AccessDenied"},
		{"SNS.Publish", func(ctx context.Context) error {
			_, err := sns.NewFromConfig(cfg).Publish(ctx, &sns.PublishInput{TopicArn: &w.topic, Message: aws.String("an alert")})
			return err
		}, "Throttling", "InternalError", "AuthorizationError"},
		{"SQS.ListQueues", func(ctx context.Context) error {
			_, err := sqs.NewFromConfig(cfg).ListQueues(ctx, nil)
			return err
		}, "ThrottlingException", "InternalFailure", "AccessDeniedException"},
		{"Organizations.ListRoots", func(ctx context.Context) error {
			_, err := organizations.NewFromConfig(cfg).ListRoots(ctx, &organizations.ListRootsInput{})
			return err
		}, "TooManyRequestsException", "ServiceException", "AccessDeniedException"},
	} {
		for _, f := range []struct {
			name      string
			fault     local.Fault
			outcome   string
			permanent bool
			attempts  int
		}{
			{"throttled twice", local.Throttled(2), "ok", false, 3},
			{"throttled without end", local.Throttled(-1), tt.throttled, false, 4},
			{"broken once", local.ServerError(1), "ok", false, 2},
			{"broken without end", local.ServerError(-1), tt.broken, false, 4},
			{"denied", local.Denied(), tt.denied, true, 1},
		} {
			t.Run(tt.call+" "+f.name, func(t *testing.T) {
				must(t, tt.make(t.Context())) // the credentials are there
				w.proxy.Clear()
				w.proxy.Inject(tt.call, 1, f.fault)
				ctx, recorder := cloud.Record(t.Context())
				err := tt.make(ctx)
				calls := recorder.Calls()
				if len(calls) != 1 || calls[0].Outcome != f.outcome || calls[0].Attempts != f.attempts {
					t.Errorf("recorded %+v, want %s after %d attempts", calls, f.outcome, f.attempts)
				}
				if cloud.Permanent(err) != f.permanent || (err == nil) != (f.outcome == "ok") {
					t.Errorf("permanent is not %t: %v", f.permanent, err)
				}
				if n := w.proxy.Count(tt.call); n != f.attempts {
					t.Errorf("%d attempts arrived, want %d", n, f.attempts)
				}
				w.proxy.Clear()
				must(t, tt.make(t.Context()))
			})
		}
	}
}

func TestFaultMeetsTheNthAttemptOfItsCallAlone(t *testing.T) {
	w := newWorld(t, nil)
	w.proxy.Inject("S3.PutPublicAccessBlock", 2, local.Denied())
	w.proxy.Inject("S3.PutPublicAccessBlock", 1, local.Throttled(1)) // the first attempt is left to it
	w.proxy.Inject("S3.GetPublicAccessBlock", 3, local.Denied())
	if err := w.closeBucket(t.Context(), w.buckets); !cloud.Is(err, "AccessDenied") {
		t.Errorf("got %v, want throttled, then denied", err)
	}
	if n := w.proxy.Count("S3.PutPublicAccessBlock"); n != 2 {
		t.Errorf("%d attempts arrived, want 2", n)
	}
	for range 2 {
		if w.closed(w.buckets, "example") {
			t.Error("what was refused is carried out")
		}
	}
	get := func() error {
		_, err := w.buckets.GetPublicAccessBlock(t.Context(), &s3.GetPublicAccessBlockInput{Bucket: aws.String("example")})
		return err
	}
	for range 2 {
		if err := get(); !cloud.Is(err, "AccessDenied") {
			t.Errorf("got %v for the third read and after it, want denied", err)
		}
	}
	w.proxy.Clear()
	must(t, w.closeBucket(t.Context(), w.buckets))
}

func TestLostAnswerIsThatOfACallThatWasCarriedOut(t *testing.T) {
	w := newWorld(t, nil)
	w.proxy.Inject("DynamoDB.PutItem", 1, local.AnswerLost())
	ctx, recorder := cloud.Record(t.Context())
	// The SDK asks again, and meets what it had written itself.
	if err := w.put(ctx, w.tables, "a"); !cloud.Is(err, "ConditionalCheckFailedException") {
		t.Errorf("got %v, want that the first attempt was carried out", err)
	}
	if calls := recorder.Calls(); calls[len(calls)-1].Attempts != 2 {
		t.Errorf("recorded %+v, want two attempts", calls)
	}
	w.proxy.Inject("S3.PutPublicAccessBlock", 1, local.AnswerLost())
	cfg := via(w.aws, w.proxy, local.HubAccount)
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	if err := w.closeBucket(t.Context(), s3.NewFromConfig(cfg)); err == nil || cloud.Permanent(err) {
		t.Errorf("got %v, want an error worth retrying", err)
	}
	if !w.closed(w.direct(), "example") {
		t.Error("the call whose answer was lost is not carried out")
	}
	must(t, w.closeBucket(t.Context(), s3.NewFromConfig(cfg)))
}

func TestCallerThatWaitsInVainGivesUpAndMayAskAgain(t *testing.T) {
	for name, c := range map[string]struct {
		fault       local.Fault
		carriedOut  bool
		secondFinds string
	}{
		"before": {local.TimesOut(), false, ""},
		"after":  {local.TimesOutAfter(), true, "ConditionalCheckFailedException"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait most of their time
			w := newWorld(t, nil)
			cfg := via(w.aws, w.proxy, local.HubAccount)
			cfg.HTTPClient = awshttp.NewBuildableClient().WithTimeout(2 * time.Second)
			once := cfg.Copy()
			once.Retryer = func() aws.Retryer { return aws.NopRetryer{} }

			w.proxy.Inject("S3.PutPublicAccessBlock", 1, c.fault)
			if err := w.closeBucket(t.Context(), s3.NewFromConfig(once)); err == nil || cloud.Permanent(err) {
				t.Errorf("got %v, want an error worth retrying", err)
			}
			if got := w.closed(w.direct(), "example"); got != c.carriedOut {
				t.Errorf("carried out is %t, want %t", got, c.carriedOut)
			}
			w.proxy.Inject("DynamoDB.PutItem", 1, c.fault)
			ctx, recorder := cloud.Record(t.Context())
			if err := w.put(ctx, dynamodb.NewFromConfig(cfg), "a"); (c.secondFinds == "") != (err == nil) || err != nil && !cloud.Is(err, c.secondFinds) {
				t.Errorf("the second attempt found %v, want %q", err, c.secondFinds)
			}
			if calls := recorder.Calls(); calls[len(calls)-1].Attempts != 2 {
				t.Errorf("recorded %+v, want two attempts", calls)
			}
		})
	}
}

func TestStaleReadsShowWhatWasThereBefore(t *testing.T) {
	w := newWorld(t, nil)
	w.makeBucket("other")
	read := func() bool { return w.closed(w.buckets, "example") }
	if read() || w.closed(w.buckets, "other") {
		t.Fatal("the buckets are closed from the start")
	}
	w.proxy.Inject("S3.GetPublicAccessBlock", 2, local.Stale(2))
	must(t, w.closeBucket(t.Context(), w.buckets))
	if !read() {
		t.Error("the read before the second one is stale")
	}
	_, err := w.buckets.DeletePublicAccessBlock(t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: aws.String("example")})
	must(t, err)
	if !read() || w.closed(w.buckets, "other") {
		t.Error("a stale read does not show what its own bucket showed last")
	}
	if read() {
		t.Error("reads are stale more often than they should be")
	}

	w.proxy.Inject("S3.GetPublicAccessBlock", 1, local.Stale(-1))
	must(t, w.closeBucket(t.Context(), w.buckets))
	for range 5 {
		if read() {
			t.Error("a read is not stale")
		}
	}
	w.proxy.Clear()
	if !read() {
		t.Error("a read is stale for ever")
	}
}

func TestFirstReadIsNotStale(t *testing.T) {
	w := newWorld(t, nil)
	w.proxy.Inject("S3.GetPublicAccessBlock", 1, local.Stale(2))
	if w.closed(w.buckets, "example") {
		t.Error("the bucket is closed from the start")
	}
	must(t, w.closeBucket(t.Context(), w.buckets))
	for _, want := range []bool{false, true} {
		if got := w.closed(w.buckets, "example"); got != want {
			t.Errorf("closed is %t, want %t", got, want)
		}
	}
}

// TestKilledFunctionHasOrHasNotMadeItsCall kills a real function at its call,
// with the environment that the hub gives to functions.
func TestKilledFunctionHasOrHasNotMadeItsCall(t *testing.T) {
	w := newWorld(t, nil)
	hub, err := local.NewHub(t.Context(), w.aws, nil)
	must(t, err)
	env, err := hub.EnvVia(t.Context(), "", "", w.proxy.Endpoint())
	must(t, err)
	binary := filepath.Join(t.TempDir(), "caller", "bootstrap")
	if out, err := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", binary, "./testdata/caller").CombinedOutput(); err != nil {
		t.Fatalf("build the function: %v\n%s", err, out)
	}
	f, err := local.StartFunction(t.Context(), local.FunctionOptions{Binary: binary, Env: env})
	must(t, err)
	t.Cleanup(f.Close)
	kill := func() {
		if err := f.Kill(); err != nil {
			t.Error(err)
		}
	}
	for name, c := range map[string]struct {
		fault      local.Fault
		carriedOut bool
	}{
		"before": {local.KilledBefore(kill), false},
		"after":  {local.KilledAfter(kill), true},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.direct().DeletePublicAccessBlock(t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: aws.String("example")})
			must(t, err)
			w.proxy.Inject("S3.PutPublicAccessBlock", 1, c.fault)
			_, err = f.Invoke(t.Context(), []byte(`"example"`))
			var failed *local.FunctionError
			if !errors.As(err, &failed) || !strings.Contains(failed.Message, "signal: killed") {
				t.Errorf("got %v, want that the function was killed", err)
			}
			if got := w.closed(w.direct(), "example"); got != c.carriedOut {
				t.Errorf("carried out is %t, want %t", got, c.carriedOut)
			}
			_, err = f.Invoke(t.Context(), []byte(`"example"`))
			must(t, err)
			if !w.closed(w.direct(), "example") {
				t.Error("the function that was started anew did not make its call")
			}
		})
	}
}

func TestProxyEndsWithItsContextAndLetsGoOfItsCallers(t *testing.T) {
	w := newWorld(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	proxy, err := local.StartProxy(ctx, w.aws, nil)
	must(t, err)
	proxy.Inject("S3.PutPublicAccessBlock", 1, local.TimesOut())
	cfg := via(w.aws, proxy, local.HubAccount)
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	done := make(chan error, 1)
	go func() { done <- w.closeBucket(t.Context(), s3.NewFromConfig(cfg)) }()
	local.Eventually(t, "the call to arrive", func() bool { return proxy.Count("S3.PutPublicAccessBlock") == 1 })
	cancel()
	if err := <-done; err == nil || cloud.Permanent(err) {
		t.Errorf("got %v, want an error worth retrying", err)
	}
	if err := w.closeBucket(t.Context(), s3.NewFromConfig(cfg)); err == nil {
		t.Error("a proxy whose context has ended still answers")
	}
	proxy.Close() // again
}

func TestCallersSideBySideMeetAFaultAsOftenAsItSays(t *testing.T) {
	w := newWorld(t, nil)
	must(t, w.closeBucket(t.Context(), w.buckets))
	w.proxy.Clear()
	w.proxy.Inject("S3.PutPublicAccessBlock", 3, local.ServerError(5))
	ctx, recorder := cloud.Record(t.Context())
	var side sync.WaitGroup
	for range 10 {
		side.Go(func() {
			_ = w.closeBucket(ctx, w.buckets) // one may meet it four times
		})
	}
	side.Wait()
	attempts, failed := 0, 0
	for _, c := range recorder.Calls() {
		attempts += c.Attempts
		failed += c.Attempts
		if c.Outcome == "ok" {
			failed--
		}
	}
	if n := w.proxy.Count("S3.PutPublicAccessBlock"); n != attempts || failed != 5 {
		t.Errorf("%d attempts arrived of %d that were made, %d failed: want all, and 5", n, attempts, failed)
	}
}

package cloud

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

// Call is one AWS API call as it was made.
type Call struct {
	// Service is the SDK's service ID without spaces: "S3", "S3Control".
	Service   string
	Operation string
	// Outcome is "ok", the API's error code, or "error" where no API answered.
	Outcome string
	// Attempts is the number of requests that were sent, retries included.
	Attempts   int
	Start, End time.Time
}

// Name is service and operation, "S3.GetPublicAccessBlock", as permissions
// declare it.
func (c Call) Name() string { return c.Service + "." + c.Operation }

// Recorder keeps the calls made under one context.
type Recorder struct {
	mu    sync.Mutex
	calls []Call
}

type recorderKey struct{}

// Record returns a context whose AWS calls the Recorder keeps. It is a trace,
// as net/http/httptrace is: nothing decides by it.
func Record(ctx context.Context) (context.Context, *Recorder) {
	r := &Recorder{}
	return context.WithValue(ctx, recorderKey{}, r), r
}

// Calls returns the calls that have ended so far, in the order of their end.
func (r *Recorder) Calls() []Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// RoundTrips is the number of serial round trips that the calls took: the
// attempts in the longest chain of calls in which each began after the one
// before it had ended. Calls made side by side count once.
func RoundTrips(calls []Call) int {
	calls = slices.Clone(calls)
	slices.SortFunc(calls, func(a, b Call) int { return cmp.Or(a.End.Compare(b.End), a.Start.Compare(b.Start)) })
	longest := 0
	upTo := make([]int, len(calls)) // the longest chain that ends with each call
	for i, c := range calls {
		for j, before := range calls[:i] {
			if !c.Start.Before(before.End) {
				upTo[i] = max(upTo[i], upTo[j])
			}
		}
		upTo[i] += max(c.Attempts, 1)
		longest = max(longest, upTo[i])
	}
	return longest
}

// recordCall is the middleware that keeps calls. It stands last in the
// initialize step, where service and operation are known.
type recordCall struct{}

func (recordCall) ID() string { return "SnapbackRecordCall" }

func (recordCall) HandleInitialize(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	r, ok := ctx.Value(recorderKey{}).(*Recorder)
	if !ok {
		return next.HandleInitialize(ctx, in)
	}
	c := Call{
		Service:   strings.ReplaceAll(awsmiddleware.GetServiceID(ctx), " ", ""),
		Operation: awsmiddleware.GetOperationName(ctx),
		Outcome:   "ok",
		Start:     time.Now(),
	}
	out, metadata, err := next.HandleInitialize(ctx, in)
	c.End = time.Now()
	if results, ok := retry.GetAttemptResults(metadata); ok {
		c.Attempts = len(results.Results)
	}
	if err != nil {
		c.Outcome = "error"
		var api smithy.APIError
		if errors.As(err, &api) {
			c.Outcome = api.ErrorCode()
		}
	}
	r.mu.Lock()
	r.calls = append(r.calls, c)
	r.mu.Unlock()
	return out, metadata, err
}

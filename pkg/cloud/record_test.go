package cloud_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/snapback-aws/snapback/pkg/cloud"
)

func TestRoundTripsAreTheLongestChain(t *testing.T) {
	origin := time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)
	// call began and ended so many milliseconds after the origin.
	call := func(start, end, attempts int) cloud.Call {
		return cloud.Call{
			Start: origin.Add(time.Duration(start) * time.Millisecond), End: origin.Add(time.Duration(end) * time.Millisecond), Attempts: attempts,
		}
	}
	for _, tt := range []struct {
		name  string
		calls []cloud.Call
		want  int
	}{
		{"no call", nil, 0},
		{"one call", []cloud.Call{call(0, 1, 1)}, 1},
		{"one after another", []cloud.Call{call(0, 1, 1), call(1, 2, 1), call(5, 6, 1)}, 3},
		{"in any order", []cloud.Call{call(5, 6, 1), call(0, 1, 1), call(1, 2, 1)}, 3},
		{"side by side", []cloud.Call{call(0, 5, 1), call(1, 6, 1), call(4, 9, 1)}, 1},
		{"two beside one", []cloud.Call{call(0, 10, 1), call(0, 4, 1), call(5, 9, 1)}, 2},
		{"two side by side, then one", []cloud.Call{call(0, 5, 1), call(1, 6, 1), call(7, 8, 1)}, 2},
		{"retries count", []cloud.Call{call(0, 5, 3), call(6, 7, 1)}, 4},
		{"retries beside a short call", []cloud.Call{call(0, 9, 4), call(1, 2, 1)}, 4},
		{"retries beside a call that ends later, then one", []cloud.Call{call(0, 5, 4), call(0, 6, 1), call(7, 8, 1)}, 5},
		{"retries beside a chain", []cloud.Call{call(0, 9, 2), call(0, 1, 1), call(2, 3, 1), call(4, 5, 1)}, 3},
		{"a request that was never sent", []cloud.Call{call(0, 1, 0)}, 1},
		{"calls of no length", []cloud.Call{call(1, 1, 1), call(0, 1, 1), call(1, 1, 1)}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := cloud.RoundTrips(tt.calls); got != tt.want {
				t.Errorf("%d round trips, want %d", got, tt.want)
			}
		})
	}
}

func TestRoundTripsDoNotDependOnTheOrderOfCalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		calls := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) cloud.Call {
			start := rapid.IntRange(0, 10).Draw(t, "start")
			end := rapid.IntRange(start, 12).Draw(t, "end")
			return cloud.Call{Start: time.Unix(int64(start), 0), End: time.Unix(int64(end), 0), Attempts: rapid.IntRange(1, 4).Draw(t, "attempts")}
		}), 0, 8).Draw(t, "calls")
		want := cloud.RoundTrips(calls)
		if got := cloud.RoundTrips(rapid.Permutation(calls).Draw(t, "shuffled")); got != want {
			t.Errorf("%d round trips in one order, %d in another", want, got)
		}
		sum := 0
		for _, c := range calls {
			sum += c.Attempts
			if c.Attempts > want {
				t.Errorf("%d round trips are fewer than the %d of one call", want, c.Attempts)
			}
		}
		if want > sum {
			t.Errorf("%d round trips are more than all %d attempts", want, sum)
		}
	})
}

func TestCallsAreRecordedWithOutcomeAndAttempts(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answer  answer
		outcome string
		tries   int
	}{
		{"answered", func(int, request) (int, string) { return identity("222222222222") }, "ok", 1},
		{"refused", func(int, request) (int, string) { return refused(http.StatusForbidden, "AccessDenied") }, "AccessDenied", 1},
		{"throttled twice, then answered", func(n int, _ request) (int, string) {
			if n < 2 {
				return refused(http.StatusBadRequest, "Throttling")
			}
			return identity("222222222222")
		}, "ok", 3},
		{"throttled without end", func(int, request) (int, string) { return refused(http.StatusBadRequest, "Throttling") }, "Throttling", 4},
		{"broken twice, then answered", func(n int, _ request) (int, string) {
			if n < 2 {
				return http.StatusServiceUnavailable, "<html>"
			}
			return identity("222222222222")
		}, "ok", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := startSTS(t, tt.answer)
			ctx, recorder := cloud.Record(t.Context())
			before := time.Now()
			_, err := sts.NewFromConfig(server.config()).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
			if (err == nil) != (tt.outcome == "ok") {
				t.Errorf("the call returned %v", err)
			}
			want := []cloud.Call{{Service: "STS", Operation: "GetCallerIdentity", Outcome: tt.outcome, Attempts: tt.tries}}
			got := recorder.Calls()
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(cloud.Call{}, "Start", "End")); diff != "" {
				t.Fatalf("calls differ (-want +got):\n%s", diff)
			}
			if c := got[0]; c.Start.Before(before) || c.End.Before(c.Start) || c.End.After(time.Now()) || c.Name() != "STS.GetCallerIdentity" {
				t.Errorf("%s from %s to %s", c.Name(), c.Start, c.End)
			}
			if n := len(server.all()); n != tt.tries {
				t.Errorf("%d requests arrived, want %d", n, tt.tries)
			}
		})
	}
}

func TestCallThatNobodyAnsweredIsRecorded(t *testing.T) {
	server := startSTS(t, nil)
	server.Close()
	ctx, recorder := cloud.Record(t.Context())
	if _, err := sts.NewFromConfig(server.config()).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}); err == nil {
		t.Fatal("a server that is closed answered")
	}
	want := []cloud.Call{{Service: "STS", Operation: "GetCallerIdentity", Outcome: "error", Attempts: 4}}
	if diff := cmp.Diff(want, recorder.Calls(), cmpopts.IgnoreFields(cloud.Call{}, "Start", "End")); diff != "" {
		t.Errorf("calls differ (-want +got):\n%s", diff)
	}
}

func TestEachContextKeepsItsOwnCalls(t *testing.T) {
	server := startSTS(t, func(int, request) (int, string) { return identity("222222222222") })
	client := sts.NewFromConfig(server.config())
	ctx, recorder := cloud.Record(t.Context())
	_, other := cloud.Record(t.Context())
	const calls = 10
	var side sync.WaitGroup
	for range calls {
		side.Go(func() {
			if _, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}); err != nil {
				t.Error(err)
			}
		})
	}
	side.Wait()
	if _, err := client.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil { // recorded nowhere
		t.Error(err)
	}
	if n := len(recorder.Calls()); n != calls {
		t.Errorf("%d calls are recorded, want %d", n, calls)
	}
	if n := len(other.Calls()); n != 0 {
		t.Errorf("%d calls are recorded where none was made", n)
	}
	recorder.Calls()[0].Outcome = "changed"
	if recorder.Calls()[0].Outcome != "ok" {
		t.Error("the caller's copy is the recorder's own")
	}
}

// S3 Control puts the account before the endpoint's host, so this call also
// shows that it reaches an endpoint on this machine.
func TestServicesAreNamedAsPermissionsNameThem(t *testing.T) {
	server := startSTS(t, func(int, request) (int, string) { return refused(http.StatusForbidden, "AccessDenied") })
	ctx, recorder := cloud.Record(t.Context())
	_, err := s3control.NewFromConfig(server.config()).GetPublicAccessBlock(ctx, &s3control.GetPublicAccessBlockInput{
		AccountId: aws.String("222222222222"),
	})
	if !cloud.Is(err, "AccessDenied") {
		t.Errorf("the call returned %v", err)
	}
	if calls := recorder.Calls(); len(calls) != 1 || calls[0].Name() != "S3Control.GetPublicAccessBlock" {
		t.Errorf("recorded %+v", calls)
	}
}

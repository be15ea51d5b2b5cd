package function_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// crowd is twenty member accounts whose events four functions handle at once,
// with one ledger.
type crowd struct {
	*stage
	functions []*local.Function
	buckets   map[string][]string // by account
	began     time.Time
}

const (
	crowdAccounts = 20
	crowdBuckets  = 5 // in each account
)

// newCrowd makes the accounts' buckets, each open to the public, and starts the
// functions. Limits is a line of the baseline.
func newCrowd(t *testing.T, limits string) *crowd {
	t.Helper()
	c := &crowd{stage: newStage(t, true), buckets: map[string][]string{}, began: time.Now()}
	for _, v := range c.env {
		if file, ok := strings.CutPrefix(v, "SNAPBACK_BASELINE="); ok {
			must(t, os.WriteFile(file, []byte(enforced+limits+"\n"), 0o600))
		}
	}
	var side sync.WaitGroup
	for i := range crowdAccounts {
		account := fmt.Sprintf("3333333333%02d", i)
		for j := range crowdBuckets {
			c.buckets[account] = append(c.buckets[account], fmt.Sprintf("example-%02d-%d", i, j))
		}
		side.Go(func() {
			client := s3.NewFromConfig(c.aws.Config(account))
			for _, bucket := range c.buckets[account] {
				if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 4 {
		c.functions = append(c.functions, c.start(0))
	}
	side.Wait()
	return c
}

// events are those of all buckets, each from its own account, one account's
// after the other's in turn.
func (c *crowd) events() [][]byte {
	c.t.Helper()
	body := sample(c.t, deleted)
	var all [][]byte
	for j := range crowdBuckets {
		for i, account := range slices.Sorted(maps.Keys(c.buckets)) {
			e := bytes.ReplaceAll(body, []byte(local.MemberAccount), []byte(account))
			e = bytes.ReplaceAll(e, []byte(reports), []byte(c.buckets[account][j]))
			// The last digits of the event's ID, and of CloudTrail's.
			e = bytes.ReplaceAll(e, []byte("000000001001"), fmt.Appendf(nil, "%012d", 1000+100*i+j))
			e = bytes.ReplaceAll(e, []byte("000000000001\""), fmt.Appendf(nil, "%012d\"", 100*i+j))
			all = append(all, e)
		}
	}
	return all
}

// rush delivers the events of all buckets to the functions, which poll the
// queue at once until it is empty.
func (c *crowd) rush() {
	c.t.Helper()
	must(c.t, c.hub.Send(c.t.Context(), c.events()...))
	var side sync.WaitGroup
	for _, f := range c.functions {
		side.Go(func() {
			source := c.hub.Source(f)
			for {
				d, err := source.Poll(c.t.Context())
				if err != nil || d.Err != nil {
					c.t.Errorf("%v %v\n%s", err, d.Err, f.Logs())
					return
				}
				if len(d.Delivered)+len(d.Failed) == 0 {
					return
				}
			}
		})
	}
	side.Wait()
	if dead, err := c.hub.Dead(c.t.Context()); err != nil || dead != "0" {
		c.t.Errorf("the dead-letter queue holds %s messages (%v)", dead, err)
	}
}

// hours are those by the clock since the crowd came: one, or two if the hour
// turned in mid-test.
func (c *crowd) hours() []time.Time {
	var all []time.Time
	for hour := c.began.UTC().Truncate(time.Hour); !hour.After(time.Now()); hour = hour.Add(time.Hour) {
		all = append(all, hour)
	}
	return all
}

// used is what is counted of a limit, in all hours; in none may it be passed.
func (c *crowd) used(limit ledger.Limit) (n int) {
	c.t.Helper()
	for _, hour := range c.hours() {
		u, err := c.hub.Ledger().Usage(c.t.Context(), limit, hour)
		must(c.t, err)
		if u.Changes > limit.Max {
			c.t.Errorf("%d changes are counted at %s: the baseline allows %s", u.Changes, hour, limit)
		}
		n += u.Changes
	}
	return n
}

// found is what became of the buckets of one account.
type found struct {
	closed, open []string // by what S3 says
	remediated   []string // by the cases
	held         []string
}

func (c *crowd) found(account string) found {
	c.t.Helper()
	var f found
	for _, bucket := range c.buckets[account] {
		if c.closedIn(account, bucket) {
			f.closed = append(f.closed, bucket)
		} else {
			f.open = append(f.open, bucket)
		}
	}
	for k, err := range c.hub.Ledger().Cases(c.t.Context(), ledger.Query{Account: account}) {
		must(c.t, err)
		switch {
		case k.Outcome == control.Remediated && k.State == "" && !k.Closed.IsZero():
			f.remediated = append(f.remediated, k.Target.ID)
		case k.Outcome == control.Held && k.State == ledger.State(control.Held) && k.Gate == ledger.GateLimit:
			f.held = append(f.held, k.Target.ID)
		default:
			c.t.Errorf("the case: %+v", k)
		}
	}
	slices.Sort(f.remediated)
	slices.Sort(f.held)
	return f
}

// outcomes are those of all functions. That a bucket is compliant is no news: a
// queue may hand a message out twice.
func (c *crowd) outcomes() map[string]int {
	c.t.Helper()
	total := map[string]int{}
	for _, f := range c.functions {
		for outcome, n := range outcomes(c.t, f) {
			total[outcome] += n
		}
	}
	delete(total, string(control.Compliant))
	return total
}

func TestTwentyAccountsAtOnceThroughFourFunctionsLoseNothing(t *testing.T) {
	c := newCrowd(t, "limits: {changes-per-account-per-hour: 1000, changes-per-control-per-hour: 1000}")
	c.rush()
	const all = crowdAccounts * crowdBuckets
	if diff := cmp.Diff(map[string]int{"remediated": all}, c.outcomes()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	for account, buckets := range c.buckets {
		if diff := cmp.Diff(found{closed: buckets, remediated: buckets}, c.found(account), cmp.AllowUnexported(found{})); diff != "" {
			t.Errorf("account %s (-want +got):\n%s", account, diff)
		}
		if n := c.used(ledger.Limit{Scope: ledger.PerAccount, Of: account, Max: 1000}); n != crowdBuckets {
			t.Errorf("%d changes are counted in account %s, want %d", n, account, crowdBuckets)
		}
	}
	if n := c.used(ledger.Limit{Scope: ledger.PerControl, Of: "s3-bucket-public-access", Max: 1000}); n != all {
		t.Errorf("%d changes are counted by the control, want %d", n, all)
	}
	told := map[string]int{}
	for _, a := range c.alerts() {
		if a.Outcome != control.Remediated {
			t.Errorf("alert: %s", a.Subject)
		}
		told[a.Target.Account+" "+a.Target.ID]++
	}
	for account, buckets := range c.buckets {
		for _, bucket := range buckets {
			if n := told[account+" "+bucket]; n != 1 {
				t.Errorf("%d alerts tell of bucket %s", n, bucket)
			}
		}
	}
	if len(told) != all {
		t.Errorf("alerts tell of %d buckets, want %d", len(told), all)
	}
}

func TestNoAccountIsChangedBeyondItsLimitHoweverManyFunctionsWork(t *testing.T) {
	const limit = 3
	c := newCrowd(t, fmt.Sprintf("limits: {changes-per-account-per-hour: %d, changes-per-control-per-hour: 1000}", limit))
	c.rush()
	closed, mayClose := 0, limit*len(c.hours())
	alerts := c.alerts()
	for account, buckets := range c.buckets {
		f := c.found(account)
		closed += len(f.closed)
		if len(f.closed) > mayClose || len(f.closed) < limit || len(f.closed)+len(f.open) != len(buckets) {
			t.Errorf("account %s: %d changes, want %d: %+v", account, len(f.closed), limit, f)
		}
		if diff := cmp.Diff(found{f.closed, f.open, f.closed, f.open}, f, cmp.AllowUnexported(found{})); diff != "" {
			t.Errorf("account %s: the cases are not what became of the buckets (-buckets +cases):\n%s", account, diff)
		}
		if n := c.used(ledger.Limit{Scope: ledger.PerAccount, Of: account, Max: limit}); n != len(f.closed) {
			t.Errorf("account %s: %d changes are counted, %d were made", account, n, len(f.closed))
		}
		wantTold(t, alerts, account, f)
	}
	if n := c.used(ledger.Limit{Scope: ledger.PerControl, Of: "s3-bucket-public-access", Max: 1000}); n != closed {
		t.Errorf("%d changes are counted by the control, %d were made", n, closed)
	}
}

// wantTold checks that each change of an account was told, and its limit once
// an hour in place of what it held.
func wantTold(t *testing.T, alerts []local.Alert, account string, f found) {
	t.Helper()
	var changed, limits []string
	for _, a := range alerts {
		switch {
		case a.Account != account:
		case a.Outcome == control.Remediated:
			changed = append(changed, a.Target.ID)
		case a.Outcome == control.Held && strings.HasPrefix(a.ID, "limit-account-"+account+"-"):
			limits = append(limits, a.ID)
		default:
			t.Errorf("alert: %s", a.Subject)
		}
	}
	slices.Sort(changed)
	if diff := cmp.Diff(f.closed, changed); diff != "" {
		t.Errorf("account %s: changes that alerts tell of (-made +told):\n%s", account, diff)
	}
	if once := slices.Compact(slices.Sorted(slices.Values(limits))); len(once) != len(limits) || len(f.open) > 0 && len(limits) == 0 {
		t.Errorf("account %s: alerts of its limit: %v", account, limits)
	}
}

package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/snapback-aws/snapback/pkg/ledger"
)

func perAccount(most int) ledger.Limit {
	return ledger.Limit{Scope: ledger.PerAccount, Of: target.Account, Max: most}
}

func perControl(most int) ledger.Limit {
	return ledger.Limit{Scope: ledger.PerControl, Of: "example-control", Max: most}
}

// usageOf is a limit of this hour of which nothing is used up.
func usageOf(t *testing.T, limit ledger.Limit) ledger.Usage {
	t.Helper()
	return ledger.Usage{Limit: limit, Hour: time.Now().UTC().Truncate(time.Hour)}
}

// caseOf is a new case of another bucket in the same account.
func caseOf(bucket string) *ledger.Case {
	c := newCase("null", "{}")
	c.Target.ID, c.ARN = bucket, "arn:aws:s3:::"+bucket
	return c
}

// readOf reads the gates of a case.
func readOf(ctx context.Context, l *ledger.Ledger, c *ledger.Case, limits ...ledger.Limit) (ledger.Gates, error) {
	return l.Read(ctx, ledger.Question{Control: c.Control, Target: c.Target, ARN: c.ARN, Limits: limits})
}

// race has ten workers open cases of n buckets at once, as long as the limits
// allow: as the engine does, each reads the gates again where it was too slow.
func race(t *testing.T, l *ledger.Ledger, n int, limits ...ledger.Limit) (opened []*ledger.Case, held int) {
	t.Helper()
	buckets := make(chan string, n)
	for i := range n {
		buckets <- fmt.Sprint("bucket-", i)
	}
	close(buckets)
	var mu sync.Mutex
	var side sync.WaitGroup
	for range 10 {
		side.Go(func() {
			for bucket := range buckets {
				c, err := openOne(t.Context(), l, bucket, limits...)
				mu.Lock()
				switch {
				case err != nil:
					t.Errorf("%s: %v", bucket, err)
				case c == nil:
					held++
				default:
					opened = append(opened, c)
				}
				mu.Unlock()
			}
		})
	}
	side.Wait()
	return opened, held
}

// openOne opens a case; nil if a limit is full.
func openOne(ctx context.Context, l *ledger.Ledger, bucket string, limits ...ledger.Limit) (*ledger.Case, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		c := caseOf(bucket)
		gates, err := readOf(ctx, l, c, limits...)
		if err != nil || gates.Full() != nil {
			return nil, err
		}
		err = l.Open(ctx, c, gates, ledger.NewWorker(time.Now().Add(time.Minute)))
		if !errors.Is(err, ledger.ErrBusy) {
			return c, err
		}
	}
}

// hours are those by the clock from a time until now: one, or two if the hour
// turns in mid-test.
func hours(began time.Time) []time.Time {
	var all []time.Time
	for hour := began.UTC().Truncate(time.Hour); !hour.After(time.Now()); hour = hour.Add(time.Hour) {
		all = append(all, hour)
	}
	return all
}

// used is how many changes are counted of a limit since a time.
func used(t *testing.T, l *ledger.Ledger, limit ledger.Limit, began time.Time) (n int) {
	t.Helper()
	for _, hour := range hours(began) {
		u, err := l.Usage(t.Context(), limit, hour)
		must(t, err)
		if u.Changes > limit.Max {
			t.Errorf("%d changes are counted of %s", u.Changes, limit)
		}
		n += u.Changes
	}
	return n
}

func TestLimitIsReachedExactlyAndNeverPassed(t *testing.T) {
	for name, tt := range map[string]struct {
		account, control ledger.Limit
		full             ledger.Limit
	}{
		"of_the_account": {perAccount(25), perControl(1000), perAccount(25)},
		"of_the_control": {perAccount(1000), perControl(25), perControl(25)},
		"of_both":        {perAccount(25), perControl(25), perAccount(25)},
	} {
		t.Run(name, func(t *testing.T) {
			l, began := newLedger(t), time.Now()
			opened, held := race(t, l, 60, tt.account, tt.control)
			if len(opened)+held != 60 || len(opened) > 25*len(hours(began)) || len(hours(began)) == 1 && len(opened) != 25 {
				t.Errorf("of 60 changes %d were opened and %d held, and the limit is %s", len(opened), held, tt.full)
			}
			for _, limit := range []ledger.Limit{tt.account, tt.control} {
				if n := used(t, l, limit, began); n != len(opened) {
					t.Errorf("%d changes were opened, and %d are counted of %s", len(opened), n, limit)
				}
			}
			if n := len(ids(t, l, ledger.Query{Account: target.Account})); n != len(opened) {
				t.Errorf("%d changes were opened, and there are %d cases", len(opened), n)
			}
		})
	}
}

func TestFullLimitOpensNothing(t *testing.T) {
	l := newLedger(t)
	c, late := caseOf("first"), caseOf("second")
	limits := []ledger.Limit{perControl(5), perAccount(1)}
	before, err := readOf(t.Context(), l, late, limits...)
	must(t, err)
	if before.Full() != nil || before.Limits[1].Changes != 0 {
		t.Fatalf("nothing is changed yet, and the limits are %+v", before.Limits)
	}
	gates, err := readOf(t.Context(), l, c, limits...)
	must(t, err)
	must(t, l.Open(t.Context(), c, gates, ledger.NewWorker(time.Now().Add(time.Minute))))
	before.Limits[0].Hour, before.Limits[1].Hour = gates.Limits[0].Hour, gates.Limits[1].Hour // it may have turned since
	if err := l.Open(t.Context(), late, before, ledger.NewWorker(time.Now().Add(time.Minute))); !errors.Is(err, ledger.ErrBusy) {
		t.Errorf("a case beyond the limit: %v", err)
	}
	if _, err := l.Case(t.Context(), late.ID); !errors.Is(err, ledger.ErrNoCase) {
		t.Errorf("the case beyond the limit is written: %v", err)
	}
	for _, limit := range []struct {
		ledger.Limit
		want int
	}{{perAccount(1), 1}, {perControl(5), 1}} {
		if n := used(t, l, limit.Limit, gates.Limits[0].Hour); n != limit.want {
			t.Errorf("%d changes are counted of %s, want %d", n, limit.Limit, limit.want)
		}
	}
	if after, err := readOf(t.Context(), l, late, limits...); err != nil || after.LeaseEnds != (time.Time{}) || after.Live != nil {
		t.Errorf("the second target is taken: %+v, %v", after, err)
	}
}

func TestFullIsTheFirstLimitThatIsUsedUp(t *testing.T) {
	usage := func(limit ledger.Limit, changes int) ledger.Usage {
		u := usageOf(t, limit)
		u.Changes = changes
		return u
	}
	for _, tt := range []struct {
		name string
		of   []ledger.Usage
		want string
	}{
		{"none is asked for", nil, ""},
		{"all have room", []ledger.Usage{usage(perAccount(3), 2), usage(perControl(3), 0)}, ""},
		{"the second is reached", []ledger.Usage{usage(perAccount(3), 2), usage(perControl(3), 3)}, "3 changes an hour by control example-control in the whole organization"},
		{"both are", []ledger.Usage{usage(perAccount(3), 3), usage(perControl(3), 3)}, "3 changes an hour in account 222222222222"},
		{"the baseline was lowered since", []ledger.Usage{usage(perAccount(3), 7)}, "3 changes an hour in account 222222222222"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if full := (ledger.Gates{Limits: tt.of}).Full(); full != nil {
				got = full.String()
			}
			if got != tt.want {
				t.Errorf("full is %q, want %q", got, tt.want)
			}
		})
	}
}

func TestChangesCountInTheHourOfTheirGates(t *testing.T) {
	l := newLedger(t)
	c := newCase("null", "{}")
	gates, err := readOf(t.Context(), l, c, perAccount(1))
	must(t, err)
	if now := time.Now().UTC(); now.Sub(gates.Limits[0].Hour) > time.Hour || gates.Limits[0].Hour.Minute() != 0 {
		t.Errorf("the hour of %s is said to be %s", now, gates.Limits[0].Hour)
	}
	before := gates.Limits[0].Hour.Add(-time.Hour) // the hour turned after the gates were read
	gates.Limits[0].Hour = before
	must(t, l.Open(t.Context(), c, gates, ledger.NewWorker(time.Now().Add(time.Minute))))
	for hour, want := range map[time.Time]int{before: 1, before.Add(59 * time.Minute): 1, before.Add(time.Hour): 0} {
		u, err := l.Usage(t.Context(), perAccount(1), hour)
		must(t, err)
		if u.Changes != want || !u.Hour.Equal(hour.Truncate(time.Hour)) {
			t.Errorf("%d changes are counted at %s in the hour %s, want %d", u.Changes, hour, u.Hour, want)
		}
	}
	if after, err := readOf(t.Context(), l, c, perAccount(1)); err != nil || after.Full() != nil {
		t.Errorf("last hour's changes shut this hour's gate: %+v, %v", after.Limits, err)
	}
	u := gates.Limits[0]
	if want := "account-222222222222-" + before.Format("20060102T15"); u.ID() != want {
		t.Errorf("its ID is %s, want %s", u.ID(), want)
	}
	out, err := client(t).GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String(table(t)), Key: map[string]types.AttributeValue{
		"pk": text("limit#account#" + target.Account), "sk": text(before.Format("2006-01-02T15")),
	}})
	must(t, err)
	if ttl, ok := out.Item["ttl"].(*types.AttributeValueMemberN); !ok || ttl.Value != fmt.Sprint(before.Add(7*24*time.Hour).Unix()) {
		t.Errorf("the counter ends at %v, want a week after its hour", out.Item["ttl"])
	}
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: fmt.Sprint(n)}
}

func TestCaseThatIsTakenOverIsCountedOnce(t *testing.T) {
	l, c := newLedger(t), newCase("null", "{}")
	gates, err := readOf(t.Context(), l, c, perAccount(9), perControl(9))
	must(t, err)
	must(t, l.Open(t.Context(), c, gates, ledger.NewWorker(time.Now().Add(-time.Second))))
	w := ledger.NewWorker(time.Now().Add(time.Minute))
	c, err = l.TakeOver(t.Context(), c.ID, read(t, l), w, func(*ledger.Case) {})
	must(t, err)
	must(t, l.Close(t.Context(), c, w))
	for _, limit := range []ledger.Limit{perAccount(9), perControl(9)} {
		if n := used(t, l, limit, gates.Limits[0].Hour); n != 1 {
			t.Errorf("%d changes are counted of %s, want one", n, limit)
		}
	}
	if rounds := read(t, l).Rounds; len(rounds) != 1 {
		t.Errorf("%d rounds are counted, want one", len(rounds))
	}
}

// claim has ten workers ask at once to be the one who tells of a limit, and
// counts those who are.
func claim(t *testing.T, l *ledger.Ledger, u *ledger.Usage, leaseEnds time.Time) (won int) {
	t.Helper()
	var mu sync.Mutex
	var side sync.WaitGroup
	for range 10 {
		side.Go(func() {
			mine, err := l.ClaimLimitAlert(t.Context(), u, leaseEnds)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if mine {
				won++
			}
		})
	}
	side.Wait()
	return won
}

// reached makes a limit of this hour that is reached.
func reached(t *testing.T) ledger.Usage {
	t.Helper()
	u := usageOf(t, perAccount(1))
	put(t, item{"pk": text("limit#account#" + target.Account), "sk": text(u.Hour.Format("2006-01-02T15")), "changes": number(1)})
	return u
}

func TestOneTellsThatALimitIsReached(t *testing.T) {
	l := newLedger(t)
	u, lease := reached(t), time.Now().Add(time.Minute)
	if won := claim(t, l, &u, lease); won != 1 {
		t.Errorf("%d of ten are to tell of the limit, want one", won)
	}
	now, err := l.Usage(t.Context(), perAccount(1), u.Hour)
	must(t, err)
	if now.Changes != 1 || now.Alerted || now.AlertLease.UnixMilli() != lease.UnixMilli() {
		t.Errorf("the limit: %+v", now)
	}
	if won := claim(t, l, &u, lease); won != 0 {
		t.Error("a second one is to tell of the limit while the first may still do so")
	}
	must(t, l.LimitAlerted(t.Context(), &u, true))
	if won := claim(t, l, &u, lease); won != 0 {
		t.Error("the limit is told a second time")
	}
	gates, err := readOf(t.Context(), l, newCase("null", "{}"), perAccount(1))
	must(t, err)
	if full := gates.Full(); full != nil && !full.Alerted || full == nil && len(hours(u.Hour)) == 1 {
		t.Errorf("the gates do not say that the limit was told: %+v", gates.Limits)
	}
}

func TestAnotherOneTellsOfTheLimitWhereTheFirstDidNot(t *testing.T) {
	l := newLedger(t)
	u, lease := reached(t), time.Now().Add(time.Minute)
	if won := claim(t, l, &u, lease); won != 1 {
		t.Errorf("%d of ten are to tell of the limit, want one", won)
	}
	must(t, l.LimitAlerted(t.Context(), &u, false)) // it could not be told
	mine, err := l.ClaimLimitAlert(t.Context(), &u, time.Now())
	if !mine || err != nil {
		t.Errorf("what could not be told is nobody's: %v", err)
	}
	if won := claim(t, l, &u, lease); won != 1 { // who was to tell was killed, and his lease has ended
		t.Errorf("%d of ten are to tell what a killed worker did not, want one", won)
	}
	must(t, l.LimitAlerted(t.Context(), &u, true))
	if won := claim(t, l, &u, time.Now()); won != 0 {
		t.Error("the limit is told a second time")
	}
}

func TestLimitsSayWhatTheyCount(t *testing.T) {
	for _, tt := range []struct {
		of   ledger.Limit
		want string
	}{
		{perAccount(50), "50 changes an hour in account 222222222222"},
		{perControl(200), "200 changes an hour by control example-control in the whole organization"},
		{ledger.Limit{Scope: ledger.PerThreatAccount, Of: "3", Max: 7}, "7 changes an hour against threats in account 3"},
	} {
		if got := tt.of.String(); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.of, got, tt.want)
		}
	}
}

func TestThreatsAreCountedApart(t *testing.T) {
	l, began := newLedger(t), time.Now()
	threat := ledger.Limit{Scope: ledger.PerThreatAccount, Of: target.Account, Max: 1}
	_, err := openOne(t.Context(), l, "first", perAccount(1))
	must(t, err)
	if c, err := openOne(t.Context(), l, "second", threat); c == nil || err != nil {
		t.Errorf("what posture used up keeps a threat from being contained: %v", err)
	}
	if c, err := openOne(t.Context(), l, "third", threat); err != nil || c != nil && len(hours(began)) == 1 {
		t.Errorf("a second change beyond the limit of one: %+v, %v", c, err)
	}
}

package ledger_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// database is AWS's own DynamoDB Local: its transactions are atomic. It is
// started by the first test that needs it, so that benchmarks of all packages
// run where it is not installed, and ends with the process.
var database = sync.OnceValues(func() (*local.DynamoDB, error) { return local.StartDynamoDB(context.Background()) })

// config reaches the database.
func config(t *testing.T) aws.Config {
	t.Helper()
	db, err := database()
	must(t, err)
	return cloud.Bounded(aws.Config{
		Region: local.Region, BaseEndpoint: aws.String(db.Endpoint()),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
}

// client works on the tables themselves.
func client(t *testing.T) *dynamodb.Client {
	t.Helper()
	return dynamodb.NewFromConfig(config(t))
}

// table is the name of the test's own table.
func table(t *testing.T) string {
	t.Helper()
	return strings.NewReplacer("/", "_", " ", "_").Replace(t.Name())
}

// newLedger makes an empty ledger of the test's own.
func newLedger(t *testing.T) *ledger.Ledger {
	t.Helper()
	cfg, name := config(t), table(t)
	db := dynamodb.NewFromConfig(cfg)
	_, err := db.CreateTable(t.Context(), ledger.Schema(name))
	must(t, err)
	t.Cleanup(func() {
		_, err := db.DeleteTable(context.WithoutCancel(t.Context()), &dynamodb.DeleteTableInput{TableName: aws.String(name)})
		must(t, err)
	})
	return ledger.New(cfg, name)
}

var target = control.Target{Account: "222222222222", Region: "us-east-1", Type: "AWS::S3::Bucket", ID: "example"}

func newCase(before, after string) *ledger.Case {
	change := control.Change{Target: target, Before: json.RawMessage(before), After: json.RawMessage(after)}
	now := time.Now().UTC().Truncate(time.Millisecond)
	return &ledger.Case{
		Version: ledger.CaseVersion, ID: ledger.NewID(now), Control: "example-control", Severity: control.High,
		Target: target, ARN: "arn:aws:s3:::example", Mode: "enforce", Baseline: "abc", Reason: "It is open.",
		Event: ledger.Event{ID: "e-1", Source: "aws.s3", Name: "PutBucketPolicy", Account: target.Account, Region: target.Region, Time: now},
		Actor: &event.Actor{Type: "IAMUser", Name: "alice", ARN: "arn:aws:iam::222222222222:user/alice", MFA: true,
			Issuer: &event.Issuer{Name: "role"}, OnBehalfOf: &event.IdentityCenterUser{UserID: "u"}},
		Steps: []ledger.Step{{
			Remedy: "close", Reason: "It is open.", Before: change.Before, After: change.After, Digest: change.Digest(),
		}},
		Opened: now, Previous: "20260101-00000000",
	}
}

func TestCaseIsReadAsItWasWritten(t *testing.T) {
	l, w := newLedger(t), ledger.NewWorker(time.Now().Add(time.Minute))
	c := newCase("null", `{"a": [1, true, "ä"]}`)
	must(t, l.Open(t.Context(), c, ledger.Gates{}, w))
	got, err := l.Case(t.Context(), c.ID)
	must(t, err)
	if diff := cmp.Diff(c, got); diff != "" {
		t.Errorf("the open case (-written +read):\n%s", diff)
	}
	c.Outcome, c.Alerts = control.Remediated, []ledger.Alerted{{ID: "a", At: c.Opened.Add(time.Second)}}
	c.Steps[0].Outcome, c.Steps[0].Applied, c.Steps[0].Verified = control.Remediated, c.Opened, c.Opened.Add(time.Second)
	must(t, l.Close(t.Context(), c, w))
	got, err = l.Case(t.Context(), c.ID)
	must(t, err)
	c.Closed = c.Closed.Truncate(time.Millisecond)
	if diff := cmp.Diff(c, got); diff != "" {
		t.Errorf("the closed case (-written +read):\n%s", diff)
	}
}

func TestItemIsReadableByPeople(t *testing.T) {
	l := newLedger(t)
	c := newCase("null", `{"BlockPublicAcls":true}`)
	must(t, l.Open(t.Context(), c, ledger.Gates{}, ledger.NewWorker(time.Now().Add(time.Minute))))
	out, err := client(t).GetItem(t.Context(), &dynamodb.GetItemInput{
		TableName: aws.String(t.Name()),
		Key: map[string]types.AttributeValue{
			"pk": &types.AttributeValueMemberS{Value: "case#" + c.ID}, "sk": &types.AttributeValueMemberS{Value: "case"},
		},
	})
	must(t, err)
	step := out.Item["steps"].(*types.AttributeValueMemberL).Value[0].(*types.AttributeValueMemberM).Value
	for name, v := range map[string]types.AttributeValue{
		"null":                     step["before"],
		`{"BlockPublicAcls":true}`: step["after"],
		c.Opened.Format("2006-01-02T15:04:05.000Z"): out.Item["opened"],
		target.Account: out.Item["account"],
	} {
		if s, ok := v.(*types.AttributeValueMemberS); !ok || s.Value != name {
			t.Errorf("want the text %s, got %#v", name, v)
		}
	}
	if _, there := out.Item["closed"]; there {
		t.Error("a case that is not closed has a time of closing")
	}
}

func TestNewerCaseIsRefused(t *testing.T) {
	l := newLedger(t)
	c := newCase("null", "{}")
	c.Version = ledger.CaseVersion + 1
	must(t, l.Open(t.Context(), c, ledger.Gates{}, ledger.NewWorker(time.Now())))
	if _, err := l.Case(t.Context(), c.ID); err == nil || !strings.Contains(err.Error(), "use a newer one") {
		t.Errorf("got %v", err)
	}
}

func TestMissingCaseIsToldApart(t *testing.T) {
	if _, err := newLedger(t).Case(t.Context(), "20260101-00000000"); !errors.Is(err, ledger.ErrNoCase) {
		t.Errorf("got %v", err)
	}
}

func TestOneWorkerPerTarget(t *testing.T) {
	l := newLedger(t)
	for round := range 20 {
		var mu sync.Mutex
		var won []*ledger.Case
		var worker ledger.Worker
		var side sync.WaitGroup
		for range 10 {
			side.Go(func() {
				c, w := newCase("null", "{}"), ledger.NewWorker(time.Now().Add(time.Minute))
				gates, err := l.Read(t.Context(), ledger.Question{Control: c.Control, Target: target, ARN: c.ARN})
				if err == nil && (gates.Live != nil || time.Now().Before(gates.LeaseEnds)) {
					return
				}
				if err == nil {
					err = l.Open(t.Context(), c, gates, w)
				}
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					won, worker = append(won, c), w
				case !errors.Is(err, ledger.ErrBusy):
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		side.Wait()
		if len(won) != 1 {
			t.Fatalf("round %d: %d of ten workers opened a case, want one", round, len(won))
		}
		must(t, l.Close(t.Context(), won[0], worker))
	}
	var cases int
	for _, err := range l.Cases(t.Context(), ledger.Query{Account: target.Account}) {
		must(t, err)
		cases++
	}
	if cases != 20 {
		t.Errorf("%d cases after 20 rounds", cases)
	}
}

func TestTwoControlsShareOneLock(t *testing.T) {
	l := newLedger(t)
	must(t, l.Open(t.Context(), newCase("null", "{}"), ledger.Gates{}, ledger.NewWorker(time.Now().Add(time.Minute))))
	other := newCase("null", "{}")
	other.Control = "another-control"
	gates, err := l.Read(t.Context(), ledger.Question{Control: other.Control, Target: target, ARN: other.ARN})
	must(t, err)
	if gates.Live != nil || !time.Now().Before(gates.LeaseEnds) {
		t.Errorf("the other control sees %+v, want a lease and no live case of its own", gates)
	}
	if err := l.Open(t.Context(), other, gates, ledger.NewWorker(time.Now().Add(time.Minute))); !errors.Is(err, ledger.ErrBusy) {
		t.Errorf("two workers are on one target: %v", err)
	}
}

func TestTakeOverWaitsForTheLeaseAndKeepsTheFirstBefore(t *testing.T) {
	l := newLedger(t)
	c := newCase(`{"first":true}`, `{"end":true}`)
	must(t, l.Open(t.Context(), c, ledger.Gates{}, ledger.NewWorker(time.Now().Add(time.Hour))))
	keep := func(*ledger.Case) {}
	if _, err := l.TakeOver(t.Context(), c.ID, read(t, l), ledger.NewWorker(time.Now().Add(time.Minute)), keep); !errors.Is(err, ledger.ErrBusy) {
		t.Fatalf("a case was taken from a worker that lives: %v", err)
	}
	c2 := newCase(`{"first":true}`, `{"end":true}`)
	c2.Target.ID = "another"
	must(t, l.Open(t.Context(), c2, ledger.Gates{}, ledger.NewWorker(time.Now().Add(-time.Second))))
	gates, err := l.Read(t.Context(), ledger.Question{Control: c2.Control, Target: c2.Target, ARN: c2.ARN})
	must(t, err)
	var won int
	var mu sync.Mutex
	var side sync.WaitGroup
	for range 10 {
		side.Go(func() {
			got, err := l.TakeOver(t.Context(), c2.ID, gates, ledger.NewWorker(time.Now().Add(time.Minute)), func(c *ledger.Case) {
				c.Steps[0].After = json.RawMessage(`{"end":2}`)
			})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
				if string(got.Steps[0].Before) != `{"first":true}` {
					t.Errorf("Before became %s", got.Steps[0].Before)
				}
			} else if !errors.Is(err, ledger.ErrBusy) {
				t.Error(err)
			}
		})
	}
	side.Wait()
	if won != 1 {
		t.Errorf("%d of ten workers took the case over, want one", won)
	}
}

func TestWorkerThatLostItsLeaseCantClose(t *testing.T) {
	l := newLedger(t)
	c, slow := newCase("null", "{}"), ledger.NewWorker(time.Now().Add(-time.Second))
	must(t, l.Open(t.Context(), c, ledger.Gates{}, slow))
	_, err := l.TakeOver(t.Context(), c.ID, read(t, l), ledger.NewWorker(time.Now().Add(time.Minute)), func(*ledger.Case) {})
	must(t, err)
	if err := l.Close(t.Context(), c, slow); !errors.Is(err, ledger.ErrBusy) {
		t.Errorf("a worker closed a case that another one holds: %v", err)
	}
}

func TestReleasedCaseIsTakenOverAtOnce(t *testing.T) {
	l := newLedger(t)
	c, w := newCase("null", "{}"), ledger.NewWorker(time.Now().Add(time.Hour))
	must(t, l.Open(t.Context(), c, ledger.Gates{}, w))
	c.Steps[0].Error = "throttled"
	must(t, l.Release(t.Context(), c, w))
	got, err := l.TakeOver(t.Context(), c.ID, read(t, l), ledger.NewWorker(time.Now().Add(time.Hour)), func(*ledger.Case) {})
	must(t, err)
	if got.Steps[0].Error != "throttled" {
		t.Errorf("what the first worker wrote is lost: %+v", got.Steps[0])
	}
}

func TestRecordedCaseIsKnownAgainAndEnds(t *testing.T) {
	l := newLedger(t)
	c := newCase("null", "{}")
	c.Outcome = control.Observed
	alertBy := time.Now().Add(time.Minute)
	must(t, l.Record(t.Context(), c, ledger.Gates{}, alertBy))
	second := newCase("null", "{}")
	second.Outcome = control.Observed
	if err := l.Record(t.Context(), second, ledger.Gates{}, alertBy); !errors.Is(err, ledger.ErrBusy) {
		t.Errorf("a second case was recorded on what the first one changed: %v", err)
	}
	gates := read(t, l)
	if gates.Live == nil || gates.Live.Case != c.ID || gates.Live.Digest != c.Steps[0].Digest || gates.Live.Alerted || gates.Live.AlertLease != alertBy.UnixMilli() {
		t.Fatalf("the live case is %+v", gates.Live)
	}
	must(t, l.Alerted(t.Context(), c, ledger.Alerted{ID: c.ID + "-observed", At: time.Now()}))
	if gates = read(t, l); !gates.Live.Alerted {
		t.Error("it is not noted that the operators were told")
	}
	must(t, l.Resolve(t.Context(), c.Control, target, *gates.Live, "found compliant"))
	if gates = read(t, l); gates.Live != nil {
		t.Errorf("the case still lives: %+v", gates.Live)
	}
	got, err := l.Case(t.Context(), c.ID)
	must(t, err)
	if got.State != "" || got.Closed.IsZero() || got.Ended != "found compliant" || len(got.Alerts) != 1 {
		t.Errorf("the case did not end: %+v", got)
	}
	must(t, l.Resolve(t.Context(), c.Control, target, ledger.Live{Case: c.ID}, "again")) // someone else was faster
}

func read(t *testing.T, l *ledger.Ledger) ledger.Gates {
	t.Helper()
	g, err := l.Read(t.Context(), ledger.Question{Control: "example-control", Target: target, ARN: "arn:aws:s3:::example"})
	must(t, err)
	return g
}

func TestCasesAreListedByEachIndexNewestFirst(t *testing.T) {
	l := newLedger(t)
	var want []string
	for i := range 3 {
		c := newCase("null", "{}")
		c.Target.ID = fmt.Sprint("bucket-", i)
		c.Opened = c.Opened.Add(time.Duration(i) * time.Minute)
		c.Outcome = control.AwaitingApproval
		must(t, l.Record(t.Context(), c, ledger.Gates{}, time.Now()))
		want = append(want, c.ID)
	}
	slices.Reverse(want)
	now := time.Now()
	for name, c := range map[string]struct {
		q    ledger.Query
		want []string
	}{
		"account":         {ledger.Query{Account: target.Account}, want},
		"another account": {ledger.Query{Account: "333333333333"}, nil},
		"state":           {ledger.Query{State: ledger.State(control.AwaitingApproval)}, want},
		"another state":   {ledger.Query{State: ledger.Open}, nil},
		"target":          {ledger.Query{Target: control.Target{Account: target.Account, Region: target.Region, Type: target.Type, ID: "bucket-1"}}, want[1:2]},
	} {
		if diff := cmp.Diff(c.want, ids(t, l, c.q)); diff != "" {
			t.Errorf("by %s (-want +got):\n%s", name, diff)
		}
	}
	days := append(ids(t, l, ledger.Query{Day: now.Add(2 * time.Minute)}), ids(t, l, ledger.Query{Day: now.Add(-24 * time.Hour)})...)
	if len(days) == 0 || !slices.Contains(days, want[0]) {
		t.Errorf("by day: %v", days)
	}
}

func ids(t *testing.T, l *ledger.Ledger, q ledger.Query) []string {
	t.Helper()
	var ids []string
	for c, err := range l.Cases(t.Context(), q) {
		must(t, err)
		ids = append(ids, c.ID)
	}
	return ids
}

func TestStateTooLargeToBeWrittenDownOpensNoCase(t *testing.T) {
	l := newLedger(t)
	c := newCase(`"`+strings.Repeat("x", 500<<10)+`"`, "{}")
	err := l.Open(t.Context(), c, ledger.Gates{}, ledger.NewWorker(time.Now().Add(time.Minute)))
	if err == nil || !cloud.Permanent(err) {
		t.Errorf("want an error that retrying can't mend, got %v", err)
	}
	if g := read(t, l); g.Live != nil || !g.LeaseEnds.IsZero() {
		t.Errorf("something was written all the same: %+v", g)
	}
}

func TestMissingTableIsNamed(t *testing.T) {
	_, err := ledger.New(config(t), "no-such-table").Read(t.Context(), ledger.Question{Control: "x", Target: target, ARN: "y"})
	if err == nil || !strings.Contains(err.Error(), "ledger table no-such-table: read the gates") || !cloud.Permanent(err) {
		t.Errorf("got %v", err)
	}
}

func TestIDsSortByDayAndCanBeReadOut(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := ledger.NewID(time.Date(2026, 11, 22, 23, 59, 0, 0, time.FixedZone("", -7200)))
		if !strings.HasPrefix(id, "20261123-") || len(id) != 17 || strings.ContainsAny(id[9:], "ilou") || seen[id] {
			t.Fatalf("ID %s", id)
		}
		seen[id] = true
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

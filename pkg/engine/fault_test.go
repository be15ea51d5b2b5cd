package engine_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// always answers every call of one operation.
func always(operation string, status int, code, message string) func(string, string, *http.Request) (*http.Response, error) {
	return func(_, o string, r *http.Request) (*http.Response, error) {
		if o != operation {
			return nil, nil
		}
		return says(status, code, message, r), nil
	}
}

func TestMemberThatCantBeEnteredIsUnreadable(t *testing.T) {
	s := newStage(t, "enforce")
	s.open(reports)
	// moto lets any role be assumed: a stand-in answers AssumeRole alone, as STS
	// answers for a role that is missing or does not trust the hub.
	s.faults.set(always("AssumeRole", http.StatusForbidden, "AccessDenied", "not authorized to perform: sts:AssumeRole"))
	r := s.handle(deleted)
	s.want(r, control.Unreadable, "assume arn:aws:iam::222222222222:role/snapback-storage: STS AssumeRole: AccessDenied")
	if !strings.Contains(r.Reason, "is 222222222222 an account of this organization") {
		t.Errorf("the reason does not say what to look at: %s", r.Reason)
	}
	if r.Retry != nil {
		t.Errorf("retrying can't mend a missing role: %v", r.Retry)
	}
	if a := s.alerts(); len(a) != 1 || a[0].Outcome != control.Unreadable {
		t.Errorf("want one alert, got %+v", a)
	}
	s.handle(deleted)
	s.noAlert()
	s.oneCase()

	s.faults.set(nil)
	s.want(s.handle(deleted), control.Remediated, "")
}

func TestAccessDeniedInTheMember(t *testing.T) {
	for operation, outcome := range map[string]control.Outcome{
		"GetPublicAccessBlock": control.Unreadable,
		"PutPublicAccessBlock": control.Failed,
	} {
		t.Run(operation, func(t *testing.T) {
			s := newStage(t, "enforce")
			s.open(reports)
			s.faults.set(always(operation, http.StatusForbidden, "AccessDenied", "Access Denied"))
			r := s.handle(deleted)
			s.want(r, outcome, "S3 "+operation+": AccessDenied: Access Denied")
			if r.Retry != nil {
				t.Errorf("it is retried: %v", r.Retry)
			}
			if got := s.block(reports); got != "off" {
				t.Errorf("the block is %s: something is half done", got)
			}
			if a := s.alerts(); len(a) != 1 || a[0].Outcome != outcome {
				t.Errorf("want one alert, got %+v", a)
			}
			if c := s.oneCase(); c.Outcome != outcome {
				t.Errorf("the case says %s", c.Outcome)
			}
		})
	}
}

func TestMissingLedgerHoldsTheChange(t *testing.T) {
	s := newStage(t, "enforce")
	s.open(reports)
	_, err := dynamodb.NewFromConfig(s.aws.Config(local.HubAccount)).
		DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: aws.String(s.hub.Table)})
	must(t, err)
	r := s.handle(deleted)
	s.want(r, control.Held, "ledger table snapback: read the gates: DynamoDB BatchGetItem: ResourceNotFoundException")
	if r.Retry == nil || !strings.Contains(r.Retry.Error(), "ledger table snapback") {
		t.Errorf("the event is not handed out again with the table's name: %v", r.Retry)
	}
	if got := s.block(reports); got != "off" {
		t.Errorf("the block is %s: it was changed without being written down", got)
	}
	if a := s.alerts(); len(a) != 1 || a[0].Outcome != control.Held || !strings.Contains(a[0].Reason, "not configured") {
		t.Errorf("want one alert that tells of the violation, got %+v", a)
	}
	s.setBlock(reports, true, true, true, true)
	s.want(s.handle(deleted), control.Compliant, "") // no gate needs to be asked
}

func TestCaseThatCantBeWrittenDownIsToldInEveryMode(t *testing.T) {
	for _, mode := range []string{"observe", "approve", "enforce"} {
		t.Run(mode, func(t *testing.T) {
			s := newStage(t, mode)
			s.open(reports)
			s.faults.set(always("TransactWriteItems", http.StatusBadRequest, "AccessDeniedException", "not authorized"))
			r := s.handle(deleted)
			s.want(r, control.Held, "TransactWriteItems: AccessDeniedException")
			if r.Retry == nil {
				t.Error("the event is lost")
			}
			if got := s.block(reports); got != "off" {
				t.Errorf("the block is %s: it was changed without being written down", got)
			}
			if a := s.alerts(); len(a) != 1 || a[0].Outcome != control.Held || !strings.Contains(a[0].Reason, "not configured") {
				t.Errorf("alerts: %+v", a)
			}
		})
	}
}

func TestMissingTopicKeepsTheEventUntilTheAlertIsOut(t *testing.T) {
	s := newStage(t, "enforce")
	s.open(reports)
	topics := sns.NewFromConfig(s.aws.Config(local.HubAccount))
	_, err := topics.DeleteTopic(t.Context(), &sns.DeleteTopicInput{TopicArn: aws.String(s.hub.Topic)})
	must(t, err)
	first := s.handle(deleted)
	s.want(first, control.Remediated, "SNS Publish: NotFound")
	if first.Retry == nil {
		t.Error("the event is not handed out again, and its alert is lost")
	}
	if got := s.block(reports); got != "on" {
		t.Errorf("the block is %s: a missing topic kept the violation open", got)
	}
	_, err = topics.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("snapback-alerts")})
	must(t, err)
	second := s.handle(deleted)
	if second.Case != first.Case || second.Outcome != control.Remediated || second.Retry != nil {
		t.Errorf("the redelivered event did not finish the case: %+v", second)
	}
	if c := s.oneCase(); c.Closed.IsZero() || len(c.Alerts) != 1 || string(c.Steps[0].Before) != "null" {
		t.Errorf("the case is not closed with its first state: %+v", c)
	}
}

func TestRecordedCaseIsAlertedByTheNextDelivery(t *testing.T) {
	s := newStage(t, "observe")
	s.open(reports)
	s.faults.set(always("Publish", http.StatusInternalServerError, "InternalError", "try again"))
	first := s.handle(deleted)
	if first.Retry == nil {
		t.Error("the event is not handed out again, and its alert is lost")
	}
	s.faults.set(nil)
	second := s.handle(deleted)
	if second.Case != first.Case || second.Retry != nil {
		t.Errorf("the redelivered event did not finish the case: %+v", second)
	}
	if a := s.alerts(); len(a) != 1 || a[0].Case != first.Case {
		t.Errorf("want one alert of case %s, got %+v", first.Case, a)
	}
	s.handle(deleted)
	s.noAlert()
}

func TestThrottledChangeIsFinishedByTheNextDelivery(t *testing.T) {
	s := newStage(t, "enforce")
	s.open(reports)
	s.faults.set(always("PutPublicAccessBlock", http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate."))
	first := s.handle(deleted)
	if first.Retry == nil {
		t.Fatal("a throttled change is not handed out again")
	}
	s.noAlert()
	s.faults.set(nil)
	second := s.handle(deleted)
	s.want(second, control.Remediated, "")
	if c := s.oneCase(); c.ID != second.Case || c.Steps[0].Error != "" {
		t.Errorf("the case is another, or keeps the old error: %+v", c)
	}
}

func TestKilledWorkersCaseIsTakenOverWithItsFirstState(t *testing.T) {
	for name, half := range map[string][]bool{
		"before the change": nil, "half way": {true, true, false, false}, "after the change": {true, true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, "enforce")
			s.open(reports)
			killed := s.openCase(time.Now().Add(-time.Second))
			if half != nil {
				s.setBlock(reports, half...)
			}
			r := s.handle(deleted)
			s.want(r, control.Remediated, "")
			c := s.oneCase()
			if r.Case != killed.ID || string(c.Steps[0].Before) != "null" || c.Closed.IsZero() {
				t.Errorf("want case %s closed with its first state, got %+v", killed.ID, c)
			}
			if got := s.block(reports); got != "on" {
				t.Errorf("the block is %s", got)
			}
			if n := len(s.alerts()); n != 1 {
				t.Errorf("want one alert, got %d", n)
			}
		})
	}
}

func TestKilledWorkersCaseOfADeletedBucketIsClosed(t *testing.T) {
	s := newStage(t, "enforce")
	s.openCase(time.Now().Add(-time.Second))
	s.want(s.handle(deleted), control.Gone, "")
	if c := s.oneCase(); c.Outcome != control.Gone || c.Closed.IsZero() {
		t.Errorf("the case is still open: %+v", c)
	}
}

func TestLiveWorkerIsNotDisturbed(t *testing.T) {
	s := newStage(t, "enforce")
	s.open(reports)
	s.openCase(time.Now().Add(time.Hour))
	r := s.handle(deleted)
	if r.Retry == nil || !strings.Contains(r.Reason, ledger.ErrBusy.Error()) {
		t.Errorf("want the event handed out again, got %+v", r)
	}
	if got := s.block(reports); got != "off" {
		t.Errorf("the block is %s: two workers are on one target", got)
	}
}

// openCase writes the open case of a worker that does nothing more.
func (s *stage) openCase(leaseEnds time.Time) *ledger.Case {
	s.t.Helper()
	change := control.Change{
		Target: control.Target{Account: local.MemberAccount, Region: "us-east-1", Type: "AWS::S3::Bucket", ID: reports},
		Before: []byte("null"), After: []byte(`{"BlockPublicAcls":true,"IgnorePublicAcls":true,"BlockPublicPolicy":true,"RestrictPublicBuckets":true}`),
	}
	c := &ledger.Case{
		Version: ledger.CaseVersion, ID: ledger.NewID(time.Now()), Control: "s3-bucket-public-access", Severity: control.High,
		Target: change.Target, Mode: "enforce", Opened: time.Now(),
		Steps: []ledger.Step{{Remedy: "block-bucket-public-access", Before: change.Before, After: change.After, Digest: change.Digest()}},
	}
	must(s.t, s.hub.Ledger().Open(s.t.Context(), c, ledger.Gates{}, ledger.NewWorker(leaseEnds)))
	return c
}

func TestStaleReadsAreReadAgain(t *testing.T) {
	stale := func(reads int) func(string, string, *http.Request) (*http.Response, error) {
		var mu sync.Mutex
		written := false
		return func(_, operation string, r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case operation == "PutPublicAccessBlock":
				written = true
			case operation == "GetPublicAccessBlock" && written && reads > 0:
				reads--
				return says(http.StatusNotFound, "NoSuchPublicAccessBlockConfiguration", "not found", r), nil
			}
			return nil, nil
		}
	}
	for name, c := range map[string]struct {
		reads   int
		outcome control.Outcome
		reason  string
	}{
		"five times, then right": {5, control.Remediated, ""},
		"for ever":               {1000, control.Failed, "reading it back shows"},
	} {
		t.Run(name, func(t *testing.T) {
			engine.ShortVerification(t)
			s := newStage(t, "enforce")
			s.open(reports)
			s.faults.set(stale(c.reads))
			s.want(s.handle(deleted), c.outcome, c.reason)
			if a := s.alerts(); len(a) != 1 || a[0].Outcome != c.outcome {
				t.Errorf("want one alert that says %s, got %+v", c.outcome, a)
			}
		})
	}
}

// A worker whose plan was made before another worker changed the target must
// not change it once more, whether it read the gates before or after that.
func TestPlanOlderThanAnotherWorkersChangeIsMadeAnew(t *testing.T) {
	for _, gatesFirst := range []bool{true, false} {
		t.Run(fmt.Sprint("gates read first: ", gatesFirst), func(t *testing.T) {
			s := newStage(t, "enforce")
			s.open(reports)
			other := (&stage{t: t, aws: s.aws, hub: s.hub, faults: &faults{}}).newEngine("enforce")
			gatesRead, changed := make(chan struct{}), make(chan struct{})
			var plan, gates sync.Once
			s.faults.set(func(_, operation string, r *http.Request) (resp *http.Response, err error) {
				switch operation {
				case "GetPublicAccessBlock":
					plan.Do(func() {
						resp, err = s.faults.client.Do(r)
						if gatesFirst {
							<-gatesRead
						}
						s.want(one(t, other.Handle(t.Context(), sample(t, deleted))), control.Remediated, "")
						close(changed)
					})
				case "BatchGetItem":
					gates.Do(func() {
						if !gatesFirst {
							<-changed
						}
						resp, err = s.faults.client.Do(r)
						close(gatesRead)
					})
				}
				return resp, err
			})
			s.want(s.handle(deleted), control.Compliant, "")
			s.oneCase()
			if n := len(s.alerts()); n != 1 {
				t.Errorf("%d alerts, want 1", n)
			}
		})
	}
}

func TestPanicFailsItsOwnWalkAlone(t *testing.T) {
	s := newStage(t, "enforce")
	s.open(reports)
	s.engine.Controls[0].Remedy.Plan = func(context.Context, *cloud.Session, control.Target) (*control.Change, error) {
		panic("a fault of ours")
	}
	r := s.handle(deleted)
	if r.Retry == nil || !strings.Contains(r.Reason, "a fault of ours") {
		t.Errorf("want the event handed out again, got %+v", r)
	}
	s.want(s.handle("config/account-non-compliant"), control.Remediated, "")
}

func TestTenAtOnceChangeOnce(t *testing.T) {
	s := newAtomicStage(t, "enforce", manyRounds)
	s.open(reports)
	engines := []*engine.Engine{s.engine, s.newEngine("enforce", manyRounds), s.newEngine("enforce", manyRounds)} // three running functions
	for round := range 3 {
		outcomes := map[control.Outcome]int{}
		var mu sync.Mutex
		var side sync.WaitGroup
		for i := range 10 {
			side.Go(func() {
				r := one(t, engines[i%len(engines)].Handle(t.Context(), sample(t, deleted)))
				mu.Lock()
				defer mu.Unlock()
				outcomes[r.Outcome]++
				if r.Retry != nil {
					t.Errorf("an event is handed out again: %v", r.Retry)
				}
			})
		}
		side.Wait()
		if diff := cmp.Diff(map[control.Outcome]int{control.Remediated: 1, control.Compliant: 9}, outcomes); diff != "" {
			t.Errorf("round %d: outcomes of ten events at once (-want +got):\n%s", round, diff)
		}
		if n := len(s.alerts()); n != 1 {
			t.Errorf("round %d: %d alerts, want 1", round, n)
		}
		if n := len(s.cases()); n != round+1 {
			t.Errorf("round %d: %d cases, want %d", round, n, round+1)
		}
		s.removeBlock(reports)
	}
}

func TestTenAtOnceObserveOnce(t *testing.T) {
	s := newAtomicStage(t, "observe")
	s.open(reports)
	ids := map[string]int{}
	var mu sync.Mutex
	var side sync.WaitGroup
	for range 10 {
		side.Go(func() {
			r := one(t, s.engine.Handle(t.Context(), sample(t, deleted)))
			mu.Lock()
			defer mu.Unlock()
			ids[fmt.Sprint(r.Outcome, " ", r.Case, " ", r.Retry)]++
		})
	}
	side.Wait()
	if len(ids) != 1 {
		t.Errorf("ten events at once ended differently: %v", ids)
	}
	if n := len(s.alerts()); n != 1 {
		t.Errorf("%d alerts, want 1", n)
	}
	s.oneCase()
}

// The serial round trips of the way of an event, counted with every answer
// delayed, so that calls made side by side overlap for certain.
func TestRoundTrips(t *testing.T) {
	s := newStage(t, "enforce")
	s.open(reports)
	s.faults.delay = 40 * time.Millisecond
	s.open("example-others")
	cold := s.handle(deleted)
	other := strings.ReplaceAll(string(sample(t, deleted).Raw()), reports, "example-others")
	warm := one(t, s.engine.HandleJSON(t.Context(), "m", []byte(other)))
	s.removeBlock(reports)
	again := s.handle(deleted)
	compliant := s.handle(deleted)
	for name, c := range map[string]struct{ got, want int }{
		"cold, to contained": {cold.ContainedTrips(), 4},
		"cold, to the end":   {cloud.RoundTrips(cold.Trace), 7},
		"warm, to contained": {warm.ContainedTrips(), 3},
		"warm, to the end":   {cloud.RoundTrips(warm.Trace), 6},
		"compliant":          {cloud.RoundTrips(compliant.Trace), 1},
		// The plan is made anew, since the last worker has only just left.
		"a moment after it was changed back, to contained": {again.ContainedTrips(), 4},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d round trips, want %d", name, c.got, c.want)
		}
	}
	if diff := cmp.Diff([]string{
		"DynamoDB.TransactWriteItems", "S3.PutPublicAccessBlock", "S3.GetPublicAccessBlock", "SNS.Publish", "DynamoDB.TransactWriteItems",
	}, warm.Calls[2:]); diff != "" {
		t.Errorf("calls of a warm walk after its reads (-want +got):\n%s", diff)
	}
}

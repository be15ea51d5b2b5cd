package engine_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// bob gives the commands; alice, of the sample events, broke the baseline.
var bob = ledger.Caller{
	ARN: "arn:aws:sts::111111111111:assumed-role/operators/bob", Account: local.HubAccount, UserID: "AROAEXAMPLE:bob", Host: "laptop",
}

// do gives a command about a case, with the digest that the case has.
func (s *stage) do(name string, c *ledger.Case) engine.Answer {
	s.t.Helper()
	return s.engine.Do(s.t.Context(), engine.Command{Name: name, Case: c.ID, Digest: c.Digest(), By: bob})
}

// answered checks an answer, and that one of misuse has cost no write.
func (s *stage) answered(a engine.Answer, verdict engine.Verdict, reason string) {
	s.t.Helper()
	if a.Verdict != verdict || !strings.Contains(a.Reason, reason) {
		s.t.Errorf("want the verdict %s with a reason that says %q, got %s: %s", verdict, reason, a.Verdict, a.Reason)
	}
	for _, call := range a.Calls {
		if verdict == engine.Misuse && (strings.Contains(call, "Write") || strings.Contains(call, "Put") || strings.Contains(call, "Update")) {
			s.t.Errorf("a command that can't mean anything cost the call %s", call)
		}
	}
}

// waiting sets a stage on which a change waits for a yes.
func waiting(t *testing.T, more ...string) (*stage, *ledger.Case) {
	t.Helper()
	s := newStage(t, "approve", more...)
	s.open(reports)
	s.want(s.handle(deleted), control.AwaitingApproval, "")
	s.alerts()
	return s, s.oneCase()
}

func TestApprovalMakesExactlyTheShownChange(t *testing.T) {
	s, c := waiting(t)
	if left := time.Until(c.Until); left < 6*24*time.Hour || left > 7*24*time.Hour {
		t.Errorf("the case waits until %s, want seven days", c.Until)
	}
	s.answered(s.do(engine.Approve, c), engine.Done, "changed, and read back")
	if got := s.block(reports); got != "on" {
		t.Errorf("the block is %s", got)
	}
	c = s.oneCase()
	if c.Outcome != control.Remediated || c.Closed.IsZero() || c.State != "" || string(c.Steps[len(c.Steps)-1].Before) != "null" {
		t.Errorf("the case is not closed as remediated: %+v", c)
	}
	want := []ledger.Command{{Name: engine.Approve, By: bob, Digest: c.Digest(), Result: "remediated"}}
	if diff := cmp.Diff(want, c.Commands, cmpopts.IgnoreFields(ledger.Command{}, "At")); diff != "" || c.Commands[0].At.IsZero() {
		t.Errorf("it is not recorded who approved, when and from where (-want +got):\n%s", diff)
	}
	if a := s.alerts(); len(a) != 1 || a[0].Outcome != control.Remediated || a[0].Case != c.ID {
		t.Errorf("alerts: %+v", a)
	}
	s.answered(s.do(engine.Approve, c), engine.Misuse, "is remediated, and approve is for one that is awaiting-approval")
	s.want(s.handle(deleted), control.Compliant, "")
}

func TestApprovalOfAChangeThatIsAnotherOneNowIsRefused(t *testing.T) {
	s, c := waiting(t)
	s.setBlock(reports, true, false, true, true)
	a := s.do(engine.Approve, c)
	s.answered(a, engine.NotSo, "nothing was changed: the resource has moved since")
	if got := s.block(reports); got != "part" {
		t.Errorf("the block is %s: a change was made that nobody saw", got)
	}
	if a.Shown == nil || a.Now == nil || string(a.Shown.Before) != "null" || !strings.Contains(string(a.Now.Before), `"IgnorePublicAcls":false`) {
		t.Errorf("not both changes are shown: %+v %+v", a.Shown, a.Now)
	}
	now := s.oneCase()
	if now.State != ledger.State(control.AwaitingApproval) || now.Digest() == c.Digest() || now.Digest() != a.Now.Digest {
		t.Errorf("the case does not wait with the new change: %+v", now)
	}
	if len(now.Commands) != 1 || !strings.HasPrefix(now.Commands[0].Result, "refused") || now.Commands[0].Digest != c.Digest() {
		t.Errorf("the refused approval is not recorded: %+v", now.Commands)
	}
	s.answered(s.do(engine.Approve, c), engine.Misuse, "holds another change now")
	s.want(s.handle(deleted), control.AwaitingApproval, "") // it is known: not told again
	s.noAlert()
	s.answered(s.do(engine.Approve, now), engine.Done, "")
	if got := s.block(reports); got != "on" {
		t.Errorf("the block is %s", got)
	}
}

func TestCommandsThatCantMeanAnythingChangeNothing(t *testing.T) {
	s, c := waiting(t)
	do := func(cmd engine.Command) engine.Answer {
		cmd.By = bob
		return s.engine.Do(t.Context(), cmd)
	}
	s.answered(do(engine.Command{Name: engine.Approve, Case: "20260101-aaaaaaaa"}), engine.Misuse, `no case "20260101-aaaaaaaa": `+"`snapback cases list`")
	s.answered(do(engine.Command{Name: engine.Approve, Case: c.ID, Digest: strings.Repeat("0", 64)}), engine.Misuse, "holds another change now: its digest is "+c.Digest()[:12])
	s.answered(do(engine.Command{Name: engine.Approve, Case: c.ID}), engine.Misuse, "holds another change now")
	s.answered(do(engine.Command{Name: engine.Release, Case: c.ID, Digest: c.Digest()}), engine.Misuse, "release is for one that is held: want `snapback cases approve "+c.ID)
	s.answered(do(engine.Command{Name: engine.Retry, Case: c.ID}), engine.Misuse, "retry is for one that is failed")
	s.answered(do(engine.Command{Name: engine.Undo, Case: c.ID}), engine.Misuse, "only what a closed case changed can be undone")
	s.answered(do(engine.Command{Name: engine.Deny, Case: c.ID}), engine.Misuse, "deny needs a reason")
	s.answered(do(engine.Command{Name: "aprove", Case: c.ID}), engine.Misuse, "want approve, deny, release, retry, undo")
	if got := s.block(reports); got != "off" {
		t.Errorf("the block is %s", got)
	}
	if again := s.oneCase(); again.Revision != c.Revision {
		t.Error("the case was written")
	}
}

func TestWhoCausedAViolationMayNotApproveItsChange(t *testing.T) {
	s, c := waiting(t)
	alice := ledger.Caller{ARN: c.Actor.ARN}
	approve := engine.Command{Name: engine.Approve, Case: c.ID, Digest: c.Digest(), By: alice}
	s.answered(s.engine.Do(t.Context(), approve), engine.Misuse, "caused the violation of case "+c.ID)
	approve.By = ledger.Caller{ARN: "arn:aws:iam::222222222222:user/other", UserID: c.Actor.Principal}
	s.answered(s.engine.Do(t.Context(), approve), engine.Misuse, "approvals.four-eyes")
	s.engine = s.newEngine("approve", "approvals: {four-eyes: false}")
	approve.By = alice
	s.answered(s.engine.Do(t.Context(), approve), engine.Done, "")
}

func TestActorIsAddedToACaseThatConfigOpened(t *testing.T) {
	s := newStage(t, "approve")
	s.open(reports)
	s.want(s.handle("config/s3-bucket-item"), control.AwaitingApproval, "")
	if c := s.oneCase(); c.Actor != nil {
		t.Fatalf("AWS Config names an actor: %+v", c.Actor)
	}
	s.alerts()
	for range 2 {
		s.want(s.handle(deleted), control.AwaitingApproval, "")
	}
	s.noAlert()
	c := s.oneCase()
	if c.Actor == nil || c.Actor.Name != "alice" || c.Event.Name != "DeleteBucketPublicAccessBlock" || c.State != ledger.State(control.AwaitingApproval) {
		t.Fatalf("the case does not name who caused it: %+v %+v", c.Actor, c.Event)
	}
	approve := engine.Command{Name: engine.Approve, Case: c.ID, Digest: c.Digest(), By: ledger.Caller{ARN: c.Actor.ARN}}
	s.answered(s.engine.Do(t.Context(), approve), engine.Misuse, "caused the violation")
	s.answered(s.do(engine.Approve, c), engine.Done, "")
}

func TestTheSamePersonInAnotherRoleIsKnown(t *testing.T) {
	sso := func(account, role, name string) string {
		return fmt.Sprintf("arn:aws:sts::%s:assumed-role/AWSReservedSSO_%s_0123456789abcdef/%s", account, role, name)
	}
	for _, tt := range []struct {
		by, actor string
		same      bool
	}{
		{sso("111111111111", "Operator", "alice@example.com"), sso("222222222222", "Admin", "alice@example.com"), true},
		{sso("111111111111", "Operator", "bob@example.com"), sso("222222222222", "Admin", "alice@example.com"), false},
		{"arn:aws:sts::111111111111:assumed-role/deploy/ci", "arn:aws:sts::222222222222:assumed-role/other/ci", false},
		{"arn:aws:iam::111111111111:user/a", "arn:aws:iam::111111111111:user/a", true},
		{"", "", false},
	} {
		if got := engine.SamePerson(ledger.Caller{ARN: tt.by}, &event.Actor{ARN: tt.actor}); got != tt.same {
			t.Errorf("%s and %s: the same %t, want %t", tt.by, tt.actor, got, tt.same)
		}
	}
	if engine.SamePerson(bob, nil) {
		t.Error("nobody is somebody")
	}
}

func TestApprovalWaitsForNothingThatForbidsIt(t *testing.T) {
	for name, tt := range map[string]struct {
		forbid func(*stage)
		reason string
	}{
		"stopped": {func(s *stage) { s.stop(ledger.Organization) }, "was stopped by " + bob.ARN},
		"exempt":  {func(s *stage) { s.exempt(time.Now().Add(time.Hour)) }, "the resource is exempt until"},
		"observe": {func(s *stage) { s.engine = s.newEngine("observe") }, "the mode is now observe"},
		"file":    {func(s *stage) { s.engine = s.newEngine("approve", exemptInFile) }, "exempt until"},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := waiting(t)
			tt.forbid(s)
			s.answered(s.do(engine.Approve, c), engine.NotSo, tt.reason)
			if got := s.block(reports); got != "off" {
				t.Errorf("the block is %s", got)
			}
			if again := s.oneCase(); again.State != ledger.State(control.AwaitingApproval) {
				t.Errorf("the case waits no more: %+v", again)
			}
		})
	}
}

func TestApprovalOfWhatIsMendedByNowEndsTheCase(t *testing.T) {
	s, c := waiting(t)
	s.setBlock(reports, true, true, true, true)
	a := s.do(engine.Approve, c)
	s.answered(a, engine.Done, "there is nothing to do")
	if c := s.oneCase(); c.State != "" || c.Ended != "found compliant" || a.Case.Ended != c.Ended || len(c.Commands) != 1 {
		t.Errorf("the case did not end: %+v", c)
	}
}

func TestDenialHoldsForExactlyThisChange(t *testing.T) {
	s, c := waiting(t)
	a := s.engine.Do(t.Context(), engine.Command{Name: engine.Deny, Case: c.ID, Why: "a public website", By: bob})
	s.answered(a, engine.Done, "denied")
	s.want(s.handle(deleted), control.Denied, "an operator said no to exactly this change")
	s.noAlert()
	if c := s.oneCase(); c.Outcome != control.Denied || c.Commands[0].Why != "a public website" {
		t.Errorf("the case does not say who denied and why: %+v", c)
	}
	s.answered(s.do(engine.Approve, s.oneCase()), engine.Misuse, "is denied")
	s.setBlock(reports, true, true, false, false)
	s.want(s.handle(deleted), control.AwaitingApproval, "BlockPublicPolicy")
	if a := s.alerts(); len(a) != 1 {
		t.Errorf("another change is not asked for: %+v", a)
	}
}

func TestCaseThatNobodyAnswersEndsAndSaysSo(t *testing.T) {
	s, c := waiting(t)
	s.answered(s.engine.Expire(t.Context()), engine.Done, "in time: 0")
	c.Until = time.Now().Add(-time.Second)
	must(t, s.hub.Ledger().Record(t.Context(), c, ledger.Gates{Live: &ledger.Live{Case: c.ID}}, time.Time{}))
	s.answered(s.engine.Expire(t.Context()), engine.Done, "in time: 1")
	c = s.oneCase()
	if c.Outcome != control.Expired || !strings.Contains(c.Ended, "nobody answered until") || c.Closed.IsZero() {
		t.Errorf("the case did not end: %+v", c)
	}
	if a := s.alerts(); len(a) != 1 || a[0].Outcome != control.Expired {
		t.Errorf("alerts: %+v", a)
	}
	s.answered(s.do(engine.Approve, c), engine.Misuse, "is expired, ended")
	s.want(s.handle(deleted), control.AwaitingApproval, "")
	if n := len(s.cases()); n != 2 {
		t.Errorf("%d cases, want another one", n)
	}
}

func TestCaseThatCantBeReadKeepsNoOtherFromEnding(t *testing.T) {
	s, c := waiting(t)
	c.Until = time.Now().Add(-time.Second)
	must(t, s.hub.Ledger().Record(t.Context(), c, ledger.Gates{Live: &ledger.Live{Case: c.ID}}, time.Time{}))
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	for _, opened := range []string{"2020", "2099"} {
		_, err := s.db().PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String(s.hub.Table), Item: map[string]types.AttributeValue{
			"pk": text("case#" + opened), "sk": text("case"), "state": text("awaiting-approval"), "opened": text(opened), "until": text("soon"),
		}})
		must(t, err)
	}
	s.answered(s.engine.Expire(t.Context()), engine.NotSo, "the item can't be understood")
	if c := s.oneCase(); c.Outcome != control.Expired {
		t.Errorf("the case did not end: %+v", c)
	}
}

func TestLateApprovalIsRefused(t *testing.T) {
	s, c := waiting(t)
	c.Until = time.Now().Add(-time.Second)
	must(t, s.hub.Ledger().Record(t.Context(), c, ledger.Gates{Live: &ledger.Live{Case: c.ID}}, time.Time{}))
	s.answered(s.do(engine.Approve, c), engine.NotSo, "has ended")
	if got := s.block(reports); got != "off" {
		t.Errorf("the block is %s", got)
	}
}

func TestNextEventAfterTheTimeIsOverAsksAnew(t *testing.T) {
	s, c := waiting(t)
	c.Until = time.Now().Add(-time.Second)
	must(t, s.hub.Ledger().Record(t.Context(), c, ledger.Gates{Live: &ledger.Live{Case: c.ID}}, time.Time{}))
	r := s.handle(deleted)
	s.want(r, control.AwaitingApproval, "")
	old, err := s.hub.Ledger().Case(t.Context(), c.ID)
	must(t, err)
	if r.Case == c.ID || old.State != "" || !strings.HasPrefix(old.Ended, "nobody answered in time") {
		t.Errorf("the old case: %+v", old)
	}
}

func TestWorkerKilledAfterAnApprovalIsFinishedByTheNextCommandOrEvent(t *testing.T) {
	for name, finish := range map[string]func(*stage, *ledger.Case){
		"command": func(s *stage, c *ledger.Case) { s.answered(s.do(engine.Approve, c), engine.Done, "") },
		"event":   func(s *stage, _ *ledger.Case) { s.want(s.handle(deleted), control.Remediated, "") },
	} {
		t.Run(name, func(t *testing.T) {
			s, c := waiting(t)
			l := s.hub.Ledger()
			gates, err := l.Read(t.Context(), ledger.Question{Control: c.Control, Target: c.Target, ARN: c.ARN})
			must(t, err)
			c.Commands = []ledger.Command{{Name: engine.Approve, By: bob, At: time.Now()}}
			must(t, l.Open(t.Context(), c, gates, ledger.NewWorker(time.Now().Add(-time.Second))))
			finish(s, c)
			if got := s.block(reports); got != "on" {
				t.Errorf("the block is %s", got)
			}
			if c := s.oneCase(); c.Outcome != control.Remediated || c.Commands[0].Result != "remediated" {
				t.Errorf("the case: %+v", c)
			}
		})
	}
}

func TestApprovedChangeWhoseAlertCantBeSentIsFinishedByTheNextCommand(t *testing.T) {
	s, c := waiting(t)
	s.faults.set(always("Publish", 500, "InternalFailure", ""))
	s.answered(s.do(engine.Approve, c), engine.NotSo, "give the command again")
	s.faults.set(nil)
	s.answered(s.do(engine.Approve, c), engine.Done, "changed, and read back")
	if c := s.oneCase(); c.Outcome != control.Remediated || len(c.Commands) != 1 || c.Commands[0].Result != "remediated" {
		t.Errorf("the case: %+v", c)
	}
	if a := s.alerts(); len(a) != 1 {
		t.Errorf("alerts: %+v", a)
	}
}

func TestUndoWhoseAlertCantBeSentIsFinishedByTheNextCommand(t *testing.T) {
	s, c := remediated(t)
	s.faults.set(always("Publish", 500, "InternalFailure", ""))
	s.answered(s.do(engine.Undo, c), engine.NotSo, "give the command again")
	s.faults.set(nil)
	s.answered(s.do(engine.Undo, c), engine.Done, "undone")
	if c := s.oneCase(); c.Outcome != control.Undone || len(c.Commands) != 1 {
		t.Errorf("the case: %+v", c)
	}
	if a := s.alerts(); len(a) != 1 || a[0].Outcome != control.Undone {
		t.Errorf("alerts: %+v", a)
	}
}

// remediated sets a stage on which a bucket was closed that was partly open.
func remediated(t *testing.T, more ...string) (*stage, *ledger.Case) {
	t.Helper()
	s := newStage(t, "enforce", more...)
	s.open(reports)
	s.setBlock(reports, true, false, true, false)
	s.want(s.handle(deleted), control.Remediated, "")
	s.alerts()
	return s, s.oneCase()
}

func TestUndoPutsBackWhatWasThereAndExempts(t *testing.T) {
	s, c := remediated(t)
	a := s.engine.Do(t.Context(), engine.Command{Name: engine.Undo, Case: c.ID, Why: "the website is down", By: bob})
	s.answered(a, engine.Done, "undone: what was there before case "+c.ID+" is back")
	if got := s.block(reports); got != "part" {
		t.Errorf("the block is %s, want as before", got)
	}
	if e := a.Exemption; e == nil || e.Control != c.Control || e.Resource != c.ARN || time.Until(e.Until) > 24*time.Hour || time.Until(e.Until) < 23*time.Hour || e.Case != c.ID {
		t.Errorf("the exemption: %+v", a.Exemption)
	}
	c = s.oneCase()
	if c.Outcome != control.Undone || c.State != "" || c.Steps[len(c.Steps)-1].Undone.IsZero() || c.Commands[0].Result != "undone" {
		t.Errorf("the case: %+v", c)
	}
	if alerts := s.alerts(); len(alerts) != 1 || alerts[0].Outcome != control.Undone {
		t.Errorf("alerts: %+v", alerts)
	}
	s.want(s.handle(deleted), control.Exempt, "case "+c.ID+" was undone: the website is down")
	if got := s.block(reports); got != "part" {
		t.Errorf("the block is %s: the next event redid the change", got)
	}
	s.answered(s.engine.Do(t.Context(), engine.Command{Name: engine.Undo, Case: c.ID, By: bob}), engine.Misuse, "is undone already")
	s.answered(s.engine.Unexempt(t.Context(), c.Control, c.ARN, bob), engine.Done, "no longer exempt")
	s.want(s.handle(deleted), control.Remediated, "")
}

func TestUndoOfAResourceThatHasMovedIsRefusedAndShowsAllThreeStates(t *testing.T) {
	s, c := remediated(t)
	s.setBlock(reports, true, true, true, false)
	a := s.engine.Do(t.Context(), engine.Command{Name: engine.Undo, Case: c.ID, By: bob})
	s.answered(a, engine.NotSo, "nothing was undone: the resource is no longer as the case left it")
	const before, after, now = `{"BlockPublicAcls":true,"IgnorePublicAcls":false,"BlockPublicPolicy":true,"RestrictPublicBuckets":false}`,
		`{"BlockPublicAcls":true,"IgnorePublicAcls":true,"BlockPublicPolicy":true,"RestrictPublicBuckets":true}`,
		`{"BlockPublicAcls":true,"IgnorePublicAcls":true,"BlockPublicPolicy":true,"RestrictPublicBuckets":false}`
	if a.Shown == nil || a.Now == nil || string(a.Shown.Before) != before || string(a.Shown.After) != after || string(a.Now.After) != now {
		t.Errorf("the three states are not in the answer: %+v %+v", a.Shown, a.Now)
	}
	if got := s.block(reports); got != "part" {
		t.Errorf("the block is %s", got)
	}
	if e, err := s.hub.Ledger().Exemption(t.Context(), c.Control, c.ARN); err != nil || e != nil {
		t.Errorf("an exemption stays of an undo that did nothing: %+v %v", e, err)
	}
	if c := s.oneCase(); c.Outcome != control.Remediated || c.State != "" || !strings.Contains(c.Commands[0].Result, "now "+now) {
		t.Errorf("the case: %+v", c)
	}
	s.want(s.handle(deleted), control.Remediated, "") // it is still governed
}

func TestUndoThatWasKilledIsFinishedByTheNextOne(t *testing.T) {
	for name, put := range map[string]bool{"before the change": false, "after the change": true} {
		t.Run(name, func(t *testing.T) {
			s, c := remediated(t)
			l := s.hub.Ledger()
			gates, err := l.Read(t.Context(), ledger.Question{Control: c.Control, Target: c.Target, ARN: c.ARN})
			must(t, err)
			c.Commands = append(c.Commands, ledger.Command{Name: engine.Undo, By: bob, At: time.Now()})
			e := &ledger.Exemption{Control: c.Control, Resource: c.ARN, Reason: "r", Owner: "o", Created: time.Now(), Until: time.Now().Add(24 * time.Hour), By: bob, Case: c.ID}
			must(t, l.Undo(t.Context(), c, gates, ledger.NewWorker(time.Now().Add(-time.Second)), e))
			if put {
				s.setBlock(reports, true, false, true, false)
			}
			s.want(s.handle(deleted), map[bool]control.Outcome{false: control.Compliant, true: control.Exempt}[put], "")
			s.answered(s.engine.Do(t.Context(), engine.Command{Name: engine.Undo, Case: c.ID, By: bob}), engine.Done, "undone")
			if got := s.block(reports); got != "part" {
				t.Errorf("the block is %s", got)
			}
			if c := s.oneCase(); c.Outcome != control.Undone || len(c.Commands) != 1 || c.Commands[0].Result != "undone" {
				t.Errorf("the case: %+v", c)
			}
		})
	}
}

func TestUndoThatWasKilledAndCantBeFinishedLeavesNoExemption(t *testing.T) {
	s, c := remediated(t)
	l := s.hub.Ledger()
	gates, err := l.Read(t.Context(), ledger.Question{Control: c.Control, Target: c.Target, ARN: c.ARN})
	must(t, err)
	c.Commands = append(c.Commands, ledger.Command{Name: engine.Undo, By: bob, At: time.Now()})
	e := &ledger.Exemption{
		Control: c.Control, Resource: c.ARN, Reason: "r", Owner: "o", Created: time.Now(), Until: time.Now().Add(24 * time.Hour), By: bob, Case: c.ID,
	}
	must(t, l.Undo(t.Context(), c, gates, ledger.NewWorker(time.Now().Add(-time.Second)), e))
	s.setBlock(reports, false, false, true, false)
	s.answered(s.engine.Do(t.Context(), engine.Command{Name: engine.Undo, Case: c.ID, By: bob}), engine.NotSo, "no longer as the case left it")
	if e, err := l.Exemption(t.Context(), c.Control, c.ARN); err != nil || e != nil {
		t.Errorf("the resource stays exempt though nothing was undone: %+v %v", e, err)
	}
}

func TestUndoIsNotStoppedByTheKillSwitch(t *testing.T) {
	s, c := remediated(t)
	s.stop(ledger.Organization)
	s.answered(s.engine.Do(t.Context(), engine.Command{Name: engine.Undo, Case: c.ID, By: bob}), engine.Done, "undone")
}

func TestUndoExemptsNoLongerThanTheBaselineAllows(t *testing.T) {
	s, c := remediated(t, "limits: {exemption-days: 2}")
	a := s.engine.Do(t.Context(), engine.Command{Name: engine.Undo, Case: c.ID, For: 49 * time.Hour, By: bob})
	s.answered(a, engine.Misuse, "longer than the 2 days that the baseline allows")
	a = s.engine.Do(t.Context(), engine.Command{Name: engine.Undo, Case: c.ID, For: 48 * time.Hour, By: bob})
	s.answered(a, engine.Done, "")
}

func TestUndoOfABucketThatIsGoneSaysSo(t *testing.T) {
	s, c := remediated(t)
	s.deleteBucket(reports)
	s.answered(s.engine.Do(t.Context(), engine.Command{Name: engine.Undo, Case: c.ID, By: bob}), engine.NotSo, "the resource is gone")
}

func TestIrreversibleChangeWaitsForAYesAndCantBeUndone(t *testing.T) {
	s := newStage(t, "enforce")
	s.engine.Controls[0].Remedy.Undo = nil
	s.open(reports)
	r := s.handle(deleted)
	s.want(r, control.AwaitingApproval, "")
	if a := s.alerts(); len(a) != 1 || !a[0].Irreversible {
		t.Errorf("the alert does not say that the change can't be undone: %+v", a)
	}
	c := s.oneCase()
	s.answered(s.do(engine.Approve, c), engine.Done, "")
	s.answered(s.engine.Do(t.Context(), engine.Command{Name: engine.Undo, Case: c.ID, By: bob}), engine.Misuse, "can't be undone")
	s.removeBlock(reports)
	s.engine = s.newEngine("observe", "controls: {s3-bucket-public-access: {mode: enforce}}")
	s.engine.Controls[0].Remedy.Undo = nil
	s.want(s.handle(deleted), control.Remediated, "") // enforced by its very ID
}

func TestRetryOfAFailedCase(t *testing.T) {
	s := newStage(t, "enforce")
	s.open(reports)
	s.faults.set(always("PutPublicAccessBlock", 403, "AccessDenied", "Access Denied"))
	s.want(s.handle(deleted), control.Failed, "")
	first := s.alerts()
	c := s.oneCase()
	s.answered(s.do(engine.Retry, c), engine.NotSo, "AccessDenied")
	second := s.alerts()
	if len(first) != 1 || len(second) != 1 || first[0].ID == second[0].ID {
		t.Errorf("a second failure is no news of its own: %+v %+v", first, second)
	}
	s.faults.set(nil)
	s.setBlock(reports, true, true, true, false) // by now it is another change
	s.answered(s.do(engine.Retry, s.oneCase()), engine.Done, "changed, and read back")
	c = s.oneCase()
	if c.Outcome != control.Remediated || len(c.Steps) != 2 || len(c.Commands) != 2 || c.Steps[1].Outcome != control.Remediated {
		t.Errorf("the case: %+v", c)
	}
	s.answered(s.do(engine.Undo, c), engine.Done, "")
	if got := s.block(reports); got != "part" {
		t.Errorf("the block is %s", got)
	}
	s.answered(s.do(engine.Retry, s.oneCase()), engine.Misuse, "retry is for one that is failed")
}

func TestCommandLeavesABegunCaseOfTheSameResourceAlone(t *testing.T) {
	s := newStage(t, "enforce")
	s.open(reports)
	s.faults.set(always("PutPublicAccessBlock", 403, "AccessDenied", "Access Denied"))
	s.want(s.handle(deleted), control.Failed, "")
	failed := s.oneCase()
	s.faults.set(always("PutPublicAccessBlock", 500, "InternalError", ""))
	if r := s.handle(deleted); r.Retry == nil {
		t.Fatalf("the second change was not begun: %+v", r)
	}
	s.faults.set(nil)
	s.answered(s.do(engine.Retry, failed), engine.NotSo, "was begun and is not ended")
	if got := s.block(reports); got != "off" {
		t.Errorf("the block is %s", got)
	}
	s.want(s.handle(deleted), control.Remediated, "")
	s.answered(s.do(engine.Retry, failed), engine.Done, "there is nothing to do")
}

func TestExemptionByCommandHoldsUntilItEnds(t *testing.T) {
	s := newStage(t, "enforce", "limits: {exemption-days: 10}")
	s.open(reports)
	arn := "arn:aws:s3:::" + reports
	x := ledger.Exemption{
		Control: "s3-bucket-public-access", Resource: arn, Reason: "a website", Owner: "web@example.com", Until: time.Now().Add(time.Hour), By: bob,
	}
	for reason, edit := range map[string]func(*ledger.Exemption){
		"needs an end":             func(x *ledger.Exemption) { x.Until = time.Time{} },
		"would have ended":         func(x *ledger.Exemption) { x.Until = time.Now().Add(-time.Hour) },
		"allows at most 10 days":   func(x *ledger.Exemption) { x.Until = time.Now().Add(11 * 24 * time.Hour) },
		"needs a reason":           func(x *ledger.Exemption) { x.Reason = " " },
		"needs an owner":           func(x *ledger.Exemption) { x.Owner = "" },
		"there is no control":      func(x *ledger.Exemption) { x.Control = "s3-*" },
		"is no ARN that s3-bucket": func(x *ledger.Exemption) { x.Resource = arn + "/object" },
		"such as arn:aws:s3:::":    func(x *ledger.Exemption) { x.Resource = "arn:aws:ec2:us-east-1:222222222222:instance/i-1" },
	} {
		bad := x
		edit(&bad)
		s.answered(s.engine.Exempt(t.Context(), bad), engine.Misuse, reason)
	}
	s.answered(s.engine.Unexempt(t.Context(), x.Control, arn, bob), engine.Misuse, "no command has exempted")
	s.answered(s.engine.Exempt(t.Context(), x), engine.Done, "is exempt from")
	s.want(s.handle(deleted), control.Exempt, "a website (web@example.com)")
	s.noAlert()
	s.exempt(time.Now().Add(-time.Second)) // it has ended
	s.want(s.handle(deleted), control.Remediated, "")
}

func TestExemptionHasNoEffectBeyondTheLongestThatTheBaselineAllows(t *testing.T) {
	s := newStage(t, "enforce", "limits: {exemption-days: 10}")
	s.open(reports)
	x := &ledger.Exemption{
		Control: "s3-bucket-public-access", Resource: "arn:aws:s3:::" + reports, Reason: "r", Owner: "o",
		Created: time.Now().Add(-11 * 24 * time.Hour), Until: time.Now().Add(time.Hour),
	}
	_, err := s.hub.Ledger().Exempt(t.Context(), x)
	must(t, err)
	s.want(s.handle(deleted), control.Remediated, "")
}

func TestKillSwitchTurnsToObserveFromTheNextEventOn(t *testing.T) {
	for _, scope := range []string{ledger.Organization, local.MemberAccount} {
		t.Run(scope, func(t *testing.T) {
			s := newStage(t, "enforce")
			s.open(reports)
			s.stop("333333333333")
			s.stop(scope)
			r := s.handle(deleted)
			s.want(r, control.Observed, "Nothing is changed while Snapback is stopped")
			if got := s.block(reports); got != "off" {
				t.Errorf("the block is %s", got)
			}
			if a := s.alerts(); len(a) != 1 || a[0].Outcome != control.Observed {
				t.Errorf("alerts: %+v", a)
			}
			must(t, s.hub.Ledger().Switch(t.Context(), ledger.Stop{Scope: scope, By: bob, At: time.Now()}))
			s.want(s.handle(deleted), control.Remediated, "")
		})
	}
}

func TestStoppedInMidChangeHoldsItAndReleaseFinishesIt(t *testing.T) {
	s := newStage(t, "enforce")
	s.open(reports)
	left := s.openCase(time.Now().Add(-time.Second))
	s.stop(ledger.Organization)
	s.want(s.handle(deleted), control.Held, "the change was begun, and the mode is now observe")
	c := s.oneCase()
	if c.ID != left.ID || c.State != ledger.State(control.Held) || c.Gate != ledger.GateMode {
		t.Errorf("the case: %+v", c)
	}
	s.answered(s.do(engine.Release, c), engine.NotSo, "was stopped by")
	must(t, s.hub.Ledger().Switch(t.Context(), ledger.Stop{Scope: ledger.Organization, By: bob, At: time.Now()}))
	s.answered(s.do(engine.Release, c), engine.Done, "")
	if c := s.oneCase(); c.Outcome != control.Remediated || string(c.Steps[len(c.Steps)-1].Before) != "null" {
		t.Errorf("the case: %+v", c)
	}
}

func TestLimitHoldsWhatComesAfterItAndIsToldOnce(t *testing.T) {
	for name, limits := range map[string]string{
		"account": "limits: {changes-per-account-per-hour: 2}", "control": "limits: {changes-per-control-per-hour: 2}",
	} {
		t.Run(name, func(t *testing.T) {
			withinTheHour(t)
			s := newStage(t, "enforce", limits)
			for i := range 5 {
				s.open(fmt.Sprint("bucket-", i))
				want := control.Remediated
				if i >= 2 {
					want = control.Held
				}
				s.want(one(t, s.engine.Handle(t.Context(), s.deletedOf(fmt.Sprint("bucket-", i)))), want, "")
			}
			s.want(one(t, s.engine.Handle(t.Context(), s.deletedOf("bucket-4"))), control.Held, "The baseline allows 2 changes an hour")
			var held, limit int
			for _, a := range s.alerts() {
				if a.Outcome == control.Held {
					held++
				}
				if strings.HasPrefix(a.ID, "limit-"+name+"-") {
					limit++
				}
			}
			if held != 1 || limit != 1 {
				t.Errorf("%d alerts of what is held, %d of the limit, want one in all", held, limit)
			}
			for i, want := range []string{"on", "on", "off", "off", "off"} {
				if got := s.block(fmt.Sprint("bucket-", i)); got != want {
					t.Errorf("bucket %d is %s, want %s", i, got, want)
				}
			}
			s.releaseAll(3)
			for i := range 5 {
				if got := s.block(fmt.Sprint("bucket-", i)); got != "on" {
					t.Errorf("bucket %d is %s after the release", i, got)
				}
			}
		})
	}
}

// withinTheHour waits for the next hour if this one is about to end, and the
// limits with it.
func withinTheHour(t *testing.T) {
	t.Helper()
	now := time.Now()
	if left := now.Truncate(time.Hour).Add(time.Hour).Sub(now); left < 20*time.Second {
		<-time.After(left)
	}
}

// releaseAll releases the held cases, which are so many.
func (s *stage) releaseAll(want int) {
	s.t.Helper()
	var held []*ledger.Case
	for c, err := range s.hub.Ledger().Cases(s.t.Context(), ledger.Query{State: ledger.State(control.Held)}) {
		must(s.t, err)
		held = append(held, c)
	}
	if len(held) != want {
		s.t.Errorf("%d cases are held, want %d", len(held), want)
	}
	for _, c := range held {
		s.answered(s.do(engine.Release, c), engine.Done, "")
	}
}

func TestLimitAlertIsRepeatedUntilItIsOut(t *testing.T) {
	withinTheHour(t)
	s := newStage(t, "enforce", "limits: {changes-per-account-per-hour: 1}")
	s.open(reports)
	s.open("other")
	s.want(s.handle(deleted), control.Remediated, "")
	s.alerts()
	s.faults.set(always("Publish", 500, "InternalFailure", ""))
	r := one(t, s.engine.Handle(t.Context(), s.deletedOf("other")))
	if r.Retry == nil {
		t.Errorf("the event is not handed out again: %+v", r)
	}
	s.faults.set(nil)
	s.want(one(t, s.engine.Handle(t.Context(), s.deletedOf("other"))), control.Held, "")
	if a := s.alerts(); len(a) != 1 || !strings.HasPrefix(a[0].ID, "limit-account-") {
		t.Errorf("alerts: %+v", a)
	}
}

func TestThirdRoundIsNotFought(t *testing.T) {
	s := newStage(t, "enforce")
	s.open(reports)
	for range 2 {
		s.want(s.handle(deleted), control.Remediated, "")
		s.removeBlock(reports)
	}
	s.alerts()
	for range 3 {
		s.want(s.handle("cloudtrail/s3-put-bucket-policy"), control.Held, "This is round 3 over the resource within 24 hours")
		if got := s.block(reports); got != "off" {
			t.Errorf("the block is %s: the third round was fought", got)
		}
	}
	alerts := s.alerts()
	if len(alerts) != 1 || alerts[0].Severity != control.Critical || len(alerts[0].Rounds) != 2 || !strings.Contains(alerts[0].Rounds[0].Actor, "alice") {
		t.Fatalf("want one alert of raised severity with both rounds and their actor, got %+v", alerts)
	}
	s.setBlock(reports, false, true, true, true) // the opponent goes on, in another way
	s.want(s.handle(deleted), control.Held, "")
	s.noAlert()
	c := s.cases()[0]
	a := s.do(engine.Release, c)
	s.answered(a, engine.NotSo, "the resource has moved since")
	s.answered(s.do(engine.Release, a.Case), engine.Done, "")
	if got := s.block(reports); got != "on" {
		t.Errorf("the block is %s", got)
	}
}

func TestRoundsOfAnotherControlOrAnotherDayDoNotCount(t *testing.T) {
	s := newStage(t, "enforce")
	s.open(reports)
	s.want(s.handle(deleted), control.Remediated, "")
	s.removeBlock(reports)
	s.want(s.handle(deleted), control.Remediated, "")
	s.removeBlock(reports)
	key := map[string]types.AttributeValue{
		"pk": &types.AttributeValueMemberS{Value: "target#222222222222/us-east-1/AWS::S3::Bucket/" + reports},
		"sk": &types.AttributeValueMemberS{Value: "lock"},
	}
	old := &types.AttributeValueMemberN{Value: fmt.Sprint(time.Now().Add(-ledger.RoundWindow).UnixMilli())}
	_, err := s.db().UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName: aws.String(s.hub.Table), Key: key, UpdateExpression: aws.String("SET rounds[0].#at = :old"),
		ExpressionAttributeNames: map[string]string{"#at": "at"}, ExpressionAttributeValues: map[string]types.AttributeValue{":old": old},
	})
	must(t, err)
	s.want(s.handle(deleted), control.Remediated, "")
}

func TestGatesThatCantBeUnderstoodAreShut(t *testing.T) {
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	hour := time.Now().UTC().Format("2006-01-02T15")
	for name, item := range map[string]map[string]types.AttributeValue{
		"exemption":   {"pk": text("exemptions"), "sk": text("arn:aws:s3:::" + reports + " s3-bucket-public-access"), "until": text("soon")},
		"kill switch": {"pk": text("stop"), "sk": text("organization"), "on": text("perhaps")},
		"limit":       {"pk": text("limit#account#" + local.MemberAccount), "sk": text(hour), "changes": text("many")},
		"live case":   {"pk": text("target#222222222222/us-east-1/AWS::S3::Bucket/" + reports), "sk": text("control#s3-bucket-public-access"), "state": text("odd")},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, "enforce")
			s.open(reports)
			_, err := s.db().PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String(s.hub.Table), Item: item})
			must(t, err)
			r := s.handle(deleted)
			s.want(r, control.Held, "the item can't be understood")
			if r.Retry == nil {
				t.Error("the event is lost")
			}
			if got := s.block(reports); got != "off" {
				t.Errorf("the block is %s: a gate that can't be read was open", got)
			}
			if a := s.alerts(); len(a) != 1 || a[0].Outcome != control.Held {
				t.Errorf("alerts: %+v", a)
			}
		})
	}
}

func TestAlertsGoWhereTheBaselineSays(t *testing.T) {
	s := newStage(t, "observe", "alerts: [{outcomes: [observed], topic: none}]")
	s.open(reports)
	s.want(s.handle(deleted), control.Observed, "")
	s.want(s.handle(deleted), control.Observed, "")
	s.noAlert()
	if c := s.oneCase(); len(c.Alerts) != 0 {
		t.Errorf("an alert is noted that was not sent: %+v", c.Alerts)
	}
}

func TestObservedViolationsCanHaveATopicOfTheirOwn(t *testing.T) {
	s := newStage(t, "observe", "alerts: [{outcomes: [observed], topic: 'arn:aws:sns:us-east-1:111111111111:snapback-observed'}]")
	s.open(reports)
	cfg := s.aws.Config(local.HubAccount)
	topic, err := sns.NewFromConfig(cfg).CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("snapback-observed")})
	must(t, err)
	queue, err := sqs.NewFromConfig(cfg).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("dashboards")})
	must(t, err)
	_, err = sns.NewFromConfig(cfg).Subscribe(t.Context(), &sns.SubscribeInput{
		TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:111111111111:dashboards"),
	})
	must(t, err)
	s.want(s.handle(deleted), control.Observed, "")
	s.noAlert()
	got, err := sqs.NewFromConfig(cfg).ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl})
	must(t, err)
	if len(got.Messages) != 1 || !strings.Contains(*got.Messages[0].Body, s.oneCase().ID) {
		t.Errorf("the other topic's subscriber got %d messages", len(got.Messages))
	}
	if c := s.oneCase(); len(c.Alerts) != 1 {
		t.Errorf("the alert is not noted: %+v", c.Alerts)
	}
}

func TestOneOfTwoApprovalsAtOnceMakesTheChange(t *testing.T) {
	s := newAtomicStage(t, "approve")
	s.open(reports)
	s.want(s.handle(deleted), control.AwaitingApproval, "")
	c := s.oneCase()
	var mu sync.Mutex
	verdicts := map[engine.Verdict]int{}
	var side sync.WaitGroup
	for range 5 {
		side.Go(func() {
			a := s.do(engine.Approve, c)
			mu.Lock()
			defer mu.Unlock()
			verdicts[a.Verdict]++
		})
	}
	side.Wait()
	if verdicts[engine.Done] != 1 {
		t.Errorf("verdicts of five approvals at once: %v", verdicts)
	}
	if c := s.oneCase(); c.Outcome != control.Remediated || len(c.Commands) != 1 {
		t.Errorf("the case: %+v", c)
	}
}

func TestAnswerPrintsTheDocumentedFields(t *testing.T) {
	s, c := waiting(t)
	text, err := json.Marshal(s.do(engine.Approve, c))
	must(t, err)
	for _, want := range []string{`"verdict":"done"`, `"reason":"`, `"case":{`, `"calls":["DynamoDB.GetItem"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is missing: %s", want, text)
		}
	}
}

// stop turns the kill switch on.
func (s *stage) stop(scope string) {
	s.t.Helper()
	must(s.t, s.hub.Ledger().Switch(s.t.Context(), ledger.Stop{Scope: scope, On: true, Why: "a drill", By: bob, At: time.Now()}))
}

// exempt writes an exemption of the bucket, begun a day ago.
func (s *stage) exempt(until time.Time) {
	s.t.Helper()
	_, err := s.hub.Ledger().Exempt(s.t.Context(), &ledger.Exemption{
		Control: "s3-bucket-public-access", Resource: "arn:aws:s3:::" + reports, Reason: "a website", Owner: "web@example.com",
		Created: time.Now().Add(-24 * time.Hour), Until: until, By: bob,
	})
	must(s.t, err)
}

var exemptInFile = `exemptions: [{control: s3-bucket-public-access, resource: "arn:aws:s3:::` + reports + `", reason: r, owner: o, expires: ` +
	time.Now().Add(48*time.Hour).UTC().Format(time.DateOnly) + `}]`

// deletedOf is the sample event about another bucket.
func (s *stage) deletedOf(bucket string) *event.Event {
	s.t.Helper()
	e, err := event.Decode(bytes.ReplaceAll(sample(s.t, deleted).Raw(), []byte(reports), []byte(bucket)))
	must(s.t, err)
	return e
}

func (s *stage) db() *dynamodb.Client { return dynamodb.NewFromConfig(s.aws.Config(local.HubAccount)) }

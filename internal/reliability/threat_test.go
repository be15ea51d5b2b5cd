package reliability_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// threat is a member account with a threat in it that a runbook answers.
type threat struct {
	*member
	attack
	before scene.World
	// first are the states before the steps, by case and remedy, as the case held
	// them first.
	first map[string]string
	// met counts the calls before the proxy was last cleared.
	met map[string]int
}

// attack is what is a threat's own.
type attack interface {
	// event is what tells the function of it.
	event() []byte
	// now is the world of the account, whatever the proxy says.
	now() scene.World
	// disturbed lets a function be disturbed no more than it would be by AWS, from
	// the event on. Faults at the same calls that were injected before go before.
	disturbed()
	// cleared does so again once all faults are taken out.
	cleared()
	// steps are those of the runbook, and what each comes to.
	steps() map[string]control.Outcome
	// stopped checks what holds of a threat that is contained.
	stopped()
	// standing checks how things stand while a denial lasts.
	standing(threatDenial)
}

// newThreat is one more account for a threat, which begins later.
func (w *world) newThreat(t *testing.T, digit int, domain string) *threat {
	t.Helper()
	return &threat{member: w.newMember(t, digit, domain, time.Minute), first: map[string]string{}, met: map[string]int{}}
}

// begin has the threat begin.
func (s *threat) begin(a attack) {
	s.t.Helper()
	s.attack, s.before = a, a.now()
}

// clear takes all faults out, and keeps in mind how many calls there were.
func (s *threat) clear() {
	for _, name := range s.proxy.Calls() {
		s.met[name]++
	}
	s.proxy.Clear()
	s.cleared()
}

// count is how often a call was made.
func (s *threat) count(call string) int { return s.met[call] + s.proxy.Count(call) }

// send puts the event on the queue.
func (s *threat) send() {
	s.t.Helper()
	must(s.t, s.queue.Send(s.t.Context(), s.event()))
}

// settle ends the lease of a worker that was killed, before each time.
func (s *threat) settle() fate {
	s.t.Helper()
	return s.member.settle(func() {
		s.remember()
		s.endLease()
	})
}

// remember keeps what the cases held first.
func (s *threat) remember() {
	s.t.Helper()
	for _, c := range s.cases() {
		for _, step := range c.Steps {
			key := c.ID + " " + step.Remedy
			if _, known := s.first[key]; !known && len(step.Before) > 0 {
				s.first[key] = string(step.Before)
			}
		}
	}
}

// endLease ends the lease that a killed worker left, as time does: the function
// may take a minute. There is none without a case.
func (s *threat) endLease() {
	s.t.Helper()
	cfg := s.aws.Config(local.HubAccount)
	cfg.BaseEndpoint = aws.String(s.db.Endpoint())
	for _, c := range s.cases() {
		t := c.Target
		_, err := dynamodb.NewFromConfig(cfg).UpdateItem(s.t.Context(), &dynamodb.UpdateItemInput{
			TableName: &s.hub.Table, Key: map[string]types.AttributeValue{
				"pk": &types.AttributeValueMemberS{Value: strings.Join([]string{"target#" + t.Account, t.Region, t.Type, t.ID}, "/")},
				"sk": &types.AttributeValueMemberS{Value: "lock"},
			},
			UpdateExpression: aws.String("SET lease = :now"), ConditionExpression: aws.String("attribute_exists(lease)"),
			ExpressionAttributeValues: map[string]types.AttributeValue{
				":now": &types.AttributeValueMemberN{Value: fmt.Sprint(time.Now().UnixMilli())},
			},
		})
		if none := (*types.ConditionalCheckFailedException)(nil); !errors.As(err, &none) {
			must(s.t, err)
		}
	}
}

// cases are those of the account, oldest first.
func (s *threat) cases() (cases []*ledger.Case) {
	s.t.Helper()
	for c, err := range s.hub.Ledger().Cases(s.t.Context(), ledger.Query{Account: s.account}) {
		must(s.t, err)
		cases = append(cases, c)
	}
	slices.Reverse(cases)
	return cases
}

// contained checks the end that every fault that passes must come to.
func (s *threat) contained(end fate) {
	s.t.Helper()
	if end.dead {
		s.t.Errorf("the message is dead after %d tries\n%s", end.tries, s.function.Logs())
	}
	cases := s.cases()
	if len(cases) != 1 {
		s.t.Fatalf("%d cases, want 1: %+v\n%s", len(cases), cases, s.function.Logs())
	}
	s.stopped()
	s.closed(cases[0], control.Remediated, nil)
	s.oneStory(s.told(), control.Remediated, cases[0].ID)
	if n := s.used(s.t, ledger.PerThreatAccount, s.account); n != 1 {
		s.t.Errorf("%d changes are counted against threats in the account, want 1", n)
	}
}

// closed checks a case that has ended: what its steps came to, where that is not
// what they come to undisturbed, and that each holds its first state.
func (s *threat) closed(c *ledger.Case, outcome control.Outcome, but map[string]control.Outcome) {
	s.t.Helper()
	if c.Outcome != outcome || c.State != "" || c.Closed.IsZero() || len(c.Alerts) == 0 {
		s.t.Errorf("case %s is %s %s, closed %v, told %v: want it %s, closed and told\n%s",
			c.ID, c.State, c.Outcome, c.Closed, c.Alerts, outcome, s.function.Logs())
	}
	got, want := map[string]control.Outcome{}, s.steps()
	for _, step := range c.Current() {
		got[step.Remedy] = step.Outcome
		if was, known := s.first[c.ID+" "+step.Remedy]; known && was != string(step.Before) && outcome == control.Remediated {
			s.t.Errorf("the state before %s is %s now, and was first %s", step.Remedy, step.Before, was)
		}
	}
	maps.Copy(want, but)
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("the steps of case %s (-want +got):\n%s\n%s", c.ID, diff, s.function.Logs())
	}
}

// released undoes the cases that changed something, the last one first: the
// world is as it was before the event, but for what forget takes out of it. The
// undo has no other note than the one that is given.
func (s *threat) released(forget func(scene.World)) {
	s.t.Helper()
	s.clear()
	for _, c := range slices.Backward(s.cases()) {
		if !slices.ContainsFunc(c.Steps, func(step ledger.Step) bool { return !step.Applied.IsZero() }) {
			continue
		}
		a, err := s.command(engine.Undo, c.ID)
		if err != nil || a.Verdict != engine.Done {
			s.t.Errorf("undo: %s: %s (%v)", a.Verdict, a.Reason, err)
		}
		for _, n := range a.Notes {
			s.t.Errorf("the undo notes: %s", n)
		}
	}
	now := s.now()
	if forget != nil {
		forget(now)
	}
	if diff := cmp.Diff(s.before, now); diff != "" {
		s.t.Errorf("after the release the world is another one (-want +got):\n%s\n%s", diff, s.function.Logs())
	}
}

// releasedAgain has a worker killed at a call of the undo, and the command given
// again.
func (s *threat) releasedAgain(call string, nth int) string {
	s.t.Helper()
	s.disturbed()
	s.send()
	s.contained(s.settle())
	s.clear()
	s.proxy.Inject(call, nth, local.KilledAfter(s.kill))
	id := s.cases()[0].ID
	var killed *local.FunctionError
	if a, err := s.command(engine.Undo, id); !errors.As(err, &killed) {
		s.t.Fatalf("the function lives and answers %s: %s (%v)", a.Verdict, a.Reason, err)
	}
	s.endLease()
	s.released(nil)
	if n := len(s.cases()[0].Commands); n != 1 {
		s.t.Errorf("%d commands are in the case, want the one that was given twice", n)
	}
	return "released"
}

// words say how threat, message and operators stand.
func (s *threat) words(end fate) string {
	s.t.Helper()
	told := s.told()
	text := "no alert"
	if len(told) > 0 {
		text = called(told[0].Outcome)
	}
	return text + end.words() + times(len(told))
}

// called is what an alert calls a threat's outcome.
func called(o control.Outcome) string {
	switch o {
	case control.Remediated:
		return "contained"
	case control.Partial:
		return "partly contained"
	case control.Failed:
		return "not contained"
	}
	return string(o)
}

// refused is an error of EC2's, which has a form of its own. Source: EC2 API
// reference, "Error codes".
func refused(status int, code string) local.Fault {
	return local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
		x.Answer(local.Answer{
			Status: status, Header: http.Header{"Content-Type": {"text/xml"}},
			Body: fmt.Appendf(nil, "<Response><Errors><Error><Code>%s</Code><Message>No.</Message></Error></Errors><RequestID>local</RequestID></Response>", code),
		})
	}}
}

// throttling and denying are for good, until they are lifted.
func throttling(call string) local.Fault {
	if strings.HasPrefix(call, "EC2.") {
		return refused(http.StatusServiceUnavailable, "RequestLimitExceeded")
	}
	return local.Throttled(-1)
}

func denying(call string) local.Fault {
	if strings.HasPrefix(call, "EC2.") {
		return refused(http.StatusForbidden, "UnauthorizedOperation")
	}
	return local.Denied()
}

// all are steps that came to the same.
func all(outcome control.Outcome, steps ...string) map[string]control.Outcome {
	outcomes := map[string]control.Outcome{}
	for _, name := range steps {
		outcomes[name] = outcome
	}
	return outcomes
}

package reliability_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// fault is a column of the table.
type fault struct {
	name    string
	timeout time.Duration // of the function
	of      func(*site) local.Fault
	lasts   bool // until it is lifted
}

// The timeouts of the function, which set its leases. The short one outlives a
// call that hangs once, the long one the reading back of a change, which goes on
// for 30 s.
const (
	short = 15 * time.Second
	long  = 45 * time.Second
)

var faults = []fault{
	{"throttled twice", short, func(*site) local.Fault { return local.Throttled(2) }, false},
	// As often as the client tries: the walk has to give the message back.
	{"throttled four times", short, func(*site) local.Fault { return local.Throttled(4) }, false},
	{"internal error once", short, func(*site) local.Fault { return local.ServerError(1) }, false},
	{"answer lost", short, func(*site) local.Fault { return local.AnswerLost() }, false},
	{"timeout, not carried out", short, func(*site) local.Fault { return local.TimesOut() }, false},
	{"timeout, carried out", short, func(*site) local.Fault { return local.TimesOutAfter() }, false},
	{"killed before", short, func(s *site) local.Fault { return local.KilledBefore(s.kill) }, false},
	{"killed after", short, func(s *site) local.Fault { return local.KilledAfter(s.kill) }, false},
	{"denied for good", long, func(*site) local.Fault { return local.Denied() }, true},
}

// denial is what is right where a call is denied for good: what retrying can't
// mend is told to the operators at once. A message ends in the dead-letter queue
// where Snapback could not write down, or tell, what it has to.
type denial struct {
	told   control.Outcome // empty: nothing can be told
	says   string          // in the alert
	bucket block
	cases  int
	dead   bool
	// again is the outcome once the denial is lifted: of the dead message that is
	// redriven, or else of the next event.
	again control.Outcome
	// casesAgain is how many cases there are then.
	casesAgain int
}

// denials are by call. A call that is new in the path fails the test until it
// is decided here what is right.
var denials = map[string]denial{
	// The account can't be entered, or the bucket not be read: nobody knows what is there.
	"STS.AssumeRole":             {control.Unreadable, "not authorized", first, 1, false, control.Remediated, 2},
	"S3.GetPublicAccessBlock #1": {control.Unreadable, "Access Denied", first, 1, false, control.Remediated, 2},
	// Whether it may be changed can't be asked, or that it is changed not be
	// written down: so it is not changed. There is nothing to record it in.
	"DynamoDB.BatchGetItem":          {control.Held, "not authorized", first, 0, true, control.Remediated, 1},
	"DynamoDB.TransactWriteItems #1": {control.Held, "not authorized", first, 0, true, control.Remediated, 1},
	// The case says for good that this attempt failed; the next event is another one's.
	"S3.PutPublicAccessBlock": {control.Failed, "Access Denied", first, 1, false, control.Remediated, 2},
	// It was changed, and nobody saw that it held. The next event sees.
	"S3.GetPublicAccessBlock #2": {control.Failed, "The change was made, but it can't be read back", closed, 1, false, control.Compliant, 1},
	// It is changed and must be told: the message stays until it is.
	"SNS.Publish": {"", "", closed, 1, true, control.Remediated, 1},
	// It is changed and told, but the case stays open: the next one closes it.
	"DynamoDB.TransactWriteItems #2": {control.Remediated, "", closed, 1, true, control.Remediated, 1},
}

// call is a row of the table: the nth call of its name in the path.
type call struct {
	name string
	nth  int
	only bool // there is no second one
}

func (c call) String() string {
	if c.only {
		return c.name
	}
	return fmt.Sprintf("%s #%d", c.name, c.nth)
}

// record is what calls an undisturbed function makes for one event, by name.
func (w *world) record(t *testing.T) []call {
	t.Helper()
	s := w.newSite(t, short)
	s.send()
	s.remediated(s.settle())
	names := map[string]int{}
	var calls []call
	for _, name := range s.proxy.Calls() {
		names[name]++
		calls = append(calls, call{name: name, nth: names[name]})
	}
	for i := range calls {
		calls[i].only = names[calls[i].name] == 1
	}
	if len(calls) < 5 {
		t.Fatalf("the path has only the calls %v: the proxy sees not all", calls)
	}
	return calls
}

// inOrder sorts calls by when they are made. To tell calls that are made side
// by side from those that wait for each other, each answer is delayed: what is
// made side by side is then sorted by name.
func (w *world) inOrder(t *testing.T, calls []call) {
	t.Helper()
	const delay = time.Second
	s := w.newSite(t, long)
	var mu sync.Mutex
	var arrived []time.Time
	round := map[call]int{}
	for _, c := range calls {
		s.proxy.Inject(c.name, c.nth, local.Fault{Times: 1, Disturb: func(x *local.Exchange) {
			mu.Lock()
			arrived = append(arrived, time.Now())
			round[c] = len(arrived) - 1
			mu.Unlock()
			a := x.Forward()
			<-time.After(delay)
			x.Answer(a)
		}})
	}
	s.send()
	s.remediated(s.settle())
	if len(round) != len(calls) {
		t.Fatalf("the calls %v were made, want %v", round, calls)
	}
	rounds := make([]int, len(arrived))
	for i := 1; i < len(arrived); i++ {
		rounds[i] = rounds[i-1]
		if arrived[i].Sub(arrived[i-1]) > delay/2 {
			rounds[i]++
		}
	}
	slices.SortFunc(calls, func(a, b call) int {
		return cmp.Or(cmp.Compare(rounds[round[a]], rounds[round[b]]), strings.Compare(a.String(), b.String()))
	})
}

// drill puts a fault in the way of one event, follows it to its end and takes
// the change back. It returns what came of it, in words.
func (w *world) drill(t *testing.T, c call, f fault) string {
	s := w.newSite(t, f.timeout)
	s.proxy.Inject(c.name, c.nth, f.of(s))
	s.send()
	end := s.settle()
	if n := s.proxy.Count(c.name); n < c.nth {
		t.Fatalf("the fault met nothing: %d calls %s", n, c.name)
	}
	words := s.words(end)
	if f.lasts {
		right, ok := denials[c.String()]
		if !ok {
			t.Fatalf("%s is new in the path: decide in denials what is right where it is denied, and see that it is so", c)
		}
		s.denied(right, end)
		words += s.lift(right)
	} else {
		s.remediated(end)
	}
	s.takeBack()
	return words
}

// words say how the bucket, its message and the operators stand.
func (s *site) words(end fate) string {
	s.t.Helper()
	told := s.told()
	text := "unchanged, no alert"
	switch {
	case len(told) > 0:
		text = string(told[0].Outcome)
	case s.now() == closed:
		text = "changed, no alert"
	}
	return text + end.words() + times(len(told))
}

// words say how often a message was handed out.
func (f fate) words() string {
	switch {
	case f.dead:
		return ", dead-letter queue"
	case f.tries == 2:
		return " after 1 redelivery"
	case f.tries > 2:
		return fmt.Sprintf(" after %d redeliveries", f.tries-1)
	}
	return ""
}

// times say how often the operators were told, if that was more than once.
func times(told int) string {
	switch told {
	case 0, 1:
		return ""
	case 2:
		return ", alerted twice"
	}
	return fmt.Sprintf(", alerted %d times", told)
}

// remediated checks the end that every fault that passes must come to.
func (s *site) remediated(end fate) {
	s.t.Helper()
	if end.dead {
		s.t.Errorf("the message is dead after %d tries", end.tries)
	}
	if now := s.now(); now != closed {
		s.t.Errorf("the block of the bucket is %v, want %v", now, closed)
	}
	cases := s.cases()
	if len(cases) != 1 {
		s.t.Fatalf("%d cases, want 1: %+v", len(cases), cases)
	}
	s.ended(cases[0], control.Remediated)
	s.oneStory(s.told(), control.Remediated, cases[0].ID)
}

// ended checks a case whose bucket was changed: closed, with its first state.
func (s *site) ended(c *ledger.Case, outcome control.Outcome) {
	s.t.Helper()
	if c.Outcome != outcome || c.State != "" || c.Closed.IsZero() || len(c.Alerts) == 0 {
		s.t.Errorf("case %s is %s %s, closed %v, told %v: want it %s, closed and told", c.ID, c.State, c.Outcome, c.Closed, c.Alerts, outcome)
	}
	if len(c.Steps) != 1 || string(c.Steps[0].Before) != firstState {
		s.t.Errorf("case %s has the steps %+v, want one whose state before is %s", c.ID, c.Steps, firstState)
	}
}

// oneStory checks that the alerts are one, or its repetitions.
func (s *member) oneStory(alerts []local.Alert, outcome control.Outcome, id string) {
	s.t.Helper()
	if len(alerts) == 0 {
		s.t.Errorf("nobody was told that it is %s", outcome)
	}
	for _, a := range alerts {
		if a.ID != alerts[0].ID || a.Outcome != outcome || a.Case != id {
			s.t.Errorf("alert %s of case %q says %s, want %s of case %q as in alert %s", a.ID, a.Case, a.Outcome, outcome, id, alerts[0].ID)
		}
	}
}

// denied checks how things stand while a denial lasts.
func (s *site) denied(right denial, end fate) {
	s.t.Helper()
	tries := 1
	if right.dead {
		tries = maxReceives
	}
	if end.dead != right.dead || end.tries != tries {
		s.t.Errorf("the message is dead: %t after %d tries, want %t after %d\n%s", end.dead, end.tries, right.dead, tries, s.function.Logs())
	}
	if now := s.now(); now != right.bucket {
		s.t.Errorf("the block of the bucket is %v, want %v", now, right.bucket)
	}
	cases, id := s.cases(), ""
	if len(cases) != right.cases {
		s.t.Fatalf("%d cases, want %d: %+v", len(cases), right.cases, cases)
	}
	if len(cases) > 0 {
		id = cases[0].ID
	}
	told := s.told()
	if right.told == "" {
		if len(told) > 0 {
			s.t.Errorf("the operators were told %+v through a topic that is denied", told)
		}
		return
	}
	s.oneStory(told, right.told, id)
	for _, a := range told {
		if !strings.Contains(a.Error+a.Reason, right.says) {
			s.t.Errorf("the alert does not say %q: %s %s", right.says, a.Reason, a.Error)
		}
	}
}

// lift ends a denial, has the dead message redriven or another event come, and
// checks that all is well then. It returns what came of it, in words.
func (s *site) lift(right denial) string {
	s.t.Helper()
	s.proxy.Clear()
	way := "next event"
	if right.dead {
		way = "redriven"
		must(s.t, s.queue.Redrive(s.t.Context()))
	} else {
		s.send()
	}
	if end := s.settle(); end.dead || end.tries != 1 {
		s.t.Errorf("without the denial the message is dead: %t after %d tries\n%s", end.dead, end.tries, s.function.Logs())
	}
	if got := s.outcome(); got != right.again {
		s.t.Errorf("without the denial the outcome is %s, want %s", got, right.again)
	}
	if now := s.now(); now != closed {
		s.t.Errorf("without the denial the block of the bucket is %v, want %v", now, closed)
	}
	cases := s.cases()
	if len(cases) != right.casesAgain {
		s.t.Fatalf("%d cases, want %d: %+v", len(cases), right.casesAgain, cases)
	}
	last := cases[len(cases)-1]
	outcome := right.again
	if outcome == control.Compliant { // the case stays as it ended
		outcome = right.told
	}
	s.ended(last, outcome)
	var about []local.Alert
	for _, a := range s.told() {
		if a.Case == last.ID {
			about = append(about, a)
		}
	}
	s.oneStory(about, outcome, last.ID)
	if len(cases) == 2 && (cases[0].Outcome != right.told || cases[0].State != "") {
		s.t.Errorf("the case of the denial is %s %s, want %s", cases[0].State, cases[0].Outcome, right.told)
	}
	return fmt.Sprintf("; %s: %s", way, right.again)
}

// takeBack checks what the changes count for, undoes the last case, and sees
// that the bucket is as it was and left alone.
func (s *site) takeBack() {
	s.t.Helper()
	cases := s.cases()
	opened := 0
	for _, c := range cases {
		opened += len(c.Steps)
	}
	if n := s.used(s.t, ledger.PerAccount, s.account); n != opened {
		s.t.Errorf("%d changes are counted in the account, and %d were opened", n, opened)
	}
	if n := len(s.gates().Rounds); n != opened {
		s.t.Errorf("%d rounds are counted over the bucket, and %d were opened", n, opened)
	}
	s.mu.Lock()
	s.opened += opened
	s.mu.Unlock()

	last := cases[len(cases)-1]
	if a, err := s.command(engine.Undo, last.ID); err != nil || a.Verdict != engine.Done {
		s.t.Errorf("undo: %s: %s (%v)", a.Verdict, a.Reason, err)
	}
	if now := s.now(); now != first {
		s.t.Errorf("after the undo the block of the bucket is %v, want %v", now, first)
	}
	s.send()
	if end := s.settle(); end.dead || s.outcome() != control.Exempt || s.now() != first {
		s.t.Errorf("after the undo an event ends as %s (dead: %t) and leaves the block %v, want it exempt, and %v", s.outcome(), end.dead, s.now(), first)
	}
	if n := len(s.cases()); n != len(cases) {
		s.t.Errorf("after the undo there are %d cases, want %d", n, len(cases))
	}
}

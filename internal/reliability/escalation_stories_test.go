package reliability_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

var escalationStories = []story{
	{"killed when the grant is taken back and he is not denied yet", killedBeforeDenial},
	{"killed when he is denied and the grant is not taken back yet", killedBeforeTakingBack},
	{"he takes the grant back himself before anybody looks", takenBackByHimself},
	{"he attaches it once more before that is read back", raisedUnread},
	{"he attaches it once more when that is read back, before he is denied", raisedUnseen},
	{"killed in the middle of a release, and the command given again", rehiredAgain},
}

// when holds a call until the world is as it is waited for, and then does
// something before the call goes on; it is not carried out if that kills.
func (s *escalation) when(is func(scene.World) bool, do func(*local.Exchange)) local.Fault {
	cfg := s.aws.Config(s.account)
	return local.Fault{Times: 1, Disturb: func(x *local.Exchange) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			w, err := scene.IAM(s.t.Context(), cfg)
			if err != nil || is(w) {
				break // a wrong world fails the test later
			}
			<-tick.C
		}
		do(x)
	}}
}

func (s *escalation) die(x *local.Exchange) {
	s.kill()
	x.Reset()
}

func hasNoGrant(w scene.World) bool { return w[user+"policies"] == "" }

func isDenied(w scene.World) bool { return w[user+"boundary"] != "" }

// halfWay has the worker killed with some steps made, and the next one finish.
func (s *escalation) halfWay(steps ...string) string {
	s.t.Helper()
	s.send()
	if d := s.poll(); len(d.Failed) != 1 || d.Err == nil {
		s.t.Fatalf("delivery %+v: the worker was not killed", d)
	}
	s.standsAs(s.made(steps...))
	end := s.settle()
	end.tries++
	words := s.words(end)
	s.contained(end)
	s.released(nil)
	return words
}

// killedBeforeDenial leaves no reason for the denial but the case.
func killedBeforeDenial(w *world, t *testing.T) string {
	s := w.newEscalation(t)
	s.proxy.Inject(bound, 1, s.when(hasNoGrant, s.die))
	return s.halfWay(takeBack)
}

// killedBeforeTakingBack leaves a grant that gives him nothing.
func killedBeforeTakingBack(w *world, t *testing.T) string {
	s := w.newEscalation(t)
	s.proxy.Inject(detach, 1, s.when(isDenied, s.die))
	s.proxy.Inject(setKey, 1, local.Fault{Times: 1, Disturb: (*local.Exchange).Hold}) // until the worker is killed
	return s.halfWay(deny)
}

func takenBackByHimself(w *world, t *testing.T) string {
	s := w.newEscalation(t)
	_, err := iam.NewFromConfig(w.aws.Config(s.account)).DetachUserPolicy(t.Context(), &iam.DetachUserPolicyInput{
		UserName: &s.Name, PolicyArn: aws.String(scene.Administrator),
	})
	must(t, err)
	s.send()
	if end := s.settle(); end.dead || end.tries != 1 || s.outcome() != control.Compliant {
		t.Errorf("the event ends as %s: %+v", s.outcome(), end)
	}
	if cases, told := s.cases(), s.told(); len(cases)+len(told) > 0 {
		t.Errorf("cases %+v and alerts %+v, want none", cases, told)
	}
	s.standsAs(s.made(takeBack))
	return "nothing happens"
}

// raisedUnread has him do it again before the taking back is read back.
func raisedUnread(w *world, t *testing.T) string {
	s := w.newEscalation(t)
	s.proxy.Inject(attached, 2, s.when(hasNoGrant, s.raiseAgain))
	return s.twice(control.Partial)
}

// raisedUnseen has him do it again when the taking back is read back, and the
// denial does not hold yet.
func raisedUnseen(w *world, t *testing.T) string {
	s := w.newEscalation(t)
	readBack := make(chan struct{})
	s.proxy.Inject(attached, 2, local.Fault{Times: 1, Disturb: func(x *local.Exchange) {
		x.Answer(x.Forward())
		close(readBack)
	}})
	s.proxy.Inject(bound, 1, local.Fault{Times: 1, Disturb: func(x *local.Exchange) {
		<-readBack
		s.raiseAgain(x)
	}})
	return s.twice(control.Remediated)
}

func (s *escalation) raiseAgain(x *local.Exchange) {
	if err := s.Raise(s.t.Context()); err != nil {
		s.t.Error(err)
	}
	x.Answer(x.Forward())
}

// twice handles both of his calls; outcome is that of the first.
func (s *escalation) twice(outcome control.Outcome) string {
	s.t.Helper()
	s.send()
	words := s.words(s.settle())
	if isDenied := isDenied(s.now()); s.outcome() != outcome || !isDenied || hasNoGrant(s.now()) {
		s.t.Errorf("he has the grant: %t, is denied: %t, and the first event ends as %s, want %s", !hasNoGrant(s.now()), isDenied, s.outcome(), outcome)
	}
	s.clear()
	s.send()
	if end := s.settle(); end.dead || s.outcome() != control.Remediated {
		s.t.Errorf("the second event ends as %s, dead: %t, want it remediated\n%s", s.outcome(), end.dead, s.function.Logs())
	}
	s.stopped()
	cases := s.cases()
	if n := s.used(s.t, ledger.PerThreatAccount, s.account); n != 2 || len(cases) != 2 {
		s.t.Fatalf("%d cases and %d changes are counted, want 2 each: %+v", len(cases), n, cases)
	}
	if a, err := s.command(engine.Undo, cases[0].ID); err != nil || a.Verdict != engine.Done {
		s.t.Errorf("undo: %s: %s (%v)", a.Verdict, a.Reason, err)
	}
	s.standsAs(s.before)
	return words + "; his second call: " + called(s.told()[1].Outcome)
}

func rehiredAgain(w *world, t *testing.T) string {
	s := w.newEscalation(t)
	words := s.releasedAgain("IAM.DeleteUserPermissionsBoundary", 1)
	s.send()
	if end := s.settle(); end.dead || s.outcome() != control.Observed {
		t.Errorf("after the release an event ends as %s, dead: %t, want it observed", s.outcome(), end.dead)
	}
	s.standsAs(s.before)
	return words
}

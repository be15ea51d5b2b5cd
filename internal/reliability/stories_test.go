package reliability_test

import (
	"testing"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// The calls of the path that the stories disturb.
const (
	put     = "S3.PutPublicAccessBlock"
	get     = "S3.GetPublicAccessBlock"
	publish = "SNS.Publish"
)

// story is what is more than one fault at one call. It returns how it ended, in
// words.
type story struct {
	name string
	run  func(*world, *testing.T) string
}

var stories = []story{
	{"reading the change back is stale five times, then right", staleFiveTimes},
	{"reading the change back is stale for ever", staleForEver},
	{"killed before the change, and the next time after it", killedTwice},
	{"killed with the change half made", killedHalfWay},
	{"killed, and handed out again before the lease has ended", beforeTheLeaseEnds},
	{"the alert can't be sent, the message dies, is redriven too early, and once more when it can", redrivenTooEarly},
	{"the message is dead, and another event about the bucket comes", overtaken},
	{"killed in the middle of an undo, and the command given again", undoneAgain},
}

func staleFiveTimes(w *world, t *testing.T) string {
	s := w.newSite(t, long)
	s.proxy.Inject(get, 2, local.Stale(5))
	s.send()
	end := s.settle()
	if n := s.proxy.Count(get); n != 7 {
		t.Errorf("the bucket was read %d times, want once to plan, five times stale and once right", n)
	}
	words := s.words(end)
	s.remediated(end)
	s.takeBack()
	return words
}

func staleForEver(w *world, t *testing.T) string {
	s := w.newSite(t, long)
	s.proxy.Inject(get, 2, local.Stale(-1))
	s.send()
	right := denial{told: control.Failed, says: "The change was made, but reading it back shows", bucket: closed, cases: 1, again: control.Compliant, casesAgain: 1}
	end := s.settle()
	words := s.words(end)
	s.denied(right, end)
	words += s.lift(right)
	s.takeBack()
	return words
}

// killedTwice needs all the tries that a message has.
func killedTwice(w *world, t *testing.T) string {
	s := w.newSite(t, short)
	s.proxy.Inject(put, 1, local.KilledBefore(s.kill))
	s.proxy.Inject(put, 2, local.KilledAfter(s.kill))
	s.send()
	end := s.settle()
	words := s.words(end)
	s.remediated(end)
	s.takeBack()
	return words
}

// killedHalfWay plays a remedy of several calls: this one makes its change in
// one, so the half of it is made by hand.
func killedHalfWay(w *world, t *testing.T) string {
	s := w.newSite(t, short)
	s.proxy.Inject(put, 1, local.KilledBefore(s.kill))
	s.send()
	s.poll()
	s.put(block{true, true, true, false})
	end := s.settle()
	end.tries++
	words := s.words(end)
	s.remediated(end)
	s.takeBack()
	return words
}

// beforeTheLeaseEnds is why the visibility timeout must be longer than a lease:
// each delivery before that is a try for nothing.
func beforeTheLeaseEnds(w *world, t *testing.T) string {
	s := w.newSite(t, short)
	s.proxy.Inject(put, 1, local.KilledBefore(s.kill))
	s.send()
	s.poll()
	if d := s.poll(); len(d.Failed) != 1 || d.Err != nil {
		t.Errorf("delivery %+v: want the message handed out again", d)
	}
	if s.now() != first || len(s.told()) != 0 || s.gates().Live.State != ledger.Open {
		t.Errorf("the bucket is %v, alerts %v: the killed worker's lease was not honoured", s.now(), s.told())
	}
	end := s.settle()
	end.tries += 2
	words := s.words(end)
	s.remediated(end)
	s.takeBack()
	return words
}

func redrivenTooEarly(w *world, t *testing.T) string {
	s := w.newSite(t, short)
	s.proxy.Inject(publish, 1, local.Denied())
	s.send()
	right := denials[publish]
	for range 2 {
		end := s.settle()
		s.denied(right, end)
		if c := s.cases()[0]; c.State != ledger.Open || len(c.Alerts) != 0 {
			t.Errorf("case %s is %s, told %v: want it open until it is told", c.ID, c.State, c.Alerts)
		}
		must(t, s.queue.Redrive(t.Context()))
	}
	s.proxy.Clear()
	end := s.settle()
	words := "dead-letter queue twice; redriven: " + s.words(end)
	s.remediated(end)
	s.takeBack()
	return words
}

func overtaken(w *world, t *testing.T) string {
	s := w.newSite(t, short)
	s.proxy.Inject(publish, 1, local.Denied())
	s.send()
	s.denied(denials[publish], s.settle())
	s.proxy.Clear()
	s.send()
	end := s.settle()
	words := "the other event: " + s.words(end)
	s.remediated(end)
	must(t, s.queue.Redrive(t.Context()))
	if end := s.settle(); end.dead || s.outcome() != control.Compliant {
		t.Errorf("the redriven message ends as %s, dead: %t, want compliant", s.outcome(), end.dead)
	}
	words += "; redriven: " + string(s.outcome())
	s.remediated(end) // nothing more came of it
	s.takeBack()
	return words
}

func undoneAgain(w *world, t *testing.T) string {
	s := w.newSite(t, short)
	s.send()
	end := s.settle()
	s.remediated(end)
	id := s.cases()[0].ID
	s.proxy.Clear()
	s.proxy.Inject(put, 1, local.KilledAfter(s.kill))
	if a, err := s.command(engine.Undo, id); err == nil {
		t.Fatalf("the function lives and answers %s: %s", a.Verdict, a.Reason)
	}
	if s.now() != first {
		t.Errorf("the function was killed before it had put back %v: %v", first, s.now())
	}
	s.send() // it must not make the change again
	if d := s.poll(); len(d.Failed) != 1 || s.now() != first {
		t.Errorf("delivery %+v in the middle of an undo, and the bucket is %v: want the message handed out again", d, s.now())
	}
	if end := s.settle(); end.dead || s.outcome() != control.Exempt {
		t.Errorf("the message ends as %s, dead: %t, want exempt", s.outcome(), end.dead)
	}
	s.takeBack()
	if n := len(s.cases()[0].Commands); n != 1 {
		t.Errorf("%d commands are in the case, want the one that was given twice", n)
	}
	return "undone"
}

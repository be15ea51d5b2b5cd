package ledger_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// waiting is a recorded case that waits for a yes, as it is read.
func waiting(t *testing.T, l *ledger.Ledger) *ledger.Case {
	t.Helper()
	c := newCase("null", "{}")
	c.Outcome, c.Until = control.AwaitingApproval, time.Now().UTC().Add(time.Hour).Truncate(time.Millisecond)
	must(t, l.Record(t.Context(), c, read(t, l), time.Time{}))
	return reread(t, l, c)
}

// liveOf are gates that know nothing but a live case.
func liveOf(c *ledger.Case) ledger.Gates { return ledger.Gates{Live: &ledger.Live{Case: c.ID}} }

func TestCaseIsRecordedAnewUnderItsRevision(t *testing.T) {
	l := newLedger(t)
	c := waiting(t, l)
	old := reread(t, l, c)
	c.Outcome, c.Until = control.Denied, c.Until.Add(time.Hour)
	c.Commands = []ledger.Command{{Name: "deny", By: carol, At: c.Opened, Why: "release day", Result: "denied"}}
	must(t, l.Record(t.Context(), c, liveOf(c), time.Time{}))
	if diff := cmp.Diff(c, reread(t, l, c)); diff != "" || c.Revision == old.Revision {
		t.Errorf("the case (-written +read):\n%s", diff)
	}
	live := read(t, l).Live
	if live == nil || live.State != ledger.State(control.Denied) || !live.Alerted || live.Until != c.Until.UnixMilli() {
		t.Errorf("the live case: %+v", live)
	}
	old.Outcome = control.AwaitingApproval
	if err := l.Record(t.Context(), old, liveOf(c), time.Time{}); !errors.Is(err, ledger.ErrBusy) {
		t.Errorf("a case that has moved since it was read was written: %v", err)
	}
	if got := reread(t, l, c); got.Outcome != control.Denied {
		t.Errorf("the denial is lost: %+v", got)
	}
	if n := len(ids(t, l, ledger.Query{Account: target.Account})); n != 1 {
		t.Errorf("%d cases", n)
	}
}

func TestEveryWriteOfACaseIsANewRevision(t *testing.T) {
	l := newLedger(t)
	c := waiting(t, l)
	seen := []string{c.Revision}
	write := func(what string, err error) {
		t.Helper()
		must(t, err)
		now := reread(t, l, c).Revision
		if slices.Contains(seen, now) || now == "" {
			t.Errorf("%s: revision %q again, after %v", what, now, seen)
		}
		seen = append(seen, now)
	}
	write("an alert", l.Alerted(t.Context(), c, ledger.Alerted{ID: "a", At: time.Now()}))
	c = reread(t, l, c)
	write("a note", l.Note(t.Context(), c))
	w := ledger.NewWorker(time.Now().Add(time.Minute))
	write("its opening", l.Open(t.Context(), c, read(t, l), w))
	write("its release", l.Release(t.Context(), c, w))
	taken, err := l.TakeOver(t.Context(), c.ID, read(t, l), w, func(*ledger.Case) {})
	write("a taking over", err)
	taken.Outcome = control.Remediated
	write("its closing", l.Close(t.Context(), taken, w))
	write("an undo", l.Undo(t.Context(), taken, read(t, l), w, nil))
	write("the undo's end", l.Undone(t.Context(), taken, w, nil, nil))
}

func TestWhatIsBasedOnAnOldCaseIsBusy(t *testing.T) {
	for name, write := range map[string]func(*ledger.Ledger, *testing.T, *ledger.Case) error{
		"note": func(l *ledger.Ledger, t *testing.T, c *ledger.Case) error { t.Helper(); return l.Note(t.Context(), c) },
		"end":  func(l *ledger.Ledger, t *testing.T, c *ledger.Case) error { t.Helper(); return l.End(t.Context(), c) },
		"open": func(l *ledger.Ledger, t *testing.T, c *ledger.Case) error {
			t.Helper()
			return l.Open(t.Context(), c, read(t, l), ledger.NewWorker(time.Now().Add(time.Minute)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t)
			c := waiting(t, l)
			old := reread(t, l, c)
			c.Commands = []ledger.Command{{Name: "approve", Result: "refused"}}
			must(t, l.Note(t.Context(), c))
			if err := write(l, t, old); !errors.Is(err, ledger.ErrBusy) {
				t.Errorf("got %v", err)
			}
			got := reread(t, l, c)
			if len(got.Commands) != 1 || got.State != ledger.State(control.AwaitingApproval) || !got.Closed.IsZero() {
				t.Errorf("the case: %+v", got)
			}
			must(t, write(l, t, got))
		})
	}
}

func TestNoteChangesNothingButTheCommands(t *testing.T) {
	l := newLedger(t)
	c := waiting(t, l)
	before := read(t, l)
	c.Commands = append(c.Commands, ledger.Command{Name: "approve", By: carol, At: c.Opened, Digest: c.Digest(), Result: "refused"})
	must(t, l.Note(t.Context(), c))
	if diff := cmp.Diff(c, reread(t, l, c)); diff != "" {
		t.Errorf("the case (-written +read):\n%s", diff)
	}
	if diff := cmp.Diff(before, read(t, l)); diff != "" {
		t.Errorf("the gates (-before +after):\n%s", diff)
	}
}

func TestEndedCaseIsNoLongerLive(t *testing.T) {
	l := newLedger(t)
	c := waiting(t, l)
	c.Outcome, c.Ended = control.Expired, "nobody answered"
	must(t, l.End(t.Context(), c))
	got := reread(t, l, c)
	if got.State != "" || got.Outcome != control.Expired || got.Closed.IsZero() || got.Ended != "nobody answered" {
		t.Errorf("the case: %+v", got)
	}
	if g := read(t, l); g.Live != nil || g.Taken() {
		t.Errorf("the gates: %+v", g)
	}
	if waits := ids(t, l, ledger.Query{State: ledger.State(control.AwaitingApproval)}); len(waits) != 0 {
		t.Errorf("cases that wait: %v", waits)
	}
	if err := l.End(t.Context(), got); !errors.Is(err, ledger.ErrBusy) {
		t.Errorf("it ended a second time: %v", err)
	}
}

func TestApprovedCaseIsOpenedAndCountsAsARound(t *testing.T) {
	l := newLedger(t)
	c := waiting(t, l)
	c.Commands = []ledger.Command{{Name: "approve", By: carol, At: c.Opened, Digest: c.Digest()}}
	w := ledger.NewWorker(time.Now().Add(time.Minute))
	must(t, l.Open(t.Context(), c, read(t, l), w))
	g := read(t, l)
	if !g.Begun() || g.Live.Case != c.ID || g.Live.Until != 0 || len(g.Rounds) != 1 || !g.Taken() {
		t.Errorf("the gates: %+v", g)
	}
	if got := reread(t, l, c); got.State != ledger.Open || !got.Until.IsZero() || got.Begun() == nil {
		t.Errorf("the case: %+v", got)
	}
}

func TestCaseThatIsHeldInMidChangeStaysLive(t *testing.T) {
	l, c, w := newLedger(t), newCase("null", `{"a":1}`), ledger.NewWorker(time.Now().Add(time.Minute))
	must(t, l.Open(t.Context(), c, ledger.Gates{}, w))
	c.Outcome, c.Gate, c.Held = control.Held, ledger.GateMode, "Snapback was stopped."
	must(t, l.Close(t.Context(), c, w))
	g := read(t, l)
	if g.Taken() || g.Live == nil || g.Live.Case != c.ID || g.Live.State != ledger.State(control.Held) || !g.Live.Alerted || g.Begun() {
		t.Errorf("the gates: %+v", g)
	}
	if !g.Known(c, control.Held) {
		t.Error("the same case is not known again")
	}
	got := reread(t, l, c)
	if got.State != ledger.State(control.Held) || !got.Closed.IsZero() || string(got.Steps[0].Before) != "null" {
		t.Errorf("the case: %+v", got)
	}
	if diff := cmp.Diff([]string{c.ID}, ids(t, l, ledger.Query{State: ledger.State(control.Held)})); diff != "" {
		t.Errorf("the held cases (-want +got):\n%s", diff)
	}
	must(t, l.Open(t.Context(), got, g, w)) // it was released
	got.Outcome = control.Remediated
	must(t, l.Close(t.Context(), got, w))
	if g := read(t, l); g.Live != nil || len(g.Rounds) != 2 {
		t.Errorf("the gates: %+v", g)
	}
}

func TestHeldCaseOfAnotherWorkerCantBeClosed(t *testing.T) {
	l, c := newLedger(t), newCase("null", "{}")
	slow := ledger.NewWorker(time.Now().Add(-time.Second))
	must(t, l.Open(t.Context(), c, ledger.Gates{}, slow))
	_, err := l.TakeOver(t.Context(), c.ID, read(t, l), ledger.NewWorker(time.Now().Add(time.Minute)), func(*ledger.Case) {})
	must(t, err)
	c.Outcome, c.Gate = control.Held, ledger.GateMode
	if err := l.Close(t.Context(), c, slow); !errors.Is(err, ledger.ErrBusy) {
		t.Errorf("got %v", err)
	}
	if g := read(t, l); !g.Begun() || !g.Taken() {
		t.Errorf("the gates: %+v", g)
	}
}

func TestCaseSupersedesTheOneThatWaited(t *testing.T) {
	for name, tt := range map[string]struct {
		until time.Duration
		want  string
	}{
		"while_it_waits": {time.Hour, "superseded by case "},
		"too_late":       {-time.Second, "nobody answered in time, superseded by case "},
	} {
		t.Run(name, func(t *testing.T) {
			l, first := newLedger(t), newCase("null", "{}")
			first.Outcome, first.Until = control.AwaitingApproval, time.Now().Add(tt.until)
			must(t, l.Record(t.Context(), first, ledger.Gates{}, time.Time{}))
			second := newCase(`{"a":1}`, "{}")
			second.Outcome = control.AwaitingApproval
			g := read(t, l)
			if g.Live.Over(time.Now()) != (tt.until < 0) {
				t.Errorf("the live case: %+v", g.Live)
			}
			must(t, l.Record(t.Context(), second, g, time.Time{}))
			if got := reread(t, l, first); got.Ended != tt.want+second.ID || got.State != "" || got.Closed.IsZero() {
				t.Errorf("the first case: %+v", got)
			}
			if g := read(t, l); g.Live == nil || g.Live.Case != second.ID || g.Known(first, control.AwaitingApproval) {
				t.Errorf("the live case: %+v", g.Live)
			}
		})
	}
}

func TestCasesAreListedBetweenTwoTimes(t *testing.T) {
	l := newLedger(t)
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var opened []string
	for i := range 5 { // at 12:00 … 16:00
		c := caseOf(fmt.Sprint("bucket-", i))
		c.Opened, c.Outcome = noon.Add(time.Duration(i)*time.Hour), control.Observed
		must(t, l.Record(t.Context(), c, ledger.Gates{}, time.Time{}))
		opened = append(opened, c.ID)
	}
	at := func(hour int, more time.Duration) time.Time { return noon.Add(time.Duration(hour)*time.Hour + more) }
	for name, tt := range map[string]struct {
		since, until time.Time
		want         []string
	}{
		"no bounds":                    {time.Time{}, time.Time{}, opened},
		"since, included":              {at(3, 0), time.Time{}, opened[3:]},
		"since a moment later":         {at(3, time.Millisecond), time.Time{}, opened[4:]},
		"until, included":              {time.Time{}, at(1, 0), opened[:2]},
		"until a moment earlier":       {time.Time{}, at(1, -time.Millisecond), opened[:1]},
		"both":                         {at(1, 0), at(3, 0), opened[1:4]},
		"nothing is there":             {at(1, time.Minute), at(1, 2*time.Minute), nil},
		"in another zone of the world": {at(1, 0).In(time.FixedZone("", -7*3600)), at(2, 0).In(time.FixedZone("", 3600)), opened[1:3]},
	} {
		want := slices.Clone(tt.want)
		slices.Reverse(want)
		for by, q := range map[string]ledger.Query{
			"account": {Account: target.Account}, "state": {State: ledger.State(control.Observed)}, "day": {Day: noon},
		} {
			q.Since, q.Until = tt.since, tt.until
			if diff := cmp.Diff(want, ids(t, l, q)); diff != "" {
				t.Errorf("by %s, %s (-want +got):\n%s", by, name, diff)
			}
		}
	}
}

func TestChangesKeepTheirTextByteForByte(t *testing.T) {
	l := newLedger(t)
	c := newCase(`{ "b": 1.0, "a": "\u00e4", "n": null}`, `[ 1,2 ]`)
	must(t, l.Open(t.Context(), c, ledger.Gates{}, ledger.NewWorker(time.Now().Add(time.Minute))))
	got := reread(t, l, c).Steps[0]
	if diff := cmp.Diff([]json.RawMessage{c.Steps[0].Before, c.Steps[0].After}, []json.RawMessage{got.Before, got.After}); diff != "" {
		t.Errorf("before and after (-written +read):\n%s", diff)
	}
}

package ledger_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// remediated is a closed case of the test's target, as it is read.
func remediated(t *testing.T, l *ledger.Ledger) *ledger.Case {
	t.Helper()
	c := newCase("null", "{}")
	fight(t, l, c)
	return reread(t, l, c)
}

func reread(t *testing.T, l *ledger.Ledger, c *ledger.Case) *ledger.Case {
	t.Helper()
	got, err := l.Case(t.Context(), c.ID)
	must(t, err)
	return got
}

// ofUndo is the exemption that an undo of a case makes.
func ofUndo(c *ledger.Case) *ledger.Exemption {
	e := exemption(0, 24*time.Hour)
	e.Case, e.Created = c.ID, time.Now() // the ledger keeps milliseconds, in UTC
	return e
}

func TestUndoTakesTheTargetAndExemptsItBeforeAnythingIsPutBack(t *testing.T) {
	l := newLedger(t)
	c := remediated(t, l)
	c.Commands = []ledger.Command{{Name: "undo", By: carol, At: time.Now().UTC().Truncate(time.Millisecond)}}
	must(t, l.Undo(t.Context(), c, read(t, l), ledger.NewWorker(time.Now().Add(time.Minute)), ofUndo(c)))
	g := read(t, l)
	if !g.Taken() || g.Exemption == nil || g.Exemption.Case != c.ID || g.Live != nil {
		t.Errorf("the gates: %+v", g)
	}
	if got := reread(t, l, c); got.State != ledger.Undoing || got.Begun() == nil || got.Closed.IsZero() {
		t.Errorf("the case: %+v", got)
	}
	if got := ids(t, l, ledger.Query{State: ledger.Undoing}); len(got) != 1 {
		t.Errorf("cases that are being undone: %v", got)
	}
	if err := l.Open(t.Context(), newCase("null", "{}"), g, ledger.NewWorker(time.Now().Add(time.Minute))); !errors.Is(err, ledger.ErrBusy) {
		t.Errorf("a worker is beside the undo: %v", err)
	}
}

func TestUndoneCaseLeavesTheTargetFreeAndExempt(t *testing.T) {
	l := newLedger(t)
	c := remediated(t, l)
	w := ledger.NewWorker(time.Now().Add(time.Minute))
	must(t, l.Undo(t.Context(), c, read(t, l), w, ofUndo(c)))
	c.Outcome = control.Undone
	must(t, l.Undone(t.Context(), c, w, nil, nil))
	g := read(t, l)
	if g.Taken() || g.Exemption == nil || len(g.Rounds) != 1 || g.Latest != c.ID {
		t.Errorf("the gates: %+v", g)
	}
	if diff := cmp.Diff(c, reread(t, l, c)); diff != "" || c.State != "" {
		t.Errorf("the case (-written +read):\n%s", diff)
	}
	if err := l.Undone(t.Context(), c, w, nil, nil); !errors.Is(err, ledger.ErrBusy) {
		t.Errorf("the undo was ended a second time: %v", err)
	}
}

func TestUndoWhoseEndKeepsMeetingOthersKeepsItsExemptionToWithdraw(t *testing.T) {
	l := newLedger(t)
	c := remediated(t, l)
	w, e := ledger.NewWorker(time.Now().Add(time.Minute)), ofUndo(c)
	must(t, l.Undo(t.Context(), c, read(t, l), w, e))
	through, _ := via(t, first(6, "TransactWriteItems", func() *http.Response { return canceled("TransactionConflict") }))
	if err := through.Undone(t.Context(), c, w, e, nil); !errors.Is(err, ledger.ErrBusy) {
		t.Errorf("got %v", err)
	}
	if g := read(t, l); !g.Taken() || g.Exemption == nil || reread(t, l, c).State != ledger.Undoing {
		t.Errorf("it ended by half: %+v", g)
	}
	must(t, through.Undone(t.Context(), c, w, e, nil))
	if g := read(t, l); g.Taken() || g.Exemption != nil {
		t.Errorf("the gates: %+v", g)
	}
}

func TestUndoThatDidNothingLeavesTheExemptionsAsTheyWere(t *testing.T) {
	for name, before := range map[string]*ledger.Exemption{"none": nil, "one_that_ends_sooner": exemption(time.Hour, 2*time.Hour)} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t)
			c := remediated(t, l)
			if before != nil {
				_, err := l.Exempt(t.Context(), before)
				must(t, err)
			}
			w, e := ledger.NewWorker(time.Now().Add(time.Minute)), ofUndo(c)
			must(t, l.Undo(t.Context(), c, read(t, l), w, e))
			if g := read(t, l); g.Exemption == nil || g.Exemption.Case != c.ID {
				t.Errorf("the undo has not exempted the target: %+v", g.Exemption)
			}
			must(t, l.Undone(t.Context(), c, w, e, before))
			if diff := cmp.Diff(before, read(t, l).Exemption); diff != "" {
				t.Errorf("the exemption (-before +after):\n%s", diff)
			}
		})
	}
}

func TestExemptionThatAnUndoReplacesIsKeptForTheRecord(t *testing.T) {
	l, before := newLedger(t), exemption(time.Hour, 2*time.Hour)
	c := remediated(t, l)
	_, err := l.Exempt(t.Context(), before)
	must(t, err)
	w, e := ledger.NewWorker(time.Now().Add(time.Minute)), ofUndo(c)
	must(t, l.Undo(t.Context(), c, read(t, l), w, e))
	must(t, l.Undone(t.Context(), c, w, nil, nil))
	all := exemptions(t, l, true)
	if len(all) != 2 || all[0].Case != c.ID || all[1].Reason != before.Reason || !all[1].Created.Equal(before.Created) || *all[1].RemovedBy != carol {
		t.Errorf("with the former ones: %+v", all)
	}
}

func TestExemptionThatAnOperatorMadeMeanwhileIsNotWithdrawn(t *testing.T) {
	longer := exemption(0, 90*24*time.Hour)
	longer.Created = longer.Created.Add(time.Second)
	for name, tt := range map[string]struct {
		before    *ledger.Exemption
		meanwhile func(t *testing.T, l *ledger.Ledger)
		want      *ledger.Exemption
	}{
		"replaced":           {nil, func(t *testing.T, l *ledger.Ledger) { t.Helper(); exempt(t, l, longer) }, longer},
		"replaced_again":     {exemption(time.Hour, 2*time.Hour), func(t *testing.T, l *ledger.Ledger) { t.Helper(); exempt(t, l, longer) }, longer},
		"removed":            {nil, unexempt, nil},
		"removed_altogether": {exemption(time.Hour, 2*time.Hour), unexempt, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t)
			c := remediated(t, l)
			if tt.before != nil {
				exempt(t, l, tt.before)
			}
			w, e := ledger.NewWorker(time.Now().Add(time.Minute)), ofUndo(c)
			must(t, l.Undo(t.Context(), c, read(t, l), w, e))
			tt.meanwhile(t, l)
			must(t, l.Undone(t.Context(), c, w, e, tt.before))
			if diff := cmp.Diff(tt.want, read(t, l).Exemption); diff != "" {
				t.Errorf("the exemption (-want +got):\n%s", diff)
			}
			if got := reread(t, l, c); got.State != "" {
				t.Errorf("the undo has not ended: %+v", got)
			}
		})
	}
}

func exempt(t *testing.T, l *ledger.Ledger, e *ledger.Exemption) {
	t.Helper()
	_, err := l.Exempt(t.Context(), e)
	must(t, err)
}

func unexempt(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	_, err := l.Unexempt(t.Context(), "example-control", "arn:aws:s3:::example", carol)
	must(t, err)
}

func TestWorkerThatLostItsLeaseCantEndTheUndo(t *testing.T) {
	l := newLedger(t)
	c := remediated(t, l)
	slow, e := ledger.NewWorker(time.Now().Add(-time.Second)), ofUndo(c)
	must(t, l.Undo(t.Context(), c, read(t, l), slow, e))
	again := reread(t, l, c)
	must(t, l.Undo(t.Context(), again, read(t, l), ledger.NewWorker(time.Now().Add(time.Minute)), nil))
	if err := l.Undone(t.Context(), c, slow, e, nil); !errors.Is(err, ledger.ErrBusy) {
		t.Errorf("a worker ended an undo that another one holds: %v", err)
	}
	if g := read(t, l); g.Exemption == nil || !g.Taken() {
		t.Errorf("the gates: %+v", g)
	}
}

func TestOneOfTwoUndosAtOnceIsBegun(t *testing.T) {
	l := newLedger(t)
	c := remediated(t, l)
	other, gates := reread(t, l, c), read(t, l)
	through, _ := via(t, together(2))
	try := func(c *ledger.Case) func() error {
		return func() error {
			return through.Undo(t.Context(), c, gates, ledger.NewWorker(time.Now().Add(time.Minute)), ofUndo(c))
		}
	}
	atOnce(t, try(c), try(other))
	if all := exemptions(t, l, true); len(all) != 1 {
		t.Errorf("the exemptions: %+v", all)
	}
}

func TestUndoOfACaseThatWasReadTooEarlyIsBusy(t *testing.T) {
	l := newLedger(t)
	c := remediated(t, l)
	old := reread(t, l, c)
	c.Commands = append(c.Commands, ledger.Command{Name: "undo", Result: "nothing was undone"})
	must(t, l.Note(t.Context(), c))
	w := ledger.NewWorker(time.Now().Add(time.Minute))
	if err := l.Undo(t.Context(), old, read(t, l), w, ofUndo(c)); !errors.Is(err, ledger.ErrBusy) {
		t.Errorf("an undo was begun on a case that has moved: %v", err)
	}
	if g := read(t, l); g.Taken() || g.Exemption != nil {
		t.Errorf("something was written all the same: %+v", g)
	}
}

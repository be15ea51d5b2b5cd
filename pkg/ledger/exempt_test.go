package ledger_test

import (
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/ledger"
)

var carol = ledger.Caller{ARN: "arn:aws:sts::111111111111:assumed-role/operators/carol", Account: "111111111111", UserID: "AROAEXAMPLE:carol"}

// exemption is one of the test's target, made some time ago, for some time.
func exemption(ago, lasts time.Duration) *ledger.Exemption {
	created := time.Now().UTC().Add(-ago).Truncate(time.Millisecond)
	return &ledger.Exemption{
		Control: "example-control", Resource: "arn:aws:s3:::example", Reason: "website", Owner: "web@example.com",
		Created: created, Until: created.Add(lasts), By: carol,
	}
}

// exemptions are those that are listed.
func exemptions(t *testing.T, l *ledger.Ledger, former bool) []*ledger.Exemption {
	t.Helper()
	var all []*ledger.Exemption
	for e, err := range l.Exemptions(t.Context(), former) {
		must(t, err)
		all = append(all, e)
	}
	return all
}

func TestExemptionIsSeenByTheGates(t *testing.T) {
	l, e := newLedger(t), exemption(0, time.Hour)
	replaced, err := l.Exempt(t.Context(), e)
	if replaced != nil || err != nil {
		t.Fatalf("got %+v, %v", replaced, err)
	}
	if diff := cmp.Diff(e, read(t, l).Exemption); diff != "" {
		t.Errorf("the gates (-want +got):\n%s", diff)
	}
	for name, q := range map[string]ledger.Question{
		"another control": {Control: "another-control", Target: target, ARN: e.Resource},
		"another bucket":  {Control: e.Control, Target: target, ARN: e.Resource + "-2"},
	} {
		g, err := l.Read(t.Context(), q)
		must(t, err)
		if g.Exemption != nil {
			t.Errorf("it holds for %s: %+v", name, g.Exemption)
		}
	}
}

func TestExemptionThatIsReplacedIsKeptForTheRecord(t *testing.T) {
	l, first, second := newLedger(t), exemption(time.Hour, 2*time.Hour), exemption(0, 48*time.Hour)
	second.By.ARN = "arn:aws:iam::111111111111:user/dan"
	_, err := l.Exempt(t.Context(), first)
	must(t, err)
	replaced, err := l.Exempt(t.Context(), second)
	must(t, err)
	if diff := cmp.Diff(first, replaced); diff != "" {
		t.Errorf("what was replaced (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]*ledger.Exemption{second}, exemptions(t, l, false)); diff != "" {
		t.Errorf("the exemptions (-want +got):\n%s", diff)
	}
	all := exemptions(t, l, true)
	if len(all) != 2 || time.Since(all[1].Removed) > time.Minute || all[1].RemovedBy == nil || *all[1].RemovedBy != second.By {
		t.Fatalf("the former ones do not say who replaced them, and when: %+v", all)
	}
	if all[1].InForce(time.Now(), 180*24*time.Hour) {
		t.Error("a former exemption is in force")
	}
	all[1].Removed, all[1].RemovedBy = time.Time{}, nil
	if diff := cmp.Diff([]*ledger.Exemption{second, first}, all); diff != "" {
		t.Errorf("with the former ones (-want +got):\n%s", diff)
	}
}

func TestExemptionThatIsRemovedHasNoEffectAndIsKeptForTheRecord(t *testing.T) {
	l, e := newLedger(t), exemption(0, time.Hour)
	if _, err := l.Unexempt(t.Context(), e.Control, e.Resource, carol); !errors.Is(err, ledger.ErrNoExemption) {
		t.Errorf("there is none to remove: %v", err)
	}
	_, err := l.Exempt(t.Context(), e)
	must(t, err)
	removed, err := l.Unexempt(t.Context(), e.Control, e.Resource, carol)
	must(t, err)
	if diff := cmp.Diff(e, removed); diff != "" {
		t.Errorf("what was removed (-want +got):\n%s", diff)
	}
	if g := read(t, l); g.Exemption != nil {
		t.Errorf("the gates still have it: %+v", g.Exemption)
	}
	if listed, all := exemptions(t, l, false), exemptions(t, l, true); len(listed) != 0 || len(all) != 1 || all[0].RemovedBy == nil || *all[0].RemovedBy != carol {
		t.Errorf("listed: %+v, with former ones: %+v", listed, all)
	}
	if _, err := l.Unexempt(t.Context(), e.Control, e.Resource, carol); !errors.Is(err, ledger.ErrNoExemption) {
		t.Errorf("it is removed a second time: %v", err)
	}
}

func TestExemptionThatEndedIsKeptWithoutEffect(t *testing.T) {
	l, e := newLedger(t), exemption(2*time.Hour, time.Hour)
	_, err := l.Exempt(t.Context(), e)
	must(t, err)
	if diff := cmp.Diff([]*ledger.Exemption{e}, exemptions(t, l, false)); diff != "" {
		t.Errorf("the exemptions (-want +got):\n%s", diff)
	}
	if g := read(t, l); g.Exemption == nil || g.Exemption.InForce(time.Now(), 180*24*time.Hour) {
		t.Errorf("the gates: %+v", g.Exemption)
	}
	anew := exemption(0, time.Hour)
	if replaced, err := l.Exempt(t.Context(), anew); err != nil || replaced == nil || !replaced.Created.Equal(e.Created) {
		t.Errorf("the ended one is not replaced: %+v, %v", replaced, err)
	}
}

func TestExemptionIsInForceFromItsBeginningUntilItsEnd(t *testing.T) {
	const day, longest = 24 * time.Hour, 180 * 24 * time.Hour
	begins := time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		lasts time.Duration
		at    time.Duration
		want  bool
	}{
		{"at its first moment", day, 0, true},
		{"a moment before its end", day, day - 1, true},
		{"at its end", day, day, false},
		{"after it", day, 2 * day, false},
		{"a moment before the longest time is over", 900 * day, longest - 1, true},
		{"when the longest time is over", 900 * day, longest, false},
		{"when both end", longest, longest, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := &ledger.Exemption{Created: begins, Until: begins.Add(tt.lasts)}
			if got := e.InForce(begins.Add(tt.at), longest); got != tt.want {
				t.Errorf("in force: %t, want %t", got, tt.want)
			}
			e.Removed = begins
			if e.InForce(begins.Add(tt.at), longest) {
				t.Error("in force though it was removed")
			}
		})
	}
	var none *ledger.Exemption
	if none.InForce(begins, longest) {
		t.Error("no exemption is in force")
	}
}

// together lets n transactions go at once, after the last of them has arrived:
// whoever sends them has read what was there before any.
func together(n int) func(string, []byte) *http.Response {
	var mu sync.Mutex
	all := make(chan struct{})
	return func(operation string, _ []byte) *http.Response {
		if operation != "TransactWriteItems" {
			return nil
		}
		mu.Lock()
		if n--; n == 0 {
			close(all)
		}
		mu.Unlock()
		<-all
		return nil
	}
}

// atOnce does several things at once, of which one is to succeed; the others
// are to be busy.
func atOnce(t *testing.T, do ...func() error) {
	t.Helper()
	won, errs := 0, make(chan error)
	for _, f := range do {
		go func() { errs <- f() }()
	}
	for range do {
		if err := <-errs; err == nil {
			won++
		} else if !errors.Is(err, ledger.ErrBusy) {
			t.Errorf("got %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d succeeded, want one", won, len(do))
	}
}

func TestOneOfTwoExemptionsAtOnceIsMade(t *testing.T) {
	for name, before := range map[string]*ledger.Exemption{"anew": nil, "in_the_place_of_another": exemption(time.Hour, 30*time.Minute)} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t)
			if before != nil {
				_, err := l.Exempt(t.Context(), before)
				must(t, err)
			}
			through, _ := via(t, together(2))
			try := func(e *ledger.Exemption) func() error {
				return func() error { _, err := through.Exempt(t.Context(), e); return err }
			}
			atOnce(t, try(exemption(time.Second, time.Hour)), try(exemption(0, 2*time.Hour)))
			if listed := exemptions(t, l, false); len(listed) != 1 {
				t.Errorf("the exemptions: %+v", listed)
			}
			want := 1
			if before != nil {
				want = 2
			}
			if all := exemptions(t, l, true); len(all) != want {
				t.Errorf("with the former ones: %+v", all)
			}
		})
	}
}

func TestOneOfTwoRemovalsAtOnceRemoves(t *testing.T) {
	l, e := newLedger(t), exemption(0, time.Hour)
	_, err := l.Exempt(t.Context(), e)
	must(t, err)
	through, _ := via(t, together(2))
	remove := func() error {
		_, err := through.Unexempt(t.Context(), e.Control, e.Resource, carol)
		return err
	}
	atOnce(t, remove, remove)
	if all := exemptions(t, l, true); len(all) != 1 || all[0].Removed.IsZero() {
		t.Errorf("with the former ones: %+v", all)
	}
}

func TestExemptionsAreListedByResource(t *testing.T) {
	l := newLedger(t)
	for _, bucket := range []string{"c", "a", "b"} {
		e := exemption(0, time.Hour)
		e.Resource = "arn:aws:s3:::" + bucket
		_, err := l.Exempt(t.Context(), e)
		must(t, err)
	}
	var got []string
	for _, e := range exemptions(t, l, false) {
		got = append(got, e.Resource)
	}
	if diff := cmp.Diff([]string{"arn:aws:s3:::a", "arn:aws:s3:::b", "arn:aws:s3:::c"}, got); diff != "" {
		t.Errorf("the list (-want +got):\n%s", diff)
	}
}

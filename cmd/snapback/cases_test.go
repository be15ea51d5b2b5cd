package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

func TestEveryControlAndRunbookIsFoundInItsDomain(t *testing.T) {
	for _, d := range controls.Domains() {
		var ids []string
		for i := range d.Controls {
			ids = append(ids, d.Controls[i].ID)
		}
		for i := range d.Runbooks {
			ids = append(ids, d.Runbooks[i].ID)
		}
		for _, id := range ids {
			if got := domainOf(id); got != d.Name {
				t.Errorf("%s is found in the domain %q, want %s", id, got, d.Name)
			}
		}
	}
	for _, id := range []string{"", "response", "EC2-QUARANTINE", "ec2-quarantin"} {
		if got := domainOf(id); got != "" {
			t.Errorf("%q is found in the domain %s", id, got)
		}
	}
}

func TestOnlyWhatHoldsAndCanBeUndoneIsOfferedToBeUndone(t *testing.T) {
	at := time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)
	made := ledger.Step{Remedy: "made", After: []byte(`1`), Applied: at}
	forGood := ledger.Step{Remedy: "for-good", After: []byte(`1`), Irreversible: true}
	forGoodMade := forGood
	forGoodMade.Applied = at
	needless := ledger.Step{Remedy: "for-good", Outcome: control.Compliant, Irreversible: true}
	undone := made
	undone.Undone = at
	for _, tt := range []struct {
		name    string
		outcome control.Outcome
		steps   []ledger.Step
		want    []string
	}{
		{"all of it was made", control.Remediated, []ledger.Step{made}, []string{engine.Undo}},
		{"some of it was made", control.Partial, []ledger.Step{made, {Remedy: "other", Outcome: control.Failed}}, []string{engine.Retry, engine.Undo}},
		{"none of it was made", control.Failed, []ledger.Step{{Remedy: "other", Outcome: control.Failed}}, []string{engine.Retry}},
		{"what was made can't be undone", control.Remediated, []ledger.Step{made, forGoodMade}, nil},
		{"what can't be undone was not made", control.Partial, []ledger.Step{made, forGood}, []string{engine.Retry, engine.Undo}},
		{"what can't be undone was not needed", control.Remediated, []ledger.Step{made, needless}, []string{engine.Undo}},
		{"half of it is undone", control.Remediated, []ledger.Step{made, undone}, []string{engine.Undo}},
		{"all of it is undone", control.Undone, []ledger.Step{undone}, nil},
		{"the resource is gone", control.Gone, []ledger.Step{made}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, takes(&ledger.Case{Outcome: tt.outcome, Steps: tt.steps})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What a step found is printed whatever its size, and even if it is damaged.
func TestManifestIsNamedOrPrinted(t *testing.T) {
	c := &ledger.Case{ID: "20261122-7k3m9x2q"}
	const hint = ": `snapback cases show 20261122-7k3m9x2q --facts` prints it"
	for _, tt := range []struct{ facts, named, printed string }{
		{"", "", ""},
		{"1", "1 byte" + hint, "1"},
		{`{"a":[]}`, "8 bytes" + hint, "{\n  \"a\": []\n}"},
		{`"` + strings.Repeat("x", 12<<10) + `"`, "12 KB" + hint, `"` + strings.Repeat("x", 12<<10) + `"`},
		{"{\"a\x1b", "4 bytes" + hint, "{\"a\ufffd"},
	} {
		s := &ledger.Step{Facts: json.RawMessage(tt.facts)}
		if got := manifest(c, s, false); got != tt.named {
			t.Errorf("%.40q is named %q, want %q", tt.facts, got, tt.named)
		}
		if got := manifest(c, s, true); got != tt.printed {
			t.Errorf("%.40q is printed as %.80q", tt.facts, got)
		}
	}
}

// A plan may find a step necessary of which the case knew nothing.
func TestStepThatIsNewIsShownAsRefused(t *testing.T) {
	c := &ledger.Case{Steps: []ledger.Step{{Remedy: "one"}, {Remedy: "two"}}}
	var out bytes.Buffer
	err := showMoved(&out, engine.Approve, c, engine.Answer{Now: &alert.Change{Remedy: "three", After: []byte(`"shut"`), Digest: "93c44b4ffb7d"}})
	want := "three is not as was shown:\nYou were shown:\n  before  null\n  after   null\nIt would be now:\n  before  null\n  after   \"shut\"\n"
	if err != nil || out.String() != want {
		t.Errorf("it prints (%v)\n%s", err, out.String())
	}
	out.Reset()
	if err := showMoved(&out, engine.Approve, c, engine.Answer{}); err != nil || out.String() != "" {
		t.Errorf("where nothing has moved it prints (%v)\n%s", err, out.String())
	}
}

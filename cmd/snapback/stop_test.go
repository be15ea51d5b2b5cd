package main

import (
	"errors"
	"iter"
	"testing"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

func TestCasesAreCountedUpToTheMost(t *testing.T) {
	cases := func(n int, account string) iter.Seq2[*ledger.Case, error] {
		return func(yield func(*ledger.Case, error) bool) {
			for range n {
				if !yield(&ledger.Case{Target: control.Target{Account: account}}, nil) {
					return
				}
			}
		}
	}
	for _, tt := range []struct {
		name    string
		of      iter.Seq2[*ledger.Case, error]
		account string
		want    stateCount
	}{
		{"none", cases(0, ""), "", stateCount{State: ledger.Open}},
		{"exactly the most", cases(maxCount, "222222222222"), "", stateCount{ledger.Open, maxCount, false}},
		{"one more", cases(maxCount+1, "222222222222"), "", stateCount{ledger.Open, maxCount, true}},
		{"one more of the account", cases(maxCount+1, "222222222222"), "222222222222", stateCount{ledger.Open, maxCount, true}},
		{"one more of another account", cases(maxCount+1, "222222222222"), "333333333333", stateCount{State: ledger.Open}},
	} {
		got, err := countCases(tt.of, ledger.Open, tt.account)
		if err != nil || got != tt.want {
			t.Errorf("%s: got %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
	broken := errors.New("the table is gone")
	if _, err := countCases(func(yield func(*ledger.Case, error) bool) { yield(nil, broken) }, ledger.Open, ""); !errors.Is(err, broken) {
		t.Errorf("got error %v, want %v", err, broken)
	}
	s := status{Cases: []stateCount{{ledger.Open, maxCount, true}, {ledger.Undoing, 2, false}}}
	if got := s.details("")[1].value; got != "open 1000+, undoing 2" {
		t.Errorf("printed as %q", got)
	}
}

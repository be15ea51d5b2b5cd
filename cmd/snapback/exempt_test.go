package main

import (
	"testing"
	"time"

	"github.com/snapback-aws/snapback/pkg/ledger"
)

func TestEndsAreDaysTimesOrSpans(t *testing.T) {
	now := time.Date(2026, 11, 22, 1, 0, 3, 500, time.FixedZone("", 3600))
	for text, want := range map[string]string{
		"2027-03-31":                "2027-03-31T23:59:59Z",
		"2028-02-29":                "2028-02-29T23:59:59Z",
		"2027-03-31T12:00:00Z":      "2027-03-31T12:00:00Z",
		"2027-03-31T12:00:00+02:00": "2027-03-31T10:00:00Z",
		"36h":                       "2026-11-23T12:00:03Z",
		"90m":                       "2026-11-22T01:30:03Z",
		"14d":                       "2026-12-06T00:00:03Z",
	} {
		got, err := parseEnd(text, now)
		if err != nil || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%s: got %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "soon", "2027-02-29", "31.03.2027", "2027-3-31", "2027-03-31T12:00:00", "2027-03-31 12:00", "0d", "-1d", "1.5d", "1d12h", "999999d",
		"0h", "-36h", "36", "14 d",
	} {
		if got, err := parseEnd(text, now); err == nil {
			t.Errorf("%q: taken for %s", text, got)
		}
	}
}

func TestHowAnExemptionEnded(t *testing.T) {
	now := time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)
	at := func(hours int) time.Time { return now.Add(time.Duration(hours) * time.Hour) }
	of := func(resource string, created, until, removed int) *ledger.Exemption {
		x := &ledger.Exemption{Control: "c", Resource: resource, Created: at(created), Until: at(until)}
		if removed != 0 {
			x.Removed = at(removed)
		}
		return x
	}
	all := []*ledger.Exemption{
		of("a", -9, 9, -5), of("a", -5, 9, -3), of("a", -1, 9, 0), // replaced, removed, made anew
		of("b", -9, -5, 0), of("c", -9, -5, -3), of("c", -3, 9, 0), // ended; ended, then replaced
		of("d", -9, 9, -5), of("e", -6, 9, 0), // removed while another resource's began
	}
	for i, want := range []string{"replaced", "removed", "in-force", "ended", "ended", "in-force", "removed", "in-force"} {
		if got := stateOf(all[i], all, now); got != want {
			t.Errorf("exemption %d of %s: %s, want %s", i, all[i].Resource, got, want)
		}
	}
}

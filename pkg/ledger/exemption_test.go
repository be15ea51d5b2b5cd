package ledger_test

import (
	"testing"
	"time"

	"github.com/snapback-aws/snapback/pkg/ledger"
)

func TestAnExemptionEndsWithinATimeIfItIsInForceOnlyUntilThen(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		of      *ledger.Exemption
		longest time.Duration
		want    bool
	}{
		{"tomorrow", &ledger.Exemption{Created: now.Add(-day), Until: now.Add(day)}, 180 * day, true},
		{"in exactly seven days", &ledger.Exemption{Created: now.Add(-day), Until: now.Add(7 * day)}, 180 * day, true},
		{"in a moment more", &ledger.Exemption{Created: now.Add(-day), Until: now.Add(7*day + 1)}, 180 * day, false},
		{"at this moment", &ledger.Exemption{Created: now.Add(-day), Until: now}, 180 * day, false},
		{"before", &ledger.Exemption{Created: now.Add(-2 * day), Until: now.Add(-day)}, 180 * day, false},
		{"later, but the baseline allows less", &ledger.Exemption{Created: now.Add(-day), Until: now.Add(90 * day)}, 5 * day, true},
		{"later, and the baseline has ended it", &ledger.Exemption{Created: now.Add(-day), Until: now.Add(90 * day)}, day, false},
		{"removed", &ledger.Exemption{Created: now.Add(-day), Until: now.Add(day), Removed: now}, 180 * day, false},
		{"none", nil, 180 * day, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.of.EndsWithin(7*day, now, tt.longest); got != tt.want {
				t.Errorf("it ends within seven days: %t, want %t", got, tt.want)
			}
		})
	}
}

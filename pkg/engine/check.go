package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// checksAtOnce bounds how many roles are tried side by side.
const checksAtOnce = 8

// Check tells whether the function can do its work: read the ledger, and assume
// its role in each of the accounts; and which version it is, with which baseline.
// It changes nothing.
func (e *Engine) Check(ctx context.Context, accounts []string) Answer {
	a := answer(ctx, func(ctx context.Context) (Answer, error) {
		var faults []string
		if err := e.checkLedger(ctx); err != nil {
			faults = append(faults, cloud.Reason(err))
		}
		found := make([]error, len(accounts))
		turn := make(chan struct{}, checksAtOnce)
		var side sync.WaitGroup
		for i, account := range accounts {
			side.Go(func() {
				turn <- struct{}{}
				defer func() { <-turn }()
				_, found[i] = e.Sessions.For(ctx, account, e.Baseline.Organization.Hub.Region, "check")
			})
		}
		side.Wait()
		for _, err := range found {
			if err != nil {
				faults = append(faults, cloud.Reason(err))
			}
		}
		if len(faults) > 0 {
			return notSo("%s", strings.Join(faults, "\n"))
		}
		return done("the ledger can be read; accounts that can be entered: %d", len(accounts))
	})
	a.Version, a.Baseline = e.Version, e.Baseline.Digest
	return a
}

// checkLedger reads the gates of a resource that does not exist.
func (e *Engine) checkLedger(ctx context.Context) error {
	_, err := e.Ledger.Read(ctx, ledger.Question{
		Control: "check", ARN: "check", Target: control.Target{Account: "000000000000", Region: "none", Type: "check", ID: "check"},
	})
	if err != nil {
		return fmt.Errorf("the function can't read the ledger: %w", err)
	}
	return nil
}

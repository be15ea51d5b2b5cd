// Command bench measures what issue and docs give numbers for, and prints
// them: the function beside a bare one, the calls and round trips of the way
// of an event, those from a finding to an isolated instance and from an
// escalation to a denied user, many violations at once, replay beside gunzip, and
// policies, alone and by the account. Timings are compared within one run.
// Arguments choose parts: start, trips, quarantine, escalation, crowd, replay,
// policy.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

var parts = []struct {
	name string
	run  func(ctx context.Context, dir string) error
}{{"start", start}, {"trips", trips}, {"quarantine", quarantineTrips}, {"escalation", escalationTrips}, {"crowd", crowd}, {"replay", replay}, {"policy", policy}}

// run runs the chosen parts, or all, each with a folder of its own.
func run(ctx context.Context, chosen []string) error {
	for _, part := range parts {
		if len(chosen) > 0 && !slices.Contains(chosen, part.name) {
			continue
		}
		dir, err := os.MkdirTemp("", "snapback-bench")
		if err != nil {
			return err
		}
		err = part.run(ctx, dir)
		if removed := os.RemoveAll(dir); err == nil {
			err = removed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

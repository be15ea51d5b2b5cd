// Command bench measures what issue and docs give numbers for, and prints
// them: the function beside a bare one, the calls and round trips of the way
// of an event, and replay beside gunzip. Timings are compared within one run.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	for _, part := range []func(context.Context, string) error{start, trips, replay} {
		dir, err := os.MkdirTemp("", "snapback-bench")
		if err != nil {
			return err
		}
		err = part(ctx, dir)
		if removed := os.RemoveAll(dir); err == nil {
			err = removed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

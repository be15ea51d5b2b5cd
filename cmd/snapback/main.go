// Command snapback is the operators' command line.
//
// Exit codes: 0, it is done; 1, it was tried and is not so (an event could not
// be handled, a file is damaged, the baseline has a fault); 2, wrong use.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set when a release is built.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code := execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// errNotSo ends a command with exit code 1 when all there is to say has been
// said.
var errNotSo = errors.New("it was tried and is not so")

// failure is an error that is no fault of the command's use: exit code 1.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

func execute(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	var f failure
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errNotSo):
		return 1
	case errors.As(err, &f):
		_, _ = fmt.Fprintln(errs, "snapback:", err) // nowhere left to report it
		return 1
	}
	_, _ = fmt.Fprintln(errs, "snapback:", err) // nowhere left to report it
	return 2
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "snapback",
		Short:         "Snap an AWS organization back to its security baseline",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.PersistentFlags().StringP("output", "o", "text", "text, or json: one object a line")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if o := output(cmd); o != "text" && o != "json" {
			return fmt.Errorf("--output %q: want text or json", o)
		}
		return nil
	}
	root.AddCommand(newRun(), newReplay(), newControls(), newExplain(), newBaseline(), newCases(), newVersion())
	return root
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output(cmd) == "json" {
				return printJSON(cmd.OutOrStdout(), map[string]string{"version": version})
			}
			return printf(cmd.OutOrStdout(), "snapback %s\n", version)
		},
	}
}

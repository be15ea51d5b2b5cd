// Command snapback is the operators' command line.
//
// Exit codes: 0, it is done; 1, it was tried and is not so (an event could not
// be handled, a file is damaged, the baseline has a fault, AWS can't be
// reached, something was found); 2, wrong use; 3, nothing was found, but not
// everything could be understood.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// version is set when a release is built.
var version = "dev"

func main() {
	os.Exit(execute(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// errNotSo ends a command with exit code 1 when all there is to say has been
// said.
var errNotSo = errors.New("it was tried and is not so")

// each does something with each item, also after one that is not so, of which
// do has said all there is to say: then the command ends with exit code 1.
func each[T any](items []T, do func(T) (bool, error)) error {
	good := true
	for _, item := range items {
		ok, err := do(item)
		if err != nil {
			return err
		}
		good = good && ok
	}
	if !good {
		return errNotSo
	}
	return nil
}

// misuseError says that a command can't mean anything as it was given: exit
// code 2. Every other error is exit code 1.
type misuseError struct{ error }

func misuse(format string, args ...any) error { return misuseError{fmt.Errorf(format, args...)} }

func execute(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if err != nil && !errors.Is(err, errNotSo) && !errors.Is(err, errCantTell) {
		_, _ = fmt.Fprintln(errs, "snapback:", err) // nowhere left to report it
	}
	var wrong misuseError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &wrong):
		return 2
	case errors.Is(err, errCantTell):
		return 3
	}
	return 1
}

func newRoot() *cobra.Command {
	root := parent("snapback", "Snap an AWS organization back to its security baseline",
		newRun(), newReplay(), newControls(), newExplain(), newBaseline(), newPolicy(), newCases(),
		newExempt(), newStop(), newStart(), newStatus(), newDrill(), newDoctor(), newVersion())
	root.SilenceErrors = true
	root.SilenceUsage = true
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetHelpCommand(newHelp())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return misuse("%s: %w: `%s --help` lists the flags", name(cmd), err, cmd.CommandPath())
	})
	root.PersistentFlags().StringP("output", "o", "text", "text, or json: one object a line")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if o := output(cmd); o != "text" && o != "json" {
			return misuse("--output %q: want text or json", o)
		}
		if f := cmd.Flags().Lookup("table"); f != nil && f.Value.String() == "" { // a variable of the shell that is not set
			return misuse("%s: --table is empty: want the name of the ledger's DynamoDB table", name(cmd))
		}
		return nil
	}
	return root
}

// parent is a command that only holds others: alone it shows its help.
func parent(use, short string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, SuggestionsMinimumDistance: 2}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknownCommand(cmd, args[0])
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(children...)
	return cmd
}

// unknownCommand says which command may be meant, or which there are.
func unknownCommand(cmd *cobra.Command, arg string) error {
	if like := cmd.SuggestionsFor(arg); len(like) > 0 {
		return misuse("no command %q in `%s`: did you mean %s?", arg, cmd.CommandPath(), oneOf(like))
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return misuse("no command %q in `%s`: want %s", arg, cmd.CommandPath(), oneOf(names))
}

// newHelp refuses what is no command, where cobra's own help shows another
// command's.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Show the help of a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return unknownCommand(found, rest[0])
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}

// want is the check of a command's arguments: at least so many, and at most.
func want(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return misuse("%s: want %s: `%s`", name(cmd), what, cmd.UseLine())
		}
		return nil
	}
}

// name is a command as its errors begin: "cases list".
func name(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return cmd.Name()
	}
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: want(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output(cmd) == "json" {
				return printJSON(cmd.OutOrStdout(), map[string]string{"version": version})
			}
			return printf(cmd.OutOrStdout(), "snapback %s\n", version)
		},
	}
}

// Command scaffold writes what a new control needs: its file, its test, and the
// line in its domain's list. The control compiles, but its tests fail until it
// is filled in. It is called by `make control ID=… DOMAIN=…`.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// The exit codes. A refusal writes nothing.
const (
	exitOK      = 0
	exitFault   = 1
	exitRefused = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("scaffold", flag.ContinueOnError)
	flags.SetOutput(stderr)
	id := flags.String("id", "", "the `ID` of the new control, such as s3-bucket-tls")
	domain := flags.String("domain", "", "the `domain` it belongs to, such as storage")
	root := flags.String("root", ".", "the `folder` of the module")
	if err := flags.Parse(args); err != nil {
		return exitRefused
	}
	files, err := scaffold(*root, *domain, *id)
	if err == nil {
		err = files.write(*root)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "scaffold:", err)
		if errors.As(err, new(refusal)) {
			return exitRefused
		}
		return exitFault
	}
	_, _ = fmt.Fprintf(stdout, "wrote  %s\nwrote  %s\nlisted %s\n\n"+
		"Fill in what is empty in the first two; `go test ./pkg/controls/...` says what is missing.\n",
		files.control.path, files.test.path, files.list.path)
	return exitOK
}

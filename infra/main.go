// Command infra is the CDK app: it makes the CloudFormation templates of
// Snapback from the baseline file and the controls. Nothing of a control is
// written here.
package main

import (
	"fmt"
	"os"
)

func main() {
	err := run(os.Getenv, os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	stop()
	if err != nil {
		os.Exit(1)
	}
}

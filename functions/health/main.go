// Command health is the Lambda function that sends drills and looks at members.
package main

import (
	"os"

	"github.com/snapback-aws/snapback/pkg/health"
)

func main() { os.Exit(health.Main()) }

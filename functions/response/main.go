// Command response is the Lambda function of the response domain.
package main

import (
	"os"

	"github.com/snapback-aws/snapback/pkg/function"
	"github.com/snapback-aws/snapback/pkg/runbooks"
)

func main() { os.Exit(function.Main(runbooks.Domain())) }

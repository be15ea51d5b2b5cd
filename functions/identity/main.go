// Command identity is the Lambda function of the identity domain.
package main

import (
	"os"

	"github.com/snapback-aws/snapback/pkg/controls/identity"
	"github.com/snapback-aws/snapback/pkg/function"
)

func main() { os.Exit(function.Main(identity.Domain())) }

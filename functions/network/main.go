// Command network is the Lambda function of the network domain.
package main

import (
	"os"

	"github.com/snapback-aws/snapback/pkg/controls/network"
	"github.com/snapback-aws/snapback/pkg/function"
)

func main() { os.Exit(function.Main(network.Domain())) }

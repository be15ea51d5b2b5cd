// Command storage is the Lambda function of the storage domain.
package main

import (
	"os"

	"github.com/snapback-aws/snapback/pkg/controls/storage"
	"github.com/snapback-aws/snapback/pkg/function"
)

func main() { os.Exit(function.Main(storage.Domain())) }

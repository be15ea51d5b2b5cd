// Command storage is the Lambda function of the storage domain.
package main

import (
	"github.com/snapback-aws/snapback/pkg/controls/storage"
	"github.com/snapback-aws/snapback/pkg/function"
)

func main() { function.Main(storage.Domain()) }

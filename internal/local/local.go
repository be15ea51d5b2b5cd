// Package local runs on this machine what Snapback runs on in the cloud, from
// the real parts: moto's server as AWS, DynamoDB Local, AWS's own Lambda
// runtime emulator, and the rule engine of EventBridge. The demo and the tests
// share it. `make tools` and `make test-tools` install the parts.
//
// Every part listens on a free loopback port and has an owner: it ends, with
// all its children, on Close, when its context ends, and when the process that
// started it dies.
package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Root is the folder of the module that the working directory lies in. It
// panics outside of any module: neither the demo nor a test runs there.
func Root() string { return root() }

var root = sync.OnceValue(func() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(fmt.Sprintf("find the module's root: %v", err))
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			panic(fmt.Sprintf("find the module's root: no go.mod in %s or above it", dir))
		}
	}
})

// Region is where the local AWS is entered; a caller may set another one in
// its configuration.
const Region = "us-east-1"

// tool is the path of an installed tool. Its error names the target of the
// Makefile that installs it.
func tool(target string, path ...string) (string, error) {
	file := filepath.Join(append([]string{Root(), ".tools"}, path...)...)
	switch _, err := os.Stat(file); {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%s is not installed: run `make %s`", filepath.Join(path...), target)
	case err != nil:
		return "", fmt.Errorf("find a tool: %w", err)
	}
	return file, nil
}

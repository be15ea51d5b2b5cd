package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/deployment"
)

// The linter of CloudFormation knows every resource type's schema, Region by
// Region, those of other partitions too. It is asked for everything that it has to
// say, but for I3011: that queues and log groups go with their stack is meant; the
// ledger's table stays.
func TestTemplatesAreCleanForTheLinter(t *testing.T) {
	linter := filepath.Join(local.Root(), ".tools", "venv", "bin", "cfn-lint")
	if _, err := os.Stat(linter); err != nil {
		t.Fatalf("%v: run `make tools`", err)
	}
	for _, tt := range []struct{ name, regions string }{
		{"smallest", "us-east-1"},
		{"typical", "us-east-1 eu-west-1"},
		{"everything", "us-east-1 eu-west-1 ap-southeast-2 us-gov-west-1 cn-north-1"},
	} {
		folder := assembly(t, baselineOf(t, tt.name)) // not side by side: there is one jsii
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"--include-checks", "I", "--ignore-checks", "I3011", "--regions"}, strings.Fields(tt.regions)...)
			args = append(append(args, "--"), linted(t, folder)...)
			start := time.Now()
			ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
			defer stop()
			if out, err := exec.CommandContext(ctx, linter, args...).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("cfn-lint: %v\n%s", err, out)
			}
			t.Logf("cfn-lint for %s: %v", tt.regions, time.Since(start).Round(time.Millisecond))
		})
	}
}

// linted are the templates in a folder, each once: what the management account has
// by hand is what the StackSet brings.
func linted(t *testing.T, folder string) []string {
	t.Helper()
	paths := []string{filepath.Join(folder, "member", deployment.StackSet+".template.json")}
	for stack := range templatesIn(t, folder) {
		if !strings.HasPrefix(stack, "member") && !strings.HasPrefix(stack, deployment.StackSet+"-") {
			paths = append(paths, filepath.Join(folder, stack+".template.json"))
		}
	}
	return paths
}

package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Build builds a function for this machine into a folder, as `make build` does,
// so that a test runs the code that it is about, and returns the binary's path.
// The source is a package such as "./functions/storage".
func Build(ctx context.Context, source, dir string) (string, error) {
	binary := filepath.Join(dir, "bootstrap")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", binary, source)
	build.Dir, build.Env = Root(), append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	if printed, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", source, err, printed)
	}
	return binary, nil
}

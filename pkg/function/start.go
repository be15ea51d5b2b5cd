package function

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
)

// Serve runs a function for as long as Lambda wants it: build makes its handler,
// in one of the forms that package lambda takes. If it can't be made, the reason is
// logged in one line, and the program's exit code is returned.
func Serve(name string, build func(context.Context, *slog.Logger) (handler any, err error)) int {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	handler, err := build(context.Background(), log)
	if err != nil {
		log.Error("the function does not start", "domain", name, "error", err.Error())
		return 1
	}
	lambda.Start(handler)
	return 0
}

// Deployed reads the baseline that a function carries, for a domain. The digest is
// the SHA-256 that the file must have, in hexadecimal; empty: any.
func Deployed(file, digest string, domain control.Domain) (*baseline.Baseline, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the baseline: %w", err)
	}
	b, problems := baseline.ParseDeployed(file, data, domain)
	if b == nil {
		return nil, problems
	}
	if digest != "" && digest != b.Digest {
		return nil, fmt.Errorf("the baseline %s is not the one that was deployed: its SHA-256 is %s, and SNAPBACK_BASELINE_DIGEST says %s: deploy again",
			file, b.Digest, digest)
	}
	return b, nil
}

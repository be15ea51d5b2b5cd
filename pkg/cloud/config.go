// Package cloud opens sessions in member accounts: one account, one Region,
// one role. It retries with jitter, records every call and tells errors worth
// retrying from those that retrying can't mend.
//
// It imports no service client but STS; controls bring their own.
package cloud

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/middleware"
)

// The bounds of one AWS call. The longest it can take, four attempts and the
// waits between them, is 26 s: less than half of a function's minute, so a
// call that hangs still leaves time to say so.
const (
	maxAttempts    = 4
	maxBackoff     = 2 * time.Second
	attemptTimeout = 5 * time.Second
)

// Load reads the caller's configuration (Region, credentials, endpoints) as
// every AWS tool does, from the environment and the shared files, and bounds
// and records the calls made with it.
func Load(ctx context.Context) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return aws.Config{}, fmt.Errorf("load AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return aws.Config{}, fmt.Errorf("no AWS Region: set AWS_REGION or `region` in the AWS profile")
	}
	return Bounded(cfg), nil
}

// Bounded returns a copy of cfg whose calls are retried and timed out within
// the package's bounds and reported to the Recorder of their context.
func Bounded(cfg aws.Config) aws.Config {
	cfg = cfg.Copy()
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = maxAttempts
			o.MaxBackoff = maxBackoff
		})
	}
	cfg.HTTPClient = Patient(attemptTimeout)
	cfg.APIOptions = append(cfg.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(recordCall{}, middleware.After)
	})
	return cfg
}

// dialLoopback connects to a loopback address that carries the prefix which
// some operations put before the endpoint's host: with the endpoint
// http://127.0.0.1:5000, S3 Control calls 222222222222.127.0.0.1:5000. Such a
// name never resolves, so nothing but a local emulator is concerned.
func dialLoopback(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if _, rest, ok := strings.Cut(address, "."); ok {
			if host, _, err := net.SplitHostPort(rest); err == nil && net.ParseIP(host).IsLoopback() {
				address = rest
			}
		}
		return dial(ctx, network, address)
	}
}

// Partition is the AWS partition of a Region, the second field of its ARNs.
// Source: the partitions of the AWS SDKs' endpoint rules (partitions.json).
func Partition(region string) string {
	for _, p := range partitions {
		if strings.HasPrefix(region, p.prefix) {
			return p.name
		}
	}
	return "aws"
}

// partitions are all but the commercial one, with the Region that each began with.
var partitions = []struct{ prefix, name, region string }{
	{"cn-", "aws-cn", "cn-north-1"},
	{"us-gov-", "aws-us-gov", "us-gov-west-1"},
	{"us-isob-", "aws-iso-b", "us-isob-east-1"},
	{"us-isof-", "aws-iso-f", "us-isof-south-1"},
	{"eu-isoe-", "aws-iso-e", "eu-isoe-west-1"},
	{"us-iso-", "aws-iso", "us-iso-east-1"},
	{"eusc-", "aws-eusc", "eusc-de-east-1"},
}

// AnyRegion is a Region of a partition; empty if there is no such partition.
func AnyRegion(partition string) string {
	if partition == "aws" {
		return "us-east-1"
	}
	for _, p := range partitions {
		if p.name == partition {
			return p.region
		}
	}
	return ""
}

// Patient is the HTTP client of Bounded for an answer that may take so long:
// that of a function which is invoked and waited for.
func Patient(timeout time.Duration) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithTimeout(timeout).
		WithTransportOptions(func(t *http.Transport) { t.DialContext = dialLoopback(t.DialContext) })
}

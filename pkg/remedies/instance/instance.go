// Package instance is what all remedies of an EC2 instance need: how instances
// are named, and how one is read.
package instance

import (
	"context"
	"fmt"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

// Resource is how EC2 instances are named.
func Resource() control.Resource {
	return control.Resource{
		Type: "AWS::EC2::Instance",
		ARN: func(t control.Target) string {
			return "arn:" + cloud.Partition(t.Region) + ":ec2:" + t.Region + ":" + t.Account + ":instance/" + t.ID
		},
		IDs:    regexp.MustCompile(`^i-[0-9a-f]{8,17}$`),
		Sample: "i-0123456789abcdef0",
	}
}

// Read is the permission that Describe needs; IAM knows no resource for it
// (service authorization reference, Amazon EC2).
var Read = control.Permission{Call: "EC2.DescribeInstances", Action: "ec2:DescribeInstances", Resource: "*"}

// Client is the session's client of EC2.
func Client(session *cloud.Session) *ec2.Client {
	return cloud.Client(session, func(cfg aws.Config) *ec2.Client { return ec2.NewFromConfig(cfg) })
}

// Describe reads the target. One that is terminated, or about to be, is
// control.ErrGone, wrapped, as is one that was never there: AWS shows a
// terminated instance for about an hour (EC2 user guide, "Terminate Amazon EC2
// instances").
func Describe(ctx context.Context, session *cloud.Session, t control.Target) (*types.Instance, error) {
	out, err := Client(session).DescribeInstances(ctx, &ec2.DescribeInstancesInput{
		// An account may have hidden the instances that AWS services manage: hidden is not gone.
		InstanceIds: []string{t.ID}, IncludeManagedResources: aws.Bool(true),
	})
	switch {
	case cloud.Is(err, "InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"):
		return nil, fmt.Errorf("describe instance %s: %w", t.ID, control.ErrGone)
	case err != nil:
		return nil, fmt.Errorf("describe instance %s: %w", t.ID, err)
	}
	for _, r := range out.Reservations {
		for i := range r.Instances {
			if in := &r.Instances[i]; aws.ToString(in.InstanceId) == t.ID && !ended(in.State) {
				return in, nil
			}
		}
	}
	return nil, fmt.Errorf("describe instance %s: it is terminated: %w", t.ID, control.ErrGone)
}

// ended reports whether an instance is terminated or will be: there is no way
// back from shutting-down.
func ended(s *types.InstanceState) bool {
	return s != nil && (s.Name == types.InstanceStateNameTerminated || s.Name == types.InstanceStateNameShuttingDown)
}

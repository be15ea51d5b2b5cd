package health

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
)

// lookAtTrails notes a fault unless a trail logs write management events in the
// site's Region: without one, CloudTrail puts no events on the default bus.
// Source: EventBridge user guide, "AWS service events delivered via AWS
// CloudTrail".
func (s *Site) lookAtTrails(ctx context.Context, session *cloud.Session) {
	client := cloud.Client(session, func(cfg aws.Config) *cloudtrail.Client { return cloudtrail.NewFromConfig(cfg) })
	// Shadows are the trails of another Region or of the organization that log here.
	out, err := client.DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{IncludeShadowTrails: aws.Bool(true)}, in(s.Region))
	if err != nil {
		s.fault(fmt.Errorf("look for trails: %w", err))
		return
	}
	var why []string
	for _, trail := range out.TrailList {
		if !aws.ToBool(trail.IsMultiRegionTrail) && aws.ToString(trail.HomeRegion) != s.Region {
			continue
		}
		fault, err := s.trailFault(ctx, client, trail)
		if err != nil {
			fault = cloud.Reason(err)
		}
		if fault == "" {
			return
		}
		why = append(why, fault)
	}
	s.Faults = append(s.Faults, strings.Join(append([]string{
		"no trail logs write management events in this Region, so EventBridge hears of no change: make one that does",
	}, why...), "; "))
}

func in(region string) func(*cloudtrail.Options) {
	return func(o *cloudtrail.Options) { o.Region = region }
}

// trailFault says why a trail does not log write management events here; empty if
// it does.
func (s *Site) trailFault(ctx context.Context, client *cloudtrail.Client, trail types.Trail) (string, error) {
	// A shadow is known by its ARN alone. Source: CloudTrail API reference,
	// GetTrailStatus, Name.
	arn := aws.ToString(trail.TrailARN)
	status, err := client.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: &arn}, in(s.Region))
	if err != nil {
		return "", fmt.Errorf("read the status of %s: %w", arn, err)
	}
	if !aws.ToBool(status.IsLogging) {
		return arn + " is stopped", nil
	}
	// What a trail of the organization selects is looked at where it is at home: AWS
	// does not say whether members may read it.
	if parts := strings.Split(arn, ":"); len(parts) > 4 && parts[4] != s.Account {
		return "", nil
	}
	selectors, err := client.GetEventSelectors(ctx, &cloudtrail.GetEventSelectorsInput{TrailName: &arn}, in(aws.ToString(trail.HomeRegion)))
	if err != nil {
		return "", fmt.Errorf("read what %s logs: %w", arn, err)
	}
	if !logsWrites(selectors) {
		return arn + " leaves write management events out", nil
	}
	return "", nil
}

// logsWrites reports whether a trail logs all write management events, but for
// those that may be excluded by their source (KMS, RDS Data API). Without
// selectors it does. Source: CloudTrail API reference, PutEventSelectors.
func logsWrites(out *cloudtrail.GetEventSelectorsOutput) bool {
	if len(out.EventSelectors)+len(out.AdvancedEventSelectors) == 0 {
		return true
	}
	return slices.ContainsFunc(out.EventSelectors, func(e types.EventSelector) bool {
		included := e.IncludeManagementEvents == nil || *e.IncludeManagementEvents
		return included && e.ReadWriteType != types.ReadWriteTypeReadOnly
	}) || slices.ContainsFunc(out.AdvancedEventSelectors, func(e types.AdvancedEventSelector) bool {
		management := slices.ContainsFunc(e.FieldSelectors, func(f types.AdvancedFieldSelector) bool {
			return aws.ToString(f.Field) == "eventCategory" && slices.Contains(f.Equals, "Management")
		})
		return management && !slices.ContainsFunc(e.FieldSelectors, narrows)
	})
}

// narrows reports whether a field of an advanced selector leaves write events out.
func narrows(f types.AdvancedFieldSelector) bool {
	switch aws.ToString(f.Field) {
	case "eventCategory":
		return false
	case "readOnly":
		return !slices.Contains(f.Equals, "false")
	}
	return len(f.Equals)+len(f.StartsWith)+len(f.EndsWith) > 0
}

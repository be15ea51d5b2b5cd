package event_test

import (
	"cmp"
	"flag"
	"fmt"
	"slices"
	"testing"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/event"
)

var seed = flag.Uint64("seed", 1, "which random variations of the events TestPatternsMatchAsEventBridge compares")

// TestPatternsMatchAsEventBridge compares our matcher with EventBridge's own
// rule engine, on patterns of the forms that we generate.
func TestPatternsMatchAsEventBridge(t *testing.T) {
	ruler, err := local.StartRuler(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ruler.Close)
	const variations = 10_000
	tally, disagreements, err := ruler.Compare(local.Comparison{
		Patterns: rulerPatterns(), Events: rulerEvents(), Variations: variations, Seed: *seed,
	})
	if err != nil {
		t.Fatalf("%v (-seed=%d)", err, *seed)
	}
	t.Logf("of %d variations, %d match, %d don't, %d are no events", variations, tally.Match, tally.NoMatch, tally.Refused)
	if least := variations / 10; tally.Match < least || tally.NoMatch < least {
		t.Errorf("%d variations match and %d don't: want %d of each", tally.Match, tally.NoMatch, least)
	}
	for i, d := range shortest(disagreements) {
		if i == 5 {
			break
		}
		t.Error(d)
	}
	if len(disagreements) > 0 {
		t.Errorf("%d disagreements (-seed=%d)", len(disagreements), *seed)
	}
}

func rulerPatterns() []event.Pattern {
	return []event.Pattern{
		event.Calls("s3.amazonaws.com", []string{"CreateBucket", "DeleteBucketPublicAccessBlock", "PutBucketAcl"}),
		event.Calls("ec2.amazonaws.com", []string{"AuthorizeSecurityGroupIngress"}),
		event.ConfigResources([]string{"AWS::S3::Bucket"}),
		event.ConfigResources([]string{"AWS::EC2::SecurityGroup", "AWS::IAM::User"}),
		event.Findings(),
	}
}

func rulerEvents() [][]byte {
	envelope := func(source, detailType, detail string) []byte {
		return fmt.Appendf(nil, `{"version":"0","id":"6a7e8feb-b491-4cf7-a9f1-bf3703467718","detail-type":%q,"source":%q,`+
			`"account":"222222222222","time":"2026-11-20T10:00:00Z","region":"us-east-1","resources":[],"detail":%s}`,
			detailType, source, detail)
	}
	call := func(source, eventSource, name string) []byte {
		return envelope(source, event.CallViaCloudTrail, fmt.Sprintf(`{"eventVersion":"1.11",`+
			`"userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::222222222222:user/alice","accountId":"222222222222"},`+
			`"eventTime":"2026-11-20T10:00:00Z","eventSource":%q,"eventName":%q,"awsRegion":"us-east-1",`+
			`"requestParameters":{"bucketName":"example","items":[{"eventName":"x"},{"n":1.50}]},"responseElements":null,`+
			`"readOnly":false,"recipientAccountId":"222222222222"}`, eventSource, name))
	}
	item := func(field, resourceType string) []byte {
		return envelope("aws.config", event.ConfigItemChange, fmt.Sprintf(`{"recordVersion":"1.3",%q:{"relatedEvents":[],`+
			`"relationships":[{"resourceType":"AWS::EC2::VPC"}],"awsAccountId":"222222222222","awsRegion":"us-east-1",`+
			`"resourceType":%q,"resourceId":"example","configurationItemStatus":"OK"}}`, field, resourceType))
	}
	compliance := func(resourceType, verdict string) []byte {
		return envelope("aws.config", event.ConfigComplianceChange, fmt.Sprintf(`{"resourceId":"example","awsRegion":"us-east-1",`+
			`"awsAccountId":"222222222222","configRuleName":"rule","newEvaluationResult":{"complianceType":%q},`+
			`"oldEvaluationResult":{"complianceType":"NON_COMPLIANT"},"resourceType":%q}`, verdict, resourceType))
	}
	return [][]byte{
		call("aws.s3", "s3.amazonaws.com", "PutBucketAcl"),
		call("aws.s3", "s3.amazonaws.com", "GetObject"),
		call("aws.ec2", "ec2.amazonaws.com", "AuthorizeSecurityGroupIngress"),
		item("configurationItem", "AWS::S3::Bucket"),
		item("configurationItem", "AWS::IAM::User"),
		item("configurationItemSummary", "AWS::S3::Bucket"),
		item("configurationItemSummary", "AWS::EC2::SecurityGroup"),
		compliance("AWS::S3::Bucket", "NON_COMPLIANT"),
		compliance("AWS::S3::Bucket", "COMPLIANT"),
		compliance("AWS::EC2::SecurityGroup", "NON_COMPLIANT"),
		envelope("aws.guardduty", event.GuardDutyFinding, `{"accountId":"222222222222","region":"us-east-1","id":"f",`+
			`"type":"CryptoCurrency:EC2/BitcoinTool.B!DNS","severity":8,"service":{"archived":false}}`),
	}
}

func shortest(d []local.Disagreement) []local.Disagreement {
	return slices.SortedFunc(slices.Values(d), func(a, b local.Disagreement) int {
		return cmp.Compare(len(a.Pattern)+len(a.Event), len(b.Pattern)+len(b.Event))
	})
}

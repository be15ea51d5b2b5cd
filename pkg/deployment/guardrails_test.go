package deployment_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// maxControlPolicy is AWS's limit. Source: AWS Organizations user guide, "Quotas
// and service limits for AWS Organizations".
const maxControlPolicy = 10_240

// Who makes a call.
const (
	developer   = "arn:aws:iam::222222222222:role/developer" // with all rights in his account
	root        = "arn:aws:iam::222222222222:root"
	hubAdmin    = "arn:aws:iam::111111111111:role/admin" // the same in the hub
	breakGlass  = "arn:aws:iam::222222222222:role/break-glass"
	glassOfHub  = "arn:aws:iam::111111111111:role/break-glass"
	pipeline    = "arn:aws:iam::222222222222:role/ci/deploy" // one of the baseline's administrators
	storage     = "arn:aws:iam::222222222222:role/snapback-storage"
	network     = "arn:aws:iam::222222222222:role/snapback-network"
	response    = "arn:aws:iam::222222222222:role/snapback-response"
	health      = "arn:aws:iam::222222222222:role/snapback-health"
	forward     = "arn:aws:iam::222222222222:role/snapback-forward-us-east-1"
	function    = "arn:aws:iam::111111111111:role/snapback-function-storage"
	scheduler   = "arn:aws:iam::111111111111:role/snapback-scheduler"
	stackSets   = "arn:aws:iam::222222222222:role/stacksets-exec-0123456789abcdef"
	cdkExec     = "arn:aws:iam::111111111111:role/cdk-hnb659fds-cfn-exec-role-111111111111-us-east-1"
	cdkDeploy   = "arn:aws:iam::111111111111:role/cdk-hnb659fds-deploy-role-111111111111-us-east-1"
	cdkOfMember = "arn:aws:iam::222222222222:role/cdk-hnb659fds-cfn-exec-role-222222222222-us-east-1"
)

// guarded is a baseline with guardrails.
func guarded() *baseline.Baseline {
	return &baseline.Baseline{
		Mode: baseline.Enforce,
		Organization: baseline.Organization{
			ID: "o-example1234", Root: "r-ab12", Management: "000000000000",
			Hub:     baseline.Hub{Account: "111111111111", Region: "us-east-1"},
			Regions: []string{"us-east-1", "eu-west-1"},
		},
		Overrides:      []baseline.Override{{Match: baseline.Match{Tags: map[string]string{"env": "dev"}}, Controls: []string{"ec2-*"}, Mode: baseline.Observe}},
		Administrators: []string{pipeline},
		Deployment: baseline.Deployment{Guardrails: &baseline.Guardrails{
			Targets: []string{"r-ab12"}, BreakGlass: []string{"arn:aws:iam::*:role/break-glass"},
		}},
	}
}

func guardrails(t *testing.T, b *baseline.Baseline) []deployment.Policy {
	t.Helper()
	policies, err := deployment.ServiceControlPolicies(b)
	if err != nil {
		t.Fatal(err)
	}
	return policies
}

// bound is a principal who may do everything that the guardrails leave him.
func bound(t testing.TB, arn string, guardrails []deployment.Policy) *iampolicy.Principal {
	t.Helper()
	p := &iampolicy.Principal{ARN: arn, Type: iampolicy.Role}
	if strings.HasSuffix(arn, ":root") {
		p.Type = iampolicy.User // a condition sees no role
	}
	full := deployment.Policy{Name: "FullAWSAccess", Document: deployment.Document{
		Version: "2012-10-17", Statement: []deployment.Statement{{Effect: "Allow", Action: []string{"*"}, Resource: []string{"*"}}},
	}}
	for _, g := range append(guardrails, full) {
		document, err := iampolicy.Parse(minified(t, g.Document))
		if err != nil {
			t.Fatalf("%s: %v", g.Name, err)
		}
		p.Policies = append(p.Policies, iampolicy.Policy{Name: g.Name, Document: document})
	}
	return p
}

func minified(t testing.TB, d deployment.Document) string {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// request is what is known of a request: all that the guardrails ask for.
func request(region string, more iampolicy.Context) iampolicy.Context {
	known := iampolicy.Context{
		"aws:requestedregion": {region}, "aws:tagkeys": nil, "lambda:functionarn": nil, "kms:resourcealiases": nil,
		"aws:resourcetag/snapback:evidence": nil, "aws:resourcetag/snapback:managed": nil,
	}
	for key, values := range more {
		known[key] = values
	}
	return known
}

// may tells whether the guardrails let a principal do something in a Region.
func may(t *testing.T, who, action, resource, region string, more iampolicy.Context, guardrails []deployment.Policy) bool {
	t.Helper()
	switch answer := bound(t, who, guardrails).May(action, resource, request(region, more)); answer {
	case iampolicy.Yes:
		return true
	case iampolicy.No:
		return false
	default:
		t.Fatalf("%s %s %s in %s: the answer is %s: something that a condition asks for is not known here", who, action, resource, region, answer)
		return false
	}
}

func tagged(keys ...string) iampolicy.Context { return iampolicy.Context{"aws:tagkeys": keys} }

func of(key, value string) iampolicy.Context { return iampolicy.Context{key: {value}} }

func TestGuardrailsLeaveAndForbid(t *testing.T) {
	policies := guardrails(t, guarded())
	const (
		home, away, outside = "us-east-1", "eu-west-1", "ap-southeast-2"

		trail                   = "arn:aws:cloudtrail:eu-west-1:222222222222:trail/main"
		detector                = "arn:aws:guardduty:eu-west-1:222222222222:detector/d1"
		bucket                  = "arn:aws:s3:::example"
		instance                = "arn:aws:ec2:eu-west-1:222222222222:instance/i-1"
		snapshot                = "arn:aws:ec2:eu-west-1::snapshot/snap-1"
		group                   = "arn:aws:ec2:eu-west-1:222222222222:security-group/sg-1"
		rule                    = "arn:aws:events:eu-west-1:222222222222:rule/snapback-s3"
		app                     = "arn:aws:iam::222222222222:role/app"
		lambda                  = "arn:aws:lambda:us-east-1:111111111111:function:snapback-storage"
		queue                   = "arn:aws:sqs:us-east-1:111111111111:snapback-storage"
		table                   = "arn:aws:dynamodb:us-east-1:111111111111:table/snapback"
		topic                   = "arn:aws:sns:us-east-1:111111111111:snapback-alerts"
		bus                     = "arn:aws:events:us-east-1:111111111111:event-bus/snapback"
		hubRule                 = "arn:aws:events:us-east-1:111111111111:rule/snapback/snapback-storage-s3"
		stack                   = "arn:aws:cloudformation:us-east-1:111111111111:stack/snapback-hub/1"
		instanceStack, stackSet = "arn:aws:cloudformation:eu-west-1:222222222222:stack/StackSet-snapback-member-1/2",
			"arn:aws:cloudformation:us-east-1:111111111111:stackset/snapback-member:1"
		key     = "arn:aws:kms:us-east-1:111111111111:key/1"
		mapping = "arn:aws:lambda:us-east-1:111111111111:event-source-mapping:1"
	)
	ours := of("lambda:functionarn", lambda)
	ourKey := of("kms:resourcealiases", "alias/snapback-alerts")
	held, released := of("aws:resourcetag/snapback:evidence", "held"), of("aws:resourcetag/snapback:evidence", "released")
	quarantine := of("aws:resourcetag/snapback:managed", "true")
	for _, tt := range []struct {
		who, action, resource, region string
		with                          iampolicy.Context
		want                          bool
		why                           string
	}{
		// Logging and detection.
		{developer, "cloudtrail:StopLogging", trail, away, nil, false, "the first thing an intruder does"},
		{root, "cloudtrail:StopLogging", trail, away, nil, false, "root of a member is bound too"},
		{developer, "cloudtrail:DeleteTrail", trail, away, nil, false, "nothing is logged any more"},
		{developer, "cloudtrail:UpdateTrail", trail, away, nil, false, "it could log one Region alone, or to a bucket of his"},
		{developer, "cloudtrail:PutEventSelectors", trail, away, nil, false, "it could leave out management events"},
		{developer, "cloudtrail:CreateTrail", trail, away, nil, true, "another trail takes nothing away"},
		{developer, "cloudtrail:LookupEvents", "*", away, nil, true, "to read is no harm"},
		{breakGlass, "cloudtrail:StopLogging", trail, away, nil, true, "break-glass is bound by nothing"},
		{stackSets, "cloudtrail:UpdateTrail", trail, away, nil, true, "the organization deploys trails by StackSets"},
		{pipeline, "cloudtrail:StopLogging", trail, away, nil, false, "administrators may set tags, no more"},
		{cdkOfMember, "cloudtrail:DeleteTrail", trail, away, nil, false, "the CDK's roles are excused in the hub, for what is Snapback's"},
		{cdkExec, "cloudtrail:DeleteTrail", trail, home, nil, false, "there too not for what is not"},
		{developer, "config:StopConfigurationRecorder", "*", away, nil, false, "no more changes of configuration are told"},
		{developer, "config:PutConfigurationRecorder", "*", away, nil, false, "it could record nothing"},
		{developer, "config:DeleteDeliveryChannel", "*", away, nil, false, "what is recorded would go nowhere"},
		{developer, "config:PutConfigRule", "*", away, nil, true, "teams have rules of their own"},
		{developer, "guardduty:DeleteDetector", detector, away, nil, false, "no more findings"},
		{developer, "guardduty:UpdateDetector", detector, away, nil, false, "it could be suspended"},
		{developer, "guardduty:CreateFilter", detector, away, nil, false, "a suppression rule hides findings, also from EventBridge"},
		{developer, "guardduty:CreateIPSet", detector, away, nil, false, "nothing is found of addresses that are trusted"},
		{developer, "guardduty:DisassociateFromAdministratorAccount", detector, away, nil, false, "the administrator account would not see it"},
		{developer, "guardduty:AcceptAdministratorInvitation", detector, away, nil, false, "somebody else could come to administer it"},
		{developer, "guardduty:GetFindings", detector, away, nil, true, "findings may be read"},
		{developer, "guardduty:CreateDetector", "*", away, nil, true, "to turn it on is no harm"},
		{health, "guardduty:CreateSampleFindings", "*", away, nil, true, "the drill with sample findings"},
		{developer, "securityhub:DisableSecurityHub", "*", away, nil, false, "what operators see is gone"},
		{developer, "securityhub:BatchDisableStandards", "*", away, nil, false, "so are its controls"},
		{developer, "access-analyzer:DeleteAnalyzer", "arn:aws:access-analyzer:eu-west-1:222222222222:analyzer/a", away, nil, false, "what is shared outside is no longer found"},

		// The organization and its Regions.
		{developer, "organizations:LeaveOrganization", "*", home, nil, false, "nothing of this would bind the account"},
		{root, "organizations:LeaveOrganization", "*", home, nil, false, "root is who usually does it"},
		{stackSets, "organizations:LeaveOrganization", "*", home, nil, false, "nothing that is deployed needs it"},
		{root, "account:CloseAccount", "*", home, nil, false, "the evidence goes with the account"},
		{developer, "account:DisableRegion", "*", home, nil, false, "all in the Region stops, Snapback too"},
		{breakGlass, "account:EnableRegion", "*", home, nil, true, "a new Region is turned on"},
		{developer, "organizations:DescribeOrganization", "*", home, nil, true, "to read is no harm"},
		{developer, "ec2:RunInstances", "arn:aws:ec2:ap-southeast-2:222222222222:instance/*", outside, nil, false, "nobody looks there"},
		{developer, "s3:CreateBucket", bucket, outside, nil, false, "nobody looks there"},
		{root, "lambda:CreateFunction", "arn:aws:lambda:ap-southeast-2:222222222222:function:f", outside, nil, false, "nobody looks there"},
		{developer, "kms:CreateKey", "*", outside, nil, false, "KMS is of each Region"},
		{breakGlass, "ec2:TerminateInstances", "arn:aws:ec2:ap-southeast-2:222222222222:instance/i-1", outside, nil, true, "what is there all the same must be removed"},
		{stackSets, "cloudformation:DeleteStack", "arn:aws:cloudformation:ap-southeast-2:222222222222:stack/StackSet-snapback-member-1/2", outside, nil, true, "a Region that is governed no more is cleared"},
		{stackSets, "sqs:DeleteQueue", "arn:aws:sqs:ap-southeast-2:222222222222:snapback-undelivered", outside, nil, true, "with all that is in it"},
		{developer, "ec2:RunInstances", instance, away, nil, true, "ordinary work in a governed Region"},
		{developer, "s3:CreateBucket", bucket, away, nil, true, "ordinary work in a governed Region"},
		{developer, "s3:PutObject", bucket + "/key", home, nil, true, "ordinary work in a governed Region"},
		{developer, "iam:CreateRole", app, home, nil, true, "IAM answers in us-east-1"},
		{developer, "iam:PassRole", app, away, nil, true, "ordinary roles are passed on"},
		{developer, "sts:AssumeRole", app, home, nil, true, "ordinary roles are assumed"},
		{developer, "sts:GetCallerIdentity", "*", outside, nil, true, "every tool asks it, in its own Region"},
		{developer, "route53:ChangeResourceRecordSets", "arn:aws:route53:::hostedzone/Z1", home, nil, true, "a global service"},
		{developer, "cloudfront:CreateDistribution", "arn:aws:cloudfront::222222222222:distribution/*", home, nil, true, "a global service"},
		{developer, "acm:RequestCertificate", "arn:aws:acm:us-east-1:222222222222:certificate/*", home, nil, true, "CloudFront's certificates are in us-east-1"},
		{developer, "support:CreateCase", "*", outside, nil, true, "support is for everybody"},
		{developer, "globalaccelerator:CreateAccelerator", "*", "us-west-2", nil, true, "a global service whose endpoint is in us-west-2"},
		{developer, "s3:ListAllMyBuckets", "*", outside, nil, true, "the list is the same everywhere"},
		{developer, "ec2:DescribeRegions", "*", outside, nil, true, "the console asks it"},

		// What is Snapback's own.
		{developer, "iam:DeleteRole", storage, home, nil, false, "Snapback could not enter the account"},
		{root, "iam:UpdateAssumeRolePolicy", storage, home, nil, false, "he would let himself in"},
		{developer, "iam:AttachRolePolicy", storage, home, nil, false, "it would get rights that no control needs"},
		{developer, "iam:CreateRole", "arn:aws:iam::222222222222:role/snapback-mine", home, nil, false, "roles of this name are excused from some statements"},
		{developer, "iam:CreatePolicyVersion", "arn:aws:iam::222222222222:policy/snapback-storage-evaluate", home, nil, false, "the roles' rights are there"},
		{hubAdmin, "iam:PassRole", function, home, nil, false, "a function of his would act in every account"},
		{hubAdmin, "sts:AssumeRole", storage, home, nil, false, "the hub's functions alone do"},
		{function, "sts:AssumeRole", storage, home, nil, true, "that is how Snapback works"},
		{storage, "sts:AssumeRole", network, home, nil, false, "no role is a way to another"},
		{developer, "iam:GetRole", storage, home, nil, true, "to read is no harm"},
		{storage, "iam:PutRolePolicy", storage, home, nil, false, "the roles may not change themselves"},
		{response, "iam:DeleteRole", health, home, nil, false, "nor each other"},
		{response, "iam:PutRolePolicy", app, home, nil, true, "a threat is contained"},
		{response, "iam:PutRolePolicy", breakGlass, home, nil, false, "but break-glass is left alone"},
		{developer, "events:DisableRule", rule, away, nil, false, "no more events reach the hub"},
		{developer, "events:RemoveTargets", rule, away, nil, false, "no more events reach the hub"},
		{developer, "events:PutRule", "arn:aws:events:eu-west-1:222222222222:rule/mine", away, nil, true, "teams have rules of their own"},
		{developer, "sqs:DeleteQueue", "arn:aws:sqs:eu-west-1:222222222222:snapback-undelivered", away, nil, false, "what was not delivered is there"},
		{health, "sqs:GetQueueAttributes", "arn:aws:sqs:eu-west-1:222222222222:snapback-undelivered", away, nil, true, "how many were not delivered"},
		{health, "events:PutEvents", "arn:aws:events:eu-west-1:222222222222:event-bus/default", away, nil, true, "the canary"},
		{forward, "events:PutEvents", bus, home, nil, true, "events are forwarded"},
		{hubAdmin, "events:DeleteRule", hubRule, home, nil, false, "no more events reach the function"},
		{hubAdmin, "events:PutPermission", bus, home, nil, false, "strangers could send events"},
		{hubAdmin, "events:StartReplay", "arn:aws:events:us-east-1:111111111111:archive/snapback", home, nil, true, "the last month is replayed"},
		{hubAdmin, "lambda:UpdateFunctionCode", lambda, home, nil, false, "his code would act in every account"},
		{hubAdmin, "lambda:InvokeFunction", lambda, home, nil, true, "operators approve and undo by it"},
		{scheduler, "lambda:InvokeFunction", lambda, home, nil, true, "the hourly drill"},
		{hubAdmin, "lambda:UpdateEventSourceMapping", mapping, home, ours, false, "the queue would be read no more"},
		{hubAdmin, "lambda:CreateEventSourceMapping", "*", home, ours, false, "the function would take events of his"},
		{hubAdmin, "lambda:UpdateEventSourceMapping", mapping, home, of("lambda:functionarn", "arn:aws:lambda:us-east-1:111111111111:function:other"), true, "other functions are nobody's business here"},
		{hubAdmin, "sqs:PurgeQueue", queue, home, nil, false, "events would be lost"},
		{hubAdmin, "sqs:StartMessageMoveTask", queue + "-dead", home, nil, true, "dead letters are sent again"},
		{hubAdmin, "dynamodb:DeleteTable", table, home, nil, false, "every case could no longer be undone"},
		{hubAdmin, "dynamodb:UpdateContinuousBackups", table, home, nil, false, "it could not be restored"},
		{hubAdmin, "dynamodb:PutItem", table, home, nil, true, "operators write the kill switch and exemptions"},
		{function, "dynamodb:UpdateItem", table, home, nil, true, "cases are written down"},
		{hubAdmin, "sns:DeleteTopic", topic, home, nil, false, "nobody would be told"},
		{function, "sns:Publish", topic, home, nil, true, "operators are told"},
		{hubAdmin, "kms:ScheduleKeyDeletion", key, home, ourKey, false, "nobody would be told"},
		{hubAdmin, "kms:ScheduleKeyDeletion", key, home, of("kms:resourcealiases", "alias/other"), true, "other keys are nobody's business here"},
		{hubAdmin, "kms:DeleteAlias", "arn:aws:kms:us-east-1:111111111111:alias/snapback-alerts", home, nil, false, "the key would be known no more"},
		{function, "kms:GenerateDataKey", key, home, ourKey, true, "alerts are encrypted"},
		{hubAdmin, "logs:DeleteLogGroup", "arn:aws:logs:us-east-1:111111111111:log-group:/aws/lambda/snapback-storage:*", home, nil, false, "what was done is told there"},
		{function, "logs:PutLogEvents", "arn:aws:logs:us-east-1:111111111111:log-group:/aws/lambda/snapback-storage:log-stream:1", home, nil, true, "it is written there"},
		{hubAdmin, "cloudwatch:DisableAlarmActions", "arn:aws:cloudwatch:us-east-1:111111111111:alarm:snapback-failed", home, nil, false, "nobody would be told"},
		{hubAdmin, "cloudformation:DeleteStack", stack, home, nil, false, "all of it would go at once"},
		{hubAdmin, "cloudformation:UpdateStackSet", stackSet, home, nil, false, "it reaches every account"},
		{developer, "cloudformation:DeleteStack", instanceStack, away, nil, false, "all of it would go at once"},
		{developer, "cloudformation:DescribeStacks", instanceStack, away, nil, true, "to read is no harm"},
		{breakGlass, "iam:DeleteRole", storage, home, nil, true, "break-glass is bound by nothing"},
		{glassOfHub, "cloudformation:DeleteStack", stack, home, nil, true, "break-glass is bound by nothing"},

		// Those who are excused.
		{developer, "iam:CreateRole", breakGlass, home, nil, false, "he would be excused by the name"},
		{developer, "iam:UpdateAssumeRolePolicy", breakGlass, home, nil, false, "he would let himself in"},
		{developer, "iam:PassRole", breakGlass, home, nil, false, "a machine of his would be excused"},
		{developer, "sts:AssumeRole", breakGlass, home, nil, true, "who may break the glass, its trust policy says"},
		{developer, "iam:UpdateAssumeRolePolicy", stackSets, home, nil, false, "AWS alone changes it"},
		{hubAdmin, "iam:PutRolePolicy", cdkExec, home, nil, false, "it deploys Snapback"},
		{hubAdmin, "sts:AssumeRole", cdkDeploy, home, nil, true, "who may deploy, its trust policy says"},
		{cdkDeploy, "iam:PassRole", cdkExec, home, nil, true, "that is how the CDK deploys"},
		{stackSets, "iam:CreateRole", breakGlass, home, nil, true, "the organization brings break-glass to new accounts"},
		{developer, "iam:CreateRole", pipeline, home, nil, false, "administrators may set tags"},
		{pipeline, "iam:PassRole", pipeline, home, nil, true, "they look after themselves"},

		// Tags.
		{developer, "ec2:CreateTags", snapshot, away, tagged("snapback:evidence"), false, "evidence would be forged"},
		{developer, "ec2:CreateTags", snapshot, away, tagged("name", "snapback:evidence"), false, "among other tags too"},
		{developer, "ec2:DeleteTags", snapshot, away, tagged("snapback:evidence"), false, "evidence would be lost"},
		{developer, "ec2:DeleteTags", snapshot, away, nil, false, "all tags at once"},
		{breakGlass, "ec2:DeleteTags", snapshot, away, nil, true, "break-glass is bound by nothing"},
		{pipeline, "ec2:CreateTags", group, away, tagged("snapback:managed"), false, "administrators set the baseline's tags, not Snapback's"},
		{response, "ec2:CreateSnapshots", snapshot, away, tagged("snapback:instance", "snapback:case"), true, "evidence is taken"},
		{response, "ec2:CreateTags", snapshot, away, tagged("snapback:evidence"), true, "evidence is released"},
		{developer, "ec2:DeleteSnapshot", snapshot, away, held, false, "evidence stays"},
		{developer, "ec2:DeleteSnapshot", snapshot, away, released, true, "what is released may go"},
		{developer, "ec2:DeleteSnapshot", snapshot, away, nil, true, "ordinary work"},
		{developer, "ec2:AuthorizeSecurityGroupEgress", group, away, quarantine, false, "the instance could call home"},
		{response, "ec2:DeleteSecurityGroup", group, away, quarantine, true, "Snapback clears up"},
		{developer, "ec2:AuthorizeSecurityGroupIngress", group, away, nil, true, "ordinary work"},
		{developer, "ec2:RunInstances", instance, away, tagged("name"), true, "ordinary tags"},
		{developer, "ec2:RunInstances", instance, away, tagged("name", "env"), false, "it would begin under another mode"},
		{developer, "ec2:CreateTags", instance, away, tagged("env"), false, "it would come under another mode"},
		{developer, "ec2:DeleteTags", instance, away, tagged("env"), false, "an override may be stricter too"},
		{developer, "iam:TagRole", app, home, tagged("env"), false, "in every service that names the keys"},
		{pipeline, "ec2:RunInstances", instance, away, tagged("name", "env"), true, "administrators may"},
		{breakGlass, "ec2:CreateTags", instance, away, tagged("env", "snapback:managed"), true, "break-glass is bound by nothing"},
		{network, "ec2:CreateTags", "arn:aws:ec2:eu-west-1:222222222222:security-group-rule/sgr-1", away, tagged("env"), true, "a rule is put back with its tags"},
		// Not covered, as docs/guardrails.md says.
		{developer, "s3:PutBucketTagging", bucket, away, nil, true, "AWS tells no policy the keys of a bucket's tags"},
		{developer, "ec2:ModifyNetworkInterfaceAttribute", "arn:aws:ec2:eu-west-1:222222222222:network-interface/eni-1", away, nil, true, "whether it is in quarantine no condition sees"},
		{developer, "iam:DeleteRolePolicy", app, home, nil, true, "which inline policy it is no condition sees"},
	} {
		if got := may(t, tt.who, tt.action, tt.resource, tt.region, tt.with, policies); got != tt.want {
			t.Errorf("%s may %s on %s in %s with %v: %v, want %v: %s", tt.who, tt.action, tt.resource, tt.region, tt.with, got, tt.want, tt.why)
		}
	}
}

// Deploying is all of CloudFormation, IAM and the rest on what is Snapback's own:
// an action of no service's is among what is not left to everybody.
func TestThoseWhoDeployMayDoAllToWhatIsSnapbacks(t *testing.T) {
	policies := guardrails(t, guarded())
	own := statement(t, policies, "OwnResources").Resource
	if len(own) < 20 {
		t.Fatalf("only %d patterns: %v", len(own), own)
	}
	for _, pattern := range own {
		for account, deploys := range map[string][]string{"222222222222": {stackSets}, "111111111111": {cdkExec, cdkDeploy}} {
			resource := concrete(pattern, account)
			action := strings.Split(resource, ":")[2] + ":ChangeEverything"
			for _, who := range append(deploys, breakGlass) {
				if !may(t, who, action, resource, "us-east-1", nil, policies) {
					t.Errorf("%s may not %s on %s", who, action, resource)
				}
			}
			for _, who := range []string{developer, root, hubAdmin, pipeline, storage, function, cdkOfMember} {
				if may(t, who, action, resource, "us-east-1", nil, policies) {
					t.Errorf("%s may %s on %s", who, action, resource)
				}
			}
		}
	}
}

// concrete is a resource that a pattern stands for, in an account.
func concrete(pattern, account string) string {
	pattern = strings.NewReplacer("${Partition}", "aws", "${Account}", account, "${Region}", "*", "${TopicKey}", "arn:aws:kms:us-east-1:111111111111:key/1").Replace(pattern)
	f := strings.SplitN(pattern, ":", 6)
	if len(f) < 6 {
		return pattern
	}
	for i, sample := range map[int]string{1: "aws", 3: "us-east-1", 4: account} {
		if f[i] == "*" {
			f[i] = sample
		}
	}
	f[5] = strings.ReplaceAll(f[5], "*", "x")
	return strings.Join(f, ":")
}

// statement is the statement of a Sid.
func statement(t *testing.T, policies []deployment.Policy, sid string) deployment.Statement {
	t.Helper()
	for _, p := range policies {
		for _, s := range p.Document.Statement {
			if s.Sid == sid {
				return s
			}
		}
	}
	t.Fatalf("no statement %s", sid)
	return deployment.Statement{}
}

func TestSnapbackMayDoAllThatItsRemediesDo(t *testing.T) {
	policies := guardrails(t, guarded())
	asked := 0
	for _, d := range controls.Domains() {
		who := "arn:aws:iam::222222222222:role/" + deployment.MemberRole(d.Name)
		for _, p := range permissions(d) {
			asked++
			if !may(t, who, p.Action, concrete(p.Resource, "222222222222"), "eu-west-1", tagged("snapback:case", "env"), policies) {
				t.Errorf("%s may not %s on %s, which a remedy of %s does", who, p.Action, p.Resource, d.Name)
			}
		}
	}
	if asked < 50 {
		t.Errorf("only %d permissions were asked for", asked)
	}
}

func permissions(d control.Domain) []control.Permission {
	var all []control.Permission
	add := func(r control.Remedy) {
		p := r.Permissions
		all = slices.Concat(all, p.List, p.Plan, p.Verify, p.Apply, p.Undo, p.Look)
	}
	for _, c := range d.Controls {
		add(c.Remedy)
	}
	for _, r := range d.Runbooks {
		for _, s := range r.Steps {
			add(s.Remedy)
		}
	}
	return all
}

func TestSnapbackMayDoAllThatItsRolesAllow(t *testing.T) {
	b := guarded()
	policies := guardrails(t, b)
	holds := map[string][]deployment.Policy{
		health:  deployment.HealthPolicies(),
		forward: {{Name: "forward", Document: deployment.ForwardPolicy(b)}},
		"arn:aws:iam::111111111111:role/" + deployment.FunctionRole(deployment.Health): deployment.HealthFunctionPolicies(b),
	}
	for _, d := range controls.Domains() {
		holds["arn:aws:iam::222222222222:role/"+deployment.MemberRole(d.Name)] = deployment.MemberPolicies(d, b)
		holds["arn:aws:iam::111111111111:role/"+deployment.FunctionRole(d.Name)] = deployment.FunctionPolicies(d, b)
	}
	for who, has := range holds {
		account, asked := strings.Split(who, ":")[4], 0
		for _, s := range statements(has) {
			for _, action := range s.Action {
				for _, resource := range s.Resource {
					if s.Effect != "Allow" {
						continue
					}
					asked++
					if resource := concrete(resource, account); !may(t, who, action, resource, "us-east-1", nil, policies) {
						t.Errorf("%s may not %s on %s, which its policies allow", who, action, resource)
					}
				}
			}
		}
		if asked == 0 {
			t.Errorf("the policies of %s allow nothing", who)
		}
	}
}

func statements(policies []deployment.Policy) []deployment.Statement {
	var all []deployment.Statement
	for _, p := range policies {
		all = append(all, p.Document.Statement...)
	}
	return all
}

func TestOnlyABaselineWithGuardrailsHasThem(t *testing.T) {
	b := guarded()
	b.Deployment.Guardrails = nil
	if policies := guardrails(t, b); policies != nil {
		t.Errorf("%d policies", len(policies))
	}
}

func TestTagsAreProtectedOnlyIfAnOverrideGoesByThem(t *testing.T) {
	b := guarded()
	b.Overrides = nil
	for _, s := range statements(guardrails(t, b)) {
		if s.Sid == "OverrideTags" || s.Sid == "Administrators" {
			t.Errorf("there is a statement %s", s.Sid)
		}
	}
	b = guarded()
	b.Administrators = nil
	policies := guardrails(t, b)
	if may(t, pipeline, "ec2:CreateTags", "*", "us-east-1", tagged("env"), policies) {
		t.Error("somebody may set the tag who is not break-glass")
	}
	if !may(t, developer, "iam:CreateRole", "arn:aws:iam::222222222222:role/app", "us-east-1", nil, policies) {
		t.Error("without administrators, nobody may make roles any more")
	}
}

// The largest commercial organization is in all Regions that are enabled by
// default, and the longest ARNs that people write are those of IAM Identity Center.
func TestLongListsFit(t *testing.T) {
	b := guarded()
	g := b.Deployment.Guardrails
	b.Organization.Regions, g.BreakGlass = nil, nil
	for i := range 17 {
		b.Organization.Regions = append(b.Organization.Regions, fmt.Sprintf("ap-southeast-%d", i+10))
	}
	for i := range 20 {
		g.BreakGlass = append(g.BreakGlass, fmt.Sprintf("arn:aws-us-gov:iam::%012d:role/security/break-glass-%d", i, i))
	}
	for _, p := range guardrails(t, b) {
		if is := len(minified(t, p.Document)); is > maxControlPolicy {
			t.Errorf("%s has %d characters", p.Name, is)
		}
	}
}

func TestListsThatDoNotFitAreAnError(t *testing.T) {
	for name, tt := range map[string]struct {
		lengthen func(*baseline.Baseline)
		policy   string
	}{
		"break-glass": {func(b *baseline.Baseline) {
			b.Deployment.Guardrails.BreakGlass = names("arn:aws:iam::*:role/break-glass-%d", 200)
		}, "snapback-detection"},
		"Regions":        {func(b *baseline.Baseline) { b.Organization.Regions = names("ap-southeast-%d", 1000) }, "snapback-regions"},
		"administrators": {func(b *baseline.Baseline) { b.Administrators = names("arn:aws:iam::*:role/ci/deploy-%d", 200) }, "snapback-tags"},
		"tags": {func(b *baseline.Baseline) {
			b.Overrides = nil
			for _, key := range names("the-key-of-a-tag-%d", 500) {
				b.Overrides = append(b.Overrides, baseline.Override{Match: baseline.Match{Tags: map[string]string{key: "x"}}})
			}
		}, "snapback-tags"},
	} {
		b := guarded()
		tt.lengthen(b)
		policies, err := deployment.ServiceControlPolicies(b)
		if err == nil || policies != nil || !strings.Contains(err.Error(), tt.policy+" has ") {
			t.Errorf("too many %s: %d policies, %v", name, len(policies), err)
		}
	}
}

func names(format string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(format, i))
	}
	return all
}

// Whatever the baseline says: AWS takes the policies, they deny alone, every
// statement leaves break-glass out and says to what it applies, the order of lists
// is of no matter, and who is a stranger to all lists is bound.
func TestGuardrailsOfAnyBaseline(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := guarded()
		b.Organization.Regions = rapid.SliceOfNDistinct(rapid.StringMatching(`(us|eu|ap)-(east|west|south)-[1-9]`), 1, 17, rapid.ID).Draw(t, "regions")
		glass := rapid.SliceOfNDistinct(rapid.StringMatching(`arn:aws:iam::([0-9]{12}|\*):(role/(ops/)?glass-[a-z]{1,20}\*?|user/[a-z]{3,12}|root)`), 1, 20, rapid.ID).Draw(t, "break-glass")
		b.Deployment.Guardrails.BreakGlass = glass
		b.Administrators = rapid.SliceOfN(rapid.StringMatching(`arn:aws:iam::\*:role/ci/[a-z]{1,12}`), 0, 10).Draw(t, "administrators")
		b.Overrides = nil
		for _, key := range rapid.SliceOfN(rapid.StringMatching(`[A-Za-z][A-Za-z0-9 +=._:/@-]{0,20}`), 0, 5).Draw(t, "tags") {
			b.Overrides = append(b.Overrides, baseline.Override{Match: baseline.Match{Tags: map[string]string{key: "x"}}})
		}
		policies, err := deployment.ServiceControlPolicies(b)
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(b.Organization.Regions)
		slices.Reverse(b.Deployment.Guardrails.BreakGlass)
		slices.Reverse(b.Administrators)
		slices.Reverse(b.Overrides)
		again, err := deployment.ServiceControlPolicies(b)
		if diff := cmp.Diff(policies, again); diff != "" || err != nil {
			t.Fatalf("another order gives other policies: %v\n%s", err, diff)
		}
		wellFormed(t, policies, glass)
	})
}

var sidForm = regexp.MustCompile(`^[A-Za-z0-9]+$`)

func wellFormed(t *rapid.T, policies []deployment.Policy, glass []string) {
	sids := map[string]bool{}
	for _, p := range policies {
		text, err := json.Marshal(p.Document)
		if err != nil || len(text) > maxControlPolicy {
			t.Fatalf("%s has %d characters: %v", p.Name, len(text), err)
		}
		if _, err := iampolicy.Parse(string(text)); err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
		for _, s := range p.Document.Statement {
			if sids[s.Sid] || !sidForm.MatchString(s.Sid) || s.Effect != "Deny" || len(s.Resource) == 0 || s.Principal != nil || s.Why == "" {
				t.Fatalf("%s: %+v", p.Name, s)
			}
			sids[s.Sid] = true
			for _, arn := range glass {
				if !slices.Contains(s.Condition["ArnNotLike"]["aws:PrincipalArn"], arn) {
					t.Fatalf("%s binds %s", s.Sid, arn)
				}
			}
		}
	}
}

func TestGuardrailsAreAsWritten(t *testing.T) {
	const golden = "testdata/guardrails.json"
	documents := map[string]deployment.Document{}
	for _, p := range guardrails(t, guarded()) {
		documents[p.Name] = p.Document
	}
	got, err := json.MarshalIndent(documents, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the guardrails differ from %s (-want +got); go test -update rewrites it:\n%s", golden, diff)
	}
}

func TestDocsTellOfEveryStatement(t *testing.T) {
	page, err := os.ReadFile("../../docs/guardrails.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	var sids []string
	for _, p := range guardrails(t, guarded()) {
		if row := fmt.Sprintf("| `%s` | %d |", p.Name, len(minified(t, p.Document))); !strings.Contains(text, row) {
			t.Errorf("docs/guardrails.md lacks the row %s", row)
		}
		for _, s := range p.Document.Statement {
			sids = append(sids, s.Sid)
			if !strings.Contains(text, s.Why) {
				t.Errorf("docs/guardrails.md says not of %s: %s", s.Sid, s.Why)
			}
		}
	}
	var told []string
	for _, m := range regexp.MustCompile("(?m)^#### `([A-Za-z0-9]+)`").FindAllStringSubmatch(text, -1) {
		told = append(told, m[1])
	}
	if diff := cmp.Diff(sids, told); diff != "" {
		t.Errorf("the statements that docs/guardrails.md tells of (-there +told):\n%s", diff)
	}
}

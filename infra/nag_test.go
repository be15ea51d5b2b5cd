package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"

	"github.com/snapback-aws/snapback/pkg/controls"
)

// accepted are the findings of the security linter that stand, and why: the path
// of a resource and what was found of it. They are here and not beside the
// resources, since the templates would carry them to every account.
var accepted = []struct {
	finding *regexp.Regexp
	reason  string
}{
	{
		regexp.MustCompile(`^/snapback-member-[a-z0-9-]+/\w+(Evaluate|Remediate)\d*Policy AwsSolutions-IAM5\[Resource::arn:`),
		"which resource of an account it will be is known from the event alone; controls name the narrowest ARN that holds them all",
	},
	{
		regexp.MustCompile(`^/snapback-member-[a-z0-9-]+/\w+(Evaluate|Remediate)\d*Policy AwsSolutions-IAM5\[Resource::\*\]`),
		"IAM knows no resource for these actions: deployment.Unnameable lists each, and why",
	},
	{
		regexp.MustCompile(`^/snapback-member-[a-z0-9-]+/HealthPolicy AwsSolutions-IAM5\[Resource::\*\]`),
		"IAM knows no resource for these actions: deployment.Unnameable lists each, and why",
	},
	{
		regexp.MustCompile(`^/snapback-member-[a-z0-9-]+/HealthPolicy AwsSolutions-IAM5\[Resource::arn:<AWS::Partition>:(events:\*:<AWS::AccountId>:event-bus/default|sqs:\*:<AWS::AccountId>:snapback-undelivered)\]`),
		"one bus and one queue, in each Region of the account: a role is the same in all Regions",
	},
	{
		regexp.MustCompile(`^/snapback-member-[a-z0-9-]+/HealthPolicy AwsSolutions-IAM5\[Resource::arn:<AWS::Partition>:cloudtrail:\*:\*:trail/\*\]`),
		"which trails there are, the account's own or its organization's, is what is to be found out",
	},
	{
		regexp.MustCompile(`^/(snapback-member-[a-z0-9-]+/Undelivered|snapback-hub/SchedulerDeadQueue) AwsSolutions-SQS3$`),
		"it is a dead-letter queue, of rules or schedules; the linter knows those of queues alone",
	},
	{
		regexp.MustCompile(`^/snapback-hub/\w+FunctionRole AwsSolutions-IAM5\[Resource::arn:<AWS::Partition>:logs:[^*]+:log-group:/aws/lambda/snapback-[a-z]+:\*\]`),
		"Lambda names the streams in the function's own log group",
	},
	{
		regexp.MustCompile(`^/snapback-hub/\w+FunctionRole AwsSolutions-IAM5\[Resource::arn:<AWS::Partition>:dynamodb:[^*]+:table/snapback/index/\*\]`),
		"the indexes of the ledger's one table",
	},
	{
		regexp.MustCompile(`^/snapback-hub/\w+FunctionRole AwsSolutions-IAM5\[Resource::arn:<AWS::Partition>:iam::\*:role/snapback-[a-z]+\]`),
		"one role in every account, of the organization alone by a condition; accounts come and go without a deployment",
	},
	{
		regexp.MustCompile(`^/snapback-hub/\w+FunctionRole AwsSolutions-IAM5\[Resource::arn:<AWS::Partition>:organizations::\d+:(account|ou)/o-[a-z0-9]+/\*\]`),
		"in which unit an account is, of one organization; accounts come and go without a deployment",
	},
	{
		regexp.MustCompile(`^/snapback-hub/HealthFunctionRole AwsSolutions-IAM5\[Resource::\*\]`),
		"IAM knows no resource for listing an organization's accounts: deployment.Unnameable says so",
	},
}

// TestTemplatesAreCleanForTheSecurityLinter asks cdk-nag what in the stacks is
// against the rules that AWS's own solutions keep.
func TestTemplatesAreCleanForTheSecurityLinter(t *testing.T) {
	used := map[int]bool{}
	for _, found := range nagged(t) {
		at := -1
		for i, a := range accepted {
			if a.finding.MatchString(found) {
				at = i
			}
		}
		if at < 0 {
			t.Error(found)
		}
		used[at] = true
	}
	for i, a := range accepted {
		if !used[i] {
			t.Errorf("nothing is found any more like %s, which is accepted because %s", a.finding, a.reason)
		}
	}
}

// nagged is what cdk-nag finds in the stacks of the baseline with everything, each
// with the path of its resource.
func nagged(t *testing.T) []string {
	t.Helper()
	in := inputOf(t, baselineOf(t, "everything"), controls.Domains())
	in.out = t.TempDir()
	member, err := makeMember(in)
	if err != nil {
		t.Fatal(err)
	}
	app := newApp(in.out)
	newLedger(app, in)
	newHub(app, in, member)
	newManagement(app, in, member)
	newGuardrails(app, in)
	awscdk.Aspects_Of(app).Add(cdknag.NewAwsSolutionsChecks(&cdknag.NagPackProps{Reports: jsii.Bool(false)}), nil)
	app.Synth(nil)

	want := templatesOf(t, baselineOf(t, "everything"))
	for stack := range templatesIn(t, in.out) {
		delete(want, stack)
	}
	for stack := range want {
		t.Errorf("stack %s is not looked at", stack)
	}
	paths, err := filepath.Glob(filepath.Join(in.out, "*.metadata.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("CDK left %d files of what it was told: %v", len(paths), err)
	}
	var found []string
	for _, path := range paths {
		found = append(found, annotations(t, path)...)
	}
	return found
}

// annotations are the warnings and errors about the constructs of a stack, up to
// where their explanation begins.
func annotations(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var metadata map[string][]struct {
		Type string
		Data any
	}
	if err := json.Unmarshal(text, &metadata); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	var all []string
	for construct, entries := range metadata {
		for _, e := range entries {
			if message, ok := e.Data.(string); ok && (e.Type == "aws:cdk:error" || e.Type == "aws:cdk:warning") {
				what, _, _ := strings.Cut(message, ": ")
				all = append(all, construct+" "+what)
			}
		}
	}
	return all
}

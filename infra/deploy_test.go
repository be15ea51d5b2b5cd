package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/health"
)

// deployed is what is put into the emulator: storage alone, which mends.
const deployedBaseline = `version: 1
reviewed: 2026-11-22
organization:
  id: o-example1234
  root: r-ab12
  management: "000000000000"
  hub: {account: "111111111111", region: us-east-1}
  regions: [us-east-1, eu-west-1]
mode: off
controls: {s3-bucket-public-access: {mode: enforce}}
deployment: {subscribers: [security@example.com]}
`

// notInMoto are the types of the templates that moto's CloudFormation does not
// make. It passes them over, as it enforces no resource policies, delivers to no
// e-mail address and keeps no time; the templates' other tests are about them.
var notInMoto = []string{
	"AWS::CloudFormation::StackSet", "AWS::CloudWatch::Alarm", "AWS::Events::EventBusPolicy",
	"AWS::SNS::Subscription", "AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy",
	"AWS::Scheduler::Schedule", "AWS::Scheduler::ScheduleGroup",
}

// cloud is the emulator with the templates of one assembly in it.
type emulated struct {
	t       *testing.T
	aws     *local.AWS
	folder  string
	skipped map[string]bool
}

// TestTheTemplatesDeployAndAnswerAnEvent deploys ledger, hub and members to the
// emulator. A sample event on a member's default bus, in a Region that is not the
// hub's, then goes by the deployed rules and buses to the deployed queue, and the
// built function answers it with the names that the stacks gave it. Nothing is
// carried by hand but what Lambda does: a built function polls the queue under
// Lambda's Runtime Interface Emulator with the environment of the deployed one.
func TestTheTemplatesDeployAndAnswerAnEvent(t *testing.T) {
	server, err := local.StartAWS(t.Context())
	must(t, err)
	t.Cleanup(server.Close)
	e := &emulated{t, server, synthesized(t, deployedBaseline), map[string]bool{}}
	members := e.organization()
	e.publish(local.HubAccount)
	e.deploy(deployment.LedgerStack, local.HubAccount, "us-east-1", filepath.Join(e.folder, deployment.LedgerStack+".template.json"))
	outputs := e.deploy(deployment.HubStack, local.HubAccount, "us-east-1", filepath.Join(e.folder, deployment.HubStack+".template.json"))
	for _, account := range members {
		for _, region := range []string{"us-east-1", "eu-west-1"} {
			e.deploy(deployment.StackSet, account, region, filepath.Join(e.folder, "member", deployment.StackSet+".template.json"))
		}
	}
	if diff := cmp.Diff(notInMoto, e.passedOver()); diff != "" {
		t.Errorf("types that moto passed over (-expected +passed over):\n%s", diff)
	}
	storage, looks := e.start("storage"), e.start(deployment.Health)
	inbox := e.subscribe(outputs["TopicArn"])

	const bucket = "example-reports"
	e.openBucket(members[1], bucket)
	e.happened(members[1], "eu-west-1", "cloudtrail/s3-delete-bucket-public-access-block")
	e.poll(storage, outputs["StorageQueueUrl"], 1)
	if !e.closed(members[1], bucket) {
		t.Errorf("the bucket is open\n%s", storage.Logs())
	}
	a := e.alert(inbox)
	if a.Outcome != control.Remediated || a.Account != members[1] || a.Region != "eu-west-1" || a.Version != "v0.0.0" || len(a.Baseline) != 64 {
		t.Errorf("the alert: %+v", a)
	}

	e.drilled(looks, storage, outputs["StorageQueueUrl"], members)
	e.looked(looks)
}

// drilled has the hub send a canary from every account and Region, by the role
// that the member template made; each comes back by the deployed rules.
func (e *emulated) drilled(looks, storage *local.Function, queue string, members []string) {
	e.t.Helper()
	stop := e.keepPolling(storage, queue)
	drill := e.command(looks, health.Drill)
	stop()
	for _, s := range drill.Sites {
		if len(s.Missing) > 0 || len(s.Faults) > 0 {
			e.t.Errorf("%s %s: missing %v, %v", s.Account, s.Region, s.Missing, s.Faults)
		}
	}
	if drill.Verdict != engine.Done || len(drill.Sites) != 2*len(members) {
		e.t.Errorf("the drill: %s: %s, %d sites", drill.Verdict, drill.Reason, len(drill.Sites))
	}
}

// looked checks that rules, roles and digests are as health expects them of the
// deployed template; the emulator's accounts have no trail, which it says of each.
func (e *emulated) looked(looks *local.Function) {
	e.t.Helper()
	for _, s := range e.command(looks, health.Look).Sites {
		if len(s.Faults) != 1 || !strings.Contains(s.Faults[0], "trail") {
			e.t.Errorf("%s %s: faults %v, want the missing trail alone", s.Account, s.Region, s.Faults)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// organization makes one with the hub as its management account, as moto knows no
// delegated administrators, and returns the numbers of its accounts.
func (e *emulated) organization() []string {
	e.t.Helper()
	org := organizations.NewFromConfig(e.aws.Config(local.HubAccount))
	_, err := org.CreateOrganization(e.t.Context(), &organizations.CreateOrganizationInput{})
	must(e.t, err)
	made, err := org.CreateAccount(e.t.Context(), &organizations.CreateAccountInput{AccountName: aws.String("member"), Email: aws.String("member@example.com")})
	must(e.t, err)
	return []string{local.HubAccount, aws.ToString(made.CreateAccountStatus.AccountId)}
}

// publish puts the assets of the hub's stack where the templates look for them, as
// the command line of CDK does.
func (e *emulated) publish(account string) {
	e.t.Helper()
	var manifest struct {
		Files map[string]struct {
			Source       struct{ Path string }
			Destinations map[string]struct{ BucketName, ObjectKey string }
		}
	}
	text, err := os.ReadFile(filepath.Join(e.folder, deployment.HubStack+".assets.json"))
	must(e.t, err)
	must(e.t, json.Unmarshal(text, &manifest))
	client := s3.NewFromConfig(e.aws.Config(account))
	made := map[string]bool{}
	for _, f := range manifest.Files {
		for _, to := range f.Destinations {
			if !made[to.BucketName] {
				_, err := client.CreateBucket(e.t.Context(), &s3.CreateBucketInput{Bucket: aws.String(to.BucketName)})
				must(e.t, err)
				made[to.BucketName] = true
			}
			body, err := os.Open(filepath.Join(e.folder, f.Source.Path))
			must(e.t, err)
			_, err = client.PutObject(e.t.Context(), &s3.PutObjectInput{Bucket: aws.String(to.BucketName), Key: aws.String(to.ObjectKey), Body: body})
			must(e.t, err)
			must(e.t, body.Close())
		}
	}
}

func (e *emulated) config(account, region string) aws.Config {
	cfg := e.aws.Config(account)
	cfg.Region = region
	return cfg
}

// deploy makes a stack of a template and returns its outputs.
func (e *emulated) deploy(name, account, region, file string) map[string]string {
	e.t.Helper()
	text, err := os.ReadFile(file)
	must(e.t, err)
	client := cloudformation.NewFromConfig(e.config(account, region))
	_, err = client.CreateStack(e.t.Context(), &cloudformation.CreateStackInput{
		StackName: aws.String(name), TemplateBody: aws.String(string(text)), Capabilities: []cfntypes.Capability{cfntypes.CapabilityCapabilityNamedIam},
	})
	if err != nil {
		e.t.Fatalf("deploy %s in %s %s: %v\n%s", name, account, region, err, e.aws.Logs())
	}
	out, err := client.DescribeStacks(e.t.Context(), &cloudformation.DescribeStacksInput{StackName: aws.String(name)})
	must(e.t, err)
	stack := out.Stacks[0]
	if stack.StackStatus != cfntypes.StackStatusCreateComplete {
		e.t.Fatalf("stack %s in %s %s: %s\n%s", name, account, region, stack.StackStatus, e.aws.Logs())
	}
	e.compare(client, name, string(text))
	outputs := map[string]string{}
	for _, o := range stack.Outputs {
		outputs[aws.ToString(o.OutputKey)] = aws.ToString(o.OutputValue)
	}
	return outputs
}

// compare notes the types of a template of which the stack has nothing.
func (e *emulated) compare(client *cloudformation.Client, name, text string) {
	e.t.Helper()
	var template struct {
		Resources map[string]struct{ Type string }
	}
	must(e.t, json.Unmarshal([]byte(text), &template))
	there := map[string]bool{}
	out, err := client.DescribeStackResources(e.t.Context(), &cloudformation.DescribeStackResourcesInput{StackName: aws.String(name)})
	must(e.t, err)
	for _, r := range out.StackResources {
		there[aws.ToString(r.ResourceType)] = true
	}
	for _, r := range template.Resources {
		if !there[r.Type] && !strings.HasPrefix(r.Type, "AWS::IAM::") { // IAM is of the home Region
			e.skipped[r.Type] = true
		}
	}
}

func (e *emulated) passedOver() []string {
	var types []string
	for name := range e.skipped {
		types = append(types, name)
	}
	slices.Sort(types)
	return types
}

// start runs a function as it is built for this machine, with the environment of
// the deployed one and the credentials of the hub. moto runs Lambda functions by
// Docker alone, which this does not need.
func (e *emulated) start(name string) *local.Function {
	e.t.Helper()
	out, err := lambda.NewFromConfig(e.aws.Config(local.HubAccount)).GetFunctionConfiguration(e.t.Context(), &lambda.GetFunctionConfigurationInput{
		FunctionName: aws.String(deployment.Function(name)),
	})
	must(e.t, err)
	if _, err := iam.NewFromConfig(e.aws.Config(local.HubAccount)).GetRole(e.t.Context(), &iam.GetRoleInput{
		RoleName: aws.String(deployment.FunctionRole(name)),
	}); err != nil || !strings.HasSuffix(aws.ToString(out.Role), ":role/"+deployment.FunctionRole(name)) {
		e.t.Errorf("function %s runs as %s: %v", name, aws.ToString(out.Role), err)
	}
	env, err := e.aws.Env(e.t.Context(), local.HubAccount)
	must(e.t, err)
	for key, value := range out.Environment.Variables {
		env = append(env, key+"="+value)
	}
	file := filepath.Join(e.t.TempDir(), "baseline.yaml")
	must(e.t, os.WriteFile(file, []byte(deployedBaseline), 0o600))
	binary, err := local.Build(e.t.Context(), "./functions/"+name, e.t.TempDir())
	must(e.t, err)
	f, err := local.StartFunction(e.t.Context(), local.FunctionOptions{
		Binary: binary, Env: append(env, "SNAPBACK_BASELINE="+file), Timeout: time.Duration(aws.ToInt32(out.Timeout)) * time.Second,
	})
	must(e.t, err)
	e.t.Cleanup(f.Close)
	return f
}

func (e *emulated) subscribe(topic string) (inbox string) {
	e.t.Helper()
	q, err := e.sqs().CreateQueue(e.t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("operator")})
	must(e.t, err)
	_, err = sns.NewFromConfig(e.aws.Config(local.HubAccount)).Subscribe(e.t.Context(), &sns.SubscribeInput{
		TopicArn: aws.String(topic), Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:" + local.HubAccount + ":operator"),
	})
	must(e.t, err)
	return aws.ToString(q.QueueUrl)
}

func (e *emulated) sqs() *sqs.Client { return sqs.NewFromConfig(e.aws.Config(local.HubAccount)) }

func (e *emulated) openBucket(account, name string) {
	e.t.Helper()
	_, err := s3.NewFromConfig(e.aws.Config(account)).CreateBucket(e.t.Context(), &s3.CreateBucketInput{Bucket: aws.String(name)})
	must(e.t, err)
}

func (e *emulated) closed(account, name string) bool {
	e.t.Helper()
	out, err := s3.NewFromConfig(e.aws.Config(account)).GetPublicAccessBlock(e.t.Context(), &s3.GetPublicAccessBlockInput{Bucket: aws.String(name)})
	return err == nil && aws.ToBool(out.PublicAccessBlockConfiguration.BlockPublicPolicy)
}

// happened puts the detail of a sample event on the default bus of an account, as
// CloudTrail does. The emulator takes it from anybody, EventBridge from AWS alone.
func (e *emulated) happened(account, region, name string) {
	e.t.Helper()
	text, err := os.ReadFile(filepath.Join(local.Root(), "events", name+".json"))
	must(e.t, err)
	text = []byte(strings.NewReplacer(local.MemberAccount, account, `"us-east-1"`, `"`+region+`"`).Replace(string(text)))
	var sample struct {
		Source     string
		DetailType string `json:"detail-type"`
		Detail     json.RawMessage
	}
	must(e.t, json.Unmarshal(text, &sample))
	out, err := eventbridge.NewFromConfig(e.config(account, region)).PutEvents(e.t.Context(), &eventbridge.PutEventsInput{
		Entries: []ebtypes.PutEventsRequestEntry{{Source: &sample.Source, DetailType: &sample.DetailType, Detail: aws.String(string(sample.Detail))}},
	})
	if err != nil {
		e.t.Fatalf("%v\n%s", err, e.aws.Logs())
	}
	if out.FailedEntryCount > 0 {
		e.t.Fatalf("the event was refused: %+v", out.Entries)
	}
}

// poll hands over what is in a queue, which must be so many messages.
func (e *emulated) poll(f *local.Function, queue string, want int) {
	e.t.Helper()
	source := &local.EventSource{SQS: e.sqs(), QueueURL: queue, Invoke: f.Invoke}
	d, err := source.Poll(e.t.Context())
	must(e.t, err)
	if d.Err != nil || len(d.Delivered) != want || len(d.Failed) > 0 {
		e.t.Fatalf("the queue %s: delivered %v, failed %v: %v, want %d\n%s", queue, d.Delivered, d.Failed, d.Err, want, f.Logs())
	}
}

// keepPolling hands over what comes into a queue until it is stopped.
func (e *emulated) keepPolling(f *local.Function, queue string) (stop func()) {
	ctx, cancel := context.WithCancel(e.t.Context())
	ended := make(chan error, 1)
	go func() {
		source := &local.EventSource{SQS: e.sqs(), QueueURL: queue, Invoke: f.Invoke}
		for {
			d, err := source.Poll(ctx)
			if err == nil {
				err = d.Err
			}
			if err != nil || ctx.Err() != nil {
				ended <- err
				return
			}
		}
	}()
	return func() {
		cancel()
		if err := <-ended; err != nil && e.t.Context().Err() == nil && ctx.Err() == nil {
			e.t.Error(err)
		}
	}
}

// alert takes the one alert out of the inbox.
func (e *emulated) alert(inbox string) alert.Alert {
	e.t.Helper()
	out, err := e.sqs().ReceiveMessage(e.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: aws.String(inbox), MaxNumberOfMessages: 10})
	must(e.t, err)
	if len(out.Messages) != 1 {
		e.t.Fatalf("%d alerts, want 1", len(out.Messages))
	}
	var notification struct{ Message string }
	must(e.t, json.Unmarshal([]byte(aws.ToString(out.Messages[0].Body)), &notification))
	var a alert.Alert
	must(e.t, json.Unmarshal([]byte(notification.Message), &a))
	return a
}

// command gives the health function a command, as the hub's schedule does.
func (e *emulated) command(f *local.Function, name string) health.Answer {
	e.t.Helper()
	out, err := f.Invoke(e.t.Context(), []byte(`{"command":"`+name+`"}`))
	if err != nil {
		e.t.Fatalf("%v\n%s", err, f.Logs())
	}
	var a health.Answer
	must(e.t, json.Unmarshal(out, &a))
	return a
}

package main

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/event"
)

// memberDigest is that of the member template which the health function looks
// for.
const memberDigest = "0123456789ab"

// memberRegions are the governed Regions of the scripts' baselines.
var memberRegions = []string{"us-east-1", "eu-west-1"}

// storageDomain is the one domain that these scripts deploy.
func storageDomain() []control.Domain {
	return slices.DeleteFunc(controls.Domains(), func(d control.Domain) bool { return d.Name != "storage" })
}

// giveBus makes the hub's bus with its archive and the rules of the storage
// domain.
func giveBus(p *parts) error {
	client := eventbridge.NewFromConfig(p.cfg)
	bus, err := client.CreateEventBus(p.ctx, &eventbridge.CreateEventBusInput{Name: aws.String(deployment.Bus)})
	if err != nil {
		return err
	}
	if _, err := client.CreateArchive(p.ctx, &eventbridge.CreateArchiveInput{ArchiveName: aws.String("snapback"), EventSourceArn: bus.EventBusArn}); err != nil {
		return err
	}
	for _, r := range storageDomain()[0].Rules() {
		if err := putRule(p.ctx, client, deployment.Bus, r, "arn:aws:sqs:us-east-1:111111111111:snapback-storage"); err != nil {
			return err
		}
	}
	return nil
}

func putRule(ctx context.Context, client *eventbridge.Client, bus string, r control.Rule, target string) error {
	name := aws.String(deployment.Rule(r.Name))
	if _, err := client.PutRule(ctx, &eventbridge.PutRuleInput{
		Name: name, EventBusName: aws.String(bus), EventPattern: aws.String(r.Pattern.String()),
		Description: aws.String(deployment.RuleDescription(memberDigest)),
	}); err != nil {
		return err
	}
	_, err := client.PutTargets(ctx, &eventbridge.PutTargetsInput{
		Rule: name, EventBusName: aws.String(bus), Targets: []ebtypes.Target{{Id: aws.String("to"), Arn: aws.String(target)}},
	})
	return err
}

// turnRule enables or disables one of the hub's rules.
func turnRule(p *parts) error {
	client := eventbridge.NewFromConfig(p.cfg)
	bus, name := aws.String(deployment.Bus), aws.String("snapback-storage-s3")
	if p.give {
		_, err := client.EnableRule(p.ctx, &eventbridge.EnableRuleInput{EventBusName: bus, Name: name})
		return err
	}
	_, err := client.DisableRule(p.ctx, &eventbridge.DisableRuleInput{EventBusName: bus, Name: name})
	return err
}

// otherRules are as another version, or another baseline, would have them: one
// more, one less and one with another pattern.
func otherRules(p *parts) error {
	client := eventbridge.NewFromConfig(p.cfg)
	bus := aws.String(deployment.Bus)
	for name, pattern := range map[string]string{"snapback-storage-s3": `{"source":["aws.s3"]}`, "snapback-storage-sns": `{"source":["aws.sns"]}`} {
		if _, err := client.PutRule(p.ctx, &eventbridge.PutRuleInput{Name: aws.String(name), EventBusName: bus, EventPattern: aws.String(pattern)}); err != nil {
			return err
		}
	}
	config := aws.String("snapback-storage-config")
	if _, err := client.RemoveTargets(p.ctx, &eventbridge.RemoveTargetsInput{Rule: config, EventBusName: bus, Ids: []string{"to"}}); err != nil {
		return err
	}
	_, err := client.DeleteRule(p.ctx, &eventbridge.DeleteRuleInput{Name: config, EventBusName: bus})
	return err
}

// giveMapping makes the mapping from the domain's queue to its function, or
// disables it. Moto maps to functions of its own alone, so that it is given one,
// which nobody invokes.
func giveMapping(p *parts) error {
	client := lambda.NewFromConfig(p.cfg)
	name := deployment.Function("storage")
	if !p.give {
		out, err := client.ListEventSourceMappings(p.ctx, &lambda.ListEventSourceMappingsInput{FunctionName: aws.String(name)})
		if err != nil {
			return err
		}
		_, err = client.UpdateEventSourceMapping(p.ctx, &lambda.UpdateEventSourceMappingInput{UUID: out.EventSourceMappings[0].UUID, Enabled: aws.Bool(false)})
		return err
	}
	role, err := iam.NewFromConfig(p.cfg).CreateRole(p.ctx, &iam.CreateRoleInput{
		RoleName: aws.String(deployment.FunctionRole("storage")), AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[]}`),
	})
	if err != nil {
		return err
	}
	var code bytes.Buffer
	z := zip.NewWriter(&code)
	if _, err := z.Create("bootstrap"); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	if _, err := client.CreateFunction(p.ctx, &lambda.CreateFunctionInput{
		FunctionName: aws.String(name), Role: role.Role.Arn, Runtime: lambdatypes.RuntimeProvidedal2023, Handler: aws.String("bootstrap"),
		Code: &lambdatypes.FunctionCode{ZipFile: code.Bytes()},
	}); err != nil {
		return err
	}
	_, err = client.CreateEventSourceMapping(p.ctx, &lambda.CreateEventSourceMappingInput{
		FunctionName: aws.String(name), EventSourceArn: aws.String("arn:aws:sqs:us-east-1:111111111111:snapback-storage"),
	})
	return err
}

// memberIn is the configuration of a member in a Region.
func memberIn(ts *testscript.TestScript, account, region string) aws.Config {
	a, err := server()
	ts.Check(err)
	cfg := a.Config(account)
	cfg.Region = region
	return cfg
}

// members [ACCOUNT…]: deploy the member stack's rules and queue in each governed
// Region of the accounts, or of the organization's other accounts. All have a
// trail that logs.
func members(ts *testscript.TestScript, _ bool, accounts []string) {
	hubOf(ts)
	if len(accounts) == 0 {
		out, err := organizations.NewFromConfig(memberIn(ts, local.HubAccount, memberRegions[0])).ListAccounts(context.Background(), &organizations.ListAccountsInput{})
		ts.Check(err)
		for _, a := range out.Accounts {
			if aws.ToString(a.Id) != local.HubAccount {
				accounts = append(accounts, aws.ToString(a.Id))
			}
		}
	}
	for _, account := range accounts {
		for _, region := range memberRegions {
			deployMember(ts, account, memberIn(ts, account, region))
		}
		makeTrail(ts, memberIn(ts, account, memberRegions[0]), "trail-of-"+account)
	}
}

func deployMember(ts *testscript.TestScript, account string, cfg aws.Config) {
	ctx := context.Background()
	_, err := sqs.NewFromConfig(cfg).CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String(deployment.Undelivered)})
	ts.Check(err)
	for _, r := range deployment.Forwarding(storageDomain()) {
		r.Pattern.Fields = append(slices.Clip(r.Pattern.Fields), event.Field{Path: "account", Values: []string{account}})
		ts.Check(putRule(ctx, eventbridge.NewFromConfig(cfg), "default", r, "arn:aws:events:us-east-1:111111111111:event-bus/snapback"))
	}
}

func makeTrail(ts *testscript.TestScript, cfg aws.Config, bucket string) {
	ctx, trails := context.Background(), cloudtrail.NewFromConfig(cfg)
	_, err := s3.NewFromConfig(cfg).CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)})
	ts.Check(err)
	_, err = trails.CreateTrail(ctx, &cloudtrail.CreateTrailInput{Name: aws.String("all"), S3BucketName: aws.String(bucket), IsMultiRegionTrail: aws.Bool(true)})
	ts.Check(err)
	_, err = trails.StartLogging(ctx, &cloudtrail.StartLoggingInput{Name: aws.String("all")})
	ts.Check(err)
}

// lacks ACCOUNT REGION trail|rule|events: from now on the trail does not log, a
// rule is disabled, or events could not be forwarded.
func lacks(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: lacks ACCOUNT REGION trail|rule|events")
	}
	ctx, cfg := context.Background(), memberIn(ts, args[0], args[1])
	var err error
	switch args[2] {
	case "trail":
		_, err = cloudtrail.NewFromConfig(cfg).StopLogging(ctx, &cloudtrail.StopLoggingInput{Name: aws.String("all")})
	case "rule":
		_, err = eventbridge.NewFromConfig(cfg).DisableRule(ctx, &eventbridge.DisableRuleInput{Name: aws.String("snapback-s3")})
	case "events":
		queues := sqs.NewFromConfig(cfg)
		var queue *sqs.GetQueueUrlOutput
		queue, err = queues.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(deployment.Undelivered)})
		ts.Check(err)
		_, err = queues.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: aws.String("{}")})
	default:
		ts.Fatalf("there is no part %s", args[2])
	}
	ts.Check(err)
}

// health [-refuse CALL] BASELINE [VERSION]: deploy the health function with a
// baseline file. Its calls of that name are denied.
func healthFunction(ts *testscript.TestScript, _ bool, args []string) {
	h, role := hubOf(ts), deployment.MemberRole(deployment.Health)
	var env []string
	var err error
	if len(args) > 2 && args[0] == "-refuse" {
		p := proxyOf(ts)
		p.Inject(args[1], 1, local.Denied())
		args = args[2:]
		env, err = h.EnvVia(context.Background(), role, ts.MkAbs(args[0]), p.Endpoint())
	} else {
		env, err = h.Env(context.Background(), role, ts.MkAbs(args[0]))
	}
	ts.Check(err)
	version := cmp.Or(strings.Join(args[1:], ""), "dev")
	deploy(ts, deployment.Health, append(env, "SNAPBACK_VERSION="+version, "SNAPBACK_DOMAINS=storage", "SNAPBACK_MEMBER="+memberDigest,
		"SNAPBACK_RULES="+strconv.Itoa(len(deployment.Forwarding(storageDomain()))),
		"SNAPBACK_PATTERNS="+deployment.Fingerprint(deployment.Forwarding(storageDomain()))))
}

// healthTells FILE: stand in for the health function with an answer. So what
// takes it a minute of waiting, or what moto can't do, is told at once. What it
// was asked is in asked.json.
func healthTells(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: healthtells FILE")
	}
	answer := []byte(ts.ReadFile(args[0]))
	asked := ts.MkAbs("asked.json")
	ts.Value(stageKey{}).(*stage).told = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil || os.WriteFile(asked, append(request, '\n'), 0o600) != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(answer) // a caller that is gone needs none
	})
	front(ts)
}

// carry: from now on the queue's messages are handed to the domain's function, as
// the event source mapping does.
func carry(ts *testscript.TestScript, _ bool, _ []string) {
	f := ts.Value(stageKey{}).(*stage).functions[deployment.Function(domainUnderTest(ts))]
	if f == nil {
		ts.Fatalf("the function is not deployed yet")
	}
	source := hubOf(ts).Source(f)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if _, err := source.Poll(ctx); err != nil && ctx.Err() == nil {
				_, _ = fmt.Fprintln(os.Stderr, "carry:", err) // the script sees that nothing arrives
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	ts.Defer(func() { stop(); <-ended })
}

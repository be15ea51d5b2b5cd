package main

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/function"
)

// domainDoctor looks at what one domain has in the hub: its queues and its
// function.
type domainDoctor struct {
	*doctor
	domain      string
	queue, dead map[string]string // the attributes of the queues
	told        build             // what its function is made of, once it has answered
}

func (d *domainDoctor) queueThere(ctx context.Context) (f finding) {
	d.queue, f = d.readQueue(ctx, deployment.Queue(d.domain))
	return f
}

func (d *domainDoctor) deadThere(ctx context.Context) (f finding) {
	d.dead, f = d.readQueue(ctx, deployment.DeadQueue(d.domain))
	return f
}

func (d *domainDoctor) readQueue(ctx context.Context, queue string) (map[string]string, finding) {
	client := sqs.NewFromConfig(d.cfg)
	at, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(queue)})
	var out *sqs.GetQueueAttributesOutput
	if err == nil {
		out, err = client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
			QueueUrl: at.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameAll},
		})
	}
	switch {
	case cloud.Is(err, "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"):
		return nil, wrong("there is no queue %s in this account and Region", queue).mend(deployAgain)
	case err != nil:
		return nil, unread(err)
	}
	return out.Attributes, ok("%s", queue)
}

func (d *domainDoctor) redrive(context.Context) finding {
	var policy struct{ DeadLetterTargetArn string }
	text, wanted := d.queue["RedrivePolicy"], d.dead["QueueArn"]
	if text != "" {
		if err := json.Unmarshal([]byte(text), &policy); err != nil {
			return wrong("the redrive policy can't be understood: %v: %s", err, text).mend(deployAgain)
		}
	}
	switch policy.DeadLetterTargetArn {
	case wanted:
		return ok("what is given up goes to %s", deployment.DeadQueue(d.domain))
	case "":
		return wrong("there is no redrive policy: what fails again and again is lost in the end").mend(deployAgain)
	}
	return wrong("what is given up goes to %s, not to %s", policy.DeadLetterTargetArn, wanted).mend(deployAgain)
}

// deadLetters counts what waits to be handed out again, and what someone who
// looks at it has hidden for a moment.
func (d *domainDoctor) deadLetters(context.Context) finding {
	waiting := 0
	for _, name := range []sqstypes.QueueAttributeName{
		sqstypes.QueueAttributeNameApproximateNumberOfMessages, sqstypes.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
	} {
		n, err := strconv.Atoi(d.dead[string(name)])
		if err != nil {
			return wrong("SQS does not say how many messages %s holds: %s is %q", deployment.DeadQueue(d.domain), name, d.dead[string(name)]).mend("ask again")
		}
		waiting += n
	}
	if waiting == 0 {
		return ok("%s is empty", deployment.DeadQueue(d.domain))
	}
	// The destination is named, since what EventBridge could not put on the queue has
	// none that it came from.
	dead := d.dead["QueueArn"]
	queue := strings.TrimSuffix(dead, deployment.DeadQueue(d.domain)) + deployment.Queue(d.domain)
	return wrong("%s in %s: Snapback could not handle what they tell of", plural(waiting, "message"), deployment.DeadQueue(d.domain)).
		mend("find the cause in the log group /aws/lambda/" + deployment.Function(d.domain) + " and mend it; then have them handed out again").
		by("aws sqs start-message-move-task --source-arn " + dead + " --destination-arn " + queue)
}

// The age of a queue's oldest message is asked for over so long, and may be so
// much: handling an event takes seconds.
const (
	ageWindow = 15 * time.Minute
	maxAge    = 15 * time.Minute
)

func (d *domainDoctor) age(ctx context.Context) finding {
	now := time.Now()
	out, err := cloudwatch.NewFromConfig(d.cfg).GetMetricStatistics(ctx, &cloudwatch.GetMetricStatisticsInput{
		Namespace: aws.String("AWS/SQS"), MetricName: aws.String("ApproximateAgeOfOldestMessage"),
		Dimensions: []cwtypes.Dimension{{Name: aws.String("QueueName"), Value: aws.String(deployment.Queue(d.domain))}},
		StartTime:  aws.Time(now.Add(-ageWindow)), EndTime: aws.Time(now), Period: aws.Int32(60),
		Statistics: []cwtypes.Statistic{cwtypes.StatisticMaximum},
	})
	switch {
	case err != nil:
		return unread(err)
	case len(out.Datapoints) == 0:
		// SQS sends no metrics of a queue that has been idle for hours.
		return ok("CloudWatch has no data of the last %d minutes", int(ageWindow.Minutes()))
	}
	oldest := 0.0
	for _, p := range out.Datapoints {
		oldest = max(oldest, aws.ToFloat64(p.Maximum))
	}
	waited := time.Duration(oldest) * time.Second
	if waited > maxAge {
		return wrong("a message has waited for %s", waited).
			mend("the log group /aws/lambda/" + deployment.Function(d.domain) + " says why the function does not work it off")
	}
	return ok("no message has waited for longer than %s", waited)
}

// mapping looks at what hands the queue's messages to the function. Source of the
// states: Lambda API reference, EventSourceMappingConfiguration.
func (d *domainDoctor) mapping(ctx context.Context) finding {
	function := deployment.Function(d.domain)
	out, err := lambda.NewFromConfig(d.cfg).ListEventSourceMappings(ctx, &lambda.ListEventSourceMappingsInput{
		FunctionName: aws.String(function), EventSourceArn: aws.String(d.queue["QueueArn"]),
	})
	switch {
	case cloud.Is(err, "ResourceNotFoundException"):
		return wrong("there is no function %s in this account and Region", function).mend(deployAgain)
	case err != nil:
		return unread(err)
	case len(out.EventSourceMappings) == 0:
		return wrong("nothing hands the events of %s to %s", deployment.Queue(d.domain), function).mend(deployAgain)
	}
	m := out.EventSourceMappings[0] // a queue has one mapping to a function at most
	switch state := aws.ToString(m.State); state {
	case "Enabled", "Updating":
		return ok("%s hands its events to %s", deployment.Queue(d.domain), function)
	case "Creating", "Enabling":
		return note("what hands the events to %s is %s", function, state)
	default:
		return wrong("what hands the events to %s is %s: they wait in the queue", function, state).
			mend("enable it").by("aws lambda update-event-source-mapping --enabled --uuid " + aws.ToString(m.UUID))
	}
}

func (d *domainDoctor) function(context.Context) finding {
	a, err := d.ask(nil)
	d.told = build{a.Version, a.Baseline}
	switch {
	case err != "":
		return wrong("%s", err)
	case a.Verdict != engine.Done:
		return wrong("%s answers, but: %s", deployment.Function(d.domain), a.Reason).
			mend("what it may do, and where its ledger is, comes with the deployment: deploy Snapback's hub stack again")
	}
	return ok("%s answers, and can read the ledger", deployment.Function(d.domain))
}

// ask has the domain's function check itself, and says why it does not answer.
func (d *domainDoctor) ask(accounts []string) (a engine.Answer, unanswered string) {
	a, err := invoke(d.cmd, d.cfg, d.domain, function.Request{Command: function.Check, Accounts: accounts})
	if err != nil {
		unanswered = strings.TrimPrefix(err.Error(), name(d.cmd)+": ")
	}
	return a, unanswered
}

// accountsAtOnce is how many accounts a function tries in one invocation: well
// within its time.
const accountsAtOnce = 50

func (d *domainDoctor) roles(context.Context) finding {
	var faults []string
	for some := range slices.Chunk(d.accounts, accountsAtOnce) {
		a, err := d.ask(some)
		switch {
		case err != "":
			return wrong("%s", err)
		case a.Verdict != engine.Done:
			faults = append(faults, strings.Split(a.Reason, "\n")...)
		}
	}
	if len(faults) == 0 {
		return ok("%s can enter %s", deployment.Function(d.domain), plural(len(d.accounts), "account"))
	}
	return wrong("%s can't enter %d of %s:\n%s", deployment.Function(d.domain), len(faults), plural(len(d.accounts), "account"), strings.Join(faults, "\n")).
		mend("deploy Snapback's member stack there")
}

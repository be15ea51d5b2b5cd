package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/deployment"
)

// hub is the stack of all that is in the hub but the ledger, while it is made.
type hub struct {
	stack   awscdk.Stack
	in      input
	place   baseline.Hub
	domains []control.Domain // those that are on

	bus       awsevents.CfnEventBus
	key       awskms.CfnKey // the topic's
	topic     awssns.CfnTopic
	functions map[string]awslambda.CfnFunction // by domain, and that of health
	alarms    []string                         // names of all, in the order of the dashboard
}

// newHub is the stack of all else in the hub. The member is the template that its
// StackSet brings to every account.
func newHub(scope constructs.Construct, in input, member memberTemplate) awscdk.Stack {
	h := &hub{
		stack: newHubStack(scope, deployment.HubStack,
			"Snapback's hub: the bus that every account's events reach, and the functions that answer them.", in, false),
		in: in, place: in.baseline.Organization.Hub, domains: deployment.On(in.domains, in.baseline),
		functions: map[string]awslambda.CfnFunction{},
	}
	access := h.makeBus()
	h.makeTopic()
	for _, d := range h.domains {
		h.makeDomain(d)
	}
	h.makeHealth(member)
	h.makeSchedules()
	h.makeAlarms()
	h.makeDashboard()
	h.makeStackSet(member).AddResourceDependency(access, jsii.String("no account sends what the bus refuses"))
	return h.stack
}

// makeBus makes the bus that the rules of members send to, and an archive of what
// came in, from which the last month can be sent again through a better baseline.
// It returns the bus's policy.
func (h *hub) makeBus() awscdk.CfnResource {
	const archiveDays = 30
	h.bus = awsevents.NewCfnEventBus(h.stack, jsii.String("Bus"), &awsevents.CfnEventBusProps{
		Name:        jsii.String(deployment.Bus),
		Description: jsii.String("Events of every account of the organization"),
	})
	awsevents.NewCfnArchive(h.stack, jsii.String("Archive"), &awsevents.CfnArchiveProps{
		ArchiveName:   jsii.String(deployment.Bus),
		Description:   jsii.String("What came in on the bus, to be sent again"),
		SourceArn:     h.bus.AttrArn(),
		RetentionDays: jsii.Number(archiveDays),
	})
	h.output("BusArn", "ARN of the bus that members send to", h.bus.AttrArn())
	// Whoever of the organization may put events can put some here, of his own
	// account alone: the engine refuses an event about another (promise 9).
	return awsevents.NewCfnEventBusPolicy(h.stack, jsii.String("BusPolicy"), &awsevents.CfnEventBusPolicyProps{
		EventBusName: h.bus.Ref(),
		StatementId:  jsii.String("Organization"),
		Statement: map[string]any{
			"Sid": "Organization", "Effect": "Allow", "Principal": "*", "Action": "events:PutEvents", "Resource": h.bus.AttrArn(),
			"Condition": map[string]any{"StringEquals": map[string]any{"aws:PrincipalOrgID": h.in.baseline.Organization.ID}},
		},
	})
}

// makeDomain makes what answers the events of a domain: rules, queue, function.
func (h *hub) makeDomain(d control.Domain) {
	queue, dead := h.makeQueue(d.Name)
	function := h.makeFunction(d.Name, deployment.FunctionPolicies(d, h.in.baseline), functionLimits, map[string]any{
		"SNAPBACK_TOPIC": h.topic.Ref(),
	})
	awslambda.NewCfnEventSourceMapping(h.stack, jsii.String(logicalID(d.Name, "Mapping")), &awslambda.CfnEventSourceMappingProps{
		EventSourceArn: queue.AttrArn(),
		FunctionName:   function.Ref(),
		// No batching window: an event waits for no other.
		BatchSize:             jsii.Number(batch),
		FunctionResponseTypes: jsii.Strings("ReportBatchItemFailures"),
		ScalingConfig: &awslambda.CfnEventSourceMapping_ScalingConfigProperty{
			MaximumConcurrency: jsii.Number(h.in.baseline.Deployment.Concurrency),
		},
	})
	for _, r := range d.Rules() {
		h.makeRule(r, queue, dead)
	}
}

// batch is how many events a function works at side by side.
const batch = 10

// makeRule makes a rule of a domain on the bus. What can't be put on the queue for
// a day, by EventBridge's own retries, goes where what the function can't handle
// goes too.
func (h *hub) makeRule(r control.Rule, queue, dead awssqs.CfnQueue) {
	awsevents.NewCfnRule(h.stack, jsii.String(logicalID(r.Name, "Rule")), &awsevents.CfnRuleProps{
		Name:         jsii.String(deployment.Rule(r.Name)),
		EventBusName: h.bus.Ref(),
		EventPattern: patternOf(r),
		State:        jsii.String("ENABLED"),
		Targets: []any{&awsevents.CfnRule_TargetProperty{
			Id:               jsii.String("queue"),
			Arn:              queue.AttrArn(),
			DeadLetterConfig: &awsevents.CfnRule_DeadLetterConfigProperty{Arn: dead.AttrArn()},
		}},
	})
}

// makeQueue makes the queue of a domain, with its dead-letter queue.
//
// Queues are encrypted by SQS itself: that costs nothing, and needs no key whose
// policy would have to let EventBridge in. What is in them is in CloudTrail anyway.
func (h *hub) makeQueue(domain string) (queue, dead awssqs.CfnQueue) {
	dead = h.makeDeadQueue(domain, map[string]any{
		"redrivePermission": "byQueue",
		"sourceQueueArns":   []any{filled(h.arn("sqs", deployment.Queue(domain)))}, // a Ref would go round in a circle
	})
	queue = awssqs.NewCfnQueue(h.stack, jsii.String(logicalID(domain, "Queue")), &awssqs.CfnQueueProps{
		QueueName:            jsii.String(deployment.Queue(domain)),
		SqsManagedSseEnabled: jsii.Bool(true),
		// Longer than a batch and its retries by Lambda take. Source: Lambda developer
		// guide, "Creating and configuring an Amazon SQS event source mapping".
		VisibilityTimeout:      jsii.Number(6 * functionLimits.timeout),
		MessageRetentionPeriod: jsii.Number(retentionSeconds),
		RedrivePolicy:          map[string]any{"deadLetterTargetArn": dead.AttrArn(), "maxReceiveCount": maxReceives},
	})
	h.makeQueuePolicy(logicalID(domain, "QueuePolicy"), queue, h.rulesMaySend(queue)...)
	h.makeQueuePolicy(logicalID(domain, "DeadQueuePolicy"), dead, h.rulesMaySend(dead)...)
	h.output(logicalID(domain, "QueueUrl"), "URL of the queue of the domain "+domain, queue.Ref())
	h.output(logicalID(domain, "DeadQueueUrl"), "URL of the dead-letter queue of the domain "+domain, dead.Ref())
	return queue, dead
}

// maxReceives is how often a message is handed out before it is given up. Lambda
// hands one out again that it merely could not start a function for. Source: Lambda
// developer guide, which asks for at least 5.
const maxReceives = 5

func (h *hub) makeDeadQueue(of string, redrive any) awssqs.CfnQueue {
	return awssqs.NewCfnQueue(h.stack, jsii.String(logicalID(of, "DeadQueue")), &awssqs.CfnQueueProps{
		QueueName:              jsii.String(deployment.DeadQueue(of)),
		SqsManagedSseEnabled:   jsii.Bool(true),
		MessageRetentionPeriod: jsii.Number(retentionSeconds),
		RedriveAllowPolicy:     redrive,
	})
}

// makeQueuePolicy makes the policy of a queue: whoever else is let in, TLS only.
func (h *hub) makeQueuePolicy(id string, queue awssqs.CfnQueue, more ...deployment.Statement) {
	awssqs.NewCfnQueuePolicy(h.stack, jsii.String(id), &awssqs.CfnQueuePolicyProps{
		Queues: &[]*string{queue.Ref()},
		PolicyDocument: policy(append(more, deployment.Statement{
			Sid: "TLS", Effect: "Deny", Principal: "*", Action: []string{"sqs:*"}, Resource: []string{*queue.AttrArn()},
			Condition: map[string]map[string][]string{"Bool": {"aws:SecureTransport": {"false"}}},
		})...),
	})
}

// rulesMaySend lets the rules of the bus send to a queue.
func (h *hub) rulesMaySend(queue awssqs.CfnQueue) []deployment.Statement {
	return []deployment.Statement{{
		Sid: "Rules", Effect: "Allow", Principal: map[string]string{"Service": "events.amazonaws.com"},
		Action: []string{"sqs:SendMessage"}, Resource: []string{*queue.AttrArn()},
		Condition: map[string]map[string][]string{"ArnLike": {
			"aws:SourceArn": {h.arn("events", "rule/"+deployment.Bus+"/"+deployment.Rule("*"))},
		}},
	}}
}

// arn is the ARN of what is named in the hub's account and Region.
func (h *hub) arn(service, name string) string {
	return fmt.Sprintf("arn:${Partition}:%s:%s:%s:%s", service, h.place.Region, h.place.Account, name)
}

// output is what `aws cloudformation describe-stacks` shows of the stack.
func (h *hub) output(name, description string, value *string) {
	awscdk.NewCfnOutput(h.stack, jsii.String(name), &awscdk.CfnOutputProps{Description: jsii.String(description), Value: value})
}

// policy is a policy document of statements.
func policy(statements ...deployment.Statement) any {
	return document(deployment.Document{Version: "2012-10-17", Statement: statements})
}

// withKey fills the topic's key into a policy.
func (h *hub) withKey(d deployment.Document) any {
	text, err := json.Marshal(document(d))
	if err != nil {
		panic(err) // texts always encode
	}
	var tree any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), "${TopicKey}", *h.key.AttrArn())), &tree); err != nil {
		panic(err) // it was encoded just now
	}
	return tree
}

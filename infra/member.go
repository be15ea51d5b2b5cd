package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/deployment"
)

// memberTemplate is the template that every account and governed Region gets.
type memberTemplate struct {
	file   string // its absolute path
	digest string // the first 12 hexadecimal digits of its SHA-256, as made with an empty digest
	rules  int    // how many forwarding rules it has
}

// makeMember writes the member's template to a file below in.out: the StackSet
// takes it as one. It is made without a digest first, so that the digest can stand
// in what the template describes.
func makeMember(in input) (memberTemplate, error) {
	_, text, err := writeMember(in, "")
	if err != nil {
		return memberTemplate{}, err
	}
	sum := sha256.Sum256(text)
	digest := hex.EncodeToString(sum[:])[:12]
	file, _, err := writeMember(in, digest)
	if err != nil {
		return memberTemplate{}, err
	}
	rules := deployment.Forwarding(deployment.On(in.domains, in.baseline))
	return memberTemplate{file: file, digest: digest, rules: len(rules)}, nil
}

// writeMember writes the template by an app of its own, since it goes into the
// other's as a file.
func writeMember(in input, digest string) (file string, text []byte, err error) {
	out, err := filepath.Abs(filepath.Join(in.out, "member"))
	if err != nil {
		return "", nil, fmt.Errorf("find the folder of the member template: %w", err)
	}
	app := newApp(out)
	newMember(app, deployment.StackSet, in, digest, nil)
	app.Synth(nil)
	file = filepath.Join(out, deployment.StackSet+".template.json")
	if text, err = os.ReadFile(file); err != nil {
		return "", nil, fmt.Errorf("read the member template: %w", err)
	}
	return file, text, nil
}

// newApp makes an empty app whose assembly goes to a folder.
func newApp(out string) awscdk.App {
	return awscdk.NewApp(&awscdk.AppProps{
		Outdir: jsii.String(out), AnalyticsReporting: jsii.Bool(false), TreeMetadata: jsii.Bool(false),
		PostCliContext: &map[string]any{
			// Over what the CDK command line asks for: templates are the same with and without it.
			"aws:cdk:enable-path-metadata": false, "aws:cdk:enable-asset-metadata": false,
			// What CloudFormation would refuse is an error here already.
			"@aws-cdk/core:validateAgainstDefaultRules": true,
		},
	})
}

// newMember is the stack of one account and Region: forwarding rules and, in the
// home Region of IAM's roles, which is the hub's, roles. Its template is the same
// for every account and Region, and knows neither; env is where a stack that is
// deployed by hand goes, nil for the template alone.
func newMember(scope constructs.Construct, id string, in input, digest string, env *awscdk.Environment) awscdk.Stack {
	stack := awscdk.NewStack(scope, jsii.String(id), &awscdk.StackProps{
		Env:                         env,
		Description:                 jsii.String("Snapback in one account and Region: what brings its events to the hub, and the roles that the hub's functions assume."),
		AnalyticsReporting:          jsii.Bool(false),
		SuppressTemplateIndentation: jsii.Bool(true), // a template has a limit, and nobody reads this one
		Synthesizer: awscdk.NewDefaultStackSynthesizer(&awscdk.DefaultStackSynthesizerProps{
			// A member's account need not know of CDK.
			GenerateBootstrapVersionRule: jsii.Bool(false),
		}),
	})
	m := member{stack: stack, in: in, digest: digest}
	m.home = awscdk.NewCfnCondition(stack, jsii.String("IsHome"), &awscdk.CfnConditionProps{
		Expression: awscdk.Fn_ConditionEquals(awscdk.Aws_REGION(), in.baseline.Organization.Hub.Region),
	})
	domains := deployment.On(in.domains, in.baseline)
	m.forward(deployment.Forwarding(domains))
	for _, d := range domains {
		m.role(deployment.MemberRole(d.Name), deployment.Trust(deployment.FunctionRole(d.Name), in.baseline),
			deployment.MemberPolicies(d, in.baseline))
	}
	m.role(deployment.MemberRole(deployment.Health), deployment.Trust(deployment.FunctionRole(deployment.Health), in.baseline),
		deployment.HealthPolicies())
	return stack
}

// member is the stack of one account and Region while it is made.
type member struct {
	stack  awscdk.Stack
	in     input
	digest string
	home   awscdk.CfnCondition // whether this is the Region of the roles
}

// forward makes the rules that send events to the hub's bus, with their role and
// the queue of what could not be sent.
//
// A role is used within one account and Region too: AWS recommends one wherever a
// target is a bus (EventBridge user guide, "Permissions for event buses"). Each
// Region has its own, beside its rules: EventBridge refuses a target whose role is
// not there yet, and a StackSet's automatic deployment to a new account keeps no
// order of Regions.
func (m member) forward(rules []control.Rule) {
	role := awsiam.NewCfnRole(m.stack, jsii.String("ForwardRole"), &awsiam.CfnRoleProps{
		RoleName:                 awscdk.Token_AsString(filled(deployment.ForwardRole("${Region}")), nil),
		Description:              jsii.String("Snapback: puts events on the bus of the hub"),
		AssumeRolePolicyDocument: document(deployment.ForwardTrust()),
		MaxSessionDuration:       jsii.Number(sessionSeconds),
		Policies: []any{&awsiam.CfnRole_PolicyProperty{
			PolicyName: jsii.String("forward"), PolicyDocument: document(deployment.ForwardPolicy(m.in.baseline)),
		}},
	})
	hub := m.in.baseline.Organization.Hub
	undelivered, letsRules := m.undelivered()
	target := []any{&awsevents.CfnRule_TargetProperty{
		Id:               jsii.String("hub"),
		Arn:              awscdk.Token_AsString(filled("arn:${Partition}:events:"+hub.Region+":"+hub.Account+":event-bus/"+deployment.Bus), nil),
		RoleArn:          role.AttrArn(),
		DeadLetterConfig: &awsevents.CfnRule_DeadLetterConfigProperty{Arn: undelivered.AttrArn()},
	}}
	for _, r := range rules {
		rule := awsevents.NewCfnRule(m.stack, jsii.String(logicalID(r.Name, "Rule")), &awsevents.CfnRuleProps{
			Name:         jsii.String(deployment.Rule(r.Name)),
			Description:  jsii.String(deployment.RuleDescription(m.digest)),
			EventPattern: memberPattern(r),
			State:        jsii.String("ENABLED"),
			Targets:      target,
		})
		rule.AddResourceDependency(letsRules, jsii.String("what a rule can't send is not lost from its first event on"))
	}
}

// patternOf is the pattern of a rule as a template holds it.
func patternOf(r control.Rule) map[string]any {
	var pattern map[string]any
	if err := json.Unmarshal([]byte(r.Pattern.String()), &pattern); err != nil {
		panic(err) // a pattern prints as JSON
	}
	return pattern
}

// memberPattern is the pattern of a forwarding rule: the rule's, for events of the
// own account alone, since a default bus may be open to others.
func memberPattern(r control.Rule) map[string]any {
	pattern := patternOf(r)
	pattern["account"] = []any{map[string]any{"Ref": "AWS::AccountId"}}
	return pattern
}

// undelivered makes the queue of events that could not be put on the hub's bus,
// and its policy.
func (m member) undelivered() (awssqs.CfnQueue, awssqs.CfnQueuePolicy) {
	queue := awssqs.NewCfnQueue(m.stack, jsii.String("Undelivered"), &awssqs.CfnQueueProps{
		QueueName:              jsii.String(deployment.Undelivered),
		MessageRetentionPeriod: jsii.Number(retentionSeconds),
		SqsManagedSseEnabled:   jsii.Bool(true),
	})
	letsRules := awssqs.NewCfnQueuePolicy(m.stack, jsii.String("UndeliveredPolicy"), &awssqs.CfnQueuePolicyProps{
		Queues: &[]*string{queue.Ref()},
		PolicyDocument: policy(
			deployment.Statement{
				Sid: "Rules", Effect: "Allow", Principal: map[string]string{"Service": "events.amazonaws.com"},
				Action: []string{"sqs:SendMessage"}, Resource: []string{*queue.AttrArn()},
				Condition: map[string]map[string][]string{"ArnLike": {
					"aws:SourceArn": {"arn:${Partition}:events:${Region}:${Account}:rule/" + deployment.Rule("*")},
				}},
			},
			deployment.Statement{
				Sid: "TLS", Effect: "Deny", Principal: "*", Action: []string{"sqs:*"}, Resource: []string{*queue.AttrArn()},
				Condition: map[string]map[string][]string{"Bool": {"aws:SecureTransport": {"false"}}},
			},
		),
	})
	return queue, letsRules
}

// role makes a role that a function of the hub assumes, with its policies. They
// are attached as the role is made: it never lacks the one that denies.
func (m member) role(name string, trust deployment.Document, policies []deployment.Policy) {
	var arns []any
	for _, p := range policies {
		policy := awsiam.NewCfnManagedPolicy(m.stack, jsii.String(logicalID(p.Name, "Policy")), &awsiam.CfnManagedPolicyProps{
			ManagedPolicyName: jsii.String(p.Name),
			PolicyDocument:    document(p.Document),
		})
		policy.CfnOptions().SetCondition(m.home)
		arns = append(arns, policy.Ref())
	}
	role := awsiam.NewCfnRole(m.stack, jsii.String(logicalID(name, "Role")), &awsiam.CfnRoleProps{
		RoleName:                 jsii.String(name),
		Description:              jsii.String("Snapback: for the hub's function of the same name"),
		AssumeRolePolicyDocument: document(trust),
		MaxSessionDuration:       jsii.Number(sessionSeconds),
		ManagedPolicyArns:        &arns,
	})
	role.CfnOptions().SetCondition(m.home)
}

const (
	sessionSeconds   = 3600           // an hour: the shortest that a role can be limited to
	retentionSeconds = 14 * 24 * 3600 // as long as a queue keeps anything
)

// logicalID is the logical ID of a named resource: "Config2Rule" for the rule
// "config-2". Derived from the name alone, it stays when others come and go.
func logicalID(name, kind string) string {
	var id strings.Builder
	for word := range strings.SplitSeq(strings.TrimPrefix(name, deployment.Prefix+"-"), "-") {
		id.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return id.String() + kind
}

// document is a policy document as a template holds it.
func document(d deployment.Document) any {
	text, err := json.Marshal(d)
	if err != nil {
		panic(err) // texts always encode
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		panic(err) // it was encoded just now
	}
	return filledIn(tree)
}

// filledIn fills in what CloudFormation knows in all texts of a document. A list of
// one text becomes that text: IAM reads both alike, it is shorter, and cdk-nag does
// not know a TLS-only policy by the other.
func filledIn(tree any) any {
	switch v := tree.(type) {
	case string:
		return filled(v)
	case []any:
		if len(v) == 1 {
			if text, ok := v[0].(string); ok {
				return filled(text)
			}
		}
		for i := range v {
			v[i] = filledIn(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = filledIn(v[key])
		}
	}
	return tree
}

// filled is a text in which CloudFormation fills in partition, account and Region.
// IAM's own variables stay as they are.
func filled(text string) any {
	made := strings.NewReplacer(
		"${Partition}", "${AWS::Partition}", "${Account}", "${AWS::AccountId}", "${Region}", "${AWS::Region}", "${", "${!",
	).Replace(text)
	if !strings.Contains(made, "${AWS::") {
		return text
	}
	return map[string]any{"Fn::Sub": made}
}

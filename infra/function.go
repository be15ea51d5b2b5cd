package main

import (
	"maps"
	"strconv"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3assets"
	"github.com/aws/jsii-runtime-go"

	"github.com/snapback-aws/snapback/pkg/deployment"
)

// limits are what a function is given.
type limits struct {
	timeout int // seconds
	memory  int // MB, with which its share of a processor grows
}

// The limits of a domain's function, from whose timeout the leases of the ledger
// are counted, and of health's, which waits for canaries of every account.
var (
	functionLimits = limits{timeout: 60, memory: 256}
	healthLimits   = limits{timeout: 900, memory: 256}
)

// logDays is a year: as long as somebody may ask what happened. Cases are kept
// longer, in the ledger.
const logDays = 365

// makeFunction makes a function with its role and its log group. Logs are
// encrypted by CloudWatch Logs itself, and go with the stack: what must last is in
// the ledger.
//
// Nothing invokes it asynchronously but the schedules, which come again in an
// hour, so what fails then is told by an alarm and goes nowhere else.
func (h *hub) makeFunction(name string, policies []deployment.Policy, l limits, environment map[string]any) awslambda.CfnFunction {
	role := h.makeRole(name, policies)
	logs := awslogs.NewCfnLogGroup(h.stack, jsii.String(logicalID(name, "Logs")), &awslogs.CfnLogGroupProps{
		LogGroupName: jsii.String(logGroup(name)), RetentionInDays: jsii.Number(logDays),
	})
	code := awss3assets.NewAsset(h.stack, jsii.String(logicalID(name, "Code")), &awss3assets.AssetProps{Path: jsii.String(h.in.zip(name))})
	variables := map[string]any{
		"SNAPBACK_TABLE":           deployment.Table,
		"SNAPBACK_ROLE":            deployment.MemberRole(name),
		"SNAPBACK_VERSION":         h.in.version,
		"SNAPBACK_BASELINE_DIGEST": h.in.baseline.Digest,
	}
	maps.Copy(variables, environment)
	function := awslambda.NewCfnFunction(h.stack, jsii.String(logicalID(name, "Function")), &awslambda.CfnFunctionProps{
		FunctionName:  jsii.String(deployment.Function(name)),
		Description:   jsii.String("Snapback " + h.in.version + ": " + name),
		Runtime:       jsii.String("provided.al2023"),
		Architectures: jsii.Strings("arm64"),
		Handler:       jsii.String("bootstrap"),
		Code:          &awslambda.CfnFunction_CodeProperty{S3Bucket: code.S3BucketName(), S3Key: code.S3ObjectKey()},
		Role:          role.AttrArn(),
		Timeout:       jsii.Number(l.timeout),
		MemorySize:    jsii.Number(l.memory),
		Environment:   &awslambda.CfnFunction_EnvironmentProperty{Variables: variables},
		LoggingConfig: &awslambda.CfnFunction_LoggingConfigProperty{LogGroup: logs.Ref()},
	})
	h.functions[name] = function
	h.output(logicalID(name, "FunctionName"), "name of the function of "+name, function.Ref())
	h.output(logicalID(name, "FunctionRoleArn"), "ARN of the role of the function of "+name, role.AttrArn())
	return function
}

// logGroup is the name of a function's log group.
func logGroup(name string) string { return "/aws/lambda/" + deployment.Function(name) }

// makeRole makes the role of a function. Its policies are its own, so that they
// come and go with it.
func (h *hub) makeRole(name string, policies []deployment.Policy) awsiam.CfnRole {
	var inline []any
	for _, p := range policies {
		inline = append(inline, &awsiam.CfnRole_PolicyProperty{PolicyName: jsii.String(p.Name), PolicyDocument: h.withKey(p.Document)})
	}
	return awsiam.NewCfnRole(h.stack, jsii.String(logicalID(name, "FunctionRole")), &awsiam.CfnRoleProps{
		RoleName:                 jsii.String(deployment.FunctionRole(name)),
		Description:              jsii.String("Snapback: what the function " + deployment.Function(name) + " may do"),
		AssumeRolePolicyDocument: policy(mayAssume("lambda.amazonaws.com", nil)),
		Policies:                 inline,
	})
}

// mayAssume lets a service assume a role.
func mayAssume(service string, condition map[string]map[string][]string) deployment.Statement {
	return deployment.Statement{
		Effect: "Allow", Principal: map[string]string{"Service": service}, Action: []string{"sts:AssumeRole"}, Condition: condition,
	}
}

// makeHealth makes the function that sends canaries and looks at members.
func (h *hub) makeHealth(member memberTemplate) {
	var domains []string
	for _, d := range h.domains {
		domains = append(domains, d.Name)
	}
	h.makeFunction(deployment.Health, deployment.HealthFunctionPolicies(h.in.baseline), healthLimits, map[string]any{
		"SNAPBACK_DOMAINS":  strings.Join(domains, ","),
		"SNAPBACK_MEMBER":   member.digest,
		"SNAPBACK_RULES":    strconv.Itoa(member.rules),
		"SNAPBACK_PATTERNS": deployment.Fingerprint(deployment.Forwarding(h.domains)),
	})
}

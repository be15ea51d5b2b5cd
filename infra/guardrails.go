package main

import (
	"fmt"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsorganizations"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/deployment"
)

// guardrails are the service control policies of a baseline. An error is one of
// the file.
func guardrails(b *baseline.Baseline) ([]deployment.Policy, error) {
	policies, err := deployment.ServiceControlPolicies(b)
	if err != nil {
		return nil, fmt.Errorf("%s:%d: deployment.guardrails: %w", b.File, b.Deployment.Guardrails.Line, err)
	}
	return policies, nil
}

// newGuardrails is the stack of the service control policies, in the management
// account. Its panic is an error of the baseline.
func newGuardrails(scope constructs.Construct, in input) {
	policies, err := guardrails(in.baseline)
	if err != nil {
		panic(err)
	}
	o := in.baseline.Organization
	stack := awscdk.NewStack(scope, jsii.String(deployment.Guardrails), &awscdk.StackProps{
		Env:                &awscdk.Environment{Account: jsii.String(o.Management), Region: jsii.String(organizationsRegion(o.Hub.Region))},
		Description:        jsii.String("Snapback's guardrails: service control policies that keep what it needs from being turned off."),
		AnalyticsReporting: jsii.Bool(false),
		Synthesizer: awscdk.NewDefaultStackSynthesizer(&awscdk.DefaultStackSynthesizerProps{
			// The CDK command line checks the version of the bootstrap stack by itself.
			GenerateBootstrapVersionRule: jsii.Bool(false),
		}),
	})
	var before awsorganizations.CfnPolicy
	for _, p := range policies {
		policy := awsorganizations.NewCfnPolicy(stack, jsii.String(logicalID(p.Name, "Policy")), &awsorganizations.CfnPolicyProps{
			Name:        jsii.String(p.Name),
			Type:        jsii.String("SERVICE_CONTROL_POLICY"),
			Description: jsii.String("Snapback: " + sids(p.Document)),
			Content:     document(p.Document), // as an object: drift of a text is not found
			TargetIds:   jsii.Strings(in.baseline.Deployment.Guardrails.Targets...),
		})
		if before != nil {
			// Organizations API reference, CreatePolicy, ConcurrentModificationException.
			policy.AddResourceDependency(before, jsii.String("Organizations refuses changes that come at once"))
		}
		before = policy
	}
}

// organizationsRegion is where Organizations answers for the organization of a
// Region's partition. Source: AWS Organizations user guide, "Region support for
// AWS Organizations".
func organizationsRegion(region string) string {
	partition := cloud.Partition(region)
	if partition == "aws-cn" {
		return "cn-northwest-1"
	}
	return cloud.AnyRegion(partition)
}

// sids names a policy's statements.
func sids(d deployment.Document) string {
	var names []string
	for _, s := range d.Statement {
		names = append(names, s.Sid)
	}
	return strings.Join(names, ", ")
}

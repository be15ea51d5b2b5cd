package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3assets"
	"github.com/aws/jsii-runtime-go"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/deployment"
)

// makeStackSet makes what brings the member stack to every account and governed
// Region, those of accounts that join later too.
//
// The template comes from the hub's own bucket of CDK, whatever its size: a
// template body ends at 51,200 bytes. CloudFormation reads it there once, with the
// rights that this stack is deployed with, and keeps a copy for its stacks, so the
// members need no access (API reference, CreateStackSet and StackSet; cdklabs/
// cdk-stacksets brings templates the same way).
func (h *hub) makeStackSet(member memberTemplate) awscdk.CfnResource {
	o := h.in.baseline.Organization
	template := awss3assets.NewAsset(h.stack, jsii.String("MemberTemplate"), &awss3assets.AssetProps{Path: jsii.String(member.file)})
	regions := jsii.Strings(h.in.homeFirst()...)
	return awscdk.NewCfnStackSet(h.stack, jsii.String("Members"), &awscdk.CfnStackSetProps{
		StackSetName:    jsii.String(deployment.StackSet),
		Description:     jsii.String("Snapback in every account and governed Region"),
		TemplateUrl:     template.HttpUrl(),
		Capabilities:    jsii.Strings("CAPABILITY_NAMED_IAM"),
		PermissionModel: jsii.String("SERVICE_MANAGED"),
		CallAs:          jsii.String(callAs(o)),
		AutoDeployment: &awscdk.CfnStackSet_AutoDeploymentProperty{
			Enabled: jsii.Bool(true),
			// An account that leaves takes no role along that the hub could enter.
			RetainStacksOnAccountRemoval: jsii.Bool(false),
		},
		StackInstancesGroup: []any{&awscdk.CfnStackSet_StackInstancesProperty{
			DeploymentTargets: &awscdk.CfnStackSet_DeploymentTargetsProperty{OrganizationalUnitIds: jsii.Strings(o.Root)},
			Regions:           regions,
		}},
		// Operations that don't meet run side by side, the others wait instead of failing.
		ManagedExecution: map[string]any{"Active": true}, // CDK would write its own type in lower case
		// The home Region first, as its stacks make the roles, and one after the other.
		// Automatic deployments to new accounts follow none of this (API reference,
		// StackSetOperationPreferences).
		OperationPreferences: &awscdk.CfnStackSet_OperationPreferencesProperty{
			RegionOrder: regions, RegionConcurrencyType: jsii.String("SEQUENTIAL"),
			MaxConcurrentPercentage: jsii.Number(100),
			// A broken account or two stop nobody else. What breaks in half of them is a
			// fault of the template, and goes to no further Region.
			FailureTolerancePercentage: jsii.Number(50),
			ConcurrencyMode:            jsii.String("SOFT_FAILURE_TOLERANCE"), // else tolerance would bound concurrency
		},
	})
}

// callAs is as whom the hub manages a StackSet of the organization: it must be a
// delegated administrator, unless it is the management account, which can't be one.
func callAs(o baseline.Organization) string {
	if o.Management == o.Hub.Account {
		return "SELF"
	}
	return "DELEGATED_ADMIN"
}

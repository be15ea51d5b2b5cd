package deployment

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/snapback-aws/snapback/pkg/baseline"
)

// maxControlPolicy is how many characters a service control policy may hold,
// counted as it is sent. Source: AWS Organizations user guide, "Quotas and service
// limits for AWS Organizations"; it was 5,120 until May 2026.
const maxControlPolicy = 10_240

// ServiceControlPolicies are the guardrails of a baseline; none if it has none.
// An error says that a policy is longer than AWS takes, and what makes it so.
//
// They only deny, so a policy that allows, such as AWS's FullAWSAccess, has to
// stay attached beside them. What they say holds for every principal of a member
// account, root too, but neither for the management account nor for roles that
// are linked to a service (AWS Organizations user guide, "Service control
// policies"). Their ARNs are of any partition, as in Control Tower's own.
func ServiceControlPolicies(b *baseline.Baseline) ([]Policy, error) {
	if b.Deployment.Guardrails == nil {
		return nil, nil
	}
	g := guard{hub: b.Organization.Hub, breakGlass: sorted(b.Deployment.Guardrails.BreakGlass), administrators: sorted(b.Administrators)}
	policies := []Policy{
		{Prefix + "-detection", document(g.keepDetection(), g.keepMembership(), g.excused())},
		{Prefix + "-regions", document(g.governedRegions(b.Organization.Regions))},
		{Prefix + "-own", document(g.ownResources(), g.ownRoles(), g.ownEventSources(), g.ownKey())},
		{Prefix + "-tags", document(g.tags(overridingTags(b))...)},
	}
	for _, p := range policies {
		if is := p.Document.size(); is > maxControlPolicy {
			return nil, fmt.Errorf("the service control policy %s has %d characters and AWS takes %d: shorten the lists that it repeats "+
				"(break-glass, administrators, Regions, tags of overrides), by a pattern such as arn:aws:iam::*:role/break-glass-* in the place of many ARNs",
				p.Name, is, maxControlPolicy)
		}
	}
	return policies, nil
}

// size is how many characters a document has without white space.
func (d Document) size() int {
	text, err := json.Marshal(d)
	if err != nil {
		panic(err) // texts always encode
	}
	return utf8.RuneCount(text)
}

func sorted(texts []string) []string { return slices.Compact(slices.Sorted(slices.Values(texts))) }

// overridingTags are the keys of the tags by which overrides are chosen.
func overridingTags(b *baseline.Baseline) []string {
	keys := map[string]bool{}
	for _, o := range b.Overrides {
		for key := range o.Match.Tags {
			keys[key] = true
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

// guard is what the statements have to know of a baseline.
type guard struct {
	hub                        baseline.Hub
	breakGlass, administrators []string
}

// Whom a statement excuses by name, nobody else may make: see excused.
const (
	anyRole = "arn:*:iam::*:role/"
	// ownRoles are Snapback's, in every account.
	ownRoles = anyRole + Prefix + "-*"
	// stackSets is the role by which StackSets with service-managed permissions deploy
	// in a member. Its service-linked roles make it and assume it (CloudFormation user
	// guide, "Configure a custom execution role template for StackSets"; AWS managed
	// policy CloudFormationStackSetsOrgAdminServiceRolePolicy).
	stackSets = anyRole + "stacksets-exec-*"
)

// deploys are the roles that deploy Snapback: StackSets' in members, and in the
// hub those that the CDK's bootstrap makes there, of any qualifier (CDK developer
// guide, "Bootstrap your environment").
func (g guard) deploys() []string {
	cdk := func(role string) string {
		return "arn:*:iam::" + g.hub.Account + ":role/cdk-*-" + role + "-role-" + g.hub.Account + "-" + g.hub.Region
	}
	return []string{cdk("cfn-exec"), cdk("deploy"), stackSets}
}

type conditions = map[string]map[string][]string

// but is a statement that denies, to all but break-glass and some others. It is
// for all resources if it names none.
func (g guard) but(s Statement, others ...string) Statement {
	s.Effect = deny
	if s.Resource == nil {
		s.Resource = []string{"*"}
	}
	if s.Condition == nil {
		s.Condition = conditions{}
	}
	// The key holds the ARN of the role for each of its sessions (IAM user guide,
	// "AWS global condition context keys", aws:PrincipalArn).
	s.Condition["ArnNotLike"] = map[string][]string{"aws:PrincipalArn": slices.Concat(g.breakGlass, others)}
	return s
}

// keepDetection is, for CloudTrail, what AWS's own examples and Control Tower's
// controls deny on its trails; for Config, Control Tower's control on its
// recorders; for GuardDuty and Security Hub, what of AWS's examples turns
// detection off or hides what it finds. What adds to it stays allowed: sample
// findings, a new detector, a new trail. Sources: AWS Organizations user guide,
// "Example SCPs for Amazon GuardDuty" and "Example SCPs for AWS Config"; Control
// Tower controls reference, "Mandatory controls".
func (g guard) keepDetection() Statement {
	return g.but(Statement{
		Sid: "KeepDetection", Action: []string{
			"access-analyzer:DeleteAnalyzer",
			"cloudtrail:DeleteEventDataStore",
			"cloudtrail:DeleteTrail",
			"cloudtrail:PutEventSelectors",
			"cloudtrail:StopEventDataStoreIngestion",
			"cloudtrail:StopLogging",
			"cloudtrail:UpdateEventDataStore",
			"cloudtrail:UpdateTrail",
			"config:DeleteAggregationAuthorization",
			"config:DeleteConfigurationAggregator",
			"config:DeleteConfigurationRecorder",
			"config:DeleteDeliveryChannel",
			"config:DeleteRetentionConfiguration",
			"config:DisassociateResourceTypes",
			"config:PutConfigurationRecorder",
			"config:PutDeliveryChannel",
			"config:PutRetentionConfiguration",
			"config:StopConfigurationRecorder",
			"guardduty:AcceptAdministratorInvitation",
			"guardduty:AcceptInvitation",
			"guardduty:ArchiveFindings",
			"guardduty:CreateFilter",
			"guardduty:CreateIPSet",
			"guardduty:CreateTrustedEntitySet",
			"guardduty:DeleteDetector",
			"guardduty:DeleteMembers",
			"guardduty:DeletePublishingDestination",
			"guardduty:DeleteThreatEntitySet",
			"guardduty:DeleteThreatIntelSet",
			"guardduty:DisableOrganizationAdminAccount",
			"guardduty:DisassociateFromAdministratorAccount",
			"guardduty:DisassociateFromMasterAccount",
			"guardduty:DisassociateMembers",
			"guardduty:StopMonitoringMembers",
			"guardduty:UpdateDetector",
			"guardduty:UpdateFilter",
			"guardduty:UpdateIPSet",
			"guardduty:UpdateMalwareScanSettings",
			"guardduty:UpdateMemberDetectors",
			"guardduty:UpdateOrganizationConfiguration",
			"guardduty:UpdatePublishingDestination",
			"guardduty:UpdateThreatEntitySet",
			"guardduty:UpdateThreatIntelSet",
			"guardduty:UpdateTrustedEntitySet",
			"securityhub:AcceptAdministratorInvitation",
			"securityhub:AcceptInvitation",
			"securityhub:BatchDisableStandards",
			"securityhub:BatchUpdateAutomationRules",
			"securityhub:BatchUpdateStandardsControlAssociations",
			"securityhub:CreateAutomationRule",
			"securityhub:CreateAutomationRuleV2",
			"securityhub:DeleteMembers",
			"securityhub:Disable*",
			"securityhub:DisassociateFromAdministratorAccount",
			"securityhub:DisassociateFromMasterAccount",
			"securityhub:DisassociateMembers",
			"securityhub:UpdateAutomationRuleV2",
			"securityhub:UpdateOrganizationConfiguration",
			"securityhub:UpdateStandardsControl",
		},
		Why: "What Snapback and its operators see stays on, and nothing that it finds is hidden.",
	}, ownRoles, stackSets)
}

// keepMembership: an account that leaves, is closed or turns a Region off is out
// of sight. Source: AWS Organizations user guide, "General examples", and account
// management reference guide, "Enable or disable AWS Regions in your account".
func (g guard) keepMembership() Statement {
	return g.but(Statement{
		Sid:    "KeepMembership",
		Action: []string{"account:CloseAccount", "account:DisableRegion", "account:EnableRegion", "organizations:LeaveOrganization"},
		Why:    "Accounts stay in the organization, in the Regions that it chose for them.",
	})
}

// global is what has no endpoint in each Region, or is asked for in all of them by
// the console. Sources: AWS Organizations user guide, "General examples", Deny
// access to AWS based on the requested AWS Region; Control Tower controls
// reference, "Deny access to AWS based on the requested AWS Region". Of their
// lists, what has an endpoint in each Region is left out (ACM, AWS Config, KMS, AWS
// WAF for other than CloudFront): global services use those of us-east-1, which is
// always governed.
var global = []string{
	"account:*",
	"activate:*",
	"artifact:*",
	"aws-marketplace-management:*",
	"aws-marketplace:*",
	"aws-portal:*",
	"billing:*",
	"billingconductor:*",
	"budgets:*",
	"ce:*",
	"chatbot:*",
	"chime:*",
	"cloudfront:*",
	"cloudtrail:LookupEvents",
	"compute-optimizer:*",
	"consoleapp:*",
	"consolidatedbilling:*",
	"cur:*",
	"devicefarm:*",
	"directconnect:*",
	"ec2:DescribeRegions",
	"ec2:DescribeTransitGateways",
	"ec2:DescribeVpnGateways",
	"ecr-public:*",
	"fms:*",
	"freetier:*",
	"globalaccelerator:*",
	"health:*",
	"iam:*",
	"importexport:*",
	"invoicing:*",
	"iq:*",
	"mobileanalytics:*",
	"networkmanager:*",
	"notifications-contacts:*",
	"notifications:*",
	"organizations:*",
	"payments:*",
	"pricing:*",
	"resource-explorer-2:*",
	"route53-recovery-cluster:*",
	"route53-recovery-control-config:*",
	"route53-recovery-readiness:*",
	"route53:*",
	"route53domains:*",
	"s3:CreateMultiRegionAccessPoint",
	"s3:DeleteMultiRegionAccessPoint",
	"s3:DescribeMultiRegionAccessPointOperation",
	"s3:GetAccountPublicAccessBlock",
	"s3:GetBucketLocation",
	"s3:GetBucketPolicyStatus",
	"s3:GetBucketPublicAccessBlock",
	"s3:GetMultiRegionAccessPoint*",
	"s3:GetStorageLens*",
	"s3:ListAllMyBuckets",
	"s3:ListMultiRegionAccessPoints",
	"s3:ListStorageLensConfigurations",
	"s3:PutAccountPublicAccessBlock",
	"s3:PutMultiRegionAccessPointPolicy",
	"savingsplans:*",
	"shield:*",
	"sso:*",
	"sts:*",
	"support:*",
	"supportapp:*",
	"supportplans:*",
	"sustainability:*",
	"tag:GetResources",
	"tax:*",
	"trustedadvisor:*",
	"waf:*",
	"wellarchitected:*",
}

// governedRegions excuses StackSets: a Region that is no longer governed is
// cleared by them after this statement has come to deny it.
func (g guard) governedRegions(regions []string) Statement {
	return g.but(Statement{
		Sid: "GovernedRegions", NotAction: global,
		Condition: conditions{"StringNotEquals": {"aws:RequestedRegion": sorted(regions)}},
		Why:       "Nothing happens where nobody looks.",
	}, stackSets)
}

// ownResources are those that no role of Snapback's may touch either, and what
// has no place in members: the dashboard and the alias of the topic's key. What
// Snapback lives on stays allowed to all who have the right to it: its functions
// and operators write to the ledger, rules and replays to the bus.
func (g guard) ownResources() Statement {
	own := protect()
	return g.but(Statement{
		Sid: "OwnResources",
		NotAction: sorted(append(own.NotAction,
			"cloudformation:Detect*",
			"dynamodb:BatchGetItem", "dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem",
			"dynamodb:Query", "dynamodb:Scan", "dynamodb:UpdateItem",
			"events:CancelReplay", "events:PutEvents", "events:StartReplay",
			"iam:Generate*", "iam:Simulate*",
			"lambda:InvokeFunction",
			"logs:CreateLogStream", "logs:FilterLogEvents", "logs:Get*", "logs:PutLogEvents", "logs:StartLiveTail", "logs:StartQuery",
			"sns:Publish",
			"sqs:CancelMessageMoveTask", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage",
			"sqs:SendMessage", "sqs:StartMessageMoveTask",
			"sts:*", // see ownRoles
		)),
		Resource: append(anyPartition(own.Resource), "arn:*:cloudwatch::*:dashboard/"+Prefix+"*", "arn:*:kms:*:*:alias/"+Prefix+"-*"),
		Why:      "Nobody changes, removes or imitates what is Snapback's, gives its roles to something else, or edits their policies.",
	}, g.deploys()...)
}

func anyPartition(arns []string) []string {
	out := make([]string, len(arns))
	for i, arn := range arns {
		out[i] = strings.Replace(arn, "${Partition}", "*", 1)
	}
	return out
}

// ownRoles is what their trust policies say already.
func (g guard) ownRoles() Statement {
	return g.but(Statement{
		Sid: "OwnRoles", Action: []string{assume}, Resource: []string{ownRoles},
		Why: "The hub's functions alone assume Snapback's roles.",
	}, "arn:*:iam::"+g.hub.Account+":role/"+FunctionRole("*"))
}

// ownEventSources is apart, because what brings a queue's messages to a function
// has no name: its key is the function (Lambda developer guide, "Fine-tuning the
// Resources and Conditions sections of policies").
func (g guard) ownEventSources() Statement {
	return g.but(Statement{
		Sid:       "OwnEventSources",
		Action:    []string{"lambda:CreateEventSourceMapping", "lambda:DeleteEventSourceMapping", "lambda:UpdateEventSourceMapping"},
		Condition: conditions{"ArnLike": {"lambda:FunctionArn": {"arn:*:lambda:*:*:function:" + Function("*")}}},
		Why:       "The functions go on taking their queues' events, and no others.",
	}, g.deploys()...)
}

// ownKey goes by the key's alias, since a key has no name either (KMS developer
// guide, "Use aliases to control access to KMS keys").
func (g guard) ownKey() Statement {
	return g.but(Statement{
		Sid:       "OwnKey",
		Action:    []string{"kms:DisableKey", "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion"},
		Condition: conditions{"ForAnyValue:StringLike": {"kms:ResourceAliases": {"alias/" + Prefix + "-*"}}},
		Why:       "Alerts stay readable, and can be sent.",
	}, g.deploys()...)
}

// excused keeps those whom the statements excuse from being made, changed or
// passed on by anybody else: who could make a role by such a name would be
// excused himself.
func (g guard) excused() Statement {
	return g.principals("ExcusedPrincipals", slices.Concat(g.breakGlass, g.deploys()),
		"Nobody makes himself one of those whom the guardrails excuse.", g.deploys()...)
}

// principals is a statement that leaves some users and roles to break-glass and
// some others. To read about them, and to become them as far as they allow it,
// stays allowed. Root is no resource of IAM.
func (g guard) principals(sid string, arns []string, why string, others ...string) Statement {
	return g.but(Statement{
		Sid: sid, NotAction: []string{"iam:Generate*", "iam:Get*", "iam:List*", "iam:Simulate*", "sts:*"},
		Resource: slices.DeleteFunc(slices.Clone(arns), func(arn string) bool { return strings.HasSuffix(arn, ":root") }),
		Why:      why,
	}, others...)
}

// tagKeys is the condition key of the keys of tags in a request, set or removed.
const tagKeys = "aws:TagKeys"

// tags are the statements on tags: those of Snapback's own, and those by which the
// baseline's overrides are chosen. A security group's rule that Snapback puts back
// has the tags that it had, so its roles may set them all.
func (g guard) tags(overriding []string) []Statement {
	statements := []Statement{
		g.but(Statement{
			Sid: "OwnTags", Action: []string{"*"},
			Condition: conditions{"ForAnyValue:StringLike": {tagKeys: {Prefix + ":*"}}},
			Why:       "What Snapback marked as its own or as evidence was marked by nobody else.",
		}, ownRoles),
		g.but(Statement{
			Sid: "TagsByName", Action: []string{"ec2:DeleteTags"},
			// Without any key it removes all tags (EC2 API reference, DeleteTags).
			Condition: conditions{"Null": {tagKeys: {"true"}}},
			Why:       "A call that removes all tags names none, so none could be kept.",
		}),
		g.but(Statement{
			Sid: "Evidence", Action: []string{"ec2:DeleteSnapshot"},
			Condition: conditions{"StringEquals": {"aws:ResourceTag/" + Prefix + ":evidence": {"held"}}},
			Why:       "Snapshots that are held as evidence stay.",
		}),
		g.but(Statement{
			Sid: "Quarantine",
			Action: []string{
				"ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteSecurityGroup", "ec2:ModifySecurityGroupRules",
			},
			Condition: conditions{"StringEquals": {"aws:ResourceTag/" + Prefix + ":managed": {"true"}}},
			Why:       "The groups that isolate an instance stay closed.",
		}, ownRoles),
	}
	if len(overriding) == 0 {
		return statements
	}
	statements = append(statements, g.but(Statement{
		Sid: "OverrideTags", Action: []string{"*"},
		Condition: conditions{"ForAnyValue:StringEquals": {tagKeys: overriding}},
		Why:       "Whoever may tag could else put a resource under another mode of the baseline.",
	}, append([]string{ownRoles}, g.administrators...)...))
	if len(g.administrators) == 0 {
		return statements
	}
	return append(statements, g.principals("Administrators", g.administrators,
		"Nobody makes himself one of those who may set these tags.", append([]string{stackSets}, g.administrators...)...))
}

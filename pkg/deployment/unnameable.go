package deployment

// Exception is an action that is granted on all resources, and why.
type Exception struct{ Action, Why string }

// Unnameable are all actions that any role of Snapback is granted on all
// resources, because IAM knows none to name for them. Source: Service
// Authorization Reference, the table of actions of each service.
func Unnameable() []Exception {
	const (
		lists   = "It lists what there is in the account and Region."
		setting = "There is one such setting in an account."
	)
	return []Exception{
		{"autoscaling:DescribeAutoScalingGroups", lists},
		{"autoscaling:DescribeAutoScalingInstances", lists},
		{"cloudtrail:DescribeTrails", lists},
		{"ec2:DescribeAddresses", lists},
		{"ec2:DescribeInstances", lists},
		{"ec2:DescribeNetworkInterfaces", lists},
		{"ec2:DescribeRouteTables", lists},
		{"ec2:DescribeSecurityGroupRules", lists},
		{"ec2:DescribeSecurityGroups", lists},
		{"ec2:DescribeSnapshots", lists},
		{"elasticloadbalancing:DescribeLoadBalancers", lists},
		{"elasticloadbalancing:DescribeTargetGroups", lists},
		{"elasticloadbalancing:DescribeTargetHealth", lists},
		{"events:ListRules", lists},
		{"guardduty:CreateSampleFindings", "It makes findings that GuardDuty marks as samples, and nothing else."},
		{"guardduty:ListDetectors", lists},
		{"iam:GetAccountAuthorizationDetails", "It reads the account's users, groups, roles and policies at once."},
		{"organizations:ListAccounts", "It lists the accounts of the organization."},
		{"s3:GetAccountPublicAccessBlock", setting},
		{"s3:PutAccountPublicAccessBlock", setting},
		{"tag:GetResources", "It finds resources of any kind, with their tags."},
	}
}

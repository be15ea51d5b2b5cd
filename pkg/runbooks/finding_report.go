package runbooks

import (
	"regexp"
	"slices"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

// findingReport tells of what no other runbook answers, so that every finding
// has an answer.
func findingReport() control.Runbook {
	return control.Runbook{
		ID:    "finding-report",
		Title: "Tells of a finding and why nothing more is done",
		Rationale: "GuardDuty finds more than can be contained from the outside without harm. Whatever it finds reaches the " +
			"operators all the same, in one place and in one form, with the reason why it is left to them.",
		Resource: control.Resource{
			Type: control.TypeFinding,
			// The detector is no part of it: an administrator's copy of a finding and the
			// member's own are one, whatever detector each names.
			ARN: func(t control.Target) string {
				return "arn:" + cloud.Partition(t.Region) + ":guardduty:" + t.Region + ":" + t.Account + ":detector/*/finding/" + t.ID
			},
			IDs:      regexp.MustCompile(`^[A-Za-z0-9_-]{1,300}$`),
			Sample:   "0123456789abcdef0123456789abcdef",
			Untagged: true,
		},
		Findings: []string{"*"},
		When:     "no other runbook answers the finding",
		Targets:  func(f *event.Finding) []control.Target { return []control.Target{{ID: f.ID}} },
		Reason:   reason,
	}
}

// reasons say why nothing more is done about findings than to tell of them; the
// first row that is for a finding's type counts. A row is for types by globs, or
// for all types of a status.
var reasons = []struct {
	status   Status
	findings []string
	why      string
}{
	{
		status: Retired,
		why:    "AWS has retired this type: GuardDuty makes no new findings of it.",
	},
	{
		status: OptIn,
		why: "A custom detection rule matched a call: it says what somebody did, not that a resource is compromised. " +
			"Ask who made the call; the control for what was changed, where there is one, answers the change itself.",
	},
	{
		findings: []string{"AttackSequence:EKS/*", "AttackSequence:ECS/*", "*:Kubernetes/*", "Execution:ECS/*", "Execution:Container/*"},
		why: "Snapback does not reach into clusters and containers, and isolating the instance below would stop all else that runs on it. " +
			"Contain the workload from within: network policy, access entries, the task or the pod.",
	},
	{
		findings: []string{"AttackSequence:IAM/*", "AttackSequence:S3/*"},
		why: "The attack goes on with somebody's credentials, and Snapback does not cut off users and roles yet. " +
			"Deactivate the access keys and revoke the sessions of the roles that the sequence names.",
	},
	{
		findings: []string{
			"UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration.*", "UnauthorizedAccess:IAMUser/ResourceCredentialExfiltration.*",
		},
		why: "The credentials have left the resource and work wherever they are, so isolating it would not stop their use; " +
			"Snapback does not cut off roles yet. Revoke the sessions of the role.",
	},
	{
		findings: []string{"Policy:IAMUser/RootCredentialUsage", "Policy:IAMUser/ShortTermRootCredentialUsage"},
		why: "Nobody but the management account can take root's credentials away, and a use of them is no proof of an attack. " +
			"Ask whose it was.",
	},
	{
		findings: []string{
			"Stealth:IAMUser/*", "Stealth:S3/*", "DefenseEvasion:IAMUser/BedrockLoggingDisabled",
		},
		why: "A logging or a policy was weakened, for which Snapback has no control yet. Restore it, and ask who changed it.",
	},
	{
		findings: []string{"Impact:IAMUser/AnomalousModelInvocation", "Impact:IAMUser/CostHarvesting", "Impact:IAMUser/PromptInjection.Direct"},
		why:      "Snapback has no say in the use of AI models. Check who invokes them, and with which quotas and guardrails.",
	},
	{
		findings: []string{"*:IAMUser/*"},
		why: "Snapback does not cut off the credentials of users and roles yet. " +
			"If the activity is not expected, deactivate the access key or revoke the sessions of the role.",
	},
	{
		findings: []string{"Policy:S3/*"},
		why: "The controls s3-bucket-public-access and s3-account-public-access answer the change itself, as soon as CloudTrail or " +
			"AWS Config tells of it.",
	},
	{
		findings: []string{"Object:S3/*", "Execution:S3/*", "Execution:EC2/MaliciousFile!*"},
		why:      "The malware lies in an object or a backup, where it does nothing by itself. Keep it from being downloaded or restored.",
	},
	{
		findings: []string{"*:S3/*"},
		why: "Closing the bucket would cut off those who need it, and Snapback does not cut off the credentials that were used yet. " +
			"Deactivate the access key or revoke the sessions of the role that the finding names.",
	},
	{
		findings: []string{"*:Lambda/*"},
		why: "Snapback has no runbook for functions yet. Set the function's reserved concurrency to 0 to stop it, and revoke the " +
			"sessions of its role.",
	},
	{
		findings: []string{"*:RDS/*"},
		why: "Whoever signs in to a database is known to the database alone. Change the user's password, and close what lets the " +
			"address in: the control ec2-security-group-open-ingress finds what is open to the whole internet.",
	},
	{
		findings: []string{"Behavior:EC2/*", "DefenseEvasion:EC2/*", "Impact:EC2/AbusedDomainRequest.Reputation", "Impact:EC2/SuspiciousDomainRequest.Reputation"},
		why:      "The activity is unusual for the instance, or its company is bad, which is no proof that it is compromised. Look at what it runs.",
	},
	{
		findings: []string{
			"DefenseEvasion:Runtime/PtraceAntiDebugging", "Discovery:Runtime/SuspiciousCommand", "Execution:Runtime/SuspiciousShellCreated",
			"Impact:Runtime/AbusedDomainRequest.Reputation", "Impact:Runtime/SuspiciousDomainRequest.Reputation",
		},
		why: "What ran is suspicious, and administrators do the like: it is no proof that the instance is compromised. Look at the process and its user.",
	},
	{
		findings: []string{"Execution:EC2/SuspiciousFile"},
		why:      "A file on a volume is suspicious, which is no proof that it is malware or was ever run. Look at the file.",
	},
}

// otherwise says which findings of a type that a runbook answers are told alone.
func otherwise(findingType string) string {
	switch {
	case findingType == instanceGroup:
		return "A finding of this type that names no instance is told alone."
	case slices.Contains(eitherSide, findingType):
		return "A finding of this type that is about a cluster or a container, that names no instance, or whose role is neither of the two, is told alone."
	}
	return "A finding of this type that is about a cluster or a container, or that names no instance, is told alone."
}

// reason says why nothing more is done about a finding.
func reason(f *event.Finding) string {
	if statuses()[f.Type] == "" {
		return "Snapback does not know this type yet: somebody has to read what it means before anything is cut off for it."
	}
	if i := reasonRow(f.Type); i >= 0 {
		return reasons[i].why
	}
	return unmet(f)
}

// reasonRow is the row that is for a type; -1 if a runbook answers it.
func reasonRow(findingType string) int {
	status := statuses()[findingType]
	for i, row := range reasons {
		if row.status == status || matches(row.findings, findingType) {
			return i
		}
	}
	return -1
}

// matches reports whether one of some globs matches a finding type.
func matches(globs []string, findingType string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool { return control.MatchGlob(glob, findingType) })
}

// unmet says what keeps a finding from the runbook for its type.
func unmet(f *event.Finding) string {
	switch {
	case f.Type == instanceGroup:
		return "The attack sequence names no instance by its ID that it calls compromised."
	case f.ResourceType != "Instance":
		return "The finding is about " + f.Resource() + ", and not about an instance by itself: Snapback does not reach into clusters and " +
			"containers, and isolating the instance below would stop all else that runs on it."
	case slices.Contains(eitherSide, f.Type) && f.Role == "":
		return "The finding does not say whether the instance attacks or is attacked: the one would be isolated, the other must not be."
	}
	return "The finding names no instance by its ID."
}

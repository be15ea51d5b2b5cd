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
		findings: []string{"Policy:IAMUser/RootCredentialUsage", "Policy:IAMUser/ShortTermRootCredentialUsage"},
		why: "Nobody but the management account can take root's credentials away, and a use of them is no proof of an attack. " +
			"Ask whose it was.",
	},
	{
		findings: []string{
			"Stealth:IAMUser/*", "Stealth:S3/*", "DefenseEvasion:IAMUser/*",
		},
		why: "A logging or a policy was weakened, for which Snapback has no control yet. Restore it, and ask who changed it.",
	},
	{
		findings: []string{"Impact:IAMUser/AnomalousModelInvocation", "Impact:IAMUser/PromptInjection.Direct"},
		why:      "Snapback has no say in the use of AI models. Check who invokes them, and with which quotas and guardrails.",
	},
	{
		findings: []string{"Discovery:IAMUser/AnomalousBehavior", "Discovery:S3/AnomalousBehavior"},
		why: "Somebody looked around who usually does not, as people and new programs do: it is no proof that his credentials are misused. " +
			"Look at what he did next.",
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
		findings: []string{"Impact:S3/AnomalousBehavior.Permission"},
		why: "The permissions of a bucket or of its objects were changed in an unusual way. What opens a bucket to the world is answered by " +
			"the control s3-bucket-public-access; ask who changed the rest.",
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
	case ofCredentials(findingType):
		return "A finding of this type that names other credentials, such as root's, a federated user's or those of another account, or none, is told alone."
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
	case ofCredentials(f.Type):
		return unmetCredentials(f)
	case f.ResourceType != "Instance":
		return "The finding is about " + f.Resource() + ", and not about an instance by itself: Snapback does not reach into clusters and " +
			"containers, and isolating the instance below would stop all else that runs on it."
	case slices.Contains(eitherSide, f.Type) && f.Role == "":
		return "The finding does not say whether the instance attacks or is attacked: the one would be isolated, the other must not be."
	}
	return "The finding names no instance by its ID."
}

// others say what to do about credentials that no runbook answers for, by their
// types. Sources: IAM user guide, "Root user best practices" and "Centrally manage
// root access"; CloudTrail user guide, "userIdentity element".
var others = map[string]string{
	"Root": "The credentials are root's, whom no policy of the account binds. Change root's password and MFA device and delete its access keys " +
		"at once, or have the management account delete them (central root access). Then look for what root made and opened.",
	"FederatedUser": "The credentials are a federated user's, and the finding does not say which IAM user opened the session. CloudTrail does, as " +
		"sessionIssuer of the calls that were made with the key: deny that user everything, and make his access keys inactive.",
	"AWSAccount": "The credentials are another account's, or there were none. Ask the other account to contain its principal, and look at what of " +
		"this account lets it in.",
	"AWSService": "An AWS service made the calls. Look at who set it to work.",
}

// unmetCredentials says why nothing is done about the credentials of a finding.
func unmetCredentials(f *event.Finding) string {
	for _, c := range f.Credentials() {
		if why := others[c.Type]; why != "" {
			return why
		}
	}
	return "The finding names no credentials that can be cut off: neither a user by his unique ID nor a role's session."
}

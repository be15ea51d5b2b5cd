package runbooks

import (
	"slices"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/remedies/credentials"
	"github.com/snapback-aws/snapback/pkg/remedies/evidence"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
	"github.com/snapback-aws/snapback/pkg/remedies/isolate"
	"github.com/snapback-aws/snapback/pkg/remedies/preserve"
	"github.com/snapback-aws/snapback/pkg/remedies/withdraw"
)

// quarantine is what the baseline can say about ec2-quarantine.
type quarantine struct {
	// UntrackConnections ends connections that are open already, at the price of a
	// moment in which the instance's interfaces are open to everywhere.
	UntrackConnections bool `yaml:"untrack-connections"`
}

const quarantineID = "ec2-quarantine"

func ec2Quarantine() control.Runbook {
	params := &quarantine{UntrackConnections: true}
	keep, withdrawal := preserve.Remedy(), withdraw.Remedy()
	isolation, cut := isolate.Remedy(&params.UntrackConnections), credentials.Remedy()
	return control.Runbook{
		ID:    quarantineID,
		Title: "Cuts a compromised EC2 instance off and keeps it as evidence",
		Rationale: "Whoever runs an instance that mines, scans or calls home can spread from it, and use its role, for as long " +
			"as it has a network and credentials. Stopped or terminated, it would take the evidence with it.",
		Hazard: "Whatever the instance serves stops, unless other instances serve it too; its Auto Scaling group starts a " +
			"replacement. While the connections that are open already are being cut, the instance is open to everywhere for a moment " +
			"(untrack-connections). It runs on, and so do its costs and those of its snapshots.",
		Resource: instance.Resource(),
		Findings: slices.Concat([]string{instanceGroup}, compromised, eitherSide),
		When: "the finding's resource is an instance, not a cluster or container on one; where the type knows attackers and " +
			"victims, the role is ACTOR; of an attack sequence, each instance that it calls compromised",
		Targets: compromisedInstances,
		Steps: []control.Step{
			{Remedy: keep},
			// Auto Scaling terminates what it takes out of service, if it may.
			{Remedy: withdrawal, After: []string{keep.Name}},
			{Remedy: isolation, Urgent: true},
			{Remedy: cut},
			// Seconds count for containment, not for evidence.
			{Remedy: evidence.Remedy(), After: []string{isolation.Name, cut.Name}},
		},
		Params: params,
	}
}

// instanceGroup is the attack sequence that names several compromised instances.
const instanceGroup = "AttackSequence:EC2/CompromisedInstanceGroup"

// compromisedInstances are the instances that a finding of these types says are
// at somebody's command.
func compromisedInstances(f *event.Finding) []control.Target {
	if f.Type == instanceGroup {
		return targets(slices.DeleteFunc(f.Instances(), func(in event.Instance) bool { return in.Node }))
	}
	if slices.Contains(eitherSide, f.Type) && f.Role != event.RoleActor {
		return nil
	}
	return targets(resourceInstance(f))
}

// resourceInstance is the instance that is the finding's resource. Findings about
// clusters and containers name the instance below them in the same place.
func resourceInstance(f *event.Finding) []event.Instance {
	if f.ResourceType != "Instance" {
		return nil
	}
	id := f.Get("resource.instanceDetails.instanceId").String()
	return slices.DeleteFunc(f.Instances(), func(in event.Instance) bool { return in.ID != id })
}

func targets(instances []event.Instance) []control.Target {
	var all []control.Target
	for _, in := range instances {
		all = append(all, control.Target{Account: in.Account, Region: in.Region, ID: in.ID})
	}
	return all
}

// eitherSide are the types of which an instance may be attacker or victim: the
// finding's role tells. Source: GuardDuty user guide, "GuardDuty EC2 finding
// types", which gives brute force another severity by the role; that page does
// not say who calls whom of addresses on a custom threat list.
var eitherSide = []string{
	"Impact:EC2/WinRMBruteForce",
	"UnauthorizedAccess:EC2/MaliciousIPCaller.Custom",
	"UnauthorizedAccess:EC2/RDPBruteForce",
	"UnauthorizedAccess:EC2/SSHBruteForce",
}

// compromised are the types that say by themselves that an instance is at
// somebody's command, whatever their role: DNS findings have TARGET for an
// instance that is itself at work, Runtime Monitoring has none. Each is one of
// GuardDuty's finding types that calls for isolation, of any severity: how far
// Snapback goes at which severity is up to the baseline.
var compromised = []string{
	"Backdoor:EC2/C&CActivity.B",
	"Backdoor:EC2/C&CActivity.B!DNS",
	"Backdoor:EC2/DenialOfService.Dns",
	"Backdoor:EC2/DenialOfService.Tcp",
	"Backdoor:EC2/DenialOfService.Udp",
	"Backdoor:EC2/DenialOfService.UdpOnTcpPorts",
	"Backdoor:EC2/DenialOfService.UnusualProtocol",
	"Backdoor:EC2/Spambot",
	"Backdoor:Runtime/C&CActivity.B",
	"Backdoor:Runtime/C&CActivity.B!DNS",
	"CryptoCurrency:EC2/BitcoinTool.B",
	"CryptoCurrency:EC2/BitcoinTool.B!DNS",
	"CryptoCurrency:Runtime/BitcoinTool.B",
	"CryptoCurrency:Runtime/BitcoinTool.B!DNS",
	"DefenseEvasion:Runtime/FilelessExecution",
	"DefenseEvasion:Runtime/KernelModuleLoaded",
	"DefenseEvasion:Runtime/ProcessInjection.Proc",
	"DefenseEvasion:Runtime/ProcessInjection.Ptrace",
	"DefenseEvasion:Runtime/ProcessInjection.VirtualMemoryWrite",
	"DefenseEvasion:Runtime/SensitiveFileModified",
	"DefenseEvasion:Runtime/SuspiciousCommand",
	"Execution:EC2/MaliciousFile",
	"Execution:Runtime/MaliciousFileExecuted",
	"Execution:Runtime/MaliciousFileExecuted.Custom",
	"Execution:Runtime/NewBinaryExecuted",
	"Execution:Runtime/NewLibraryLoaded",
	"Execution:Runtime/ReverseShell",
	"Execution:Runtime/SuspiciousCommand",
	"Execution:Runtime/SuspiciousTool",
	"Impact:EC2/BitcoinDomainRequest.Reputation",
	"Impact:EC2/MaliciousDomainRequest.Custom",
	"Impact:EC2/MaliciousDomainRequest.Reputation",
	"Impact:EC2/PortSweep",
	"Impact:Runtime/BitcoinDomainRequest.Reputation",
	"Impact:Runtime/CryptoMinerExecuted",
	"Impact:Runtime/MaliciousDomainRequest.Reputation",
	"Persistence:Runtime/SensitiveFileModified",
	"Persistence:Runtime/SuspiciousCommand",
	"PrivilegeEscalation:Runtime/CGroupsReleaseAgentModified",
	"PrivilegeEscalation:Runtime/ContainerMountsHostDirectory",
	"PrivilegeEscalation:Runtime/DockerSocketAccessed",
	"PrivilegeEscalation:Runtime/ElevationToRoot",
	"PrivilegeEscalation:Runtime/RuncContainerEscape",
	"PrivilegeEscalation:Runtime/SensitiveFileModified",
	"PrivilegeEscalation:Runtime/SuspiciousCommand",
	"PrivilegeEscalation:Runtime/UserfaultfdUsage",
	"Recon:EC2/Portscan",
	"Trojan:EC2/BlackholeTraffic",
	"Trojan:EC2/BlackholeTraffic!DNS",
	"Trojan:EC2/DGADomainRequest.B",
	"Trojan:EC2/DGADomainRequest.C!DNS",
	"Trojan:EC2/DNSDataExfiltration",
	"Trojan:EC2/DriveBySourceTraffic!DNS",
	"Trojan:EC2/DropPoint",
	"Trojan:EC2/DropPoint!DNS",
	"Trojan:EC2/PhishingDomainRequest!DNS",
	"Trojan:Runtime/BlackholeTraffic",
	"Trojan:Runtime/BlackholeTraffic!DNS",
	"Trojan:Runtime/DGADomainRequest.C!DNS",
	"Trojan:Runtime/DriveBySourceTraffic!DNS",
	"Trojan:Runtime/DropPoint",
	"Trojan:Runtime/DropPoint!DNS",
	"Trojan:Runtime/PhishingDomainRequest!DNS",
	"UnauthorizedAccess:EC2/MetadataDNSRebind",
	"UnauthorizedAccess:EC2/TorClient",
	"UnauthorizedAccess:EC2/TorRelay",
	"UnauthorizedAccess:Runtime/MetadataDNSRebind",
	"UnauthorizedAccess:Runtime/TorClient",
	"UnauthorizedAccess:Runtime/TorRelay",
}

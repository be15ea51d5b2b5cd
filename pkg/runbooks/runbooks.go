// Package runbooks holds the answers to GuardDuty findings: one file each,
// listed here by hand, and the table of all finding types that says which answer
// each gets.
//
// Findings are matched by their exact types, not by patterns such as
// CryptoCurrency:EC2/*: a type that AWS adds tomorrow is told to the operators,
// and nothing is cut off for it, until somebody has read what it means.
package runbooks

import (
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/network"
)

// Domain returns the response domain, whose runbooks answer GuardDuty findings.
// Every call builds its own values, so that parameters decoded into one are not
// seen by another.
func Domain() control.Domain {
	ingress := network.OpenIngress()
	return control.Domain{
		Name: "response",
		Runbooks: []control.Runbook{
			ec2Quarantine(),
			ec2Attacked(),
			ec2AttackedIngress(ingress),
			iamDeactivateKey(),
			iamContainUser(),
			iamContainSession(),
			findingReport(),
		},
		Uses: []control.Control{ingress},
	}
}

// All returns the runbooks, in the order of the docs.
func All() []control.Runbook { return Domain().Runbooks }

// Package network holds the controls of the network domain: one file each,
// listed here by hand.
package network

import "github.com/snapback-aws/snapback/pkg/control"

// Domain returns the network domain. Every call builds its own values, so that
// parameters decoded into one are not seen by another.
func Domain() control.Domain {
	return control.Domain{
		Name: "network",
		Controls: []control.Control{
			OpenIngress(),
			ec2DefaultSecurityGroupClosed(),
		},
	}
}

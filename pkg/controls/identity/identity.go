// Package identity holds the rules on who may do what: no policy that allows
// everything, and nobody who raises his own rights.
package identity

import "github.com/snapback-aws/snapback/pkg/control"

// Domain returns the identity domain.
func Domain() control.Domain {
	identities := &control.Identities{}
	j := &judge{identities: identities}
	return control.Domain{
		Name:       "identity",
		Controls:   []control.Control{adminPolicy(identities)},
		Runbooks:   []control.Runbook{privilegeEscalation(j), escalationCompute(j), escalationPassword(j)},
		Identities: identities,
	}
}

package runbooks

import (
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

// ec2AttackedIngress closes what the network domain's control would close, in
// the groups of the instance that is attacked and with the mode of runbooks: the
// control may only observe until somebody knocks.
func ec2AttackedIngress(ingress control.Control) control.Runbook {
	return control.Runbook{
		ID:    "ec2-attacked-ingress",
		Title: "Closes the security group rules through which an EC2 instance is attacked",
		Rationale: "Somebody guesses passwords or looks for open ports on the instance: what lets the whole internet in on such " +
			"ports can go. The instance itself is the victim and is left alone. What is open, and to which ports, is judged by the " +
			"control " + ingress.ID + ", with its parameters.",
		Hazard:   ingress.Hazard,
		Resource: ingress.Resource,
		Findings: attackedTypes,
		When:     whenAttacked,
		Targets: func(f *event.Finding) []control.Target {
			if len(attackedInstance(f)) == 0 {
				return nil
			}
			var groups []control.Target
			for _, id := range f.Groups() {
				groups = append(groups, control.Target{ID: id})
			}
			return groups
		},
		Steps: []control.Step{{Remedy: ingress.Remedy}},
	}
}

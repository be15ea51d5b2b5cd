package baseline

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/snapback-aws/snapback/pkg/event"
)

// The bounds of a queue's concurrency. Source: Lambda API reference,
// ScalingConfig.
const (
	leastConcurrency = 2
	mostConcurrency  = 1000
)

// deployment reads how Snapback itself is deployed.
func (p *parser) deployment(key, n *yaml.Node, d *Deployment) {
	d.Line = key.Line
	p.mapping(n, "deployment", []field{
		{"subscribers", "", func(k, v *yaml.Node) { d.Subscribers = p.texts(v, k.Value, p.address) }},
		{"concurrency", "", p.whole(&d.Concurrency, leastConcurrency, mostConcurrency,
			fmt.Sprintf("from %d to %d, which is what Lambda takes", leastConcurrency, mostConcurrency))},
		{"guardrails", "", func(k, v *yaml.Node) { d.Guardrails = p.guardrails(k, v) }},
	})
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		p.errorf(n, "deployment is empty: give it subscribers, concurrency or guardrails, or remove it")
	}
}

func (p *parser) guardrails(key, n *yaml.Node) *Guardrails {
	g := &Guardrails{Line: key.Line}
	p.mapping(n, "guardrails", []field{
		{"targets", "list what they are attached to, as in targets: [r-ab12]", func(k, v *yaml.Node) {
			g.Targets = p.texts(v, k.Value, p.target)
		}},
		{"break-glass", `list who may still do what they forbid, as in break-glass: ["arn:aws:iam::*:role/break-glass"]`, func(k, v *yaml.Node) {
			g.BreakGlass = p.texts(v, k.Value, func(item *yaml.Node, name string) (string, bool) {
				s := p.arn(item, name, breakGlassFault)
				if s != "" {
					p.last = append(p.last, func(b *Baseline) { p.locked(item, s, b.Organization.Hub) })
				}
				return s, s != ""
			})
		}},
	})
	return g
}

// address reads an e-mail address. Whether there is one such, SNS finds out: it
// asks for a confirmation.
func (p *parser) address(n *yaml.Node, name string) (string, bool) {
	s := p.shaped(n, name, isAddress, "an e-mail address", "one such as security@example.com")
	return s, s != ""
}

func isAddress(s string) bool {
	local, domain, _ := strings.Cut(s, "@")
	return local != "" && domain != "" && !strings.ContainsAny(domain, "@") && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' })
}

// root reads the ID of an organization's root.
func (p *parser) root(n *yaml.Node, name string) string {
	return p.shaped(n, name, isRoot, "the ID of a root", `"r-" and 4 to 32 lower-case letters or digits`)
}

// target reads what a service control policy can be attached to.
func (p *parser) target(n *yaml.Node, name string) (string, bool) {
	if n.Kind == yaml.ScalarNode && n.Tag != textTag {
		return p.account(n, name)
	}
	s := p.shaped(n, name, isTarget, "what a service control policy can be attached to",
		`the ID of the root, such as r-ab12, of a unit, such as ou-ab12-11111111, or an account number in quotes`)
	return s, s != ""
}

func isTarget(s string) bool { return isRoot(s) || isOrganizationalUnit(s) || event.IsAccount(s) }

// isRoot checks the shape that the API reference of AWS Organizations gives for
// the ID of a root.
func isRoot(s string) bool {
	id, ok := strings.CutPrefix(s, "r-")
	return ok && sized(id, 4, 32) && all(id, isLowerDigit)
}

// breakGlassFault says what is wrong with a principal whom guardrails are not to
// bind, besides.
func breakGlassFault(f []string) string {
	if why := principalFault(f); why != "" {
		return why
	}
	kind, name, _ := strings.Cut(f[arnResource], "/")
	switch {
	case kind == "group":
		return "want a role, a user or root: no call is made by a group, so name its users"
	case kind != "root" && strings.Trim(name, "*?/") == "":
		return "the guardrails would bind no " + kind + " at all: name at least a part of it"
	}
	return ""
}

// locked reports a principal of another partition than the hub's: the guardrails
// would bind him too, and nobody would be left to break the glass.
func (p *parser) locked(n *yaml.Node, arn string, hub Hub) {
	is := strings.SplitN(arn, ":", arnFields)[arnPartition]
	if want := partition(hub.Region); hub.Region != "" && is != want {
		p.errorf(n, "%s is in the partition %s and the hub in %s: write %s, or the guardrails bind him too", quote(arn), is, want, want)
	}
}

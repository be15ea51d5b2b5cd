package main

import (
	_ "embed"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/deployment"
)

//go:embed permissions.md.tmpl
var permissionsTemplate string

// permissions is the page on what each role may do.
func permissions(domains []control.Domain) ([]byte, error) {
	const file = "baseline.yaml"
	data, err := os.ReadFile(filepath.Join(local.Root(), file))
	if err != nil {
		return nil, err
	}
	// As functions read it, so that the page is the same whatever day it is.
	shipped, problems := baseline.ParseDeployed(file, data, control.Domain{})
	if shipped == nil {
		return nil, problems
	}
	enforced := *shipped
	enforced.Mode, enforced.Controls = baseline.Enforce, nil
	enforced.Runbooks = []baseline.Setting{{Name: "*", Mode: baseline.Enforce}}
	return execute(permissionsTemplate, pageOn(domains, shipped, &enforced))
}

// permissionsOn is what the page on permissions shows.
type permissionsOn struct {
	Prefix, Health, ForwardRole, Scheduler string
	First                                  string // the name of the first domain
	Domains                                []domainRole
	Trust, ForwardTrust                    []trusted
	Protect                                deployment.Statement
	Function, HealthFunction, HealthMember []deployment.Statement
	Forward                                []deployment.Statement
	Exceptions                             []exception
}

func pageOn(domains []control.Domain, shipped, enforced *baseline.Baseline) permissionsOn {
	p := permissionsOn{
		Prefix: deployment.Prefix, Health: deployment.Health, ForwardRole: deployment.ForwardRole("REGION"), Scheduler: deployment.Scheduler, First: domains[0].Name,
		Trust:          trust(deployment.Trust(deployment.FunctionRole(domains[0].Name), shipped)),
		ForwardTrust:   trust(deployment.ForwardTrust()),
		Function:       statements(deployment.FunctionPolicies(control.Domain{Name: "DOMAIN"}, shipped)),
		HealthFunction: statements(deployment.HealthFunctionPolicies(shipped)),
		HealthMember:   statements(deployment.HealthPolicies()),
		Forward:        deployment.ForwardPolicy(shipped).Statement,
		Exceptions:     exceptions(domains, enforced),
	}
	for _, d := range deployment.On(domains, enforced) {
		p.Domains = append(p.Domains, roleOf(d, shipped, enforced))
		policies := statements(deployment.MemberPolicies(d, shipped))
		p.Protect = policies[len(policies)-1] // the same for all
	}
	return p
}

func statements(policies []deployment.Policy) []deployment.Statement {
	var all []deployment.Statement
	for _, p := range policies {
		all = append(all, p.Document.Statement...)
	}
	return all
}

// domainRole is a domain's role in members.
type domainRole struct {
	Name, AsShipped, Summary string
	Grants                   []granted
}

// granted is a permission of a domain's role, as a table shows it: what needs it
// as shipped, and what needs it besides with all enforced.
type granted struct{ Action, Resource, Policy, Shipped, Besides string }

func roleOf(d control.Domain, shipped, enforced *baseline.Baseline) domainRole {
	now := map[[2]string]deployment.Grant{}
	changes, most := 0, 0
	for _, on := range deployment.On([]control.Domain{d}, shipped) {
		for _, g := range deployment.Grants(on, shipped) {
			now[[2]string{g.Action, g.Resource}] = g
			if g.Changes {
				changes++
			}
		}
	}
	role := domainRole{Name: d.Name, AsShipped: "may change something"}
	for _, g := range deployment.Grants(d, enforced) {
		if g.Changes {
			most++
		}
		has, ok := now[[2]string{g.Action, g.Resource}]
		changes := g.Changes
		if ok {
			changes = has.Changes
		}
		policy := map[bool]string{false: "evaluate", true: "remediate"}[changes]
		role.Grants = append(role.Grants, granted{g.Action, g.Resource, policy, needed(has.Needs), needed(besides(g.Needs, has.Needs))})
	}
	role.Summary = fmt.Sprintf("As shipped, %d of its permissions are such that only changes need; with all enforced, %d.", changes, most)
	if changes == 0 {
		role.AsShipped = "only reads"
		role.Summary = fmt.Sprintf("As shipped it only reads. With all enforced, it has %d permissions that only changes need.", most)
	}
	return role
}

// besides are needs without those that are there already.
func besides(needs, had []deployment.Need) []deployment.Need {
	var left []deployment.Need
	for _, n := range needs {
		for _, h := range had {
			if h.ID == n.ID && h.Runbook == n.Runbook {
				n.Steps = slices.DeleteFunc(slices.Clone(n.Steps), func(step string) bool { return slices.Contains(h.Steps, step) })
			}
		}
		if len(n.Steps) > 0 {
			left = append(left, n)
		}
	}
	return left
}

// needed links to what needs a permission, with the steps that do.
func needed(needs []deployment.Need) string {
	var all []string
	for _, n := range needs {
		page := "controls.md"
		if n.Runbook {
			page = "runbooks.md"
		}
		steps := strings.Join(n.Steps, ", ")
		if steps == "" {
			steps = "an override by tags"
		}
		all = append(all, fmt.Sprintf("[%s](%s#%s): %s", n.ID, page, n.ID, steps))
	}
	return strings.Join(all, "; ")
}

// trusted is whom a role trusts, and under which conditions.
type trusted struct{ Principal, If, Why string }

func trust(d deployment.Document) []trusted {
	var all []trusted
	for _, s := range d.Statement {
		for _, principal := range s.Principal.(map[string]string) {
			all = append(all, trusted{principal, provided(s.Condition), s.Why})
		}
	}
	return all
}

// provided are the conditions of a statement, in words.
func provided(of map[string]map[string][]string) string {
	relations := map[string]string{"StringEquals": "is", "ArnEquals": "is", "ArnLike": "is like"}
	var all []string
	for _, operator := range slices.Sorted(maps.Keys(of)) {
		for _, key := range slices.Sorted(maps.Keys(of[operator])) {
			all = append(all, fmt.Sprintf("`%s` %s %s", key, relations[operator], codes(of[operator][key])))
		}
	}
	return strings.Join(all, " and ")
}

// exception is an action that is granted on all resources, with the roles that
// are granted it.
type exception struct {
	deployment.Exception
	Roles []string
}

func exceptions(domains []control.Domain, b *baseline.Baseline) []exception {
	roles := map[string][]string{} // by action
	collect := func(role string, policies []deployment.Policy) {
		for _, s := range statements(policies) {
			for _, action := range s.Action {
				if slices.Contains(s.Resource, "*") {
					roles[action] = append(roles[action], role)
				}
			}
		}
	}
	for _, d := range deployment.On(domains, b) {
		collect(deployment.MemberRole(d.Name), deployment.MemberPolicies(d, b))
	}
	collect(deployment.MemberRole(deployment.Health), deployment.HealthPolicies())
	collect(deployment.FunctionRole(deployment.Health), deployment.HealthFunctionPolicies(b))
	var all []exception
	for _, e := range deployment.Unnameable() {
		all = append(all, exception{e, roles[e.Action]})
	}
	return all
}

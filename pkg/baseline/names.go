package baseline

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/snapback-aws/snapback/pkg/control"
)

// kind is the controls, or the runbooks, that a file may name.
type kind struct {
	// word is what one of them is called: "control".
	word string
	// lists says where all of them are listed.
	lists string
	rules []rule
}

// rule is what reading a file takes of a control or a runbook.
type rule struct {
	id       string
	resource control.Resource
	changes  bool // whether it can change anything
	// params are the pointers to its params: that of the domain that it belongs
	// to, and those of the domains that use its remedy.
	params []any
}

// newParser knows the controls and runbooks of the domains, and the controls
// that their runbooks use.
func newParser(file string, domains []control.Domain) *parser {
	controls := &kind{word: "control", lists: `"snapback controls" lists them all`}
	runbooks := &kind{word: "runbook", lists: "docs/runbooks.md lists them all"}
	for _, d := range domains {
		for _, c := range d.Controls {
			controls.add(rule{c.ID, c.Resource, c.Remedy.Apply != nil, given(c.Params)})
		}
		for _, r := range d.Runbooks {
			changes := slices.ContainsFunc(r.Steps, func(s control.Step) bool { return s.Remedy.Apply != nil })
			runbooks.add(rule{r.ID, r.Resource, changes, given(r.Params)})
		}
	}
	for _, d := range domains {
		for _, c := range d.Uses {
			controls.add(rule{c.ID, c.Resource, c.Remedy.Apply != nil, given(c.Params)})
		}
	}
	p := &parser{file: file, controls: controls, runbooks: runbooks}
	for _, d := range domains {
		if d.Identities != nil {
			p.identities = append(p.identities, d.Identities)
		}
	}
	return p
}

func given(params any) []any {
	if params == nil {
		return nil
	}
	return []any{params}
}

// add adds a rule, or the params of one that is there already.
func (k *kind) add(r rule) {
	if known := k.rule(r.id); known != nil {
		known.params = append(known.params, r.params...)
		return
	}
	k.rules = append(k.rules, r)
}

// rule returns the rule of an ID, or nil.
func (k *kind) rule(id string) *rule {
	i := slices.IndexFunc(k.rules, func(r rule) bool { return r.id == id })
	if i < 0 {
		return nil
	}
	return &k.rules[i]
}

// ruleName returns what reads the ID of a rule that exists, or a glob that
// matches one.
func (p *parser) ruleName(k *kind) func(n *yaml.Node, name string) (string, bool) {
	return func(n *yaml.Node, name string) (string, bool) {
		s, ok := p.text(n, name)
		return s, ok && p.isKnown(k, n, s)
	}
}

// isKnown reports whether s is the ID of a rule or a glob that matches one, and
// the fault if it is neither.
func (p *parser) isKnown(k *kind, n *yaml.Node, s string) bool {
	if p.deployed {
		return true // it may be another domain's
	}
	ids := make([]string, len(k.rules))
	for i := range k.rules {
		ids[i] = k.rules[i].id
	}
	switch {
	case slices.ContainsFunc(ids, func(id string) bool { return control.MatchGlob(s, id) }):
		return true
	case isGlob(s):
		p.errorf(n, "the glob %s matches no %s: %s", quote(s), k.word, meant(nearest(s, likeGlob(s, ids)), k.lists))
	default:
		p.errorf(n, "there is no %s %s: %s", k.word, quote(s), p.misplaced(k, s, meant(nearest(s, ids), k.lists)))
	}
	return false
}

// misplaced says that an ID which is none of this kind is one of the other, or
// something else if it is neither.
func (p *parser) misplaced(k *kind, id, otherwise string) string {
	for _, other := range []*kind{p.controls, p.runbooks} {
		if other != k && other.rule(id) != nil {
			return "it is a " + other.word + ", so name it as one"
		}
	}
	return otherwise
}

// promise warns of a mode that changes resources where nothing that an ID or a
// glob names can change any.
func (p *parser) promise(k *kind, n *yaml.Node, name string, mode Mode) {
	if p.deployed || mode.AtMost(Observe) == mode {
		return // a glob may match another domain's rules; Parse knew them all
	}
	found := false
	for i := range k.rules {
		if !control.MatchGlob(name, k.rules[i].id) {
			continue
		}
		if k.rules[i].changes {
			return
		}
		found = true
	}
	if found {
		p.warnf(n, "what %s names only reports and can change nothing: the mode %s promises more, so write observe", quote(name), mode)
	}
}

func isGlob(s string) bool { return strings.ContainsAny(s, "*?") }

// likeGlob returns what the glob would be if the text before its first
// wildcard were that of an ID, where it then matches that ID.
func likeGlob(glob string, ids []string) []string {
	start := strings.IndexAny(glob, "*?")
	var like []string
	for _, id := range ids {
		if len(id) < start {
			continue
		}
		if g := id[:start] + glob[start:]; control.MatchGlob(g, id) {
			like = append(like, g)
		}
	}
	return like
}

package iampolicy

import (
	_ "embed" // the table of paths
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Path is one way to more rights than one has, of the table paths.csv.
type Path struct {
	ID      string   // "iam-008"
	Name    string   // "Attach managed policy to own user"
	Actions []string // what is needed, each of it: "iam:PassRole", "lambda:CreateFunction"
	// Events are the CloudTrail calls that go this way, each as
	// "iam.amazonaws.com:AttachUserPolicy". Data events and sts:AssumeRole are not
	// among them: EventBridge's rules do not see them. iam:* has none of its own.
	Events []string
	// Presumes is what has to exist besides, which IAM does not show: "a function
	// that runs with the role". A path that presumes something is open under
	// conditions at most.
	Presumes string
	// Status is "ended" if AWS no longer offers what the path needs, "closed" if only
	// to accounts that have it already; else it is empty.
	Status string
	// Source names where the path is described.
	Source string
}

// Escalation is a path that is open to a principal.
type Escalation struct {
	Path *Path
	// Actions are those of the path, and Resources what the principal may do them on
	// that makes the path: the role that is passed, the user whose key is made; a
	// pattern if it is not known what exists. Needs that are not bound to a
	// principal or its policy ("lambda:CreateFunction") have no resource here.
	Actions, Resources []string
	// Through are the ARNs of the principals whose rights it comes to; empty if it is
	// to any rights, or not known to whose. Both lists are sorted and end after twenty.
	Through []string
	// Conditional says that the path is open only under conditions that are not known
	// here, or if something exists that is not known here.
	Conditional bool
}

// Paths are all paths, in the order of the table. The list must not be changed.
func Paths() []Path { return table().paths }

// Escalations are the paths by which a principal of the account can come to
// administrative rights, directly or by several steps, in the order of the table.
// An administrator has none: he is there already. Nor has a group: it does
// nothing by itself, and its users have its policies.
//
// A principal without an ARN stands for whoever has its policies. Service control
// policies are not known here, and of its users' keys only what the account
// says: one of whom that is not known is taken to have fewer than two.
//
// What is worked out for the first principal serves all others: the account must
// not be changed after the first call. To ask what would be, build another one.
func (a *Account) Escalations(p *Principal) []Escalation {
	if p.Type == Group || p.Admin() == Yes {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reach == nil {
		a.reach = newReach(a, table().rows)
	}
	var all []Escalation
	v := a.reach.view(p).among(a.reach.privileged)
	for _, at := range v.ready {
		o := v.open(at, named)
		if o.answer == No {
			continue
		}
		slices.Sort(o.resources)
		slices.Sort(o.through)
		all = append(all, Escalation{
			Path:        at.row.Path,
			Actions:     at.row.Actions,
			Resources:   o.resources,
			Through:     o.through,
			Conditional: o.answer == Conditional,
		})
	}
	return all
}

// named is how many resources an escalation names at most: in a large account a
// path may lead through thousands.
const named = 20

// row is a path as the table tells it.
type row struct {
	*Path
	needs    []need
	through  []kind   // the kinds of principals that it may go through
	services []string // those that the role must trust; one of them is enough
	gain     gain
	// changes says that it changes the principal it goes through, policy that it
	// changes one of that principal's policies.
	changes, policy bool
}

// need is an action that a path needs, and on what.
type need struct {
	action string
	place  string // of those in places, or a pattern of ARNs
}

//go:embed paths.csv
var pathsCSV string

type pathTable struct {
	paths []Path
	rows  []row
}

// table is the table of paths. It is part of the program, so a fault in it is
// one of the program: a test reads it.
var table = sync.OnceValue(func() *pathTable {
	t, err := parseTable(pathsCSV)
	if err != nil {
		panic(err)
	}
	return t
})

func parseTable(text string) (*pathTable, error) {
	lines, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("table of paths: %w", err)
	}
	t := &pathTable{paths: make([]Path, len(lines)-1), rows: make([]row, len(lines)-1)}
	for i, line := range lines[1:] {
		cells := map[string]string{}
		for column, name := range lines[0] {
			cells[name] = line[column]
		}
		t.paths[i] = Path{
			ID: cells["id"], Name: cells["name"], Presumes: cells["presumes"], Status: cells["status"],
			Events: list(cells["events"], ";"), Source: cells["source"],
		}
		if t.rows[i], err = parseRow(&t.paths[i], cells); err != nil {
			return nil, fmt.Errorf("table of paths: %s: %w", cells["id"], err)
		}
	}
	return t, nil
}

func parseRow(path *Path, cells map[string]string) (row, error) {
	r := row{Path: path, services: list(cells["services"], "|")}
	for _, text := range list(cells["needs"], ";") {
		action, place, found := strings.Cut(text, "@")
		service, _, _ := strings.Cut(action, ":")
		if !found {
			place = "arn:${Partition}:" + service + ":*:${Account}:*"
		}
		path.Actions = append(path.Actions, action)
		r.needs = append(r.needs, need{action: action, place: place})
		r.changes = r.changes || place == throughIt && service == "iam" && action != passRole
		r.policy = r.policy || place == itsPolicy
	}
	for _, name := range list(cells["through"], "|") {
		k, known := kinds[name]
		if !known {
			return r, fmt.Errorf("no kind of principals %q", name)
		}
		r.through = append(r.through, k)
	}
	var known bool
	if r.gain, known = gains[cells["gain"]]; !known {
		return r, fmt.Errorf("no gain %q", cells["gain"])
	}
	return r, nil
}

func list(cell, separator string) []string {
	if cell == "" {
		return nil
	}
	return strings.Split(cell, separator)
}

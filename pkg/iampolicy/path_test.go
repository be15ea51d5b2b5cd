package iampolicy_test

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

// route is a line of testdata/accounts/paths.csv: what opens a path in the account
// of example.json.
type route struct {
	id                 string
	actor              string   // who goes it: "user/alice"
	allows             []allows // what opens it
	resources, through []string // what it is then said to lead through
	conditional        bool
}

type allows struct{ action, resource string }

func routes(t testing.TB) []route {
	t.Helper()
	lines, err := csv.NewReader(strings.NewReader(testdata(t, "paths.csv"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var all []route
	for _, line := range lines[1:] {
		r := route{id: line[0], actor: line[1], resources: cells(line[3]), through: cells(line[4]), conditional: line[5] == "yes"}
		for _, cell := range cells(line[2]) {
			action, resource, _ := strings.Cut(cell, " ")
			r.allows = append(r.allows, allows{action, resource})
		}
		all = append(all, r)
	}
	return all
}

func cells(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ";")
}

func testdata(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "accounts", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// example is the account of example.json.
func example(t testing.TB) *iampolicy.Account {
	t.Helper()
	a, err := iampolicy.ParseAccount(strings.NewReader(testdata(t, "example.json")))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// member is one of an account, by what its ARN ends in: "user/alice".
func member(t testing.TB, a *iampolicy.Account, name string) *iampolicy.Principal {
	t.Helper()
	for _, p := range a.Principals {
		if strings.HasSuffix(p.ARN, ":"+name) {
			return p
		}
	}
	t.Fatalf("there is no %s", name)
	return nil
}

// statement is one of an identity policy.
type statement map[string]any

func (s statement) with(name string, value any) statement {
	s[name] = value
	return s
}

func allow(resource string, actions ...string) statement {
	return statement{"Effect": "Allow", "Action": actions, "Resource": resource}
}

func deny(resource string, actions ...string) statement {
	return statement{"Effect": "Deny", "Action": actions, "Resource": resource}
}

// document is a policy document of statements.
func document(t testing.TB, statements ...statement) *iampolicy.Document {
	t.Helper()
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		t.Fatal(err)
	}
	d, err := iampolicy.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// give gives a principal one more inline policy.
func give(t testing.TB, p *iampolicy.Principal, statements ...statement) {
	t.Helper()
	p.Policies = append(p.Policies, iampolicy.Policy{Name: "test", Document: document(t, statements...)})
}

// find is how a path is open to a principal; nil if it is not.
func find(a *iampolicy.Account, p *iampolicy.Principal, id string) *iampolicy.Escalation {
	for _, e := range a.Escalations(p) {
		if e.Path.ID == id {
			return &e
		}
	}
	return nil
}

// ids are the paths that are open to a principal.
func ids(a *iampolicy.Account, p *iampolicy.Principal) []string {
	var all []string
	for _, e := range a.Escalations(p) {
		id := e.Path.ID
		if e.Conditional {
			id += "?"
		}
		all = append(all, id)
	}
	return all
}

// with is how the route's path is open once its actor is given some statements.
func (r route) with(t testing.TB, change func(p *iampolicy.Principal), statements ...statement) *iampolicy.Escalation {
	t.Helper()
	a := example(t)
	p := member(t, a, r.actor)
	give(t, p, statements...)
	if change != nil {
		change(p)
	}
	return find(a, p, r.id)
}

func (r route) statements() (all []statement) {
	for _, s := range r.allows {
		all = append(all, allow(s.resource, s.action))
	}
	return all
}

func (r route) actions() (all []string) {
	for _, s := range r.allows {
		if !slices.Contains(all, s.action) {
			all = append(all, s.action)
		}
	}
	return all
}

// byItself reports whether the actor has all rights but for what limits it, so that
// it makes no difference what else it is given.
func (r route) byItself() bool {
	return !slices.Contains([]string{"user/alice", "role/worker"}, r.actor)
}

func TestEveryPathIsThereInOrder(t *testing.T) {
	var want, got []string
	for _, r := range routes(t) {
		want = append(want, r.id)
	}
	noEvents := map[string]bool{
		"sts-001": true, "prowler-iam-wildcard": true, // see Path.Events
		"bedrock-002": true, "bedrock-004": true, "agentcore-browser-existing": true, // data events
	}
	for _, path := range iampolicy.Paths() {
		got = append(got, path.ID)
		if path.Name == "" || path.Source == "" || len(path.Actions) == 0 || (len(path.Events) == 0) != noEvents[path.ID] {
			t.Errorf("%s lacks something: %+v", path.ID, path)
		}
		for _, event := range path.Events {
			if source, name, found := strings.Cut(event, ":"); !found || !strings.HasSuffix(source, ".amazonaws.com") || name == "" || strings.ContainsAny(name, " [|") {
				t.Errorf("%s: %q is no call", path.ID, event)
			}
		}
	}
	if len(want) != 111 {
		t.Errorf("the test knows %d paths, want 111", len(want))
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

// A path is open with all that it needs, and with nothing less.
func TestEveryPathOpensAndCloses(t *testing.T) {
	for i, r := range routes(t) {
		t.Run(r.id, func(t *testing.T) {
			path := iampolicy.Paths()[i]
			if diff := gocmp.Diff(path.Actions, r.actions()); diff != "" {
				t.Errorf("actions (-table +test):\n%s", diff)
			}
			t.Run("open", func(t *testing.T) { r.opens(t) })
			t.Run("denied", func(t *testing.T) { r.closesWhenDenied(t) })
			if !r.byItself() {
				t.Run("not allowed", func(t *testing.T) { r.closesWhenNotAllowed(t) })
			}
			if slices.Contains(path.Actions, "iam:PassRole") {
				t.Run("other role", func(t *testing.T) { r.closesWithAnotherRole(t) })
				t.Run("other service", func(t *testing.T) { r.closesForAnotherService(t) })
			}
		})
	}
}

func (r route) opens(t *testing.T) {
	e := r.with(t, nil, r.statements()...)
	if e == nil {
		t.Fatal("it is not open")
	}
	if diff := gocmp.Diff(r.resources, e.Resources); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff(r.through, e.Through); diff != "" {
		t.Errorf("through (-want +got):\n%s", diff)
	}
	if e.Conditional != r.conditional {
		t.Errorf("conditional is %t, want %t", e.Conditional, r.conditional)
	}
	var conditional []statement
	for _, s := range r.statements() {
		conditional = append(conditional, s.with("Condition", statement{"Bool": statement{"aws:MultiFactorAuthPresent": "true"}}))
	}
	if e = r.with(t, nil, conditional...); !r.byItself() && (e == nil || !e.Conditional) {
		t.Errorf("with a condition that is not known it is %+v, want it conditional", e)
	}
}

func (r route) closesWhenDenied(t *testing.T) {
	for _, action := range r.actions() {
		if e := r.with(t, nil, append(r.statements(), deny("*", action))...); e != nil {
			t.Errorf("it is open with %s denied: %+v", action, e)
		}
		boundary := &iampolicy.Policy{Name: "limit", Document: document(t, statement{"Effect": "Allow", "NotAction": action, "Resource": "*"})}
		e := r.with(t, func(p *iampolicy.Principal) { p.Boundary = boundary }, r.statements()...)
		// A trust policy that names the account asks the principal's boundary too.
		if e != nil {
			t.Errorf("it is open with a boundary that leaves out %s: %+v", action, e)
		}
	}
}

func (r route) closesWhenNotAllowed(t *testing.T) {
	for _, action := range r.actions() {
		var less, elsewhere []statement
		bound := true
		for _, s := range r.allows {
			if s.action != action {
				less = append(less, allow(s.resource, s.action))
				elsewhere = append(elsewhere, allow(s.resource, s.action))
				continue
			}
			moved := strings.Replace(s.resource, "222222222222", "333333333333", 1)
			bound = bound && moved != s.resource
			elsewhere = append(elsewhere, allow(moved, s.action))
		}
		if e := r.with(t, nil, append(less, allow("*", "s3:ListAllMyBuckets"))...); e != nil {
			t.Errorf("it is open without %s: %+v", action, e)
		}
		if !bound {
			continue // its resources have no account, as those of S3, or it has none
		}
		if e := r.with(t, nil, elsewhere...); e != nil {
			t.Errorf("it is open with %s on something else: %+v", action, e)
		}
	}
}

// passing is what opens the path, with another statement for iam:PassRole.
func (r route) passing(pass statement) []statement {
	all := []statement{pass}
	for _, s := range r.allows {
		if s.action != "iam:PassRole" {
			all = append(all, allow(s.resource, s.action))
		}
	}
	return all
}

func (r route) closesWithAnotherRole(t *testing.T) {
	for role, why := range map[string]string{
		"administrator": "no service trusts it",
		"harmless":      "it may nothing",
		"by-amplif":     "it does not exist",
	} {
		if e := r.with(t, nil, r.passing(allow("arn:aws:iam::222222222222:role/"+role, "iam:PassRole"))...); e != nil {
			t.Errorf("it is open with %s, though %s: %+v", role, why, e)
		}
	}
}

func (r route) closesForAnotherService(t *testing.T) {
	to := func(service string) statement {
		return allow("*", "iam:PassRole").with("Condition", statement{"StringEquals": statement{"iam:PassedToService": service}})
	}
	if e := r.with(t, nil, r.passing(to("monitoring.rds.amazonaws.com"))...); e != nil {
		t.Errorf("it is open for another service: %+v", e)
	}
	for _, role := range r.through {
		a := example(t)
		services := member(t, a, role[strings.Index(role, "role/"):]).Trust.Statements[0].Principals
		if e := r.with(t, nil, r.passing(to(services[0].Value))...); e == nil || e.Conditional != r.conditional {
			t.Errorf("for %s alone it is %+v, want it open", services[0].Value, e)
		}
	}
}

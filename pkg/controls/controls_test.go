package controls_test

import (
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/event"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// shared are the files of domain folders that hold no control or runbook but what
// several of them need. A domain's own list, <domain>/<domain>.go, is not named.
var shared = []string{
	"identity/act.go",
	"identity/back.go",
	"identity/gain.go",
	"identity/given.go",
	"identity/judge.go",
	"identity/limit.go",
	"identity/other.go",
	"identity/read.go",
	"identity/read_account.go",
	"identity/sentence.go",
	"identity/trust.go",
	"identity/version.go",
	"storage/public_access_block.go",
	"network/prefixes.go",
	"network/security_group.go",
	"network/security_group_rule.go",
}

func TestEveryControlIsValid(t *testing.T) {
	if err := control.Validate(controls.Domains()); err != nil {
		t.Error(err)
	}
}

// An exemption by command is refused for an ARN that its control does not know.
func TestEveryControlKnowsItsOwnARNs(t *testing.T) {
	for _, c := range controls.All() {
		if c.ARN == nil || c.IDs == nil {
			continue // it is not valid, as another test says
		}
		if arn := c.Example(); !c.Names(arn) {
			t.Errorf("%s does not know %s: see its ARN and IDs", c.ID, arn)
		}
		if arn := c.Example() + " and more"; c.Names(arn) {
			t.Errorf("%s knows %q", c.ID, arn)
		}
	}
}

func TestAllIsTheControlsOfEveryDomain(t *testing.T) {
	var want, got []string
	for _, d := range controls.Domains() {
		for _, c := range d.Controls {
			want = append(want, c.ID)
		}
	}
	for _, c := range controls.All() {
		got = append(got, c.ID)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("controls differ (-want +got):\n%s", diff)
	}
}

func TestEveryCallBuildsItsOwnValues(t *testing.T) {
	one, other := controls.Domains(), controls.Domains()
	for i, d := range one {
		for j := range d.Controls {
			c, twin := &d.Controls[j], &other[i].Controls[j]
			if c == twin {
				t.Errorf("domain %s: two calls return the same list of controls", d.Name)
			}
			if c.Params != nil && reflect.ValueOf(c.Params).Pointer() == reflect.ValueOf(twin.Params).Pointer() {
				t.Errorf("control %s: two calls return the same Params", c.ID)
			}
		}
	}
}

// TestEveryControlFileIsListed reads the source: a control that is written but
// not listed would never run, and nothing else would say so.
func TestEveryControlFileIsListed(t *testing.T) {
	listed := map[string]control.Domain{}
	for _, d := range controls.Domains() {
		if len(d.Controls) > 0 { // the runbooks of the others have a package of their own
			listed[d.Name] = d
		}
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	folders := 0
	for _, entry := range entries {
		if !entry.IsDir() || entry.Name() == "testdata" {
			continue
		}
		folders++
		t.Run(entry.Name(), func(t *testing.T) {
			domain, ok := listed[entry.Name()]
			if !ok {
				t.Fatalf("controls.Domains() does not list the domain of folder %s", entry.Name())
			}
			checkFolder(t, entry.Name(), domain)
		})
	}
	if folders != len(listed) {
		t.Errorf("there are %d domain folders for %d domains", folders, len(listed))
	}
}

// checkFolder checks that every file of a domain's folder is a control's or a
// runbook's, named after its ID, and that the domain's lists call each of them
// once, in order.
func checkFolder(t *testing.T, domain string, list control.Domain) {
	paths, err := filepath.Glob(filepath.Join(domain, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no Go files in %s: %v", domain, err)
	}
	fileOf := map[string]string{} // by the function that returns the control or runbook
	var called []string
	for _, path := range paths {
		path = filepath.ToSlash(path)
		if strings.HasSuffix(path, "_test.go") || slices.Contains(shared, path) {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if path == domain+"/"+domain+".go" {
			called = callsOfDomain(file)
			continue
		}
		constructors := constructors(file)
		if len(constructors) != 1 {
			t.Errorf("%s: %d functions return a control.Control or control.Runbook, want one (or name the file in the list shared)", path, len(constructors))
			continue
		}
		fileOf[constructors[0]] = strings.TrimSuffix(strings.TrimPrefix(path, domain+"/"), ".go")
	}
	for name, file := range fileOf {
		if !slices.Contains(called, name) {
			t.Errorf("%s/%s.go: Domain() does not list %s()", domain, file, name)
		}
	}
	var files, ids []string
	for _, name := range called {
		files = append(files, fileOf[name])
	}
	for _, c := range list.Controls {
		ids = append(ids, strings.ReplaceAll(c.ID, "-", "_"))
	}
	for _, r := range list.Runbooks {
		ids = append(ids, strings.ReplaceAll(r.ID, "-", "_"))
	}
	if diff := cmp.Diff(files, ids); diff != "" {
		t.Errorf("the files of the controls, in the order of Domain(), are not named after their IDs (-files +IDs):\n%s", diff)
	}
}

// constructors are the functions of a file that return a control, or a runbook,
// alone.
func constructors(file *ast.File) []string {
	var names []string
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Type.Results == nil || len(f.Type.Results.List) != 1 {
			continue
		}
		result, ok := f.Type.Results.List[0].Type.(*ast.SelectorExpr)
		if ok && (result.Sel.Name == "Control" || result.Sel.Name == "Runbook") {
			names = append(names, f.Name.Name)
		}
	}
	return names
}

// callsOfDomain are the functions that Domain calls, in order.
func callsOfDomain(file *ast.File) []string {
	var names []string
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Name.Name != "Domain" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if name, ok := call.Fun.(*ast.Ident); ok {
					names = append(names, name.Name)
				}
			}
			return true
		})
	}
	return names
}

// TestRulesAreAsWritten shows every change of what EventBridge will deliver.
func TestRulesAreAsWritten(t *testing.T) {
	type rule struct {
		Name    string          `json:"name"`
		Pattern json.RawMessage `json:"pattern"`
	}
	all := map[string][]rule{}
	for _, d := range controls.Domains() {
		for _, r := range d.Rules() {
			all[d.Name] = append(all[d.Name], rule{r.Name, json.RawMessage(r.Pattern.String())})
		}
	}
	wantGolden(t, "rules", all)
}

// wantGolden holds a value to the JSON of a golden file.
func wantGolden(t *testing.T, what string, value any) {
	t.Helper()
	got, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	golden := filepath.Join("testdata", what+".golden.json")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differ from %s (-want +got); go test -update rewrites it:\n%s", what, golden, diff)
	}
}

func TestRulesFitEventBridge(t *testing.T) {
	names := map[string]bool{}
	for _, d := range controls.Domains() {
		for _, r := range d.Rules() {
			if n := len([]rune(r.Pattern.String())); n > event.MaxPattern {
				t.Errorf("rule %s: the pattern has %d characters, the limit is %d", r.Name, n, event.MaxPattern)
			}
			// 64 characters of [.\-_A-Za-z0-9] (EventBridge API reference, PutRule, Name).
			if names[r.Name] || len(r.Name) > 64 || strings.Trim(r.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
				t.Errorf("rule name %q is there twice or not one that EventBridge takes", r.Name)
			}
			names[r.Name] = true
			if _, err := event.ParsePattern(r.Pattern.String()); err != nil {
				t.Errorf("rule %s: %v", r.Name, err)
			}
		}
	}
}

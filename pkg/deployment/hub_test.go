package deployment_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

func TestWhatFunctionsMayDo(t *testing.T) {
	b := shipped(t)
	b.Alerts = []baseline.Route{
		{Topic: "none"}, {Topic: "main"},
		{Topic: "arn:aws:sns:us-east-1:111111111111:observed"}, {Topic: "arn:aws:sns:us-east-1:111111111111:observed"},
	}
	for _, s := range deployment.FunctionPolicies(domain(t, "storage", b), b)[0].Document.Statement {
		if s.Sid == "Alerts" && len(s.Resource) != 2 {
			t.Errorf("topics: %v", s.Resource)
		}
	}
	inside, outside := iampolicy.Context{"aws:resourceorgid": {"o-example1234"}}, iampolicy.Context{"aws:resourceorgid": {"o-other"}}
	const here = ":us-east-1:111111111111:"
	for name, policies := range map[string][]deployment.Policy{
		"storage": deployment.FunctionPolicies(domain(t, "storage", b), b), deployment.Health: deployment.HealthFunctionPolicies(b),
	} {
		p := role(t, hub, deployment.FunctionRole(name), policies...)
		health, isDomain := iampolicy.No, iampolicy.Yes
		if name == deployment.Health {
			health, isDomain = iampolicy.Yes, iampolicy.No
		}
		for _, tt := range []struct {
			action, resource string
			known            iampolicy.Context
			want             iampolicy.Answer
		}{
			{"sts:AssumeRole", "arn:aws:iam::222222222222:role/snapback-" + name, inside, iampolicy.Yes},
			{"sts:AssumeRole", "arn:aws:iam::222222222222:role/snapback-" + name, outside, iampolicy.No},
			{"sts:AssumeRole", "arn:aws:iam::222222222222:role/snapback-network", inside, iampolicy.No},
			{"sts:AssumeRole", "arn:aws:iam::222222222222:role/admin", inside, iampolicy.No},
			{"logs:PutLogEvents", "arn:aws:logs" + here + "log-group:/aws/lambda/snapback-" + name + ":log-stream:x", nil, iampolicy.Yes},
			{"logs:PutLogEvents", "arn:aws:logs" + here + "log-group:/aws/lambda/snapback-network:log-stream:x", nil, iampolicy.No},
			{"logs:DeleteLogGroup", "arn:aws:logs" + here + "log-group:/aws/lambda/snapback-" + name, nil, iampolicy.No},
			{"dynamodb:PutItem", "arn:aws:dynamodb" + here + "table/snapback", nil, iampolicy.Yes},
			{"dynamodb:PutItem", "arn:aws:dynamodb" + here + "table/other", nil, iampolicy.No},
			{"dynamodb:DeleteTable", "arn:aws:dynamodb" + here + "table/snapback", nil, iampolicy.No},
			{"dynamodb:UpdateItem", "arn:aws:dynamodb" + here + "table/snapback", nil, isDomain},
			{"dynamodb:DeleteItem", "arn:aws:dynamodb" + here + "table/snapback", nil, isDomain},
			{"dynamodb:Query", "arn:aws:dynamodb" + here + "table/snapback/index/by-state", nil, isDomain},
			{"sqs:DeleteMessage", "arn:aws:sqs" + here + "snapback-" + name, nil, isDomain},
			{"sqs:DeleteMessage", "arn:aws:sqs" + here + "snapback-network", nil, iampolicy.No},
			{"sqs:SendMessage", "arn:aws:sqs" + here + "snapback-" + name, nil, iampolicy.No},
			{"sns:Publish", "arn:aws:sns" + here + "snapback-alerts", nil, isDomain},
			{"sns:Publish", "arn:aws:sns" + here + "observed", nil, isDomain},
			{"sns:Publish", "arn:aws:sns" + here + "other", nil, iampolicy.No},
			{"kms:GenerateDataKey", "arn:aws:kms" + here + "key/k", nil, isDomain},
			{"kms:GenerateDataKey", "arn:aws:kms" + here + "key/other", nil, iampolicy.No},
			{"organizations:ListAccounts", "*", nil, health},
		} {
			if got := p.May(tt.action, tt.resource, tt.known); got != tt.want {
				t.Errorf("%s: %s on %s (%v): %s, want %s", name, tt.action, tt.resource, tt.known, got, tt.want)
			}
		}
	}
}

func TestUnitsAreReadWhereAnOverrideGoesByThem(t *testing.T) {
	b := all(t, baseline.Observe)
	b.Overrides = []baseline.Override{{Match: baseline.Match{OrganizationalUnits: []string{"ou-ab12-11111111"}}, Mode: baseline.Observe, Runbooks: []string{"ec2-*"}}}
	for name, want := range map[string]iampolicy.Answer{"response": iampolicy.Yes, "network": iampolicy.No, "storage": iampolicy.No} {
		p := role(t, hub, deployment.FunctionRole(name), deployment.FunctionPolicies(domain(t, name, b), b)...)
		for _, of := range []string{"account/o-example1234/222222222222", "ou/o-example1234/ou-ab12-11111111"} {
			if got := p.May("organizations:ListParents", "arn:aws:organizations::000000000000:"+of, nil); got != want {
				t.Errorf("%s: %s: %s, want %s", name, of, got, want)
			}
		}
		if got := p.May("organizations:ListParents", "arn:aws:organizations::000000000000:account/o-other/222222222222", nil); got != iampolicy.No {
			t.Errorf("%s: an account of another organization: %s", name, got)
		}
	}
}

// The source of package ledger is read rather than its calls recorded, so that a
// call that is added there fails here at once, whoever makes it.
func TestFunctionsMayMakeTheCallsOfTheLedgerAndNoOthers(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(local.Root(), "pkg", "ledger", "*.go"))
	must(t, err)
	called := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		must(t, err)
		for n := range ast.Preorder(source) {
			if action := ledgerAction(n); action != "" {
				called["dynamodb:"+action] = true
			}
		}
	}
	var granted []string
	b := shipped(t)
	for _, d := range deployment.On(controls.Domains(), b) {
		for _, s := range deployment.FunctionPolicies(d, b)[0].Document.Statement {
			if strings.HasPrefix(s.Action[0], "dynamodb:") {
				granted = append(granted, s.Action...)
			}
		}
	}
	granted = slices.Compact(slices.Sorted(slices.Values(granted)))
	if diff := cmp.Diff(slices.Sorted(maps.Keys(called)), granted); diff != "" {
		t.Errorf("DynamoDB actions (-of pkg/ledger +granted):\n%s", diff)
	}
}

// ledgerAction is the IAM action that a piece of the ledger's source needs; empty
// if it needs none. A transaction needs those of its parts.
func ledgerAction(n ast.Node) string {
	switch n := n.(type) {
	case *ast.CallExpr: // l.db.GetItem(…), dynamodb.NewQueryPaginator(…)
		f, ok := n.Fun.(*ast.SelectorExpr)
		if !ok {
			return ""
		}
		on, _ := f.X.(*ast.SelectorExpr)
		if name, found := strings.CutSuffix(f.Sel.Name, "Paginator"); found {
			return strings.TrimPrefix(name, "New")
		}
		if on != nil && on.Sel.Name == "db" && !strings.HasPrefix(f.Sel.Name, "Transact") {
			return f.Sel.Name
		}
	case *ast.KeyValueExpr: // types.TransactWriteItem{Put: …}
		if key, ok := n.Key.(*ast.Ident); ok {
			return map[string]string{"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}[key.Name]
		}
	}
	return ""
}

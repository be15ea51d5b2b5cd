package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

// principals is how many the account has that `policy check` judges.
const principals = 5000

// policy measures what it costs to understand one policy, and `snapback policy check`
// on a whole account beside what only reads the same file.
func policy(ctx context.Context, dir string) error {
	if err := policyDocument(); err != nil {
		return err
	}
	snapback := filepath.Join(dir, "snapback")
	build := exec.CommandContext(ctx, "go", "build", "-o", snapback, "./cmd/snapback")
	build.Dir = local.Root()
	if printed, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build snapback: %w\n%s", err, printed)
	}
	file := filepath.Join(dir, "account.json")
	text, err := json.Marshal(account(principals))
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		return err
	}
	fmt.Printf("policy: an account of %d principals, %.0f MB of get-account-authorization-details\n", principals, float64(len(text))/1e6)
	fmt.Printf("  %-28s %8s %14s %10s\n", "command", "time", "principals/s", "peak")
	for _, c := range []struct {
		name string
		args []string
	}{
		{"wc", []string{"wc", file}},
		{"python3 json.load", []string{"python3", "-c", "import json, sys; json.load(open(sys.argv[1]))", file}},
		{"policy check", []string{snapback, "policy", "check", file}},
		{"policy check --output json", []string{snapback, "policy", "check", "--output", "json", file}},
	} {
		took, peak, err := timed(ctx, c.args)
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 1 {
			err = nil // it has found the account's administrators
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Printf("  %-28s %6.2f s %14.0f %7.0f MB\n", c.name, took.Seconds(), principals/took.Seconds(), float64(peak)/1024*1.048576)
	}
	began := time.Now()
	var decoded any
	if err := json.Unmarshal(text, &decoded); err != nil {
		return err
	}
	fmt.Printf("  %-28s %6.2f s %14.0f\n\n", "(encoding/json, in process)", time.Since(began).Seconds(), principals/time.Since(began).Seconds())
	return nil
}

// policyDocument measures parsing and evaluating a policy as long as IAM's quota
// allows the inline policies of a role to be: 10,240 characters.
func policyDocument() error {
	text := longPolicy()
	d, err := iampolicy.Parse(text)
	if err != nil {
		return err
	}
	p := &iampolicy.Principal{
		ARN: "arn:aws:iam::222222222222:role/app", Type: iampolicy.Role, Tags: map[string]string{"team": "blue"},
		Policies: []iampolicy.Policy{{Name: "long", Document: d}},
	}
	fmt.Printf("policy: a document of %d bytes with %d statements\n", len(text), len(d.Statements))
	fmt.Printf("  %-40s %12s %14s %12s\n", "question", "documents/s", "allocations", "memory")
	for _, q := range []struct {
		name string
		ask  func() error
	}{
		{"parse", func() error { _, err := iampolicy.Parse(text); return err }},
		{"may it do this on that?", func() error {
			return want(p.May("iam:PassRole", "arn:aws:iam::222222222222:role/app-9999/x", nil), iampolicy.Yes)
		}},
		{"may it do this on any role?", func() error {
			return want(p.Reaches("iam:PassRole", "arn:aws:iam::222222222222:role/*", nil), iampolicy.Yes)
		}},
		{"is it administrator?", func() error { return want(p.Admin(), iampolicy.No) }},
	} {
		var failed error
		r := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				failed = errors.Join(failed, q.ask())
			}
		})
		if failed != nil {
			return fmt.Errorf("%s: %w", q.name, failed)
		}
		fmt.Printf("  %-40s %12.0f %14d %9.1f KB\n", q.name, float64(r.N)/r.T.Seconds(), r.AllocsPerOp(), float64(r.AllocedBytesPerOp())/1e3)
	}
	fmt.Println()
	return nil
}

func want(got, want iampolicy.Answer) error {
	if got != want {
		return fmt.Errorf("the answer is %s, want %s", got, want)
	}
	return nil
}

// longPolicy allows what is asked with its last statement alone.
func longPolicy() string {
	var b strings.Builder
	b.WriteString(`{"Version": "2012-10-17", "Statement": [`)
	for i := 0; b.Len() < 10<<10-350; i++ {
		fmt.Fprintf(&b, `{"Sid": "S%d", "Effect": "Allow", "Action": ["s3:Get*", "s3:*Object", "iam:Pass*"], `, i)
		fmt.Fprintf(&b, `"Resource": ["arn:aws:s3:::bucket-%d/${aws:PrincipalTag/team}/*", "arn:aws:iam::*:role/app-%[1]d/*"], `, i)
		fmt.Fprintf(&b, `"Condition": {"StringEquals": {"aws:PrincipalTag/team": "t%d"}}}, `, i)
	}
	b.WriteString(`{"Effect": "Deny", "Action": "iam:PassRole", "Resource": "arn:aws:iam::*:role/admin*"}, ` +
		`{"Effect": "Allow", "Action": ["iam:PassRole", "lambda:*"], "Resource": "arn:aws:iam::222222222222:role/*"}]}`)
	return b.String()
}

// object is a JSON object.
type object = map[string]any

// account is the output of get-account-authorization-details for a large account. Of
// ten principals six are roles of services, one a role for people and pipelines, two
// users and one a group. Three in a hundred are administrators, five power users, ten
// deploy (they may pass roles), twenty read; a tenth of the roles has a boundary.
func account(n int) object {
	var users, groups, roles []object
	for i := range n {
		name := fmt.Sprintf("-%d", i)
		switch i % 10 {
		case 7, 8:
			users = append(users, object{
				"UserName": "user" + name, "Arn": arn("user/user" + name), "UserId": fmt.Sprintf("AIDAEXAMPLE%08d", i), "Path": "/",
				"CreateDate": "2026-01-05T09:00:00+00:00", "GroupList": []string{fmt.Sprintf("group-%d", i/100*100+9)},
				"UserPolicyList":          inline("roles", allow(arn(fmt.Sprintf("role/team-%d*", i%100)), "sts:AssumeRole")),
				"AttachedManagedPolicies": []object{{"PolicyName": "self-service", "PolicyArn": arn("policy/self-service")}},
			})
		case 9:
			groups = append(groups, object{
				"GroupName": "group" + name, "Arn": arn("group/group" + name), "GroupId": fmt.Sprintf("AGPAEXAMPLE%08d", i), "Path": "/",
				"GroupPolicyList":         inline("own", allow("arn:aws:s3:::group"+name+"/*", "s3:*")),
				"AttachedManagedPolicies": attached(i / 10),
			})
		case 6:
			roles = append(roles, role("team"+name, object{"AWS": arn("root")}, i))
		default:
			services := []string{"lambda", "ec2", "ecs-tasks", "states", "glue", "codebuild", "cloudformation"}
			roles = append(roles, role("app"+name, object{"Service": services[i/10%len(services)] + ".amazonaws.com"}, i))
		}
	}
	return object{
		"UserDetailList": users, "GroupDetailList": groups, "RoleDetailList": roles,
		"Policies": []object{
			managed("arn:aws:iam::aws:policy/AdministratorAccess", allow("*", "*")),
			managed("arn:aws:iam::aws:policy/ReadOnlyAccess", allow("*", reads()...)),
			managed("arn:aws:iam::aws:policy/PowerUserAccess", object{"Effect": "Allow", "NotAction": []string{"iam:*", "organizations:*", "account:*"}, "Resource": "*"}),
			managed(arn("policy/boundary"), allow("*", "s3:*", "dynamodb:*", "lambda:*", "logs:*")),
			managed(arn("policy/deploy"), allow(arn("role/app-*"), "iam:PassRole"), allow("*", "lambda:*", "cloudformation:*", "ecs:*")),
			managed(arn("policy/self-service"), allow("arn:aws:iam::*:user/${aws:username}", "iam:CreateAccessKey", "iam:DeleteAccessKey", "iam:UpdateLoginProfile")),
		},
	}
}

func arn(resource string) string { return "arn:aws:iam::222222222222:" + resource }

func allow(resource string, actions ...string) object {
	return object{"Effect": "Allow", "Action": actions, "Resource": resource}
}

func document(statements ...object) object {
	return object{"Version": "2012-10-17", "Statement": statements}
}

func inline(name string, statements ...object) []object {
	return []object{{"PolicyName": name, "PolicyDocument": document(statements...)}}
}

func managed(arn string, statements ...object) object {
	return object{"Arn": arn, "PolicyVersionList": []object{{"VersionId": "v1", "IsDefaultVersion": true, "Document": document(statements...)}}}
}

func reads() (actions []string) {
	for i := range 400 {
		actions = append(actions, fmt.Sprintf("service%d:Describe*", i), fmt.Sprintf("service%d:List*", i))
	}
	return actions
}

func role(name string, trusts object, i int) object {
	r := object{
		"RoleName": name, "Arn": arn("role/" + name), "RoleId": fmt.Sprintf("AROAEXAMPLE%08d", i), "Path": "/",
		"CreateDate": "2026-01-05T09:00:00+00:00", "InstanceProfileList": []object{}, "RoleLastUsed": object{},
		"AssumeRolePolicyDocument": document(object{"Effect": "Allow", "Principal": trusts, "Action": "sts:AssumeRole"}),
		"RolePolicyList": inline("own",
			allow(fmt.Sprintf("arn:aws:s3:::bucket-%d/*", i), "s3:GetObject", "s3:PutObject"),
			allow(fmt.Sprintf("arn:aws:dynamodb:*:*:table/table-%d", i), "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"),
			allow("*", "logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments")),
		"AttachedManagedPolicies": attached(i),
		"Tags":                    []object{{"Key": "team", "Value": fmt.Sprintf("team-%d", i%50)}},
	}
	if i%11 == 0 {
		r["PermissionsBoundary"] = object{"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn("policy/boundary")}
	}
	return r
}

// attached is what the n-th principal has attached.
func attached(n int) []object {
	attach := func(arn string) []object {
		return []object{{"PolicyName": arn[strings.LastIndex(arn, "/")+1:], "PolicyArn": arn}}
	}
	switch n = n * 37 % 100; { // spread over all kinds
	case n < 3:
		return attach("arn:aws:iam::aws:policy/AdministratorAccess")
	case n < 8:
		return attach("arn:aws:iam::aws:policy/PowerUserAccess")
	case n < 18:
		return attach(arn("policy/deploy"))
	case n < 38:
		return attach("arn:aws:iam::aws:policy/ReadOnlyAccess")
	}
	return []object{}
}

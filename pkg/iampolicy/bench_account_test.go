package iampolicy_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

// object is a JSON object.
type object = map[string]any

// organization is the output of get-account-authorization-details for an account
// of so many principals, as large ones are: of ten, six roles that services
// assume, one for people or pipelines, two users and one group at least; some are
// administrators, some may pass roles or assume others, a tenth has a boundary.
func organization(t testing.TB, principals int) string {
	t.Helper()
	o := &organizationWriter{random: rand.New(rand.NewPCG(1, uint64(principals)))}
	for i := range principals {
		o.add(i)
	}
	text, err := json.Marshal(object{
		"UserDetailList": o.users, "GroupDetailList": o.groups, "RoleDetailList": o.roles, "IsTruncated": false,
		"Policies": []object{
			o.policy("arn:aws:iam::aws:policy/AdministratorAccess", doc(allow("*", "*"))),
			o.policy("arn:aws:iam::aws:policy/ReadOnlyAccess", doc(allow("*", readOnly()...))),
			o.policy("arn:aws:iam::aws:policy/PowerUserAccess", doc(statement{"Effect": "Allow", "NotAction": []string{"iam:*", "organizations:*", "account:*"}, "Resource": "*"})),
			o.policy("arn:aws:iam::222222222222:policy/boundary", doc(allow("*", "s3:*", "lambda:*", "logs:*"))),
			o.policy("arn:aws:iam::222222222222:policy/deploy", doc(
				allow("arn:aws:iam::222222222222:role/app-*", "iam:PassRole"), allow("*", "lambda:*", "cloudformation:*", "ecs:*"))),
			o.policy("arn:aws:iam::222222222222:policy/self-service", doc(
				allow("arn:aws:iam::*:user/${aws:username}", "iam:CreateAccessKey", "iam:DeleteAccessKey", "iam:UpdateLoginProfile"),
				statement{"Effect": "Deny", "NotAction": "iam:*", "Resource": "*", "Condition": statement{"BoolIfExists": statement{"aws:MultiFactorAuthPresent": "false"}}})),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func doc(statements ...statement) object {
	return object{"Version": "2012-10-17", "Statement": statements}
}

func readOnly() (actions []string) {
	for i := range 400 {
		actions = append(actions, fmt.Sprintf("service%d:Describe*", i), fmt.Sprintf("service%d:List*", i))
	}
	return actions
}

type organizationWriter struct {
	random               *rand.Rand
	users, groups, roles []object
}

func (o *organizationWriter) policy(arn string, document object) object {
	return object{"Arn": arn, "PolicyVersionList": []object{{"VersionId": "v1", "IsDefaultVersion": true, "Document": document}}}
}

func (o *organizationWriter) add(i int) {
	switch i % 10 {
	case 0, 1, 2, 3, 4, 5:
		services := []string{"lambda", "ec2", "ecs-tasks", "states", "glue", "codebuild", "cloudformation"}
		o.role(fmt.Sprintf("app-%d", i), object{"Service": services[o.random.IntN(len(services))] + ".amazonaws.com"}, i)
	case 6:
		o.role(fmt.Sprintf("team-%d", i), object{"AWS": "arn:aws:iam::222222222222:root"}, i)
	case 7, 8:
		o.user(i)
	default:
		if len(o.groups) < 300 {
			o.group(i)
		} else {
			o.user(i)
		}
	}
}

func (o *organizationWriter) role(name string, trusts object, i int) {
	role := object{
		"RoleName": name, "Arn": "arn:aws:iam::222222222222:role/" + name, "RoleId": fmt.Sprintf("AROA%08d", i),
		"AssumeRolePolicyDocument": object{"Version": "2012-10-17", "Statement": []object{{"Effect": "Allow", "Principal": trusts, "Action": "sts:AssumeRole"}}},
		"InstanceProfileList":      []object{{}},
		"RolePolicyList": []object{{"PolicyName": "own", "PolicyDocument": doc(
			allow(fmt.Sprintf("arn:aws:s3:::bucket-%d/*", i), "s3:GetObject", "s3:PutObject"),
			allow(fmt.Sprintf("arn:aws:dynamodb:*:*:table/table-%d", i), "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"),
			allow("*", "logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments"))}},
		"AttachedManagedPolicies": o.attached(),
	}
	if o.random.IntN(10) == 0 {
		role["PermissionsBoundary"] = object{"PermissionsBoundaryArn": "arn:aws:iam::222222222222:policy/boundary"}
	}
	o.roles = append(o.roles, role)
}

// attached are managed policies: of a hundred principals, three are administrators,
// five power users, ten deploy and twenty read.
func (o *organizationWriter) attached() []object {
	attach := func(arn string) []object { return []object{{"PolicyArn": arn}} }
	switch n := o.random.IntN(100); {
	case n < 3:
		return attach("arn:aws:iam::aws:policy/AdministratorAccess")
	case n < 8:
		return attach("arn:aws:iam::aws:policy/PowerUserAccess")
	case n < 18:
		return attach("arn:aws:iam::222222222222:policy/deploy")
	case n < 38:
		return attach("arn:aws:iam::aws:policy/ReadOnlyAccess")
	}
	return nil
}

func (o *organizationWriter) user(i int) {
	user := object{
		"UserName": fmt.Sprintf("user-%d", i), "Arn": fmt.Sprintf("arn:aws:iam::222222222222:user/user-%d", i), "UserId": fmt.Sprintf("AIDA%08d", i),
		"AttachedManagedPolicies": []object{{"PolicyArn": "arn:aws:iam::222222222222:policy/self-service"}},
		"UserPolicyList": []object{{"PolicyName": "roles", "PolicyDocument": doc(
			allow(fmt.Sprintf("arn:aws:iam::222222222222:role/team-%d*", o.random.IntN(100)), "sts:AssumeRole"))}},
	}
	if len(o.groups) > 0 {
		user["GroupList"] = []string{o.groups[o.random.IntN(len(o.groups))]["GroupName"].(string)}
	}
	o.users = append(o.users, user)
}

func (o *organizationWriter) group(i int) {
	o.groups = append(o.groups, object{
		"GroupName": fmt.Sprintf("group-%d", i), "Arn": fmt.Sprintf("arn:aws:iam::222222222222:group/group-%d", i), "GroupId": fmt.Sprintf("AGPA%08d", i),
		"AttachedManagedPolicies": o.attached(),
		"GroupPolicyList":         []object{{"PolicyName": "own", "PolicyDocument": doc(allow(fmt.Sprintf("arn:aws:s3:::group-%d/*", i), "s3:*"))}},
	})
}

// BenchmarkAccount reads a whole account and finds all paths of all its
// principals. Time should grow as the number of principals does.
func BenchmarkAccount(b *testing.B) {
	for _, n := range []int{1250, 2500, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			text := organization(b, n)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var a *iampolicy.Account
			open := 0
			for b.Loop() {
				var err error
				if a, err = iampolicy.ParseAccount(strings.NewReader(text)); err != nil {
					b.Fatal(err)
				}
				open = 0
				for _, p := range a.Principals {
					if len(a.Escalations(p)) > 0 {
						open++
					}
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "principals/s")
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MB-kept")
			b.ReportMetric(float64(open), "open")
			runtime.KeepAlive(a)
		})
	}
}

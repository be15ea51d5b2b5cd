package iampolicy_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

const prefix = "arn:aws:iam::222222222222:"

// user, role and group are principals of an account made by hand.
func user(t testing.TB, name string, statements ...statement) *iampolicy.Principal {
	return made(t, iampolicy.User, name, statements)
}

func group(t testing.TB, name string, statements ...statement) *iampolicy.Principal {
	return made(t, iampolicy.Group, name, statements)
}

func made(t testing.TB, kind iampolicy.PrincipalType, name string, statements []statement) *iampolicy.Principal {
	t.Helper()
	p := &iampolicy.Principal{ARN: prefix + string(kind) + "/" + name, Type: kind, Keys: -1, Tags: map[string]string{}}
	if len(statements) > 0 {
		give(t, p, statements...)
	}
	return p
}

// role is one that a principal may assume: {"AWS": …}, {"Service": …}.
func role(t testing.TB, name string, trusts map[string]any, statements ...statement) *iampolicy.Principal {
	t.Helper()
	p := made(t, iampolicy.Role, name, statements)
	p.Trust = document(t, trust(trusts))
	return p
}

func trust(principal any) statement {
	return statement{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
}

func byARN(arn string) map[string]any      { return map[string]any{"AWS": arn} }
func byService(name string) map[string]any { return map[string]any{"Service": name + ".amazonaws.com"} }

func whole(principals ...*iampolicy.Principal) *iampolicy.Account {
	return &iampolicy.Account{ID: "222222222222", Partition: "aws", Whole: true, Principals: principals}
}

func checkPaths(t *testing.T, a *iampolicy.Account, p *iampolicy.Principal, want ...string) {
	t.Helper()
	if got := ids(a, p); !slices.Equal(got, want) {
		t.Errorf("paths of %s are %q, want %q", p.Name(), got, want)
	}
}

// ring is so many roles each of which may assume the next, and the last the first.
func ring(t testing.TB, n int) []*iampolicy.Principal {
	var all []*iampolicy.Principal
	for i := range n {
		all = append(all, role(t, fmt.Sprint("ring-", i), byARN(fmt.Sprint(prefix, "role/ring-", (i+n-1)%n))))
	}
	return all
}

func TestACircleOfRolesLeadsNowhere(t *testing.T) {
	roles := ring(t, 4)
	a := whole(append(roles, role(t, "administrator", byService("ec2"), allow("*", "*")))...)
	for _, p := range roles {
		checkPaths(t, a, p)
	}
}

// All of a circle can become administrator if one of them can, and each is told
// through whom.
func TestACircleOfRolesLeadsOut(t *testing.T) {
	roles := ring(t, 4)
	admin := role(t, "administrator", byARN(prefix+"role/ring-2"), allow("*", "*"))
	a := whole(append(roles, admin)...)
	for i, p := range roles {
		through := []string{roles[(i+1)%4].ARN}
		if i == 2 {
			through = []string{admin.ARN, roles[3].ARN}
		}
		e := find(a, p, "sts-001")
		if e == nil {
			t.Fatalf("ring-%d can't become administrator", i)
		}
		if diff := gocmp.Diff(through, e.Through); diff != "" {
			t.Errorf("ring-%d through (-want +got):\n%s", i, diff)
		}
	}
}

// A long chain, listed so that each round finds out about one only, takes no
// longer than its length in rounds.
func TestALongChainTakesSeconds(t *testing.T) {
	roles := ring(t, 1000)
	give(t, roles[999], allow("*", "*"))
	roles[0].Trust = document(t, trust(byService("ec2")))
	started := time.Now()
	a := whole(roles...)
	if e := find(a, roles[0], "sts-001"); e == nil || e.Conditional {
		t.Errorf("the first of the chain: %+v, want it open", e)
	}
	t.Logf("%s for %d rounds", time.Since(started), len(roles))
}

// Each step is of another kind: a key, a trust policy, a function.
func TestSeveralStepsOfDifferentKinds(t *testing.T) {
	first := user(t, "first", allow(prefix+"user/second", "iam:CreateAccessKey"))
	second := user(t, "second", allow(prefix+"role/third", "iam:UpdateAssumeRolePolicy"))
	third := role(t, "third", byService("ec2"), allow(prefix+"role/admin", "iam:PassRole"), allow("*", "lambda:CreateFunction", "lambda:InvokeFunction"))
	admin := role(t, "admin", byService("lambda"), allow("*", "*"))
	a := whole(first, second, third, admin)
	checkPaths(t, a, first, "iam-002")
	checkPaths(t, a, second, "iam-012")
	checkPaths(t, a, third, "lambda-001")
	checkPaths(t, a, admin)

	third.Policies[0].Document = document(t, allow(prefix+"role/admin", "iam:PassRole"), allow("*", "lambda:CreateFunction"))
	a = whole(first, second, third, admin)
	for _, p := range a.Principals {
		checkPaths(t, a, p)
	}
}

// Nobody need be administrator yet for a path to lead there.
func TestAnAccountWithoutAdministrator(t *testing.T) {
	first := user(t, "first", allow(prefix+"user/second", "iam:CreateAccessKey"))
	second := user(t, "second", allow(prefix+"user/third", "iam:CreateAccessKey"))
	third := user(t, "third", allow(prefix+"user/third", "iam:AttachUserPolicy"))
	a := whole(first, second, third)
	checkPaths(t, a, first, "iam-002")
	checkPaths(t, a, second, "iam-002")
	checkPaths(t, a, third, "iam-008")
}

func TestWhoIsAdministratorHasNoPath(t *testing.T) {
	a := whole(user(t, "root-like", allow("*", "*")), role(t, "other", byARN("*"), allow("*", "*")))
	for _, p := range a.Principals {
		checkPaths(t, a, p)
	}
}

func TestAGroupHasNoPathButItsUsersHave(t *testing.T) {
	g := group(t, "operators", allow("*", "iam:AttachUserPolicy", "iam:CreateAccessKey"))
	u := user(t, "ursula")
	u.Groups = []string{"operators"}
	u.Policies = []iampolicy.Policy{{Name: "test", Group: "operators", Document: g.Policies[0].Document}}
	a := whole(g, u, user(t, "admin", allow("*", "*")))
	checkPaths(t, a, g)
	checkPaths(t, a, u, "iam-002", "iam-008", "iam-015")
}

// What a principal may do to itself alone opens what it can do to itself alone.
func TestRightsOnOneself(t *testing.T) {
	own := "arn:aws:iam::*:user/${aws:username}"
	u := user(t, "ursula", allow(own, "iam:*"))
	a := whole(u, user(t, "admin", allow("*", "*")))
	checkPaths(t, a, u, "iam-007", "iam-008")

	u = user(t, "ursula", allow(own, "iam:CreateAccessKey", "iam:DeleteAccessKey", "iam:CreateLoginProfile", "iam:UpdateLoginProfile", "iam:ChangePassword"))
	a = whole(u, user(t, "admin", allow("*", "*")))
	checkPaths(t, a, u)
	a = &iampolicy.Account{ID: "222222222222", Partition: "aws", Principals: []*iampolicy.Principal{u}}
	checkPaths(t, a, u)
}

// Rights that a boundary or a denial makes empty are no way up.
func TestGrantsThatALimitMakesEmpty(t *testing.T) {
	limit := &iampolicy.Policy{Name: "limit", ARN: prefix + "policy/limit", Document: document(t, allow("*", "iam:Attach*", "iam:Put*Policy", "s3:*"))}
	u := user(t, "ursula", allow("*", "iam:AttachUserPolicy", "iam:PutUserPolicy"))
	u.Boundary = limit
	a := whole(u)
	checkPaths(t, a, u)

	// Another user has no boundary, but his key can't be made.
	admin := user(t, "admin", allow("*", "*"))
	a = whole(u, admin)
	checkPaths(t, a, u)

	// The boundary lets its own removal through, so it is no limit.
	open := *limit
	open.Document = document(t, allow("*", "iam:Attach*", "iam:Put*Policy", "iam:DeleteUserPermissionsBoundary"))
	u.Boundary = &open
	a = whole(u)
	checkPaths(t, a, u, "iam-007", "iam-008")

	denied := user(t, "dora", allow("*", "iam:AttachUserPolicy"), statement{"Effect": "Deny", "NotAction": "iam:AttachUserPolicy", "Resource": "*"})
	a = whole(denied)
	checkPaths(t, a, denied)
}

// A role that only gets rights within its boundary is worth what these are.
func TestARoleUnderABoundaryIsNoWayUp(t *testing.T) {
	u := user(t, "ursula", allow("*", "iam:AttachRolePolicy", "iam:UpdateAssumeRolePolicy"))
	target := role(t, "target", byService("ec2"))
	target.Boundary = &iampolicy.Policy{Name: "limit", Document: document(t, allow("*", "s3:*"))}
	a := whole(u, target)
	checkPaths(t, a, u)
	target.Boundary.Document = document(t, allow("*", "s3:*", "iam:CreateAccessKey"))
	a = whole(u, target, user(t, "admin", allow("*", "*")))
	checkPaths(t, a, u, "iam-019")
}

// The boundary that a principal has is known to IAM when its policies are changed
// (iam:PermissionsBoundary).
func TestDelegationUnderABoundary(t *testing.T) {
	under := func(s statement) statement {
		return s.with("Condition", statement{"StringEquals": statement{"iam:PermissionsBoundary": prefix + "policy/limit"}})
	}
	u := user(t, "ursula", under(allow("*", "iam:AttachRolePolicy")), allow("*", "iam:UpdateAssumeRolePolicy"))
	free := role(t, "free", byService("ec2"))
	a := whole(u, free)
	checkPaths(t, a, u)
	free.Boundary = &iampolicy.Policy{Name: "limit", ARN: prefix + "policy/limit", Document: document(t, allow("*", "*"))}
	a = whole(u, free)
	checkPaths(t, a, u, "iam-019")
}

func TestRolesThatOnlyAWSChanges(t *testing.T) {
	u := user(t, "ursula", allow("*", "iam:UpdateAssumeRolePolicy", "iam:AttachRolePolicy", "iam:PutRolePolicy"))
	a := whole(u,
		role(t, "aws-reserved/sso.amazonaws.com/AWSReservedSSO_Administrator_0123456789abcdef", byService("ec2"), allow("*", "*")),
		role(t, "aws-service-role/support.amazonaws.com/AWSServiceRoleForSupport", byService("support"), allow("*", "*")))
	checkPaths(t, a, u)
}

// Removing a denial is a way up only if it is the denial that is in the way.
func TestDenialsThatAreInTheWay(t *testing.T) {
	for _, tt := range []struct {
		name string
		deny statement
		want []string
	}{
		{"of all", statement{"Effect": "Deny", "NotAction": []string{"iam:DeleteUserPolicy"}, "Resource": "*"}, []string{"iam-026"}},
		{"of a path's last need", deny("*", "iam:AttachUserPolicy"), []string{"iam-026"}},
		{"of something else", deny("*", "s3:DeleteBucket"), []string{"iam-008"}},
	} {
		u := user(t, "ursula", allow("*", "iam:DeleteUserPolicy", "iam:AttachUserPolicy"))
		if tt.name == "of all" {
			u = user(t, "ursula", allow("*", "*"))
		}
		give(t, u, tt.deny)
		t.Run(tt.name, func(t *testing.T) { checkPaths(t, whole(u), u, tt.want...) })
	}
}

// Denials are removed one after the other.
func TestSeveralDenials(t *testing.T) {
	u := user(t, "ursula", allow("*", "*"))
	give(t, u, statement{"Effect": "Deny", "NotAction": []string{"iam:DeleteUserPolicy"}, "Resource": "*"})
	give(t, u, statement{"Effect": "Deny", "NotAction": []string{"iam:DeleteUserPolicy", "s3:*"}, "Resource": "*"})
	give(t, u, statement{"Effect": "Deny", "NotAction": []string{"iam:DeleteUserPolicy", "ec2:*"}, "Resource": "*"})
	checkPaths(t, whole(u), u, "iam-026")
}

// What is open under conditions without a change is not opened by it.
func TestAChangeCountsForWhatItAdds(t *testing.T) {
	u := user(t, "ursula", allow("*", "iam:DeleteUserPolicy", "iam:CreateLoginProfile"))
	give(t, u, deny("*", "s3:DeleteBucket"))
	checkPaths(t, whole(u, user(t, "admin", allow("*", "*"))), u, "iam-004?")
}

// Who is administrator with a second factor gains nothing by what leaves that as it
// is, nor by a key for himself.
func TestAdministratorUnderConditions(t *testing.T) {
	mfa := statement{"Bool": statement{"aws:MultiFactorAuthPresent": "true"}}
	u := user(t, "ursula", allow("*", "*").with("Condition", mfa), allow("*", "iam:CreateAccessKey"))
	give(t, u, deny("*", "s3:DeleteBucket"))
	a := whole(u)
	for _, id := range []string{"iam-002", "iam-026"} {
		if e := find(a, u, id); e != nil {
			t.Errorf("%s is open: %+v", id, e)
		}
	}
	if e := find(a, u, "iam-008"); e == nil || !e.Conditional {
		t.Errorf("iam-008 is %+v, want it open under conditions", e)
	}
}

// A path that AWS ended is told, but makes nobody else's path.
func TestEndedPathsLeadNobodyFurther(t *testing.T) {
	old := user(t, "old", allow("*", "codestar:*"))
	u := user(t, "ursula", allow("*", "iam:CreateAccessKey"))
	a := whole(old, u)
	checkPaths(t, a, old, "rhino-023?", "rhino-025?")
	checkPaths(t, a, u)
}

// Of some actions AWS knows no resources: only a policy on all allows them.
func TestActionsWithoutResources(t *testing.T) {
	admin := role(t, "admin", byService("glue"), allow("*", "*"))
	u := user(t, "ursula", allow("*", "iam:PassRole"), allow("arn:aws:glue:*:*:*", "glue:CreateDevEndpoint"))
	checkPaths(t, whole(u, admin), u)
	u = user(t, "ursula", allow("*", "iam:PassRole"), allow("*", "glue:CreateDevEndpoint"))
	checkPaths(t, whole(u, admin), u, "glue-001")
}

// A trust policy may let in whom it does not name.
func TestARoleForAllButOne(t *testing.T) {
	admin := role(t, "admin", byService("ec2"), allow("*", "*"))
	admin.Trust = document(t, statement{"Effect": "Allow", "NotPrincipal": byARN(prefix + "user/otto"), "Action": "sts:AssumeRole"})
	u, otto := user(t, "ursula"), user(t, "otto")
	a := whole(admin, u, otto)
	checkPaths(t, a, u, "sts-001")
	checkPaths(t, a, otto)
}

func TestOtherVersionsOfAPolicy(t *testing.T) {
	arn := prefix + "policy/team"
	little, all := document(t, allow("*", "s3:ListAllMyBuckets")), document(t, allow("*", "*"))
	attach := document(t, allow("*", "iam:AttachUserPolicy"))
	for _, tt := range []struct {
		name     string
		versions []iampolicy.PolicyVersion
		want     []string
	}{
		{"none known", nil, []string{"rhino-002?"}},
		{"only the one", []iampolicy.PolicyVersion{{ID: "v1", Default: true, Document: little}}, nil},
		{"another, no more", []iampolicy.PolicyVersion{{ID: "v2", Default: true, Document: little}, {ID: "v1", Document: little}}, nil},
		{"an administrative one", []iampolicy.PolicyVersion{{ID: "v2", Default: true, Document: little}, {ID: "v1", Document: all}}, []string{"rhino-002"}},
		{"one that opens a path", []iampolicy.PolicyVersion{{ID: "v2", Default: true, Document: little}, {ID: "v1", Document: attach}}, []string{"rhino-002"}},
		{"one that can't be read", []iampolicy.PolicyVersion{{ID: "v2", Default: true, Document: little}, {ID: "v1"}}, []string{"rhino-002?"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := user(t, "ursula", allow(arn, "iam:SetDefaultPolicyVersion"))
			u.Policies = append(u.Policies, iampolicy.Policy{Name: "team", ARN: arn, Document: little})
			a := whole(u)
			if tt.versions != nil {
				a.Policies = map[string][]iampolicy.PolicyVersion{arn: tt.versions}
			}
			checkPaths(t, a, u, tt.want...)
		})
	}
}

func TestAWSManagedPoliciesCannotBeChanged(t *testing.T) {
	u := user(t, "ursula", allow("*", "iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion"))
	u.Policies = append(u.Policies, iampolicy.Policy{ARN: "arn:aws:iam::aws:policy/service-role/Harmless", Document: document(t, allow("*", "s3:List*"))})
	checkPaths(t, whole(u), u)
}

// Of an account that is not known as a whole, what would open a path may exist;
// but not among what is known.
func TestAnAccountThatIsNotWhole(t *testing.T) {
	part := func(principals ...*iampolicy.Principal) *iampolicy.Account {
		return &iampolicy.Account{ID: "222222222222", Partition: "aws", Principals: principals}
	}
	pass := func(resource string) []statement {
		return []statement{allow(resource, "iam:PassRole"), allow("*", "lambda:CreateFunction", "lambda:InvokeFunction")}
	}
	t.Run("unknown role", func(t *testing.T) {
		u := user(t, "ursula", pass(prefix+"role/app-*")...)
		a := part(u)
		checkPaths(t, a, u, "lambda-001?")
		if e := find(a, u, "lambda-001"); !slices.Equal(e.Resources, []string{prefix + "role/*"}) || e.Through != nil {
			t.Errorf("it is %+v, want it through roles that are not known", e)
		}
	})
	t.Run("known role", func(t *testing.T) {
		u := user(t, "ursula", pass(prefix+"role/app")...)
		checkPaths(t, part(u, role(t, "app", byService("lambda"))), u)
		checkPaths(t, part(u, role(t, "app", byService("lambda"), allow("*", "*"))), u, "lambda-001")
	})
	t.Run("profile", func(t *testing.T) {
		u := user(t, "ursula", allow(prefix+"role/app", "iam:PassRole"), allow("*", "ec2:RunInstances"))
		r := role(t, "app", byService("ec2"), allow("*", "*"))
		checkPaths(t, part(u, r), u, "ec2-001?")
		checkPaths(t, whole(u, r), u)
	})
	t.Run("compute", func(t *testing.T) {
		u := user(t, "ursula", allow("*", "lambda:UpdateFunctionCode"))
		checkPaths(t, part(u), u, "lambda-003?")
		checkPaths(t, whole(u, role(t, "app", byService("glue"), allow("*", "*"))), u)
		checkPaths(t, whole(u, role(t, "app", byService("lambda"), allow("*", "*"))), u, "lambda-003?")
	})
	t.Run("key", func(t *testing.T) {
		u := user(t, "ursula", allow(prefix+"user/ursula", "iam:CreateAccessKey"))
		checkPaths(t, part(u), u)
		u = user(t, "ursula", allow(prefix+"user/*", "iam:CreateAccessKey"))
		checkPaths(t, part(u), u, "iam-002?")
		checkPaths(t, part(u, user(t, "harmless")), u, "iam-002?")
		checkPaths(t, whole(u, user(t, "harmless")), u)
	})
	t.Run("role to assume", func(t *testing.T) {
		u := user(t, "ursula", allow(prefix+"role/*", "sts:AssumeRole"))
		checkPaths(t, part(u), u, "sts-001?")
		u = user(t, "ursula", allow("arn:aws:iam::333333333333:role/*", "sts:AssumeRole"))
		checkPaths(t, part(u), u)
	})
}

// A policy by itself says what whoever has it can do.
func TestAPolicyOfWhoever(t *testing.T) {
	for _, tt := range []struct {
		statement statement
		want      []string
	}{
		{allow("*", "iam:AttachUserPolicy"), []string{"iam-008"}},
		{allow(prefix+"user/ursula", "iam:AttachUserPolicy"), []string{"iam-008?"}},
		{allow("*", "iam:PutGroupPolicy"), []string{"iam-011"}},
		{allow("*", "s3:*"), nil},
	} {
		p := &iampolicy.Principal{Keys: -1}
		give(t, p, tt.statement)
		checkPaths(t, &iampolicy.Account{}, p, tt.want...)
	}
}

func TestKeysAndPasswordsThatAreKnown(t *testing.T) {
	for _, tt := range []struct {
		keys     int
		password bool
		want     []string
	}{
		{-1, false, []string{"iam-002", "iam-003?", "iam-004?", "iam-006?"}},
		{0, false, []string{"iam-002", "iam-004"}},
		{1, true, []string{"iam-002", "iam-006"}},
		{2, true, []string{"iam-003", "iam-006"}},
	} {
		admin := user(t, "admin", allow("*", "*"))
		admin.Keys, admin.Password = tt.keys, tt.password
		u := user(t, "ursula", allow(admin.ARN, "iam:CreateAccessKey", "iam:DeleteAccessKey", "iam:CreateLoginProfile", "iam:UpdateLoginProfile"))
		checkPaths(t, whole(u, admin), u, tt.want...)
	}
}

// An escalation names twenty at most, those that are certain.
func TestManyWaysNameTwenty(t *testing.T) {
	u := user(t, "ursula", allow("*", "iam:CreateAccessKey"))
	all := []*iampolicy.Principal{u}
	for i := range 50 {
		all = append(all, user(t, fmt.Sprint("admin-", i), allow("*", "*")))
	}
	e := find(whole(all...), u, "iam-002")
	if e == nil || len(e.Through) != 20 || len(e.Resources) != 20 || e.Conditional {
		t.Errorf("it is %+v, want twenty administrators", e)
	}
}

// Joining a group counts with what one has already.
func TestJoiningAGroupAddsUp(t *testing.T) {
	u := user(t, "ursula", allow("*", "iam:AddUserToGroup"), allow(prefix+"role/app", "iam:PassRole"))
	a := whole(u, role(t, "app", byService("lambda"), allow("*", "*")),
		group(t, "developers", allow("*", "lambda:CreateFunction", "lambda:InvokeFunction")),
		group(t, "readers", allow("*", "s3:Get*")))
	e := find(a, u, "iam-013")
	if e == nil || !slices.Equal(e.Through, []string{prefix + "group/developers"}) {
		t.Errorf("it is %+v, want it through the developers", e)
	}
	r := role(t, "robot", byARN("arn:aws:iam::333333333333:root"), allow("*", "iam:AddUserToGroup"))
	checkPaths(t, whole(r, group(t, "admins", allow("*", "*"))), r)
}

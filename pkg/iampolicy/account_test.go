package iampolicy_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

func TestParseAccountReadsUsers(t *testing.T) {
	a := example(t)
	if a.ID != "222222222222" || a.Partition != "aws" || !a.Whole {
		t.Errorf("account %q of partition %q, whole: %t", a.ID, a.Partition, a.Whole)
	}
	alice := member(t, a, "user/alice")
	if alice.Name() != "alice" || !strings.HasPrefix(alice.ID, "AIDA") || !slices.Equal(alice.Groups, []string{"developers"}) || alice.Keys != -1 || alice.Tags == nil {
		t.Errorf("alice is %+v", alice)
	}
	if len(alice.Policies) != 1 || alice.Policies[0].Name != "team" || alice.Policies[0].ARN != prefix+"policy/team" || alice.Policies[0].Document == nil {
		t.Errorf("alice has %+v", alice.Policies)
	}
}

func TestParseAccountReadsBoundaries(t *testing.T) {
	a := example(t)
	if b := member(t, a, "user/bounded").Boundary; b == nil || b.Name != "limit" || b.Document == nil {
		t.Errorf("the boundary is %+v", b)
	}
}

func TestParseAccountReadsRoles(t *testing.T) {
	a := example(t)
	if !member(t, a, "role/by-ec2").Profile || member(t, a, "role/unprofiled").Profile {
		t.Error("profiles are not told apart")
	}
	if p := member(t, a, "role/by-lambda"); p.Trust == nil || p.Admin() != iampolicy.Yes {
		t.Errorf("role by-lambda is %+v", p)
	}
}

func TestParseAccountReadsPolicies(t *testing.T) {
	a := example(t)
	versions := a.Policies[prefix+"policy/team"]
	if len(versions) != 2 || versions[0].ID != "v2" || !versions[0].Default || versions[1].Default || versions[1].Document == nil {
		t.Errorf("versions are %+v", versions)
	}
	if _, known := a.Policies["arn:aws:iam::aws:policy/AdministratorAccess"]; known {
		t.Error("a policy of AWS's is among the customer managed")
	}
}

// details is an output of get-account-authorization-details, to be changed.
type details map[string]any

func (d details) text(t testing.TB) string {
	t.Helper()
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func small() details {
	return details{
		"UserDetailList": []object{{
			"UserName": "ursula", "UserId": "AIDAEXAMPLE", "Arn": prefix + "user/team/ursula", "GroupList": []string{"operators"},
			"UserPolicyList":      []object{{"PolicyName": "own", "PolicyDocument": doc(allow("*", "s3:List*"))}},
			"PermissionsBoundary": object{"PermissionsBoundaryArn": "arn:aws:iam::aws:policy/PowerUserAccess"},
			"Tags":                []object{{"Key": "team", "Value": "red"}},
		}},
		"GroupDetailList": []object{{
			"GroupName": "operators", "Arn": prefix + "group/operators",
			"GroupPolicyList":         []object{{"PolicyName": "theirs", "PolicyDocument": doc(allow("*", "ec2:*"))}},
			"AttachedManagedPolicies": []object{{"PolicyArn": "arn:aws:iam::aws:policy/AWSDenyAll"}, {"PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}},
		}},
		"RoleDetailList": []object{{
			"RoleName": "app", "Arn": prefix + "role/app", "AssumeRolePolicyDocument": object{"Version": "2012-10-17", "Statement": []object{trust(byService("ec2"))}},
			"AttachedManagedPolicies": []object{{"PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}},
		}},
		"Policies": []object{},
	}
}

func parseAccount(text string) (*iampolicy.Account, error) {
	return iampolicy.ParseAccount(strings.NewReader(text))
}

func TestAUserHasThePoliciesOfItsGroups(t *testing.T) {
	a, err := parseAccount(small().text(t))
	if err != nil {
		t.Fatal(err)
	}
	u := member(t, a, "user/team/ursula")
	var got []string
	for _, p := range u.Policies {
		known := "known"
		if p.Document == nil {
			known = "unknown"
		}
		got = append(got, strings.Join([]string{p.Name, p.ARN, p.Group, known}, "|"))
	}
	if diff := gocmp.Diff([]string{
		"own|||known",
		"theirs||operators|known",
		"AWSDenyAll|arn:aws:iam::aws:policy/AWSDenyAll|operators|known",
		"ReadOnlyAccess|arn:aws:iam::aws:policy/ReadOnlyAccess|operators|unknown",
	}, got); diff != "" {
		t.Errorf("policies (-want +got):\n%s", diff)
	}
	if u.Boundary == nil || u.Boundary.Name != "PowerUserAccess" || u.Boundary.Document != nil || u.Tags["team"] != "red" {
		t.Errorf("boundary %+v, tags %v", u.Boundary, u.Tags)
	}
	if admin := member(t, a, "role/app").Admin(); admin != iampolicy.Yes {
		t.Errorf("a role with AdministratorAccess is administrator: %s", admin)
	}
}

// The API returns documents percent-encoded, the command line tool decodes them.
func TestDocumentsMayBeEncoded(t *testing.T) {
	d := small()
	text, err := json.Marshal(doc(allow("arn:aws:s3:::a b/*", "s3:*")))
	if err != nil {
		t.Fatal(err)
	}
	d["UserDetailList"].([]object)[0]["UserPolicyList"] = []object{{"PolicyName": "own", "PolicyDocument": url.PathEscape(string(text))}}
	a, err := parseAccount(d.text(t))
	if err != nil {
		t.Fatal(err)
	}
	got := member(t, a, "user/team/ursula").Policies[0].Document
	if got.String() != string(text) {
		t.Errorf("the document is %s, want %s", got, text)
	}
}

func TestSeveralPages(t *testing.T) {
	first, second := small(), details{"RoleDetailList": []object{{
		"RoleName": "late", "Arn": prefix + "role/late", "AssumeRolePolicyDocument": object{"Statement": []object{trust(byService("ec2"))}},
	}}}
	for _, tt := range []struct {
		name                  string
		firstMore, secondMore any
		token                 any
		whole                 bool
	}{
		{"complete", true, false, nil, true},
		{"silent", nil, nil, nil, true},
		{"the last says that more follows", true, true, nil, false},
		{"the last has a token", nil, nil, "eyJ", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first["IsTruncated"], second["IsTruncated"], second["NextToken"] = tt.firstMore, tt.secondMore, tt.token
			a, err := parseAccount(first.text(t) + "\n" + second.text(t))
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Principals) != 4 || a.Whole != tt.whole {
				t.Errorf("%d principals, whole: %t; want 4, %t", len(a.Principals), a.Whole, tt.whole)
			}
		})
	}
}

// What can't be understood is told, and is never taken for nothing.
func TestFaultsOfAnAccount(t *testing.T) {
	bad := doc(statement{"Effect": "Permit", "Action": "*", "Resource": "*"})
	for _, tt := range []struct {
		name   string
		change func(d details)
		want   string
		whole  bool
		check  func(t *testing.T, a *iampolicy.Account)
	}{
		{
			"inline policy", func(d details) {
				d["UserDetailList"].([]object)[0]["UserPolicyList"] = []object{{"PolicyName": "own", "PolicyDocument": bad}}
			},
			"UserDetailList[0] (ursula): UserPolicyList[0].PolicyDocument: ", true,
			func(t *testing.T, a *iampolicy.Account) {
				if p := member(t, a, "user/team/ursula").Policies[0]; p.Name != "own" || p.Document != nil {
					t.Errorf("the policy is %+v", p)
				}
			},
		},
		{
			"trust policy", func(d details) { d["RoleDetailList"].([]object)[0]["AssumeRolePolicyDocument"] = "%7B" },
			"RoleDetailList[0] (app): AssumeRolePolicyDocument: ", true,
			func(t *testing.T, a *iampolicy.Account) {
				if r := member(t, a, "role/app"); r.TrustsService("lambda.amazonaws.com") != iampolicy.Conditional {
					t.Error("a role whose trust policy can't be read may trust any service")
				}
			},
		},
		{
			"no document", func(d details) {
				d["UserDetailList"].([]object)[0]["UserPolicyList"] = []object{{"PolicyName": "own"}}
			},
			"UserDetailList[0] (ursula): UserPolicyList[0].PolicyDocument: ", true, nil,
		},
		{
			"managed policy", func(d details) {
				d["Policies"] = []object{{"Arn": prefix + "policy/team", "PolicyVersionList": []object{{"VersionId": "v1", "IsDefaultVersion": true, "Document": bad}}}}
				d["RoleDetailList"].([]object)[0]["AttachedManagedPolicies"] = []object{{"PolicyArn": prefix + "policy/team"}}
			},
			"Policies[0] (" + prefix + "policy/team): PolicyVersionList[0].Document: ", true,
			func(t *testing.T, a *iampolicy.Account) {
				if r := member(t, a, "role/app"); r.Policies[0].Document != nil || r.Admin() != iampolicy.Conditional {
					t.Error("a role whose policy can't be read may be administrator")
				}
			},
		},
		{
			"managed policy that is not there", func(d details) {
				d["RoleDetailList"].([]object)[0]["AttachedManagedPolicies"] = []object{{"PolicyArn": prefix + "policy/AdministratorAccess"}}
			},
			"RoleDetailList[0] (app): AttachedManagedPolicies[0]: ", true,
			func(t *testing.T, a *iampolicy.Account) {
				if r := member(t, a, "role/app"); r.Policies[0].Document != nil {
					t.Error("a policy of the account's own is taken for AWS's of the same name")
				}
			},
		},
		{
			"group that is not there", func(d details) { d["GroupDetailList"] = []object{} },
			"UserDetailList[0] (ursula): GroupList[0]: group operators", true,
			func(t *testing.T, a *iampolicy.Account) {
				if u := member(t, a, "user/team/ursula"); u.May("iam:CreateUser", prefix+"user/x", nil) == iampolicy.Yes || u.Policies[1].Group != "operators" {
					t.Errorf("its policies are %+v", u.Policies)
				}
			},
		},
		{
			"no ARN", func(d details) { delete(d["RoleDetailList"].([]object)[0], "Arn") },
			"RoleDetailList[0] (app): its Arn is", false, nil,
		},
		{
			"another account's", func(d details) {
				d["RoleDetailList"].([]object)[0]["Arn"] = "arn:aws:iam::333333333333:role/app"
			},
			"RoleDetailList[0] (app): its Arn is", false, nil,
		},
		{
			"not as AWS prints it", func(d details) { d["RoleDetailList"].([]object)[0]["Tags"] = "none" },
			"RoleDetailList[0] (app): it is not as AWS prints it", false, nil,
		},
		{
			"no list", func(d details) { d["RoleDetailList"] = "none" },
			"RoleDetailList is a list, this is a string", false, nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := small()
			tt.change(d)
			a, err := parseAccount(d.text(t))
			if a == nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("account %v, error %v; want an account and %q", a, err, tt.want)
			}
			if a.Whole != tt.whole {
				t.Errorf("whole: %t, want %t", a.Whole, tt.whole)
			}
			if tt.check != nil {
				tt.check(t, a)
			}
		})
	}
}

func TestWhatIsNoAccount(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "page 1, line 1, column 1: it is not JSON"},
		{"no JSON", "{\n  nothing", "page 1, line 2, column 3: it is not JSON"},
		{"a policy", `{"Version": "2012-10-17", "Statement": []}`, "it is no output of aws iam get-account-authorization-details"},
		{"a list", "[]", "an object is needed, this is a list"},
		{"a list twice", `{"RoleDetailList": [], "RoleDetailList": []}`, `"RoleDetailList" is there twice`},
		{"a member twice", `{"RoleDetailList": [{"Arn": "a", "Arn": "b"}]}`, `"Arn" is there twice`},
		{"no UTF-8", "{\"RoleDetailList\": [{\"Arn\": \"\xff\"}]}", "this is no UTF-8"},
		{"nested", `{"RoleDetailList": ` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}", "nested deeper"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := parseAccount(tt.text)
			if a != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("account %v, error %v; want none and %q", a, err, tt.want)
			}
		})
	}
	if _, err := iampolicy.ParseAccount(iotest.ErrReader(io.ErrUnexpectedEOF)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the reader's error is lost: %v", err)
	}
}

// A second page that breaks off leaves what the first one said.
func TestAPageThatBreaksOff(t *testing.T) {
	a, err := parseAccount(small().text(t) + `{"RoleDetailList": [`)
	if a == nil || err == nil || len(a.Principals) != 3 || a.Whole {
		t.Errorf("account %+v, error %v; want three principals, not whole, and an error", a, err)
	}
	if !strings.Contains(err.Error(), "page 2") {
		t.Errorf("the error is %v", err)
	}
}

func FuzzParseAccount(f *testing.F) {
	f.Add(small().text(f))
	f.Add(small().text(f) + small().text(f))
	f.Add(`{"Policies": [{"Arn": "x", "PolicyVersionList": [{"VersionId": "v"}]}], "RoleDetailList": [{"Arn": "arn:aws:iam::1:role/", "AssumeRolePolicyDocument": "%"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseAccount(text)
		if a == nil && err == nil {
			t.Fatal("neither an account nor an error")
		}
		if a == nil || len(a.Principals) > 20 {
			return
		}
		for _, p := range a.Principals {
			for _, e := range a.Escalations(p) {
				if e.Path == nil || len(e.Actions) == 0 {
					t.Errorf("%s: %+v", p.ARN, e)
				}
			}
		}
	})
}

package identity_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/identity"
	"github.com/snapback-aws/snapback/pkg/remedies/grant"
)

const here = "arn:aws:iam::" + local.MemberAccount + ":"

// Documents that the tests give and take.
var (
	everything = allow("*", "*")
	readLogs   = allow("s3:GetObject", "arn:aws:s3:::logs/*")
	payroll    = allow("s3:GetObject", "arn:aws:s3:::payroll/*")
	mayGive    = allow("iam:*", "*")
	mayAttach  = allow("iam:AttachUserPolicy", "*")
)

func allow(action, resource string) string {
	return policy(`{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}`)
}

func deny(action string) string {
	return policy(`{"Effect":"Deny","Action":"` + action + `","Resource":"*"}`)
}

func policy(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// lets is a trust policy that lets one principal in.
func lets(principal string) string { return policy(letsStatement(principal)) }

func letsStatement(principal string) string {
	return `{"Effect":"Allow","Principal":` + principal + `,"Action":"sts:AssumeRole"}`
}

const (
	byLambda = `{"Service":"lambda.amazonaws.com"}`
	byRoot   = `{"AWS":"` + here + `root"}`
	byAlice  = `{"AWS":"` + here + `user/team/alice"}`
	byCI     = `{"AWS":"` + here + `role/ci"}`
)

// court is an account and a judge of it.
type court struct {
	*lifecycle.Stage
	iam        *iam.Client
	identities *control.Identities
	calls      []cloud.Call // of the last judgement
}

var declared = sync.OnceValue(func() map[string]bool {
	all := map[string]bool{}
	for _, p := range identity.JudgePermissions {
		all[p.Call] = true
	}
	return all
})

// newCourt is an empty account, whose baseline calls the payroll sensitive.
func newCourt(t *testing.T) *court {
	t.Helper()
	lifecycle.Must(t, lifecycle.AWS(t).Reset(t.Context()))
	c := &court{Stage: lifecycle.NewStage(t, "identity", "AWS::IAM::Grant", control.Remedy{})}
	c.iam = iam.NewFromConfig(c.Member)
	c.identities = &control.Identities{Sensitive: []control.Access{{Actions: []string{"s3:GetObject"}, Resources: []string{"arn:aws:s3:::payroll/*"}}}}
	return c
}

// judge judges a grant. Every call that it makes must be declared.
func (c *court) judge(id string) (*identity.Escalation, error) {
	c.T.Helper()
	ctx, recorder := cloud.Record(c.Ctx)
	e, err := identity.NewJudge(c.identities)(ctx, c.Session, c.Target(id))
	c.calls = recorder.Calls()
	for _, call := range c.calls {
		if !declared()[call.Name()] {
			c.T.Errorf("%s is not declared", call.Name())
		}
	}
	return e, err
}

func (c *court) called(name string) bool {
	return slices.ContainsFunc(c.calls, func(call cloud.Call) bool { return call.Operation == name })
}

// do ends the test if a call of the account's own fails.
func (c *court) do(_ any, err error) {
	c.T.Helper()
	lifecycle.Must(c.T, err)
}

func (c *court) user(name string, inline ...string) {
	c.T.Helper()
	c.do(c.iam.CreateUser(c.Ctx, &iam.CreateUserInput{UserName: &name, Path: aws.String("/team/")}))
	for i, document := range inline {
		c.userPolicy(name, fmt.Sprintf("own-%d", i+1), document)
	}
}

func (c *court) userPolicy(user, name, document string) {
	c.T.Helper()
	c.do(c.iam.PutUserPolicy(c.Ctx, &iam.PutUserPolicyInput{UserName: &user, PolicyName: &name, PolicyDocument: &document}))
}

// role makes a role and returns its unique ID.
func (c *court) role(name, trust string, inline ...string) string {
	c.T.Helper()
	out, err := c.iam.CreateRole(c.Ctx, &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: &trust})
	lifecycle.Must(c.T, err)
	for i, document := range inline {
		c.rolePolicy(name, fmt.Sprintf("own-%d", i+1), document)
	}
	return aws.ToString(out.Role.RoleId)
}

func (c *court) rolePolicy(role, name, document string) {
	c.T.Helper()
	c.do(c.iam.PutRolePolicy(c.Ctx, &iam.PutRolePolicyInput{RoleName: &role, PolicyName: &name, PolicyDocument: &document}))
}

func (c *court) group(name string, inline ...string) {
	c.T.Helper()
	c.do(c.iam.CreateGroup(c.Ctx, &iam.CreateGroupInput{GroupName: &name}))
	for i, document := range inline {
		c.groupPolicy(name, fmt.Sprintf("group-%d", i+1), document)
	}
}

func (c *court) groupPolicy(group, name, document string) {
	c.T.Helper()
	c.do(c.iam.PutGroupPolicy(c.Ctx, &iam.PutGroupPolicyInput{GroupName: &group, PolicyName: &name, PolicyDocument: &document}))
}

func (c *court) join(user, group string) {
	c.T.Helper()
	c.do(c.iam.AddUserToGroup(c.Ctx, &iam.AddUserToGroupInput{UserName: &user, GroupName: &group}))
}

// managed makes a managed policy and returns its ARN.
func (c *court) managed(name, document string) string {
	c.T.Helper()
	out, err := c.iam.CreatePolicy(c.Ctx, &iam.CreatePolicyInput{PolicyName: &name, PolicyDocument: &document})
	lifecycle.Must(c.T, err)
	return aws.ToString(out.Policy.Arn)
}

func (c *court) version(arn, document string) {
	c.T.Helper()
	c.do(c.iam.CreatePolicyVersion(c.Ctx, &iam.CreatePolicyVersionInput{PolicyArn: &arn, PolicyDocument: &document, SetAsDefault: true}))
}

func (c *court) attach(user, arn string) {
	c.T.Helper()
	c.do(c.iam.AttachUserPolicy(c.Ctx, &iam.AttachUserPolicyInput{UserName: &user, PolicyArn: &arn}))
}

func (c *court) attachRole(role, arn string) {
	c.T.Helper()
	c.do(c.iam.AttachRolePolicy(c.Ctx, &iam.AttachRolePolicyInput{RoleName: &role, PolicyArn: &arn}))
}

func (c *court) bound(user, document string) {
	c.T.Helper()
	arn := c.managed("Boundary", document)
	c.do(c.iam.PutUserPermissionsBoundary(c.Ctx, &iam.PutUserPermissionsBoundaryInput{UserName: &user, PermissionsBoundary: &arn}))
}

// key makes an access key and returns its ID.
func (c *court) key(user string) string {
	c.T.Helper()
	out, err := c.iam.CreateAccessKey(c.Ctx, &iam.CreateAccessKeyInput{UserName: &user})
	lifecycle.Must(c.T, err)
	return aws.ToString(out.AccessKey.AccessKeyId)
}

func (c *court) password(user string) {
	c.T.Helper()
	c.do(c.iam.CreateLoginProfile(c.Ctx, &iam.CreateLoginProfileInput{UserName: &user, Password: aws.String("An-Example-1")}))
}

// setting is a plan of one edit.
func setting(kind grant.Kind, entity, name string, now, to *string, touches string) grant.Plan {
	return grant.Plan{
		Edits:   []grant.Edit{{Setting: grant.Setting{Kind: kind, Entity: entity, Name: name, Value: now}, To: to}},
		Touches: []string{here + touches},
	}
}

// verdict is what a judge must come to in an account.
type verdict struct {
	name string
	// world makes the account and returns the grant.
	world func(*court) string
	// reason is what the reason must say; empty: it is no escalation.
	reason string
	// back is how it must be taken back; nil: that is told elsewhere.
	back *grant.Plan
	// revoke and with say so of the escalation.
	revoke, with bool
	// account says that the whole account has to be read.
	account bool
}

func try(t *testing.T, verdicts []verdict) {
	for _, v := range verdicts {
		t.Run(v.name, func(t *testing.T) {
			c := newCourt(t)
			id := v.world(c)
			e, err := c.judge(id)
			lifecycle.Must(t, err)
			if read := c.called("GetAccountAuthorizationDetails"); read != v.account {
				t.Errorf("the whole account was read: %t, want %t", read, v.account)
			}
			switch {
			case v.reason == "" && e != nil:
				t.Fatalf("an innocent is found guilty: %s", e.Reason)
			case v.reason == "":
				return
			case e == nil:
				t.Fatal("no escalation was found")
			case !strings.Contains(e.Reason, v.reason):
				t.Errorf("the reason is %q, want it to say %q", e.Reason, v.reason)
			}
			if v.back != nil {
				lifecycle.Same(t, "how it is taken back", e.Back, *v.back)
			}
			if got := e.Revoke != ""; got != v.revoke {
				t.Errorf("sessions to be revoked: %q", e.Revoke)
			}
			if got := e.With != ""; got != v.with {
				t.Errorf("started with the role %q", e.With)
			}
		})
	}
}

func TestWhoAttachesAPolicyToHimself(t *testing.T) {
	attached := func(document string, own ...string) func(*court) string {
		return func(c *court) string {
			c.user("alice", own...)
			arn := c.managed("AdministratorAccess", document)
			c.attach("alice", arn)
			return "user/team/alice AttachUserPolicy user/alice " + arn
		}
	}
	detach := setting(grant.AttachedPolicy, "user/team/alice", here+"policy/AdministratorAccess", new("attached"), nil, "user/team/alice")
	try(t, []verdict{
		{
			name:  "is administrator now",
			world: attached(everything, allow("iam:AttachUserPolicy", "*")),
			reason: "alice attached AdministratorAccess to itself; it could because it holds iam:AttachUserPolicy on *. That makes it administrator. " +
				"Take iam:AttachUserPolicy out of its policy own-1, or allow it only with a permissions boundary.",
			back: &detach,
		},
		{name: "was administrator before", world: attached(everything, everything)},
		{
			name: "was administrator before, with MFA",
			world: attached(everything, policy(
				`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}}`)),
		},
		{
			name: "has it from his group anyway",
			world: func(c *court) string {
				id := attached(everything, mayAttach)(c)
				c.group("admins")
				c.do(c.iam.AttachGroupPolicy(c.Ctx, &iam.AttachGroupPolicyInput{
					GroupName: aws.String("admins"), PolicyArn: aws.String(here + "policy/AdministratorAccess"),
				}))
				c.join("alice", "admins")
				return id
			},
		},
		{
			name:   "gave himself everything twice",
			reason: "That makes it administrator.", back: &detach,
			world: func(c *court) string {
				id := attached(everything, mayAttach)(c)
				c.userPolicy("alice", "all", everything)
				return id
			},
		},
		{
			name:   "gave himself everything twice, once by his group",
			reason: "That makes it administrator.", back: &detach,
			world: func(c *court) string {
				id := attached(everything, mayAttach)(c)
				c.group("staff", allow("iam:AddUserToGroup", "*"))
				c.groupPolicy("staff", "all", everything)
				c.join("alice", "staff")
				return id
			},
		},
		{
			name: "is administrator by what he could have given himself, and gave himself less",
			world: func(c *court) string {
				id := attached(readLogs, mayAttach)(c)
				c.userPolicy("alice", "all", everything)
				return id
			},
		},
		{name: "gave himself less than counts", world: attached(readLogs, mayGive)},
		{
			name: "is held by a boundary",
			world: func(c *court) string {
				id := attached(everything, mayGive)(c)
				c.bound("alice", allow("s3:ListBucket", "*"))
				return id
			},
		},
		{name: "is held by a denial", world: attached(everything, mayGive, deny("*"))},
		{
			name: "has taken it back",
			world: func(c *court) string {
				id := attached(everything, mayGive)(c)
				c.do(c.iam.DetachUserPolicy(c.Ctx, &iam.DetachUserPolicyInput{
					UserName: aws.String("alice"), PolicyArn: aws.String(here + "policy/AdministratorAccess"),
				}))
				return id
			},
		},
		{
			name: "is gone",
			world: func(c *court) string {
				return "user/alice AttachUserPolicy user/alice " + c.managed("AdministratorAccess", everything)
			},
		},
		{name: "reaches what is sensitive", world: attached(payroll, mayGive), reason: "That lets it do s3:GetObject on arn:aws:s3:::payroll/*.", back: &detach},
		{name: "reached it before", world: attached(payroll, allow("s3:*", "*"))},
		{
			name: "reaches it under conditions",
			world: attached(policy(
				`{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}`), mayGive),
			reason: "That lets it do s3:GetObject on arn:aws:s3:::payroll/* under conditions.",
		},
		{
			name:   "has it from his group",
			reason: "it could because it holds iam:Attach* on arn:aws:iam::222222222222:user/*. That makes it administrator. Take iam:AttachUserPolicy out of the policy group-1 of its group staff,",
			world: func(c *court) string {
				id := attached(everything)(c)
				c.group("staff", allow("iam:Attach*", here+"user/*"))
				c.join("alice", "staff")
				return id
			},
		},
		{
			name: "gave it to somebody else",
			world: func(c *court) string {
				c.user("bob", mayGive)
				return "user/team/bob" + strings.TrimPrefix(attached(everything)(c), "user/team/alice")
			},
		},
	})
}

func TestWhoOpensAPathForHimself(t *testing.T) {
	passing := policy(`{"Effect":"Allow","Action":["iam:PassRole","lambda:CreateFunction","lambda:InvokeFunction"],"Resource":"*"}`)
	world := func(trust string, own ...string) func(*court) string {
		return func(c *court) string {
			c.user("alice", own...)
			c.role("admin", trust, everything)
			c.userPolicy("alice", "new", passing)
			return "user/team/alice PutUserPolicy user/alice new"
		}
	}
	try(t, []verdict{
		{
			name: "to a role that Lambda may have", account: true,
			world: world(lets(byLambda)), reason: "alice wrote the inline policy new into itself. That opens it the path ",
			back: new(setting(grant.InlinePolicy, "user/team/alice", "new", &passing, nil, "user/team/alice")),
		},
		{name: "to a role that no service may have", account: true, world: world(lets(byRoot))},
		{name: "that was open before", account: true, world: world(lets(byLambda), passing)},
		{name: "whose second action is denied", world: world(lets(byLambda), deny("lambda:*"))},
	})
}

func TestWhoWritesAnInlinePolicy(t *testing.T) {
	const (
		logs   = ` { "Effect" : "Allow", "Action" : "s3:GetObject", "Resource" : "arn:aws:s3:::logs/*" }`
		all    = `{"Sid":"All","Effect":"Allow","Action":"*","Resource":"*"}`
		guard  = `{"Effect":"Deny","Action":"s3:DeleteBucket","Resource":"*"}`
		second = `{"Effect":"Allow","NotAction":"support:*","Resource":"*"}`
	)
	written := func(document string) func(*court) string {
		return func(c *court) string {
			c.user("alice")
			c.userPolicy("alice", "new", document)
			return "user/team/alice PutUserPolicy user/alice new"
		}
	}
	back := func(now string, to *string) *grant.Plan {
		return new(setting(grant.InlinePolicy, "user/team/alice", "new", &now, to, "user/team/alice"))
	}
	try(t, []verdict{
		{
			name: "loses the statement that offends alone", reason: "That makes it administrator",
			world: written(policy(logs, all, guard)), back: back(policy(logs, all, guard), new(policy(logs, guard))),
		},
		{
			name: "loses both that offend", reason: "That makes it administrator",
			world: written(policy(all, logs, second)), back: back(policy(all, logs, second), new(policy(strings.TrimSpace(logs)))),
		},
		{
			name: "loses the whole policy", reason: "That makes it administrator",
			world: written(policy(all)), back: back(policy(all), nil),
		},
		{
			name: "in his own group", reason: "alice wrote the inline policy new into its group staff",
			world: func(c *court) string {
				c.user("alice")
				c.group("staff")
				c.join("alice", "staff")
				c.groupPolicy("staff", "new", policy(logs, all))
				return "user/team/alice PutGroupPolicy group/staff new"
			},
			back: new(setting(grant.InlinePolicy, "group/staff", "new", new(policy(logs, all)), new(policy(logs)), "group/staff")),
		},
		{
			name: "in a group that he is not in",
			world: func(c *court) string {
				c.user("alice")
				c.group("staff", everything)
				return "user/team/alice PutGroupPolicy group/staff group-1"
			},
		},
		{
			name: "in a role that he can assume", reason: "alice wrote the inline policy own-1 into the role deploy, which it can assume. That makes it administrator.",
			world: func(c *court) string {
				c.user("alice", allow("sts:AssumeRole", here+"role/deploy"))
				c.role("deploy", lets(byRoot), everything)
				return "user/team/alice PutRolePolicy role/deploy own-1"
			},
			back: new(setting(grant.InlinePolicy, "role/deploy", "own-1", &everything, nil, "role/deploy")),
		},
		{
			name: "in a role that he can't assume",
			world: func(c *court) string {
				c.user("alice", mayGive)
				c.role("deploy", lets(byRoot), everything)
				return "user/team/alice PutRolePolicy role/deploy own-1"
			},
		},
	})
}

func TestSession(t *testing.T) {
	try(t, []verdict{
		{
			name: "gives its own role", reason: "ci (session build-7) attached AdministratorAccess to its own role; it could because it holds iam:* on *.",
			world: func(c *court) string {
				id, arn := c.role("ci", lets(byLambda), mayGive), c.managed("AdministratorAccess", everything)
				c.attachRole("ci", arn)
				return "role/ci:" + id + ":build-7 AttachRolePolicy role/ci " + arn
			},
		},
		{
			name: "of a user", reason: "alice (session report) attached AdministratorAccess to itself.",
			world: func(c *court) string {
				c.user("alice")
				arn := c.managed("AdministratorAccess", everything)
				c.attach("alice", arn)
				return "federated/team/alice:report AttachUserPolicy user/alice " + arn
			},
		},
		{
			name: "of a role that was made anew since",
			world: func(c *court) string {
				c.role("ci", lets(byLambda), mayGive)
				arn := c.managed("AdministratorAccess", everything)
				c.attachRole("ci", arn)
				return "role/ci:AROAANOTHERONE:build-7 AttachRolePolicy role/ci " + arn
			},
		},
		{
			name: "gives a role that it can assume what it has itself",
			world: func(c *court) string {
				id := c.role("ci", lets(byLambda), payroll)
				c.role("deploy", lets(byCI), payroll)
				return "role/ci:" + id + ":build-7 PutRolePolicy role/deploy own-1"
			},
		},
		{
			name: "of a role of Identity Center", reason: "AWSReservedSSO_Dev_0123 (session alice@example.com) wrote the inline policy own-1 into its own role.",
			world: func(c *court) string {
				id := c.role("AWSReservedSSO_Dev_0123", lets(byLambda), everything)
				return "role/AWSReservedSSO_Dev_0123:" + id + ":alice@example.com PutRolePolicy role/AWSReservedSSO_Dev_0123 own-1"
			},
			back: &grant.Plan{Left: []string{here + "role/AWSReservedSSO_Dev_0123 is not changed: change its permission set in IAM Identity Center."}},
		},
	})
}

func TestWhoRewritesAPolicyThatHeHas(t *testing.T) {
	versions := func(call, last string, documents ...string) func(*court) string {
		return func(c *court) string {
			c.user("alice", allow("iam:CreatePolicyVersion", "*"))
			arn := c.managed("deploy", documents[0])
			for _, d := range documents[1:] {
				c.version(arn, d)
			}
			c.attach("alice", arn)
			return "user/team/alice " + call + " " + arn + " " + last
		}
	}
	to := func(now, to string) *grant.Plan {
		return new(setting(grant.DefaultVersion, here+"policy/deploy", "", &now, &to, "policy/deploy"))
	}
	try(t, []verdict{
		{
			name: "as one that gives all", world: versions("CreatePolicyVersion", "v2", readLogs, everything),
			reason: "alice made v2 the default version of its policy deploy; it could because it holds iam:CreatePolicyVersion on *. That makes it administrator. " +
				"Take iam:CreatePolicyVersion out of its policy own-1, or allow it only on what has no more rights than it has itself.",
			back: to("v2", "v1"),
		},
		{name: "twice", world: versions("CreatePolicyVersion", "v4", readLogs, payroll, everything, everything), reason: "administrator", back: to("v4", "v2")},
		{name: "as one that was replaced since", world: versions("CreatePolicyVersion", "v2", readLogs, everything, readLogs)},
		{name: "as one that gives less than counts", world: versions("CreatePolicyVersion", "v2", readLogs, readLogs)},
		{name: "that gave all before", world: versions("CreatePolicyVersion", "v2", everything, everything)},
		{
			name: "to an older version", reason: "administrator", back: to("v1", "v2"),
			world: func(c *court) string {
				id := versions("SetDefaultPolicyVersion", "v1", everything, readLogs)(c)
				c.do(c.iam.SetDefaultPolicyVersion(c.Ctx, &iam.SetDefaultPolicyVersionInput{
					PolicyArn: aws.String(here + "policy/deploy"), VersionId: aws.String("v1"),
				}))
				return id
			},
		},
		{
			name: "and deletes what it was", reason: "administrator",
			back: &grant.Plan{Left: []string{"The policy deploy has no version but v2, so none can be put back: take out what it should not give, or detach it."}},
			world: func(c *court) string {
				id := versions("CreatePolicyVersion", "v2", readLogs, everything)(c)
				c.do(c.iam.DeletePolicyVersion(c.Ctx, &iam.DeletePolicyVersionInput{
					PolicyArn: aws.String(here + "policy/deploy"), VersionId: aws.String("v1"),
				}))
				return id
			},
		},
		{
			name: "that somebody else has",
			world: func(c *court) string {
				c.user("bob", mayGive)
				return "user/team/bob" + strings.TrimPrefix(versions("CreatePolicyVersion", "v2", readLogs, everything)(c), "user/team/alice")
			},
		},
		{
			name: "that a role has which he can assume", reason: "alice made v2 the default version of the policy deploy of the role build, which it can assume. That makes it administrator.",
			back: to("v2", "v1"),
			world: func(c *court) string {
				c.user("alice")
				c.role("build", lets(byAlice))
				c.role("other", lets(byLambda))
				arn := c.managed("deploy", readLogs)
				c.version(arn, everything)
				c.attachRole("build", arn)
				c.attachRole("other", arn)
				return "user/team/alice CreatePolicyVersion " + arn + " v2"
			},
		},
		{
			name: "that is the boundary which limits him", reason: "That makes it administrator.",
			back: new(setting(grant.DefaultVersion, here+"policy/Boundary", "", new("v2"), new("v1"), "policy/Boundary")),
			world: func(c *court) string {
				c.user("alice", everything)
				c.bound("alice", readLogs)
				c.version(here+"policy/Boundary", everything)
				return "user/team/alice CreatePolicyVersion " + here + "policy/Boundary v2"
			},
		},
	})
}

func TestWhoJoinsAGroup(t *testing.T) {
	joined := func(who, document string) func(*court) string {
		return func(c *court) string {
			c.user("alice", allow("iam:AddUserToGroup", "*"))
			c.user("bob")
			c.group("admins", document)
			c.join(who, "admins")
			return "user/team/alice AddUserToGroup user/" + who + " admins"
		}
	}
	try(t, []verdict{
		{
			name: "of administrators", world: joined("alice", everything),
			reason: "alice put itself into the group admins; it could because it holds iam:AddUserToGroup on *. That makes it administrator.",
			back:   new(setting(grant.Membership, "user/team/alice", "admins", new("member"), nil, "user/team/alice")),
		},
		{name: "that has less than counts", world: joined("alice", readLogs)},
		{name: "puts somebody else into it", world: joined("bob", everything)},
		{
			name: "and leaves it",
			world: func(c *court) string {
				id := joined("alice", everything)(c)
				c.do(c.iam.RemoveUserFromGroup(c.Ctx, &iam.RemoveUserFromGroupInput{UserName: aws.String("alice"), GroupName: aws.String("admins")}))
				return id
			},
		},
	})
}

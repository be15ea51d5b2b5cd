package identity_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/controls/identity"
	"github.com/snapback-aws/snapback/pkg/remedies/grant"
)

func TestWhoLetsHimselfIntoARole(t *testing.T) {
	role := func(trust, document string, own ...string) func(*court) string {
		return func(c *court) string {
			c.user("alice", own...)
			c.role("admin", trust, document)
			return "user/team/alice UpdateAssumeRolePolicy role/admin"
		}
	}
	to := func(now, to string, left ...string) *grant.Plan {
		plan := setting(grant.Trust, "role/admin", "", &now, &to, "role/admin")
		plan.Left = left
		return &plan
	}
	const (
		barred    = `{"Effect":"Deny","Principal":` + byAlice + `,"Action":"sts:AssumeRole"}`
		anybody   = "The statement that let alice into the role admin let in others too, by naming nobody in particular: give back to those what they need."
		bySeveral = `{"AWS":["` + here + `user/bob","` + here + `user/team/alice"]}`
	)
	try(t, []verdict{
		{
			name: "beside others", revoke: true,
			world:  role(policy(letsStatement(byLambda), letsStatement(bySeveral)), everything, allow("iam:Update*", "*")),
			reason: "alice let itself into the role admin by its trust policy; it could because it holds iam:Update* on *. That makes it administrator.",
			back: to(policy(letsStatement(byLambda), letsStatement(bySeveral)),
				policy(letsStatement(byLambda), letsStatement(`{"AWS":["`+here+`user/bob"]}`))),
		},
		{
			name: "in a statement of his own", revoke: true, reason: "administrator",
			world: role(policy(letsStatement(byLambda), letsStatement(byAlice)), everything),
			back:  to(policy(letsStatement(byLambda), letsStatement(byAlice)), lets(byLambda)),
		},
		{
			name: "in the only statement", revoke: true, reason: "administrator",
			world: role(lets(byAlice), everything), back: to(lets(byAlice), policy(barred)),
		},
		{
			name: "by his account", revoke: true, reason: "administrator",
			world: role(policy(letsStatement(byRoot), letsStatement(byLambda)), everything, allow("sts:AssumeRole", "*")),
			back:  to(policy(letsStatement(byRoot), letsStatement(byLambda)), lets(byLambda), anybody),
		},
		{
			name: "with everybody", revoke: true, reason: "administrator",
			world: role(policy(letsStatement(`"*"`), letsStatement(byLambda)), everything),
			back:  to(policy(letsStatement(`"*"`), letsStatement(byLambda)), lets(byLambda), anybody),
		},
		{name: "by his account, without a right to assume it", world: role(lets(byRoot), everything, mayGive)},
		{name: "lets in somebody else", world: role(lets(`{"AWS":"`+here+`user/bob"}`), everything, mayGive)},
		{name: "that has less than counts", world: role(lets(byAlice), readLogs, mayGive)},
		{name: "that has no more than he has", world: role(lets(byAlice), payroll, payroll)},
		{
			name: "as a session", revoke: true, reason: "ci (session build-7) let itself into the role admin by its trust policy. That makes it administrator.",
			world: func(c *court) string {
				id := c.role("ci", lets(byLambda))
				session := `{"AWS":"arn:aws:sts::` + local.MemberAccount + `:assumed-role/ci/build-7"}`
				c.role("admin", policy(letsStatement(session), letsStatement(byLambda)), everything)
				return "role/ci:" + id + ":build-7 UpdateAssumeRolePolicy role/admin"
			},
		},
		{
			name: "through another role", revoke: true, reason: "administrator",
			world: func(c *court) string {
				id := role(policy(letsStatement(byCI), letsStatement(byLambda)), everything)(c)
				c.role("ci", lets(byAlice))
				return id
			},
			back: to(policy(letsStatement(byCI), letsStatement(byLambda)), lets(byLambda)),
		},
		{
			name: "from which the way goes on", revoke: true, account: true, reason: "That opens it the path ",
			world: func(c *court) string {
				c.role("root", lets(`{"AWS":"`+here+`role/admin"}`), everything)
				return role(lets(byAlice), allow("sts:AssumeRole", "*"), allow("sts:AssumeRole", "*"))(c)
			},
		},
		{
			name: "from another account", revoke: true, reason: "arn:aws:iam::999999999999:user/eve let itself into the role admin",
			world: func(c *court) string {
				c.role("admin", policy(letsStatement(byLambda), letsStatement(`{"AWS":"999999999999"}`)), everything)
				return "foreign/arn:aws:iam::999999999999:user/eve UpdateAssumeRolePolicy role/admin"
			},
			back: to(policy(letsStatement(byLambda), letsStatement(`{"AWS":"999999999999"}`)), lets(byLambda)),
		},
		{
			name: "from another account that it does not let in",
			world: func(c *court) string {
				c.role("admin", lets(byLambda), everything)
				return "foreign/arn:aws:iam::999999999999:user/eve UpdateAssumeRolePolicy role/admin"
			},
		},
	})
}

func TestWhoActsAsAnotherUser(t *testing.T) {
	key := func(document string, own ...string) func(*court) string {
		return func(c *court) string {
			c.user("alice", own...)
			c.user("bob", document)
			return "user/team/alice CreateAccessKey user/bob " + c.key("bob")
		}
	}
	password := func(call string, document string) func(*court) string {
		return func(c *court) string {
			c.user("alice", allow("iam:*LoginProfile", "*"))
			c.user("bob", document)
			c.password("bob")
			return "user/team/alice " + call + " user/bob"
		}
	}
	quarantine := setting(grant.Boundary, "user/team/bob", "", nil, new("arn:aws:iam::aws:policy/AWSDenyAll"), "user/team/bob")
	quarantine.Left = []string{"User bob still has the password: it can't be given back, so the runbook iam-escalation-password deletes it on approval."}
	try(t, []verdict{
		{
			name: "by a key, an administrator", world: key(everything, allow("iam:CreateAccessKey", "*")),
			reason: "alice made an access key for the user bob; it could because it holds iam:CreateAccessKey on *. That makes it administrator.",
		},
		{name: "by a key, one who has no more", world: key(payroll, payroll)},
		{name: "by a key, as an administrator", world: key(everything, everything)},
		{
			name: "by a key that is inactive",
			world: func(c *court) string {
				id := key(everything)(c)
				c.do(c.iam.UpdateAccessKey(c.Ctx, &iam.UpdateAccessKeyInput{
					UserName: aws.String("bob"), AccessKeyId: aws.String(id[strings.LastIndex(id, " ")+1:]), Status: types.StatusTypeInactive,
				}))
				return id
			},
		},
		{
			name: "by a key of his own",
			world: func(c *court) string {
				c.user("alice", everything)
				return "user/team/alice CreateAccessKey user/alice " + c.key("alice")
			},
		},
		{
			name: "by a key, although nobody knows what he had", reason: "alice made an access key for the user bob. That lets it do s3:GetObject",
			world: func(c *court) string {
				c.user("bob", payroll)
				return "user/team/alice CreateAccessKey user/bob " + c.key("bob")
			},
		},
		{
			name: "by a password", world: password("CreateLoginProfile", everything), back: &quarantine,
			reason: "alice gave the user bob a password; it could because it holds iam:*LoginProfile on *.",
		},
		{name: "by another password", world: password("UpdateLoginProfile", everything), back: &quarantine, reason: "alice gave the user bob another password"},
		{name: "by a password, one who has less than counts", world: password("CreateLoginProfile", readLogs)},
		{
			name: "by a password that is deleted",
			world: func(c *court) string {
				id := password("CreateLoginProfile", everything)(c)
				c.do(c.iam.DeleteLoginProfile(c.Ctx, &iam.DeleteLoginProfileInput{UserName: aws.String("bob")}))
				return id
			},
		},
		{
			name: "by a password, one who is denied everything",
			world: func(c *court) string {
				id := password("CreateLoginProfile", everything)(c)
				c.bound("bob", deny("*"))
				return id
			},
		},
	})
}

func TestKeyOfAnotherUserIsMadeInactive(t *testing.T) {
	c := newCourt(t)
	c.user("alice", mayGive)
	c.user("bob", everything)
	key := c.key("bob")
	e, err := c.judge("user/team/alice CreateAccessKey user/bob " + key)
	lifecycle.Must(t, err)
	lifecycle.Same(t, "how it is taken back", e.Back, setting(grant.AccessKey, "user/team/bob", key, new("Active"), new("Inactive"), "user/team/bob"))
}

func TestWhoTakesOffWhatHoldsHim(t *testing.T) {
	free := func(call string, own ...string) func(*court) string {
		return func(c *court) string {
			c.user("alice", own...)
			return "user/team/alice " + call + " user/alice"
		}
	}
	bound := func(call, boundary string, own ...string) func(*court) string {
		return func(c *court) string {
			id := free(call, own...)(c)
			c.bound("alice", boundary)
			return id
		}
	}
	by := func(call func(*court) string) func(*court) string {
		return func(c *court) string { return call(c) + " " + here + "policy/Boundary" }
	}
	lost := &grant.Plan{Left: []string{"Which permissions boundary user/team/alice had before can't be read any more: put the right one back by hand."}}
	denial := func(document string) func(*court) string {
		return func(c *court) string {
			c.user("alice", everything)
			return "user/team/alice DetachUserPolicy user/alice " + c.managed("Denial", document)
		}
	}
	try(t, []verdict{
		{
			name: "his boundary", world: free("DeleteUserPermissionsBoundary", everything), back: lost,
			reason: "alice took the permissions boundary off itself; it could because it holds * on *. That makes it administrator.",
		},
		{name: "his boundary, with less than counts beneath", world: free("DeleteUserPermissionsBoundary", readLogs)},
		{name: "his boundary, and puts it back", world: bound("DeleteUserPermissionsBoundary", everything, everything)},
		{
			name: "the boundary of a role that he can assume", reason: "alice took the permissions boundary off the role deploy, which it can assume.",
			world: func(c *court) string {
				c.user("alice")
				c.role("deploy", lets(byAlice), everything)
				return "user/team/alice DeleteRolePermissionsBoundary role/deploy"
			},
		},
		{
			name: "the boundary of somebody else",
			world: func(c *court) string {
				c.user("alice", mayGive)
				c.user("bob", everything)
				return "user/team/alice DeleteUserPermissionsBoundary user/bob"
			},
		},
		{name: "his boundary for one that does not hold", world: by(bound("PutUserPermissionsBoundary", everything, everything)), back: lost, reason: "That makes it administrator."},
		{name: "his boundary for one that holds", world: by(bound("PutUserPermissionsBoundary", policy(
			`{"Effect":"Allow","Action":"*","Resource":"*"}`,
			`{"Effect":"Deny","Action":["iam:Put*Boundary","iam:Delete*Boundary"],"Resource":"*"}`), everything))},
		{
			name: "a policy that denies", world: denial(deny("*")),
			reason: "alice took Denial, which denied it something, off itself; it could because it holds * on *. That makes it administrator.",
			back:   new(setting(grant.AttachedPolicy, "user/team/alice", here+"policy/Denial", nil, new("attached"), "user/team/alice")),
		},
		{name: "a policy that allows", world: denial(everything)},
		{
			name: "a policy that denies, and puts it back",
			world: func(c *court) string {
				id := denial(deny("*"))(c)
				c.attach("alice", here+"policy/Denial")
				return id
			},
		},
	})
}

func TestWhoPassesARole(t *testing.T) {
	passed := func(role, document, call string) func(*court) string {
		return func(c *court) string {
			c.user("alice", allow("iam:PassRole", here+"role/*"))
			c.role("admin", lets(byLambda), document)
			return "user/team/alice " + call + " " + role
		}
	}
	try(t, []verdict{
		{
			name: "to a function", with: true,
			world: func(c *court) string {
				return passed("role/service/admin", everything, "CreateFunction20150331")(c) + " jobs"
			},
			reason: "alice passed the role admin to what it started with CreateFunction20150331; it could because it holds iam:PassRole on arn:aws:iam::222222222222:role/*. " +
				"That makes it administrator. Take iam:PassRole out of its policy own-1, or allow it only on what has no more rights than it has itself.",
			back: &grant.Plan{Left: []string{"jobs runs with the role admin: the runbook iam-escalation-compute stops it on approval."}},
		},
		{
			name: "to something that the call does not name", with: true, reason: "administrator",
			world: passed("role/admin", everything, "StartJobRun"),
			back:  &grant.Plan{Left: []string{"What StartJobRun started with the role admin still runs, and the call does not name it: find it, and stop it by hand."}},
		},
		{
			name: "in an instance profile", with: true, reason: "alice passed the role admin to what it started with RunInstances",
			world: func(c *court) string {
				id := passed("profile/web", everything, "RunInstances")(c)
				c.do(c.iam.CreateInstanceProfile(c.Ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("web")}))
				c.do(c.iam.AddRoleToInstanceProfile(c.Ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("web"), RoleName: aws.String("admin")}))
				return id + " i-0123456789abcdef0"
			},
		},
		{name: "that has less than counts", world: passed("role/admin", readLogs, "StartJobRun")},
		{
			name: "that no service may have, and that the call only names",
			world: func(c *court) string {
				c.user("alice")
				c.role("admin", lets(byRoot), everything)
				return "user/team/alice CreateProject role/admin"
			},
		},
		{name: "that is gone", world: passed("role/gone", everything, "StartJobRun")},
		{name: "as which AWS alone acts", world: passed("role/aws-service-role/autoscaling.amazonaws.com/admin", everything, "CreateAutoScalingGroup")},
		{
			name: "that is his own",
			world: func(c *court) string {
				return "role/ci:" + c.role("ci", lets(byLambda), payroll) + ":build-7 CreateFunction20150331 role/ci jobs"
			},
		},
	})
}

func TestWhatIsDecidedWithoutACall(t *testing.T) {
	for name, id := range map[string]string{
		"an administrator by the baseline": "user/team/alice AttachUserPolicy user/alice arn:aws:iam::aws:policy/AdministratorAccess",
		"root":                             "root AttachUserPolicy user/alice arn:aws:iam::aws:policy/AdministratorAccess",
		"somebody else's group":            "role/ci:AROAEXAMPLE:build-7 AddUserToGroup user/bob admins",
	} {
		t.Run(name, func(t *testing.T) {
			c := newCourt(t)
			c.identities.Administrators = []string{"arn:aws:iam::*:user/team/*"}
			c.user("alice", everything)
			e, err := c.judge(id)
			lifecycle.Must(t, err)
			if e != nil || len(c.calls) > 0 {
				t.Errorf("got %+v after the calls %v", e, c.calls)
			}
		})
	}
}

func TestWhatCannotBeKnownIsToldAndNotTriedAgain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		world func(*court) string
		want  string // empty: it does not matter
	}{
		{
			"a policy of his that can't be understood",
			func(c *court) string {
				c.user("alice", deny("s3:ListBucket"))
				arn := c.managed("AdministratorAccess", everything)
				c.attach("alice", arn)
				c.Rewrite("IAM.GetUserPolicy", "Deny", "Perhaps")
				return "user/team/alice AttachUserPolicy user/alice " + arn
			},
			"the policy own-1 of " + here + "user/team/alice can't be understood",
		},
		{
			"a policy of his that can't be understood, beside a harmless one",
			func(c *court) string {
				c.user("alice", deny("s3:ListBucket"))
				arn := c.managed("Logs", allow("s3:PutObject", "*"))
				c.attach("alice", arn)
				c.Rewrite("IAM.GetUserPolicy", "Deny", "Perhaps")
				return "user/team/alice AttachUserPolicy user/alice " + arn
			},
			"",
		},
		{
			"a policy of an administrator that can't be understood",
			func(c *court) string {
				c.user("alice", deny("s3:ListBucket"))
				arn := c.managed("AdministratorAccess", everything)
				c.attach("alice", arn)
				c.attach("alice", c.managed("More", everything))
				c.Rewrite("IAM.GetUserPolicy", "Deny", "Perhaps")
				return "user/team/alice AttachUserPolicy user/alice " + arn
			},
			"",
		},
		{
			"a trust policy that can't be understood",
			func(c *court) string {
				c.user("alice", mayGive)
				c.role("admin", lets(byAlice), everything)
				c.Rewrite("IAM.GetRole", "Allow", "Perhaps")
				return "user/team/alice UpdateAssumeRolePolicy role/admin"
			},
			"the trust policy of " + here + "role/admin can't be understood",
		},
		{
			"a policy that an administrator deleted from himself",
			func(c *court) string {
				c.user("alice", everything)
				return "user/team/alice DeleteUserPolicy user/alice old"
			},
			"the policy old that it took off itself is gone; if it denied something, taking it off makes it administrator",
		},
		{
			"a policy that somebody harmless deleted from himself",
			func(c *court) string {
				c.user("alice", readLogs)
				return "user/team/alice DeleteUserPolicy user/alice old"
			},
			"",
		},
		{
			"a policy that is gone, which he had taken off himself",
			func(c *court) string {
				c.user("alice", everything)
				return "user/team/alice DetachUserPolicy user/alice " + here + "policy/old"
			},
			"the policy old that it took off itself is gone",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCourt(t)
			e, err := c.judge(tt.world(c))
			if e != nil {
				t.Fatalf("found an escalation: %s", e.Reason)
			}
			if tt.want == "" {
				lifecycle.Must(t, err)
				return
			}
			if err == nil || !strings.Contains(cloud.Reason(err), "can't tell whether this is an escalation: "+tt.want) {
				t.Fatalf("got error %v, want it to say %q", err, tt.want)
			}
			if !cloud.Permanent(err) {
				t.Error("it would be tried again, for nothing")
			}
		})
	}
}

// waiting delays every answer to a session, so that calls made side by side
// overlap for certain.
func (c *court) waiting() {
	for call := range declared() {
		c.Proxy.Inject(call, 1, local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
			<-time.After(100 * time.Millisecond)
			x.Answer(x.Forward())
		}})
	}
}

func TestSelfAttachIsJudgedInFourRoundTrips(t *testing.T) {
	c := newCourt(t)
	c.user("alice", mayGive)
	c.group("staff", readLogs)
	c.join("alice", "staff")
	arn := c.managed("AdministratorAccess", everything)
	c.attach("alice", arn)
	c.waiting()
	e, err := c.judge("user/team/alice AttachUserPolicy user/alice " + arn)
	lifecycle.Must(t, err)
	if e == nil {
		t.Fatal("no escalation was found")
	}
	if got := cloud.RoundTrips(c.calls); got > 4 || c.called("GetAccountAuthorizationDetails") {
		t.Errorf("it took %d serial round trips: %v", got, c.calls)
	}
}

func TestRemediesThatAskAtOnceShareOneVerdict(t *testing.T) {
	c := newCourt(t)
	c.user("alice", mayGive)
	arn := c.managed("AdministratorAccess", everything)
	c.attach("alice", arn)
	c.waiting()
	judge, target := identity.NewJudge(c.identities), c.Target("user/team/alice AttachUserPolicy user/alice "+arn)
	ctx, recorder := cloud.Record(c.Ctx)
	var side sync.WaitGroup
	for range 3 {
		side.Go(func() {
			if e, err := judge(ctx, c.Session, target); e == nil || err != nil {
				t.Errorf("got %+v, %v", e, err)
			}
		})
	}
	side.Wait()
	users := 0
	for _, call := range recorder.Calls() {
		if call.Operation == "GetUser" {
			users++
		}
	}
	if users != 1 {
		t.Errorf("the user was read %d times", users)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := judge(ended, c.Session, target); err == nil {
		t.Error("a verdict that is over is kept for those who ask later")
	}
}

package main_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/tidwall/gjson"

	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/internal/site"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
)

// deed is what somebody does to raise his rights, and its innocent twins.
type deed struct {
	name     string
	baseline []string // enforced, if nothing is said
	// world is what the account holds besides alice.
	world func(*member)
	// twins do what looks like it, one after the other, and return the call. Nothing
	// may come of any of them.
	twins []func(*member) []byte
	do    func(*member) []byte
	// want are the lines of the account's IAM that are different once it is answered.
	want func(m *member, raised scene.World) scene.World
	// steps is how they ended: userContained, if nothing is said. Told is the alert.
	steps, told string
	// reason is a part of what the operators read.
	reason string
}

// play walks the way of all calls: the twins, the deed, the same call again, and
// the undo.
func (d deed) play(t *testing.T) {
	if d.baseline == nil {
		d.baseline = []string{adminPolicyOff, enforced}
	}
	m := newMember(t, d.baseline...)
	if d.world != nil {
		d.world(m)
	}
	for _, twin := range d.twins {
		m.innocent(twin(m))
	}
	if d.steps == "" {
		d.steps = userContained
	}
	outcome := control.Remediated
	if d.told == "" {
		d.told = "CONTAINED"
	} else {
		outcome = control.Partial
	}
	call := d.do(m)
	raised := m.world()
	m.Handle(call)
	m.wantWorld(raised, d.want(m, raised))
	c := m.OneCase(escalation)
	site.WantCase(t, c, outcome, d.steps)
	if a := m.Told(d.told); a.Severity != control.Critical || !strings.Contains(a.Reason, d.reason) {
		t.Errorf("the alert says %s: %s", a.Severity, a.Reason)
	}

	m.innocent(call)
	if a := m.Done(engine.Undo, c); len(a.Notes) > 0 {
		t.Errorf("the undo left %q", a.Notes)
	}
	m.wantWorld(raised, nil)
	m.Told("RELEASED")
}

func TestWhoRaisesHisRightsIsStopped(t *testing.T) {
	for _, d := range []deed{
		selfAttach, boundBefore, newVersion, inlineOnOwnGroup, offendingStatement, trustPolicy, keyOfAnother,
		boundaryRemoved, ofASession, ofARole, ofAFederatedSession,
	} {
		t.Run(d.name, d.play)
	}
}

var selfAttach = deed{
	name:     "attaches a policy to himself",
	baseline: []string{adminPolicyOff, enforced, listed},
	world: func(m *member) {
		m.user("/", "bob")
		m.user("/admins/", "dave", allow("iam:*", "*"))
	},
	twins: []func(*member) []byte{
		func(m *member) []byte { // of less than he has
			arn := m.managed("reports", reads)
			m.attach("alice", arn)
			return m.call("iam-attach-user-policy", scene.Administrator, arn)
		},
		func(m *member) []byte { // an administrator by the baseline
			m.attach("dave", scene.Administrator)
			return m.call("iam-attach-user-policy", "user/alice", "user/admins/dave", `"alice"`, `"dave"`)
		},
		func(m *member) []byte { // an administrator of Identity Center, to somebody else
			m.attach("bob", scene.Administrator)
			return m.bySSO(`"userName": "alice"`, `"userName": "bob"`)
		},
	},
	do: func(m *member) []byte { return m.raise("alice") },
	want: func(m *member, raised scene.World) scene.World {
		return with(contained(raised, "alice"), scene.World{"user alice policies": lessAdministrator(m)})
	},
	reason: "alice attached AdministratorAccess to itself; it could because it holds iam:AttachUserPolicy on *. That makes it administrator.",
}

// lessAdministrator are the policies that selfAttach leaves alice.
func lessAdministrator(m *member) string { return "arn:aws:iam::" + m.Account + ":policy/reports" }

// bySSO is a call of an administrator who came through Identity Center.
func (m *member) bySSO(edits ...string) []byte {
	m.T.Helper()
	const name = "AWSReservedSSO_AdministratorAccess_fedcba9876543210"
	id := m.role("/aws-reserved/sso.amazonaws.com/eu-west-1/", name, policy(lets(`{"Federated":"arn:aws:iam::`+m.Account+`:saml-provider/sso"}`)))
	m.attachRole(name, scene.Administrator)
	return m.call("iam-attach-user-policy-administrator", append(edits, "AROAEXAMPLESSO0000002", id)...)
}

// The boundary that he had is put back by the undo.
var boundBefore = deed{
	name: "attaches a policy within a boundary that does not hold",
	world: func(m *member) {
		m.bound("alice", m.managed("wide", everything))
		m.person("dora")
		m.bound("dora", m.managed("narrow", reads))
	},
	twins: []func(*member) []byte{
		func(m *member) []byte { return m.raise("dora") }, // a boundary makes it empty
	},
	do: func(m *member) []byte { return m.raise("alice") },
	want: func(_ *member, raised scene.World) scene.World {
		return with(contained(raised, "alice"), scene.World{"user alice policies": ""})
	},
}

func (m *member) version(document string) {
	m.T.Helper()
	m.do(m.iam.CreatePolicyVersion(m.T.Context(), &iam.CreatePolicyVersionInput{
		PolicyArn: aws.String("arn:aws:iam::" + m.Account + ":policy/deploy"), PolicyDocument: &document, SetAsDefault: true,
	}))
}

var newVersion = deed{
	name: "rewrites a policy that he has",
	world: func(m *member) {
		m.attach("alice", m.managed("deploy", allow("s3:*", "arn:aws:s3:::example-reports/*")))
		m.inline("alice", "rewrites", allow("iam:CreatePolicyVersion", "*"))
	},
	twins: []func(*member) []byte{
		func(m *member) []byte { // narrower
			m.version(reads)
			return m.call("iam-create-policy-version")
		},
	},
	do: func(m *member) []byte {
		m.version(everything)
		return m.call("iam-create-policy-version", `"v2"`, `"v3"`)
	},
	want: func(_ *member, raised scene.World) scene.World {
		return with(contained(raised, "alice"), scene.World{"policy deploy default": "v2"})
	},
	reason: "alice made v3 the default version of its policy deploy",
}

func (m *member) groupPolicy(group, document string) {
	m.T.Helper()
	m.do(m.iam.PutGroupPolicy(m.T.Context(), &iam.PutGroupPolicyInput{
		GroupName: &group, PolicyName: aws.String("everything"), PolicyDocument: &document,
	}))
}

var inlineOnOwnGroup = deed{
	name: "writes a policy into his own group",
	world: func(m *member) {
		m.do(m.iam.CreateGroup(m.T.Context(), &iam.CreateGroupInput{GroupName: aws.String("developers")}))
	},
	twins: []func(*member) []byte{
		func(m *member) []byte { // into one that he is not in
			m.groupPolicy("developers", everything)
			return m.call("iam-put-group-policy")
		},
	},
	do: func(m *member) []byte {
		m.groupPolicy("alice-team", everything)
		return m.call("iam-put-group-policy", "developers", "alice-team")
	},
	want: func(_ *member, raised scene.World) scene.World {
		return with(contained(raised, "alice"), scene.World{"group alice-team policy everything": ""})
	},
	reason: "alice wrote the inline policy everything into its group alice-team",
}

// Statements of a policy, as somebody may have typed them.
const (
	harmless  = "{ \"Sid\": \"Reports\",\n  \"Effect\":\"Allow\", \"Action\" : [ \"s3:GetObject\" ], \"Resource\": \"arn:aws:s3:::example-reports/*\" }"
	offending = `{"Sid":"All","Effect":"Allow","Action":"*","Resource":"*"}`
)

var offendingStatement = deed{
	name: "writes a policy with an offending and a harmless statement",
	do: func(m *member) []byte {
		m.inline("alice", "everything", policy(harmless, offending))
		return m.call("iam-put-user-policy")
	},
	want: func(_ *member, raised scene.World) scene.World {
		return with(contained(raised, "alice"), scene.World{"user alice policy everything": policy(harmless)})
	},
}

func (m *member) trust(statements ...string) []byte {
	m.T.Helper()
	document := policy(statements...)
	m.do(m.iam.UpdateAssumeRolePolicy(m.T.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: aws.String("admin"), PolicyDocument: &document}))
	return m.call("iam-update-assume-role-policy")
}

// The role is assumed before the call is answered: whoever has a session of it is
// denied everything, and the trust policy lets nobody in again.
var trustPolicy = deed{
	name: "lets himself into a role and assumes it",
	world: func(m *member) {
		m.role("/", "admin", policy(lets(byLambda)))
		m.attachRole("admin", scene.Administrator)
		m.inline("alice", "trusts", allow("iam:UpdateAssumeRolePolicy", "*"))
	},
	twins: []func(*member) []byte{
		func(m *member) []byte { return m.trust(lets(byLambda), lets(byEC2)) },
	},
	do: func(m *member) []byte {
		call := m.trust(lets(byLambda), lets(`{"AWS":"arn:aws:iam::`+m.Account+`:user/alice"}`))
		m.do(sts.NewFromConfig(m.Config()).AssumeRole(m.T.Context(), &sts.AssumeRoleInput{
			RoleArn: aws.String("arn:aws:iam::" + m.Account + ":role/admin"), RoleSessionName: aws.String("alice"),
		}))
		return call
	},
	want: func(m *member, raised scene.World) scene.World {
		name, document := m.added("admin", "snapback-revoke-")
		deny := gjson.Get(document, "Statement")
		before, err := time.Parse(time.RFC3339, deny.Get("Condition.DateLessThan.aws:TokenIssueTime").Str)
		if err != nil || before.Before(time.Now().Add(-time.Minute)) || deny.Get("Effect").Str != "Deny" || deny.Get("Action").Str != "*" {
			m.T.Errorf("the role's sessions are not revoked: %s", document)
		}
		return with(contained(raised, "alice"), scene.World{"role admin trust": policy(lets(byLambda)), name: document})
	},
	steps:  strings.Replace(userContained, "revoke-role-sessions compliant", "revoke-role-sessions remediated", 1),
	reason: "alice let itself into the role admin by its trust policy",
}

// added is the line of the one inline policy of a role whose name begins so, and
// its text.
func (m *member) added(role, prefix string) (name, document string) {
	m.T.Helper()
	for line, text := range m.world() {
		if strings.HasPrefix(line, "role "+role+" policy "+prefix) {
			if name != "" {
				m.T.Errorf("the role %s has more than one policy %s", role, prefix)
			}
			name, document = line, text
		}
	}
	if name == "" {
		m.T.Fatalf("the role %s has no policy %s\n%s", role, prefix, m.Function.Logs())
	}
	return name, document
}

var keyOfAnother = deed{
	name: "makes an access key for an administrator",
	world: func(m *member) {
		m.user("/", "bob", everything)
		m.user("/", "bea", everything)
		m.user("/", "carl", reads)
		m.inline("alice", "keys", allow("iam:CreateAccessKey", "*"))
	},
	twins: []func(*member) []byte{
		func(m *member) []byte { // for one who has no more than he
			return m.call("iam-create-access-key", `"bob"`, `"carl"`, "AKIAI44QH8DHBEXAMPLE", m.key("carl"))
		},
		func(m *member) []byte { // for himself
			return m.call("iam-create-access-key", `"bob"`, `"alice"`, "AKIAI44QH8DHBEXAMPLE", m.key("alice"))
		},
		func(m *member) []byte { // an administrator does
			return m.bySSO("AttachUserPolicy", "CreateAccessKey", `"userName": "alice",`, `"userName": "bea"`,
				`"policyArn": "`+scene.Administrator+`"`, "", `"responseElements": null`,
				`"responseElements": {"accessKey": {"accessKeyId": "`+m.key("bea")+`"}}`)
		},
	},
	do: func(m *member) []byte { return m.call("iam-create-access-key", "AKIAI44QH8DHBEXAMPLE", m.key("bob")) },
	want: func(_ *member, raised scene.World) scene.World {
		return with(contained(raised, "alice"), scene.World{"user bob keys": inactive(raised, "bob")})
	},
	reason: "alice made an access key for the user bob",
}

// What he had before can't be put back: nobody knows it.
var boundaryRemoved = deed{
	name: "takes off his own boundary",
	world: func(m *member) {
		narrow := m.managed("narrow", reads)
		m.inline("alice", "beneath", everything)
		m.bound("alice", narrow)
		m.user("/", "carl", reads)
		m.bound("carl", narrow)
	},
	twins: []func(*member) []byte{
		func(m *member) []byte { // nothing is gained
			m.unbound("carl")
			return m.call("iam-delete-user-permissions-boundary", "alice", "carl")
		},
	},
	do: func(m *member) []byte {
		m.unbound("alice")
		return m.call("iam-delete-user-permissions-boundary")
	},
	want:   func(_ *member, raised scene.World) scene.World { return contained(raised, "alice") },
	steps:  strings.Replace(userContained, "take-back-grant remediated", "take-back-grant observed", 1),
	told:   "PARTLY CONTAINED",
	reason: "alice took the permissions boundary off itself",
}

// pipeline is a role that may attach policies to roles.
func pipeline(m *member) {
	m.role("/", "ci-deploy", policy(lets(byLambda)))
	document := allow("iam:AttachRolePolicy", "*")
	m.do(m.iam.PutRolePolicy(m.T.Context(), &iam.PutRolePolicyInput{
		RoleName: aws.String("ci-deploy"), PolicyName: aws.String("deploys"), PolicyDocument: &document,
	}))
}

// bySession is a call of session build-7 of the pipeline.
func (m *member) bySession(policy string) []byte {
	m.T.Helper()
	m.attachRole("ci-deploy", policy)
	role, err := m.iam.GetRole(m.T.Context(), &iam.GetRoleInput{RoleName: aws.String("ci-deploy")})
	site.Must(m.T, err)
	return m.call("iam-attach-role-policy", "AROAEXAMPLECI00000001", aws.ToString(role.Role.RoleId), scene.Administrator, policy)
}

// sessionIsDenied are the lines of the pipeline's role once its session is denied.
func sessionIsDenied(m *member) scene.World {
	m.T.Helper()
	name, document := m.added("ci-deploy", "snapback-deny-")
	deny := gjson.Get(document, "Statement")
	if deny.Get("Effect").Str != "Deny" || deny.Get("Action").Str != "*" ||
		!strings.HasSuffix(deny.Get("Condition.StringEquals.aws:userid").Str, ":build-7") {
		m.T.Errorf("the session is not denied: %s", document)
	}
	return scene.World{name: document, "role ci-deploy policies": "arn:aws:iam::" + m.Account + ":policy/reports"}
}

var ofASession = deed{
	name:  "is a session of a role",
	world: pipeline,
	twins: []func(*member) []byte{
		func(m *member) []byte { return m.bySession(m.managed("reports", reads)) },
	},
	do:     func(m *member) []byte { return m.bySession(scene.Administrator) },
	want:   func(m *member, _ scene.World) scene.World { return sessionIsDenied(m) },
	steps:  sessionDenied,
	reason: "ci-deploy (session build-7) attached AdministratorAccess to its own role",
}

var ofARole = deed{
	name:     "is a role, all sessions of which are to be revoked",
	baseline: []string{adminPolicyOff, "runbooks: {iam-privilege-escalation: {mode: enforce, params: {revoke-role-sessions: true}}}"},
	world:    pipeline,
	twins:    ofASession.twins,
	do:       ofASession.do,
	want: func(m *member, _ scene.World) scene.World {
		name, document := m.added("ci-deploy", "snapback-revoke-")
		if !gjson.Get(document, "Statement.Condition.DateLessThan.aws:TokenIssueTime").Exists() {
			m.T.Errorf("the role's sessions are not revoked: %s", document)
		}
		return with(sessionIsDenied(m), scene.World{name: document})
	},
	steps: strings.Replace(sessionDenied, "revoke-role-sessions compliant", "revoke-role-sessions remediated", 1),
}

// It is its user who is stopped: the session has no rights of its own.
var ofAFederatedSession = deed{
	name: "is a federated session",
	do: func(m *member) []byte {
		return site.Edited(m.T, m.raise("alice"), `"type": "IAMUser"`, `"type": "FederatedUser"`, "AIDAEXAMPLEALICE00001", m.Account+":report",
			"arn:aws:iam::"+m.Account+":user/alice", "arn:aws:sts::"+m.Account+":federated-user/report",
			"AKIAIOSFODNN7EXAMPLE\",\n      \"userName\": \"alice\"", `ASIAIOSFODNN7EXAMPLE", "sessionContext": {"sessionIssuer": {"type": "IAMUser", `+
				`"accountId": "`+m.Account+`", "arn": "arn:aws:iam::`+m.Account+`:user/alice", "userName": "alice"}}`)
	},
	want: func(_ *member, raised scene.World) scene.World {
		return with(contained(raised, "alice"), scene.World{"user alice policies": ""})
	},
	reason: "alice (session report) attached AdministratorAccess to itself",
}

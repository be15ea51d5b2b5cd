// Package main_test plays the identity domain with its built function: from a
// call on its queue to the state of the member account, the ledger, and the alert
// on the queue of the operators.
//
// moto enforces neither boundaries nor denials, nor does it ask trust policies who
// may assume a role: what is asserted is what is set, not that it holds.
package main_test

import (
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/internal/site"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/identity"
)

const (
	escalation = "iam-privilege-escalation"
	computing  = "iam-escalation-compute"
	password   = "iam-escalation-password"

	// enforced lets whoever raises his rights be stopped at once.
	enforced = "runbooks: {iam-privilege-escalation: {mode: enforce}}"
	// adminPolicyOff: what the control finds in the same policies is another matter.
	adminPolicyOff = `controls: {iam-admin-policy: {mode: "off"}}`
	// listed are administrators by the baseline.
	listed = `administrators: ["arn:aws:iam::*:user/admins/*"]`

	denyAll = "arn:aws:iam::aws:policy/AWSDenyAll"

	// userContained and sessionContained are how the steps end that stop a user, and a
	// role's session.
	userContained = "take-back-grant remediated, deny-principal remediated, deactivate-access-keys remediated, revoke-role-sessions compliant"
	sessionDenied = "take-back-grant remediated, deny-principal remediated, deactivate-access-keys compliant, revoke-role-sessions compliant"
)

var house = &site.House{Domain: identity.Domain()}

func TestMain(m *testing.M) { os.Exit(house.Main(m)) }

// member is an account in which alice works: she may attach any policy to any
// user.
type member struct {
	*site.Site
	iam   *iam.Client
	alice *scene.Person
}

func newMember(t *testing.T, lines ...string) *member {
	t.Helper()
	m := &member{Site: house.New(t, lines...)}
	m.iam = iam.NewFromConfig(m.Config())
	m.alice = m.person("alice")
	return m
}

func (m *member) person(name string) *scene.Person {
	m.T.Helper()
	p, err := scene.MakePerson(m.T.Context(), m.Config(), name)
	site.Must(m.T, err)
	return p
}

// do ends the test if a call of the account's own fails. What is there already was
// made by the call's first attempt, whose answer was lost: under load moto drops
// one now and then.
func (m *member) do(_ any, err error) {
	m.T.Helper()
	if !cloud.Is(err, "EntityAlreadyExists") {
		site.Must(m.T, err)
	}
}

// user makes a user with a path, such as "/admins/", and inline policies.
func (m *member) user(path, name string, documents ...string) {
	m.T.Helper()
	m.do(m.iam.CreateUser(m.T.Context(), &iam.CreateUserInput{UserName: &name, Path: &path}))
	for _, d := range documents {
		m.inline(name, "own", d)
	}
}

func (m *member) inline(user, name, document string) {
	m.T.Helper()
	m.do(m.iam.PutUserPolicy(m.T.Context(), &iam.PutUserPolicyInput{UserName: &user, PolicyName: &name, PolicyDocument: &document}))
}

func (m *member) attach(user, arn string) {
	m.T.Helper()
	m.do(m.iam.AttachUserPolicy(m.T.Context(), &iam.AttachUserPolicyInput{UserName: &user, PolicyArn: &arn}))
}

func (m *member) attachRole(role, arn string) {
	m.T.Helper()
	m.do(m.iam.AttachRolePolicy(m.T.Context(), &iam.AttachRolePolicyInput{RoleName: &role, PolicyArn: &arn}))
}

// role makes a role and returns its unique ID.
func (m *member) role(path, name, trust string) string {
	m.T.Helper()
	out, err := m.iam.CreateRole(m.T.Context(), &iam.CreateRoleInput{RoleName: &name, Path: &path, AssumeRolePolicyDocument: &trust})
	site.Must(m.T, err)
	return aws.ToString(out.Role.RoleId)
}

// managed makes a managed policy and returns its ARN.
func (m *member) managed(name, document string) string {
	m.T.Helper()
	out, err := m.iam.CreatePolicy(m.T.Context(), &iam.CreatePolicyInput{PolicyName: &name, PolicyDocument: &document})
	site.Must(m.T, err)
	return aws.ToString(out.Policy.Arn)
}

// bound gives a user a permissions boundary.
func (m *member) bound(user, arn string) {
	m.T.Helper()
	m.do(m.iam.PutUserPermissionsBoundary(m.T.Context(), &iam.PutUserPermissionsBoundaryInput{UserName: &user, PermissionsBoundary: &arn}))
}

func (m *member) unbound(user string) {
	m.T.Helper()
	m.do(m.iam.DeleteUserPermissionsBoundary(m.T.Context(), &iam.DeleteUserPermissionsBoundaryInput{UserName: &user}))
}

// key makes an access key and returns its ID.
func (m *member) key(user string) string {
	m.T.Helper()
	out, err := m.iam.CreateAccessKey(m.T.Context(), &iam.CreateAccessKeyInput{UserName: &user})
	site.Must(m.T, err)
	return aws.ToString(out.AccessKey.AccessKeyId)
}

// Documents that are given and taken.
var (
	everything = allow("*", "*")
	reads      = allow("s3:GetObject", "arn:aws:s3:::example-reports/*")
)

func allow(action, resource string) string {
	return policy(`{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}`)
}

func policy(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// lets is a statement of a trust policy that lets one principal in.
func lets(principal string) string {
	return `{"Effect":"Allow","Principal":` + principal + `,"Action":"sts:AssumeRole"}`
}

const (
	byLambda = `{"Service":"lambda.amazonaws.com"}`
	byEC2    = `{"Service":"ec2.amazonaws.com"}`
)

// call is one of the calls of events/cloudtrail, made in this account, with other
// texts in it.
func (m *member) call(name string, edits ...string) []byte {
	m.T.Helper()
	return site.Edited(m.T, site.Edited(m.T, site.Sample(m.T, "cloudtrail/"+name), "222222222222", m.Account), edits...)
}

// raise lets a user attach AdministratorAccess to himself, and returns the call.
func (m *member) raise(name string) []byte {
	m.T.Helper()
	m.attach(name, scene.Administrator)
	return m.call("iam-attach-user-policy", "alice", name)
}

// world is the account's whole IAM.
func (m *member) world() scene.World {
	m.T.Helper()
	w, err := scene.IAM(m.T.Context(), m.Config())
	site.Must(m.T, err)
	return w
}

// wantWorld compares the account's whole IAM with what it was, but for some lines;
// an empty one must not be there.
func (m *member) wantWorld(was scene.World, but scene.World) {
	m.T.Helper()
	want := maps.Clone(was)
	maps.Copy(want, but)
	maps.DeleteFunc(want, func(_, line string) bool { return line == "" })
	if diff := cmp.Diff(want, m.world()); diff != "" {
		m.T.Errorf("the account's IAM (-want +got):\n%s\n%s", diff, m.Function.Logs())
	}
}

// contained are the lines of a user who is stopped.
func contained(raised scene.World, name string) scene.World {
	return scene.World{"user " + name + " boundary": denyAll, "user " + name + " keys": inactive(raised, name)}
}

// inactive is the line of a user's access keys with all of them inactive.
func inactive(raised scene.World, name string) string {
	return strings.ReplaceAll(raised["user "+name+" keys"], " Active", " Inactive")
}

// with adds lines.
func with(w, more scene.World) scene.World {
	maps.Copy(w, more)
	return w
}

// innocent hands the function a call that is looked into, and of which nothing
// may come.
func (m *member) innocent(call []byte) {
	m.T.Helper()
	seen := len(m.Outcomes())
	m.again(call)
	looked := false
	for _, o := range m.Outcomes()[seen:] {
		looked = looked || o.Control == escalation && o.Outcome == control.Compliant
		if o.Outcome != control.Compliant && o.Outcome != control.Ignored {
			m.T.Errorf("%s ends as %s: %s", o.Control, o.Outcome, o.Reason)
		}
	}
	if !looked {
		m.T.Errorf("it was not looked into\n%s", m.Function.Logs())
	}
}

// again hands the function a call that is answered already: nothing more comes of
// it.
func (m *member) again(call []byte) {
	m.T.Helper()
	before, cases := m.world(), len(m.Cases())
	m.Handle(call)
	m.wantWorld(before, nil)
	m.NotTold()
	if n := len(m.Cases()); n != cases {
		m.T.Errorf("there are %d more cases", n-cases)
	}
}

package main_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/site"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

const (
	keyRunbook     = "iam-deactivate-key"
	userRunbook    = "iam-contain-user"
	sessionRunbook = "iam-contain-session"

	// cutOff lets credentials be cut off at once, from medium severity up.
	cutOff  = "runbooks: {\"iam-*\": {mode: enforce, from-severity: 4}}"
	denyAll = "arn:aws:iam::aws:policy/AWSDenyAll"
)

// staff are the principals of a member that findings are about.
type staff struct {
	*member
	iam                  *iam.Client
	userID, roleID       string
	misused, other       string // alice's access keys
	session, sessionUser string // of the role deploy, and its aws:userid
}

// staffed makes the user alice with two access keys, and the role deploy, both
// below paths, and beside them the user bob.
func (s *member) staffed() *staff {
	s.T.Helper()
	ctx := s.T.Context()
	p := &staff{member: s, iam: iam.NewFromConfig(s.Config()), session: "build-7"}
	for _, name := range []string{"bob", "alice"} {
		made, err := p.iam.CreateUser(ctx, &iam.CreateUserInput{UserName: &name, Path: aws.String("/team/")})
		site.Must(s.T, err)
		p.userID = *made.User.UserId
		p.misused = p.other
		for _, key := range []*string{&p.misused, &p.other} {
			created, err := p.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name})
			site.Must(s.T, err)
			*key = *created.AccessKey.AccessKeyId
		}
	}
	p.roleID = p.role("deploy", "/ci/")
	p.sessionUser = p.roleID + ":" + p.session
	_, err := p.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
		RoleName: aws.String("deploy"), PolicyName: aws.String("own"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`),
	})
	site.Must(s.T, err)
	return p
}

func (p *staff) role(name, path string) (id string) {
	p.T.Helper()
	made, err := p.iam.CreateRole(p.T.Context(), &iam.CreateRoleInput{
		RoleName: &name, Path: &path,
		AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}`),
	})
	site.Must(p.T, err)
	return *made.Role.RoleId
}

// finding is one of the findings of events/guardduty, about this staff.
func (p *staff) finding(name string) []byte {
	p.T.Helper()
	return []byte(strings.NewReplacer(
		"222222222222", p.Account, "AIDAEXAMPLEALICE00001", p.userID, "AKIAIOSFODNN7EXAMPLE", p.misused, "AROAEXAMPLEDEPLOY0001", p.roleID,
	).Replace(string(sample(p.T, name))))
}

// people is everything about the users and roles of a member that could be touched.
func (p *staff) people() map[string]any {
	p.T.Helper()
	ctx, all := p.T.Context(), map[string]any{}
	users, err := p.iam.ListUsers(ctx, &iam.ListUsersInput{})
	site.Must(p.T, err)
	for _, u := range users.Users {
		got, err := p.iam.GetUser(ctx, &iam.GetUserInput{UserName: u.UserName})
		site.Must(p.T, err)
		keys, err := p.iam.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: u.UserName})
		site.Must(p.T, err)
		all["user "+*u.UserName] = lifecycle.Comparable(got.User)
		for _, k := range keys.AccessKeyMetadata {
			all["key "+*k.AccessKeyId] = string(k.Status)
		}
	}
	roles, err := p.iam.ListRoles(ctx, &iam.ListRolesInput{})
	site.Must(p.T, err)
	for _, r := range roles.Roles {
		policies, err := p.iam.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: r.RoleName})
		site.Must(p.T, err)
		for _, name := range policies.PolicyNames {
			got, err := p.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: r.RoleName, PolicyName: &name})
			site.Must(p.T, err)
			text, err := url.PathUnescape(*got.PolicyDocument)
			site.Must(p.T, err)
			all["policy "+name+" of "+*r.RoleName] = text
		}
	}
	return all
}

func (p *staff) wantPeople(want map[string]any) {
	p.T.Helper()
	if diff := cmp.Diff(want, p.people()); diff != "" {
		p.T.Errorf("users and roles (-want +got):\n%s", diff)
	}
}

// boundary is the permissions boundary of a user; empty if he has none.
func (p *staff) boundary(name string) string {
	p.T.Helper()
	got, err := p.iam.GetUser(p.T.Context(), &iam.GetUserInput{UserName: &name})
	site.Must(p.T, err)
	if got.User.PermissionsBoundary == nil {
		return ""
	}
	return aws.ToString(got.User.PermissionsBoundary.PermissionsBoundaryArn)
}

// wantUser says how alice stands, and that nobody else is touched.
func (p *staff) wantUser(before map[string]any, misused, other, boundary string) {
	p.T.Helper()
	now := p.people()
	for key, want := range map[string]string{p.misused: misused, p.other: other} {
		if now["key "+key] != want {
			p.T.Errorf("access key %s is %s, want %s", key, now["key "+key], want)
		}
		now["key "+key] = before["key "+key]
	}
	if got := p.boundary("alice"); got != boundary {
		p.T.Errorf("alice's boundary is %q, want %q", got, boundary)
	}
	now["user alice"] = before["user alice"]
	if diff := cmp.Diff(before, now); diff != "" {
		p.T.Errorf("somebody else is touched (-before +after):\n%s", diff)
	}
}

// denials are the policies of the role that it did not have.
func (p *staff) denials(before map[string]any) (texts []string) {
	p.T.Helper()
	for name, text := range p.people() {
		if before[name] == nil {
			texts = append(texts, fmt.Sprint(text))
		} else if !cmp.Equal(before[name], text) {
			p.T.Errorf("%s is %s", name, text)
		}
	}
	slices.Sort(texts)
	return texts
}

func TestMisusedAccessKeyIsInactiveAndItsUserDenied(t *testing.T) {
	for _, order := range [][]string{{keyRunbook, userRunbook}, {userRunbook, keyRunbook}} {
		t.Run("released by "+order[0]+" first", func(t *testing.T) {
			p := newMember(t, cutOff).staffed()
			before := p.people()
			p.Handle(p.finding("iam-access-key"))
			p.wantUser(before, "Inactive", "Inactive", denyAll)
			p.WantTold(map[string]string{keyRunbook: "CONTAINED", userRunbook: "CONTAINED"})
			site.WantCase(t, p.OneCase(keyRunbook), control.Remediated, "deactivate-access-key remediated")
			site.WantCase(t, p.OneCase(userRunbook), control.Remediated,
				"deny-user remediated, deactivate-access-keys remediated")
			contained := p.people()

			// It comes again, and from another Region.
			p.Handle(site.Edited(t, p.finding("iam-access-key"), `"count": 1`, `"count": 2`))
			p.Handle(site.Edited(t, p.finding("iam-access-key"), "us-east-1", "eu-west-1", "2030", "2130"))
			p.wantPeople(contained)
			p.WantTold(map[string]string{})
			if c := p.OneCase(userRunbook); len(c.Findings) != 2 || c.Findings[0].Count != 2 {
				t.Errorf("the findings of the case: %+v", c.Findings)
			}
			for _, runbook := range order {
				if a := p.Done(engine.Undo, p.OneCase(runbook)); len(a.Notes) > 0 {
					t.Errorf("the undo of %s left %q", runbook, a.Notes)
				}
			}
			p.wantPeople(before)
		})
	}
}

// The key is in one case alone: what an operator was shown of the other is still
// what he approves after the key is made inactive.
func TestKeyGoesAtOnceAndItsUserAfterAYes(t *testing.T) {
	p := newMember(t, "runbooks: {iam-deactivate-key: {mode: enforce, from-severity: 4}}").staffed()
	before := p.people()
	p.Handle(p.finding("iam-access-key"))
	p.wantUser(before, "Inactive", "Active", "")
	p.WantTold(map[string]string{keyRunbook: "CONTAINED", userRunbook: "THREAT, NOT CONTAINED"})
	p.Done(engine.Undo, p.OneCase(keyRunbook))
	p.wantPeople(before)
	p.Alerts()

	q := newMember(t, "runbooks: {iam-deactivate-key: {mode: enforce, from-severity: 4}}").staffed()
	before = q.people()
	q.Handle(site.Edited(t, q.finding("iam-access-key"), `"severity": 5`, `"severity": 8`))
	q.wantUser(before, "Inactive", "Active", "")
	q.WantTold(map[string]string{keyRunbook: "CONTAINED", userRunbook: "THREAT, WAITING"})
	q.Done(engine.Approve, q.OneCase(userRunbook))
	q.wantUser(before, "Inactive", "Inactive", denyAll)
	q.WantTold(map[string]string{userRunbook: "CONTAINED"})
	for _, runbook := range []string{userRunbook, keyRunbook} {
		q.Done(engine.Undo, q.OneCase(runbook))
	}
	q.wantPeople(before)
}

func TestUserIsDeniedWhateverOfHisIsMisused(t *testing.T) {
	alone, both := map[string]string{userRunbook: "CONTAINED"}, map[string]string{keyRunbook: "CONTAINED", userRunbook: "CONTAINED"}
	for _, tt := range []struct {
		name string
		told map[string]string
	}{
		{"iam-user-session", alone}, {"iam-console-login", alone}, {"s3-exfiltration", both}, {"attack-sequence-iam", both},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newMember(t, cutOff).staffed()
			before := p.people()
			p.Handle(p.finding(tt.name))
			p.wantUser(before, "Inactive", "Inactive", denyAll)
			p.WantTold(tt.told)
			for _, c := range p.Cases() {
				p.Done(engine.Undo, c)
			}
			p.wantPeople(before)
		})
	}
}

func TestMisusedSessionIsDenied(t *testing.T) {
	for _, tt := range []struct {
		name, baseline string
		denials        int
		steps          string
	}{
		{"alone", cutOff, 1, "deny-session remediated, revoke-role-sessions compliant"},
		{
			"with all that are older", "runbooks: {iam-contain-session: {mode: enforce, params: {revoke-role-sessions: true}}}",
			2, "deny-session remediated, revoke-role-sessions remediated",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newMember(t, tt.baseline).staffed()
			before := p.people()
			p.Handle(p.finding("iam-role-session"))
			denials := p.denials(before)
			if len(denials) != tt.denials || !strings.Contains(denials[0], `"aws:userid":"`+p.sessionUser+`"`) {
				t.Errorf("the role's new policies: %s", denials)
			}
			p.WantTold(map[string]string{sessionRunbook: "CONTAINED"})
			c := p.OneCase(sessionRunbook)
			site.WantCase(t, c, control.Remediated, tt.steps)
			contained := p.people()
			p.Handle(site.Edited(t, p.finding("iam-role-session"), `"count": 1`, `"count": 2`))
			p.wantPeople(contained)
			p.WantTold(map[string]string{})
			p.Done(engine.Undo, p.OneCase(sessionRunbook))
			p.wantPeople(before)
			p.WantTold(map[string]string{sessionRunbook: "RELEASED"})
			p.Handle(site.Edited(t, p.finding("iam-role-session"), `"count": 1`, `"count": 3`))
			p.wantPeople(before)
			p.WantTold(map[string]string{sessionRunbook: "THREAT, NOT CONTAINED"})
		})
	}
}

func TestEachActorOfAnAttackSequenceIsContained(t *testing.T) {
	p := newMember(t, cutOff).staffed()
	before := p.people()
	p.Handle(p.finding("attack-sequence-s3"))
	p.WantTold(map[string]string{keyRunbook: "CONTAINED", userRunbook: "CONTAINED", sessionRunbook: "CONTAINED"})
	if p.boundary("alice") != denyAll || p.people()["key "+p.misused] != "Inactive" {
		t.Error("alice is not contained")
	}
	p.Done(engine.Undo, p.OneCase(keyRunbook))
	p.Done(engine.Undo, p.OneCase(userRunbook))
	if denials := p.denials(before); len(denials) != 1 || !strings.Contains(denials[0], p.sessionUser) {
		t.Errorf("the role's new policies: %s", denials)
	}
	p.Done(engine.Undo, p.OneCase(sessionRunbook))
	p.wantPeople(before)
}

// Whom nobody can contain here is told, with what to do.
func TestCredentialsThatCantBeCutAreTold(t *testing.T) {
	p := newMember(t, cutOff).staffed()
	before := p.people()
	for _, tt := range []struct{ name, why string }{
		{"iam-root", "The credentials are root's"},
		{"iam-federated-user", "which IAM user opened the session"},
		{"s3-anonymous-listing", "or there were none"},
		{"iam-roles-anywhere", "iam-contain-session found nothing to do on role/print-server:AROAEXAMPLEPRINT00001:3f9a0c5e17b2d846: the resource no longer exists"},
	} {
		p.Handle(p.finding(tt.name))
		if a := p.Told("THREAT REPORTED"); a.Control != "finding-report" || !strings.Contains(a.Held, tt.why) {
			t.Errorf("%s: the alert of %s says why: %q", tt.name, a.Control, a.Held)
		}
	}
	p.wantPeople(before)
}

func TestSessionOfIdentityCenterIsToldWithWhatToDo(t *testing.T) {
	p := newMember(t, cutOff).staffed()
	id := p.role("AWSReservedSSO_Administrator_0123456789abcdef", "/aws-reserved/sso.amazonaws.com/eu-west-1/")
	before := p.people()
	p.Handle(site.Edited(t, p.finding("iam-identity-center"), "AROAEXAMPLESSO0000001", id))
	p.wantPeople(before)
	alerts := p.Alerts()
	if len(alerts) != 1 || alerts[0].Control != sessionRunbook || strings.Contains(alerts[0].Subject, " CONTAINED") ||
		!strings.Contains(alerts[0].Text(), "disable user alice@example.com") {
		t.Errorf("alerts: %+v\n%s", alerts, p.Function.Logs())
	}
}

// Another account's user may have the same name, or one that was deleted had.
func TestUserOfTheSameNameIsLeftAlone(t *testing.T) {
	p := newMember(t, cutOff).staffed()
	before := p.people()
	p.userID = "AIDAEXAMPLEOTHER00001"
	p.Handle(p.finding("iam-access-key"))
	p.wantPeople(before)
	if a := p.Told("THREAT REPORTED"); !strings.Contains(a.Held, "the resource no longer exists") {
		t.Errorf("the alert says: %s", a.Held)
	}
}

// Findings don't tell the paths by which the baseline protects principals.
func TestProtectedPrincipalsBelowAPathAreNotCutOff(t *testing.T) {
	p := newMember(t, cutOff, `protected: {principals: ["arn:aws:iam::*:user/team/*", "arn:aws:iam::*:role/ci/deploy"]}`).staffed()
	before := p.people()
	p.Handle(p.finding("attack-sequence-s3"))
	p.wantPeople(before)
	for _, a := range p.Alerts() {
		if strings.Contains(a.Subject, " CONTAINED") && !strings.Contains(a.Subject, "NOT CONTAINED") {
			t.Errorf("it is told as %s", a.Subject)
		}
	}
	held := 0
	for _, c := range p.Cases() {
		for _, s := range c.Steps {
			switch {
			case s.Outcome == control.Held:
				held++
			case len(s.After) > 0:
				t.Errorf("%s: step %s is %s", c.Control, s.Remedy, s.Outcome)
			}
		}
	}
	if held != 4 {
		t.Errorf("%d steps are held", held)
	}
}

func TestFindingsAtOnceAboutOneUserAreOneCaseOfEachRunbook(t *testing.T) {
	p := newMember(t, cutOff).staffed()
	before := p.people()
	first := p.finding("iam-access-key")
	again := site.Edited(t, first, "5eed0000000000000000000000002030", "5eed0000000000000000000000002130")
	data := site.Batch(t, first, again)
	answer, err := p.Function.Invoke(t.Context(), data)
	site.Must(t, err)
	p.Again(string(answer), data)
	p.wantUser(before, "Inactive", "Inactive", denyAll)
	p.WantTold(map[string]string{keyRunbook: "CONTAINED", userRunbook: "CONTAINED"})
	for _, c := range []*ledger.Case{p.OneCase(keyRunbook), p.OneCase(userRunbook)} {
		p.Done(engine.Undo, c)
	}
	p.wantPeople(before)
}

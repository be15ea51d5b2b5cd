package main_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/internal/site"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// aliceStopped are the lines of alice once she is stopped, and what she attached
// is taken back.
func aliceStopped(raised scene.World) scene.World {
	return with(contained(raised, "alice"), scene.World{"user alice policies": ""})
}

func TestGrantThatIsTakenBackAlreadyIsNone(t *testing.T) {
	m := newMember(t, adminPolicyOff, enforced)
	call := m.raise("alice")
	m.do(m.iam.DetachUserPolicy(t.Context(), &iam.DetachUserPolicyInput{UserName: aws.String("alice"), PolicyArn: aws.String(scene.Administrator)}))
	m.innocent(call)
}

// Root may do everything anyway: that it is used at all is GuardDuty's to tell.
func TestRootGainsNothing(t *testing.T) {
	m := newMember(t, adminPolicyOff, enforced)
	m.attach("alice", scene.Administrator)
	m.innocent(m.call("iam-attach-user-policy-root"))
}

func TestWhoIsProtectedIsOnlyTold(t *testing.T) {
	m := newMember(t, adminPolicyOff, enforced, `protected: {principals: ["arn:aws:iam::*:user/alice"]}`)
	call := m.raise("alice")
	raised := m.world()
	m.Handle(call)
	m.wantWorld(raised, nil)
	if c := m.OneCase(escalation); c.Outcome != control.Observed || !strings.HasSuffix(site.OutcomesOf(c), "deactivate-access-keys held, revoke-role-sessions compliant") {
		t.Errorf("the case is %s, and its steps are %s", c.Outcome, site.OutcomesOf(c))
	}
	for _, change := range m.Told("THREAT REPORTED").Changes[:3] {
		if !strings.Contains(change.Error, "user/alice is not changed: it is a protected principal") {
			t.Errorf("the alert says of %s: %q", change.Remedy, change.Error)
		}
	}
	m.again(call)
}

// alice is stopped, and the key that she made for him stays active.
func TestWhoIsProtectedKeepsWhatOthersGaveHim(t *testing.T) {
	m := newMember(t, adminPolicyOff, enforced, `protected: {principals: ["arn:aws:iam::*:user/bob"]}`)
	m.user("/", "bob", everything)
	m.inline("alice", "keys", allow("iam:CreateAccessKey", "*"))
	call := m.call("iam-create-access-key", "AKIAI44QH8DHBEXAMPLE", m.key("bob"))
	raised := m.world()
	m.Handle(call)
	m.wantWorld(raised, contained(raised, "alice"))
	site.WantCase(t, m.OneCase(escalation), control.Partial, strings.Replace(userContained, "take-back-grant remediated", "take-back-grant held", 1))
	if a := m.Told("PARTLY CONTAINED"); !strings.Contains(a.Changes[0].Error, "user/bob is not changed: it is a protected principal") {
		t.Errorf("the alert does not say what is left: %+v", a.Changes[0])
	}
	m.again(call)
}

// What lets him in is taken back, and who holds a session of the role by now has
// to come in anew. Nothing of his account is touched.
func TestActorOfAnotherAccountIsNamed(t *testing.T) {
	m, other := newMember(t, adminPolicyOff, enforced), newMember(t)
	m.role("/", "admin", policy(lets(byLambda)))
	m.attachRole("admin", scene.Administrator)
	call := site.Edited(t, m.trust(lets(byLambda), lets(`{"AWS":"`+other.Account+`"}`)),
		"arn:aws:iam::"+m.Account+":user/alice", "arn:aws:iam::"+other.Account+":user/alice",
		`"accountId": "`+m.Account, `"accountId": "`+other.Account)
	raised, there := m.world(), other.world()
	m.Handle(call)
	name, document := m.added("admin", "snapback-revoke-")
	m.wantWorld(raised, scene.World{"role admin trust": policy(lets(byLambda)), name: document})
	other.wantWorld(there, nil)
	c := m.OneCase(escalation)
	site.WantCase(t, c, control.Partial,
		"take-back-grant remediated, deny-principal observed, deactivate-access-keys compliant, revoke-role-sessions remediated")
	if a := m.Told("PARTLY CONTAINED"); !strings.Contains(a.Text(), "belongs to account "+other.Account) {
		t.Errorf("the alert does not name the other account:\n%s", a.Text())
	}
	m.again(call)
	m.Done(engine.Undo, c)
	m.wantWorld(raised, nil)
}

// Whoever releases him may leave taken back what he gave himself.
func TestReleaseMayKeepTheGrantTakenBack(t *testing.T) {
	m := newMember(t, adminPolicyOff, enforced)
	raised := m.world()
	call := m.raise("alice")
	m.Handle(call)
	m.Told("CONTAINED")
	if a := m.Done(engine.Undo, m.OneCase(escalation), "take-back-grant"); !strings.Contains(a.Reason, "Left as it was changed: take-back-grant") {
		t.Errorf("the answer does not say what was kept: %s", a.Reason)
	}
	m.wantWorld(raised, nil) // as before he raised his rights
	if a := m.Told("RELEASED"); !strings.Contains(a.Text(), "take-back-grant: left as it was changed") {
		t.Errorf("the alert does not say what was kept:\n%s", a.Text())
	}
	m.innocent(call)
}

// alice may answer for herself as little as anybody may.
func TestByDefaultItWaitsForSomebodyElsesYes(t *testing.T) {
	m := newMember(t, adminPolicyOff)
	user, err := m.iam.GetUser(t.Context(), &iam.GetUserInput{UserName: aws.String("alice")})
	site.Must(t, err)
	key, err := m.iam.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("alice")})
	site.Must(t, err)
	call := site.Edited(t, m.raise("alice"), "AIDAEXAMPLEALICE00001", aws.ToString(user.User.UserId))
	raised := m.world()
	m.Handle(call)
	m.wantWorld(raised, nil)
	a := m.Told("THREAT, WAITING")
	c := m.OneCase(escalation)
	if c.Outcome != control.AwaitingApproval || len(a.Changes) != 4 || a.Commands[0].Label != "approve" {
		t.Errorf("the case is %s, and the alert: %+v", c.Outcome, a)
	}
	m.again(call)

	hers := m.Config()
	hers.Credentials = credentials.NewStaticCredentialsProvider(
		aws.ToString(key.AccessKey.AccessKeyId), aws.ToString(key.AccessKey.SecretAccessKey), "")
	if a := m.CommandBy(hers, engine.Approve, c); a.Verdict != engine.Misuse || !strings.Contains(a.Reason, "user/alice caused the violation") {
		t.Errorf("alice's own yes: %s: %s", a.Verdict, a.Reason)
	}
	m.wantWorld(raised, nil)
	m.Done(engine.Approve, c)
	m.wantWorld(raised, aliceStopped(raised))
	m.Told("CONTAINED")
	m.Done(engine.Undo, c)
	m.wantWorld(raised, nil)
}

func TestSameCallTenTimesAtOnceIsOneCase(t *testing.T) {
	m := newMember(t, adminPolicyOff, enforced)
	call := m.raise("alice")
	raised := m.world()
	calls := make([][]byte, 10)
	for i := range calls {
		calls[i] = call
	}
	m.WantRouted(call)
	m.handOver(site.Batch(t, calls...))
	m.wantWorld(raised, aliceStopped(raised))
	m.Told("CONTAINED")
	c := m.OneCase(escalation)
	site.WantCase(t, c, control.Remediated, userContained)
	m.Done(engine.Undo, c)
	m.wantWorld(raised, nil)
}

// handOver invokes the function with a batch, again with what it reports as
// failed.
func (m *member) handOver(batch []byte) {
	m.T.Helper()
	answer, err := m.Function.Invoke(m.T.Context(), batch)
	site.Must(m.T, err)
	m.Again(string(answer), batch)
}

func TestTwoWhoRaiseTheirRightsAtOnceAreBothStopped(t *testing.T) {
	m := newMember(t, adminPolicyOff, enforced)
	m.person("mallory")
	calls := [][]byte{m.raise("alice"), m.raise("mallory")}
	raised := m.world()
	m.handOver(site.Batch(t, calls...))
	m.wantWorld(raised, with(aliceStopped(raised), with(contained(raised, "mallory"), scene.World{"user mallory policies": ""})))
	cases := m.Cases()
	if len(cases) != 2 || len(m.Alerts()) != 2 {
		t.Fatalf("want two cases, and an alert of each: %+v\n%s", cases, m.Function.Logs())
	}
	for _, c := range cases {
		site.WantCase(t, c, control.Remediated, userContained)
		m.Done(engine.Undo, c)
	}
	m.wantWorld(raised, nil)
}

// IAM's calls are recorded in us-east-1, and its service endpoint may be called in
// others: it is one grant, wherever its record comes from.
func TestCallThatArrivesFromAnotherRegionIsTheSame(t *testing.T) {
	m := newMember(t, adminPolicyOff, enforced)
	call := m.raise("alice")
	raised := m.world()
	m.Handle(site.Edited(t, call, "us-east-1", "eu-west-1"))
	m.wantWorld(raised, aliceStopped(raised))
	m.Told("CONTAINED")
	c := m.OneCase(escalation)
	if c.Target.Region != "us-east-1" {
		t.Errorf("the target is in %s", c.Target.Region)
	}
	m.again(call)
	m.Done(engine.Undo, c)
	m.wantWorld(raised, nil)
}

// Somebody who may, and whom nobody watches, takes the containment off by hand, and
// she does it again.
func TestThirdRoundOfATugOfWarIsNotFought(t *testing.T) {
	m := newMember(t, adminPolicyOff, enforced)
	for round := 1; round < 3; round++ {
		call := m.raise("alice")
		raised := m.world()
		m.Handle(call)
		m.wantWorld(raised, aliceStopped(raised))
		m.Told("CONTAINED")
		m.unbound("alice")
		m.do(m.iam.UpdateAccessKey(t.Context(), &iam.UpdateAccessKeyInput{
			UserName: aws.String("alice"), AccessKeyId: &m.alice.Key, Status: types.StatusTypeActive,
		}))
	}
	call := m.raise("alice")
	raised := m.world()
	m.Handle(call)
	m.wantWorld(raised, nil)
	a := m.Told("THREAT, TUG OF WAR")
	cases := m.Cases()
	held := cases[len(cases)-1]
	if len(cases) != 3 || held.Outcome != control.Held || held.Gate != ledger.GateTugOfWar || len(held.Rounds) != 2 || a.Severity != control.Critical {
		t.Errorf("there are %d cases, and the last one is %s by %q after %d rounds; the alert is %s",
			len(cases), held.Outcome, held.Gate, len(held.Rounds), a.Severity)
	}
	m.again(call)
	m.Done(engine.Release, held)
	m.wantWorld(raised, aliceStopped(raised))
}

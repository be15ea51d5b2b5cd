package main_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/internal/site"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

func TestFindingAboutATerminatedInstanceIsTold(t *testing.T) {
	s := newMember(t, enforced)
	box := s.scene(scene.Options{Bare: true})
	s.terminate(box)
	before := worldOf(t, box)
	s.Handle(box.Finding(sample(t, mining)))
	wantWorld(t, box, before)
	a := s.Told("THREAT REPORTED")
	if !strings.Contains(a.Held, "ec2-quarantine found nothing to do on "+box.Instance) || a.Control != "finding-report" {
		t.Errorf("the alert of %s says: %s", a.Control, a.Held)
	}
	if cases := s.Cases(); len(cases) != 1 || cases[0].Control != "finding-report" || cases[0].State != "" {
		t.Errorf("cases: %+v", cases)
	}
}

func TestSampleIsADrill(t *testing.T) {
	s := newMember(t, enforced)
	web := s.scene(scene.Options{})
	before := worldOf(t, web)
	drill := sample(t, "ec2-cryptomining-sample")
	s.Handle(web.Finding(site.Edited(t, drill, "i-99999999", web.Instance)))
	wantWorld(t, web, before)
	a := s.Told("DRILL")
	if !a.Drill || len(a.Changes) != 5 || !strings.Contains(a.Subject, web.Instance) {
		t.Errorf("the alert: %+v", a)
	}
	c := s.OneCase(quarantine)
	if !c.Drill || c.State != "" || c.Outcome != control.Observed {
		t.Errorf("the case: %+v", c)
	}
	for _, step := range c.Steps {
		if step.Digest == "" || !step.Applied.IsZero() {
			t.Errorf("step %s was planned: %t, applied: %t", step.Remedy, step.Digest != "", !step.Applied.IsZero())
		}
	}
	// The real thing is contained as if there had been no drill.
	s.Handle(web.Finding(sample(t, mining)))
	wantContained(t, web)
	s.Told("CONTAINED")
}

// GuardDuty's own samples name an instance that does not exist.
func TestSampleOfNoInstanceIsADrill(t *testing.T) {
	s := newMember(t, enforced)
	s.Handle((&scene.Scene{Account: s.Account}).Finding(sample(t, "ec2-cryptomining-sample")))
	a := s.Told("DRILL")
	if !a.Drill || len(a.Changes) != 0 || !strings.Contains(a.Held, "does not exist") {
		t.Errorf("the alert: %+v", a)
	}
	if c := s.OneCase(quarantine); !c.Drill || c.State != "" {
		t.Errorf("the case: %+v", c)
	}
}

// Of the victim's groups, one lets the world in to SSH.
func TestVictimIsNotQuarantinedAndItsOpenRuleIsClosed(t *testing.T) {
	s := newMember(t, "runbooks: {ec2-quarantine: {mode: enforce, from-severity: 1}, ec2-attacked-ingress: {mode: enforce, from-severity: 1}}")
	web := s.scene(scene.Options{})
	before := worldOf(t, web)
	s.Handle(web.Finding(sample(t, attacked)))
	after := worldOf(t, web)
	open := "tcp 22-22 in from 0.0.0.0/0 (admins), "
	rules := "rules of " + web.Groups[0]
	if want := strings.Replace(before[rules], open, "", 1); after[rules] != want || before[rules] == want {
		t.Errorf("the rules of the group are %s, want %s", after[rules], want)
	}
	after[rules] = before[rules]
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the rest of the world (-before +after):\n%s", diff)
	}
	alerts := s.Alerts()
	slices.SortFunc(alerts, func(a, b local.Alert) int { return strings.Compare(a.Control, b.Control) })
	if len(alerts) != 2 {
		t.Fatalf("alerts: %+v\n%s", alerts, s.Function.Logs())
	}
	victim, group := alerts[0], alerts[1]
	if victim.Control != "ec2-attacked" || !strings.Contains(victim.Subject, "THREAT REPORTED") || !slices.Contains(victim.Findings[0].Remotes, "203.0.113.9") {
		t.Errorf("the alert about the victim: %+v", victim)
	}
	if seen := string(victim.Changes[0].Before); !strings.Contains(seen, `"traffic":"tcp 22","range":"0.0.0.0/0"`) {
		t.Errorf("the alert about the victim does not tell of the open rule: %s", seen)
	}
	if group.Control != "ec2-attacked-ingress" || !strings.Contains(group.Subject, "CONTAINED") || group.Target.ID != web.Groups[0] {
		t.Errorf("the alert about the group: %+v", group)
	}
	s.Done(engine.Undo, s.OneCase("ec2-attacked-ingress"))
	wantWorld(t, web, before)
}

// The report on the victim reads its groups a moment later than the control that
// closes their rules.
func TestReportOfAVictimTellsWhatWasOpenThoughItIsBeingClosed(t *testing.T) {
	s := newMember(t, "runbooks: {ec2-attacked-ingress: {mode: enforce, from-severity: 1}}")
	web := s.scene(scene.Options{})
	// The first two read what is to be closed, for the plans of the two groups.
	s.Proxy.Inject("EC2.DescribeSecurityGroupRules", 3, local.Fault{Times: 1, Disturb: func(x *local.Exchange) {
		for range 100 { // a second
			if closed := s.closed(web); closed {
				break
			}
			pause(t, 10*time.Millisecond)
		}
		x.Answer(x.Forward())
	}})
	s.Handle(web.Finding(sample(t, attacked)))
	for _, a := range s.Alerts() {
		if seen := a.Changes[0]; a.Control == "ec2-attacked" && !strings.Contains(string(seen.Before), `"traffic":"tcp 22","range":"0.0.0.0/0"`) {
			t.Errorf("the alert about the victim does not tell of the rule that was open: %s %s", seen.Reason, seen.Before)
		}
	}
}

// closed reports whether the rule that lets the world in to SSH is gone.
func (s *member) closed(of *scene.Scene) bool {
	out, err := s.ec2().DescribeSecurityGroups(s.T.Context(), &ec2.DescribeSecurityGroupsInput{GroupIds: of.Groups[:1]})
	if err != nil {
		return false
	}
	for _, p := range out.SecurityGroups[0].IpPermissions {
		if aws.ToInt32(p.FromPort) == 22 && aws.ToString(p.IpRanges[0].CidrIp) == "0.0.0.0/0" {
			return false
		}
	}
	return true
}

func pause(t *testing.T, wait time.Duration) {
	t.Helper()
	select {
	case <-time.After(wait):
	case <-t.Context().Done():
	}
}

// moto lets every role be assumed: AssumeRole alone is answered by a stand-in.
func TestAccountThatCantBeEnteredIsTold(t *testing.T) {
	s := newMember(t, enforced)
	box := s.scene(scene.Options{Bare: true})
	before := worldOf(t, box)
	s.Proxy.Inject("STS.AssumeRole", 1, local.Denied())
	s.Handle(box.Finding(sample(t, mining)))
	wantWorld(t, box, before)
	if a := s.Told("THREAT, UNREADABLE"); !strings.Contains(a.Reason, "assume arn:aws:iam::"+s.Account+":role/"+role) {
		t.Errorf("the alert does not say why: %+v", a)
	}
	if c := s.OneCase(quarantine); c.Outcome != control.Unreadable {
		t.Errorf("the case: %+v", c)
	}
	s.Proxy.Clear()
	s.Handle(box.Finding(sample(t, "ec2-cryptomining-repeat")))
	wantContained(t, box)
	s.Told("CONTAINED")
}

func TestByDefaultASevereThreatWaitsForAYes(t *testing.T) {
	s := newMember(t)
	box := s.scene(scene.Options{Bare: true})
	before := worldOf(t, box)
	s.Handle(site.Edited(t, box.Finding(sample(t, tunnel)), `"severity": 8`, `"severity": 5`))
	wantWorld(t, box, before)
	s.Told("THREAT, NOT CONTAINED")
	if c := s.OneCase(quarantine); c.Outcome != control.Observed || len(c.Steps) != 5 {
		t.Errorf("the case: %+v", c)
	}

	s.Handle(box.Finding(sample(t, mining)))
	wantWorld(t, box, before)
	a := s.Told("THREAT, WAITING")
	if len(a.Changes) != 5 || a.Commands[0].Label != "approve" {
		t.Errorf("the alert: %+v", a)
	}
	cases := s.Cases()
	c := cases[len(cases)-1]
	if c.Outcome != control.AwaitingApproval || !strings.Contains(a.Commands[0].Run, control.ShortDigest(c.Digest())) {
		t.Errorf("the case is %s, and to approve it the alert offers %s", c.Outcome, a.Commands[0].Run)
	}
	other := *c
	other.Steps = other.Steps[:4] // so it has another digest
	if a := s.Command(engine.Approve, &other); a.Verdict != engine.Misuse {
		t.Errorf("an approval of something else: %s: %s", a.Verdict, a.Reason)
	}
	wantWorld(t, box, before)
	s.Done(engine.Approve, c)
	wantContained(t, box)
	wantEvidence(t, box, c.ID, miningID)
	s.Told("CONTAINED")
}

func TestWhatTheBaselineProtectsIsOnlyTold(t *testing.T) {
	for _, tt := range []struct{ name, account, protected string }{
		{"the hub's own account", local.HubAccount, ""},
		{"a protected instance", "399999999998", `protected: {resources: ["arn:aws:ec2:us-east-1:399999999998:instance/*"]}`},
		{"an exempt instance", "399999999999", `exemptions: [{runbook: ec2-quarantine, resource: "arn:aws:ec2:us-east-1:399999999999:instance/*", ` +
			`reason: the honeypot, owner: security@example.com, expires: ` + time.Now().AddDate(0, 1, 0).Format(time.DateOnly) + "}]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &member{house.NewIn(t, tt.account, enforced, tt.protected)}
			box := s.scene(scene.Options{Bare: true})
			before := worldOf(t, box)
			s.Handle(box.Finding(sample(t, mining)))
			wantWorld(t, box, before)
			s.Told("THREAT, NOT CONTAINED")
			if c := s.OneCase(quarantine); c.Outcome != control.Observed || len(c.Steps) != 5 {
				t.Errorf("the case: %+v", c)
			}
		})
	}
}

func TestProtectedRoleKeepsItsPolicies(t *testing.T) {
	s := newMember(t, enforced, `protected: {principals: ["arn:aws:iam::*:role/`+scene.Role+`"]}`)
	box := s.scene(scene.Options{Bare: true})
	before := worldOf(t, box)
	s.Handle(box.Finding(sample(t, mining)))
	if open, err := box.Open(t.Context()); err != nil || len(open) > 0 {
		t.Errorf("packets are let through: %q, %v", open, err)
	}
	for name, line := range worldOf(t, box) {
		if strings.Contains(name, "role "+scene.Role) && before[name] != line {
			t.Errorf("%s is %q, want %q", name, line, before[name])
		}
	}
	c := s.OneCase(quarantine)
	if c.Outcome != control.Partial || c.Step("cut-instance-credentials").Outcome != control.Held {
		t.Errorf("the case is %s, and its steps are %s", c.Outcome, site.OutcomesOf(c))
	}
	if a := s.Told("PARTLY CONTAINED"); !strings.Contains(a.Changes[3].Error, "is not changed: it is a protected principal") {
		t.Errorf("the alert does not say what is left: %+v", a.Changes[3])
	}
	s.Done(engine.Undo, c)
	wantWorld(t, box, before)
}

func TestWhileSnapbackIsStoppedThreatsAreOnlyTold(t *testing.T) {
	s := newMember(t, enforced)
	box := s.scene(scene.Options{Bare: true})
	before := worldOf(t, box)
	stop := ledger.Stop{Scope: s.Account, On: true, Why: "a test", By: ledger.Caller{ARN: "arn:aws:iam::111111111111:role/operator"}, At: time.Now()}
	site.Must(t, house.Hub.Ledger().Switch(t.Context(), stop))
	s.Handle(box.Finding(sample(t, mining)))
	wantWorld(t, box, before)
	if a := s.Told("THREAT, NOT CONTAINED"); !strings.Contains(a.Held, "Nothing is changed while Snapback is stopped") {
		t.Errorf("the alert does not say why: %+v", a)
	}
	stop.On, stop.At = false, time.Now()
	site.Must(t, house.Hub.Ledger().Switch(t.Context(), stop))
	s.Handle(box.Finding(sample(t, tunnel)))
	wantContained(t, box)
	s.Told("CONTAINED")
}

func TestThreatBeyondTheLimitIsHeld(t *testing.T) {
	withinTheHour(t)
	s := newMember(t, enforced, "limits: {threat-changes-per-account-per-hour: 1}")
	one := s.scene(scene.Options{Bare: true})
	two, err := one.Beside(t.Context())
	site.Must(t, err)
	s.Handle(one.Finding(sample(t, mining)))
	wantContained(t, one)
	s.Told("CONTAINED")
	contained := worldOf(t, one)

	s.Handle(site.Edited(t, two.Finding(sample(t, mining)), miningID, "5eed0000000000000000000000009001"))
	wantWorld(t, one, contained)
	if a := s.Told("HELD"); a.Limit == "" {
		t.Errorf("the alert is not about the limit: %+v", a)
	}
	held := s.Cases()[1]
	if held.Outcome != control.Held || held.Gate != ledger.GateLimit || held.Target.ID != two.Instance {
		t.Errorf("the case: %+v", held)
	}
	s.Done(engine.Release, held)
	wantContained(t, two)
	s.Told("CONTAINED")
}

// withinTheHour waits for the next hour if this one is about to end: the limits
// count by hours of the clock.
func withinTheHour(t *testing.T) {
	t.Helper()
	now := time.Now()
	if left := now.Truncate(time.Hour).Add(time.Hour).Sub(now); left < 30*time.Second {
		pause(t, left)
	}
}

// Findings that name an instance, and call for no quarantine of it.
func TestFindingThatIsNoReasonForAQuarantineIsTold(t *testing.T) {
	s := newMember(t, "runbooks: {\"*\": {mode: enforce, from-severity: 1}}")
	box := s.scene(scene.Options{Bare: true})
	before := worldOf(t, box)
	for _, name := range []string{
		"runtime-eks", "runtime-ecs", "attack-sequence-eks", "iam-instance-credentials", "custom-detection-rule", "unknown-type",
	} {
		s.Handle(box.Finding(sample(t, name)))
		if a := s.Told("THREAT REPORTED"); a.Control != "finding-report" || a.Held == "" {
			t.Errorf("%s: the alert of %s says why: %q", name, a.Control, a.Held)
		}
	}
	s.Handle(box.Finding(sample(t, "ec2-cryptomining-archived")))
	s.NotTold()
	wantWorld(t, box, before)
}

// An attack sequence may name what is another account's: an event reaches only
// its own.
func TestInstanceOfAnotherAccountIsRefused(t *testing.T) {
	s := newMember(t, enforced)
	box := s.scene(scene.Options{Bare: true})
	other := newMember(t).scene(scene.Options{Bare: true})
	before := worldOf(t, other)
	s.Handle(site.Edited(t, box.Finding(sample(t, "attack-sequence-ec2")),
		s.Account+":instance/i-0123456789abcdef2", other.Account+":instance/"+other.Instance))
	wantContained(t, box)
	wantWorld(t, other, before)
	var told []string
	for _, a := range s.Alerts() {
		told = append(told, string(a.Outcome))
	}
	slices.Sort(told)
	if diff := cmp.Diff([]string{"refused", "remediated"}, told); diff != "" {
		t.Errorf("alerts (-want +got):\n%s", diff)
	}
}

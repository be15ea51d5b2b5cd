package alert_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

const instanceID = "i-0123456789abcdef0"

// mining is a finding on an instance that is at work.
func mining() ledger.Finding {
	at := time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)
	return ledger.Finding{
		ID:   "5eed0000000000000000000000002001",
		ARN:  "arn:aws:guardduty:us-east-1:222222222222:detector/0d0d0d0d0d0d0d0d0d0d0d0d0d0d2222/finding/5eed0000000000000000000000002001",
		Type: "CryptoCurrency:EC2/BitcoinTool.B", Title: "The EC2 instance " + instanceID + " talks to a known mining pool.",
		Severity: 8, Count: 1, Role: "ACTOR", Resource: "Instance " + instanceID, Remotes: []string{"203.0.113.7"}, Ports: []int{41000},
		First: at, Last: at,
	}
}

// exfiltration is another finding on the same instance.
func exfiltration() ledger.Finding {
	f := mining()
	f.ID, f.ARN = "5eed0000000000000000000000002010", strings.ReplaceAll(f.ARN, "2001", "2010")
	f.Type, f.Title = "Trojan:EC2/DNSDataExfiltration", "The EC2 instance "+instanceID+" sends data out by DNS queries."
	f.Severity, f.Count, f.Role, f.Remotes, f.Ports = 9.5, 212, "TARGET", []string{"203.0.113.53", "2001:db8::53"}, nil
	f.First, f.Last = f.First.Add(20*time.Minute), f.Last.Add(40*time.Minute)
	return f
}

// contained is a case of a mining instance, with the steps as they are planned.
func contained(outcome control.Outcome, edit func(*ledger.Case)) *ledger.Case {
	f := mining()
	opened := f.First.Add(6 * time.Minute)
	c := &ledger.Case{
		Version: ledger.CaseVersion, ID: "20261122-7k3m9x2q", Control: "ec2-quarantine", Severity: control.High,
		Target: control.Target{Account: "222222222222", Region: "us-east-1", Type: "AWS::EC2::Instance", ID: instanceID},
		ARN:    "arn:aws:ec2:us-east-1:222222222222:instance/" + instanceID, Mode: "enforce", Outcome: outcome, Reason: f.Title,
		Event: ledger.Event{
			ID: "00002001-5e1f-4c0a-9b1d-000000002001", Source: "aws.guardduty", Name: f.Type, Account: "222222222222", Region: "us-east-1", Time: opened,
		},
		Findings: []ledger.Finding{f}, Steps: planned(), Opened: opened,
	}
	end(c)
	if edit != nil {
		edit(c)
	}
	return c
}

func planned() []ledger.Step {
	step := func(remedy, reason, before, after string) ledger.Step {
		return ledger.Step{
			Remedy: remedy, Reason: reason, Before: json.RawMessage(before), After: json.RawMessage(after),
			Digest: "0f45ac1db2d3c7e44c1ad8f7a0d5e5a61c2ff00cc5b9f3f2fbb0b4e0d3c9b8a7",
		}
	}
	return []ledger.Step{
		step("preserve-instance", "Instance "+instanceID+" can be terminated by a call.",
			`{"Attributes":{"disableApiTermination":"false"}}`, `{"Attributes":{"disableApiTermination":"true"}}`),
		step("take-out-of-service", "Instance "+instanceID+" is in service: Auto Scaling group web, target group web (port 80).",
			`{"Group":{"Name":"web","Protected":false},"TargetGroups":[{"ARN":"arn:aws:elasticloadbalancing:us-east-1:222222222222:targetgroup/web/1","ID":"`+
				instanceID+`","Port":80}]}`, `{"TargetGroups":[]}`),
		step("isolate-network", "Instance "+instanceID+" is on the network with 2 of its 3 interfaces: eni-0123456789abcdef0 and eni-0123456789abcdef1.",
			`{"interfaces":{"eni-0123456789abcdef0":["sg-0123456789abcdef0"],"eni-0123456789abcdef1":["sg-0123456789abcdef0"]}}`,
			`{"interfaces":{"eni-0123456789abcdef0":["vpc-0abc/snapback-quarantine"],"eni-0123456789abcdef1":["vpc-0abc/snapback-quarantine"]}}`),
		step("cut-instance-credentials", "Instance "+instanceID+" may do what its role web allows.",
			`{"Instances":[]}`, `{"Instances":["`+instanceID+`"]}`),
		step("capture-evidence", "Nothing of instance "+instanceID+" is kept yet.", `null`, `{"Volumes":["vol-0123456789abcdef0"]}`),
	}
}

// compliant lets a step find nothing to do.
func compliant(s *ledger.Step) {
	*s = ledger.Step{Remedy: s.Remedy, Outcome: control.Compliant, Reason: "There is nothing to do."}
}

// kept is what AWS lets nobody change.
const kept = "Network interface eni-0123456789abcdef2 keeps its security groups: it is managed by service amazon-elasticache."

func leaving(s *ledger.Step) { s.Left = []string{kept} }

func failing(s *ledger.Step) {
	s.Outcome, s.Applied = control.Failed, time.Time{}
	s.Error = "IAM PutRolePolicy: AccessDenied: User: arn:aws:sts::222222222222:assumed-role/snapback-response/snapback-response-00002001 " +
		"is not authorized to perform: iam:PutRolePolicy on resource: role web with an explicit deny in a service control policy"
}

func protected(s *ledger.Step) {
	s.Outcome, s.Applied = control.Held, time.Time{}
	s.Error = "arn:aws:autoscaling:us-east-1:222222222222:autoScalingGroup:1:autoScalingGroupName/web is protected " +
		"(protected resource arn:aws:autoscaling:*:*:autoScalingGroup:*) and is not changed."
}

// partly is what a runbook came to of which a step failed, one was not to be
// made, and one leaves something open.
func partly(c *ledger.Case) {
	protected(&c.Steps[1])
	leaving(&c.Steps[2])
	failing(&c.Steps[3])
}

// told turns the case into one of a finding about which nothing is done.
func told(c *ledger.Case) {
	f := &c.Findings[0]
	f.Type, f.Title = "UnauthorizedAccess:EC2/SSHBruteForce", "203.0.113.9 guesses SSH passwords of "+instanceID+"."
	f.Severity, f.Count, f.Role, f.Remotes, f.Ports = 2, 40, "TARGET", []string{"203.0.113.9"}, []int{22}
	f.Last = f.Last.Add(5 * time.Minute)
	c.Control, c.Severity, c.Mode, c.Reason, c.Steps, c.Event.Name = "finding-report", control.Low, "observe", f.Title, nil, f.Type
	c.Target.Type, c.Target.ID, c.ARN = control.TypeFinding, f.ID, f.ARN
	c.Held = "Nothing is done to the victim of an attack; no rule that is open to the world lets it in on port 22."
	c.Ended = "nothing is done about such a finding but to tell of it"
}

// sampled turns the case into a drill.
func sampled(c *ledger.Case) {
	f := &c.Findings[0]
	f.Title, f.Resource = "The EC2 instance i-99999999 talks to a known mining pool.", "Instance i-99999999"
	c.Drill, c.Reason, c.Ended = true, f.Title, "a drill: nothing was changed"
	c.Target.Type, c.Target.ID = control.TypeFinding, f.ID+"@20261122T010600Z/i-99999999"
	c.ARN = "arn:aws:ec2:us-east-1:222222222222:instance/i-99999999"
	for i := range c.Steps {
		s := &c.Steps[i]
		s.Reason = strings.ReplaceAll(s.Reason, " "+instanceID, " i-99999999")
		s.After = bytes.ReplaceAll(s.After, []byte(`"`+instanceID+`"`), []byte(`"i-99999999"`))
	}
}

func waiting(c *ledger.Case) {
	c.Mode, c.Until = "approve", c.Opened.Add(72*time.Hour)
	leaving(&c.Steps[2])
}

// again adds a finding of another type.
func again(c *ledger.Case) { c.Findings = append(c.Findings, exfiltration()) }

func fromThreats() map[string]alert.Alert {
	all := map[string]alert.Alert{}
	for name, c := range threats() {
		all[name] = deployed(alert.FromCase(c))
	}
	return all
}

// threats are the cases of the golden files that GuardDuty led to.
func threats() map[string]*ledger.Case {
	return map[string]*ledger.Case{
		"threat-contained":                contained(control.Remediated, func(c *ledger.Case) { compliant(&c.Steps[1]) }),
		"threat-contained-after-approval": contained(control.Remediated, each(again, command("approve", "It is one of ours, and nobody knows what it does."))),
		"threat-partly-contained":         contained(control.Partial, partly),
		"threat-failed": contained(control.Failed, func(c *ledger.Case) {
			for i := range c.Steps {
				failing(&c.Steps[i])
				c.Steps[i].Error = "STS AssumeRole: AccessDenied: not authorized to perform: sts:AssumeRole on role snapback-response"
			}
		}),
		"threat-gone": contained(control.Gone, func(c *ledger.Case) {
			for i := range c.Steps {
				c.Steps[i].Outcome, c.Steps[i].Error = control.Gone, "the resource was deleted before it could be changed"
			}
		}),
		"threat-waiting":       contained(control.AwaitingApproval, waiting),
		"threat-waiting-again": contained(control.AwaitingApproval, each(waiting, again)),
		"threat-expired":       contained(control.Expired, waiting),
		"threat-observed": contained(control.Observed, func(c *ledger.Case) {
			c.Mode, c.Findings[0].Severity, c.Severity = "observe", 5, control.Medium
			c.Findings[0].Resource = "EKSCluster shop, " + c.Findings[0].Resource
		}),
		"threat-observed-stopped": contained(control.Observed, func(c *ledger.Case) {
			c.Held = "Nothing is changed while Snapback is stopped: the whole organization was stopped by " + operator().ARN + " at 2026-11-22T00:30:00Z: a drill."
		}),
		"threat-still-open": contained(control.Observed, func(c *ledger.Case) {
			for i := range c.Steps {
				compliant(&c.Steps[i])
			}
			s := &c.Steps[2]
			s.Outcome, s.Reason = control.Observed, "Instance "+instanceID+" is not cut off the network in full, and AWS does not let that be changed."
			s.Before = json.RawMessage(`{"interfaces":{},"open":["` + kept + `"]}`)
			leaving(s)
			c.Steps[4].Outcome, c.Steps[4].Reason = control.Observed, "The snapshots are not complete yet."
		}),
		"threat-reported": contained(control.Observed, told),
		"threat-held":     contained(control.Held, nil),
		"threat-held-limit": contained(control.Held, func(c *ledger.Case) {
			c.Gate, c.Held = ledger.GateLimit, "The baseline allows 100 changes an hour against threats in account 222222222222, and they are made."
		}),
		"threat-held-mode": contained(control.Held, func(c *ledger.Case) {
			c.Gate, c.Held = ledger.GateMode, "The change was begun, and the mode is now observe: the baseline says so."
			c.Steps[2].Outcome, c.Steps[2].Applied = control.Remediated, c.Opened
			for _, i := range []int{0, 1, 3, 4} {
				c.Steps[i].Outcome, c.Steps[i].Error = control.Held, c.Held
			}
		}),
		"threat-tug-of-war": contained(control.Held, func(c *ledger.Case) {
			tugOfWar(c)
			for i := range c.Rounds {
				c.Rounds[i].Actor, c.Rounds[i].Event = "", c.Findings[0].Type
			}
			leaving(&c.Steps[2])
		}),
		"threat-unreadable": contained(control.Unreadable, func(c *ledger.Case) {
			c.Steps, c.Reason = nil, "STS AssumeRole: AccessDenied: not authorized to perform: sts:AssumeRole on role snapback-response"
		}),
		"threat-released": contained(control.Undone, each(command("undo", "The image is rebuilt."), exempt, partly, func(c *ledger.Case) {
			c.Steps[1].Undone, c.Steps[3].Undone, c.Steps[2].Left = time.Time{}, time.Time{}, []string{
				"Network interface eni-0123456789abcdef1 no longer exists.",
			}
		})),
		"drill": contained(control.Observed, each(waiting, sampled)),
		"drill-without-resource": contained(control.Observed, each(sampled, func(c *ledger.Case) {
			c.Steps, c.Held = nil, "The sample names a resource that does not exist, so no change could be planned."
		})),
		"drill-reported": contained(control.Observed, each(told, func(c *ledger.Case) {
			c.Drill, c.Target.ID = true, c.Findings[0].ID+"@20261122T010600Z/"+c.Findings[0].ID
		})),
		"drill-unreadable": contained(control.Unreadable, each(sampled, func(c *ledger.Case) {
			c.Steps, c.Reason = nil, "STS AssumeRole: AccessDenied: not authorized to perform: sts:AssumeRole on role snapback-response"
		})),
	}
}

func TestSubjectTellsOfThreats(t *testing.T) {
	all := fromThreats()
	const quarantine = " ec2-quarantine " + instanceID + " in 222222222222"
	for name, want := range map[string]string{
		"threat-contained":        "CONTAINED:" + quarantine,
		"threat-partly-contained": "PARTLY CONTAINED:" + quarantine,
		"threat-failed":           "NOT CONTAINED:" + quarantine,
		"threat-waiting":          "THREAT, WAITING:" + quarantine,
		"threat-observed":         "THREAT, NOT CONTAINED:" + quarantine,
		"threat-still-open":       "THREAT REPORTED:" + quarantine,
		"threat-reported":         "THREAT REPORTED: UnauthorizedAccess:EC2/SSHBruteForce in 222222222222",
		"threat-expired":          "THREAT, EXPIRED:" + quarantine,
		"threat-held":             "THREAT, HELD:" + quarantine,
		"threat-tug-of-war":       "THREAT, TUG OF WAR:" + quarantine,
		"threat-unreadable":       "THREAT, UNREADABLE:" + quarantine,
		"threat-released":         "RELEASED:" + quarantine,
		"drill":                   "DRILL: ec2-quarantine i-99999999 in 222222222222",
		"drill-reported":          "DRILL: UnauthorizedAccess:EC2/SSHBruteForce in 222222222222",
		"drill-unreadable":        "DRILL: ec2-quarantine i-99999999 in 222222222222",
	} {
		if got := all[name].Subject(); got != "Snapback "+want {
			t.Errorf("%s: got %q, want %q", name, got, "Snapback "+want)
		}
	}
}

func TestCommandsAfterFindingsAreThoseForTheOutcome(t *testing.T) {
	const id = "20261122-7k3m9x2q"
	all := fromThreats()
	retry, release, show := "snapback cases retry "+id, "snapback cases undo "+id, "snapback cases show "+id
	digest := contained(control.AwaitingApproval, waiting).Digest()[:12]
	for name, want := range map[string][]string{
		"threat-contained":        {release, show},
		"threat-partly-contained": {retry, release, show},
		"threat-failed":           {retry, show},
		"threat-waiting":          {"snapback cases approve " + id + " --digest " + digest, "snapback cases deny " + id + ` --why "…"`, show},
		"threat-observed":         {show},
		"threat-reported":         {show},
		"threat-released":         {"snapback exempt remove --control ec2-quarantine --resource arn:aws:ec2:us-east-1:222222222222:instance/" + instanceID, show},
		"threat-held-mode":        {"snapback cases release " + id, show},
		"drill":                   {show},
		"drill-unreadable":        {show},
	} {
		var got []string
		for _, c := range all[name].Commands {
			got = append(got, c.Run)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Whatever a drill ends as, it never reads like the real thing.
func TestDrillIsOneHoweverItEnds(t *testing.T) {
	for _, outcome := range []control.Outcome{
		control.Observed, control.AwaitingApproval, control.Remediated, control.Partial, control.Failed, control.Held, control.Unreadable,
	} {
		a := alert.FromCase(contained(outcome, sampled))
		if !strings.HasPrefix(a.Text(), "DRILL: nothing was changed; ") || !strings.HasPrefix(a.Subject(), "Snapback DRILL: ") || len(a.Commands) != 1 {
			t.Errorf("%s: %s\n%s", outcome, a.Subject(), a.Text())
		}
	}
}

// Who reads no more than a line must not think that all is well.
func TestOnlyWhatIsContainedIsCalledSo(t *testing.T) {
	for name, a := range fromThreats() {
		headline, _, _ := strings.Cut(a.Text(), "\n")
		for _, line := range []string{headline, strings.TrimPrefix(a.Subject(), "Snapback ")} {
			if got, want := strings.HasPrefix(line, "CONTAINED: "), a.Outcome == control.Remediated; got != want {
				t.Errorf("%s is told as %q", name, line)
			}
		}
		if strings.Contains(headline, "quarantined") {
			t.Errorf("%s is told as %q", name, headline)
		}
	}
}

func TestAnotherTypeOfFindingIsNews(t *testing.T) {
	f := mining()
	f.ID, f.Count = "5eed0000000000000000000000002002", 7
	for _, tt := range []struct {
		name     string
		findings []ledger.Finding
		commands int
		want     string
	}{
		{"the first", []ledger.Finding{mining()}, 0, "20261122-7k3m9x2q-awaiting-approval"},
		{"another one of its type", []ledger.Finding{mining(), f}, 0, "20261122-7k3m9x2q-awaiting-approval"},
		{"another type", []ledger.Finding{mining(), f, exfiltration()}, 0, "20261122-7k3m9x2q-awaiting-approval-types-2"},
		{"after a refused approval", []ledger.Finding{mining(), exfiltration()}, 1, "20261122-7k3m9x2q-awaiting-approval-1-types-2"},
	} {
		a := alert.FromCase(contained(control.AwaitingApproval, func(c *ledger.Case) {
			c.Findings = tt.findings
			for range tt.commands {
				command("approve", "")(c)
			}
		}))
		if a.ID != tt.want {
			t.Errorf("%s: the alert's ID is %s, want %s", tt.name, a.ID, tt.want)
		}
	}
}

func TestThreatIsAsSevereAsItsWorstFinding(t *testing.T) {
	if a := alert.FromCase(contained(control.AwaitingApproval, each(waiting, again))); a.Severity != control.Critical {
		t.Errorf("findings of 8.0 and 9.5 make severity %s", a.Severity)
	}
	if a := alert.FromCase(contained(control.Observed, told)); a.Severity != control.Low {
		t.Errorf("a finding of 2.0 makes severity %s", a.Severity)
	}
}

// A step that was tried twice is one step of the runbook, and how it ended is
// how the second try did.
func TestRetriedStepIsToldOnce(t *testing.T) {
	twice := func(c *ledger.Case) {
		failing(&c.Steps[3])
		c.Steps[3].Applied = c.Opened // half of it was made
		retried := planned()[3]
		retried.Outcome, retried.Applied = control.Remediated, c.Opened.Add(time.Hour)
		c.Steps = append(c.Steps, retried)
	}
	a := alert.FromCase(contained(control.Remediated, twice))
	if n := len(a.Changes); n != 5 || a.Error != "" {
		t.Errorf("there are %d changes and the error %q", n, a.Error)
	}
	if got := a.Changes[3]; got.Remedy != "cut-instance-credentials" || got.Outcome != control.Remediated || got.Error != "" {
		t.Errorf("the retried step is told as %+v", got)
	}
	a = alert.FromCase(contained(control.Undone, each(twice, func(c *ledger.Case) {
		c.Steps[3].Undone, c.Steps[3].Left = c.Opened.Add(2*time.Hour), []string{"Policy one is left."}
		c.Steps[5].Undone, c.Steps[5].Left = c.Opened.Add(2*time.Hour), []string{"Policy two is left."}
	})))
	want := []string{"Policy one is left.", "Policy two is left."}
	if got := a.Changes[3]; got.Outcome != control.Undone || !slices.Equal(got.Left, want) || got.Error != "" {
		t.Errorf("the step whose two tries were undone is told as %+v", got)
	}
}

// crowded is a case that leaves so much open that it takes most of an e-mail.
func crowded(interfaces string) (a alert.Alert, left []string) {
	for _, id := range interfaces {
		left = append(left, strings.Replace(kept, "abcdef2", "abcde0"+string(id), 1))
	}
	return deployed(alert.FromCase(contained(control.Partial, each(partly, again, func(c *ledger.Case) {
		c.Steps[2].Left = left
		c.Findings[0].Remotes = slices.Repeat([]string{"2001:db8:1111:2222:3333:4444:5555:6666", "203.0.113.1"}, 10)
	})))), left
}

// has reports whether an e-mail has a sentence, wherever it is wrapped.
func has(a alert.Alert, sentence string) bool {
	return strings.Contains(strings.Join(strings.Fields(a.Text()), " "), sentence)
}

func TestWhatIsLeftOpenIsToldBeforeAnythingElse(t *testing.T) {
	a, left := crowded("abcd")
	for _, s := range append(left, "cut-instance-credentials: FAILED: IAM PutRolePolicy:", "capture-evidence: done") {
		if !has(a, s) {
			t.Errorf("the e-mail lacks %q:\n%s", s, a.Text())
		}
	}
	checkEMail(t, a)
}

func TestWhatIsLeftOpenIsCountedWhereItDoesNotFit(t *testing.T) {
	a, left := crowded("0123456789abcdef")
	shown := slices.DeleteFunc(slices.Clone(left), func(s string) bool { return !has(a, s) })
	if want := fmt.Sprintf("    … and %d more left open: the case has them\n", 16-len(shown)); len(shown) < 3 || !strings.Contains(a.Text(), want) {
		t.Errorf("%d of 16 are shown, and the e-mail lacks %q:\n%s", len(shown), want, a.Text())
	}
	checkEMail(t, a)
	one, _ := crowded("0123456789abcdef")
	one.Findings, one.Changes = nil, one.Changes[2:3]
	if !strings.Contains(one.Text(), " more left open: the case has them\n") {
		t.Errorf("of one change, the e-mail does not say that there is more:\n%s", one.Text())
	}
	checkEMail(t, one)
}

func TestWhatMattersOfAFindingIsInTheEMail(t *testing.T) {
	a := fromThreats()["threat-waiting-again"]
	for _, want := range []string{
		"Finding   CryptoCurrency:EC2/BitcoinTool.B\n", "severity 8.0 (HIGH), role ACTOR\n", "seen once at 2026-11-22 01:00:00 UTC\n",
		"Finding   Trojan:EC2/DNSDataExfiltration\n", "severity 9.5 (CRITICAL), role TARGET\n",
		"seen 212 times since 2026-11-22 01:20:00 UTC\n",
		"Remote    203.0.113.7, 203.0.113.53, 2001:db8::53\n", "Ports     41000\n", "findings of 2 types",
	} {
		if !strings.Contains(a.Text(), want) {
			t.Errorf("the e-mail lacks %q:\n%s", want, a.Text())
		}
	}
}

func TestHowOftenAndSinceWhenIsToldAsFarAsGuardDutySays(t *testing.T) {
	f := mining()
	f.Count, f.Last = 40, f.Last.Add(time.Hour)
	without := func(edit func(*ledger.Finding)) ledger.Finding {
		g := f
		edit(&g)
		return g
	}
	for _, tt := range []struct {
		name     string
		findings []ledger.Finding
		want     string
	}{
		{"both times", []ledger.Finding{f}, "seen 40 times since 2026-11-22 01:00:00 UTC\n          last at 2026-11-22 02:00:00 UTC\n"},
		{"the first alone", []ledger.Finding{without(func(g *ledger.Finding) { g.Last = time.Time{} })}, "seen 40 times since 2026-11-22 01:00:00 UTC\n"},
		{"the last alone", []ledger.Finding{without(func(g *ledger.Finding) { g.First = time.Time{} })}, "seen 40 times at 2026-11-22 02:00:00 UTC\n"},
		{"neither", []ledger.Finding{without(func(g *ledger.Finding) { g.First, g.Last = time.Time{}, time.Time{} })}, "seen 40 times\n"},
		{"no count", []ledger.Finding{without(func(g *ledger.Finding) { g.Count, g.First = 0, g.Last })}, "seen once at 2026-11-22 02:00:00 UTC\n"},
		{"two of a type", []ledger.Finding{mining(), f}, "seen 40 times since 2026-11-22 01:00:00 UTC\n          last at 2026-11-22 02:00:00 UTC\n          one more finding of this type\n"},
		{"three of a type", []ledger.Finding{mining(), mining(), f}, "          2 more findings of this type\n"},
	} {
		a := alert.FromCase(contained(control.Remediated, func(c *ledger.Case) { c.Findings = tt.findings }))
		if !strings.Contains(a.Text(), tt.want) {
			t.Errorf("%s: the e-mail lacks %q:\n%s", tt.name, tt.want, a.Text())
		}
	}
}

package alert_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// published is a case of a bucket whose block of public access was removed.
func published(outcome control.Outcome, edit func(*ledger.Case)) alert.Alert {
	at := time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)
	c := &ledger.Case{
		Version: ledger.CaseVersion, ID: "20261122-7k3m9x2q", Control: "s3-bucket-public-access", Severity: control.High,
		Target: control.Target{Account: "222222222222", Region: "us-east-1", Type: "AWS::S3::Bucket", ID: "example-reports"},
		ARN:    "arn:aws:s3:::example-reports", Mode: "enforce", Outcome: outcome,
		Reason: "Block Public Access of bucket example-reports is not configured: all four settings are off.",
		Event: ledger.Event{
			ID: "00001001-5e1f-4c0a-9b1d-000000001001", Source: "aws.s3", CloudTrail: "00000001-5e1f-4c0a-9b1d-000000000001",
			Name: "DeleteBucketPublicAccessBlock", Account: "222222222222", Region: "us-east-1", Time: at,
		},
		Actor: alice(),
		Steps: []ledger.Step{{
			Remedy: "block-bucket-public-access",
			Before: json.RawMessage(`null`),
			After:  json.RawMessage(`{"BlockPublicAcls":true,"IgnorePublicAcls":true,"BlockPublicPolicy":true,"RestrictPublicBuckets":true}`),
			Digest: "9d2c6f5b1d6a1e4f8c3b7a09e5d4c3b2a19f8e7d6c5b4a3928170615f4e3d2c1",
		}},
		Opened: at.Add(2 * time.Second),
	}
	end(c)
	if edit != nil {
		edit(c)
	}
	return deployed(alert.FromCase(c))
}

// deployed is an alert as a deployed function sends it.
func deployed(a alert.Alert) alert.Alert {
	a.Version, a.Baseline = "1.2.0", "3f2a9c41d07be58864a1f3d2c5b6e7980f1e2d3c4b5a69788796a5b4c3d2e1f0"
	return a
}

// end ends the steps that are to change something as those of a case of its
// outcome end.
func end(c *ledger.Case) {
	for i := range c.Steps {
		s := &c.Steps[i]
		switch {
		case len(s.After) == 0: // there is nothing to apply
		case c.Outcome == control.Remediated, c.Outcome == control.Partial, c.Outcome == control.Undone:
			s.Outcome, s.Applied = control.Remediated, c.Opened.Add(time.Second)
		case c.Outcome == control.Failed:
			s.Outcome = control.Failed
		}
		if c.Outcome == control.Undone {
			s.Undone = c.Opened.Add(31 * time.Minute)
		}
	}
}

func alice() *event.Actor {
	return &event.Actor{
		Type: "IAMUser", ARN: "arn:aws:iam::222222222222:user/alice", Account: "222222222222",
		Principal: "AIDAEXAMPLEALICE00001", Name: "alice", AccessKey: "AKIAIOSFODNN7EXAMPLE", Address: "198.51.100.7",
		UserAgent: "[aws-cli/2.31.0 md/awscrt#0.27.6 ua/2.1 os/linux#6.1 md/arch#x86_64 lang/python#3.13.7]",
	}
}

func bob() *event.Actor {
	return &event.Actor{
		Type: "AssumedRole", ARN: "arn:aws:sts::222222222222:assumed-role/AWSReservedSSO_Developer_0123456789abcdef/bob@example.com",
		Account: "222222222222", Principal: "AROAEXAMPLESSO0000001:bob@example.com", Name: "bob@example.com",
		AccessKey: "ASIAIOSFODNN7EXAMPLE", MFA: true, Address: "cloudformation.amazonaws.com",
		UserAgent: "cloudformation.amazonaws.com", InvokedBy: "cloudformation.amazonaws.com",
		Issuer:     &event.Issuer{Type: "Role", Name: "AWSReservedSSO_Developer_0123456789abcdef"},
		OnBehalfOf: &event.IdentityCenterUser{UserID: "d4e5f6a7-1111-2222-3333-444455556666"},
	}
}

// operator is who gives the commands of the golden files.
func operator() ledger.Caller {
	return ledger.Caller{
		ARN: "arn:aws:sts::111111111111:assumed-role/AWSReservedSSO_Operator_fedcba9876543210/carol@example.com", Account: "111111111111",
		UserID: "AROAEXAMPLESSO0000002:carol@example.com", Host: "carols-laptop",
	}
}

// queue turns the case into one of a queue that anyone may send to.
func queue(c *ledger.Case) {
	c.Mode, c.Control, c.Severity = "approve", "sqs-queue-policy", control.Critical
	c.Target = control.Target{Account: "222222222222", Region: "eu-west-1", Type: "AWS::SQS::Queue", ID: "orders"}
	c.ARN, c.Event.Name, c.Event.Region = "arn:aws:sqs:eu-west-1:222222222222:orders", "SetQueueAttributes", "eu-west-1"
	c.Reason = "The policy of queue orders lets anyone send to it."
	c.Until = c.Event.Time.Add(72 * time.Hour)
	rest := statement("Own") + `,` + statement("Logs")
	c.Steps = []ledger.Step{{
		Remedy: "restrict-queue-policy", Digest: "0f45ac1db2d3c7e44c1ad8f7a0d5e5a61c2ff00cc5b9f3f2fbb0b4e0d3c9b8a7",
		Before: json.RawMessage(`{"Policy":{"Version":"2012-10-17","Statement":[` + rest +
			`,{"Sid":"World","Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":"*"}]}}`),
		After: json.RawMessage(`{"Policy":{"Version":"2012-10-17","Statement":[` + rest + `]}}`),
	}}
}

// deleted turns the case into one of a volume that is to be deleted.
func deleted(c *ledger.Case) {
	queue(c)
	c.Control, c.Severity = "ec2-unencrypted-volume", control.Medium
	c.Target = control.Target{Account: "222222222222", Region: "eu-west-1", Type: "AWS::EC2::Volume", ID: "vol-0123456789abcdef0"}
	c.ARN, c.Event.Name = "arn:aws:ec2:eu-west-1:222222222222:volume/vol-0123456789abcdef0", "CreateVolume"
	c.Reason = "Volume vol-0123456789abcdef0 is not encrypted."
	c.Steps[0].Remedy, c.Steps[0].Irreversible = "delete-volume", true
	c.Steps[0].Before, c.Steps[0].After = json.RawMessage(`{"Size":8,"Encrypted":false,"Tags":[{"Key":"team","Value":"web"}]}`), json.RawMessage(`null`)
}

func rounds(c *ledger.Case, n int, actors ...string) {
	for i := range n {
		c.Rounds = append(c.Rounds, ledger.Round{
			Case: "20261122-00000000", Control: c.Control, At: c.Event.Time.Add(time.Duration(i-n) * 10 * time.Minute),
			Actor: actors[i%len(actors)], Event: "PutPublicAccessBlock",
		})
	}
}

// tugOfWar is held after three rounds.
func tugOfWar(c *ledger.Case) {
	c.Severity, c.Gate = control.High, ledger.GateTugOfWar
	c.Held = "The resource was changed back 3 times in the last 24 hours, as often as the baseline allows."
	rounds(c, 3, "arn:aws:sts::222222222222:assumed-role/deploy/pipeline", "arn:aws:iam::222222222222:user/alice")
}

func usage(scope ledger.Scope, of string, most int) ledger.Usage {
	return ledger.Usage{
		Limit: ledger.Limit{Scope: scope, Of: of, Max: most}, Changes: most, Hour: time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC),
	}
}

func stop(scope string, on bool, why string) ledger.Stop {
	return ledger.Stop{Scope: scope, On: on, Why: why, By: operator(), At: time.Date(2026, 11, 22, 1, 30, 0, 123e6, time.UTC)}
}

// alerts are one of each kind that operators receive, under the names of their
// golden files.
func alerts() map[string]alert.Alert {
	all := fromCases()
	for name, s := range map[string]ledger.Stop{
		"stopped-organization": stop(ledger.Organization, true, "Orders fail since 01:10; we suspect that a change of Snapback broke the queue of the shop."),
		"stopped-account":      stop("222222222222", true, "migration"),
		"started":              stop(ledger.Organization, false, "The shop was not the reason."),
	} {
		a := alert.FromStop(s)
		a.Version = "1.2.0" // the command line has no baseline
		all[name] = a
	}
	all["limit-account"] = deployed(alert.FromLimit(usage(ledger.PerAccount, "222222222222", 50), control.High))
	all["limit-control"] = deployed(alert.FromLimit(usage(ledger.PerControl, "s3-bucket-public-access", 200), control.High))
	all["limit-threats"] = deployed(alert.FromLimit(usage(ledger.PerThreatAccount, "222222222222", 100), control.Critical))
	all["refused"] = deployed(alert.Alert{
		Schema: alert.Schema, ID: "00001009-5e1f-4c0a-9b1d-000000001009-refused", Outcome: control.Refused, Severity: control.High,
		Reason:  "The event came from the bus of account 222222222222 but tells of account 333333333333.",
		Account: "222222222222", Region: "us-east-1", Actor: alice(), Changes: []alert.Change{},
		Event: ledger.Event{
			ID: "00001009-5e1f-4c0a-9b1d-000000001009", Source: "aws.s3", CloudTrail: "00000009-5e1f-4c0a-9b1d-000000000009",
			Name: "DeleteBucketPublicAccessBlock", Account: "222222222222", Region: "us-east-1",
			Time: time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC),
		},
	})
	all["refused-malformed"] = deployed(alert.Alert{
		Schema: alert.Schema, ID: "message-1-refused", Outcome: control.Refused, Severity: control.High,
		Reason:  `event field "account" is missing or no text: an EventBridge event always has it`,
		Changes: []alert.Change{}, Event: ledger.Event{ID: "message-1"},
	})
	held := all["failed"] // as the engine writes it if it can't read the gates: there is no case
	all["held-gates-unreadable"] = deployed(alert.Alert{
		Schema: alert.Schema, ID: held.Event.ID + "-s3-bucket-public-access-held", Outcome: control.Held, Severity: held.Severity,
		Reason: held.Reason, Error: "DynamoDB BatchGetItem: AccessDeniedException: not authorized to perform: dynamodb:BatchGetItem",
		Mode: held.Mode, Control: held.Control, Target: held.Target, ARN: held.ARN, Account: held.Account, Region: held.Region,
		Event: held.Event, Actor: held.Actor, Changes: []alert.Change{},
	})
	return all
}

func fromCases() map[string]alert.Alert {
	all := fromThreats()
	maps.Copy(all, fromViolations())
	return all
}

// command is an edit that lets an operator give one.
func command(name, why string) func(*ledger.Case) {
	return func(c *ledger.Case) {
		c.Commands = append(c.Commands, ledger.Command{Name: name, By: operator(), At: c.Event.Time.Add(30 * time.Minute), Why: why})
	}
}

func fromViolations() map[string]alert.Alert {
	nothingPlanned := func(c *ledger.Case) { c.Steps = nil }
	denied := func(c *ledger.Case) {
		c.Steps[0].Error = "S3 PutPublicAccessBlock: AccessDenied: User: arn:aws:sts::222222222222:assumed-role/snapback-storage/" +
			"snapback-storage-00001001 is not authorized to perform: s3:PutBucketPublicAccessBlock with an explicit deny in a service control policy"
	}
	return map[string]alert.Alert{
		"remediated": published(control.Remediated, nil),
		"remediated-through-service": published(control.Remediated, func(c *ledger.Case) {
			c.Actor = bob()
			c.Steps[0].Before = json.RawMessage(
				`{"BlockPublicAcls":true,"IgnorePublicAcls":true,"BlockPublicPolicy":false,"RestrictPublicBuckets":false}`)
			c.Reason = "Block Public Access of bucket example-reports is off: BlockPublicPolicy, RestrictPublicBuckets."
		}),
		"remediated-after-approval": published(control.Remediated, each(queue, end, func(c *ledger.Case) { c.Until = time.Time{} },
			command("approve", "The partner sends through the API since May."))),
		"remediated-irreversible": published(control.Remediated, each(deleted, end)),
		"partial": published(control.Partial, func(c *ledger.Case) {
			c.Steps[0].Left = []string{"Access point example-web of account 333333333333 has a Block Public Access of its own, which stays off."}
		}),
		"observed": published(control.Observed, func(c *ledger.Case) { c.Mode = "observe" }),
		"observed-told": published(control.Observed, func(c *ledger.Case) {
			c.Steps[0].After, c.Steps[0].Outcome = nil, control.Observed
			c.Steps[0].Before = json.RawMessage(`{"Interfaces":["eni-0123456789abcdef0"]}`)
		}),
		"awaiting-approval":              published(control.AwaitingApproval, queue),
		"awaiting-approval-irreversible": published(control.AwaitingApproval, deleted),
		"expired":                        published(control.Expired, queue),
		"failed":                         published(control.Failed, denied),
		"failed-applied": published(control.Failed, func(c *ledger.Case) {
			c.Steps[0].Applied, c.Steps[0].Error = c.Opened, "The change was made, but reading it back shows: BlockPublicPolicy is off."
		}),
		"failed-again": published(control.Failed, each(denied, command("retry", "the deny is gone"))),
		"held-limit": published(control.Held, func(c *ledger.Case) {
			c.Actor = &event.Actor{Type: "AWSAccount", Account: "999999999999", Principal: "AIDAEXAMPLEMALLORY001", Address: "203.0.113.9"}
			c.Gate, c.Held = ledger.GateLimit, "The account had its 50 changes of this hour: more are held until the next one."
		}),
		"held-mode": published(control.Held, func(c *ledger.Case) {
			c.Gate, c.Held = ledger.GateMode, "The change was begun, and the baseline now says observe."
		}),
		"tug-of-war": published(control.Held, tugOfWar),
		"tug-of-war-long": published(control.Held, func(c *ledger.Case) {
			denied(c)
			rounds(c, 20, "arn:aws:iam::222222222222:user/a", "arn:aws:iam::222222222222:user/b", "arn:aws:iam::222222222222:user/c",
				"arn:aws:iam::222222222222:user/d", "eve", "")
			c.Gate, c.Held = ledger.GateTugOfWar, "The resource was changed back 20 times in the last 24 hours, as often as the baseline allows."
		}),
		"unreadable": published(control.Unreadable, func(c *ledger.Case) {
			nothingPlanned(c)
			c.Actor = nil // a Config event has none
			c.Event = ledger.Event{
				ID: "0000100c-5e1f-4c0a-9b1d-00000000100c", Source: "aws.config", Name: "securityhub-s3-bucket-level-public-access-prohibited-0a1b2c3d",
				Account: "222222222222", Region: "us-east-1", Time: c.Event.Time,
			}
			c.Reason = "S3 GetPublicAccessBlock: AccessDenied: Access Denied"
		}),
		"undone": published(control.Undone, each(command("undo", "The reports are meant to be public until Monday."), exempt)),
		"undone-partly": published(control.Undone, each(command("undo", ""), exempt, func(c *ledger.Case) {
			c.Steps[0].Left = []string{"Access point example-web no longer exists."}
		})),
	}
}

// exempt is what an undo does to the resource.
func exempt(c *ledger.Case) { c.Until = c.Event.Time.Add(24 * time.Hour) }

// each makes one edit of several.
func each(edits ...func(*ledger.Case)) func(*ledger.Case) {
	return func(c *ledger.Case) {
		for _, edit := range edits {
			edit(c)
		}
	}
}

func statement(sid string) string {
	return `{"Sid":"` + sid + `","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::222222222222:root"},"Action":"sqs:*","Resource":"*"}`
}

// compareGolden compares text with a golden file.
func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	golden := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("differs from %s (-want +got); go test -update rewrites it:\n%s", golden, diff)
	}
}

func TestEMailIsAsWritten(t *testing.T) {
	for name, a := range alerts() {
		t.Run(name, func(t *testing.T) {
			compareGolden(t, name+".txt", "Subject: "+a.Subject()+"\n\n"+a.Text())
		})
	}
}

func TestJSONIsAsWritten(t *testing.T) {
	for name, a := range alerts() {
		t.Run(name, func(t *testing.T) {
			text, err := json.MarshalIndent(a, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			compareGolden(t, name+".json", string(text)+"\n")
		})
	}
}

func TestEveryOutcomeThatAlertsHasItsEMail(t *testing.T) {
	shown := map[control.Outcome]bool{}
	for _, a := range alerts() {
		shown[a.Outcome] = true
	}
	for _, outcome := range []control.Outcome{
		control.Compliant, control.Observed, control.AwaitingApproval, control.Denied, control.Expired, control.Remediated, control.Partial,
		control.Undone, control.Failed, control.Exempt, control.Held, control.Gone, control.Unreadable, control.Refused, control.Ignored,
	} {
		// That a resource is gone is news after a finding alone.
		if alerts := outcome.Alerts() || outcome == control.Gone; alerts != shown[outcome] {
			t.Errorf("outcome %s alerts: %t, is shown by a golden file: %t", outcome, outcome.Alerts(), shown[outcome])
		}
	}
}

func TestEveryKindHasItsOwnHeadline(t *testing.T) {
	headlines := map[string]string{}
	for name, a := range alerts() {
		headline, _, _ := strings.Cut(a.Text(), "\n")
		kind := strings.Join([]string{string(a.Outcome), string(a.Gate), fmt.Sprint(len(a.Findings) > 0)}, " ")
		if a.Drill {
			kind = "drill " + fmt.Sprint(a.Outcome == control.Unreadable)
		}
		if other, ok := headlines[headline]; ok && other != kind {
			t.Errorf("%s begins as those of kind %s: %s", name, other, headline)
		}
		if _, _, ok := strings.Cut(headline, ": "); !ok {
			t.Errorf("%s has no headline: %s", name, headline)
		}
		headlines[headline] = kind
	}
}

func TestGoldenEMailsFitAPhone(t *testing.T) {
	for name, a := range alerts() {
		t.Run(name, func(t *testing.T) {
			checkEMail(t, a)
			for line := range strings.Lines(a.Text()) {
				line = strings.TrimSuffix(line, "\n")
				words := strings.Fields(line)
				longWord := len(words) == 1 || len(words) == 2 && len(words[0]) < 10 // a name, alone or after its label
				command := strings.HasPrefix(line, "snapback ")
				if len([]rune(line)) > 60 && !longWord && !command {
					t.Errorf("%d characters: %s", len([]rune(line)), line)
				}
			}
		})
	}
}

func TestSubjectTellsTheNews(t *testing.T) {
	all := alerts()
	for name, want := range map[string]string{
		"remediated":           "Snapback REMEDIATED: s3-bucket-public-access example-reports in 222222222222",
		"tug-of-war":           "Snapback TUG OF WAR: s3-bucket-public-access example-reports in 222222222222",
		"held-limit":           "Snapback HELD: s3-bucket-public-access example-reports in 222222222222",
		"limit-account":        "Snapback HELD: limit of changes reached in 222222222222",
		"limit-threats":        "Snapback HELD: limit of changes reached in 222222222222",
		"limit-control":        "Snapback HELD: limit of changes reached by s3-bucket-public-access",
		"stopped-organization": "Snapback STOPPED: whole organization",
		"stopped-account":      "Snapback STOPPED: account 222222222222",
		"started":              "Snapback STARTED: whole organization",
		"refused":              "Snapback REFUSED: DeleteBucketPublicAccessBlock from 222222222222",
		"refused-malformed":    "Snapback REFUSED: an event",
	} {
		if got := all[name].Subject(); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestCommandsAreThoseForTheOutcome(t *testing.T) {
	const id = "20261122-7k3m9x2q"
	all := alerts()
	for name, want := range map[string][]string{
		"remediated":              {"snapback cases undo " + id, "snapback cases show " + id},
		"remediated-irreversible": {"snapback cases show " + id},
		"observed":                {"snapback cases show " + id},
		"expired":                 {"snapback cases show " + id},
		"unreadable":              {"snapback cases show " + id},
		"held-mode":               {"snapback cases release " + id, "snapback cases show " + id},
		"awaiting-approval": {
			"snapback cases approve " + id + " --digest 0f45ac1db2d3", "snapback cases deny " + id + ` --why "…"`, "snapback cases show " + id,
		},
		"failed":         {"snapback cases retry " + id, "snapback cases show " + id},
		"failed-applied": {"snapback cases retry " + id, "snapback cases undo " + id, "snapback cases show " + id},
		"undone": {
			"snapback exempt remove --control s3-bucket-public-access --resource arn:aws:s3:::example-reports", "snapback cases show " + id,
		},
		"held-limit": {"snapback cases release --control s3-bucket-public-access --account 222222222222", "snapback cases show " + id},
		"tug-of-war": {
			`snapback exempt add --control s3-bucket-public-access --resource arn:aws:s3:::example-reports --reason "…" --owner "…" --until YYYY-MM-DD`,
			"snapback cases release --control s3-bucket-public-access --account 222222222222", "snapback cases show " + id,
		},
		"limit-account": {"snapback cases list --state held --account 222222222222", "snapback cases release --account 222222222222"},
		"limit-control": {
			"snapback cases list --state held --control s3-bucket-public-access", "snapback cases release --control s3-bucket-public-access",
		},
		"stopped-organization":  {"snapback start", "snapback status"},
		"stopped-account":       {"snapback start --account 222222222222", "snapback status"},
		"started":               {"snapback status"},
		"refused":               nil,
		"held-gates-unreadable": nil,
	} {
		var got []string
		for _, c := range all[name].Commands {
			got = append(got, c.Run)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		for _, run := range want {
			if !strings.Contains(all[name].Text(), "\n"+run+"\n") {
				t.Errorf("%s: the e-mail lacks the line %s", name, run)
			}
		}
	}
}

func TestOtherNewsOfACaseHasAnotherID(t *testing.T) {
	all := alerts()
	for name, want := range map[string]string{
		"failed": "20261122-7k3m9x2q-failed", "failed-again": "20261122-7k3m9x2q-failed-1", "undone": "20261122-7k3m9x2q-undone-1",
		"limit-account":        "limit-account-222222222222-20261122T01",
		"stopped-organization": "stop-organization-20261122T013000.123Z", "stopped-account": "stop-222222222222-20261122T013000.123Z",
	} {
		if got := all[name].ID; got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestCaseOfNoKindKnownIsStillTold(t *testing.T) {
	held := published(control.Held, func(c *ledger.Case) { c.Gate = "of-a-later-version" })
	if !strings.HasPrefix(held.Text(), "HELD: the violation stands; nothing was changed.\n") {
		t.Errorf("got\n%s", held.Text())
	}
	denied := published(control.Denied, nil) // of which no alert is sent
	if !strings.HasPrefix(denied.Text(), "DENIED.\n") {
		t.Errorf("got\n%s", denied.Text())
	}
}

func TestTugOfWarIsOneLevelWorse(t *testing.T) {
	for is, want := range map[control.Severity]control.Severity{
		control.Low: control.Medium, control.Medium: control.High, control.High: control.Critical, control.Critical: control.Critical,
	} {
		if got := published(control.Held, each(tugOfWar, func(c *ledger.Case) { c.Severity = is })).Severity; got != want {
			t.Errorf("of severity %s: got %s, want %s", is, got, want)
		}
	}
}

func TestMachinesReadTheSameAsPeople(t *testing.T) {
	for name, a := range alerts() {
		t.Run(name, func(t *testing.T) { roundTrip(t, a) })
	}
}

// roundTrip checks that the alert read back from its JSON says the same.
func roundTrip(t tester, a alert.Alert) {
	t.Helper()
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var back alert.Alert
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a.Text(), back.Text()); diff != "" {
		t.Errorf("the e-mail differs (-sent +read back):\n%s", diff)
	}
	if a.Subject() != back.Subject() {
		t.Errorf("the subject was %q, read back it is %q", a.Subject(), back.Subject())
	}
	again, err := json.Marshal(back)
	if err != nil {
		t.Fatal(err)
	}
	var one, other any
	if err := errors.Join(json.Unmarshal(text, &one), json.Unmarshal(again, &other)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(one, other); diff != "" {
		t.Errorf("the JSON differs (-sent +read back and written again):\n%s", diff)
	}
}

func TestOnlyWhatDiffersIsShown(t *testing.T) {
	change := func(before, after string) []string {
		a := published(control.Remediated, func(c *ledger.Case) {
			c.Steps[0].Before, c.Steps[0].After = json.RawMessage(before), json.RawMessage(after)
		})
		_, rest, ok := strings.Cut(strings.Replace(a.Text(), ")\n\nTo undo", "):\n\nTo undo", 1), "Changed (block-bucket-public-access):\n")
		rest, _, _ = strings.Cut(rest, "\nTo undo it")
		if !ok {
			t.Fatalf("the e-mail shows no change:\n%s", a.Text())
		}
		return slices.Collect(strings.Lines(rest))
	}
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
		name, before, after string
		want                []string
	}{
		{"switches", `{"a":false,"b":true}`, `{"b":true,"a":true}`, []string{"  a: off -> on"}},
		{"something new", `null`, `{"a":true}`, []string{"  a: not set -> on"}},
		{"nothing before", ``, `{"a":1}`, []string{"  a: not set -> 1"}},
		{"something gone", `{"a":"x"}`, `{}`, []string{"  a: x -> not set"}},
		{"all gone", `{"a":"x"}`, `null`, []string{"  a: x -> not set"}},
		{"sorted", `{"b":1,"a":1}`, `{"b":2,"c":1,"a":2}`, []string{"  a: 1 -> 2", "  b: 1 -> 2", "  c: not set -> 1"}},
		{"another form of the same", `{"a":{"x":1,"y":[true, "<"]}}`, `{"a": {"y":[true,"\u003c"],"x":1}}`, nil},
		{"large numbers", `{"a":12345678901234567890}`, `{"a":12345678901234567891}`, []string{"  a: 12345678901234567890 -> 12345678901234567891"}},
		{"characters of HTML", `{"a":{"x":"<&>"}}`, `{"a":{}}`, []string{`  a.x: <&> -> not set`}},
		{"lists", `["a"]`, `["b"]`, []string{`  state: a -> b`}},
		{"lists of more", `{"a":[1,"x",true]}`, `{"a":[1,true]}`, []string{"  a: 1, x, on -> 1, on"}},
		{"lists in another order", `{"a":["x","y"]}`, `{"a":["y","x"]}`, []string{"  a: x, y -> y, x"}},
		{"a list gone", `{"a":["x"]}`, `{}`, []string{"  a: x -> not set"}},
		{"an empty list", `{"a":["x"]}`, `{"a":[]}`, []string{"  a: x -> empty"}},
		{"an empty object", `{"a":{}}`, `{}`, []string{"  a: empty -> not set"}},
		{"an empty text", `{"a":""}`, `{"a":null}`, []string{"  a: empty -> not set"}},
		{"long lists", `{"a":["` + long[:60] + `","y"]}`, `{"a":["y"]}`, []string{"  a#1:", "    was " + long[:60], "    now not set"}},
		{
			"long lists in another order", `{"a":["` + long[:60] + `","y"]}`, `{"a":["y","` + long[:60] + `"]}`,
			[]string{"  a: one order -> another order"},
		},
		{"objects in lists by name", `{"a":[{"Sid":"A","x":1},{"Sid":"B","x":1},{"Sid":"C"}]}`, `{"a":[{"Sid":"B","x":2},{"Sid":"C"},{"Sid":"D"}]}`,
			[]string{"  a.A.Sid: A -> not set", "  a.A.x: 1 -> not set", "  a.B.x: 1 -> 2", "  a.D.Sid: not set -> D"}},
		{"objects in lists by place", `{"a":[{"x":1},{"x":2},{"x":3}]}`, `{"a":[{"x":1},{"x":3}]}`, []string{"  a#2.x: 2 -> not set"}},
		{"objects in lists of one name", `{"a":[{"Sid":"A","x":1},{"Sid":"A","x":2}]}`, `{"a":[]}`,
			[]string{"  a.A.Sid: A -> not set", "  a.A.x: 1 -> not set", "  a#2.Sid: A -> not set", "  a#2.x: 2 -> not set"}},
		{"one object of a list", `[{"x":1,"y":1},{"x":2}]`, `[{"x":1,"y":2},{"x":2}]`, []string{"  state#1.y: 1 -> 2"}},
		{"a text that is now an object", `{"a":"*"}`, `{"a":{"AWS":"x"}}`, []string{"  a: * -> not set", "  a.AWS: not set -> x"}},
		{"JSON in a text", `{"a":"{\"b\":[1]}"}`, `{"a":"{\"b\":[2]}"}`, []string{"  a.b: 1 -> 2"}},
		{"JSON that was cut", `{"a":"x"}`, `{"a":"{\"b\":"}`, []string{`  a: x -> …"b":`}},
		{"fields in fields", `{"a":{"b":{"c":1,"d":1}}}`, `{"a":{"b":{"c":2,"d":1}}}`, []string{"  a.b.c: 1 -> 2"}},
		{"prose is cut", `{"a":"` + strings.Repeat("so ", 40) + `"}`, `{"a":"y"}`, []string{"  a:", "    was " + strings.Repeat("so ", 17) + "…", "    now y"}},
		{"texts", `"a"`, `"b"`, []string{`  state: a -> b`}},
		{"no JSON", `a{`, `b`, []string{`  state: a{ -> b`}},
		{"just a line", `{"a":"` + long[:50] + `"}`, `{"a":"y"}`, []string{"  a: " + long[:50] + " -> y"}},
		{"more than a line", `{"a":"` + long[:51] + `"}`, `{"a":"y"}`, []string{"  a:", "    was " + long[:51], "    now y"}},
		{"too long", `{"a":"` + long + `"}`, `{"a":"y"}`, []string{"  a:", "    was " + long[:200] + "…", "    now y"}},
		{
			"too long and different at the end", `{"a":"` + long + `yes"}`, `{"a":"` + long + `no"}`,
			[]string{"  a: …" + long[:20] + "yes -> …" + long[:20] + "no"},
		},
		{
			"too long, one the beginning of the other", `{"a":"` + long + `"}`, `{"a":"` + long + `no"}`,
			[]string{"  a: …" + long[:20] + " -> …" + long[:20] + "no"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var want []string
			for _, line := range tt.want {
				want = append(want, line+"\n")
			}
			if diff := cmp.Diff(want, change(tt.before, tt.after)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("many fields", func(t *testing.T) {
		fields := map[string]int{}
		for i := range 26 {
			fields[string(rune('a'+i))] = i
		}
		after, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		got := change("{}", string(after))
		if len(got) != 14 || got[12] != "  m: not set -> 12\n" || got[13] != "  … and 13 more fields\n" {
			t.Errorf("got %q", got)
		}
	})
}

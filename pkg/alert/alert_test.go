package alert_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
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
			Digest: "9d2c6f5b1d6a1e4f8c3b7a09e5d4c3b2a19f8e7d6c5b4a3928170615f4e3d2c1", Outcome: outcome,
		}},
		Opened: at.Add(2 * time.Second),
	}
	if edit != nil {
		edit(c)
	}
	return alert.FromCase(c)
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

// alerts are one of each kind that operators receive, under the names of their
// golden files.
func alerts() map[string]alert.Alert {
	nothingPlanned := func(c *ledger.Case) { c.Steps = nil }
	return map[string]alert.Alert{
		"remediated": published(control.Remediated, nil),
		"remediated-through-service": published(control.Remediated, func(c *ledger.Case) {
			c.Actor = bob()
			c.Steps[0].Before = json.RawMessage(
				`{"BlockPublicAcls":true,"IgnorePublicAcls":true,"BlockPublicPolicy":false,"RestrictPublicBuckets":false}`)
			c.Reason = "Block Public Access of bucket example-reports is off: BlockPublicPolicy, RestrictPublicBuckets."
		}),
		"observed": published(control.Observed, func(c *ledger.Case) { c.Mode = "observe" }),
		"awaiting-approval": published(control.AwaitingApproval, func(c *ledger.Case) {
			c.Mode = "approve"
			c.Control, c.Severity = "sqs-queue-policy", control.Critical
			c.Target = control.Target{Account: "222222222222", Region: "eu-west-1", Type: "AWS::SQS::Queue", ID: "orders"}
			c.Reason = "The policy of queue orders lets anyone send to it."
			c.Steps[0] = ledger.Step{
				Remedy: "restrict-queue-policy", Digest: "0f",
				Before: json.RawMessage(`{"Policy":{"Version":"2012-10-17","Statement":[` + statement("Own") + `,` + statement("Logs") +
					`,{"Sid":"World","Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":"*"}]}}`),
				After: json.RawMessage(`{"Policy":{"Version":"2012-10-17","Statement":[` + statement("Own") + `,` + statement("Logs") + `]}}`),
			}
		}),
		"failed": published(control.Failed, func(c *ledger.Case) {
			c.Steps[0].Error = "S3 PutPublicAccessBlock: AccessDenied: User: arn:aws:sts::222222222222:assumed-role/snapback-storage/" +
				"snapback-storage-00001001 is not authorized to perform: s3:PutBucketPublicAccessBlock with an explicit deny in a service control policy"
		}),
		"held": published(control.Held, func(c *ledger.Case) {
			c.Actor = &event.Actor{Type: "AWSAccount", Account: "999999999999", Principal: "AIDAEXAMPLEMALLORY001", Address: "203.0.113.9"}
			c.Steps[0].Error = "The account had its 50 changes of this hour: more are held until the next one."
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
		"refused": {
			Schema: alert.Schema, ID: "00001009-5e1f-4c0a-9b1d-000000001009-refused", Outcome: control.Refused, Severity: control.High,
			Reason:  "The event came from the bus of account 222222222222 but tells of account 333333333333.",
			Account: "222222222222", Region: "us-east-1", Actor: alice(), Changes: []alert.Change{},
			Event: ledger.Event{
				ID: "00001009-5e1f-4c0a-9b1d-000000001009", Source: "aws.s3", CloudTrail: "00000009-5e1f-4c0a-9b1d-000000000009",
				Name: "DeleteBucketPublicAccessBlock", Account: "222222222222", Region: "us-east-1",
				Time: time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC),
			},
		},
		"refused-malformed": {
			Schema: alert.Schema, ID: "message-1-refused", Outcome: control.Refused, Severity: control.High,
			Reason:  `event field "account" is missing or no text: an EventBridge event always has it`,
			Changes: []alert.Change{}, Event: ledger.Event{ID: "message-1"},
		},
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
		if headline, _, _ := strings.Cut(a.Text(), "\n"); headline == "" {
			t.Errorf("%s: the e-mail has no headline", a.Outcome)
		}
	}
	for _, outcome := range []control.Outcome{
		control.Compliant, control.Observed, control.AwaitingApproval, control.Remediated, control.Failed, control.Exempt,
		control.Held, control.Gone, control.Unreadable, control.Refused, control.Ignored,
	} {
		if outcome.Alerts() != shown[outcome] {
			t.Errorf("outcome %s alerts: %t, is shown by a golden file: %t", outcome, outcome.Alerts(), shown[outcome])
		}
	}
}

// TestProseFitsAPhone holds the golden e-mails to 60 characters a line, but for
// what is left whole to be copied.
func TestProseFitsAPhone(t *testing.T) {
	for name, a := range alerts() {
		for line := range strings.Lines(a.Text()) {
			line = strings.TrimSuffix(line, "\n")
			words := strings.Fields(line)
			longWord := len(words) == 1 || len(words) == 2 && len(words[0]) < 10 // a name, alone or after its label
			command := strings.HasPrefix(line, "snapback ")
			state := strings.HasPrefix(line, "    was ") || strings.HasPrefix(line, "    now ")
			if len([]rune(line)) > 60 && !longWord && !command && !state {
				t.Errorf("%s: %d characters: %s", name, len([]rune(line)), line)
			}
		}
	}
}

func TestMachinesReadTheSameAsPeople(t *testing.T) {
	for name, a := range alerts() {
		t.Run(name, func(t *testing.T) { roundTrip(t, a) })
	}
}

// roundTrip checks that the alert read back from its JSON says the same.
func roundTrip(t interface {
	Helper()
	Errorf(string, ...any)
	Fatal(...any)
}, a alert.Alert,
) {
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
		_, rest, ok := strings.Cut(a.Text(), "Changed (block-bucket-public-access):\n")
		rest, _, _ = strings.Cut(rest, "\nThe whole story")
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
		{"characters of HTML", `{"a":{"x":"<&>"}}`, `{"a":{}}`, []string{`  a: {"x":"<&>"} -> {}`}},
		{"lists", `["a"]`, `["b"]`, []string{`  state: ["a"] -> ["b"]`}},
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
		if len(got) != 21 || got[19] != "  t: not set -> 19\n" || got[20] != "  … and 6 more\n" {
			t.Errorf("got %q", got)
		}
	})
}

package principal_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/remedies/principal"
)

const account = "222222222222"

// callers are who made the calls of package event's records, one of each kind
// that CloudTrail writes, as actors; empty where nobody could be contained.
var callers = map[string]string{
	"iam-user":                     "user/alice",
	"iam-user-console-mfa":         "user/alice",
	"role-session":                 "role/ci/ci-deploy:AROAEXAMPLEROLE000001:deploy-4711",
	"role-session-through-service": "role/ci/ci-deploy:AROAEXAMPLEROLE000001:deploy-4711",
	"identity-center-role-session": "role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Developer_0123456789abcdef:AROAEXAMPLESSO0000001:bob@example.com",
	"identity-center-user":         "",
	"root":                         "root",
	"root-sign-in-mfa":             "root",
	"service":                      "",
	"service-event":                "",
	"other-account":                "foreign/arn:aws:iam::999999999999:root",
	"anonymous":                    "",
	"federated-user":               "federated/alice:carol",
	"web-identity-user":            "",
	"saml-user":                    "",
}

func TestActorOfEveryKindOfCaller(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("..", "..", "event", "testdata", "records", "*.json"))
	if err != nil || len(paths) != len(callers) {
		t.Fatalf("there are %d records and %d actors (%v)", len(paths), len(callers), err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		t.Run(name, func(t *testing.T) {
			want, known := callers[name]
			if !known {
				t.Fatal("the table names no actor for this record")
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			wantActor(t, call(t, data), want)
		})
	}
}

func TestActorOfCall(t *testing.T) {
	for _, tt := range []struct{ name, identity, want string }{
		{
			"a user in a folder",
			`{"type":"IAMUser","accountId":"222222222222","arn":"arn:aws:iam::222222222222:user/team/alice","userName":"alice"}`,
			"user/team/alice",
		},
		{
			"a user with the session token of GetSessionToken",
			`{"type":"IAMUser","accountId":"222222222222","arn":"arn:aws:iam::222222222222:user/alice","accessKeyId":"ASIAIOSFODNN7EXAMPLE",
			  "sessionContext":{"sessionIssuer":{},"attributes":{"mfaAuthenticated":"true"}}}`,
			"user/alice",
		},
		{
			"root with the session token of GetSessionToken",
			`{"type":"Root","accountId":"222222222222","arn":"arn:aws:iam::222222222222:root","accessKeyId":"ASIAIOSFODNN7EXAMPLE"}`,
			"root",
		},
		{
			"a federated session of root",
			`{"type":"FederatedUser","accountId":"222222222222","arn":"arn:aws:sts::222222222222:federated-user/carol",
			  "sessionContext":{"sessionIssuer":{"type":"Root","arn":"arn:aws:iam::222222222222:root","accountId":"222222222222"}}}`,
			"root",
		},
		{
			"root of another account",
			`{"type":"Root","accountId":"999999999999","arn":"arn:aws:iam::999999999999:root"}`,
			"foreign/arn:aws:iam::999999999999:root",
		},
		{
			"a role's session of another account",
			`{"type":"AssumedRole","accountId":"999999999999","arn":"arn:aws:sts::999999999999:assumed-role/admin/mallory","principalId":"AROAEXAMPLEROLE000009:mallory",
			  "sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::999999999999:role/admin","accountId":"999999999999"}}}`,
			"foreign/arn:aws:sts::999999999999:assumed-role/admin/mallory",
		},
		{
			"a role whose path holds colons",
			`{"type":"AssumedRole","accountId":"222222222222","principalId":"AROAEXAMPLEROLE000001:s","arn":"arn:aws:sts::222222222222:assumed-role/evade/s",
			  "sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::222222222222:role/x:AROAEXAMPLEROLE000002:y/evade"}}}`,
			"role/x:AROAEXAMPLEROLE000002:y/evade:AROAEXAMPLEROLE000001:s",
		},
		{"a user whose ARN is missing, as of a failed sign-in", `{"type":"IAMUser","accountId":"222222222222","userName":"HIDDEN_DUE_TO_SECURITY_REASONS"}`, ""},
		{
			"a user whose path is not IAM's",
			`{"type":"IAMUser","accountId":"222222222222","arn":"arn:aws:iam::222222222222:user/a b/alice"}`, "",
		},
		{"nobody", `{}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) { wantActor(t, call(t, record(tt.identity)), tt.want) })
	}
}

func TestTextOfActor(t *testing.T) {
	for _, tt := range []struct {
		text string
		want principal.Actor
		arn  string
		name string
	}{
		{"user/team/alice", principal.Actor{User: "team/alice"}, "arn:aws:iam::222222222222:user/team/alice", "alice"},
		{"federated/a:b/alice:carol", principal.Actor{User: "a:b/alice", Session: "carol"}, "arn:aws:iam::222222222222:user/a:b/alice", "alice"},
		{
			"role/a:b/deploy:AROAEXAMPLE:i-1", principal.Actor{Role: "a:b/deploy", RoleID: "AROAEXAMPLE", Session: "i-1"},
			"arn:aws:iam::222222222222:role/a:b/deploy", "deploy",
		},
		{"root", principal.Actor{Root: true}, "arn:aws:iam::222222222222:root", "root"},
		{
			"foreign/arn:aws:iam::999999999999:user/mallory", principal.Actor{Foreign: "arn:aws:iam::999999999999:user/mallory"},
			"arn:aws:iam::999999999999:user/mallory", "mallory",
		},
	} {
		tt.want.Account, tt.want.Partition = account, "aws"
		target := about(tt.text + " s3-bucket example")
		got, ok := principal.ParseActor(target)
		if diff := cmp.Diff(tt.want, got); !ok || diff != "" {
			t.Errorf("%s is read as (-want +got):\n%s", tt.text, diff)
		}
		if got.String() != tt.text || got.ARN() != tt.arn || got.Name() != tt.name || principal.ARN(target) != tt.arn {
			t.Errorf("%s: text %s, ARN %s, name %s, ARN of the target %s", tt.text, got, got.ARN(), got.Name(), principal.ARN(target))
		}
	}
}

func TestTextOfNobody(t *testing.T) {
	for _, text := range []string{
		"", "alice", "user/", "user/alice:s", "user//", "role/deploy", "role/deploy:AROAEXAMPLE", "role/deploy:aroa:s", "role/deploy:AROAEXAMPLE:a/b",
		"federated/alice", "federated/alice:a/b", "roots", "foreign/", "foreign/alice", "foreign/arn:aws:iam::anonymous:root", "foreign/arn:aws:s3:::bucket", "user/alice\n",
	} {
		if a, ok := principal.ParseActor(about(text)); ok {
			t.Errorf("%q is read as %+v", text, a)
		}
	}
	if got := principal.ARN(about("NAME")); got != "arn:aws:iam::222222222222:NAME" {
		t.Errorf("ARN of nobody is %s", got)
	}
}

func TestActorOfAnotherPartition(t *testing.T) {
	a, ok := principal.ParseActor(control.Target{Account: account, Region: "us-gov-west-1", ID: "user/alice"})
	if !ok || a.ARN() != "arn:aws-us-gov:iam::222222222222:user/alice" {
		t.Errorf("got %+v", a)
	}
}

// FuzzActor: whoever makes a call is read back from his text as he was; what is no
// actor's text is never taken for one.
func FuzzActor(f *testing.F) {
	f.Add(`{"type":"IAMUser","accountId":"222222222222","arn":"arn:aws:iam::222222222222:user/team/alice"}`)
	f.Add(`{"type":"FederatedUser","accountId":"222222222222","arn":"arn:aws:sts::222222222222:federated-user/carol","sessionContext":{"sessionIssuer":{"type":"IAMUser","arn":"arn:aws:iam::222222222222:user/x:y/alice"}}}`)
	f.Add(`{"type":"AssumedRole","accountId":"222222222222","principalId":"AROAEXAMPLE:s:t","sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::222222222222:role/:role/a"}}}`)
	f.Add(`{"type":"Root","accountId":"222222222222"}`)
	f.Add(`{"type":"AWSAccount","accountId":"999999999999"}`)
	f.Add(`federated/a:b/alice:carol of it`)
	pattern := regexp.MustCompile(`^` + principal.ActorPattern + `$`)
	f.Fuzz(func(t *testing.T, text string) {
		if a, ok := principal.ParseActor(about(text)); ok {
			word, _, _ := strings.Cut(text, " ")
			if a.String() != word || !pattern.MatchString(word) {
				t.Errorf("%q is read as %+v, whose text is %q", text, a, a)
			}
		}
		if !json.Valid([]byte(text)) {
			return
		}
		e, err := event.DecodeAny(record(text))
		if err != nil {
			return
		}
		a, ok := principal.FromCall(e.Detail.(*event.Call))
		if !ok {
			return
		}
		if back, ok := principal.ParseActor(about(a.String() + " it")); !ok || back != a {
			t.Errorf("%+v is read back as %+v (%t)", a, back, ok)
		}
	})
}

// record is a CloudTrail record of a call that somebody made.
func record(identity string) []byte {
	return []byte(`{"eventVersion":"1.11","eventTime":"2026-11-22T01:00:00Z","eventSource":"iam.amazonaws.com","eventName":"AttachUserPolicy",` +
		`"awsRegion":"us-east-1","recipientAccountId":"222222222222","eventID":"4f4e0a3f-1e5e-4e0a-8f62-22e3b1d0fbb7","eventType":"AwsApiCall",` +
		`"userIdentity":` + identity + `}`)
}

func call(t *testing.T, data []byte) *event.Call {
	t.Helper()
	e, err := event.DecodeAny(data)
	if err != nil {
		t.Fatal(err)
	}
	return e.Detail.(*event.Call)
}

func wantActor(t *testing.T, c *event.Call, want string) {
	t.Helper()
	a, ok := principal.FromCall(c)
	if ok != (want != "") || ok && a.String() != want {
		t.Errorf("got actor %s (%t), want %q", a, ok, want)
	}
	if ok && (a.Account != c.Account || a.Partition != "aws") {
		t.Errorf("he is in account %s of partition %s", a.Account, a.Partition)
	}
}

// about is a target about somebody.
func about(id string) control.Target {
	return control.Target{Account: account, Region: "us-east-1", Type: "AWS::IAM::User", ID: id}
}

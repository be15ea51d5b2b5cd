package event_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/event"
)

const cli = "[aws-cli/2.31.0 md/awscrt#0.27.6 ua/2.1 os/linux#6.1 md/arch#x86_64 lang/python#3.13.7]"

// actors are who made the calls of testdata/records, one of each kind that
// CloudTrail writes.
var actors = map[string]event.Actor{
	"iam-user": {
		Type: "IAMUser", ARN: "arn:aws:iam::222222222222:user/alice", Account: "222222222222",
		Principal: "AIDAEXAMPLEALICE00001", Name: "alice", AccessKey: "AKIAIOSFODNN7EXAMPLE",
		Address: "198.51.100.7", UserAgent: cli,
	},
	"iam-user-console-mfa": {
		Type: "IAMUser", ARN: "arn:aws:iam::222222222222:user/alice", Account: "222222222222",
		Principal: "AIDAEXAMPLEALICE00001", Name: "alice", AccessKey: "ASIAIOSFODNN7EXAMPLE", MFA: true,
		Address:   "198.51.100.7",
		UserAgent: "[Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36]",
	},
	"role-session": {
		Type: "AssumedRole", ARN: "arn:aws:sts::222222222222:assumed-role/ci-deploy/deploy-4711", Account: "222222222222",
		Principal: "AROAEXAMPLEROLE000001:deploy-4711", Name: "deploy-4711", AccessKey: "ASIAI44QH8DHBEXAMPLE",
		Issuer: &event.Issuer{
			Type: "Role", ARN: "arn:aws:iam::222222222222:role/ci/ci-deploy", Account: "222222222222",
			Principal: "AROAEXAMPLEROLE000001", Name: "ci-deploy",
		},
		Address: "198.51.100.7", UserAgent: cli,
	},
	"role-session-through-service": {
		Type: "AssumedRole", ARN: "arn:aws:sts::222222222222:assumed-role/ci-deploy/deploy-4711", Account: "222222222222",
		Principal: "AROAEXAMPLEROLE000001:deploy-4711", Name: "deploy-4711", AccessKey: "ASIAI44QH8DHBEXAMPLE",
		Issuer: &event.Issuer{
			Type: "Role", ARN: "arn:aws:iam::222222222222:role/ci/ci-deploy", Account: "222222222222",
			Principal: "AROAEXAMPLEROLE000001", Name: "ci-deploy",
		},
		Address: "cloudformation.amazonaws.com", UserAgent: "cloudformation.amazonaws.com", InvokedBy: "cloudformation.amazonaws.com",
	},
	"identity-center-role-session": {
		Type:    "AssumedRole",
		ARN:     "arn:aws:sts::222222222222:assumed-role/AWSReservedSSO_Developer_0123456789abcdef/bob@example.com",
		Account: "222222222222", Principal: "AROAEXAMPLESSO0000001:bob@example.com", Name: "bob@example.com",
		AccessKey: "ASIAIOSFODNN7EXAMPLE",
		Issuer: &event.Issuer{
			Type:    "Role",
			ARN:     "arn:aws:iam::222222222222:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Developer_0123456789abcdef",
			Account: "222222222222", Principal: "AROAEXAMPLESSO0000001", Name: "AWSReservedSSO_Developer_0123456789abcdef",
		},
		Address: "198.51.100.7", UserAgent: cli,
		OnBehalfOf: &event.IdentityCenterUser{
			UserID:        "d4e5f6a7-1111-2222-3333-444455556666",
			IdentityStore: "arn:aws:identitystore::111111111111:identitystore/d-1234567890",
		},
	},
	"identity-center-user": {
		Type: "IdentityCenterUser", Account: "111111111111", Address: "198.51.100.7", UserAgent: cli,
		OnBehalfOf: &event.IdentityCenterUser{
			UserID:        "d4e5f6a7-1111-2222-3333-444455556666",
			IdentityStore: "arn:aws:identitystore::111111111111:identitystore/d-1234567890",
		},
	},
	"root": {
		Type: "Root", ARN: "arn:aws:iam::222222222222:root", Account: "222222222222", Principal: "222222222222",
		Name: "root", AccessKey: "ASIAI44QH8DHBEXAMPLE", Address: "198.51.100.7", UserAgent: cli,
	},
	"root-sign-in-mfa": {
		Type: "Root", ARN: "arn:aws:iam::222222222222:root", Account: "222222222222", Principal: "222222222222",
		Name: "root", MFA: true, Address: "2001:db8::7", UserAgent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
	},
	"service": {
		Type: "AWSService", Name: "config.amazonaws.com", Address: "config.amazonaws.com",
		UserAgent: "config.amazonaws.com", InvokedBy: "config.amazonaws.com",
	},
	"service-event": {
		Account: "222222222222", Name: "ec2.amazonaws.com", Address: "ec2.amazonaws.com",
		UserAgent: "ec2.amazonaws.com", InvokedBy: "ec2.amazonaws.com",
	},
	"other-account": {
		Type: "AWSAccount", Account: "999999999999", Principal: "AIDAEXAMPLEMALLORY001", Address: "198.51.100.7", UserAgent: cli,
	},
	"anonymous": {Type: "AWSAccount", Account: "anonymous", Address: "198.51.100.7", UserAgent: cli},
	"federated-user": {
		Type: "FederatedUser", ARN: "arn:aws:sts::222222222222:federated-user/carol", Account: "222222222222",
		Principal: "222222222222:carol", Name: "carol", AccessKey: "ASIAI44QH8DHBEXAMPLE",
		Issuer: &event.Issuer{
			Type: "IAMUser", ARN: "arn:aws:iam::222222222222:user/alice", Account: "222222222222",
			Principal: "AIDAEXAMPLEALICE00001", Name: "alice",
		},
		Address: "198.51.100.7", UserAgent: cli,
	},
	"web-identity-user": {
		Type:      "WebIdentityUser",
		Principal: "arn:aws:iam::222222222222:oidc-provider/token.example.com:sts.amazonaws.com:repo:example/shop",
		Name:      "repo:example/shop", Address: "198.51.100.7", UserAgent: cli,
	},
	"saml-user": {
		Type: "SAMLUser", Principal: "EXAMPLEnameQualifier=:dave", Name: "dave", Address: "198.51.100.7", UserAgent: cli,
	},
}

func TestActorOfEveryKindIsTold(t *testing.T) {
	paths := walk(t, filepath.Join("testdata", "records"))
	if len(paths) != len(actors) {
		t.Errorf("there are %d records and %d actors", len(paths), len(actors))
	}
	for _, path := range paths {
		name := strings.TrimSuffix(path, ".json")
		t.Run(name, func(t *testing.T) {
			want, ok := actors[name]
			if !ok {
				t.Fatal("the table names no actor for this record")
			}
			call := decode(t, read(t, "testdata", "records", path)).Detail.(*event.Call)
			if diff := cmp.Diff(want, call.Actor); diff != "" {
				t.Errorf("actor differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCallIsReadByPath(t *testing.T) {
	call := decode(t, read(t, "testdata", "records", "iam-user.json")).Detail.(*event.Call)
	for path, want := range map[string]string{
		"requestParameters.bucketName":           "example-reports",
		"resources.0.ARN":                        "arn:aws:s3:::example-reports",
		"additionalEventData.bytesTransferredIn": "312",
		"requestParameters.absent":               "",
	} {
		if got := call.Get(path).String(); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}

func TestTimesAreInUTC(t *testing.T) {
	data := edit(t, read(t, samples, "cloudtrail/s3-create-bucket.json"), "detail.eventTime", `"2026-11-22T02:00:00+01:00"`)
	if got := decode(t, data).Detail.(*event.Call).Time.String(); got != "2026-11-22 01:00:00 +0000 UTC" {
		t.Errorf("time is %s", got)
	}
}

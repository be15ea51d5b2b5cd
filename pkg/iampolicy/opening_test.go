package iampolicy_test

import (
	"fmt"
	"strings"
	"testing"

	diff "github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

// ours is an organization of two accounts.
var ours = iampolicy.Organization{ID: "o-ours123456", Account: "222222222222", Accounts: []string{"222222222222", "333333333333"}}

// told is an opening in short: "public yes", "999999999999 conditional", "-".
func told(openings []iampolicy.Opening) string {
	var all []string
	for _, o := range openings {
		who := strings.Join(o.Outside, " ")
		if o.Public {
			who = strings.TrimSpace("public " + who)
		}
		all = append(all, who+" "+o.Answer.String())
	}
	if all == nil {
		return "-"
	}
	return strings.Join(all, ", ")
}

func TestWhomAResourcePolicyLetsIn(t *testing.T) {
	for principal, want := range map[string]string{
		`"*"`:                            "public yes",
		`{"AWS": "*"}`:                   "public yes",
		`{"AWS": ["222222222222", "*"]}`: "public yes",
		`{"AWS": "222222222222"}`:        "-",
		`{"AWS": "arn:aws:iam::333333333333:root"}`:                                                       "-",
		`{"AWS": "arn:aws:iam::999999999999:root"}`:                                                       "arn:aws:iam::999999999999:root yes",
		`{"AWS": ["999999999999", "arn:aws:iam::888888888888:role/x", "333333333333"]}`:                   "999999999999 arn:aws:iam::888888888888:role/x yes",
		`{"AWS": "arn:aws:sts::999999999999:assumed-role/x/y"}`:                                           "arn:aws:sts::999999999999:assumed-role/x/y yes",
		`{"AWS": "arn:aws:iam::*:root"}`:                                                                  "public yes",
		`{"AWS": "AROAEXAMPLE0000000001"}`:                                                                "-",
		`{"AWS": "arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1EXAMPLE"}`:             "-",
		`{"CanonicalUser": "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"}`:           "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be conditional",
		`{"Service": "cloudtrail.amazonaws.com"}`:                                                         "-",
		`{"Service": "cloudtrail.amazonaws.com", "AWS": "999999999999"}`:                                  "999999999999 yes",
		`{"Federated": "graph.facebook.com"}`:                                                             "public yes",
		`{"Federated": "arn:aws:iam::222222222222:saml-provider/idp"}`:                                    "-",
		`{"Federated": "arn:aws:iam::999999999999:saml-provider/idp"}`:                                    "arn:aws:iam::999999999999:saml-provider/idp yes",
		`{"Federated": "arn:aws:iam::222222222222:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/AB"}`: "-",
		`{"Federated": "login.example.com"}`:                                                              "public yes",
	} {
		d := parse(t, fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [
			{"Effect": "Deny", "Principal": %[1]s, "Action": "s3:PutObject", "Resource": "*"},
			{"Effect": "Allow", "Principal": %[1]s, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}]}`, principal))
		openings := d.Openings(ours)
		if got := told(openings); got != want {
			t.Errorf("%s: %s, want %s", principal, got, want)
		}
		for _, o := range openings {
			if o.Statement != 1 || o.Why == "" {
				t.Errorf("%s: %+v", principal, o)
			}
		}
	}
}

func TestNotPrincipalLetsInEverybodyElse(t *testing.T) {
	d := parse(t, `{"Statement": {"Effect": "Allow", "NotPrincipal": {"AWS": "999999999999"}, "Action": "s3:GetObject", "Resource": "*"}}`)
	if got := told(d.Openings(ours)); got != "public yes" {
		t.Error(got)
	}
}

func TestWhatConditionsLeaveOfEverybody(t *testing.T) {
	for condition, want := range map[string]string{
		// What narrows.
		`"StringEquals": {"aws:PrincipalOrgID": "o-ours123456"}`:                                                             "-",
		`"StringEquals": {"aws:PrincipalOrgID": ["o-ours123456", "o-theirs9999"]}`:                                           "o-theirs9999 yes",
		`"StringEquals": {"aws:PrincipalOrgID": "${aws:ResourceOrgID}"}`:                                                     "-",
		`"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-ours123456/r-ab12/ou-ab12-11111111/*"}`:                      "-",
		`"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-*/r-ab12/*"}`:                                                "public yes",
		`"StringEquals": {"aws:SourceOrgID": "o-ours123456"}`:                                                                "-",
		`"StringEquals": {"aws:SourceAccount": "222222222222"}`:                                                              "-",
		`"StringEquals": {"aws:SourceAccount": "999999999999"}`:                                                              "999999999999 yes",
		`"StringEquals": {"AWS:SourceOwner": "222222222222"}`:                                                                "-",
		`"StringEquals": {"aws:PrincipalAccount": ["222222222222", "333333333333"]}`:                                         "-",
		`"StringEquals": {"aws:PrincipalAccount": "${aws:ResourceAccount}"}`:                                                 "-",
		`"StringEquals": {"kms:CallerAccount": "222222222222", "kms:ViaService": "s3.eu-west-1.amazonaws.com"}`:              "-",
		`"StringEquals": {"s3:DataAccessPointAccount": "222222222222"}`:                                                      "-",
		`"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:222222222222:*"}`:                                                       "-",
		`"ArnLike": {"aws:SourceArn": "arn:aws:s3:::bucket"}`:                                                                "-",
		`"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::999999999999:role/*"}`:                                                "arn:aws:iam::999999999999:role/* yes",
		`"StringLike": {"s3:DataAccessPointArn": "arn:aws:s3:us-west-2:222222222222:accesspoint/*"}`:                         "-",
		`"StringEquals": {"aws:SourceVpc": "vpc-91237329"}`:                                                                  "-",
		`"StringEquals": {"aws:SourceVpce": ["vpce-1a2b3c4d", "vpce-5e6f7a8b"]}`:                                             "-",
		`"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "2001:db8::/32", "10.0.0.0/8"]}`:                                   "-",
		`"StringLike": {"aws:userid": "AROAEXAMPLE0000000001:*"}`:                                                            "-",
		`"Bool": {"aws:PrincipalIsAWSService": "true"}`:                                                                      "-",
		`"StringEquals": {"aws:PrincipalServiceName": "cloudtrail.amazonaws.com"}`:                                           "-",
		`"Null": {"aws:PrincipalOrgID": "false"}, "StringEqualsIfExists": {"aws:PrincipalOrgID": "o-ours123456"}`:            "-",
		`"Null": {"aws:PrincipalOrgPaths": "false"}, "ForAllValues:StringLike": {"aws:PrincipalOrgPaths": "o-ours123456/*"}`: "-",
		// What never holds.
		`"StringEquals": {"aws:SourceVpce": []}`: "-",
		// What only looks as if it did.
		`"StringLike": {"aws:PrincipalOrgID": "*"}`:                                                              "public yes",
		`"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-ours123456"}`:                                         "public yes",
		`"ForAllValues:StringEquals": {"aws:PrincipalOrgPaths": "o-ours123456/*"}`:                               "public yes",
		`"Null": {"aws:PrincipalOrgID": "false"}`:                                                                "public yes",
		`"Null": {"aws:PrincipalOrgID": "true"}, "StringEqualsIfExists": {"aws:PrincipalOrgID": "o-ours123456"}`: "public yes",
		`"StringNotEquals": {"aws:PrincipalOrgID": "o-theirs9999"}`:                                              "public yes",
		`"StringNotEquals": {"aws:PrincipalAccount": "222222222222"}`:                                            "public yes",
		`"StringLike": {"aws:SourceVpc": "vpc-*"}`:                                                               "public yes",
		`"StringEquals": {"aws:PrincipalAccount": ["222222222222", "${aws:PrincipalAccount}"]}`:                  "public yes",
		`"ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}`:                                                         "public yes",
		`"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/admin"}`:                                           "public yes",
		`"ArnEquals": {"aws:SourceArn": "*"}`:                                                                    "public yes",
		`"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}`:                                                             "public yes",
		`"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "::/0"]}`:                                              "public yes",
		`"IpAddress": {"aws:SourceIp": "128.0.0.0/1"}`:                                                           "public yes",
		`"IpAddress": {"aws:VpcSourceIp": "10.0.0.0/24"}`:                                                        "public yes",
		`"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}`:                                                     "public yes",
		`"Bool": {"aws:SecureTransport": "true"}`:                                                                "public yes",
		`"StringLike": {"aws:Referer": "https://example.com/*"}`:                                                 "public yes",
		`"StringEquals": {"aws:PrincipalTag/team": "blue"}`:                                                      "public yes",
		`"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}`:                                                 "public yes",
		`"StringLike": {"aws:userid": "A*"}`:                                                                     "public yes",
		`"StringEquals": {"aws:ResourceAccount": "222222222222"}`:                                                "public yes",
		// What is not known here.
		`"StringEquals": {"s3:ExistingObjectTag/public": "yes"}`:           "public conditional",
		`"StringEquals": {"sts:ExternalId": "12345"}`:                      "public conditional",
		`"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}`: "public conditional",
		`"StringResembles": {"aws:PrincipalOrgID": "o-ours123456"}`:        "public conditional",
		// The narrowest counts.
		`"Bool": {"aws:SecureTransport": "true"}, "StringEquals": {"aws:PrincipalOrgID": "o-ours123456", "sts:ExternalId": "1"}`: "-",
	} {
		d := parse(t, fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [
			{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*", "Condition": {%s}}]}`, condition))
		openings := d.Openings(ours)
		if got := told(openings); got != want {
			t.Errorf("%s: %s, want %s", condition, got, want)
		}
	}
}

func TestWhatConditionsLeaveOfAnotherAccount(t *testing.T) {
	for condition, want := range map[string]string{
		``: "999999999999 yes",
		`"StringEquals": {"aws:PrincipalOrgID": "o-ours123456"}`:         "-",
		`"StringEquals": {"aws:SourceVpce": "vpce-1a2b3c4d"}`:            "999999999999 conditional",
		`"StringEquals": {"sts:ExternalId": "12345"}`:                    "999999999999 conditional",
		`"Bool": {"aws:SecureTransport": "true"}`:                        "999999999999 yes",
		`"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-ours123456"}`: "999999999999 yes",
	} {
		d := parse(t, fmt.Sprintf(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": "999999999999"}, "Action": "sts:AssumeRole", "Condition": {%s}}}`, condition))
		if got := told(d.Openings(ours)); got != want {
			t.Errorf("%s: %s, want %s", condition, got, want)
		}
	}
}

func TestWhomDenialsLeave(t *testing.T) {
	const on = `"Action": "s3:*", "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]`
	for deny, want := range map[string]string{
		`"Principal": "*", ` + on: "-",
		`"Principal": "*", ` + on + `, "Condition": {"StringNotEquals": {"aws:PrincipalOrgID": "o-ours123456"}}`:                                                                 "-",
		`"Principal": {"AWS": "*"}, ` + on + `, "Condition": {"StringNotEqualsIfExists": {"aws:PrincipalOrgID": "o-ours123456"}}`:                                                "-",
		`"Principal": "*", ` + on + `, "Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-1a2b3c4d"}}`:                                                                    "-",
		`"Principal": "*", ` + on + `, "Condition": {"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}`:                                                                        "-",
		`"Principal": "*", ` + on + `, "Condition": {"NotIpAddress": {"aws:SourceIp": "0.0.0.0/0"}}`:                                                                             "public yes",
		`"Principal": "*", ` + on + `, "Condition": {"StringNotEquals": {"aws:PrincipalAccount": "999999999999"}}`:                                                               "999999999999 yes",
		`"Principal": "*", ` + on + `, "Condition": {"StringNotEqualsIfExists": {"aws:PrincipalOrgID": "o-ours123456"}, "BoolIfExists": {"aws:PrincipalIsAWSService": "false"}}`: "-",
		`"Principal": "*", ` + on + `, "Condition": {"StringNotEquals": {"aws:PrincipalOrgID": "o-ours123456"}, "Bool": {"aws:SecureTransport": "false"}}`:                       "public yes",
		`"Principal": "*", ` + on + `, "Condition": {"ForAnyValue:StringNotLike": {"aws:PrincipalOrgPaths": "o-ours123456/*"}}`:                                                  "public yes",
		`"Principal": "*", ` + on + `, "Condition": {"Bool": {"aws:SecureTransport": "false"}}`:                                                                                  "public yes",
		`"Principal": "*", ` + on + `, "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-theirs9999"}}`:                                                                    "public yes",
		`"Principal": "*", "Action": "s3:Put*", "Resource": "*"`:                                                                                                                 "public yes",
		`"Principal": "*", "NotAction": "s3:Put*", "Resource": "*"`:                                                                                                              "-",
		`"Principal": "*", "NotAction": "s3:Get*", "Resource": "*"`:                                                                                                              "public yes",
		`"Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/secret/*"`:                                                                                              "public yes",
		`"Principal": {"AWS": "999999999999"}, ` + on:                                                                                                                            "public yes",
		`"NotPrincipal": {"AWS": ["arn:aws:iam::222222222222:root", "arn:aws:iam::222222222222:role/x"]}, ` + on:                                                                 "-",
		`"NotPrincipal": {"AWS": "222222222222"}, ` + on + `, "Condition": {"Bool": {"aws:SecureTransport": "false"}}`:                                                           "public yes",
		`"NotPrincipal": {"AWS": "arn:aws:iam::999999999999:root"}, ` + on:                                                                                                       "arn:aws:iam::999999999999:root yes",
	} {
		d := parse(t, fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [
			{"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]},
			{"Effect": "Deny", %s}]}`, deny))
		if got := told(d.Openings(ours)); got != want {
			t.Errorf("%s: %s, want %s", deny, got, want)
		}
	}
}

func TestWhomATrustPolicyLetsInByAnIdentityProvider(t *testing.T) {
	const github = "arn:aws:iam::222222222222:oidc-provider/token.actions.githubusercontent.com"
	for _, tt := range []struct{ provider, condition, want string }{
		{github, ``, "public yes"},
		{github, `"StringEquals": {"token.actions.githubusercontent.com:aud": "sts.amazonaws.com"}`, "public yes"},
		{github, `"StringEquals": {"token.actions.githubusercontent.com:sub": "repo:octo-org/octo-repo:ref:refs/heads/main"}`, "-"},
		{github, `"StringLike": {"token.actions.githubusercontent.com:SUB": "repo:octo-org/*"}`, "-"},
		{github, `"StringLike": {"token.actions.githubusercontent.com:sub": ["repo:octo-org/*", "repo:octo*"]}`, "public yes"},
		{github, `"StringLike": {"token.actions.githubusercontent.com:sub": "repo:*"}`, "public yes"},
		{github, `"StringLike": {"token.actions.githubusercontent.com:sub": "*"}`, "public yes"},
		{github, `"ForAllValues:StringEquals": {"token.actions.githubusercontent.com:sub": "repo:octo-org/octo-repo"}`, "public yes"},
		{github, `"StringLikeIfExists": {"token.actions.githubusercontent.com:sub": "repo:octo-org/*"}`, "public yes"},
		{github, `"StringNotLike": {"token.actions.githubusercontent.com:sub": "repo:octo-org/*"}`, "public yes"},
		{"accounts.google.com", `"StringEquals": {"accounts.google.com:aud": "66677788899900pro0"}`, "-"},
		{"accounts.google.com", `"StringEquals": {"accounts.google.com:email": "x@example.com"}`, "public yes"},
		{"cognito-identity.amazonaws.com", `"StringEquals": {"cognito-identity.amazonaws.com:aud": "us-east-1:12345678"}, "ForAnyValue:StringLike": {"cognito-identity.amazonaws.com:amr": "authenticated"}`, "-"},
		{"cognito-identity.amazonaws.com", `"StringEquals": {"cognito-identity.amazonaws.com:aud": "us-east-1:12345678"}, "ForAnyValue:StringLike": {"cognito-identity.amazonaws.com:amr": "unauthenticated"}`, "public yes"},
		{"cognito-identity.amazonaws.com", ``, "public yes"},
	} {
		d := parse(t, fmt.Sprintf(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"Federated": %q}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": {%s}}}`, tt.provider, tt.condition))
		if got := told(d.Openings(ours)); got != tt.want {
			t.Errorf("%s: %s: %s, want %s", tt.provider, tt.condition, got, tt.want)
		}
	}
}

func TestWhoIsOutsideIsNotAlwaysKnown(t *testing.T) {
	d := parse(t, `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Principal": {"AWS": "222222222222"}, "Action": "s3:*", "Resource": "*"},
		{"Effect": "Allow", "Principal": {"AWS": "999999999999"}, "Action": "s3:*", "Resource": "*"},
		{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-ours123456"}}},
		{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}]}`)
	for _, tt := range []struct {
		of   iampolicy.Organization
		want string
	}{
		{ours, "999999999999 yes, public yes"},
		{iampolicy.Organization{ID: "o-ours123456", Account: "222222222222"}, "999999999999 conditional, public yes"},
		{iampolicy.Organization{Account: "222222222222"}, "999999999999 yes, o-ours123456 conditional, public yes"},
		{iampolicy.Organization{}, "222222222222 conditional, 999999999999 conditional, o-ours123456 conditional, public yes"},
	} {
		if got := told(d.Openings(tt.of)); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.of, got, tt.want)
		}
	}
}

func TestAnOpeningSaysWhy(t *testing.T) {
	for condition, want := range map[string]string{
		``: "it is open to anybody; no condition narrows it",
		`"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-ours123456"}, "StringLike": {"aws:SourceVpc": "vpc-*"}`: "it is open to anybody; aws:PrincipalOrgID need not be there, by IfExists; aws:SourceVpc may be vpc-*, which is nobody's own",
		`"StringEquals": {"aws:PrincipalOrgID": "o-theirs9999"}`:                                                   "it is open to o-theirs9999; no condition narrows it",
		`"StringEquals": {"sts:ExternalId": "1"}, "StringNotEquals": {"aws:PrincipalTag/a": "b"}`:                  "it is open to anybody; aws:PrincipalTag/a is only told what it must not be; it is narrowed by sts:ExternalId, which can't be judged here",
	} {
		d := parse(t, fmt.Sprintf(`{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole", "Condition": {%s}}}`, condition))
		if d := diff.Diff(want, d.Openings(ours)[0].Why); d != "" {
			t.Errorf("%s (-want +got):\n%s", condition, d)
		}
	}
}

package iampolicy_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

func parse(t testing.TB, text string) *iampolicy.Document {
	t.Helper()
	d, err := iampolicy.Parse(text)
	if err != nil {
		t.Fatalf("parse %s: %v", text, err)
	}
	return d
}

// principal is a user or role of account 222222222222 with some inline policies.
func principal(t testing.TB, name string, policies ...string) *iampolicy.Principal {
	t.Helper()
	kind, _, _ := strings.Cut(name, "/")
	p := &iampolicy.Principal{ARN: "arn:aws:iam::222222222222:" + name, Type: iampolicy.PrincipalType(kind)}
	for _, text := range policies {
		p.Policies = append(p.Policies, iampolicy.Policy{Name: "inline", Document: parse(t, text)})
	}
	return p
}

const (
	everything = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}`
	trail      = "arn:aws:cloudtrail:us-east-1:222222222222:trail/t"
	photo      = "arn:aws:s3:::b/k"
	alice      = "arn:aws:iam::222222222222:user/alice"
	bob        = "arn:aws:iam::222222222222:user/bob"
	admins     = "arn:aws:iam::222222222222:role/admin"
	app        = "arn:aws:iam::222222222222:role/app/web"
	anyRole    = "arn:aws:iam::222222222222:role/*"
	anyUser    = "arn:aws:iam::222222222222:user/*"
)

// ask is a question, "iam:PassRole arn:…", and its answer. With a wildcard it is
// about what it reaches.
type ask struct {
	question string
	want     iampolicy.Answer
}

func TestTrickyPolicies(t *testing.T) {
	const no, conditional, yes = iampolicy.No, iampolicy.Conditional, iampolicy.Yes
	for _, tt := range []struct {
		name     string
		policies []string
		boundary string
		admin    iampolicy.Answer
		asks     []ask
	}{
		{"all on all", []string{everything}, "", yes, []ask{
			{"iam:PassRole " + app, yes}, {"iam:* " + anyRole, yes}, {"s3:ListAllMyBuckets *", yes}}},
		{"the other ways to write it", []string{`{"Statement": {"Effect": "Allow", "Action": ["s3:GetObject", "*:*"], "Resource": ["arn:aws:s3:::b", "arn:*"]}}`}, "", yes, []ask{
			{"iam:PassRole " + app, yes}}},
		{"nothing", nil, "", no, []ask{
			{"s3:GetObject " + photo, no}, {"* *", no}}},
		{"NotAction with Allow, IAM is within", []string{`{"Statement": {"Effect": "Allow", "NotAction": ["s3:*", "ec2:*"], "Resource": "*"}}`}, "", yes, []ask{
			{"s3:GetObject " + photo, no}, {"S3:getobject " + photo, no}, {"iam:AttachUserPolicy " + bob, yes}, {"s3:* *", no}, {"iam:*Policy " + anyUser, yes}}},
		{"NotAction with Allow, IAM is left out", []string{`{"Statement": {"Effect": "Allow", "NotAction": ["iam:*", "organizations:*"], "Resource": "*"}}`}, "", no, []ask{
			{"lambda:CreateFunction *", yes}, {"iam:PassRole " + app, no}, {"iam:Pass* " + anyRole, no}}},
		{"NotAction without IAM, and IAM beside it", []string{
			`{"Statement": {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}}`,
			`{"Statement": {"Effect": "Allow", "Action": "iam:*", "Resource": "*"}}`}, "", yes, []ask{
			{"iam:PassRole " + app, yes}}},
		{"IAM alone", []string{`{"Statement": {"Effect": "Allow", "Action": "iam:*", "Resource": "*"}}`}, "", no, []ask{
			{"iam:PutUserPolicy " + alice, yes}, {"s3:GetObject " + photo, no}}},
		{"a service each", []string{`{"Statement": {"Effect": "Allow", "Action": ["iam:*", "s3:*", "ec2:*", "lambda:*", "sts:*"], "Resource": "*"}}`}, "", no, nil},
		{"all on all of this account", []string{`{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "arn:aws:*:*:222222222222:*"}}`}, "", no, []ask{
			{"iam:PutUserPolicy " + alice, yes}}},
		{"a denial that never holds", []string{everything, `{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalAccount": "111111111111"}}}}`}, "", yes, []ask{
			{"iam:PassRole " + app, yes}, {"* *", yes}}},
		{"a denial of nobody's type", []string{everything, `{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "perhaps"}}}}`}, "", yes, nil},
		{"a denial with two disjoint values", []string{everything, `{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:RequestedRegion": "us-east-1"}, "StringLike": {"aws:RequestedRegion": "eu-*"}}}}`}, "", yes, nil},
		{"all of IAM on oneself alone", []string{`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iam:*", "Resource": "arn:aws:iam::*:user/${aws:username}"}}`}, "", no, []ask{
			{"iam:PutUserPolicy " + alice, yes}, {"iam:PutUserPolicy " + bob, no}, {"iam:CreateAccessKey " + anyUser, yes}, {"iam:PassRole " + anyRole, no}}},
		{"the same in the old version, where it is a name", []string{`{"Version": "2008-10-17", "Statement": {"Effect": "Allow", "Action": "iam:*", "Resource": "arn:aws:iam::*:user/${aws:username}"}}`}, "", no, []ask{
			{"iam:PutUserPolicy " + alice, no}, {"iam:PutUserPolicy arn:aws:iam::222222222222:user/${aws:username}", yes}}},
		{"a variable that is not known", []string{`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::b/${saml:sub}/*"}}`}, "", no, []ask{
			{"s3:GetObject arn:aws:s3:::b/x/y", conditional}, {"s3:GetObject arn:aws:s3:::c/x/y", no}, {"s3:* arn:aws:s3:::b/*", conditional}, {"s3:* arn:aws:s3:::b*", conditional}, {"s3:* arn:aws:s3:::c*", no}}},
		{"all but what a variable that is not known names", []string{`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::b/${saml:sub}/*"}}`}, "", no, []ask{
			{"s3:GetObject arn:aws:s3:::b/x/y", conditional}, {"s3:GetObject arn:aws:s3:::c/x/y", yes}, {"s3:* arn:aws:s3:::b/x/*", conditional}}},
		{"allowed but some, and denied but fewer", []string{`{"Statement": [{"Effect": "Allow", "NotAction": ["iam:*", "sts:*"], "Resource": "*"}, {"Effect": "Deny", "NotAction": "iam:Get*", "Resource": "*"}]}`}, "", no, []ask{
			{"* *", no}, {"iam:Get* *", no}}},
		{"a variable with a default", []string{`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::b/${aws:PrincipalTag/team, 'all'}"}}`}, "", no, []ask{
			{"s3:GetObject arn:aws:s3:::b/all", yes}, {"s3:GetObject arn:aws:s3:::b/red", no}}},
		{"a variable that is missing", []string{`{"Version": "2012-10-17", "Statement": [
			{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::${aws:PrincipalTag/team}/*"},
			{"Effect": "Allow", "Action": "sqs:*", "NotResource": "arn:aws:sqs:*:*:${aws:PrincipalTag/team}"}]}`}, "", no, []ask{
			{"s3:GetObject " + photo, no}, {"s3:* *", no}, {"sqs:SendMessage arn:aws:sqs:us-east-1:222222222222:q", conditional}, {"sqs:* *", conditional}}},
		{"a star that is meant", []string{`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::b/${*}"}}`}, "", no, []ask{
			{"s3:GetObject arn:aws:s3:::b/*", yes}, {"s3:GetObject arn:aws:s3:::b/k", no}}},
		{"wildcards within the names of actions", []string{`{"Statement": {"Effect": "Allow", "Action": ["iam:*Role*Policy", "IAM:PASS?OLE"], "Resource": "*"}}`}, "", no, []ask{
			{"iam:AttachRolePolicy " + app, yes}, {"iam:DeleteRolePolicy " + app, yes}, {"iam:PassRole " + app, yes}, {"iam:AttachUserPolicy " + alice, no},
			{"iam:Put* " + anyRole, yes}, {"iam:*User* *", yes}, {"iam:CreateUse? *", no}}},
		{"a role passed that is named", []string{`{"Statement": {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:aws:iam::222222222222:role/app/*"}}`}, "", no, []ask{
			{"iam:PassRole " + app, yes}, {"iam:PassRole " + admins, no}, {"iam:PassRole arn:aws:iam::222222222222:Role/app/web", no}, {"iam:PassRole " + anyRole, yes}, {"iam:PassRole arn:aws:iam::222222222222:role/a*n", yes}, {"iam:PassRole arn:aws:iam::222222222222:role/admin*", no}}},
		{"a role passed to one service", []string{`{"Statement": {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*", "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}}}`}, "", no, []ask{
			{"iam:PassRole " + app, conditional}, {"iam:PassRole " + anyRole, conditional}}},
		{"all denied but some", []string{everything, `{"Statement": {"Effect": "Deny", "NotAction": ["s3:*", "iam:Get*"], "Resource": "*"}}`}, "", no, []ask{
			{"s3:GetObject " + photo, yes}, {"iam:GetUser " + alice, yes}, {"iam:PassRole " + app, no}, {"iam:* *", yes}, {"iam:P* *", no}, {"ec2:* *", no}}},
		{"some resources denied but some", []string{everything, `{"Statement": {"Effect": "Deny", "Action": "iam:*", "NotResource": "arn:aws:iam::222222222222:role/app/*"}}`}, "", no, []ask{
			{"iam:PassRole " + app, yes}, {"iam:PassRole " + admins, no}, {"iam:PassRole " + anyRole, yes}, {"iam:* " + anyUser, no}}},
		{"all denied without MFA", []string{everything, `{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}}}`}, "", conditional, []ask{
			{"iam:PassRole " + app, conditional}, {"iam:* " + anyRole, conditional}}},
		{"all allowed with MFA", []string{`{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}}`}, "", conditional, []ask{
			{"iam:PassRole " + app, conditional}}},
		{"a condition that looks as if it narrowed", []string{`{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringLikeIfExists": {"aws:PrincipalOrgID": "*"}, "ForAllValues:StringLike": {"aws:TagKeys": "*"}}}}`}, "", yes, nil},
		{"ForAllValues holds without the key", []string{`{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"ForAllValues:StringEquals": {"aws:PrincipalTag/team": "admins"}}}}`}, "", yes, nil},
		{"a boundary of S3 alone", []string{everything}, `{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}`, no, []ask{
			{"s3:GetObject " + photo, yes}, {"iam:PassRole " + app, no}, {"iam:* *", no}, {"s3:Get* *", yes}, {"* *", yes}}},
		{"a boundary that denies", []string{everything}, `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}, {"Effect": "Deny", "Action": "iam:*", "Resource": "*"}]}`, no, []ask{
			{"s3:GetObject " + photo, yes}, {"iam:PassRole " + app, no}, {"iam:Pass* *", no}}},
		{"a boundary that allows what no policy does", []string{`{"Statement": {"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::b/*"}}`}, everything, no, []ask{
			{"s3:GetObject " + photo, yes}, {"s3:PutObject " + photo, no}, {"* arn:aws:s3:::b/*", yes}, {"* arn:aws:s3:::c/*", no}}},
		{"a boundary that protects itself", []string{everything}, `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}, {"Effect": "Deny", "Action": ["iam:DeleteUserPermissionsBoundary", "iam:PutUserPermissionsBoundary"], "Resource": "*"}]}`, yes, []ask{
			{"iam:DeleteUserPermissionsBoundary " + alice, no}}},
		{"a boundary and a policy with nothing in common", []string{`{"Statement": {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}}`}, `{"Statement": {"Effect": "Allow", "Action": "s3:Put*", "Resource": "*"}}`, no, []ask{
			{"s3:* *", no}, {"s3:GetObject " + photo, no}}},
		{"what the boundary leaves is denied", []string{everything, `{"Statement": {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}}`}, `{"Statement": {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}}`, no, []ask{
			{"* *", no}}},
		{"NotResource", []string{`{"Statement": {"Effect": "Allow", "Action": "s3:*", "NotResource": ["arn:aws:s3:::secret", "arn:aws:s3:::secret/*"]}}`}, "", no, []ask{
			{"s3:GetObject " + photo, yes}, {"s3:GetObject arn:aws:s3:::secret/k", no}, {"s3:Get* arn:aws:s3:::secret/*", no}, {"s3:Get* arn:aws:s3:::*", yes}}},
		{"all but a bucket", []string{`{"Statement": {"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::secret/*"}}`}, "", yes, nil},
		{"all but IAM's resources", []string{`{"Statement": {"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:iam::*"}}`}, "", no, []ask{
			{"iam:PassRole " + anyRole, no}}},
		{"a denial takes a part", []string{`{"Statement": [{"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*"}, {"Effect": "Deny", "Action": "iam:PassRole", "Resource": "arn:aws:iam::*:role/admin*"}]}`}, "", no, []ask{
			{"iam:PassRole " + admins, no}, {"iam:PassRole " + app, yes}, {"iam:PassRole " + anyRole, yes}, {"iam:PassRole arn:aws:iam::222222222222:role/admin-*", no}}},
		{"a denial takes all by a wildcard", []string{`{"Statement": [{"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*"}, {"Effect": "Deny", "Action": "iam:Pass*", "Resource": "arn:*:iam::*"}]}`}, "", no, []ask{
			{"iam:PassRole " + anyRole, no}, {"iam:* " + anyRole, no}}},
		{"all denied", []string{everything, `{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}`}, "", no, []ask{
			{"s3:GetObject " + photo, no}, {"* *", no}}},
		{"a guardrail", []string{everything, `{"Statement": {"Effect": "Deny", "Action": ["cloudtrail:StopLogging", "iam:CreateUser"], "Resource": "*"}}`}, "", yes, []ask{
			{"cloudtrail:StopLogging " + trail, no}, {"cloudtrail:* *", yes}, {"iam:PassRole " + app, yes}}},
		{"IAM denied", []string{everything, `{"Statement": {"Effect": "Deny", "Action": "iam:*", "Resource": "*"}}`}, "", no, []ask{
			{"iam:PassRole " + app, no}}},
		{"some roles protected", []string{everything, `{"Statement": {"Effect": "Deny", "Action": "iam:*", "Resource": "arn:aws:iam::*:role/snapback-*"}}`}, "", yes, []ask{
			{"iam:PassRole arn:aws:iam::222222222222:role/snapback-x", no}, {"iam:* arn:aws:iam::222222222222:role/snapback-*", no}, {"iam:* " + anyRole, yes}}},
		{"a Region", []string{everything, `{"Statement": {"Effect": "Deny", "NotAction": "iam:*", "Resource": "*", "Condition": {"StringNotEquals": {"aws:RequestedRegion": "eu-west-1"}}}}`}, "", conditional, []ask{
			{"iam:PassRole " + app, yes}, {"ec2:RunInstances *", conditional}, {"ec2:* *", conditional}}},
		{"two denials that leave one", []string{`{"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}, {"Effect": "Deny", "Action": "s3:Get*", "Resource": "arn:aws:s3:::b/*"}, {"Effect": "Deny", "Action": "s3:Put*", "Resource": "*"}]}`}, "", no, []ask{
			{"s3:Get* arn:aws:s3:::b/*", no}, {"s3:Get* arn:aws:s3:::*", yes}, {"s3:Put* arn:aws:s3:::*", no}, {"s3:* arn:aws:s3:::b/*", yes}}},
		{"an elevated session's name", []string{`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:username": "root-like"}}}}`}, "", no, nil},
	} {
		p := principal(t, "user/alice", tt.policies...)
		p.Tags = map[string]string{}
		if tt.boundary != "" {
			p.Boundary = &iampolicy.Policy{Name: "boundary", Document: parse(t, tt.boundary)}
		}
		if got := p.Admin(); got != tt.admin {
			t.Errorf("%s: admin: %v, want %v", tt.name, got, tt.admin)
		}
		for _, a := range tt.asks {
			action, resource, _ := strings.Cut(a.question, " ")
			if got := p.Reaches(action, resource, nil); got != a.want {
				t.Errorf("%s: reaches %s: %v, want %v", tt.name, a.question, got, a.want)
			}
			if got := p.May(action, resource, nil); !strings.Contains(a.question, "*") && got != a.want {
				t.Errorf("%s: may %s: %v, want %v", tt.name, a.question, got, a.want)
			}
		}
	}
}

func TestTheResourceOfARequestIsNoPattern(t *testing.T) {
	p := principal(t, "user/alice", `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::b/${*}"}}`)
	for resource, want := range map[string]iampolicy.Answer{"arn:aws:s3:::b/*": iampolicy.Yes, "arn:aws:s3:::b/k": iampolicy.No, "*": iampolicy.No} {
		if got := p.May("s3:GetObject", resource, nil); got != want {
			t.Errorf("%s: %v, want %v", resource, got, want)
		}
	}
}

func TestAPolicyThatWasNotUnderstoodIsNeverANo(t *testing.T) {
	const no, conditional, yes = iampolicy.No, iampolicy.Conditional, iampolicy.Yes
	blank := iampolicy.Policy{Name: "unread"}
	denies := `{"Statement": {"Effect": "Deny", "Action": "iam:*", "Resource": "*"}}`
	bounded := `{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}`
	for _, tt := range []struct {
		name         string
		p            *iampolicy.Principal
		iam, s3, all iampolicy.Answer
	}{
		{"alone", with(principal(t, "user/alice"), blank), conditional, conditional, conditional},
		{"beside an allow", with(principal(t, "user/alice", everything), blank), conditional, conditional, conditional},
		{"beside a deny", with(principal(t, "user/alice", denies), blank), no, conditional, no},
		{"within a boundary", bound(with(principal(t, "user/alice"), blank), parse(t, bounded)), no, conditional, no},
		{"as the boundary", bound(principal(t, "user/alice", everything), nil), conditional, conditional, conditional},
		{"as the boundary of nothing", bound(principal(t, "user/alice"), nil), no, no, no},
		{"not there", principal(t, "user/alice", everything), yes, yes, yes},
	} {
		got := []iampolicy.Answer{tt.p.May("iam:PassRole", app, nil), tt.p.May("s3:GetObject", photo, nil), tt.p.Admin(),
			tt.p.Reaches("iam:*", anyRole, nil), tt.p.Reaches("s3:*", "arn:aws:s3:::*", nil)}
		want := []iampolicy.Answer{tt.iam, tt.s3, tt.all, tt.iam, tt.s3}
		if d := diff.Diff(want, got); d != "" {
			t.Errorf("%s: iam, s3, admin, reaches iam, reaches s3 (-want +got):\n%s", tt.name, d)
		}
	}
}

func with(p *iampolicy.Principal, more ...iampolicy.Policy) *iampolicy.Principal {
	q := *p
	q.Policies = slices.Concat(p.Policies, more)
	return &q
}

func bound(p *iampolicy.Principal, d *iampolicy.Document) *iampolicy.Principal {
	q := *p
	q.Boundary = &iampolicy.Policy{Name: "boundary", Document: d}
	return &q
}

func TestAStatementThatAWSWouldNotHaveTakenIsNeverANo(t *testing.T) {
	for _, s := range []iampolicy.Statement{
		{Effect: iampolicy.Allow, Resources: []string{"*"}},
		{Effect: iampolicy.Allow, Actions: []string{"*"}},
	} {
		p := with(principal(t, "user/alice"), iampolicy.Policy{Document: &iampolicy.Document{Statements: []iampolicy.Statement{s}}})
		if got := p.May("s3:GetObject", photo, nil); got != iampolicy.Conditional {
			t.Errorf("%+v: %v", s, got)
		}
		if got := p.Reaches("s3:*", photo, nil); got != iampolicy.Conditional {
			t.Errorf("%+v: reaches: %v", s, got)
		}
	}
}

func TestTheStatementsThatMakeADocumentAdministrative(t *testing.T) {
	const (
		all       = `{"Effect": "Allow", "Action": "*", "Resource": "*"}`
		allMFA    = `{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}`
		notS3     = `{"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}`
		notIAM    = `{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}`
		onlyIAM   = `{"Effect": "Allow", "Action": "iam:*", "Resource": "*"}`
		onlyS3    = `{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}`
		china     = `{"Effect": "Allow", "Action": "*", "Resource": "arn:aws-cn:*"}`
		noIAM     = `{"Effect": "Deny", "Action": "IAM:*", "Resource": "*"}`
		noLogging = `{"Effect": "Deny", "Action": "cloudtrail:*", "Resource": "*"}`
	)
	for _, tt := range []struct {
		statements []string
		want       iampolicy.Answer
		by         []int
	}{
		{[]string{onlyS3, all}, iampolicy.Yes, []int{1}},
		{[]string{all, onlyS3, notS3, allMFA}, iampolicy.Yes, []int{0, 2, 3}},
		{[]string{allMFA}, iampolicy.Conditional, []int{0}},
		{[]string{notIAM}, iampolicy.No, nil},
		{[]string{onlyIAM}, iampolicy.No, nil},
		{[]string{onlyIAM, notIAM}, iampolicy.Yes, []int{1}},
		{[]string{onlyIAM, notIAM, all}, iampolicy.Yes, []int{1, 2}},
		{[]string{notIAM, all}, iampolicy.Yes, []int{1}},
		{[]string{all, noIAM}, iampolicy.No, nil},
		{[]string{noLogging, all}, iampolicy.Yes, []int{1}},
		{[]string{china}, iampolicy.Yes, []int{0}},
	} {
		d := parse(t, `{"Version": "2012-10-17", "Statement": [`+strings.Join(tt.statements, ",")+`]}`)
		got, by := d.Admin()
		if got != tt.want || !slices.Equal(by, tt.by) {
			t.Errorf("%v: %v by %v, want %v by %v", tt.statements, got, by, tt.want, tt.by)
		}
		if left, _ := d.Without(by...).Admin(); left != iampolicy.No {
			t.Errorf("%v: without %v it is %v", tt.statements, by, left)
		}
	}
}

// statements draws statements whose patterns have much to do with each other.
func statements(t *rapid.T, effects ...iampolicy.Effect) []iampolicy.Statement {
	actions := rapid.SliceOfN(rapid.SampledFrom([]string{"*", "s:*", "s:a", "s:A*", "s:?", "s:*b", "i:*", "?:a", "s:a?"}), 1, 2)
	resources := rapid.SliceOfN(rapid.SampledFrom([]string{"*", "r:*", "r:a", "r:*a", "r:?", "*:b", "r:${u}", "r:${aws:username}", "r:${aws:PrincipalTag/x}*"}), 1, 2)
	conditions := rapid.SampledFrom([][]iampolicy.Condition{
		nil, nil, nil,
		{{Operator: "StringEquals", Key: "u", Values: []string{"x"}}},
		{{Operator: "StringEquals", Key: "aws:username", Values: []string{"bob"}}},
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) iampolicy.Statement {
		s := iampolicy.Statement{Effect: rapid.SampledFrom(effects).Draw(t, "effect"), Conditions: conditions.Draw(t, "conditions")}
		if rapid.Bool().Draw(t, "not action") {
			s.NotActions = actions.Draw(t, "actions")
		} else {
			s.Actions = actions.Draw(t, "actions")
		}
		if rapid.Bool().Draw(t, "not resource") {
			s.NotResources = resources.Draw(t, "resources")
		} else {
			s.Resources = resources.Draw(t, "resources")
		}
		return s
	}), 0, 4).Draw(t, "statements")
}

func version2012(s []iampolicy.Statement) *iampolicy.Document {
	return &iampolicy.Document{Version: "2012-10-17", Statements: s}
}

func TestWhatReachesAndWhatMayAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &iampolicy.Principal{ARN: alice, Type: iampolicy.User, Tags: map[string]string{}}
		p = with(p, iampolicy.Policy{Document: version2012(statements(t, iampolicy.Allow, iampolicy.Deny))})
		if rapid.Bool().Draw(t, "bounded") {
			p = bound(p, version2012(statements(t, iampolicy.Allow, iampolicy.Allow, iampolicy.Deny)))
		}
		actions := []string{"s:a", "s:b", "s:ab", "s:", "i:a", "i:zz"}
		resources := []string{"r:a", "r:b", "r:alice", "r:", "q:b", "r:xa"}
		more := version2012(statements(t, iampolicy.Allow))
		less := version2012(statements(t, iampolicy.Deny))
		raised, lowered := with(p, iampolicy.Policy{Document: more}), with(p, iampolicy.Policy{Document: less})
		for _, q := range []struct{ action, resource string }{{"*", "*"}, {"s:*", "r:*"}, {"s:?", "r:a"}, {"s:a", "r:*"}, {"*:a*", "*a"}} {
			reaches := p.Reaches(q.action, q.resource, nil)
			if raised.Reaches(q.action, q.resource, nil) < reaches || lowered.Reaches(q.action, q.resource, nil) > reaches {
				t.Errorf("%s on %s: an allow lowers it, or a deny raises it", q.action, q.resource)
			}
			for _, action := range actions {
				for _, resource := range resources {
					may := p.May(action, resource, nil)
					if like(q.action, action) && like(q.resource, resource) && may > reaches {
						t.Errorf("%s on %s is %v, but %s on %s reaches %v", action, resource, may, q.action, q.resource, reaches)
					}
					if raised.May(action, resource, nil) < may || lowered.May(action, resource, nil) > may {
						t.Errorf("%s on %s: an allow lowers it, or a deny raises it", action, resource)
					}
				}
			}
		}
	})
}

// A document of 1 MiB in which no statement settles anything is given up in a
// bounded time, and never as a no.
func TestWhatIsTooLargeCannotBeTold(t *testing.T) {
	var s []iampolicy.Statement
	for i := range 3_000 {
		name := strconv.Itoa(i)
		s = append(s,
			iampolicy.Statement{Effect: iampolicy.Allow, Actions: []string{"s:*" + name + "*"}, Resources: []string{"r:*" + name + "*"}, Principals: []iampolicy.StatementPrincipal{{Kind: "*", Value: "*"}},
				Conditions: []iampolicy.Condition{{Operator: "StringEquals", Key: "u", Values: []string{name}}}},
			iampolicy.Statement{Effect: iampolicy.Deny, Actions: []string{"s:*" + name + "x*"}, NotResources: []string{"q:*" + name + "*"}, Principals: []iampolicy.StatementPrincipal{{Kind: "*", Value: "*"}}})
	}
	d := version2012(s)
	p := with(principal(t, "user/alice"), iampolicy.Policy{Document: d})
	p = bound(p, d)
	start := time.Now()
	if got := p.Reaches("s:*", "r:*", nil); got != iampolicy.Conditional {
		t.Errorf("it reaches: %v", got)
	}
	p.Admin()
	if got := len(d.Openings(ours)); got != 3_000 {
		t.Errorf("%d openings", got)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

// like asks the package itself: matching has a test of its own.
func like(pattern, text string) bool {
	p := &iampolicy.Principal{ARN: alice, Type: iampolicy.User, Policies: []iampolicy.Policy{{Document: &iampolicy.Document{Statements: []iampolicy.Statement{
		{Effect: iampolicy.Allow, Actions: []string{"*"}, Resources: []string{pattern}}}}}}}
	return p.May("x", text, nil) == iampolicy.Yes
}

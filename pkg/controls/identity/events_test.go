package identity_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/identity"
	"github.com/snapback-aws/snapback/pkg/event"
)

const (
	escalation = "iam-privilege-escalation"
	password   = "iam-escalation-password"
	computing  = "iam-escalation-compute"
	adminRule  = "iam-admin-policy"

	administratorAccess = "arn:aws:iam::aws:policy/AdministratorAccess"
	deploy              = "arn:aws:iam::222222222222:policy/deploy"
	carol               = "role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_AdministratorAccess_fedcba9876543210:AROAEXAMPLESSO0000002:carol@example.com"
)

// TestSampleEventsReachTheirRules: which rule looks at what after each sample. An
// administrator's call is looked at like any other: the live state tells that it
// is innocent.
func TestSampleEventsReachTheirRules(t *testing.T) {
	for name, want := range map[string]map[string][]string{
		"iam-attach-user-policy":               {escalation: {"user/alice AttachUserPolicy user/alice " + administratorAccess}},
		"iam-attach-user-policy-administrator": {escalation: {carol + " AttachUserPolicy user/alice " + administratorAccess}},
		"iam-attach-user-policy-root":          {escalation: {"root AttachUserPolicy user/alice " + administratorAccess}},
		"iam-attach-role-policy":               {escalation: {"role/ci-deploy:AROAEXAMPLECI00000001:build-7 AttachRolePolicy role/ci-deploy " + administratorAccess}},
		"iam-put-user-policy":                  {escalation: {"user/alice PutUserPolicy user/alice everything"}, adminRule: {"user/alice everything"}},
		"iam-put-group-policy":                 {escalation: {"user/alice PutGroupPolicy group/developers everything"}, adminRule: {"group/developers everything"}},
		"iam-create-policy":                    {adminRule: {deploy}},
		"iam-create-policy-version":            {escalation: {"user/alice CreatePolicyVersion " + deploy + " v2"}, adminRule: {deploy}},
		"iam-set-default-policy-version":       {escalation: {"user/alice SetDefaultPolicyVersion " + deploy + " v1"}, adminRule: {deploy}},
		"iam-add-user-to-group":                {escalation: {"user/alice AddUserToGroup user/alice admins"}},
		"iam-update-assume-role-policy":        {escalation: {"user/alice UpdateAssumeRolePolicy role/admin"}},
		"iam-create-access-key":                {escalation: {"user/alice CreateAccessKey user/bob AKIAI44QH8DHBEXAMPLE"}},
		"iam-create-login-profile": {
			escalation: {"user/alice CreateLoginProfile user/bob"}, password: {"user/alice CreateLoginProfile user/bob"},
		},
		"iam-update-login-profile": {
			escalation: {"user/alice UpdateLoginProfile user/bob"}, password: {"user/alice UpdateLoginProfile user/bob"},
		},
		"iam-delete-user-permissions-boundary": {escalation: {"user/alice DeleteUserPermissionsBoundary user/alice"}},
		"iam-get-user":                         {},
		"lambda-create-function": {
			escalation: {"user/alice CreateFunction20150331 role/admin report"}, computing: {"user/alice CreateFunction20150331 role/admin report"},
		},
		"ec2-run-instances": {
			escalation: {"user/alice RunInstances profile/admin i-0a1b2c3d4e5f60061"}, computing: {"user/alice RunInstances profile/admin i-0a1b2c3d4e5f60061"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(local.Root(), "events", "cloudtrail", name+".json"))
			lifecycle.Must(t, err)
			ev, err := event.Decode(data)
			lifecycle.Must(t, err)
			lifecycle.Same(t, "targets", reached(ev), want)
		})
	}
}

// A call in another Region, and one on AWS's own policies or on another account's.
func TestOtherPoliciesAreNoneOfTheAccounts(t *testing.T) {
	c := identity.AdminPolicy(&control.Identities{})
	for _, tt := range []struct{ region, arn, want string }{
		{"us-east-1", deploy, "us-east-1 " + deploy},
		{"eu-west-1", deploy, "us-east-1 " + deploy},
		{"cn-north-1", "arn:aws-cn:iam::222222222222:policy/deploy", "cn-north-1 arn:aws-cn:iam::222222222222:policy/deploy"},
		{"us-east-1", administratorAccess, ""},
		{"us-east-1", "arn:aws:iam::333333333333:policy/deploy", ""},
		{"us-east-1", "arn:aws:iam::222222222222:policy/", ""},
		{"us-east-1", "", ""},
	} {
		ev, err := event.DecodeAny([]byte(`{"eventVersion":"1.11","userIdentity":{"type":"IAMUser"},"eventTime":"2026-11-22T01:00:00Z",` +
			`"eventSource":"iam.amazonaws.com","eventName":"AttachUserPolicy","awsRegion":"` + tt.region + `","requestParameters":` +
			`{"userName":"alice","policyArn":"` + tt.arn + `"},"eventID":"5e1f","eventType":"AwsApiCall","recipientAccountId":"222222222222"}`))
		lifecycle.Must(t, err)
		got := ""
		for _, target := range c.Targets(ev) {
			got += target.Region + " " + target.ID
		}
		if got != tt.want {
			t.Errorf("%s in %s: got target %q, want %q", tt.arn, tt.region, got, tt.want)
		}
	}
}

// reached are the IDs of the targets that an event has, by rule.
func reached(ev *event.Event) map[string][]string {
	all := map[string][]string{}
	d := identity.Domain()
	for i := range d.Controls {
		for _, target := range d.Controls[i].Targets(ev) {
			all[d.Controls[i].ID] = append(all[d.Controls[i].ID], target.ID)
		}
	}
	call, ok := ev.Detail.(*event.Call)
	if !ok || ev.Dismiss() != "" {
		return all
	}
	for i := range d.Runbooks {
		for _, target := range d.Runbooks[i].Called(call) {
			all[d.Runbooks[i].ID] = append(all[d.Runbooks[i].ID], target.ID)
		}
	}
	return all
}

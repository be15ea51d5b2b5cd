package grant_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/grant"
)

const (
	targetType = "AWS::IAM::Grant"

	all    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	little = "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": {\"Effect\": \"Allow\", \"Action\": \"s3:GetObject\", \"Resource\": \"*\", \"Sid\": \"a100percent\"}\n}\n"
	ec2    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	// open and reordered say the same.
	open = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":["ec2.amazonaws.com","eks.amazonaws.com"]},"Action":"sts:AssumeRole"},` +
		`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::333333333333:root"},"Action":["sts:AssumeRole"],"Condition":{"Bool":{"aws:MultiFactorAuthPresent":true}}}]}`
	reordered = `{"Statement":[{"Action":"sts:AssumeRole","Effect":"Allow","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}},"Principal":{"AWS":"arn:aws:iam::333333333333:root"}},` +
		` {"Action":"sts:AssumeRole","Effect":"Allow","Principal":{"Service":["eks.amazonaws.com","ec2.amazonaws.com"]}}],"Version":"2012-10-17"}`
)

func TestMain(m *testing.M) { lifecycle.Main(m) }

// world makes what the tests work on, as the member itself.
type world struct {
	ctx context.Context
	t   *testing.T
	iam *iam.Client
}

func (w world) must(_ any, err error) {
	w.t.Helper()
	lifecycle.Must(w.t, err)
}

// entity makes a user, a group or a role: "user/team/alice".
func (w world) entity(kind, name string) string {
	w.t.Helper()
	switch kind {
	case "user":
		w.must(w.iam.CreateUser(w.ctx, &iam.CreateUserInput{UserName: &name, Path: aws.String("/team/")}))
	case "group":
		w.must(w.iam.CreateGroup(w.ctx, &iam.CreateGroupInput{GroupName: &name, Path: aws.String("/team/")}))
	case "role":
		w.must(w.iam.CreateRole(w.ctx, &iam.CreateRoleInput{RoleName: &name, Path: aws.String("/team/"), AssumeRolePolicyDocument: aws.String(ec2)}))
	}
	return kind + "/team/" + name
}

// policy makes a managed policy, and returns its ARN.
func (w world) policy(name string) string {
	w.t.Helper()
	out, err := w.iam.CreatePolicy(w.ctx, &iam.CreatePolicyInput{PolicyName: &name, PolicyDocument: aws.String(little)})
	lifecycle.Must(w.t, err)
	return aws.ToString(out.Policy.Arn)
}

func (w world) attach(kind, name, policy string) {
	w.t.Helper()
	switch kind {
	case "user":
		w.must(w.iam.AttachUserPolicy(w.ctx, &iam.AttachUserPolicyInput{UserName: &name, PolicyArn: &policy}))
	case "group":
		w.must(w.iam.AttachGroupPolicy(w.ctx, &iam.AttachGroupPolicyInput{GroupName: &name, PolicyArn: &policy}))
	case "role":
		w.must(w.iam.AttachRolePolicy(w.ctx, &iam.AttachRolePolicyInput{RoleName: &name, PolicyArn: &policy}))
	}
}

func (w world) put(kind, name, policy, text string) {
	w.t.Helper()
	switch kind {
	case "user":
		w.must(w.iam.PutUserPolicy(w.ctx, &iam.PutUserPolicyInput{UserName: &name, PolicyName: &policy, PolicyDocument: &text}))
	case "group":
		w.must(w.iam.PutGroupPolicy(w.ctx, &iam.PutGroupPolicyInput{GroupName: &name, PolicyName: &policy, PolicyDocument: &text}))
	case "role":
		w.must(w.iam.PutRolePolicy(w.ctx, &iam.PutRolePolicyInput{RoleName: &name, PolicyName: &policy, PolicyDocument: &text}))
	}
}

func (w world) bound(kind, name, policy string) {
	w.t.Helper()
	if kind == "user" {
		w.must(w.iam.PutUserPermissionsBoundary(w.ctx, &iam.PutUserPermissionsBoundaryInput{UserName: &name, PermissionsBoundary: &policy}))
		return
	}
	w.must(w.iam.PutRolePermissionsBoundary(w.ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: &name, PermissionsBoundary: &policy}))
}

func (w world) key(user string) string {
	w.t.Helper()
	out, err := w.iam.CreateAccessKey(w.ctx, &iam.CreateAccessKeyInput{UserName: &user})
	lifecycle.Must(w.t, err)
	return aws.ToString(out.AccessKey.AccessKeyId)
}

func (w world) join(user, group string) {
	w.t.Helper()
	w.must(w.iam.AddUserToGroup(w.ctx, &iam.AddUserToGroupInput{UserName: &user, GroupName: &group}))
}

func (w world) trust(role, text string) {
	w.t.Helper()
	w.must(w.iam.UpdateAssumeRolePolicy(w.ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: &role, PolicyDocument: &text}))
}

// newVersion makes a version of a policy that allows everything the default one.
func (w world) newVersion(policy string) {
	w.t.Helper()
	w.must(w.iam.CreatePolicyVersion(w.ctx, &iam.CreatePolicyVersionInput{PolicyArn: &policy, PolicyDocument: aws.String(all), SetAsDefault: true}))
}

// state is all of IAM in the account.
func (w world) state() any {
	w.t.Helper()
	details, err := w.iam.GetAccountAuthorizationDetails(w.ctx, &iam.GetAccountAuthorizationDetailsInput{})
	lifecycle.Must(w.t, err)
	for i := range details.Policies {
		// Moto counts a policy that is attached again once more, and no version is the
		// default one by its own word once that is set again.
		details.Policies[i].AttachmentCount = nil
		for j := range details.Policies[i].PolicyVersionList {
			details.Policies[i].PolicyVersionList[j].IsDefaultVersion = false
		}
	}
	keys := map[string][]types.AccessKeyMetadata{}
	for _, u := range details.UserDetailList {
		list, err := w.iam.ListAccessKeys(w.ctx, &iam.ListAccessKeysInput{UserName: u.UserName})
		lifecycle.Must(w.t, err)
		keys[aws.ToString(u.UserName)] = list.AccessKeyMetadata
	}
	return lifecycle.Comparable([]any{details.UserDetailList, details.GroupDetailList, details.RoleDetailList, details.Policies, keys})
}

// wanted are the plans of a test by the IDs of their targets, each for the
// account as it was when it was asked for.
type wanted struct {
	mu    sync.Mutex
	plans map[string]func() *grant.Plan
}

// want makes a plan for a target: while the account is as it is now, there is
// something to do.
func (p *wanted) want(w world, id string, plan grant.Plan) string {
	violated := w.state()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.plans == nil {
		p.plans = map[string]func() *grant.Plan{}
	}
	p.plans[id] = func() *grant.Plan {
		if !cmp.Equal(violated, w.state()) {
			return nil
		}
		return &plan
	}
	return id
}

func (p *wanted) remedy(kinds ...grant.Kind) control.Remedy {
	return grant.Remedy("take-back-grant", grant.Planner{
		Kinds: kinds,
		Plan: func(_ context.Context, _ *cloud.Session, t control.Target) (*grant.Plan, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.plans[t.ID] == nil {
				return nil, fmt.Errorf("%s: %w", t.ID, control.ErrGone)
			}
			return p.plans[t.ID](), nil
		},
	})
}

// edit is an edit of one setting; empty is no value.
func edit(kind grant.Kind, entity, name, value, to string) grant.Edit {
	e := grant.Edit{Setting: grant.Setting{Kind: kind, Entity: entity, Name: name}}
	if value != "" {
		e.Value = &value
	}
	if to != "" {
		e.To = &to
	}
	return e
}

// quoted is a text as JSON.
func quoted(text string) string {
	j, _ := json.Marshal(text) // texts always marshal
	return string(j)
}

func decode(t *testing.T, document *string) string {
	t.Helper()
	text, err := url.PathUnescape(aws.ToString(document))
	lifecycle.Must(t, err)
	return text
}

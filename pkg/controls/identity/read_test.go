package identity_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/identity"
	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

const (
	readTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	readARN   = "arn:aws:iam::" + local.MemberAccount + ":"
)

func TestUserIsReadWithAllThatGivesHimRights(t *testing.T) {
	r := newReading(t)
	id := r.alice()
	got, err := identity.ReadUser(r.Ctx, r.Session, "alice")
	lifecycle.Must(t, err)
	readSame(t, "user", got, readUser(id))
}

func TestUserInTwoGroupsTakesFourRoundTrips(t *testing.T) {
	r := newReading(t)
	r.alice()
	r.trips = func(ctx context.Context) error {
		_, err := identity.ReadUser(ctx, r.Session, "alice")
		return err
	}
	r.RoundTrips("alice", lifecycle.RoundTrips{Plan: 4, Again: 4})
}

func TestRoleIsReadInThreeRoundTrips(t *testing.T) {
	r := newReading(t)
	id := r.deploy()
	got, err := identity.ReadRole(r.Ctx, r.Session, "deploy")
	lifecycle.Must(t, err)
	readSame(t, "role", got, readRole(id))
	r.trips = func(ctx context.Context) error {
		_, err := identity.ReadRole(ctx, r.Session, "deploy")
		return err
	}
	r.RoundTrips("deploy", lifecycle.RoundTrips{Plan: 3, Again: 3})
}

func TestGroupIsReadWithItsPolicies(t *testing.T) {
	r := newReading(t)
	id := r.group("developers")
	got, err := identity.ReadGroup(r.Ctx, r.Session, "developers")
	lifecycle.Must(t, err)
	readSame(t, "group", got, readGroup(id, "developers"))
}

func TestVersionsAreReadNewestFirst(t *testing.T) {
	r := newReading(t)
	arn := r.policy("many")
	for i := 2; i <= 11; i++ {
		if i > 5 { // there may be five at once
			r.must(r.iam.DeletePolicyVersion(r.Ctx, &iam.DeletePolicyVersionInput{PolicyArn: &arn, VersionId: aws.String(fmt.Sprintf("v%d", i-5))}))
		}
		r.must(r.iam.CreatePolicyVersion(r.Ctx, &iam.CreatePolicyVersionInput{
			PolicyArn: &arn, PolicyDocument: aws.String(readText(fmt.Sprintf("v%d", i))), SetAsDefault: i < 9,
		}))
	}
	got, err := identity.ReadVersions(r.Ctx, r.Session, arn)
	lifecycle.Must(t, err)
	var want []iampolicy.PolicyVersion
	for _, id := range []string{"v11", "v10", "v9", "v8", "v7"} {
		want = append(want, iampolicy.PolicyVersion{ID: id, Default: id == "v8", Document: readDocument(readText(id))})
	}
	readSame(t, "versions", got, want)
}

// Moto never names those whose boundary a policy is.
func TestHoldersOfAPolicyAreNamed(t *testing.T) {
	r := newReading(t)
	r.alice()
	r.deploy()
	r.must(r.iam.AttachUserPolicy(r.Ctx, &iam.AttachUserPolicyInput{UserName: aws.String("alice"), PolicyArn: aws.String(readARN + "policy/of-developers")}))
	r.must(r.iam.AttachRolePolicy(r.Ctx, &iam.AttachRolePolicyInput{RoleName: aws.String("deploy"), PolicyArn: aws.String(readARN + "policy/of-developers")}))
	got, err := identity.ReadHolders(r.Ctx, r.Session, readARN+"policy/of-developers")
	lifecycle.Must(t, err)
	readSame(t, "holders", got, []string{"group/developers", "role/deploy", "user/alice"})
}

func TestRoleOfAnInstanceProfileIsNamed(t *testing.T) {
	r := newReading(t)
	r.deploy()
	r.must(r.iam.CreateInstanceProfile(r.Ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("empty")}))
	for name, want := range map[string]string{"fleet": "deploy", "empty": "", "none": ""} {
		got, err := identity.ReadProfileRole(r.Ctx, r.Session, name)
		lifecycle.Must(t, err)
		readSame(t, name, got, want)
	}
}

func TestAccountIsReadAsItsPrincipalsAre(t *testing.T) {
	r := newReading(t)
	want := &iampolicy.Account{
		ID: local.MemberAccount, Partition: "aws", Whole: true,
		Principals: []*iampolicy.Principal{nil, nil, readRole(r.deploy()), readUser(r.alice())},
		Policies:   map[string][]iampolicy.PolicyVersion{},
	}
	for i, name := range []string{"administrators", "developers"} {
		g, err := identity.ReadGroup(r.Ctx, r.Session, name)
		lifecycle.Must(t, err)
		want.Principals[i] = g
	}
	user := want.Principals[3]
	user.Keys, user.Password = -1, false // IAM does not tell
	for _, name := range []string{"of-administrators", "of-developers", "of-alice", "of-deploy", "boundary"} {
		want.Policies[readARN+"policy/"+name] = []iampolicy.PolicyVersion{
			{ID: "v2", Default: true, Document: readDocument(readText(name))}, {ID: "v1", Document: readDocument(readText("former"))},
		}
	}
	got, err := identity.ReadAccount(r.Ctx, r.Session)
	lifecycle.Must(t, err)
	readSame(t, "account", got, want)

	// A policy that is not among the answers is read apart.
	missing := readARN + "policy/of-alice"
	r.Rewrite("IAM.GetAccountAuthorizationDetails", "<Arn>"+missing+"</Arn>", "<Arn>"+readARN+"policy/other</Arn>")
	got, err = identity.ReadAccount(r.Ctx, r.Session)
	lifecycle.Must(t, err)
	readSame(t, "user", got.Principals[3], user)
}

func TestWhatIsGoneIsNil(t *testing.T) {
	r := newReading(t)
	for what, read := range r.readers("nobody", readARN+"policy/none") {
		got, err := read(r.Ctx)
		if err != nil || got {
			t.Errorf("%s: got something: %t, error %v", what, got, err)
		}
	}
}

// No right may seem not to be there because somebody may not read it.
func TestEveryCallThatIsDeniedIsAnError(t *testing.T) {
	r := newReading(t)
	r.alice()
	r.deploy()
	r.group("ops")
	ctx, recorder := cloud.Record(r.Ctx)
	lifecycle.Must(t, r.readAll(ctx))
	declared, made := map[string]bool{}, map[string]bool{}
	for _, call := range recorder.Calls() {
		made[call.Name()] = true
	}
	for _, p := range identity.ReadPermissions {
		declared[p.Call] = true
	}
	lifecycle.Same(t, "calls made, and those permitted", made, declared)
	for call := range declared {
		r.Proxy.Clear()
		r.Proxy.Inject(call, 1, local.Denied())
		if err := r.readAll(r.Ctx); !cloud.Is(err, "AccessDenied") {
			t.Errorf("%s denied: got error %v", call, err)
		}
	}
}

// readAll reads everything that there is, each in its way.
func (r *reading) readAll(ctx context.Context) error {
	var failed []error
	for _, name := range []string{"alice", "deploy", "ops"} {
		for _, read := range r.readers(name, readARN+"policy/of-developers") {
			_, err := read(ctx)
			failed = append(failed, err)
		}
	}
	_, err := identity.ReadProfileRole(ctx, r.Session, "fleet")
	_, unread := identity.ReadAccount(ctx, r.Session)
	return errors.Join(append(failed, err, unread)...)
}

// readers are the ways to read one thing by its name, or a policy by its ARN;
// each tells whether there was something.
func (r *reading) readers(name, policy string) map[string]func(context.Context) (bool, error) {
	return map[string]func(context.Context) (bool, error){
		"user": func(ctx context.Context) (bool, error) {
			p, err := identity.ReadUser(ctx, r.Session, name)
			return p != nil, err
		},
		"role": func(ctx context.Context) (bool, error) {
			p, err := identity.ReadRole(ctx, r.Session, name)
			return p != nil, err
		},
		"group": func(ctx context.Context) (bool, error) {
			p, err := identity.ReadGroup(ctx, r.Session, name)
			return p != nil, err
		},
		"versions": func(ctx context.Context) (bool, error) {
			v, err := identity.ReadVersions(ctx, r.Session, policy)
			return v != nil, err
		},
		"holders": func(ctx context.Context) (bool, error) {
			h, err := identity.ReadHolders(ctx, r.Session, policy)
			return h != nil, err
		},
	}
}

func TestWhatVanishesBetweenTwoCalls(t *testing.T) {
	r := newReading(t)
	id := r.alice()
	const readOnly = "arn:aws:iam::aws:policy/ReadOnlyAccess"
	r.must(r.iam.DeletePolicy(r.Ctx, &iam.DeletePolicyInput{PolicyArn: aws.String(readARN + "policy/of-developers")})) // moto asks nobody who has it
	r.refuse("IAM.GetGroupPolicy", http.StatusNotFound, "NoSuchEntity")
	r.must(r.iam.PutUserPermissionsBoundary(r.Ctx, &iam.PutUserPermissionsBoundaryInput{
		UserName: aws.String("alice"), PermissionsBoundary: aws.String(readOnly), // moto has none of AWS's own policies
	}))
	got, err := identity.ReadUser(r.Ctx, r.Session, "alice")
	lifecycle.Must(t, err)
	want := readUser(id)
	want.Boundary = &iampolicy.Policy{Name: "ReadOnlyAccess", ARN: readOnly}
	want.Policies = slices.DeleteFunc(want.Policies, func(p iampolicy.Policy) bool { return p.Name == "of-developers" || p.Name == "inline" && p.Group != "" })
	readSame(t, "user", got, want)

	r.refuse("IAM.GetPolicyVersion", http.StatusNotFound, "NoSuchEntity")
	got, err = identity.ReadUser(r.Ctx, r.Session, "alice")
	lifecycle.Must(t, err)
	for i := range want.Policies {
		if want.Policies[i].ARN != "" {
			want.Policies[i].Document = nil
		}
	}
	readSame(t, "user", got, want)
}

func TestDocumentThatCantBeUnderstoodIsNil(t *testing.T) {
	r := newReading(t)
	id := r.alice()
	r.Rewrite("IAM.GetUserPolicy", "Statement", "Sentence")
	got, err := identity.ReadUser(r.Ctx, r.Session, "alice")
	lifecycle.Must(t, err)
	want := readUser(id)
	want.Policies[0].Document = nil
	readSame(t, "user", got, want)
}

func TestAllPagesAreRead(t *testing.T) {
	r := newReading(t)
	r.must(r.iam.CreateGroup(r.Ctx, &iam.CreateGroupInput{GroupName: aws.String("many")}))
	const many = 101 // moto returns a hundred at once
	for i := range many {
		arn := r.policy(fmt.Sprintf("many%03d", i))
		r.must(r.iam.AttachGroupPolicy(r.Ctx, &iam.AttachGroupPolicyInput{GroupName: aws.String("many"), PolicyArn: &arn}))
	}
	got, err := identity.ReadGroup(r.Ctx, r.Session, "many")
	lifecycle.Must(t, err)
	readSame(t, "number of policies", len(got.Policies), many)
}

// reading is a stage with an account to read.
type reading struct {
	*lifecycle.Stage
	iam   *iam.Client
	trips func(context.Context) error // what the stage's remedy plans, to count its round trips
}

func newReading(t *testing.T) *reading {
	t.Helper()
	lifecycle.Must(t, lifecycle.AWS(t).Reset(t.Context()))
	r := &reading{}
	nothing := func(context.Context, *cloud.Session, control.Change) error { return nil }
	r.Stage = lifecycle.NewStage(t, "identity", "AWS::IAM::User", control.Remedy{
		Plan: func(ctx context.Context, _ *cloud.Session, _ control.Target) (*control.Change, error) {
			return &control.Change{}, r.trips(ctx)
		},
		Apply: nothing, Undo: nothing,
	})
	r.iam = iam.NewFromConfig(r.Member)
	return r
}

func (r *reading) must(_ any, err error) {
	r.T.Helper()
	lifecycle.Must(r.T, err)
}

// refuse answers a call of IAM with an error from now on.
func (r *reading) refuse(call string, status int, code string) {
	r.Proxy.Inject(call, 1, local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
		x.Answer(local.Answer{Status: status, Header: http.Header{"Content-Type": {"text/xml"}}, Body: fmt.Appendf(nil,
			`<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>It is refused.</Message></Error></ErrorResponse>`, code)})
	}})
}

// readText is a document that allows one action.
func readText(action string) string {
	return fmt.Sprintf("{\n \"Version\": \"2012-10-17\", \"Statement\": [{\"Effect\": \"Allow\", \"Action\": \"s3:%s\", \"Resource\": \"*\"}]}", action)
}

func readDocument(text string) *iampolicy.Document {
	d, err := iampolicy.Parse(text)
	if err != nil {
		panic(err) // it is one of the texts above
	}
	return d
}

// policy makes a managed policy with two versions, and returns its ARN.
func (r *reading) policy(name string) string {
	r.T.Helper()
	out, err := r.iam.CreatePolicy(r.Ctx, &iam.CreatePolicyInput{PolicyName: &name, PolicyDocument: aws.String(readText("former"))})
	lifecycle.Must(r.T, err)
	return aws.ToString(out.Policy.Arn)
}

func (r *reading) managed(name string) *string {
	r.T.Helper()
	arn := r.policy(name)
	r.must(r.iam.CreatePolicyVersion(r.Ctx, &iam.CreatePolicyVersionInput{PolicyArn: &arn, PolicyDocument: aws.String(readText(name)), SetAsDefault: true}))
	return &arn
}

// group makes a group with an inline and a managed policy, and returns its ID.
func (r *reading) group(name string) string {
	r.T.Helper()
	out, err := r.iam.CreateGroup(r.Ctx, &iam.CreateGroupInput{GroupName: &name, Path: aws.String("/team/")})
	lifecycle.Must(r.T, err)
	r.must(r.iam.PutGroupPolicy(r.Ctx, &iam.PutGroupPolicyInput{GroupName: &name, PolicyName: aws.String("inline"), PolicyDocument: aws.String(readText("of" + name))}))
	r.must(r.iam.AttachGroupPolicy(r.Ctx, &iam.AttachGroupPolicyInput{GroupName: &name, PolicyArn: r.managed("of-" + name)}))
	return aws.ToString(out.Group.GroupId)
}

func readGroupPolicies(group, as string) []iampolicy.Policy {
	return []iampolicy.Policy{
		{Name: "inline", Group: as, Document: readDocument(readText("of" + group))},
		{Name: "of-" + group, ARN: readARN + "policy/of-" + group, Group: as, Document: readDocument(readText("of-" + group))},
	}
}

func readGroup(id, name string) *iampolicy.Principal {
	return &iampolicy.Principal{ARN: readARN + "group/team/" + name, ID: id, Type: iampolicy.Group, Policies: readGroupPolicies(name, "")}
}

func readBoundary() *iampolicy.Policy {
	return &iampolicy.Policy{Name: "boundary", ARN: readARN + "policy/boundary", Document: readDocument(readText("boundary"))}
}

// alice makes a user with all that a user can have, and returns its ID.
func (r *reading) alice() string {
	r.T.Helper()
	name := aws.String("alice")
	out, err := r.iam.CreateUser(r.Ctx, &iam.CreateUserInput{
		UserName: name, Path: aws.String("/team/"), Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("web")}},
	})
	lifecycle.Must(r.T, err)
	r.must(r.iam.PutUserPermissionsBoundary(r.Ctx, &iam.PutUserPermissionsBoundaryInput{UserName: name, PermissionsBoundary: r.boundary()}))
	r.must(r.iam.PutUserPolicy(r.Ctx, &iam.PutUserPolicyInput{UserName: name, PolicyName: aws.String("inline"), PolicyDocument: aws.String(readText("alice"))}))
	r.must(r.iam.AttachUserPolicy(r.Ctx, &iam.AttachUserPolicyInput{UserName: name, PolicyArn: r.managed("of-alice")}))
	for _, g := range []string{"developers", "administrators"} {
		r.group(g)
		r.must(r.iam.AddUserToGroup(r.Ctx, &iam.AddUserToGroupInput{UserName: name, GroupName: &g}))
	}
	r.must(r.iam.CreateAccessKey(r.Ctx, &iam.CreateAccessKeyInput{UserName: name}))
	r.must(r.iam.CreateLoginProfile(r.Ctx, &iam.CreateLoginProfileInput{UserName: name, Password: aws.String("correct horse battery staple")}))
	return aws.ToString(out.User.UserId)
}

// boundary is the ARN of the policy that bounds users and roles, made once.
func (r *reading) boundary() *string {
	r.T.Helper()
	arn := readARN + "policy/boundary"
	if _, err := r.iam.GetPolicy(r.Ctx, &iam.GetPolicyInput{PolicyArn: &arn}); err != nil {
		return r.managed("boundary")
	}
	return &arn
}

func readUser(id string) *iampolicy.Principal {
	return &iampolicy.Principal{
		ARN: readARN + "user/team/alice", ID: id, Type: iampolicy.User,
		Policies: slices.Concat([]iampolicy.Policy{
			{Name: "inline", Document: readDocument(readText("alice"))},
			{Name: "of-alice", ARN: readARN + "policy/of-alice", Document: readDocument(readText("of-alice"))},
		}, readGroupPolicies("administrators", "administrators"), readGroupPolicies("developers", "developers")),
		Boundary: readBoundary(), Groups: []string{"administrators", "developers"}, Tags: map[string]string{"team": "web"}, Keys: 1, Password: true,
	}
}

// deploy makes a role with all that a role can have, and returns its ID.
func (r *reading) deploy() string {
	r.T.Helper()
	name := aws.String("deploy")
	out, err := r.iam.CreateRole(r.Ctx, &iam.CreateRoleInput{
		RoleName: name, Path: aws.String("/ci/"), AssumeRolePolicyDocument: aws.String(readTrust), PermissionsBoundary: r.boundary(),
		Tags: []types.Tag{{Key: aws.String("env"), Value: aws.String("dev")}},
	})
	lifecycle.Must(r.T, err)
	r.must(r.iam.PutRolePolicy(r.Ctx, &iam.PutRolePolicyInput{RoleName: name, PolicyName: aws.String("inline"), PolicyDocument: aws.String(readText("deploy"))}))
	r.must(r.iam.AttachRolePolicy(r.Ctx, &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: r.managed("of-deploy")}))
	r.must(r.iam.CreateInstanceProfile(r.Ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("fleet")}))
	r.must(r.iam.AddRoleToInstanceProfile(r.Ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("fleet"), RoleName: name}))
	return aws.ToString(out.Role.RoleId)
}

func readRole(id string) *iampolicy.Principal {
	return &iampolicy.Principal{
		ARN: readARN + "role/ci/deploy", ID: id, Type: iampolicy.Role,
		Policies: []iampolicy.Policy{
			{Name: "inline", Document: readDocument(readText("deploy"))},
			{Name: "of-deploy", ARN: readARN + "policy/of-deploy", Document: readDocument(readText("of-deploy"))},
		},
		Boundary: readBoundary(), Trust: readDocument(readTrust), Tags: map[string]string{"env": "dev"}, Profile: true,
	}
}

// readSame compares what was read; documents by their texts.
func readSame(t *testing.T, what string, got, want any) {
	t.Helper()
	texts := cmp.Comparer(func(a, b *iampolicy.Document) bool {
		return (a == nil) == (b == nil) && (a == nil || a.String() == b.String())
	})
	if diff := cmp.Diff(want, got, texts, cmpopts.IgnoreUnexported(iampolicy.Account{})); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", what, diff)
	}
}

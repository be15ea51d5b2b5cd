package grant_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/grant"
)

// All kinds are tested at once: a kind's permissions are read off its own calls.
func TestLifecycle(t *testing.T) {
	var plans wanted
	var test lifecycle.Test
	for i, v := range violations() {
		test.Violations = append(test.Violations, lifecycle.Violation{
			Name: v.name,
			Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
				w, n := world{ctx, t, iam.NewFromConfig(cfg)}, fmt.Sprintf("v%d", i)
				return plans.want(w, n, grant.Plan{Reason: "It gives rights.", Edits: []grant.Edit{v.violate(w, n)}})
			},
			State: func(ctx context.Context, t *testing.T, cfg aws.Config, _ string) any {
				return world{ctx, t, iam.NewFromConfig(cfg)}.state()
			},
		})
	}
	lifecycle.Remedy(t, "identity", targetType, plans.remedy(everyKind...), test)
}

var everyKind = []grant.Kind{
	grant.AttachedPolicy, grant.InlinePolicy, grant.DefaultVersion, grant.Membership, grant.Trust, grant.AccessKey, grant.Boundary,
}

// violation makes an entity of the given name and violates one of its settings.
type violation struct {
	name    string
	violate func(w world, name string) grant.Edit
}

// violations are one of every kind and type of entity, in both directions.
func violations() []violation {
	all := []violation{
		{"another version is the default", func(w world, n string) grant.Edit {
			p := w.policy(n)
			w.newVersion(p)
			return edit(grant.DefaultVersion, p, "", "v2", "v1")
		}},
		{"in a group", func(w world, n string) grant.Edit {
			e := w.entity("user", n)
			w.entity("group", n)
			w.join(n, n)
			return edit(grant.Membership, e, n, "member", "")
		}},
		{"out of a group", func(w world, n string) grant.Edit {
			w.entity("group", n)
			return edit(grant.Membership, w.entity("user", n), n, "", "member")
		}},
		{"another trust policy", func(w world, n string) grant.Edit {
			e := w.entity("role", n)
			w.trust(n, open)
			return edit(grant.Trust, e, "", open, ec2)
		}},
		{"an active key", func(w world, n string) grant.Edit {
			e := w.entity("user", n)
			return edit(grant.AccessKey, e, w.key(n), "Active", "Inactive")
		}},
	}
	for _, of := range []string{"user", "group", "role"} {
		all = append(all, policyViolations(of)...)
	}
	return append(all, slices.Concat(boundaryViolations("user"), boundaryViolations("role"))...)
}

func policyViolations(of string) []violation {
	return []violation{
		{of + " got a policy", func(w world, n string) grant.Edit {
			e, p := w.entity(of, n), w.policy(n)
			w.attach(of, n, p)
			return edit(grant.AttachedPolicy, e, p, "attached", "")
		}},
		{of + " lost a policy", func(w world, n string) grant.Edit {
			return edit(grant.AttachedPolicy, w.entity(of, n), w.policy(n), "", "attached")
		}},
		{of + " got an inline policy", func(w world, n string) grant.Edit {
			e := w.entity(of, n)
			w.put(of, n, "admin", little)
			return edit(grant.InlinePolicy, e, "admin", little, "")
		}},
		{of + " lost an inline policy", func(w world, n string) grant.Edit {
			return edit(grant.InlinePolicy, w.entity(of, n), "deny", "", little)
		}},
		{"the inline policy of a " + of + " was widened", func(w world, n string) grant.Edit {
			e := w.entity(of, n)
			w.put(of, n, "app", all)
			return edit(grant.InlinePolicy, e, "app", all, little)
		}},
	}
}

func boundaryViolations(of string) []violation {
	return []violation{
		{of + " lost his boundary", func(w world, n string) grant.Edit {
			return edit(grant.Boundary, w.entity(of, n), "", "", w.policy(n))
		}},
		{of + " got a boundary", func(w world, n string) grant.Edit {
			e, p := w.entity(of, n), w.policy(n)
			w.bound(of, n, p)
			return edit(grant.Boundary, e, "", p, "")
		}},
	}
}

func TestPermissionsAreThoseOfTheKindsAlone(t *testing.T) {
	planned := control.Permission{Call: "IAM.GetUser", Action: "iam:GetUser", Resource: "arn:${Partition}:iam::${Account}:user/*"}
	remedy := grant.Remedy("x", grant.Planner{Kinds: []grant.Kind{grant.Trust, grant.Membership}, Permissions: []control.Permission{planned}})
	iamOf := func(operation, of string) control.Permission {
		return control.Permission{Call: "IAM." + operation, Action: "iam:" + operation, Resource: "arn:${Partition}:iam::${Account}:" + of + "/*"}
	}
	reads := []control.Permission{iamOf("ListGroupsForUser", "user"), iamOf("GetRole", "role")}
	writes := []control.Permission{iamOf("AddUserToGroup", "group"), iamOf("RemoveUserFromGroup", "group"), iamOf("UpdateAssumeRolePolicy", "role")}
	lifecycle.Same(t, "permissions", remedy.Permissions, control.Permissions{
		Plan: []control.Permission{planned}, Verify: reads, Apply: writes, Undo: append(reads, writes...),
	})
}

func TestPlanWithoutEditsIsAReport(t *testing.T) {
	s := newStage(t)
	s.plans.want(s.world, "report", grant.Plan{Reason: "He has a password now.", Left: []string{"The password stays."}})
	want := &control.Change{
		Target: s.Target("report"), Reason: "He has a password now.", Before: []byte("null"), Left: []string{"The password stays."},
		Case: "20261122-example0", Finding: "finding-example",
	}
	lifecycle.Same(t, "change", s.Plan("report"), want)
}

func TestChangeHoldsTheSameSettingsBeforeAndAfter(t *testing.T) {
	s := newStage(t)
	c := s.planned("both", []string{"He raised his rights."},
		edit(grant.AttachedPolicy, "user/team/alice", "arn:aws:iam::aws:policy/AdministratorAccess", "attached", ""),
		edit(grant.Trust, "role/deploy", "", open, ec2))
	const before = `[{"Kind":"attached-policy","Entity":"user/team/alice","Name":"arn:aws:iam::aws:policy/AdministratorAccess","Value":"attached"},` +
		`{"Kind":"trust","Entity":"role/deploy","Value":%s}]`
	lifecycle.Same(t, "before", string(c.Before), fmt.Sprintf(before, quoted(open)))
	lifecycle.Same(t, "after", string(c.After), fmt.Sprintf(strings.Replace(before, `"attached"}`, "null}", 1), quoted(ec2)))
	lifecycle.Same(t, "left", c.Left, []string{"He raised his rights."})
}

func TestSettingThatNobodyHasIsAnError(t *testing.T) {
	s := newStage(t)
	s.plans.want(s.world, "odd", grant.Plan{Edits: []grant.Edit{edit(grant.Trust, "user/alice", "", ec2, open)}})
	if _, err := s.Remedy.Plan(s.Ctx, s.Session, s.Target("odd")); err == nil || err.Error() != "there is no trust of user/alice" {
		t.Errorf("got error %v", err)
	}
}

// several violates six settings of several entities and plans to set them back.
func (s *stage) several(name string) *control.Change {
	s.T.Helper()
	user, role := s.entity("user", name), s.entity("role", name)
	s.entity("group", name)
	policy := s.policy(name)
	s.newVersion(policy)
	s.attach("user", name, policy)
	s.put("role", name, "app", all)
	s.join(name, name)
	s.trust(name, open)
	return s.planned(name, nil,
		edit(grant.AttachedPolicy, user, policy, "attached", ""),
		edit(grant.InlinePolicy, role, "app", all, little),
		edit(grant.DefaultVersion, policy, "", "v2", "v1"),
		edit(grant.Membership, user, name, "member", ""),
		edit(grant.Trust, role, "", open, ec2),
		edit(grant.AccessKey, user, s.key(name), "Active", "Inactive"))
}

func TestKilledWorkersAreFinishedAndUndoneByTheNext(t *testing.T) {
	undoCalls := map[string]string{
		"IAM.DetachUserPolicy": "IAM.AttachUserPolicy", "IAM.RemoveUserFromGroup": "IAM.AddUserToGroup",
	}
	i := 0
	for _, call := range []string{
		"IAM.DetachUserPolicy", "IAM.PutRolePolicy", "IAM.SetDefaultPolicyVersion", "IAM.RemoveUserFromGroup", "IAM.UpdateAssumeRolePolicy", "IAM.UpdateAccessKey",
	} {
		for when, fault := range lifecycle.Kills {
			i++
			name := fmt.Sprintf("killed%d", i)
			t.Run(when+" "+call, func(t *testing.T) {
				s := newStage(t)
				c := s.several(name)
				before := s.state()
				s.Killed(s.Remedy.Apply, c, call, 1, fault)
				if open := s.verify(c); open != nil {
					lifecycle.Same(t, "what is to be done still", string(open.After), string(c.After))
				}
				s.Apply(c)
				if open := s.verify(c); open != nil {
					t.Fatalf("after Apply, Verify finds %s", open.Before)
				}
				s.Killed(s.Remedy.Undo, c, cmp.Or(undoCalls[call], call), 1, fault)
				s.undoOrUndone(c)
				lifecycle.Same(t, "account", s.state(), before)
			})
		}
	}
}

// undoOrUndone undoes a change; one that is undone already is refused.
func (s *stage) undoOrUndone(c *control.Change) {
	s.T.Helper()
	err := s.Remedy.Undo(s.Ctx, s.Session, *c)
	var moved *control.MovedError
	if errors.As(err, &moved) {
		lifecycle.Same(s.T, "Now", string(moved.Now), string(c.Before))
		return
	}
	lifecycle.Must(s.T, err)
}

func TestOneEditThatFailsKeepsNoOtherFromBeingMade(t *testing.T) {
	s := newStage(t)
	c := s.several("denied")
	s.Proxy.Inject("IAM.DetachUserPolicy", 1, local.Denied())
	s.Proxy.Inject("IAM.RemoveUserFromGroup", 1, local.Throttled(-1))
	err := s.Remedy.Apply(s.Ctx, s.Session, *c)
	if err == nil || cloud.Permanent(err) || !strings.Contains(err.Error(), "AccessDenied") {
		t.Fatalf("want both errors, and the one that may pass first, got %v", err)
	}
	s.Proxy.Clear()
	open := s.verify(c)
	var before, now []grant.Setting
	lifecycle.Must(t, errors.Join(json.Unmarshal(c.After, &before), json.Unmarshal(open.Before, &now)))
	before[0].Value, before[3].Value = aws.String("attached"), aws.String("member")
	lifecycle.Same(t, "settings", now, before)
}

func TestWriteThatIsOneTooManyIsFinal(t *testing.T) {
	s := newStage(t)
	c := s.planned("full", nil, edit(grant.InlinePolicy, s.entity("user", "full"), "app", "", all))
	s.refuse("IAM.PutUserPolicy", http.StatusConflict, "LimitExceeded") // moto counts no characters
	if err := s.Remedy.Apply(s.Ctx, s.Session, *c); !cloud.Is(err, "LimitExceeded") || !cloud.Permanent(err) {
		t.Errorf("want LimitExceeded for good, got %v", err)
	}
}

func TestWhatCantBeReadIsAnError(t *testing.T) {
	s := newStage(t)
	c := s.several("unread")
	s.Apply(c)
	s.Proxy.Inject("IAM.GetRolePolicy", 1, local.Denied())
	if _, err := s.Remedy.Verify(s.Ctx, s.Session, *c); !cloud.Is(err, "AccessDenied") {
		t.Errorf("Verify returns %v", err)
	}
	if err := s.Remedy.Undo(s.Ctx, s.Session, *c); !cloud.Is(err, "AccessDenied") {
		t.Errorf("Undo returns %v", err)
	}
}

func TestVerifyKeepsWhatStaysOpen(t *testing.T) {
	s := newStage(t)
	user, policy := s.entity("user", "open"), s.policy("open")
	s.attach("user", "open", policy)
	c := s.planned("open", []string{"His password stays."}, edit(grant.AttachedPolicy, user, policy, "attached", ""))
	s.Apply(c)
	if open := s.verify(c); open == nil || !open.Report() || len(open.Left) != 1 {
		t.Errorf("want a report of what stays open, got %+v", open)
	}
}

// IAM returns documents in an order of its own; moto returns what was put.
func TestDocumentThatSaysTheSameIsTheSame(t *testing.T) {
	s := newStage(t)
	role := s.entity("role", "trusted")
	s.put("role", "trusted", "app", all)
	c := s.planned("trusted", nil, edit(grant.Trust, role, "", ec2, open), edit(grant.InlinePolicy, role, "app", all, little))
	s.Apply(c)
	s.trust("trusted", reordered)
	s.put("role", "trusted", "app", `{"Statement":[{"Action":["s3:GetObject"],"Sid":"a100percent","Effect":"Allow","Resource":["*"]}],"Version":"2012-10-17"}`)
	if open := s.verify(c); open != nil {
		t.Errorf("Verify finds %s", open.Before)
	}
	s.Undo(c)
	lifecycle.Same(t, "trust policy", s.trustOf("trusted"), ec2)

	s.trust("trusted", open)
	c = s.planned("trusted", nil, edit(grant.Trust, role, "", open, ec2))
	s.Apply(c)
	s.Undo(c)
	s.trust("trusted", reordered)
	s.refused(c, string(c.Before))
}

func TestDocumentThatMaySayMoreIsAnother(t *testing.T) {
	s := newStage(t)
	user := s.entity("user", "twice")
	for name, text := range map[string]string{
		"a key is there twice": strings.Replace(all, `"Action":"*"`, `"Action":"*","Action":"s3:*"`, 1),
		"a statement is added": strings.Replace(all, `}]}`, `},{"Effect":"Allow","Action":"*","Resource":"a"}]}`, 1),
		"a list is longer":     strings.Replace(all, `"Action":"*"`, `"Action":["*","s3:*"]`, 1),
		"the effect differs":   strings.Replace(all, "Allow", "Deny", 1),
	} {
		c := s.planned(name, nil, edit(grant.InlinePolicy, user, "app", little, all))
		s.answer("IAM.GetUserPolicy", http.StatusOK, // moto takes no key that is there twice
			"<GetUserPolicyResponse><GetUserPolicyResult><PolicyDocument>"+url.PathEscape(text)+"</PolicyDocument></GetUserPolicyResult></GetUserPolicyResponse>")
		if open := s.verify(c); open == nil || !strings.Contains(string(open.Before), quoted(text)) {
			t.Errorf("%s: Verify finds %+v", name, open)
		}
		s.Proxy.Clear()
	}
}

func TestUndoIsRefusedWhereASettingWasChanged(t *testing.T) {
	s := newStage(t)
	c := s.several("moved")
	s.Apply(c)
	s.put("role", "moved", "app", ec2Policy)
	now := strings.Replace(string(c.After), quoted(little), quoted(ec2Policy), 1)
	before := s.state()
	s.refused(c, now)
	lifecycle.Same(t, "account", s.state(), before)
}

const ec2Policy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:*","Resource":"*"}]}`

func TestUndoPutsBackWhatIsThereAndNamesWhatIsGone(t *testing.T) {
	s := newStage(t)
	s.entity("user", "leaver")
	s.put("user", "leaver", "app", all)
	key := s.key("leaver")
	user, role, policy, boundary := s.entity("user", "stayer"), s.entity("role", "stayer"), s.policy("lost"), s.policy("kept")
	s.attach("user", "stayer", policy)
	s.bound("user", "stayer", boundary)
	s.newVersion(boundary)
	c := s.planned("gone", nil,
		edit(grant.AccessKey, "user/team/leaver", key, "Active", "Inactive"),
		edit(grant.InlinePolicy, "user/team/leaver", "app", all, ""),
		edit(grant.AttachedPolicy, user, policy, "attached", ""),
		edit(grant.Boundary, user, "", boundary, ""),
		edit(grant.DefaultVersion, boundary, "", "v2", "v1"),
		edit(grant.Trust, role, "", ec2, open))
	s.Apply(c)
	s.must(s.iam.DeleteAccessKey(s.ctx, &iam.DeleteAccessKeyInput{UserName: aws.String("leaver"), AccessKeyId: &key}))
	s.must(s.iam.DeleteUser(s.ctx, &iam.DeleteUserInput{UserName: aws.String("leaver")}))
	s.must(s.iam.DeletePolicy(s.ctx, &iam.DeletePolicyInput{PolicyArn: &policy}))
	s.must(s.iam.DeletePolicyVersion(s.ctx, &iam.DeletePolicyVersionInput{PolicyArn: &boundary, VersionId: aws.String("v2")}))
	if open := s.verify(c); open != nil {
		t.Errorf("Verify finds %s", open.Before)
	}
	s.Apply(c)
	lifecycle.Left(t, s.Remedy.Undo(s.Ctx, s.Session, *c),
		"The default version of "+boundary+" was not put back (IAM SetDefaultPolicyVersion: NoSuchEntity: Policy "+boundary+" version v2 does not exist or is not attachable.).",
		"The attached policy "+policy+" of user/team/stayer was not put back (IAM AttachUserPolicy: NoSuchEntity: Policy "+policy+" does not exist or is not attachable.).",
		"The inline policy app of user/team/leaver was not put back: it or user/team/leaver no longer exists.",
		"The access key "+key+" of user/team/leaver was not put back: it or user/team/leaver no longer exists.")
	out, err := s.iam.GetUser(s.ctx, &iam.GetUserInput{UserName: aws.String("stayer")})
	lifecycle.Must(t, err)
	lifecycle.Same(t, "boundary", aws.ToString(out.User.PermissionsBoundary.PermissionsBoundaryArn), boundary)
	lifecycle.Same(t, "trust policy", s.trustOf("stayer"), ec2)
}

// AWS takes no trust policy that names a principal which no longer exists; moto
// takes any.
func TestTrustPolicyThatAWSNoLongerTakesIsLeft(t *testing.T) {
	s := newStage(t)
	c := s.several("untaken")
	s.Apply(c)
	s.refuse("IAM.UpdateAssumeRolePolicy", http.StatusBadRequest, "MalformedPolicyDocument")
	lifecycle.Left(t, s.Remedy.Undo(s.Ctx, s.Session, *c),
		"The trust of role/team/untaken was not put back (IAM UpdateAssumeRolePolicy: MalformedPolicyDocument: It is refused.).")
	s.Proxy.Clear()
	list, err := s.iam.ListAttachedUserPolicies(s.ctx, &iam.ListAttachedUserPoliciesInput{UserName: aws.String("untaken")})
	lifecycle.Must(t, err)
	if len(list.AttachedPolicies) != 1 {
		t.Error("the policy was not attached again")
	}
}

func TestWhatIsGoneAsAWholeIsTold(t *testing.T) {
	s := newStage(t)
	user := s.entity("user", "gone")
	key := s.key("gone")
	c := s.planned("gone", nil,
		edit(grant.AccessKey, user, key, "Active", "Inactive"), edit(grant.InlinePolicy, user, "app", all, little))
	s.must(s.iam.DeleteAccessKey(s.ctx, &iam.DeleteAccessKeyInput{UserName: aws.String("gone"), AccessKeyId: &key}))
	s.must(s.iam.DeleteUser(s.ctx, &iam.DeleteUserInput{UserName: aws.String("gone")}))
	if _, err := s.Remedy.Verify(s.Ctx, s.Session, *c); !errors.Is(err, control.ErrGone) {
		t.Errorf("Verify returns %v", err)
	}
	if err := s.Remedy.Apply(s.Ctx, s.Session, *c); !errors.Is(err, control.ErrGone) {
		t.Errorf("Apply returns %v", err)
	}
}

// A boundary whose policy somebody deleted must not pass for a user who is gone.
func TestSettingThatNamesWhatIsGoneIsAnError(t *testing.T) {
	s := newStage(t)
	c := s.planned("unbound", nil, edit(grant.Boundary, s.entity("user", "unbound"), "", "", "arn:aws:iam::222222222222:policy/deleted"))
	if err := s.Remedy.Apply(s.Ctx, s.Session, *c); !cloud.Is(err, "NoSuchEntity") || errors.Is(err, control.ErrGone) {
		t.Errorf("Apply returns %v", err)
	}
}

func TestSettingsOnLaterPagesAreFound(t *testing.T) {
	s := newStage(t)
	user, last := s.entity("user", "many"), ""
	for i := range 101 { // moto returns a hundred at once, in the order of names
		last = s.policy(fmt.Sprintf("many%03d", i))
		s.attach("user", "many", last)
	}
	c := s.planned("many", nil, edit(grant.AttachedPolicy, user, last, "attached", ""))
	if open := s.verify(c); open == nil || string(open.Before) != string(c.Before) {
		t.Errorf("Verify of a change that was not made returns %+v", open)
	}
	s.refused(c, string(c.Before))
}

func TestRoundTrips(t *testing.T) {
	s := newStage(t)
	user, policy := s.entity("user", "counted"), s.policy("counted")
	s.attach("user", "counted", policy)
	s.planned("counted", nil, edit(grant.AttachedPolicy, user, policy, "attached", ""))
	s.RoundTrips("counted", lifecycle.RoundTrips{Plan: 0, Apply: 1, Again: 0, Undo: 2})
}

// stage is the shared one, with a world in its member account.
type stage struct {
	*lifecycle.Stage
	world
	plans *wanted
}

func newStage(t *testing.T) *stage {
	t.Helper()
	lifecycle.Must(t, lifecycle.AWS(t).Reset(t.Context())) // a state is that of the whole account
	plans := &wanted{}
	s := lifecycle.NewStage(t, "identity", targetType, plans.remedy(everyKind...))
	return &stage{s, world{s.Ctx, t, iam.NewFromConfig(s.Member)}, plans}
}

// planned is the change of a plan with some edits.
func (s *stage) planned(id string, left []string, edits ...grant.Edit) *control.Change {
	s.T.Helper()
	return s.Plan(s.plans.want(s.world, id, grant.Plan{Reason: "It gives rights.", Left: left, Edits: edits, Touches: []string{"arn"}}))
}

func (s *stage) verify(c *control.Change) *control.Change {
	s.T.Helper()
	open, err := s.Remedy.Verify(s.Ctx, s.Session, *c)
	lifecycle.Must(s.T, err)
	return open
}

// refused wants Undo to refuse, and to show the state now.
func (s *stage) refused(c *control.Change, now string) {
	s.T.Helper()
	var moved *control.MovedError
	if err := s.Remedy.Undo(s.Ctx, s.Session, *c); !errors.As(err, &moved) {
		s.T.Fatalf("want a *control.MovedError, got %v", err)
	}
	lifecycle.Same(s.T, "Now", string(moved.Now), now)
}

// refuse answers a call of IAM with an error from now on.
func (s *stage) refuse(call string, status int, code string) {
	s.answer(call, status, "<ErrorResponse><Error><Type>Sender</Type><Code>"+code+"</Code><Message>It is refused.</Message></Error></ErrorResponse>")
}

func (s *stage) answer(call string, status int, body string) {
	s.Proxy.Inject(call, 1, local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
		x.Answer(local.Answer{Status: status, Header: http.Header{"Content-Type": {"text/xml"}}, Body: []byte(body)})
	}})
}

func (s *stage) trustOf(role string) string {
	s.T.Helper()
	details, err := s.iam.GetAccountAuthorizationDetails(s.ctx, &iam.GetAccountAuthorizationDetailsInput{Filter: []types.EntityType{types.EntityTypeRole}})
	lifecycle.Must(s.T, err)
	for _, r := range details.RoleDetailList {
		if aws.ToString(r.RoleName) == role {
			return decode(s.T, r.AssumeRolePolicyDocument)
		}
	}
	return ""
}

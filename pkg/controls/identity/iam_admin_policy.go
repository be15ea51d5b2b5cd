package identity

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/iampolicy"
	"github.com/snapback-aws/snapback/pkg/remedies/grant"
)

func adminPolicy(identities *control.Identities) control.Control {
	p := &fullRights{identities}
	remedy := grant.Remedy("remove-admin-policy", grant.Planner{
		Plan: p.plan,
		Permissions: slices.Concat(
			[]control.Permission{ownPolicy("GetPolicy"), ownPolicy("GetPolicyVersion"), ownPolicy("ListEntitiesForPolicy")},
			readPermission("user/*", "GetUser", "GetUserPolicy"),
			readPermission("group/*", "GetGroup", "GetGroupPolicy"),
			readPermission("role/*", "GetRole", "GetRolePolicy"),
		),
		Kinds: []grant.Kind{grant.AttachedPolicy, grant.InlinePolicy},
	})
	narrow(&remedy.Permissions)
	return control.Control{
		ID:    "iam-admin-policy",
		Title: "No policy of the account's own, managed or inline, gives full administrative rights",
		Rationale: "Who has such a policy, or gets hold of credentials of somebody who has it, has the whole account. AWS's own " +
			"AdministratorAccess is no policy of the account's own: who has that is seen at a glance, a policy called deploy that allows " +
			"everything is not. Those whom the baseline lists as administrators may have one. A policy that nobody has is reported too, " +
			"since whoever may attach policies can take it, but nothing is changed then; one that serves as permissions boundary alone " +
			"gives nothing. An inline policy is exempted by the ARN of its user, group or role, without the path.",
		Hazard: "Whoever loses the policy can do no more than his other policies allow: people are locked out, pipelines and " +
			"applications stop. A managed policy is detached from all who have it, of an inline one the statements that allow everything " +
			"are taken out. Never changed are protected principals, listed administrators, groups with one of either in them, roles of " +
			"IAM Identity Center and of AWS services, and Snapback's own. The change waits for approval unless the baseline enforces " +
			"this very control.",
		Severity: control.High,
		Standards: control.Standards{
			SecurityHub: []string{"IAM.1"},
			CIS:         []string{"v5.0.0/1.15", "v3.0.0/1.16", "v1.4.0/1.16"},
			ConfigRules: []string{"iam-policy-no-statements-with-admin-access"},
		},
		Cautious: true,
		Resource: control.Resource{
			Type:   typePolicy,
			ARN:    policyARN,
			IDs:    policyIDs,
			Sample: "policy/NAME",
			// Inline policies have none.
			Untagged: true,
			// AWS Config names IAM's resources by their unique IDs, ANPA…, by which no call
			// of IAM finds them, and records inline policies with their users and roles.
			Unrecorded: true,
		},
		Triggers: []control.Trigger{
			{Source: iamSource, Names: []string{"CreatePolicy"}, Targets: managedPolicy("responseElements.policy.arn")},
			{Source: iamSource, Targets: managedPolicy("requestParameters.policyArn"), Names: []string{
				"CreatePolicyVersion", "SetDefaultPolicyVersion", "AttachGroupPolicy", "AttachRolePolicy", "AttachUserPolicy",
			}},
			{Source: iamSource, Names: []string{"PutGroupPolicy", "PutRolePolicy", "PutUserPolicy"}, Targets: inlinePolicy},
		},
		List:   listFullRights,
		Remedy: remedy,
	}
}

// narrow leaves what the control really does: rights are only ever taken, and
// given back by an undo.
func narrow(p *control.Permissions) {
	without := func(from []control.Permission, calls ...string) []control.Permission {
		return slices.DeleteFunc(from, func(p control.Permission) bool {
			return slices.ContainsFunc(calls, func(call string) bool { return strings.HasPrefix(p.Call, "IAM."+call) })
		})
	}
	p.Apply, p.Undo = without(p.Apply, "Attach"), without(p.Undo, "Detach", "Delete")
	p.List = []control.Permission{{Call: "IAM.GetAccountAuthorizationDetails", Action: "iam:GetAccountAuthorizationDetails", Resource: "*"}}
}

func ownPolicy(call string) control.Permission {
	return control.Permission{Call: "IAM." + call, Action: "iam:" + call, Resource: "arn:${Partition}:iam::${Account}:policy/*"}
}

// typePolicy is the type of a policy. A managed one's ID is its ARN, an inline
// one's are its principal and its name, a word each: "user/alice deploy".
const typePolicy = "AWS::IAM::Policy"

// policyIDs are what the IDs look like, and what of them stands in ARNs. Source of
// the characters: IAM user guide, "IAM and AWS STS quotas" (names) and "IAM
// identifiers" (paths).
var policyIDs = regexp.MustCompile(`^(?:(?:arn:[a-z-]{3,20}:iam::\d{12}:)?policy/(?:[!-~]{1,512}/)?[\w+=,.@-]{1,128}` +
	`|(?:user|group|role)/[\w+=,.@-]{1,128}(?: [\w+=,.@-]{1,128})?)$`)

// policyARN is the ARN of a managed policy or, of an inline one, that of its
// principal without the path, which the calls' records do not tell.
func policyARN(t control.Target) string {
	if strings.HasPrefix(t.ID, "arn:") {
		return t.ID
	}
	principal, _, _ := strings.Cut(t.ID, " ")
	return "arn:" + cloud.Partition(t.Region) + ":iam::" + t.Account + ":" + principal
}

// home is the Region of all targets: IAM is one for all Regions, wherever its
// events arrive, and a policy is one target.
func home(region string) string { return cloud.AnyRegion(cloud.Partition(region)) }

// managedPolicy finds the customer managed policy whose ARN is at a path of the
// record.
func managedPolicy(path string) func(*event.Call) []control.Target {
	return func(call *event.Call) []control.Target {
		arn := call.Get(path).String()
		own := "arn:" + cloud.Partition(call.Region) + ":iam::" + call.Account + ":policy/"
		if !strings.HasPrefix(arn, own) || !policyIDs.MatchString(arn) {
			return nil
		}
		return []control.Target{{Region: home(call.Region), ID: arn}}
	}
}

// inlinePolicy finds the inline policy that was put.
func inlinePolicy(call *event.Call) []control.Target {
	var a act
	if !a.read(call, readings[call.Name]) {
		return nil
	}
	return []control.Target{{Region: home(call.Region), ID: a.on + " " + a.what}}
}

// listFullRights finds the policies that give full rights, or may: their texts
// come with the list, and IAM takes few calls a second of an account. They are
// listed in one Region.
func listFullRights(ctx context.Context, session *cloud.Session) iter.Seq2[control.Target, error] {
	return func(yield func(control.Target, error) bool) {
		if session.Region != home(session.Region) {
			return
		}
		account, err := reader{session}.account(ctx)
		if err != nil {
			yield(control.Target{}, err)
			return
		}
		for _, id := range suspects(account) {
			if !yield(control.Target{Account: session.Account, Region: session.Region, Type: typePolicy, ID: id}, nil) {
				return
			}
		}
	}
}

// suspects are the IDs of an account's own policies that give full rights, or
// can't be understood.
func suspects(account *iampolicy.Account) []string {
	found := map[string]bool{}
	check := func(d *iampolicy.Document, id string) {
		if d == nil {
			found[id] = true
		} else if admin, _ := d.Admin(); admin != iampolicy.No {
			found[id] = true
		}
	}
	for arn, versions := range account.Policies {
		for _, v := range versions {
			if v.Default {
				check(v.Document, arn)
			}
		}
	}
	for _, p := range account.Principals {
		for _, policy := range p.Policies {
			if policy.ARN == "" && policy.Group == "" {
				check(policy.Document, string(p.Type)+"/"+p.Name()+" "+policy.Name)
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// fullRights plans how policies with full rights are taken from those who should
// not have them.
type fullRights struct{ identities *control.Identities }

func (f *fullRights) plan(ctx context.Context, session *cloud.Session, t control.Target) (*grant.Plan, error) {
	r := reader{session}
	if strings.HasPrefix(t.ID, "arn:") {
		return f.managed(ctx, r, t.ID)
	}
	principal, policy, _ := strings.Cut(t.ID, " ")
	return f.inline(ctx, r, principal, policy)
}

func (f *fullRights) managed(ctx context.Context, r reader, arn string) (*grant.Plan, error) {
	policy, err := there(r.client().GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: aws.String(arn)}))
	if err != nil {
		return nil, fmt.Errorf("get policy %s: %w", arn, err)
	}
	if policy == nil {
		return nil, fmt.Errorf("get policy %s: %w", arn, control.ErrGone)
	}
	version, err := r.version(ctx, arn, policy.Policy.DefaultVersionId)
	if err != nil {
		return nil, err
	}
	if version == nil {
		return nil, fmt.Errorf("read policy %s: its default version is being changed", arn)
	}
	g, untold := understand("Policy "+arn, version.Document)
	if g == nil {
		return untold, nil
	}
	names, err := r.holders(ctx, arn)
	if err != nil {
		return nil, err
	}
	holders, err := f.holders(ctx, r, names)
	if err != nil {
		return nil, err
	}
	if len(holders) == 0 {
		return unused(g, policy.Policy), nil
	}
	return g.detach(arn, holders), nil
}

// unused is the report of a policy that nobody has; nil if it is a permissions
// boundary, which gives nothing.
func unused(g *full, policy *types.Policy) *grant.Plan {
	if aws.ToInt32(policy.PermissionsBoundaryUsageCount) > 0 {
		return nil
	}
	return &grant.Plan{Reason: g.sentence() + ". Nobody has it: delete it before somebody gets it."}
}

func (f *fullRights) inline(ctx context.Context, r reader, principal, name string) (*grant.Plan, error) {
	what := fmt.Sprintf("Inline policy %s of %s", name, principal)
	text, err := there(r.inlineText(ctx, principal, name))
	if err != nil {
		return nil, fmt.Errorf("get policy %s of %s: %w", name, principal, err)
	}
	var g *full
	if text != nil {
		var untold *grant.Plan
		if g, untold = understand(what, text); g == nil {
			return untold, nil
		}
	}
	h, err := f.holder(ctx, r, principal)
	switch {
	case err != nil:
		return nil, err
	case h == nil:
		return nil, fmt.Errorf("get %s: %w", principal, control.ErrGone)
	case g == nil || h.allowed:
		return nil, nil
	}
	plan := &grant.Plan{Reason: g.sentence() + "."}
	if h.keeps != "" {
		plan.Left = []string{what + " stays: " + h.keeps + "."}
		return plan, nil
	}
	plan.Touches = []string{h.arn}
	plan.Edits = []grant.Edit{{
		Setting: grant.Setting{Kind: grant.InlinePolicy, Entity: h.entity(), Name: name, Value: aws.String(g.document.String())},
		To:      g.rest(),
	}}
	return plan, nil
}

// inlineText reads the text of an inline policy of a principal such as
// "user/alice".
func (r reader) inlineText(ctx context.Context, principal, policy string) (*string, error) {
	kind, name, _ := strings.Cut(principal, "/")
	of := map[string]func(string) source{"user": r.ofUser, "group": r.ofGroup, "role": r.ofRole}[kind]
	return of(name).text(ctx, &policy)
}

// full is a policy that gives full rights.
type full struct {
	what       string // "Policy arn:…"
	document   *iampolicy.Document
	admin      iampolicy.Answer
	statements []int // by which it does
}

// understand judges the text of a policy as IAM returns it. It is nil where the
// policy does not give full rights, and where that can't be told: then there is a
// report.
func understand(what string, text *string) (*full, *grant.Plan) {
	d, err := iampolicy.Parse(aws.ToString(text))
	if err != nil {
		return nil, &grant.Plan{Reason: fmt.Sprintf("Whether %s gives full administrative rights can't be told: %v.", what, err)}
	}
	g := &full{what: what, document: d}
	if g.admin, g.statements = d.Admin(); g.admin == iampolicy.No {
		return nil, nil
	}
	return g, nil
}

// sentence says what is wrong, without a full stop.
func (g *full) sentence() string {
	s := fmt.Sprintf("%s gives full administrative rights by %d of its %d statements", g.what, len(g.statements), len(g.document.Statements))
	if g.admin == iampolicy.Conditional {
		s += ", under conditions"
	}
	return s
}

// rest is the document without the statements that give full rights; nil if none
// is left: IAM takes no document without statements.
func (g *full) rest() *string {
	rest := g.document.Without(g.statements...)
	if len(rest.Statements) == 0 {
		return nil
	}
	return aws.String(rest.String())
}

// detach takes a managed policy from all who may be changed; nil if all who have
// it may have it.
func (g *full) detach(arn string, holders []holder) *grant.Plan {
	var plan grant.Plan
	var names []string
	administrators := 0
	for _, h := range holders {
		names = append(names, h.entity())
		switch {
		case h.allowed:
			administrators++
		case h.keeps != "":
			plan.Left = append(plan.Left, h.entity()+" keeps it: "+h.keeps+".")
		default:
			plan.Touches = append(plan.Touches, h.arn)
			plan.Edits = append(plan.Edits, grant.Edit{Setting: grant.Setting{
				Kind: grant.AttachedPolicy, Entity: h.entity(), Name: arn, Value: aws.String("attached"),
			}})
		}
	}
	if administrators == len(holders) {
		return nil
	}
	plan.Reason = fmt.Sprintf("%s, to %d in all: %s", g.sentence(), len(names), strings.Join(names[:min(len(names), named)], ", "))
	if len(names) > named {
		plan.Reason += fmt.Sprintf(" and %d more", len(names)-named)
	}
	if administrators > 0 {
		plan.Reason += fmt.Sprintf("; %d of them may have it, as administrators by the baseline", administrators)
	}
	plan.Reason += "."
	return &plan
}

// named is how many of those who have a policy the reason names.
const named = 20

// holder is who has a policy: a user, group or role.
type holder struct {
	arn string
	// allowed says that he may have it: the baseline lists him as an administrator or,
	// of a group, all who are in it.
	allowed bool
	// keeps says why nothing is changed of him; empty if it may be.
	keeps string
}

// entity is the holder as his ARN names him: "user/team/alice".
func (h *holder) entity() string { return resourceOf(h.arn) }

func resourceOf(arn string) string {
	fields := strings.SplitN(arn, ":", 6) // arn:partition:service:region:account:resource
	return fields[len(fields)-1]
}

// atOnce is how many holders are read at once: IAM takes few calls a second of an
// account.
const atOnce = 10

// holders reads who has a policy, given as in "user/alice", sorted by their ARNs.
func (f *fullRights) holders(ctx context.Context, r reader, names []string) ([]holder, error) {
	var whole []holder
	for some := range slices.Chunk(names, atOnce) {
		found, err := each(some, func(name string) (*holder, error) { return f.holder(ctx, r, name) })
		if err != nil {
			return nil, err
		}
		whole = append(whole, found...)
	}
	slices.SortFunc(whole, func(a, b holder) int { return cmp.Compare(a.arn, b.arn) })
	return whole, nil
}

// holder reads one; nil if he is gone.
func (f *fullRights) holder(ctx context.Context, r reader, principal string) (*holder, error) {
	kind, name, _ := strings.Cut(principal, "/")
	switch kind {
	case "user":
		out, err := there(r.client().GetUser(ctx, &iam.GetUserInput{UserName: aws.String(name)}))
		if err != nil || out == nil {
			return nil, attempted("get user "+name, err)
		}
		return f.single(aws.ToString(out.User.Arn)), nil
	case "role":
		out, err := there(r.client().GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(name)}))
		if err != nil || out == nil {
			return nil, attempted("get role "+name, err)
		}
		return f.single(aws.ToString(out.Role.Arn)), nil
	}
	return f.group(ctx, r, name)
}

// single judges a user or a role.
func (f *fullRights) single(arn string) *holder {
	h := &holder{arn: arn, allowed: f.identities.Administrator(arn)}
	switch entity := h.entity(); {
	case f.identities.Untouched(arn):
		h.keeps = "the baseline protects it"
	case h.allowed:
		h.keeps = "the baseline lists it as an administrator"
	// Sources: IAM Identity Center user guide, "Referencing permission sets in resource
	// policies"; IAM user guide, "Create a service-linked role".
	case strings.HasPrefix(entity, "role/aws-reserved/"):
		h.keeps = "AWS lets nobody edit it: change its permission set in IAM Identity Center"
	case strings.HasPrefix(entity, "role/aws-service-role/"):
		h.keeps = "it belongs to an AWS service, which alone can edit it"
	case strings.HasPrefix(entity, "role/snapback-"):
		h.keeps = "it is Snapback's own"
	}
	return h
}

// group judges a group by itself and by those who are in it: what it loses, they
// lose.
func (f *fullRights) group(ctx context.Context, r reader, name string) (*holder, error) {
	var arn string
	members, err := all(ctx, "get group "+name,
		iam.NewGetGroupPaginator(r.client(), &iam.GetGroupInput{GroupName: aws.String(name), MaxItems: aws.Int32(1000)}),
		func(o *iam.GetGroupOutput) []types.User {
			arn = aws.ToString(o.Group.Arn)
			return o.Users
		})
	if err != nil || arn == "" {
		return nil, err
	}
	h := f.single(arn)
	administrators := 0
	for _, m := range members {
		who := f.single(aws.ToString(m.Arn))
		if who.allowed {
			administrators++
		}
		if h.keeps == "" && who.keeps != "" {
			h.keeps = who.entity() + " is in it, and " + strings.Replace(who.keeps, " it", " him", 1)
		}
	}
	h.allowed = h.allowed || len(members) > 0 && administrators == len(members)
	return h, nil
}

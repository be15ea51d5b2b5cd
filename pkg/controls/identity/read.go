package identity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

// readPermissions are the calls that a reader makes. Source of the resources:
// service authorization reference, AWS Identity and Access Management.
var readPermissions = slices.Concat(
	readPermission("user/*", "GetUser", "ListAttachedUserPolicies", "ListUserPolicies", "GetUserPolicy",
		"ListGroupsForUser", "ListAccessKeys", "GetLoginProfile"),
	readPermission("group/*", "GetGroup", "ListAttachedGroupPolicies", "ListGroupPolicies", "GetGroupPolicy"),
	readPermission("role/*", "GetRole", "ListAttachedRolePolicies", "ListRolePolicies", "GetRolePolicy", "ListInstanceProfilesForRole"),
	readPermission("instance-profile/*", "GetInstanceProfile"),
	readPermission("policy/*", "GetPolicy", "GetPolicyVersion", "ListPolicyVersions", "ListEntitiesForPolicy"),
	[]control.Permission{{Call: "IAM.GetAccountAuthorizationDetails", Action: "iam:GetAccountAuthorizationDetails", Resource: "*"}},
)

// readPermission allows calls on resources of the account and, of managed
// policies, on AWS's own.
func readPermission(resource string, calls ...string) []control.Permission {
	owners := []string{"${Account}"}
	if strings.HasPrefix(resource, "policy/") {
		owners = append(owners, "aws")
	}
	var all []control.Permission
	for _, call := range calls {
		for _, owner := range owners {
			all = append(all, control.Permission{
				Call: "IAM." + call, Action: "iam:" + call, Resource: "arn:${Partition}:iam::" + owner + ":" + resource,
			})
		}
	}
	return all
}

// reader reads principals and policies of a session's account, with as few serial
// round trips as there are layers. What is not there is nil without an error; a
// document that can't be understood leaves a nil Document.
//
// What vanishes between two calls is left out, but for a boundary and for the
// version of a policy that is still there: without these a principal would seem
// to have more or fewer rights than it has, so they stay, with a nil Document.
type reader struct{ session *cloud.Session }

// user reads a user with his own policies, those of his groups, boundary, tags,
// and number of access keys.
func (r reader) user(ctx context.Context, name string) (*iampolicy.Principal, error) {
	var (
		user           *types.User
		own, inherited []iampolicy.Policy
		p              = &iampolicy.Principal{Type: iampolicy.User}
	)
	err := sideBySide(
		func() (err error) { user, p.Boundary, err = r.getUser(ctx, name); return err },
		func() (err error) { own, err = r.policies(ctx, r.ofUser(name)); return err },
		func() (err error) { p.Groups, inherited, err = r.groups(ctx, name); return err },
		func() (err error) { p.Keys, err = r.keys(ctx, name); return err },
		func() (err error) { p.Password, err = r.password(ctx, name); return err },
	)
	if err != nil || user == nil {
		return nil, err
	}
	p.ARN, p.ID, p.Tags = aws.ToString(user.Arn), aws.ToString(user.UserId), tags(user.Tags)
	p.Policies = slices.Concat(own, inherited)
	return p, nil
}

// role reads a role with its policies, boundary, trust policy and tags.
func (r reader) role(ctx context.Context, name string) (*iampolicy.Principal, error) {
	var role *types.Role
	p := &iampolicy.Principal{Type: iampolicy.Role}
	err := sideBySide(
		func() (err error) { role, p.Boundary, err = r.getRole(ctx, name); return err },
		func() (err error) { p.Policies, err = r.policies(ctx, r.ofRole(name)); return err },
		func() (err error) { p.Profile, err = r.inProfile(ctx, name); return err },
	)
	if err != nil || role == nil {
		return nil, err
	}
	p.ARN, p.ID, p.Tags = aws.ToString(role.Arn), aws.ToString(role.RoleId), tags(role.Tags)
	p.Trust = parse(role.AssumeRolePolicyDocument)
	return p, nil
}

// group reads a group with its policies.
func (r reader) group(ctx context.Context, name string) (*iampolicy.Principal, error) {
	var found *iam.GetGroupOutput
	p := &iampolicy.Principal{Type: iampolicy.Group}
	err := sideBySide(
		func() (err error) {
			// Its users, of which there may be thousands, are not asked for.
			found, err = there(r.client().GetGroup(ctx, &iam.GetGroupInput{GroupName: aws.String(name), MaxItems: aws.Int32(1)}))
			return attempted("get group "+name, err)
		},
		func() (err error) { p.Policies, err = r.policies(ctx, r.ofGroup(name)); return err },
	)
	if err != nil || found == nil {
		return nil, err
	}
	p.ARN, p.ID = aws.ToString(found.Group.Arn), aws.ToString(found.Group.GroupId)
	return p, nil
}

// versions reads a managed policy with all of its versions, newest first.
func (r reader) versions(ctx context.Context, arn string) ([]iampolicy.PolicyVersion, error) {
	list, err := all(ctx, "list the versions of policy "+arn,
		iam.NewListPolicyVersionsPaginator(r.client(), &iam.ListPolicyVersionsInput{PolicyArn: aws.String(arn)}),
		func(o *iam.ListPolicyVersionsOutput) []types.PolicyVersion { return o.Versions })
	if err != nil {
		return nil, err
	}
	read, err := each(list, func(v types.PolicyVersion) (*iampolicy.PolicyVersion, error) {
		found, err := r.version(ctx, arn, v.VersionId)
		if err != nil || found == nil {
			return nil, err
		}
		return new(policyVersion(*found)), nil
	})
	return newestFirst(read), err
}

// holders are the names of the users, groups and roles to which a managed policy
// is attached, as in "user/alice".
func (r reader) holders(ctx context.Context, arn string) ([]string, error) {
	names, err := all(ctx, "list who has policy "+arn,
		iam.NewListEntitiesForPolicyPaginator(r.client(), &iam.ListEntitiesForPolicyInput{
			PolicyArn: aws.String(arn),
			// Without it those are named too whose boundary it is (IAM API reference,
			// ListEntitiesForPolicy).
			PolicyUsageFilter: types.PolicyUsageTypePermissionsPolicy,
		}),
		func(o *iam.ListEntitiesForPolicyOutput) (names []string) {
			for _, u := range o.PolicyUsers {
				names = append(names, "user/"+aws.ToString(u.UserName))
			}
			for _, g := range o.PolicyGroups {
				names = append(names, "group/"+aws.ToString(g.GroupName))
			}
			for _, role := range o.PolicyRoles {
				names = append(names, "role/"+aws.ToString(role.RoleName))
			}
			return names
		})
	slices.Sort(names)
	return names, err
}

// profileRole is the name of the role in an instance profile; empty if there is
// none. A profile has one at most (IAM user guide, "Use instance profiles").
func (r reader) profileRole(ctx context.Context, name string) (string, error) {
	out, err := there(r.client().GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: aws.String(name)}))
	if err != nil || out == nil || len(out.InstanceProfile.Roles) == 0 {
		return "", attempted("get instance profile "+name, err)
	}
	return aws.ToString(out.InstanceProfile.Roles[0].RoleName), nil
}

func (r reader) client() *iam.Client {
	return cloud.Client(r.session, func(cfg aws.Config) *iam.Client { return iam.NewFromConfig(cfg) })
}

func (r reader) getUser(ctx context.Context, name string) (*types.User, *iampolicy.Policy, error) {
	out, err := there(r.client().GetUser(ctx, &iam.GetUserInput{UserName: aws.String(name)}))
	if err != nil || out == nil {
		return nil, nil, attempted("get user "+name, err)
	}
	boundary, err := r.boundary(ctx, out.User.PermissionsBoundary)
	return out.User, boundary, err
}

func (r reader) getRole(ctx context.Context, name string) (*types.Role, *iampolicy.Policy, error) {
	out, err := there(r.client().GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(name)}))
	if err != nil || out == nil {
		return nil, nil, attempted("get role "+name, err)
	}
	boundary, err := r.boundary(ctx, out.Role.PermissionsBoundary)
	return out.Role, boundary, err
}

func (r reader) boundary(ctx context.Context, b *types.AttachedPermissionsBoundary) (*iampolicy.Policy, error) {
	if b == nil {
		return nil, nil
	}
	arn := aws.ToString(b.PermissionsBoundaryArn)
	p, err := r.managed(ctx, arn)
	if p == nil {
		p = &iampolicy.Policy{Name: lastPart(arn), ARN: arn}
	}
	return p, err
}

// groups are the names of a user's groups, and the policies that they give him.
func (r reader) groups(ctx context.Context, user string) (names []string, inherited []iampolicy.Policy, err error) {
	list, err := all(ctx, "list the groups of user "+user,
		iam.NewListGroupsForUserPaginator(r.client(), &iam.ListGroupsForUserInput{UserName: aws.String(user)}),
		func(o *iam.ListGroupsForUserOutput) []types.Group { return o.Groups })
	for _, g := range list {
		names = append(names, aws.ToString(g.GroupName))
	}
	if err != nil {
		return nil, nil, err
	}
	slices.Sort(names)
	given, err := each(names, func(name string) (*[]iampolicy.Policy, error) {
		policies, err := r.policies(ctx, r.ofGroup(name))
		return new(ofGroup(name, policies)), err
	})
	return names, slices.Concat(given...), err
}

// ofGroup are the policies of a group as a user has them who is in it.
func ofGroup(name string, policies []iampolicy.Policy) []iampolicy.Policy {
	policies = slices.Clone(policies)
	for i := range policies {
		policies[i].Group = name
	}
	return policies
}

func (r reader) keys(ctx context.Context, user string) (int, error) {
	list, err := all(ctx, "list the access keys of user "+user,
		iam.NewListAccessKeysPaginator(r.client(), &iam.ListAccessKeysInput{UserName: aws.String(user)}),
		func(o *iam.ListAccessKeysOutput) []types.AccessKeyMetadata { return o.AccessKeyMetadata })
	return len(list), err
}

// password reports whether a user has a login profile: IAM answers NoSuchEntity
// where he has none (IAM API reference, GetLoginProfile).
func (r reader) password(ctx context.Context, user string) (bool, error) {
	out, err := there(r.client().GetLoginProfile(ctx, &iam.GetLoginProfileInput{UserName: aws.String(user)}))
	return out != nil, attempted("get the login profile of user "+user, err)
}

func (r reader) inProfile(ctx context.Context, role string) (bool, error) {
	list, err := all(ctx, "list the instance profiles of role "+role,
		iam.NewListInstanceProfilesForRolePaginator(r.client(), &iam.ListInstanceProfilesForRoleInput{RoleName: aws.String(role)}),
		func(o *iam.ListInstanceProfilesForRoleOutput) []types.InstanceProfile { return o.InstanceProfiles })
	return len(list) > 0, err
}

// source is where the policies of one principal are read.
type source struct {
	who      string // "user alice"
	attached func(context.Context) ([]types.AttachedPolicy, error)
	inline   func(context.Context) ([]string, error)
	text     func(ctx context.Context, name *string) (*string, error) // of an inline policy
}

func (r reader) ofUser(name string) source {
	c, who := r.client(), "user "+name
	return source{
		who: who,
		attached: func(ctx context.Context) ([]types.AttachedPolicy, error) {
			return all(ctx, "list the policies attached to "+who,
				iam.NewListAttachedUserPoliciesPaginator(c, &iam.ListAttachedUserPoliciesInput{UserName: &name}),
				func(o *iam.ListAttachedUserPoliciesOutput) []types.AttachedPolicy { return o.AttachedPolicies })
		},
		inline: func(ctx context.Context) ([]string, error) {
			return all(ctx, "list the inline policies of "+who,
				iam.NewListUserPoliciesPaginator(c, &iam.ListUserPoliciesInput{UserName: &name}),
				func(o *iam.ListUserPoliciesOutput) []string { return o.PolicyNames })
		},
		text: func(ctx context.Context, policy *string) (*string, error) {
			out, err := c.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: &name, PolicyName: policy})
			if err != nil {
				return nil, err
			}
			return out.PolicyDocument, nil
		},
	}
}

func (r reader) ofGroup(name string) source {
	c, who := r.client(), "group "+name
	return source{
		who: who,
		attached: func(ctx context.Context) ([]types.AttachedPolicy, error) {
			return all(ctx, "list the policies attached to "+who,
				iam.NewListAttachedGroupPoliciesPaginator(c, &iam.ListAttachedGroupPoliciesInput{GroupName: &name}),
				func(o *iam.ListAttachedGroupPoliciesOutput) []types.AttachedPolicy { return o.AttachedPolicies })
		},
		inline: func(ctx context.Context) ([]string, error) {
			return all(ctx, "list the inline policies of "+who,
				iam.NewListGroupPoliciesPaginator(c, &iam.ListGroupPoliciesInput{GroupName: &name}),
				func(o *iam.ListGroupPoliciesOutput) []string { return o.PolicyNames })
		},
		text: func(ctx context.Context, policy *string) (*string, error) {
			out, err := c.GetGroupPolicy(ctx, &iam.GetGroupPolicyInput{GroupName: &name, PolicyName: policy})
			if err != nil {
				return nil, err
			}
			return out.PolicyDocument, nil
		},
	}
}

func (r reader) ofRole(name string) source {
	c, who := r.client(), "role "+name
	return source{
		who: who,
		attached: func(ctx context.Context) ([]types.AttachedPolicy, error) {
			return all(ctx, "list the policies attached to "+who,
				iam.NewListAttachedRolePoliciesPaginator(c, &iam.ListAttachedRolePoliciesInput{RoleName: &name}),
				func(o *iam.ListAttachedRolePoliciesOutput) []types.AttachedPolicy { return o.AttachedPolicies })
		},
		inline: func(ctx context.Context) ([]string, error) {
			return all(ctx, "list the inline policies of "+who,
				iam.NewListRolePoliciesPaginator(c, &iam.ListRolePoliciesInput{RoleName: &name}),
				func(o *iam.ListRolePoliciesOutput) []string { return o.PolicyNames })
		},
		text: func(ctx context.Context, policy *string) (*string, error) {
			out, err := c.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &name, PolicyName: policy})
			if err != nil {
				return nil, err
			}
			return out.PolicyDocument, nil
		},
	}
}

// policies reads the inline and the managed policies of one principal.
func (r reader) policies(ctx context.Context, s source) ([]iampolicy.Policy, error) {
	var inline, attached []iampolicy.Policy
	err := sideBySide(
		func() error {
			names, err := s.inline(ctx)
			if err != nil {
				return err
			}
			inline, err = each(names, func(name string) (*iampolicy.Policy, error) { return s.read(ctx, name) })
			return err
		},
		func() error {
			list, err := s.attached(ctx)
			if err != nil {
				return err
			}
			attached, err = each(list, func(a types.AttachedPolicy) (*iampolicy.Policy, error) {
				return r.managed(ctx, aws.ToString(a.PolicyArn))
			})
			return err
		},
	)
	return inOrder(slices.Concat(inline, attached)), err
}

// inOrder sorts the policies of a principal: IAM promises no order.
func inOrder(policies []iampolicy.Policy) []iampolicy.Policy {
	slices.SortFunc(policies, func(a, b iampolicy.Policy) int {
		return cmp.Or(cmp.Compare(a.ARN, b.ARN), cmp.Compare(a.Name, b.Name))
	})
	return policies
}

// read reads an inline policy; nil if it is gone.
func (s source) read(ctx context.Context, name string) (*iampolicy.Policy, error) {
	text, err := there(s.text(ctx, &name))
	if err != nil || text == nil {
		return nil, attempted("get policy "+name+" of "+s.who, err)
	}
	return &iampolicy.Policy{Name: name, Document: parse(text)}, nil
}

// managed reads a managed policy with the document of its default version; nil
// if it is gone.
func (r reader) managed(ctx context.Context, arn string) (*iampolicy.Policy, error) {
	out, err := there(r.client().GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: aws.String(arn)}))
	if err != nil || out == nil {
		return nil, attempted("get policy "+arn, err)
	}
	p := &iampolicy.Policy{Name: lastPart(arn), ARN: arn}
	v, err := r.version(ctx, arn, out.Policy.DefaultVersionId)
	if v != nil {
		p.Document = parse(v.Document)
	}
	return p, err
}

// version reads one version of a managed policy; nil if it is gone.
func (r reader) version(ctx context.Context, arn string, id *string) (*types.PolicyVersion, error) {
	out, err := there(r.client().GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: aws.String(arn), VersionId: id}))
	if err != nil || out == nil {
		return nil, attempted("get version "+aws.ToString(id)+" of policy "+arn, err)
	}
	return out.PolicyVersion, nil
}

func policyVersion(v types.PolicyVersion) iampolicy.PolicyVersion {
	return iampolicy.PolicyVersion{ID: aws.ToString(v.VersionId), Default: v.IsDefaultVersion, Document: parse(v.Document)}
}

// newestFirst sorts versions by their numbers, which IAM counts up and gives to
// no other version once one is deleted (IAM user guide, "Versioning IAM policies").
func newestFirst(versions []iampolicy.PolicyVersion) []iampolicy.PolicyVersion {
	number := func(v iampolicy.PolicyVersion) int {
		digits, _, _ := strings.Cut(strings.TrimPrefix(v.ID, "v"), ".") // IAM may add a suffix (its API's versionId)
		n, _ := strconv.Atoi(digits)
		return n
	}
	slices.SortFunc(versions, func(a, b iampolicy.PolicyVersion) int { return cmp.Compare(number(b), number(a)) })
	return versions
}

// parse parses a document as IAM returns it; nil if it can't be understood.
func parse(text *string) *iampolicy.Document {
	d, err := iampolicy.Parse(aws.ToString(text))
	if err != nil {
		return nil
	}
	return d
}

func tags(list []types.Tag) map[string]string {
	all := make(map[string]string, len(list))
	for _, t := range list {
		all[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return all
}

func lastPart(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

// there is the answer to a call; nil without an error where IAM has no such
// thing.
func there[O any](out *O, err error) (*O, error) {
	if cloud.Is(err, "NoSuchEntity") {
		return nil, nil
	}
	return out, err
}

// attempted says of an error what was attempted; nil stays nil.
func attempted(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// all reads all pages of a list; empty if what it is about is gone.
func all[O, T any](ctx context.Context, what string, pages interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*iam.Options)) (*O, error)
}, items func(*O) []T) (list []T, err error) {
	for pages.HasMorePages() {
		page, err := there(pages.NextPage(ctx))
		if err != nil || page == nil {
			return nil, attempted(what, err)
		}
		list = append(list, items(page)...)
	}
	return list, nil
}

// each reads something of every one of a list, side by side, in the order of the
// list; nil is left out.
func each[T, R any](list []T, read func(T) (*R, error)) ([]R, error) {
	found, errs := make([]*R, len(list)), make([]error, len(list))
	var side sync.WaitGroup
	for i, of := range list {
		side.Go(func() { found[i], errs[i] = read(of) })
	}
	side.Wait()
	var kept []R
	for _, f := range found {
		if f != nil {
			kept = append(kept, *f)
		}
	}
	return kept, errors.Join(errs...)
}

// sideBySide does all at once and joins what went wrong.
func sideBySide(all ...func() error) error {
	_, err := each(all, func(do func() error) (*struct{}, error) { return nil, do() })
	return err
}

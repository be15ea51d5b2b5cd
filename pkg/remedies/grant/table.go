package grant

import (
	"context"
	"reflect"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
)

// row is the calls for the settings of one kind that one type of entity has.
type row struct {
	kind Kind
	of   string // "user", "group", "role", "policy"
	// alone: of all that a call to set it names, only what has the setting can be
	// missing, and then there is nothing left to set.
	alone bool
	read  reading
	set   writing
	clear writing // none: the setting always has a value
}

var rows = []row{
	{
		kind: AttachedPolicy, of: "user",
		read: listed(func(c *iam.Client, s at) pages[iam.ListAttachedUserPoliciesOutput] {
			return iam.NewListAttachedUserPoliciesPaginator(c, &iam.ListAttachedUserPoliciesInput{UserName: s.entity})
		}, func(o *iam.ListAttachedUserPoliciesOutput, s at) *string { return attached(o.AttachedPolicies, s) }),
		set: write((*iam.Client).AttachUserPolicy, func(s at) *iam.AttachUserPolicyInput {
			return &iam.AttachUserPolicyInput{UserName: s.entity, PolicyArn: s.name}
		}),
		clear: write((*iam.Client).DetachUserPolicy, func(s at) *iam.DetachUserPolicyInput {
			return &iam.DetachUserPolicyInput{UserName: s.entity, PolicyArn: s.name}
		}),
	},
	{
		kind: AttachedPolicy, of: "group",
		read: listed(func(c *iam.Client, s at) pages[iam.ListAttachedGroupPoliciesOutput] {
			return iam.NewListAttachedGroupPoliciesPaginator(c, &iam.ListAttachedGroupPoliciesInput{GroupName: s.entity})
		}, func(o *iam.ListAttachedGroupPoliciesOutput, s at) *string { return attached(o.AttachedPolicies, s) }),
		set: write((*iam.Client).AttachGroupPolicy, func(s at) *iam.AttachGroupPolicyInput {
			return &iam.AttachGroupPolicyInput{GroupName: s.entity, PolicyArn: s.name}
		}),
		clear: write((*iam.Client).DetachGroupPolicy, func(s at) *iam.DetachGroupPolicyInput {
			return &iam.DetachGroupPolicyInput{GroupName: s.entity, PolicyArn: s.name}
		}),
	},
	{
		kind: AttachedPolicy, of: "role",
		read: listed(func(c *iam.Client, s at) pages[iam.ListAttachedRolePoliciesOutput] {
			return iam.NewListAttachedRolePoliciesPaginator(c, &iam.ListAttachedRolePoliciesInput{RoleName: s.entity})
		}, func(o *iam.ListAttachedRolePoliciesOutput, s at) *string { return attached(o.AttachedPolicies, s) }),
		set: write((*iam.Client).AttachRolePolicy, func(s at) *iam.AttachRolePolicyInput {
			return &iam.AttachRolePolicyInput{RoleName: s.entity, PolicyArn: s.name}
		}),
		clear: write((*iam.Client).DetachRolePolicy, func(s at) *iam.DetachRolePolicyInput {
			return &iam.DetachRolePolicyInput{RoleName: s.entity, PolicyArn: s.name}
		}),
	},
	{
		kind: InlinePolicy, of: "user", alone: true,
		read: inline(
			one((*iam.Client).GetUserPolicy, func(s at) *iam.GetUserPolicyInput {
				return &iam.GetUserPolicyInput{UserName: s.entity, PolicyName: s.name}
			}, func(o *iam.GetUserPolicyOutput) (*string, error) { return decoded(o.PolicyDocument) }),
			one((*iam.Client).GetUser, userInput, func(*iam.GetUserOutput) (*string, error) { return nil, nil }),
		),
		set: write((*iam.Client).PutUserPolicy, func(s at) *iam.PutUserPolicyInput {
			return &iam.PutUserPolicyInput{UserName: s.entity, PolicyName: s.name, PolicyDocument: s.value}
		}),
		clear: write((*iam.Client).DeleteUserPolicy, func(s at) *iam.DeleteUserPolicyInput {
			return &iam.DeleteUserPolicyInput{UserName: s.entity, PolicyName: s.name}
		}),
	},
	{
		kind: InlinePolicy, of: "group", alone: true,
		read: inline(
			one((*iam.Client).GetGroupPolicy, func(s at) *iam.GetGroupPolicyInput {
				return &iam.GetGroupPolicyInput{GroupName: s.entity, PolicyName: s.name}
			}, func(o *iam.GetGroupPolicyOutput) (*string, error) { return decoded(o.PolicyDocument) }),
			one((*iam.Client).GetGroup, func(s at) *iam.GetGroupInput {
				return &iam.GetGroupInput{GroupName: s.entity, MaxItems: aws.Int32(1)} // its users are not asked for
			}, func(*iam.GetGroupOutput) (*string, error) { return nil, nil }),
		),
		set: write((*iam.Client).PutGroupPolicy, func(s at) *iam.PutGroupPolicyInput {
			return &iam.PutGroupPolicyInput{GroupName: s.entity, PolicyName: s.name, PolicyDocument: s.value}
		}),
		clear: write((*iam.Client).DeleteGroupPolicy, func(s at) *iam.DeleteGroupPolicyInput {
			return &iam.DeleteGroupPolicyInput{GroupName: s.entity, PolicyName: s.name}
		}),
	},
	{
		kind: InlinePolicy, of: "role", alone: true,
		read: inline(
			one((*iam.Client).GetRolePolicy, func(s at) *iam.GetRolePolicyInput {
				return &iam.GetRolePolicyInput{RoleName: s.entity, PolicyName: s.name}
			}, func(o *iam.GetRolePolicyOutput) (*string, error) { return decoded(o.PolicyDocument) }),
			one((*iam.Client).GetRole, roleInput, func(*iam.GetRoleOutput) (*string, error) { return nil, nil }),
		),
		set: write((*iam.Client).PutRolePolicy, func(s at) *iam.PutRolePolicyInput {
			return &iam.PutRolePolicyInput{RoleName: s.entity, PolicyName: s.name, PolicyDocument: s.value}
		}),
		clear: write((*iam.Client).DeleteRolePolicy, func(s at) *iam.DeleteRolePolicyInput {
			return &iam.DeleteRolePolicyInput{RoleName: s.entity, PolicyName: s.name}
		}),
	},
	{
		kind: DefaultVersion, of: "policy",
		read: one((*iam.Client).GetPolicy, func(s at) *iam.GetPolicyInput { return &iam.GetPolicyInput{PolicyArn: s.entity} },
			func(o *iam.GetPolicyOutput) (*string, error) { return o.Policy.DefaultVersionId, nil }),
		set: write((*iam.Client).SetDefaultPolicyVersion, func(s at) *iam.SetDefaultPolicyVersionInput {
			return &iam.SetDefaultPolicyVersionInput{PolicyArn: s.entity, VersionId: s.value}
		}),
	},
	{
		kind: Membership, of: "user",
		read: listed(func(c *iam.Client, s at) pages[iam.ListGroupsForUserOutput] {
			return iam.NewListGroupsForUserPaginator(c, &iam.ListGroupsForUserInput{UserName: s.entity})
		}, func(o *iam.ListGroupsForUserOutput, s at) *string { return member(o.Groups, s) }),
		set: write((*iam.Client).AddUserToGroup, func(s at) *iam.AddUserToGroupInput {
			return &iam.AddUserToGroupInput{UserName: s.entity, GroupName: s.name}
		}),
		clear: write((*iam.Client).RemoveUserFromGroup, func(s at) *iam.RemoveUserFromGroupInput {
			return &iam.RemoveUserFromGroupInput{UserName: s.entity, GroupName: s.name}
		}),
	},
	{
		kind: Trust, of: "role", alone: true,
		read: one((*iam.Client).GetRole, roleInput,
			func(o *iam.GetRoleOutput) (*string, error) { return decoded(o.Role.AssumeRolePolicyDocument) }),
		set: write((*iam.Client).UpdateAssumeRolePolicy, func(s at) *iam.UpdateAssumeRolePolicyInput {
			return &iam.UpdateAssumeRolePolicyInput{RoleName: s.entity, PolicyDocument: s.value}
		}),
	},
	{
		kind: AccessKey, of: "user", alone: true,
		read: listed(func(c *iam.Client, s at) pages[iam.ListAccessKeysOutput] {
			return iam.NewListAccessKeysPaginator(c, &iam.ListAccessKeysInput{UserName: s.entity})
		}, func(o *iam.ListAccessKeysOutput, s at) *string { return status(o.AccessKeyMetadata, s) }),
		set: write((*iam.Client).UpdateAccessKey, func(s at) *iam.UpdateAccessKeyInput {
			return &iam.UpdateAccessKeyInput{UserName: s.entity, AccessKeyId: s.name, Status: types.StatusType(*s.value)}
		}),
	},
	{
		kind: Boundary, of: "user",
		read: one((*iam.Client).GetUser, userInput, func(o *iam.GetUserOutput) (*string, error) { return boundary(o.User.PermissionsBoundary), nil }),
		set: write((*iam.Client).PutUserPermissionsBoundary, func(s at) *iam.PutUserPermissionsBoundaryInput {
			return &iam.PutUserPermissionsBoundaryInput{UserName: s.entity, PermissionsBoundary: s.value}
		}),
		clear: write((*iam.Client).DeleteUserPermissionsBoundary, func(s at) *iam.DeleteUserPermissionsBoundaryInput {
			return &iam.DeleteUserPermissionsBoundaryInput{UserName: s.entity}
		}),
	},
	{
		kind: Boundary, of: "role",
		read: one((*iam.Client).GetRole, roleInput, func(o *iam.GetRoleOutput) (*string, error) { return boundary(o.Role.PermissionsBoundary), nil }),
		set: write((*iam.Client).PutRolePermissionsBoundary, func(s at) *iam.PutRolePermissionsBoundaryInput {
			return &iam.PutRolePermissionsBoundaryInput{RoleName: s.entity, PermissionsBoundary: s.value}
		}),
		clear: write((*iam.Client).DeleteRolePermissionsBoundary, func(s at) *iam.DeleteRolePermissionsBoundaryInput {
			return &iam.DeleteRolePermissionsBoundaryInput{RoleName: s.entity}
		}),
	},
}

func userInput(s at) *iam.GetUserInput { return &iam.GetUserInput{UserName: s.entity} }

func roleInput(s at) *iam.GetRoleInput { return &iam.GetRoleInput{RoleName: s.entity} }

// attached is "attached" if the policy is on a list; nil if not.
func attached(list []types.AttachedPolicy, s at) *string {
	for _, p := range list {
		if aws.ToString(p.PolicyArn) == *s.name {
			return aws.String("attached")
		}
	}
	return nil
}

func member(list []types.Group, s at) *string {
	for _, g := range list {
		if aws.ToString(g.GroupName) == *s.name {
			return aws.String("member")
		}
	}
	return nil
}

func status(list []types.AccessKeyMetadata, s at) *string {
	for _, k := range list {
		if aws.ToString(k.AccessKeyId) == *s.name {
			return aws.String(string(k.Status))
		}
	}
	return nil
}

func boundary(b *types.AttachedPermissionsBoundary) *string {
	if b == nil {
		return nil
	}
	return b.PermissionsBoundaryArn
}

// reading reads the value of a setting: nil if it has none, NoSuchEntity if what
// should have it does not exist.
type reading struct {
	operations []string
	do         func(context.Context, *iam.Client, at) (*string, error)
}

// writing sets a setting.
type writing struct {
	operation string
	do        func(context.Context, *iam.Client, at) error
}

// call is an operation of IAM's client.
type call[I, O any] = func(*iam.Client, context.Context, *I, ...func(*iam.Options)) (*O, error)

// operation is the name of the operation that a type of the SDK belongs to, so
// that no permission can be another one than the call.
func operation[T any](suffix string) string {
	return strings.TrimSuffix(reflect.TypeFor[T]().Name(), suffix)
}

func write[I, O any](do call[I, O], in func(at) *I) writing {
	return writing{operation[I]("Input"), func(ctx context.Context, c *iam.Client, s at) error {
		_, err := do(c, ctx, in(s))
		return err
	}}
}

func one[I, O any](do call[I, O], in func(at) *I, value func(*O) (*string, error)) reading {
	return reading{[]string{operation[I]("Input")}, func(ctx context.Context, c *iam.Client, s at) (*string, error) {
		out, err := do(c, ctx, in(s))
		if err != nil {
			return nil, err
		}
		return value(out)
	}}
}

// inline reads an inline policy. Where there is none, whether what should have it
// exists has to be asked apart.
func inline(policy, entity reading) reading {
	return reading{append(policy.operations, entity.operations...), func(ctx context.Context, c *iam.Client, s at) (*string, error) {
		text, err := policy.do(ctx, c, s)
		if cloud.Is(err, noSuchEntity) {
			return entity.do(ctx, c, s)
		}
		return text, err
	}}
}

// pages are the pages of a list.
type pages[O any] interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*iam.Options)) (*O, error)
}

// listed reads a setting from a list.
func listed[O any](list func(*iam.Client, at) pages[O], find func(*O, at) *string) reading {
	return reading{[]string{operation[O]("Output")}, func(ctx context.Context, c *iam.Client, s at) (*string, error) {
		for all := list(c, s); all.HasMorePages(); {
			page, err := all.NextPage(ctx)
			if err != nil {
				return nil, err
			}
			if found := find(page, s); found != nil {
				return found, nil
			}
		}
		return nil, nil
	}}
}

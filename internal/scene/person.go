package scene

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// Administrator is the policy that somebody attaches to himself.
const Administrator = "arn:aws:iam::aws:policy/AdministratorAccess"

// Person is a user of an account, who holds more than he should: he may attach
// any policy to any user.
type Person struct {
	Name string
	Key  string // "AKIA…"

	cfg aws.Config
}

// MakePerson makes a user of the account of cfg, with an access key, in a group
// of his own.
func MakePerson(ctx context.Context, cfg aws.Config, name string) (*Person, error) {
	p := &Person{Name: name, cfg: cfg}
	c, group := p.iam(), name+"-team"
	for _, do := range []func() error{
		func() error { _, err := c.CreateUser(ctx, &iam.CreateUserInput{UserName: &name}); return err },
		func() error { _, err := c.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: &group}); return err },
		func() error {
			_, err := c.PutGroupPolicy(ctx, &iam.PutGroupPolicyInput{
				GroupName: &group, PolicyName: aws.String("reads"),
				PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:Get*","Resource":"arn:aws:s3:::example-reports/*"}}`),
			})
			return err
		},
		func() error {
			_, err := c.AddUserToGroup(ctx, &iam.AddUserToGroupInput{UserName: &name, GroupName: &group})
			return err
		},
		func() error {
			_, err := c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{
				UserName: &name, PolicyName: aws.String("onboarding"),
				PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["iam:AttachUserPolicy","iam:List*"],"Resource":"*"}}`),
			})
			return err
		},
		func() error {
			out, err := c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name})
			if err == nil {
				p.Key = aws.ToString(out.AccessKey.AccessKeyId)
			}
			return err
		},
	} {
		if err := do(); err != nil {
			return nil, fmt.Errorf("make user %s: %w", name, err)
		}
	}
	return p, nil
}

func (p *Person) iam() *iam.Client { return iam.NewFromConfig(p.cfg) }

// Raise lets the user attach AdministratorAccess to himself.
func (p *Person) Raise(ctx context.Context) error {
	_, err := p.iam().AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: &p.Name, PolicyArn: aws.String(Administrator)})
	return err
}

// Denied reports whether the user may do nothing any more: he is denied
// everything, and no key of his is active.
func (p *Person) Denied(ctx context.Context) (bool, error) {
	w, err := IAM(ctx, p.cfg)
	if err != nil {
		return false, err
	}
	user := "user " + p.Name + " "
	return strings.HasSuffix(w[user+"boundary"], ":policy/AWSDenyAll") && !strings.Contains(w[user+"keys"], "Active"), nil
}

// IAM is all that is set in an account's IAM and says who may do what: users,
// groups, roles, their policies, boundaries, keys and passwords, and the default
// versions, by their IDs, of customer managed policies.
func IAM(ctx context.Context, cfg aws.Config) (World, error) {
	c, w := iam.NewFromConfig(cfg), World{}
	pages := iam.NewGetAccountAuthorizationDetailsPaginator(c, &iam.GetAccountAuthorizationDetailsInput{
		Filter: []types.EntityType{types.EntityTypeUser, types.EntityTypeRole, types.EntityTypeGroup, types.EntityTypeLocalManagedPolicy},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the account's IAM: %w", err)
		}
		for _, u := range page.UserDetailList {
			name := "user " + aws.ToString(u.UserName) + " "
			w.policies(name, u.AttachedManagedPolicies, u.UserPolicyList, u.PermissionsBoundary)
			w.set(name+"groups", strings.Join(slices.Sorted(slices.Values(u.GroupList)), " "))
			if err := w.signIn(ctx, c, aws.ToString(u.UserName)); err != nil {
				return nil, err
			}
		}
		for _, g := range page.GroupDetailList {
			w.policies("group "+aws.ToString(g.GroupName)+" ", g.AttachedManagedPolicies, g.GroupPolicyList, nil)
		}
		for _, r := range page.RoleDetailList {
			name := "role " + aws.ToString(r.RoleName) + " "
			w.policies(name, r.AttachedManagedPolicies, r.RolePolicyList, r.PermissionsBoundary)
			w.set(name+"trust", document(r.AssumeRolePolicyDocument))
		}
		for _, p := range page.Policies {
			arn := aws.ToString(p.Arn) // moto tells no name here
			w.set("policy "+arn[strings.LastIndexByte(arn, '/')+1:]+" default", aws.ToString(p.DefaultVersionId))
		}
	}
	return w, nil
}

// set notes what is not empty.
func (w World) set(name, value string) {
	if value != "" {
		w[name] = value
	}
}

func (w World) policies(of string, attached []types.AttachedPolicy, inline []types.PolicyDetail, boundary *types.AttachedPermissionsBoundary) {
	var arns []string
	for _, p := range attached {
		arns = append(arns, aws.ToString(p.PolicyArn))
	}
	slices.Sort(arns)
	w.set(of+"policies", strings.Join(arns, " "))
	for _, p := range inline {
		w.set(of+"policy "+aws.ToString(p.PolicyName), document(p.PolicyDocument))
	}
	if boundary != nil {
		w.set(of+"boundary", aws.ToString(boundary.PermissionsBoundaryArn))
	}
}

// signIn notes how a user may sign in.
func (w World) signIn(ctx context.Context, c *iam.Client, user string) error {
	keys, err := c.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: &user})
	if err != nil {
		return fmt.Errorf("list the keys of user %s: %w", user, err)
	}
	var all []string
	for _, k := range keys.AccessKeyMetadata {
		all = append(all, aws.ToString(k.AccessKeyId)+" "+string(k.Status))
	}
	slices.Sort(all)
	w.set("user "+user+" keys", strings.Join(all, ", "))
	_, err = c.GetLoginProfile(ctx, &iam.GetLoginProfileInput{UserName: &user})
	var none *types.NoSuchEntityException
	switch {
	case errors.As(err, &none):
	case err != nil:
		return fmt.Errorf("ask for the password of user %s: %w", user, err)
	default:
		w["user "+user+" password"] = "set"
	}
	return nil
}

// document is a policy's text as it was written: IAM hands it out
// percent-encoded.
func document(text *string) string {
	plain, err := url.PathUnescape(aws.ToString(text))
	if err != nil {
		return aws.ToString(text)
	}
	return plain
}
